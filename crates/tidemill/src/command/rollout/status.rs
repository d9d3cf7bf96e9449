//! `tidemill rollout status`: which rollouts there are, or all about one.

use clap::Args;
use serde_json::{Value, json};
use tidemill_core::{Digest, EventKind};
use tidemill_db::delivery::{Rollout, RolloutFilter};
use tidemill_deliver::judge::MetricView;
use tidemill_deliver::rollout::{Fate, Hold, Plan, Route, State, words};
use tidemill_server::delivery::{plan_of, record_in_words, recorded, standing};

use crate::app::App;
use crate::failure::Failure;
use crate::output::{Align, FAINT, Table};

/// Slices that are shown, those with the most evidence of harm.
const SLICES: usize = 10;

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// The rollout's number; a list of the newest where not given
    pub(super) rollout: Option<u64>,
    /// Of this endpoint
    #[arg(long, value_name = "NAME")]
    endpoint: Option<String>,
    /// Only those that are not over
    #[arg(long)]
    live: bool,
    /// At most N
    #[arg(short = 'n', long, default_value_t = 20, value_name = "N")]
    limit: usize,
}

pub(super) fn run(args: &Status, app: &App<'_>) -> anyhow::Result<()> {
    match args.rollout {
        Some(id) => show(&find(app, id)?, app),
        None => list(args, app),
    }
}

/// The rollout of this number.
pub(super) fn find(app: &App<'_>, id: u64) -> anyhow::Result<Rollout> {
    app.block(app.db()?.rollout(id))?.ok_or_else(|| {
        Failure::new(format!("there is no rollout {id}")).hint("`tidemill rollout status` lists them").into()
    })
}

fn list(args: &Status, app: &App<'_>) -> anyhow::Result<()> {
    let filter = RolloutFilter {
        endpoint: args.endpoint.clone(),
        environment: None,
        is_live: args.live,
        before: None,
        release: None,
    };
    let rollouts = app.block(app.db()?.rollouts(&filter, args.limit))?;
    let (console, now) = (app.console, app.clock.now());
    if console.json() {
        let rows: Vec<_> = rollouts
            .iter()
            .map(|rollout| {
                json!({
                    "rollout": rollout.id, "endpoint": rollout.made.endpoint, "environment": rollout.made.environment,
                    "release": rollout.made.candidate.to_string(), "rivals": rivals(rollout), "phase": rollout.phase,
                    "waiting": rollout.is_waiting, "over": rollout.is_over, "updated_at": rollout.updated_at.to_string(),
                })
            })
            .collect();
        return console.value(&rows);
    }
    if rollouts.is_empty() {
        console.note("there are no rollouts");
        return Ok(());
    }
    let mut table = Table::new(&[
        ("rollout", Align::Right),
        ("endpoint", Align::Left),
        ("environment", Align::Left),
        ("phase", Align::Left),
        ("share", Align::Right),
        ("held by", Align::Left),
    ]);
    for rollout in rollouts {
        let state = standing(&rollout, now)?;
        let share = f64::from(state.given(&plan_of(&rollout)?)) / 100.0;
        let hold = if rollout.is_waiting { "another rollout".to_owned() } else { held(state.hold.as_ref()) };
        table.row([
            rollout.id.to_string(),
            rollout.made.endpoint,
            rollout.made.environment,
            state.phase.name().to_owned(),
            format!("{share} %"),
            hold,
        ]);
    }
    console.table(&table);
    Ok(())
}

fn show(rollout: &Rollout, app: &App<'_>) -> anyhow::Result<()> {
    let (db, console) = (app.db()?, app.console);
    let (plan, state) = (plan_of(rollout)?, standing(rollout, app.clock.now())?);
    let transitions = app.block(db.rollout_transitions(rollout.id))?;
    let gates = app.block(db.gate_results(rollout.id))?;
    let record = app.block(recorded(db, rollout.id))?;
    let record = record.as_ref().and_then(|event| Some((event, record_in_words(&event.kind)?)));
    let metrics = state.judge().map(|judge| judge.view()).unwrap_or_default();
    let matured = state.matured();
    if console.json() {
        let outcomes = matured.map(|matured| {
            json!({"judged": matured.outcomes, "late": matured.late, "until": matured.until.to_string()})
        });
        let phases: Vec<_> = transitions
            .iter()
            .map(|one| {
                json!({"at": one.at.to_string(), "from": one.from, "to": one.to, "stage": one.stage, "why": one.why})
            })
            .collect();
        return console.value(&json!({
            "rollout": rollout.id, "endpoint": plan.endpoint, "environment": plan.environment,
            "release": plan.candidate.to_string(), "incumbent": plan.incumbent.map(|digest| digest.to_string()),
            "rivals": rivals(rollout), "author": plan.author, "inputs": state.inputs(&plan).to_string(), "phase": state.phase.name(),
            "waiting": rollout.is_waiting, "over": rollout.is_over, "stage": state.stage, "stages": plan.stages,
            "share": f64::from(state.traffic.share(state.lead(&plan))) / 10_000.0, "requests": state.requests,
            "holdout": f64::from(plan.holdout) / 10_000.0,
            "routes": plan.routes.iter().map(Route::words).collect::<Vec<_>>(),
            "held": state.hold, "gates": gates.iter().map(|gate| {
                json!({"gate": gate.gate, "passed": gate.passed, "detail": gate.detail, "at": gate.at.to_string()})
            }).collect::<Vec<_>>(), "metrics": metrics, "agreement": agreement(&state, state.lead(&plan)),
            "candidates": candidates(&plan, &state),
            "chosen_by": plan.contest.as_ref().map(|contest| &contest.winner), "outcomes": outcomes, "phases": phases,
            "record": record.map(|(event, detail)| {
                let written = matches!(event.kind, EventKind::EnvironmentRecorded { .. });
                json!({"written": written, "detail": detail, "at": event.at.to_string()})
            }),
        }));
    }
    let of = match &plan.contest {
        None => format!("release {}", plan.candidate.short()),
        Some(contest) => {
            let names: Vec<&str> = contest.candidates.iter().map(|one| one.name.as_str()).collect();
            format!("{}, of which the best is chosen by `{}`,", names.join(", "), contest.winner)
        }
    };
    console.line(format!(
        "rollout {} of {of} at `{}` in `{}`: {}",
        rollout.id,
        plan.endpoint,
        plan.environment,
        state.phase.name()
    ));
    if state.hold.is_some() {
        console.line(format!("held by {}", held(state.hold.as_ref())));
    }
    if !plan.routes.is_empty() && !rollout.is_over {
        let routes: Vec<String> = plan.routes.iter().map(Route::words).collect();
        console.line(format!("answers and is not judged by: {}", routes.join("; ")));
    }
    for gate in &gates {
        let said = if gate.passed { "passed" } else { "did not pass" };
        let detail = if gate.detail.is_empty() { String::new() } else { format!(": {}", gate.detail) };
        console.line(format!("{}  gate {} {said}{detail}", console.out(FAINT, gate.at), gate.gate));
    }
    for one in &transitions {
        console.line(format!("{}  {} -> {}: {}", console.out(FAINT, one.at), one.from, one.to, one.why));
    }
    if let Some((event, detail)) = record {
        console.line(format!("{}  record in Git: {detail}", console.out(FAINT, event.at)));
    }
    if let Some(matured) = matured {
        let late =
            if matured.late == 0 { String::new() } else { format!("; {} came too late", matured.late) };
        console.line(format!(
            "{} outcomes of requests until {} were judged{late}",
            matured.outcomes, matured.until
        ));
    }
    if plan.contest.is_none() {
        if let Some(agreement) = state.agreement(plan.candidate) {
            console.line(format!("as a shadow: {}", agreement.words()));
        }
        evidence(metrics, app);
        return Ok(());
    }
    for one in state.candidates(&plan) {
        let (name, fate) = (one.name.unwrap_or_default(), one.fate.map_or("", Fate::name));
        let why = one.fate.and_then(Fate::why).map(|why| format!(": {why}")).unwrap_or_default();
        console.line("");
        console.line(format!(
            "{name} is {fate}; {} % of requests, {} in this stage{why}",
            f64::from(one.share) / 100.0,
            one.requests
        ));
        if let Some(agreement) = state.agreement(one.release) {
            console.line(format!("as a shadow: {}", agreement.words()));
        }
        evidence(one.judge.map(|judge| judge.view()).unwrap_or_default(), app);
    }
    Ok(())
}

/// How far a release agreed with the incumbent as a shadow; nothing where it was none.
fn agreement(state: &State, release: Digest) -> Option<Value> {
    let agreement = state.agreement(release)?;
    Some(json!({
        "same": agreement.same, "different": agreement.different, "share": agreement.share(),
        "scored": agreement.scored, "score_difference": agreement.distance(),
    }))
}

/// Further releases of a rollout that tries several.
fn rivals(rollout: &Rollout) -> Vec<String> {
    let all = plan_of(rollout).ok().into_iter().flat_map(|plan| plan.rivals());
    all.map(|release| release.to_string()).collect()
}

/// The candidates of a rollout that has several.
fn candidates(plan: &Plan, state: &State) -> Vec<Value> {
    let several = state.candidates(plan).into_iter().filter(|one| one.fate.is_some());
    let shown = several.map(|one| {
        json!({
            "candidate": one.name, "release": one.release.to_string(),
            "author": plan.author_of(one.release), "fate": one.fate.map(Fate::name),
            "why": one.fate.and_then(Fate::why), "share": f64::from(one.share) / 10_000.0,
            "copies": f64::from(one.copies) / 10_000.0, "requests": one.requests,
            "agreement": agreement(state, one.release), "metrics": one.judge.map(|judge| judge.view()),
        })
    });
    shown.collect()
}

/// What a judge knows, for people.
fn evidence(metrics: Vec<MetricView>, app: &App<'_>) {
    let console = app.console;
    if metrics.is_empty() {
        return;
    }
    let mut table = Table::new(&[
        ("metric", Align::Left),
        ("candidate", Align::Right),
        ("incumbent", Align::Right),
        ("harm", Align::Right),
        ("harm proven", Align::Right),
        ("safety proven", Align::Right),
    ]);
    let part = |proven: f64| format!("{:.0} %", (100.0 * proven).clamp(0.0, 100.0));
    let harm = |harm: Option<f64>| harm.map_or("-".to_owned(), |harm| format!("{harm:.2}"));
    for view in metrics.iter().filter(|view| view.slice.is_none()) {
        table.row([
            view.metric.clone(),
            view.candidate.to_string(),
            view.baseline.to_string(),
            harm(view.harm),
            part(view.harm_proven()),
            part(view.safety_proven()),
        ]);
    }
    console.table(&table);
    let slices = MetricView::of_slices(metrics);
    if slices.is_empty() {
        return;
    }
    let more = slices.len().saturating_sub(SLICES);
    let mut table = Table::new(&[
        ("slice", Align::Left),
        ("candidate", Align::Right),
        ("incumbent", Align::Right),
        ("harm", Align::Right),
        ("harm proven", Align::Right),
    ]);
    for view in slices.into_iter().take(SLICES) {
        let slice = view.slice.as_ref().map(ToString::to_string).unwrap_or_default();
        table.row([
            format!("{} in {slice}", view.metric),
            view.candidate.to_string(),
            view.baseline.to_string(),
            harm(view.harm),
            part(view.harm_proven()),
        ]);
    }
    console.table(&table);
    if more > 0 {
        console.note(format!("{more} more have less evidence of harm; `--json` has all"));
    }
}

/// What keeps a rollout from going on, in words.
fn held(hold: Option<&Hold>) -> String {
    match hold {
        None => "-".to_owned(),
        Some(Hold::Traffic) => "a change of traffic that is on its way".to_owned(),
        Some(Hold::Freeze { id, reason }) => format!("freeze {id}: {reason}"),
        Some(Hold::Window { opens: Some(opens) }) => format!("its windows; the next one opens at {opens}"),
        Some(Hold::Window { opens: None }) => "its windows; none opens in the next two weeks".to_owned(),
        Some(Hold::Verdict { why }) => words(why),
        Some(Hold::Samples { have, need }) => format!("{have} of {need} requests"),
        Some(Hold::Time { until }) => format!("time, until {until}"),
        Some(Hold::Candidates { waiting }) => {
            let texts = waiting.iter().map(|one| format!("{} ({})", one.name, held(Some(&one.hold))));
            texts.collect::<Vec<_>>().join("; ")
        }
        Some(Hold::Approvals { have, need, role }) => format!("{have} of {need} approvals by {role}"),
        Some(Hold::TimedOut { why }) if why.is_empty() => {
            "a person: the stage has run out of time".to_owned()
        }
        Some(Hold::TimedOut { why }) => format!("a person: the stage has run out of time; {}", words(why)),
    }
}
