//! The pipeline's journal, kept in the database. Steps that end are queued and committed in groups, in order, with
//! their events; the run goes on meanwhile.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tidemill_core::declare::Step;
use tidemill_core::{Actor, Digest, EventKind, NewEvent, StepState, Timestamp, canonical_json};
use tidemill_db::{Db, NewRun, Owner, StepResult, StepRun};
use tidemill_pipeline::{CachedStep, Error, Journal, RunFinished, RunStarted, SetAside, StepFinished};
use tidemill_store::Store;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

/// Steps that may wait to be recorded before a run waits for them.
const QUEUE: usize = 256;

/// What a run sets out to do: stored as an object, so that the run can be repeated without the project's Git history.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RunPlan {
    /// The form of this document.
    pub(crate) format: u32,
    /// The version of Tidemill that made it.
    pub(crate) tidemill: String,
    /// The text of the project file.
    pub(crate) project_file: String,
    /// The parameters, with overrides.
    pub(crate) params: serde_json::Value,
    /// The steps, complete.
    pub(crate) steps: Vec<Step>,
    /// Names of the steps that were asked for; empty for all.
    pub(crate) selection: Vec<String>,
}

impl RunPlan {
    /// The form written by this version.
    pub(crate) const FORMAT: u32 = 1;
}

/// The journal of one run.
pub(crate) struct Recorder {
    db: Db,
    store: Store,
    runtime: Handle,
    project: String,
    root: PathBuf,
    actor: Actor,
    cause: Option<u64>,
    plan: Digest,
    queue: mpsc::Sender<Message>,
}

enum Message {
    Step(Box<StepFinished>),
    Flush(oneshot::Sender<Result<(), Error>>),
}

/// What a journal is made of.
pub(crate) struct Parts {
    pub(crate) db: Db,
    pub(crate) store: Store,
    pub(crate) runtime: Handle,
    pub(crate) project: String,
    pub(crate) root: PathBuf,
    pub(crate) actor: Actor,
    /// The event that led to the run.
    pub(crate) cause: Option<u64>,
    /// Digest of the stored [`RunPlan`].
    pub(crate) plan: Digest,
}

impl Recorder {
    /// A journal for one run.
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { db, store, runtime, project, root, actor, cause, plan } = parts;
        let (queue, receiver) = mpsc::channel(QUEUE);
        runtime.spawn(record(db.clone(), store.clone(), actor.clone(), receiver));
        Self { db, store, runtime, project, root, actor, cause, plan, queue }
    }

    fn event(&self, at: Timestamp, kind: EventKind) -> NewEvent {
        NewEvent { at, actor: self.actor.clone(), kind, cause: self.cause }
    }

    fn say(&self, message: Message) -> Result<(), Error> {
        self.queue.blocking_send(message).map_err(|_| Error::Internal("the recorder has ended".to_owned()))
    }
}

/// Takes what waits, commits it together, and goes on until the run drops its end.
async fn record(db: Db, store: Store, actor: Actor, mut queue: mpsc::Receiver<Message>) {
    let mut failure: Option<Error> = None;
    let mut waiting = Vec::new();
    while queue.recv_many(&mut waiting, QUEUE).await > 0 {
        let mut steps = Vec::new();
        let mut flushes = Vec::new();
        for message in waiting.drain(..) {
            match message {
                Message::Step(step) => steps.push(*step),
                Message::Flush(done) => flushes.push(done),
            }
        }
        if failure.is_none() && !steps.is_empty() {
            failure = match commit(&db, &actor, &steps).await {
                Ok(()) => share(&store, &steps).await.err().map(Error::store),
                Err(error) => Some(Error::journal(error)),
            };
        }
        // The first caller that waits hears of the failure; the run ends with it.
        for done in flushes {
            let _ = done.send(failure.take().map_or(Ok(()), Err));
        }
    }
}

async fn commit(db: &Db, actor: &Actor, steps: &[StepFinished]) -> Result<(), tidemill_db::Error> {
    let mut tx = db.begin().await?;
    let mut events = Vec::with_capacity(steps.len());
    for finished in steps {
        // A step that was up to date, or skipped before its inputs were known, changed nothing.
        let Some(key) = finished.key.filter(|_| finished.state != StepState::Unchanged) else { continue };
        let outputs = (!finished.outs.is_empty())
            .then(|| canonical_json(&finished.outs).map(|bytes| Digest::of(&bytes)))
            .transpose()
            .unwrap_or_default();
        let step = StepRun {
            run: finished.run,
            step: finished.step.clone(),
            key,
            state: finished.state,
            attempt: finished.attempts.max(1),
            exit_code: finished.exit_code,
            outputs,
            log: finished.stored_log,
            started_at: Timestamp::from_millis(
                finished.at.millis() - i64::try_from(finished.duration_ms).unwrap_or(0),
            ),
            ended_at: finished.at,
            reason: Some(finished.reasons.join("; ")).filter(|text| !text.is_empty()),
        };
        let result = finished.cached().map(|(key, cached)| StepResult {
            key,
            outputs: serde_json::to_string(&cached).unwrap_or_default(),
            run: finished.run,
            created_at: finished.at,
            duration_ms: finished.duration_ms,
        });
        tx.finish_step(&step, result.as_ref()).await?;
        events.push(NewEvent {
            at: finished.at,
            actor: actor.clone(),
            kind: EventKind::StepFinished {
                run: finished.run,
                step: finished.step.clone(),
                state: finished.state,
                key,
                outputs,
                exit_code: finished.exit_code,
                duration_ms: finished.duration_ms,
            },
            cause: None,
        });
    }
    if !events.is_empty() {
        tx.commit(events).await?;
    }
    Ok(())
}

/// Notes results in the store that machines share, so that others restore what ran here. Their outputs are there.
async fn share(store: &Store, steps: &[StepFinished]) -> Result<(), tidemill_store::Error> {
    let Some(remote) = store.behind() else { return Ok(()) };
    let results = steps.iter().filter_map(StepFinished::cached);
    let documents: Vec<(String, Vec<u8>)> = results
        .map(|(key, result)| (document(&key), serde_json::to_vec(&result).unwrap_or_default()))
        .collect();
    remote.put_refs(&documents).await
}

/// Where the result of an action is noted in a store that machines share.
fn document(key: &Digest) -> String {
    let hex = key.hex();
    format!("results/{}/{hex}.json", &hex[..2])
}

/// Reads what [`commit`] wrote into the step cache.
fn cached(result: &StepResult) -> Option<CachedStep> {
    serde_json::from_str(&result.outputs).ok()
}

/// Results of actions that earlier runs recorded, here or, where machines share a store, on any of them.
pub(crate) fn lookup(
    db: &Db,
    store: &Store,
    runtime: &Handle,
    keys: &[Digest],
) -> Result<Vec<Option<CachedStep>>, Error> {
    let found = runtime.block_on(db.step_cache_many(keys)).map_err(Error::journal)?;
    let mut results: Vec<Option<CachedStep>> =
        keys.iter().map(|key| found.get(key).and_then(cached)).collect();
    if let Some(remote) = store.behind() {
        let lacking: Vec<usize> = (0..keys.len()).filter(|at| results[*at].is_none()).collect();
        let names: Vec<String> = lacking.iter().map(|at| document(&keys[*at])).collect();
        let documents = runtime.block_on(remote.get_refs(&names)).map_err(Error::store)?;
        for (at, document) in lacking.into_iter().zip(documents) {
            // One that cannot be read is as good as none: the step runs.
            results[at] = document.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        }
    }
    Ok(results)
}

impl Journal for Recorder {
    fn lookup(&self, keys: &[Digest]) -> Result<Vec<Option<CachedStep>>, Error> {
        lookup(&self.db, &self.store, &self.runtime, keys)
    }

    fn run_started(&self, started: &RunStarted) -> Result<(), Error> {
        let run = NewRun {
            id: started.run,
            project: self.project.clone(),
            plan: self.plan,
            commit: started.commit.clone(),
            started_at: started.at,
            cause: self.cause,
            owner: Owner::current(),
        };
        let kind =
            EventKind::RunStarted { run: started.run, commit: started.commit.clone(), plan: self.plan };
        let event = self.event(started.at, kind);
        self.runtime
            .block_on(async {
                let mut tx = self.db.begin().await?;
                tx.start_run(&run).await?;
                tx.commit(vec![event]).await
            })
            .map_err(Error::journal)?;
        Ok(())
    }

    fn step_finished(&self, finished: &StepFinished) -> Result<(), Error> {
        self.say(Message::Step(Box::new(finished.clone())))
    }

    fn set_aside(&self, aside: &SetAside) -> Result<(), Error> {
        Ok(crate::kept::add(&self.root.join(".tidemill"), aside)?)
    }

    fn flush(&self) -> Result<(), Error> {
        let (done, flushed) = oneshot::channel();
        self.say(Message::Flush(done))?;
        match self.runtime.block_on(flushed) {
            Ok(result) => result,
            Err(_) => Err(Error::Internal("the recorder has ended".to_owned())),
        }
    }

    fn run_finished(&self, finished: &RunFinished) -> Result<(), Error> {
        self.flush()?;
        // The lock file becomes an object: what `reproduce` and `diff` read later.
        let lock = match (finished.lock, fs_err::read(self.root.join(crate::app::LOCK_FILE))) {
            (Some(_), Ok(text)) => Some(self.store.put(&text).map_err(Error::store)?),
            _ => None,
        };
        let kind = EventKind::RunFinished { run: finished.run, state: finished.state, lock };
        let event = self.event(finished.at, kind);
        self.runtime
            .block_on(async {
                let mut tx = self.db.begin().await?;
                tx.finish_run(finished.run, finished.state, lock, finished.at).await?;
                tx.commit(vec![event]).await
            })
            .map_err(Error::journal)?;
        Ok(())
    }
}
