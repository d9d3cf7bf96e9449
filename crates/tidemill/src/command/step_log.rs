//! `tidemill log step`: what the steps of a run printed, from the store, or from the live file while the run goes on.

use std::io::Read as _;
use std::path::PathBuf;

use serde_json::json;
use tidemill_core::{RunId, RunState, did_you_mean};
use tidemill_db::{RunRecord, StepRun};

use super::diff::find_run;
use super::run::between_runs;
use crate::app::App;
use crate::failure::Failure;
use crate::output::{Align, Table, duration};

/// Prints the log of one step as the step wrote it.
pub(super) fn show(run: &str, step: &str, app: &App<'_>) -> anyhow::Result<()> {
    let record = find_run(run, app)?;
    let steps = app.block(app.db()?.step_runs(record.id))?;
    let found = steps.iter().rev().find(|known| known.step == step);
    let live = app.root.join(tidemill_pipeline::log_file(record.id, step));
    let Some(found) = found else {
        return match fs_err::read(&live) {
            // It has not ended yet, or the run was killed before it could be recorded.
            Ok(text) => print(app, &record, step, None, &text),
            Err(_) => Err(unknown(&record, step, &steps).into()),
        };
    };
    let text = match found.log {
        Some(digest) => match app.store()?.read(&digest) {
            Ok(mut reader) => {
                let mut text = Vec::new();
                reader.read_to_end(&mut text)?;
                text
            }
            Err(error) => fs_err::read(&live).map_err(|_| {
                anyhow::Error::from(error)
                    .context(format!("the log of `{step}` of run {} is not in the store", record.id.short()))
            })?,
        },
        None => Vec::new(),
    };
    print(app, &record, step, Some(found), &text)
}

fn print(
    app: &App<'_>,
    run: &RunRecord,
    step: &str,
    found: Option<&StepRun>,
    text: &[u8],
) -> anyhow::Result<()> {
    let console = app.console;
    if console.json() {
        return console.value(&json!({
            "run": run.id, "step": step, "state": found.map(|step| step.state),
            "exit_code": found.and_then(|step| step.exit_code), "attempts": found.map(|step| step.attempt),
            "digest": found.and_then(|step| step.log), "bytes": text.len(),
            "text": String::from_utf8_lossy(text),
        }));
    }
    if text.is_empty() {
        let did = found.map_or("has not ended yet", |step| step.state.past());
        console.note(format!("step `{step}` of run {} {did} and printed nothing", run.id.short()));
        return Ok(());
    }
    console.bytes(text);
    Ok(())
}

/// Lists the steps of a run that did something.
pub(super) fn list(run: &str, app: &App<'_>) -> anyhow::Result<()> {
    let record = find_run(run, app)?;
    let steps = app.block(app.db()?.step_runs(record.id))?;
    let console = app.console;
    if console.json() {
        let steps: Vec<_> = steps
            .iter()
            .map(|step| {
                json!({
                    "step": step.step, "state": step.state, "exit_code": step.exit_code,
                    "attempts": step.attempt, "started_at": step.started_at.to_string(),
                    "ended_at": step.ended_at.to_string(), "reason": step.reason, "key": step.key,
                    "log": step.log,
                })
            })
            .collect();
        return console.value(&json!({"run": record.id, "state": record.state, "steps": steps}));
    }
    if steps.is_empty() {
        console.note(format!("run {} has recorded no step", record.id.short()));
        return Ok(());
    }
    let mut table = Table::new(&[
        ("step", Align::Left),
        ("state", Align::Left),
        ("took", Align::Right),
        ("attempts", Align::Right),
        ("exit", Align::Right),
        ("log", Align::Left),
    ]);
    for step in &steps {
        table.row([
            step.step.clone(),
            step.state.past().to_owned(),
            duration(step.ended_at.since(step.started_at)),
            step.attempt.to_string(),
            step.exit_code.map(|code| code.to_string()).unwrap_or_default(),
            step.log.map(|digest| digest.short()).unwrap_or_default(),
        ]);
    }
    console.table(&table);
    console.hint(&format!("`tidemill log step {} STEP` shows what a step printed", record.id.short()));
    Ok(())
}

fn unknown(run: &RunRecord, step: &str, steps: &[StepRun]) -> Failure {
    let names: Vec<&str> = steps.iter().map(|known| known.step.as_str()).collect();
    let short = run.id.short();
    let hint = did_you_mean(step, names.iter().copied()).unwrap_or_else(|| {
        if run.state == RunState::Running || names.is_empty() {
            format!("`tidemill log step {short}` lists its steps; those that were up to date printed nothing")
        } else {
            format!("it did: {}; steps that were up to date printed nothing", names.join(", "))
        }
    });
    Failure::new(format!("run {short} did nothing for a step `{step}`")).hint(hint)
}

/// Removes the live log files of runs that the database does not know any more, unless a run is going on, which the
/// database may not know yet; returns how many runs that were.
pub(super) fn remove_files_of_gone_runs(app: &App<'_>) -> anyhow::Result<usize> {
    let Some(_guard) = between_runs(app)? else { return Ok(0) };
    let known = app.block(app.db()?.runs(usize::MAX))?;
    let folder = app.inside("runs");
    let Ok(entries) = fs_err::read_dir(&folder) else { return Ok(0) };
    let gone: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            // A name that is not ours is not ours to remove.
            name.to_str().is_some_and(|name| name.parse::<RunId>().is_ok())
                && known.iter().all(|run| Some(run.id.to_string().as_str()) != name.to_str())
        })
        .map(|entry| entry.path())
        .collect();
    for path in &gone {
        fs_err::remove_dir_all(path)?;
    }
    Ok(gone.len())
}
