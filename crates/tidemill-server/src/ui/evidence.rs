//! What is in the store about runs of the pipeline: plans, results of tests, logs.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Deserialize;
use tidemill_core::declare::Step;
use tidemill_core::{Digest, Event, EventKind, Evidence, Outcome, RunId, TestResult, Timestamp};
use tidemill_registry::{Code, Error};
use tidemill_ui::{Badge, Cell, Table, Tone};
use tokio::task::spawn_blocking;

use super::kept::Kept;
use crate::App;

/// Bytes of an object that are read whole; plans and results are far smaller.
const LARGEST: u64 = 16 << 20;

/// The parts of a stored plan that pages show.
#[derive(Debug, Deserialize)]
pub(super) struct Plan {
    pub(super) tidemill: String,
    pub(super) params: serde_json::Value,
    pub(super) steps: Vec<Step>,
    pub(super) selection: Vec<String>,
}

/// How many steps a plan has, and which tables they read.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) steps: usize,
    pub(super) reads: BTreeSet<String>,
}

/// The tests of a run's model.
#[derive(Debug)]
pub(super) struct Tests {
    pub(super) run: RunId,
    pub(super) at: Timestamp,
    pub(super) step: String,
    pub(super) passed: u64,
    pub(super) failed: u64,
    pub(super) results: Vec<TestResult>,
}

/// The last bytes of an object, at most `most`; nothing where the store does not have it any more.
pub(super) async fn tail(app: &App, digest: Digest, most: u64) -> Result<Option<Vec<u8>>, Error> {
    let store = app.registry().store().clone();
    let read = spawn_blocking(move || -> Result<Option<Vec<u8>>, std::io::Error> {
        use std::io::Read as _;
        if !store.contains(&digest).map_err(std::io::Error::other)? {
            return Ok(None);
        }
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let mut reader = store.read(&digest).map_err(std::io::Error::other)?;
        let (mut kept, mut block) = (Vec::new(), vec![0; 64 << 10]);
        loop {
            let count = reader.read(&mut block)?;
            if count == 0 {
                break;
            }
            kept.extend_from_slice(&block[..count]);
            // Cut now and then, so that a long log is moved a few times only.
            if kept.len() > most.saturating_mul(2) {
                kept.drain(..kept.len() - most);
            }
        }
        kept.drain(..kept.len().saturating_sub(most));
        Ok(Some(kept))
    });
    let read = read.await.map_err(|error| Error::new(Code::InternalError, error.to_string()))?;
    read.map_err(|error| {
        let mut failure = Error::new(Code::InternalError, "an object of the store cannot be read");
        failure.source = Some(Box::new(error));
        failure
    })
}

/// What a run set out to do.
pub(super) async fn plan(app: &App, digest: Digest) -> Result<Option<Plan>, Error> {
    let bytes = tail(app, digest, LARGEST).await?;
    // One of another version is as one that is not there: the page says so and shows the rest.
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// The same in short, for pages that need it of many runs.
pub(super) async fn planned(app: &App, digest: Digest) -> Result<Option<Arc<Planned>>, Error> {
    let read = |bytes: &[u8]| {
        let plan: Plan = serde_json::from_slice(bytes).ok()?;
        let steps = plan.steps.len();
        let reads = plan.steps.into_iter().flat_map(|step| step.inputs).map(|input| input.table).collect();
        Some(Planned { steps, reads })
    };
    read_once(app, &app.documents().plans, digest, read).await
}

/// A document that is kept, or else read and kept.
async fn read_once<T>(
    app: &App,
    kept: &Kept<T>,
    digest: Digest,
    read: fn(&[u8]) -> Option<T>,
) -> Result<Option<Arc<T>>, Error> {
    if let Some(known) = kept.find(digest) {
        return Ok(Some(known));
    }
    let bytes = tail(app, digest, LARGEST).await?;
    Ok(bytes.and_then(|bytes| Some(kept.put(digest, bytes.len(), read(&bytes)?))))
}

/// The newest tests, of one run or of all.
pub(super) async fn tests(app: &App, run: Option<RunId>) -> Result<Option<Tests>, Error> {
    let newest = app.registry().db().newest_event("model.tested", run.map(|run| format!("run:{run}")), None);
    match newest.await? {
        Some(event) => tested(app, event).await,
        None => Ok(None),
    }
}

/// The tests that an event tells of.
pub(super) async fn tested(app: &App, event: Event) -> Result<Option<Tests>, Error> {
    let EventKind::ModelTested { run, evidence, passed, failed, .. } = event.kind else { return Ok(None) };
    let found = read_once(app, &app.documents().tests, evidence, Evidence::read).await?;
    let (step, results) = found.map(|found| (found.step.clone(), found.results.clone())).unwrap_or_default();
    Ok(Some(Tests { run, at: event.at, step, passed, failed, results }))
}

/// How a test came out.
pub(super) fn outcome(outcome: Outcome) -> Badge {
    match outcome {
        Outcome::Passed => Badge::new(Tone::Good, "passed"),
        Outcome::Failed => Badge::new(Tone::Bad, "failed"),
        Outcome::NotJudged => Badge::new(Tone::Warn, "not judged"),
    }
}

/// Tests with their outcomes.
pub(super) fn table(evidence: &Tests) -> Table {
    let rows = evidence.results.iter().map(|result| {
        vec![
            Cell::Badge(outcome(result.outcome)),
            Cell::text(result.test.clone()),
            Cell::text(result.message.clone()),
        ]
    });
    Table::new("tests", "Tests of the model", &["outcome", "test", "what was found"]).with(rows)
}
