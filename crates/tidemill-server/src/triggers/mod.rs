//! Triggers inside of the server: sources that look outside, the reactor over the log, and the worker.
//!
//! ```text
//! schedule, data, git, hooks, messages ──▶ source.changed + offset   (one transaction)
//! reactor: events after its cursor ──▶ trigger.fired + job, or trigger.suppressed, + cursor   (one transaction)
//! worker: a job that is free ──▶ job.started + lease … job.finished
//! ```
//!
//! Every arrow is one transaction, so a process may die between any two: what was not recorded is looked at again, and
//! what was recorded is not repeated. What may be decided is decided by `tidemill-trigger`; what jobs do is the
//! [`Host`]'s, which the binary implements.

mod data;
mod git;
mod hooks;
mod messages;
mod reactor;
mod schedule;
mod watch;
mod worker;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use tidemill_core::declare::{MessageSource, Secret, Trigger};
use tidemill_core::{Actor, Clock, EventKind, JobState, NewEvent, SourceKind, Timestamp};
use tidemill_db::jobs::{Job, Stopped};
use tidemill_db::{Db, Tx};
use tidemill_trigger::message::Source;
use tidemill_trigger::{Details, Pending, Rules};
use tokio::sync::{Notify, watch as value};
use tokio_util::sync::CancellationToken;

pub(crate) use hooks::routes;

use crate::Background;

/// How often the project file is looked at.
const RELOAD: Duration = Duration::from_secs(1);
/// How often deliveries that are older than [`KEEP`] are forgotten.
const PRUNE: Duration = Duration::from_secs(3600);
/// So long a delivery is known, so that it does not act again.
const KEEP: Duration = Duration::from_secs(30 * 24 * 3600);

/// What the server cannot do itself: it knows neither project files nor pipelines.
#[async_trait]
pub trait Host: Send + Sync {
    /// The triggers of the project, where its file has changed since they were asked for; or why they cannot be read.
    fn reload(&self) -> Option<Result<Vec<Trigger>, String>>;

    /// A secret, read anew each time.
    fn secret(&self, secret: &Secret) -> Result<String, String>;

    /// A text that changes when the files behind these paths or addresses do. Takes its time.
    async fn stamp(&self, paths: &[String]) -> Result<String, String>;

    /// Folders of this machine in which these paths are, those that are there.
    fn folders(&self, paths: &[String]) -> Vec<Folder>;

    /// The commit that a branch is at; `None` where there is no such branch. Takes its time.
    async fn branch(&self, branch: &str, remote: Option<&str>) -> Result<Option<String>, String>;

    /// The newest commit of a history that is not only the record of what environments run: these follow from releases, and releases are
    /// not to follow from them. The commit itself where nothing else is known.
    async fn without_records(&self, commit: &str) -> String {
        commit.to_owned()
    }

    /// Begins to listen for the messages of a trigger. Takes its time.
    async fn connect(
        &self,
        project: &str,
        trigger: &Trigger,
        source: &MessageSource,
    ) -> Result<Box<dyn Source>, String>;

    /// Does what a job asks for. `started` is the event with which it began; it is to end soon after `stop`.
    async fn work(&self, job: &Job, started: u64, stop: CancellationToken) -> Worked;
}

/// A folder that is watched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Folder {
    /// Where it is.
    pub path: PathBuf,
    /// With all folders below it.
    pub below: bool,
}

/// How a job went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worked {
    /// How it ended.
    pub state: JobState,
    /// Why not well, for people.
    pub reason: Option<String>,
}

/// The triggers of one project. Clones share them.
#[derive(Clone)]
pub struct Triggers {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    clock: Arc<dyn Clock>,
    project: String,
    host: Arc<dyn Host>,
    rules: RwLock<Arc<Rules>>,
    /// Counts how often the rules were read.
    generation: value::Sender<u64>,
    /// There may be something to do, or to stop.
    jobs: Notify,
    stops: Notify,
}

impl fmt::Debug for Triggers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Triggers").field("project", &self.inner.project).finish_non_exhaustive()
    }
}

impl Triggers {
    /// Of the project of this name. Triggers that cannot be read are an error.
    pub fn new(
        db: Db,
        clock: Arc<dyn Clock>,
        project: impl Into<String>,
        host: Arc<dyn Host>,
    ) -> Result<Self, String> {
        let project = project.into();
        let found = host.reload().unwrap_or_else(|| Ok(Vec::new()))?;
        let rules = Rules::new(project.clone(), found).map_err(|error| error.to_string())?;
        let inner = Inner {
            db,
            clock,
            project,
            host,
            rules: RwLock::new(Arc::new(rules)),
            generation: value::channel(0).0,
            jobs: Notify::new(),
            stops: Notify::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Notes where in the log these triggers begin, where nobody has read it for them yet: at its end. To be done
    /// before anything is accepted, or what is accepted in the first moment would count as read. Notes also that no
    /// broker is listened to yet.
    pub async fn begin(&self) -> tidemill_db::Result<()> {
        messages::begin(self).await?;
        if self.db().log_cursor(&consumer(self.project())).await?.is_some() {
            return Ok(());
        }
        let mut tx = self.db().begin().await?;
        begin_reading(&mut tx, self.project()).await?;
        tx.commit(Vec::new()).await.map(drop)
    }

    /// What waits at triggers, by their names, and the jobs that are open.
    pub(crate) async fn standing(&self) -> tidemill_db::Result<(BTreeMap<String, Pending>, Vec<Job>)> {
        let (db, project) = (self.db(), self.project());
        Ok((pending(db, project).await?, db.open_jobs(project).await?))
    }

    /// Acts on all that the log says by now, and works on what follows from it until nothing is left. For whoever takes a server on step
    /// by step; one that `tidemill up` starts does the same by itself.
    ///
    /// # Errors
    ///
    /// What the database refuses.
    pub async fn settle(&self, stop: &CancellationToken) -> tidemill_db::Result<()> {
        let mut reader = reactor::Reader::new(self.clone());
        loop {
            while reader.round().await? {}
            reader.note().await;
            if stop.is_cancelled() || !worker::round(self, stop).await? {
                return Ok(());
            }
        }
    }

    /// The triggers as they were last read.
    pub fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.inner.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The project.
    pub fn project(&self) -> &str {
        &self.inner.project
    }

    pub(crate) fn db(&self) -> &Db {
        &self.inner.db
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    fn host(&self) -> &dyn Host {
        self.inner.host.as_ref()
    }

    /// Says that a job is to be stopped.
    pub(crate) fn stopping(&self) {
        self.inner.stops.notify_waiters();
        self.inner.jobs.notify_one();
    }

    fn event(&self, actor: Actor, kind: EventKind, cause: Option<u64>) -> NewEvent {
        NewEvent { at: self.now(), actor, kind, cause }
    }

    /// The event that a source has changed.
    fn changed(&self, actor: Actor, source: SourceKind, name: &str, details: Details) -> NewEvent {
        let kind = EventKind::SourceChanged {
            project: self.inner.project.clone(),
            source,
            name: name.to_owned(),
            details,
        };
        self.event(actor, kind, None)
    }

    /// Fires a trigger by hand; gives the event.
    pub(crate) async fn fire(&self, actor: &Actor, name: &str) -> Result<u64, tidemill_db::Error> {
        fire_by_hand(&self.inner.db, &self.inner.project, name, actor, self.now()).await
    }

    /// Reads the project file again where it has changed. What cannot be read leaves the rules as they are.
    fn reload(&self) {
        let rules = match self.inner.host.reload() {
            None => return,
            Some(Ok(found)) => {
                Rules::new(self.inner.project.clone(), found).map_err(|error| error.to_string())
            }
            Some(Err(why)) => Err(why),
        };
        match rules {
            Ok(rules) => {
                tracing::info!(
                    triggers = rules.rules.len(),
                    "the project file has changed and is read again"
                );
                *self.inner.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
                self.inner.generation.send_modify(|generation| *generation += 1);
            }
            Err(why) => tracing::warn!("the triggers stay as they were: {why}"),
        }
    }
}

/// Who stands in the log for what triggers do by themselves.
fn system() -> Actor {
    Actor::system("trigger")
}

/// The name under which the reactor of a project keeps its place in the log.
fn consumer(project: &str) -> String {
    format!("triggers:{project}")
}

/// Notes that a project reads the log from its end on, where nobody has read it for the project yet.
async fn begin_reading(tx: &mut Tx, project: &str) -> tidemill_db::Result<()> {
    let consumer = consumer(project);
    if tx.log_cursor(&consumer).await?.is_none() {
        let end = tx.next_seq() - 1;
        tx.move_log_cursor(&consumer, end).await?;
    }
    Ok(())
}

/// What waits at the triggers of a project, by their names.
///
/// # Errors
/// Those of the database.
pub async fn pending(db: &Db, project: &str) -> tidemill_db::Result<BTreeMap<String, Pending>> {
    let stored = db.pending_triggers(project).await?;
    Ok(stored.into_iter().filter_map(|(name, text)| Some((name, reactor::parse(&text)?))).collect())
}

/// Appends the event that somebody fires a trigger by hand; gives its number. The server of the project acts on it, also
/// if it starts later.
///
/// # Errors
/// Those of the database.
pub async fn fire_by_hand(
    db: &Db,
    project: &str,
    name: &str,
    actor: &Actor,
    at: Timestamp,
) -> Result<u64, tidemill_db::Error> {
    let kind = EventKind::SourceChanged {
        project: project.to_owned(),
        source: SourceKind::Hand,
        name: name.to_owned(),
        details: Details::new(),
    };
    let mut tx = db.begin().await?;
    let seq = tx.next_seq();
    // Without a place in the log a server begins at its end, and would pass over this.
    begin_reading(&mut tx, project).await?;
    tx.commit(vec![NewEvent { at, actor: actor.clone(), kind, cause: None }]).await?;
    Ok(seq)
}

/// Stops a job by hand: at once where it waits, and by its worker where it runs.
///
/// # Errors
/// Those of the database.
pub async fn cancel_by_hand(
    db: &Db,
    job: &Job,
    actor: &Actor,
    at: Timestamp,
) -> Result<Stopped, tidemill_db::Error> {
    let state = JobState::Cancelled;
    if db.ask_job_to_stop(job.id, state).await? {
        return Ok(Stopped::Asked);
    }
    let reason = format!("{actor} stopped it");
    let mut tx = db.begin().await?;
    let stopped = tx.stop_job(job.id, state, &reason, at).await?;
    let mut events = Vec::new();
    if stopped == Stopped::Ended {
        let kind =
            EventKind::JobFinished { job: job.id, trigger: job.trigger.clone(), state, reason: Some(reason) };
        events.push(NewEvent { at, actor: actor.clone(), kind, cause: Some(job.cause) });
    }
    // One that began in this very moment is asked, which has no event.
    tx.commit(events).await?;
    Ok(stopped)
}

/// Starts all that goes on for triggers.
pub(crate) fn start(triggers: &Triggers, background: &Background) {
    let t = triggers.clone();
    background.spawn("triggers", |stop| reactor::run(t, stop));
    let t = triggers.clone();
    background.spawn("schedule", |stop| schedule::run(t, stop));
    let t = triggers.clone();
    background.spawn("data", |stop| data::run(t, stop));
    let t = triggers.clone();
    background.spawn("git", |stop| git::run(t, stop));
    let t = triggers.clone();
    background.spawn("messages", |stop| messages::run(t, stop));
    let t = triggers.clone();
    background.spawn("jobs", |stop| worker::run(t, stop));
    let t = triggers.clone();
    background.spawn("deliveries", |stop| async move {
        while sleep(PRUNE, &stop).await {
            let before = t.now().millis().saturating_sub(KEEP.as_millis() as i64);
            if let Err(error) = t.db().prune_deliveries_of_sources(Timestamp::from_millis(before)).await {
                tracing::warn!("old deliveries cannot be forgotten: {error}");
            }
        }
    });
    let t = triggers.clone();
    background.spawn("project file", |stop| async move {
        while sleep(RELOAD, &stop).await {
            let t = t.clone();
            // It reads a file.
            drop(tokio::task::spawn_blocking(move || t.reload()).await);
        }
    });
}

/// Waits; `false` where the server stops meanwhile.
async fn sleep(time: Duration, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = stop.cancelled() => false,
        () = tokio::time::sleep(time) => true,
    }
}
