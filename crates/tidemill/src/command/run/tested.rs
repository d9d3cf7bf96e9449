//! The tests of the model after a run: judged once for the same model and tests, recorded with the run.

use tidemill_core::declare::Step;
use tidemill_core::{Digest, EventKind, Quiet, RunId, canonical_json};
use tidemill_db::{EventFilter, Order};
use tidemill_pipeline::RunReport;
use tidemill_project::Resolved;

use super::register::output;
use crate::app::App;
use crate::model_test::{Evidence, Outcome, judge, key, rivals, subject};

/// Tests the model, or finds the results of the same tests on the same model; gives with them the version that was the champion then.
pub(super) fn test_model(
    app: &App<'_>,
    resolved: &Resolved,
    report: Option<&RunReport>,
) -> anyhow::Result<Option<(Evidence, Option<u64>)>> {
    if app.project.tests.is_empty() {
        return Ok(None);
    }
    let Some(subject) = subject(&app.project, resolved) else { return Ok(None) };
    let step: &Step = &subject.step;
    let out = if subject.is_made() { output(app, step).ok() } else { step.outs.first() };
    let Some(folder) = out.map(|out| app.root.join(&out.path)) else { return Ok(None) };
    if !subject.is_made() && !folder.is_dir() {
        return Ok(None);
    }
    let content = tidemill_store::hash(&folder, Some(app.stat()?), &Quiet)?.digest;
    let rivals = rivals(app)?;
    let key = key(&app.project, &content, subject.rows(app)?.as_ref(), &rivals)?;
    let known = known_evidence(app, &key)?;
    let (evidence, digest, run) = match known {
        // A run that the model is part of has results of its own, also where they are those of an earlier one.
        Some((evidence, digest)) => {
            let took_part = |report: &&RunReport| report.steps.iter().any(|found| found.step == step.name);
            let run = match report {
                Some(report) => Some(report).filter(took_part).map(|report| report.run),
                None => last_tested(app)?.filter(|(_, last)| *last != digest).map(|(run, _)| run),
            };
            (evidence, digest, run)
        }
        None => {
            let evidence = judge(app, &subject, &folder, &content, key, &rivals)?;
            let digest = app.store()?.put(&canonical_json(&evidence)?)?;
            let run = match report {
                Some(report) => Some(report.run),
                None => last_run(app)?,
            };
            (evidence, digest, run)
        }
    };
    if let Some(run) = run {
        let event = app.event(EventKind::ModelTested {
            run,
            evidence: digest,
            passed: evidence.count(Outcome::Passed),
            failed: evidence.count(Outcome::Failed),
            not_judged: Some(evidence.count(Outcome::NotJudged)),
            waiting: Some(evidence.waiting()).filter(|waiting| *waiting > 0),
            content: Some(content),
        });
        app.record(vec![event])?;
    }
    Ok(Some((evidence, rivals.champion_version())))
}

/// The project's run that there was last; other projects may use the same database.
fn last_run(app: &App<'_>) -> anyhow::Result<Option<RunId>> {
    let runs = app.block(app.db()?.runs_of(app.project.project.as_str(), 1))?;
    Ok(runs.first().map(|run| run.id))
}

/// The run that there was last, and the results of the newest tests of what it made.
fn last_tested(app: &App<'_>) -> anyhow::Result<Option<(RunId, Digest)>> {
    let db = app.db()?;
    let Some(run) = last_run(app)? else { return Ok(None) };
    let newest = app.block(db.newest_event("model.tested", Some(format!("run:{run}")), None))?;
    Ok(newest.and_then(|event| match event.kind {
        EventKind::ModelTested { evidence, .. } => Some((run, evidence)),
        _ => None,
    }))
}

/// How far back results of tests are looked for.
const KNOWN: usize = 20;

/// Results of the same tests on the same model, and where they are stored.
fn known_evidence(app: &App<'_>, key: &str) -> anyhow::Result<Option<(Evidence, Digest)>> {
    let filter = EventFilter {
        kind: Some("model.tested".to_owned()),
        limit: Some(KNOWN),
        order: Order::NewestFirst,
        ..EventFilter::default()
    };
    for event in app.block(app.db()?.events(&filter))? {
        let EventKind::ModelTested { evidence, .. } = event.kind else { continue };
        if let Some(found) = evidence_of(app, &evidence)?
            && found.key == key
        {
            return Ok(Some((found, evidence)));
        }
    }
    Ok(None)
}

/// Stored evidence; `None` where it has been collected or has another form.
fn evidence_of(app: &App<'_>, digest: &Digest) -> anyhow::Result<Option<Evidence>> {
    let store = app.store()?;
    if !store.contains(digest)? {
        return Ok(None);
    }
    Ok(Evidence::read(&store.get(digest)?))
}
