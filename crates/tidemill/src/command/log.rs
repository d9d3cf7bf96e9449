//! `tidemill log`: shows the log of every state change, and proves that it is intact.

use anyhow::Context as _;
use serde_json::json;
use tidemill_core::{Event, EventKind, JobState, Progress as _, Unit};
use tidemill_db::{EventFilter, Fault, LogHead, Order};
use tidemill_server::delivery::record_in_words;

use crate::app::App;
use crate::cli::{Log, LogAction};
use crate::failure::{Exit, Failure, Said};
use crate::output::{Align, BAD, FAINT, GOOD, Table, bytes, count, duration, plural};

/// How many entries `export` holds in memory at a time.
const PAGE: usize = 1000;

pub(crate) fn run(args: &Log, app: &App<'_>) -> anyhow::Result<()> {
    match &args.action {
        None => show(args, app),
        Some(LogAction::Verify { against }) => verify(against.as_deref(), app),
        Some(LogAction::Export) => export(app),
        Some(LogAction::Runs) => runs(args.limit, app),
        Some(LogAction::Alias { model, alias, at }) => {
            super::alias_log::run(model, alias, at.as_deref(), app)
        }
        Some(LogAction::Step { run, step: Some(step) }) => super::step_log::show(run, step, app),
        Some(LogAction::Step { run, step: None }) => super::step_log::list(run, app),
    }
}

fn show(args: &Log, app: &App<'_>) -> anyhow::Result<()> {
    let filter = EventFilter {
        subject: args.subject.clone(),
        kind: args.kind.clone(),
        limit: Some(args.limit),
        order: Order::NewestFirst,
        ..EventFilter::default()
    };
    let events = app.block(app.db()?.events(&filter))?;
    let console = app.console;
    if console.json() {
        return console.value(&events);
    }
    if events.is_empty() {
        console.note("the log has no such entry");
        return Ok(());
    }
    let mut table = Table::new(&[
        ("seq", Align::Right),
        ("time", Align::Left),
        ("who", Align::Left),
        ("what", Align::Left),
        ("", Align::Left),
    ]);
    for event in &events {
        table.row([
            event.seq.to_string(),
            console.out(FAINT, event.at),
            event.actor.name.clone(),
            event.kind.name().to_owned(),
            describe(event),
        ]);
    }
    console.table(&table);
    Ok(())
}

fn verify(against: Option<&str>, app: &App<'_>) -> anyhow::Result<()> {
    let db = app.db()?;
    let bar = app.bar();
    bar.begin("verifying the log", None, Unit::Items);
    let verdict = app.block(db.verify_log(&bar))?;
    drop(bar);
    let extends = match against {
        None => None,
        Some(text) => Some((text, extends(text, verdict.head, app)?)),
    };
    let console = app.console;
    if console.json() {
        console.value(&json!({
            "size": verdict.head.size,
            "root": verdict.head.root,
            "checked": verdict.checked,
            "first_bad": verdict.first_bad,
            "extends": extends.map(|(text, good)| json!({"head": text, "holds": good})),
        }))?;
    } else {
        match &verdict.first_bad {
            None => console.line(format!(
                "{} {}, root {}",
                console.out(GOOD, "the log is intact:"),
                if verdict.head.size == 1 {
                    "1 entry".to_owned()
                } else {
                    format!("{} entries", count(verdict.head.size))
                },
                verdict.head.root
            )),
            Some(bad) => console.line(format!(
                "{} entry {} {}",
                console.out(BAD, "the log was changed:"),
                bad.seq,
                fault(&bad.fault)
            )),
        }
        match extends {
            Some((text, true)) => console.line(format!("it extends the log as it was at {text}")),
            Some((text, false)) => {
                console.line(console.out(BAD, format!("it does not extend the log as it was at {text}")));
            }
            None => {}
        }
    }
    let good = verdict.first_bad.is_none() && extends.is_none_or(|(_, good)| good);
    if good { Ok(()) } else { Err(Said(Exit::Failed).into()) }
}

/// What is wrong with an entry, as the end of a sentence that begins with the entry.
fn fault(fault: &Fault) -> String {
    match fault {
        Fault::Missing => "is missing".to_owned(),
        Fault::Altered => "is not what was appended".to_owned(),
        Fault::Moved { from } => format!("was appended as entry {from}"),
        Fault::Column { column, stored, expected } => {
            format!("says {column} `{stored}` beside a content that says `{expected}`")
        }
        Fault::Rewritten { to } => {
            format!("or one up to entry {to} was rewritten together with its hash")
        }
        Fault::Unexpected => "was added behind the back of the log".to_owned(),
        Fault::NoCheckpoint => "has lost its checkpoint".to_owned(),
        Fault::Head { detail } => format!("does not fit the stored head: {detail}"),
        other => format!("is wrong: {other:?}"),
    }
}

/// Whether the log with this head has the one noted as `size:root` as its beginning.
fn extends(text: &str, head: LogHead, app: &App<'_>) -> anyhow::Result<bool> {
    let wrong =
        || Failure::usage(format!("`{text}` is not SIZE:ROOT")).hint("copy it from an earlier `log verify`");
    let (size, root) = text.split_once(':').ok_or_else(wrong)?;
    let size: u64 = size.parse().map_err(|_| wrong())?;
    let root: tidemill_db::Hash = root.parse().map_err(|_| wrong())?;
    if size > head.size {
        return Ok(false);
    }
    let proof = app.block(app.db()?.consistency_proof(size, head.size))?;
    Ok(proof.old == LogHead { size, root } && proof.verify().is_ok())
}

fn export(app: &App<'_>) -> anyhow::Result<()> {
    let mut after = 0;
    loop {
        let lines = app.block(app.db()?.log_lines(after, PAGE))?;
        for line in &lines {
            app.console.line(line);
        }
        after += lines.len() as u64;
        if lines.len() < PAGE {
            return Ok(());
        }
    }
}

fn runs(limit: usize, app: &App<'_>) -> anyhow::Result<()> {
    let runs = app.block(app.db()?.runs(limit))?;
    let console = app.console;
    if console.json() {
        let runs: Vec<_> = runs
            .iter()
            .map(|run| {
                json!({
                    "id": run.id, "state": run.state, "commit": run.commit, "plan": run.plan, "lock": run.lock,
                    "started_at": run.started_at.to_string(),
                    "ended_at": run.ended_at.map(|at| at.to_string()),
                })
            })
            .collect();
        return console.value(&runs);
    }
    if runs.is_empty() {
        console.note("nothing has run yet; `tidemill run` is the first");
        return Ok(());
    }
    let mut table = Table::new(&[
        ("run", Align::Left),
        ("started", Align::Left),
        ("took", Align::Right),
        ("state", Align::Left),
        ("commit", Align::Left),
    ]);
    for run in runs {
        let state = serde_json::to_value(run.state).context("cannot name the state")?;
        table.row([
            run.id.short(),
            run.started_at.to_string(),
            run.ended_at.map(|end| duration(end.since(run.started_at))).unwrap_or_default(),
            state.as_str().unwrap_or_default().to_owned(),
            run.commit.map(|commit| commit.chars().take(10).collect()).unwrap_or_default(),
        ]);
    }
    console.table(&table);
    Ok(())
}

/// One event in words.
pub(super) fn describe(event: &Event) -> String {
    match &event.kind {
        EventKind::ProjectOpened { project } => format!("`{project}`"),
        EventKind::DatasetVersionCreated { dataset, version, bytes: size, rows, content } => {
            let rows = rows.map(|rows| format!(", {}", plural(rows, "row"))).unwrap_or_default();
            format!("{dataset}@{version}: {}{rows}, {}", bytes(*size), content.short())
        }
        EventKind::RunStarted { run, commit, .. } => {
            let commit = commit
                .as_deref()
                .map(|c| format!(" at commit {}", &c[..c.len().min(10)]))
                .unwrap_or_default();
            format!("run {}{commit}", run.short())
        }
        EventKind::StepFinished { run, step, state, duration_ms, exit_code, .. } => {
            let code = exit_code.filter(|code| *code != 0).map(|code| format!(", exit code {code}"));
            format!(
                "run {}: `{step}` {}{} in {}",
                run.short(),
                state.past(),
                code.unwrap_or_default(),
                duration(std::time::Duration::from_millis(*duration_ms))
            )
        }
        EventKind::RunFinished { run, state, .. } => format!("run {} {}", run.short(), state.past()),
        EventKind::DataChecked { dataset, passed, failed, warned, .. } => {
            format!("{dataset}: {passed} passed, {failed} failed, {warned} warned")
        }
        EventKind::ModelTested { run, passed, failed, .. } => {
            format!("run {}: {passed} passed, {failed} failed", run.short())
        }
        EventKind::StoreSwept { objects, bytes: size } => {
            format!("{} objects, {}", count(*objects), bytes(*size))
        }
        EventKind::RemoteSwept { remote, packs, bytes: size } => {
            format!("{packs} packs, {} at {remote}", bytes(*size))
        }
        EventKind::StorePushed { remote, bytes: size } => format!("{} to {remote}", bytes(*size)),
        EventKind::StorePulled { remote, bytes: size } => format!("{} from {remote}", bytes(*size)),
        EventKind::RunReproduced { run, identical } => {
            format!("run {}: {}", run.short(), if *identical { "identical" } else { "different" })
        }
        tracked => describe_tracked(tracked),
    }
}

/// What happened to experiments, tracked runs and models, in words.
fn describe_tracked(kind: &EventKind) -> String {
    let of = |model: &str, version: Option<u64>| {
        version.map_or_else(|| model.to_owned(), |version| format!("{model}@{version}"))
    };
    let set = |key: &str, value: Option<&str>| {
        value.map_or_else(|| format!("without `{key}`"), |value| format!("`{key}` = `{value}`"))
    };
    match kind {
        EventKind::ExperimentCreated { experiment, name }
        | EventKind::ExperimentRenamed { experiment, name }
        | EventKind::ExperimentRemoved { experiment, name } => {
            format!("{experiment}: `{name}`")
        }
        EventKind::ExperimentTagged { experiment, key, value } => {
            format!("{experiment}: {}", set(key, value.as_deref()))
        }
        EventKind::TrackingRunCreated { run, experiment, name } => {
            format!("run {} `{name}` in experiment {experiment}", run.short())
        }
        EventKind::TrackingRunMoved { run, status } => {
            format!("run {}: {}", run.short(), status.to_lowercase())
        }
        EventKind::LoggedModelCreated { model, experiment, run } => {
            let run = run.map(|run| format!(" by run {}", run.short())).unwrap_or_default();
            format!("{model} in experiment {experiment}{run}")
        }
        EventKind::LoggedModelMoved { model, status } => format!("{model}: {}", status.to_lowercase()),
        EventKind::ModelRenamed { model, to } => format!("{model} is now {to}"),
        EventKind::ModelDescribed { model, version } => of(model, *version),
        EventKind::ModelTagged { model, version, key, value } => {
            format!("{}: {}", of(model, *version), set(key, value.as_deref()))
        }
        EventKind::VersionCreated { model, version, source, run, .. } => {
            let run = run.map(|run| format!(" by run {}", run.short())).unwrap_or_default();
            format!("{model}@{version}{run} from {source}")
        }
        EventKind::VersionStaged { model, version, from, to } => format!("{model}@{version}: {from} to {to}"),
        EventKind::VersionDeleted { model, version } => format!("{model}@{version}"),
        EventKind::AliasMoved { model, alias, from, to } => match (from, to) {
            (Some(from), Some(to)) => format!("{model}: `{alias}` from {model}@{from} to {model}@{to}"),
            (None, Some(to)) => format!("{model}: `{alias}` is {model}@{to}"),
            (Some(from), None) => format!("{model}: `{alias}` no longer {model}@{from}"),
            (None, None) => format!("{model}: `{alias}`"),
        },
        EventKind::SourceChanged { details, .. } => {
            let all: Vec<String> = details.iter().map(|(key, value)| format!("{key} {value}")).collect();
            all.join(", ")
        }
        EventKind::TriggerFired { trigger, job, events, .. } => {
            let several = if *events > 1 { format!(" on {events} events") } else { String::new() };
            format!("{trigger}: job {job}{several}")
        }
        EventKind::TriggerSuppressed { trigger, reason, .. } => format!("{trigger}: {reason}"),
        EventKind::JobStarted { job, trigger, attempt } => {
            let again = if *attempt > 1 { format!(", attempt {attempt}") } else { String::new() };
            format!("job {job} of {trigger}{again}")
        }
        EventKind::JobFinished { job, trigger, state, reason } => {
            let why = reason.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
            format!("job {job} of {trigger} {}{why}", state.name())
        }
        EventKind::CiStarted { commit, authors, .. } => {
            let by = authors.first().map(|name| format!(" by {name}")).unwrap_or_default();
            format!("commit {}{by}", &commit[..commit.len().min(10)])
        }
        EventKind::CiFinished { commit, state, part, what, next, .. } => {
            let next = next.as_deref().filter(|_| *state != JobState::Succeeded);
            let next = next.map(|next| format!("; next: {next}")).unwrap_or_default();
            let commit = &commit[..commit.len().min(10)];
            format!("commit {commit} {} at `{part}`: {what}{next}", state.name())
        }
        EventKind::ArtifactsDeleted { path, files } => format!("{path}: {}", plural(*files, "file")),
        EventKind::TracesDeleted { experiment, traces } => {
            format!("{} of experiment {experiment}", plural(*traces, "trace"))
        }
        EventKind::WebhookChanged { webhook, change } => format!("{webhook}: {change}"),
        EventKind::UserChanged { user, change } => format!("{user}: {change}"),
        EventKind::RoleChanged { role, workspace, change } => format!("{role} in {workspace}: {change}"),
        EventKind::RoleAssigned { role, user, assigned } => {
            format!("{user} {} {role}", if *assigned { "got" } else { "lost" })
        }
        EventKind::PermissionChanged { holder, resource, pattern, permission } => match permission {
            Some(permission) => format!("{holder}: {permission} on {resource} {pattern}"),
            None => format!("{holder}: nothing of its own on {resource} {pattern}"),
        },
        EventKind::EvaluationDatasetChanged { dataset, change } => format!("{dataset}: {change}"),
        EventKind::TrackingImported { from, runs, versions } => {
            format!("{} and {} from {from}", plural(*runs, "run"), plural(*versions, "version"))
        }
        EventKind::EndpointSet { endpoint, revision, arms, records, .. } => {
            let records = records.as_ref().map(|records| format!("; records: {records}")).unwrap_or_default();
            format!("{endpoint} revision {revision}: {}{records}", arms.join("; "))
        }
        EventKind::RecordsStored { endpoint, parts, requests, .. } => {
            format!("{endpoint}: {} in {}", plural(*requests, "request"), plural(*parts, "file"))
        }
        EventKind::RecordsRemoved { endpoint, why, parts, rows, .. } => {
            format!("{endpoint}: {} in {}, for their {why}", plural(*rows, "row"), plural(*parts, "file"))
        }
        EventKind::OutcomesReceived { endpoint, outcomes }
        | EventKind::OutcomesUnmatched { endpoint, outcomes }
        | EventKind::OutcomesRemoved { endpoint, outcomes } => {
            format!("{endpoint}: {}", plural(*outcomes, "outcome"))
        }
        EventKind::OutcomesRead(of) => format!(
            "{}: {} of {}@{}: {} joined, {} late, {} duplicate, {} unmatched, {} waiting, {} known",
            of.endpoint,
            plural(of.rows, "row"),
            of.dataset,
            of.version,
            of.matched,
            of.late,
            of.duplicate,
            of.unmatched,
            of.waiting,
            of.known
        ),
        EventKind::OutcomesRefused { endpoint, dataset, version, why } => {
            format!("{endpoint}: {dataset}@{version}: {why}")
        }
        EventKind::OutcomesJoined { endpoint, matched, late, duplicate, corrected } => {
            let corrected = corrected.map(|corrected| format!(", {corrected} corrected")).unwrap_or_default();
            format!("{endpoint}: {matched} joined, {late} late, {duplicate} duplicate{corrected}")
        }
        EventKind::RolloutGated { rollout, gate, detail, .. } => {
            format!("rollout {rollout}: {gate}: {detail}")
        }
        EventKind::EnvironmentRecorded { environment, .. }
        | EventKind::EnvironmentUnrecorded { environment, .. } => {
            format!("{environment}: {}", record_in_words(kind).unwrap_or_default())
        }
        // What the subject already says.
        other => other.subject(),
    }
}
