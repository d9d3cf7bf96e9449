//! Who works on the jobs of the demo's triggers. `tidemill up` starts processes for them, which know the machine's clock alone; here
//! the same pipeline runs on a thread of this process, whose clock is that of the year.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;

use anyhow::Context as _;
use async_trait::async_trait;
use tidemill_core::declare::{MessageSource, Secret, Trigger, TriggerAction};
use tidemill_core::{Clock, JobState, Timestamp};
use tidemill_db::jobs::Job;
use tidemill_server::triggers::{Folder, Host, Worked};
use tidemill_trigger::Details;
use tidemill_trigger::message::Source;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::clock::Replayed;
use super::{DAY, date, silent};
use crate::app::App;
use crate::cli::Run;
use crate::command::run::{self, Registered};
use crate::failure::Failure;
use crate::output::Console;

/// Days of flights that a training learns from.
pub(super) const LEARNED: i64 = 90;

/// Runs steps of the pipeline for a training on the ninety days before the day of `at`; gives the version that it became.
pub(super) fn train(
    app: &App<'_>,
    steps: &[&str],
    params: &[String],
    at: Timestamp,
    share: u32,
) -> anyhow::Result<u64> {
    let mut params = params.to_vec();
    params.extend([
        format!("features.from={}", date(Timestamp::from_millis(at.millis() - LEARNED * DAY))),
        format!("features.to={}", date(at)),
        format!("features.share={share}"),
    ]);
    let args = Run {
        steps: steps.iter().map(|step| (*step).to_owned()).collect(),
        downstream: false,
        dry_run: false,
        force: false,
        jobs: None,
        params,
        sweep: Vec::new(),
        keep_going: false,
        wait: false,
        no_tests: false,
        no_register: false,
    };
    let resolved = app.resolve(&args.params)?;
    let done = run::once(&args, app, &resolved)?;
    if app.cancel.is_cancelled() {
        return Err(Failure::cancelled().into());
    }
    if !done.good() {
        return Err(Failure::new("the pipeline of the demo failed")
            .hint("`tidemill demo --dir DIR` keeps its folder; look at `tidemill status -C DIR`")
            .into());
    }
    match done.registered {
        Some(Registered::New { version, .. } | Registered::Known { version, .. }) => Ok(version),
        Some(Registered::Refused { why, .. }) => {
            Err(Failure::new(format!("the model of the demo cannot be registered: {why}")).into())
        }
        None => Err(Failure::new("the training left no model").into()),
    }
}

/// A training that a trigger asked for, and that is done.
pub(super) struct Trained {
    /// The event with which its job began.
    pub(super) cause: u64,
    /// The monitor whose alert it was.
    pub(super) watch: String,
    /// The version that it became.
    pub(super) version: u64,
}

/// Asked for at a time of the year, as a consequence of an event.
struct Order {
    cause: u64,
    at: Timestamp,
    done: oneshot::Sender<Result<u64, String>>,
}

/// Trains where triggers ask for it.
pub(super) struct Trainer {
    clock: Arc<Replayed>,
    /// Until they were asked for: the file does not change.
    triggers: Mutex<Option<Vec<Trigger>>>,
    orders: Mutex<Option<mpsc::Sender<Order>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    trained: Mutex<Vec<Trained>>,
}

impl Trainer {
    /// For the project in `root`.
    pub(super) fn start(
        root: PathBuf,
        clock: Arc<Replayed>,
        triggers: Vec<Trigger>,
        share: u32,
    ) -> anyhow::Result<Arc<Self>> {
        let (orders, taken) = mpsc::channel::<Order>();
        let time = Arc::clone(&clock);
        let thread = std::thread::Builder::new()
            .name("training".to_owned())
            .spawn(move || work(root, time, share, taken))
            .context("cannot start a thread")?;
        Ok(Arc::new(Self {
            clock,
            triggers: Mutex::new(Some(triggers)),
            orders: Mutex::new(Some(orders)),
            thread: Mutex::new(Some(thread)),
            trained: Mutex::default(),
        }))
    }

    /// What was trained since this was asked the last time.
    pub(super) fn trained(&self) -> Vec<Trained> {
        std::mem::take(&mut *held(&self.trained))
    }

    /// Takes no more orders.
    pub(super) fn stop(&self) {
        drop(held(&self.orders).take());
        if let Some(thread) = held(&self.thread).take() {
            // One that panicked has said so.
            drop(thread.join());
        }
    }

    async fn train(&self, cause: u64) -> Result<u64, String> {
        let (done, end) = oneshot::channel();
        let order = Order { cause, at: self.clock.now(), done };
        let sent = held(&self.orders).as_ref().is_some_and(|orders| orders.send(order).is_ok());
        let gone = || "nobody trains any more".to_owned();
        if sent { end.await.map_err(|_| gone())? } else { Err(gone()) }
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn work(root: PathBuf, clock: Arc<Replayed>, share: u32, orders: mpsc::Receiver<Order>) {
    let console = Console::new(&silent());
    let mut app = App::open_at(root, None, &console);
    for order in orders {
        let done = match &mut app {
            Ok(app) => {
                app.clock = Arc::clone(&clock) as Arc<dyn Clock>;
                app.be_part_of(order.cause);
                train(app, &["train"], &[], order.at, share).map_err(|error| format!("{error:#}"))
            }
            Err(error) => Err(format!("{error:#}")),
        };
        // Whoever asked may have gone.
        drop(order.done.send(done));
    }
    if let Ok(app) = &app
        && let Ok(db) = app.db()
    {
        drop(app.block(db.clone().close()));
    }
}

#[async_trait]
impl Host for Trainer {
    fn reload(&self) -> Option<Result<Vec<Trigger>, String>> {
        held(&self.triggers).take().map(Ok)
    }

    fn secret(&self, _: &Secret) -> Result<String, String> {
        Err("the demo has no secrets".to_owned())
    }

    async fn stamp(&self, _: &[String]) -> Result<String, String> {
        Err("the data of the demo do not change".to_owned())
    }

    fn folders(&self, _: &[String]) -> Vec<Folder> {
        Vec::new()
    }

    async fn branch(&self, _: &str, _: Option<&str>) -> Result<Option<String>, String> {
        Ok(None)
    }

    async fn connect(&self, _: &str, _: &Trigger, _: &MessageSource) -> Result<Box<dyn Source>, String> {
        Err("the demo has no broker".to_owned())
    }

    async fn work(&self, job: &Job, started: u64, _: CancellationToken) -> Worked {
        let failed = |reason: String| Worked { state: JobState::Failed, reason: Some(reason) };
        let actions: Vec<TriggerAction> = match serde_json::from_str(&job.actions) {
            Ok(actions) => actions,
            Err(error) => return failed(format!("what is to be done cannot be read: {error}")),
        };
        if let Some(other) = actions.iter().find(|action| **action != TriggerAction::Run) {
            return failed(format!("the demo does not do `{}`", other.name()));
        }
        let version = match self.train(started).await {
            Ok(version) => version,
            Err(why) => return failed(why),
        };
        let details: Details = serde_json::from_str(&job.details).unwrap_or_default();
        let watch = details.get("watch").unwrap_or(&job.trigger).clone();
        held(&self.trained).push(Trained { cause: started, watch, version });
        Worked { state: JobState::Succeeded, reason: None }
    }
}
