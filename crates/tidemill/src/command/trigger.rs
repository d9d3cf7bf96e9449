//! `tidemill trigger`: what starts work, what it started, and by hand.

use std::collections::BTreeMap;

use serde_json::json;
use tidemill_core::{Event, EventKind, JobState};
use tidemill_db::jobs::{Job, Stopped};
use tidemill_db::{Db, EventFilter, Order};
use tidemill_server::triggers::{cancel_by_hand, fire_by_hand, pending};
use tidemill_trigger::{Rule, Rules};

use crate::app::App;
use crate::cli::Trigger;
use crate::failure::Failure;
use crate::output::{Align, BAD, CAUTION, FAINT, GOOD, Table, duration, plural};

pub(crate) fn run(args: &Trigger, app: &App<'_>) -> anyhow::Result<()> {
    match args {
        Trigger::List => list(app),
        Trigger::History { name, limit } => history(name.as_deref(), *limit, app),
        Trigger::Fire { name } => fire(name, app),
        Trigger::Cancel { number } => cancel(*number, app),
    }
}

fn rules(app: &App<'_>) -> anyhow::Result<Rules> {
    let name = app.project.project.as_str();
    Rules::new(name, app.project.resolved_triggers())
        .map_err(|error| Failure::usage(format!("the triggers cannot be used: {error}")).into())
}

fn known<'r>(rules: &'r Rules, name: &str) -> Result<&'r Rule, Failure> {
    rules.get(name).ok_or_else(|| {
        let names = rules.rules.iter().map(|rule| rule.trigger.name.as_str());
        Failure::usage(format!("the project has no trigger `{name}`"))
            .hint_maybe(tidemill_core::did_you_mean(name, names))
    })
}

fn list(app: &App<'_>) -> anyhow::Result<()> {
    let rules = rules(app)?;
    let db = app.db()?;
    let open = app.block(db.open_jobs(&rules.project))?;
    let pending = app.block(pending(db, &rules.project))?;
    let standings = app.block(db.source_standings(&rules.project))?;
    let source = |rule: &Rule| {
        let is_message = matches!(rule.trigger.when, tidemill_core::declare::When::Message(_));
        standings.iter().find(|standing| is_message && standing.trigger == rule.trigger.name)
    };
    let next = |rule: &Rule| rule.schedule.as_ref().and_then(|(s, _)| s.next_fire(app.clock.now()));
    let actions = |rule: &Rule| rule.trigger.actions.iter().map(|a| a.name()).collect::<Vec<_>>();
    let jobs =
        |rule: &Rule| -> Vec<&Job> { open.iter().filter(|job| job.trigger == rule.trigger.name).collect() };
    let console = app.console;
    if console.json() {
        let all: Vec<_> = rules
            .rules
            .iter()
            .map(|rule| {
                let (kind, event) = rule.words();
                let jobs: Vec<_> =
                    jobs(rule).iter().map(|job| json!({"id": job.id, "state": job.state})).collect();
                json!({
                    "name": rule.trigger.name, "kind": kind, "event": event, "actions": actions(rule),
                    "next_fire": next(rule).map(|at| at.to_string()), "jobs": jobs,
                    "pending": pending.get(&rule.trigger.name).map(|pending| pending.events),
                    "source": source(rule).map(|standing| json!({
                        "listening": standing.problem.is_none(), "problem": standing.problem,
                        "since": standing.since.to_string(),
                    })),
                    "webhook": rule.has_webhook().then(|| format!("/hooks/{}", rule.trigger.name)),
                })
            })
            .collect();
        return console.value(&all);
    }
    if rules.rules.is_empty() {
        console.note("the project has no triggers; `triggers:` in the project file declares some");
        return Ok(());
    }
    let mut table = Table::new(&[
        ("trigger", Align::Left),
        ("event", Align::Left),
        ("starts", Align::Left),
        ("next", Align::Left),
        ("now", Align::Left),
    ]);
    for rule in &rules.rules {
        let (kind, event) = rule.words();
        let mut now: Vec<String> =
            jobs(rule).iter().map(|job| format!("job {} {}", job.id, job.state.name())).collect();
        now.extend(pending.get(&rule.trigger.name).map(|p| format!("{} wait", plural(p.events, "event"))));
        table.row([
            rule.trigger.name.clone(),
            format!("{kind} {event}").trim_end().to_owned(),
            actions(rule).join(", "),
            next(rule).map(|at| at.to_string()).unwrap_or_default(),
            now.join(", "),
        ]);
    }
    console.table(&table);
    for rule in &rules.rules {
        if let Some((standing, problem)) = source(rule).and_then(|s| Some((s, s.problem.as_ref()?))) {
            console.line(format!(
                "{} since {}: {problem}",
                console.out(BAD, format!("{} hears nothing", standing.trigger)),
                standing.since
            ));
        }
    }
    Ok(())
}

fn history(name: Option<&str>, limit: usize, app: &App<'_>) -> anyhow::Result<()> {
    let db = app.db()?;
    let events = app.block(decisions(db, name, limit))?;
    let mut jobs = BTreeMap::new();
    for event in &events {
        if let EventKind::TriggerFired { job, .. } = &event.kind
            && let Some(found) = app.block(db.job(*job))?
        {
            jobs.insert(*job, found);
        }
    }
    let console = app.console;
    if console.json() {
        let all: Vec<_> = events.iter().map(|event| entry(event, &jobs)).collect();
        return console.value(&all);
    }
    if events.is_empty() {
        console.note("no trigger has fired yet");
        return Ok(());
    }
    let mut table = Table::new(&[
        ("event", Align::Right),
        ("when", Align::Left),
        ("trigger", Align::Left),
        ("cause", Align::Right),
        ("what", Align::Left),
        ("took", Align::Right),
        ("why", Align::Left),
    ]);
    for event in &events {
        let (trigger, what, took, why) = match &event.kind {
            EventKind::TriggerFired { trigger, job, .. } => {
                let found = jobs.get(job);
                let state = found.map_or("", |job| job.state.name());
                let style = match found.map(|job| job.state) {
                    Some(JobState::Succeeded) => GOOD,
                    Some(JobState::Failed) => BAD,
                    Some(JobState::Waiting | JobState::Running) => CAUTION,
                    Some(JobState::Cancelled | JobState::Superseded) | None => FAINT,
                };
                let took = found.and_then(|job| Some(duration(job.ended_at?.since(job.started_at?))));
                let why = found.and_then(|job| job.reason.clone()).unwrap_or_default();
                (trigger, format!("job {job} {}", console.out(style, state)), took.unwrap_or_default(), why)
            }
            EventKind::TriggerSuppressed { trigger, reason, .. } => {
                (trigger, console.out(FAINT, "suppressed"), String::new(), reason.clone())
            }
            _ => continue,
        };
        let cause = event.cause.map(|cause| cause.to_string()).unwrap_or_default();
        table.row([event.seq.to_string(), event.at.to_string(), trigger.clone(), cause, what, took, why]);
    }
    console.table(&table);
    Ok(())
}

/// What triggers decided, newest first.
async fn decisions(db: &Db, name: Option<&str>, limit: usize) -> anyhow::Result<Vec<Event>> {
    let subject = name.map(|name| format!("trigger:{name}"));
    let mut found = Vec::new();
    for kind in ["trigger.fired", "trigger.suppressed"] {
        let filter = EventFilter {
            subject: subject.clone(),
            kind: Some(kind.to_owned()),
            limit: Some(limit),
            order: Order::NewestFirst,
            ..EventFilter::default()
        };
        found.extend(db.events(&filter).await?);
    }
    found.sort_by_key(|event| std::cmp::Reverse(event.seq));
    found.truncate(limit);
    Ok(found)
}

fn entry(event: &Event, jobs: &BTreeMap<u64, Job>) -> serde_json::Value {
    let (trigger, job, reason) = match &event.kind {
        EventKind::TriggerFired { trigger, job, .. } => (Some(trigger), jobs.get(job), None),
        EventKind::TriggerSuppressed { trigger, reason, .. } => (Some(trigger), None, Some(reason)),
        _ => (None, None, None),
    };
    json!({
        "event": event.seq, "at": event.at.to_string(), "kind": event.kind.name(), "cause": event.cause,
        "trigger": trigger, "suppressed": reason,
        "job": job.map(|job| json!({
            "id": job.id, "state": job.state, "attempts": job.attempts, "reason": job.reason,
            "started_at": job.started_at.map(|at| at.to_string()),
            "ended_at": job.ended_at.map(|at| at.to_string()),
        })),
    })
}

fn fire(name: &str, app: &App<'_>) -> anyhow::Result<()> {
    let rules = rules(app)?;
    known(&rules, name)?;
    let fired = fire_by_hand(app.db()?, &rules.project, name, &app.actor, app.clock.now());
    let event = app.block(fired)?;
    if app.console.json() {
        return app.console.value(&json!({"trigger": name, "event": event}));
    }
    app.console.line(format!("event {event}; `tidemill trigger history {name}` shows what comes of it"));
    app.console.note(
        "the server of the project starts it, at once if it runs and else when `tidemill up` starts it",
    );
    Ok(())
}

fn cancel(id: u64, app: &App<'_>) -> anyhow::Result<()> {
    let db = app.db()?;
    let job = app.block(db.job(id))?.ok_or_else(|| {
        Failure::usage(format!("there is no job {id}")).hint("`tidemill trigger history` lists them")
    })?;
    match app.block(cancel_by_hand(db, &job, &app.actor, app.clock.now()))? {
        Stopped::Ended => app.console.line(format!("job {id} is cancelled")),
        Stopped::Asked => app.console.line(format!("job {id} is being stopped")),
        Stopped::Over => return Err(Failure::new(format!("job {id} is over: {}", job.state.name())).into()),
    }
    Ok(())
}
