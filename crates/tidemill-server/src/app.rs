//! What every handler shares: the settings, the registry, the meters and the work that goes on beside requests.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tidemill_core::declare::{DataFormat, Objective};
use tidemill_registry::access::Access;
use tidemill_registry::{Reach, Registry};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::background::Background;
use crate::delivery::Ledger;
use crate::health::Pulse;
use crate::meter::Meter;
use crate::serving::Serving;
use crate::shell::{NOBODY, Origins, Token};
use crate::step_log::Ends;
use crate::triggers::Triggers;
use crate::ui::{Cones, Diffs, Documents, FormKey};

/// What is said to a request whose body finds no memory.
pub(crate) const CROWDED: &str = "the bodies of the requests that are being worked on take all the memory that is set \
    aside for them; try again in a moment";
/// Bodies up to this size need no room: as many as may be in flight are 64 MB.
const FREE: usize = 64 << 10;
/// Bytes of the steps in which room is counted.
const ROOM: usize = 1 << 10;

/// A part of the memory for bodies, until it is dropped.
#[derive(Debug)]
pub(crate) struct Room(#[expect(dead_code, reason = "held for its end")] Option<OwnedSemaphorePermit>);

/// What every request waits for before its handler runs.
#[derive(Clone)]
pub struct Before(pub Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>);

impl std::fmt::Debug for Before {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Before")
    }
}

/// Where secrets are that a project file names: the environment of the server, where the binary says so.
#[derive(Clone, Default)]
pub struct Secrets(Option<Arc<dyn Fn(&str) -> Option<String> + Send + Sync>>);

impl Secrets {
    /// From a function of the name.
    pub fn of(read: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(read)))
    }

    /// The secret of this name, where there is one.
    pub fn read(&self, name: &str) -> Option<String> {
        self.0.as_ref()?(name)
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets(…)")
    }
}

/// What the project file says of the project, for pages that people read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct About {
    /// The project's name.
    pub project: String,
    /// Its folder, where the server may ask Git.
    pub root: Option<PathBuf>,
    /// The team or person that answers for it.
    pub team: Option<String>,
    /// Where they are reached.
    pub contact: Option<String>,
    /// What is decided, and what errors cost.
    pub objective: Option<Objective>,
    /// The registered model that is released.
    pub model: Option<String>,
    /// Columns of datasets whose values are not shown, by dataset.
    pub hidden: BTreeMap<String, Vec<String>>,
    /// How the versions of datasets are read and compared, by dataset.
    pub data: BTreeMap<String, AboutData>,
}

/// What the project file says of a dataset.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AboutData {
    /// The columns that identify a row.
    pub key: Vec<String>,
    /// The format that is declared.
    pub format: Option<DataFormat>,
    /// Where its files are.
    pub paths: Vec<String>,
}

impl About {
    /// Columns of a dataset whose values are not shown.
    pub(crate) fn redact(&self, dataset: &str) -> Vec<String> {
        self.hidden.get(dataset).cloned().unwrap_or_default()
    }
}

/// Settings of a server. Read once, by the binary.
#[derive(Clone, Debug)]
pub struct Config {
    /// A folder for bodies that are being received.
    pub scratch: PathBuf,
    /// The largest JSON body, in bytes.
    pub json_limit: usize,
    /// Bytes of bodies, and of what they are read into, that requests may hold together; more are told to come back.
    pub body_memory: usize,
    /// The largest artifact, in bytes.
    pub artifact_limit: u64,
    /// Folders whose files may be read as artifacts of runs that keep theirs in a local folder.
    pub artifact_roots: Vec<PathBuf>,
    /// Every route except `/health` and `/version` asks for it where it is set.
    pub token: Option<Token>,
    /// The users who may sign in, where there are any; whoever knows the token may do everything.
    pub access: Option<Access>,
    /// Under whose name it is recorded what nobody says a name for: whoever started the server, where it has no token and only those
    /// on the same machine reach it.
    pub user: String,
    /// Which names and which web pages may reach the server.
    pub origins: Origins,
    /// Connections that are open at once; more wait until one is closed.
    pub connections: usize,
    /// Requests that are worked on at once; more are told to come back.
    pub in_flight: usize,
    /// Streams that follow the log at once; more are told to come back.
    pub streams: usize,
    /// How long a client may take for the head of a request, and how long a connection may be idle.
    pub head_timeout: Duration,
    /// How long a client may neither send nor take a byte of a body.
    pub stall_timeout: Duration,
    /// The files of MLflow's own web pages, which are then below `/mlflow/`.
    pub mlflow_pages: Option<PathBuf>,
    /// Where webhooks may deliver to.
    pub webhook_reach: Reach,
    /// The triggers of the project that the server works for, where there is one.
    pub triggers: Option<Triggers>,
    /// Whether it only answers requests for predictions, with health, metrics and what is known of models beside.
    pub only_serving: bool,
    /// Where the steps of runs that are at work print on this machine: a folder for each run. Pages follow them.
    pub step_logs: Option<PathBuf>,
    /// Whether the server takes rollouts on by itself. Where not, whoever started it does, with a [`Driver`](crate::delivery::Driver).
    pub drives_rollouts: bool,
    /// Where it is written down what environments run, if the server does that.
    pub ledger: Option<Arc<dyn Ledger>>,
    /// Where secrets are that receivers of alerts need.
    pub secrets: Secrets,
    /// What the project file says, where there is one.
    pub about: Option<About>,
    /// What requests wait for. A server inside of a run waits until what the run says of itself is written.
    pub before: Option<Before>,
}

impl Config {
    /// Settings with good defaults.
    pub fn new(scratch: PathBuf) -> Self {
        Self {
            scratch,
            json_limit: 32 << 20,
            body_memory: 256 << 20,
            artifact_limit: 1 << 40,
            artifact_roots: Vec::new(),
            token: None,
            access: None,
            user: NOBODY.to_owned(),
            origins: Origins::default(),
            connections: 4096,
            in_flight: 1024,
            streams: 256,
            head_timeout: Duration::from_secs(60),
            stall_timeout: Duration::from_secs(60),
            mlflow_pages: None,
            webhook_reach: Reach::default(),
            triggers: None,
            only_serving: false,
            step_logs: None,
            drives_rollouts: true,
            ledger: None,
            secrets: Secrets::default(),
            about: None,
            before: None,
        }
    }
}

/// A server's state. Clones share it.
#[derive(Clone)]
pub struct App {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Registry,
    config: Config,
    meter: Meter,
    pulse: Pulse,
    background: Background,
    serving: Option<Serving>,
    streams: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
    forms: FormKey,
    cones: Cones,
    diffs: Diffs,
    documents: Documents,
    log_ends: Ends,
}

impl App {
    /// A server over `registry`.
    pub fn new(registry: Registry, config: Config) -> Self {
        Self::with(registry, config, None)
    }

    /// A server over `registry` that also answers requests for predictions.
    pub fn serve(registry: Registry, config: Config, serving: Serving) -> Self {
        Self::with(registry, config, Some(serving))
    }

    fn with(registry: Registry, config: Config, serving: Option<Serving>) -> Self {
        let (meter, pulse, background) = (Meter::default(), Pulse::default(), Background::default());
        let streams = Arc::new(Semaphore::new(config.streams));
        let bodies = Arc::new(Semaphore::new(steps(config.body_memory) as usize));
        Self {
            inner: Arc::new(Inner {
                registry,
                config,
                meter,
                pulse,
                background,
                serving,
                streams,
                bodies,
                forms: FormKey::default(),
                cones: Cones::default(),
                diffs: Diffs::default(),
                documents: Documents::default(),
                log_ends: Ends::default(),
            }),
        }
    }

    /// The rules.
    pub fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Work that goes on beside requests: where a module registers its loop.
    pub fn background(&self) -> &Background {
        &self.inner.background
    }

    /// What answers requests for predictions, where the server does that.
    pub fn serving(&self) -> Option<&Serving> {
        self.inner.serving.as_ref()
    }

    /// A place among the streams that follow the log, until it is dropped; nothing when all are taken.
    pub(crate) fn stream(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.inner.streams).try_acquire_owned().ok()
    }

    /// Memory for a body of so many bytes, or for what it is read into; nothing when too much is taken. A single one is
    /// never too large for all of it: what a body may have is a limit of its own.
    pub(crate) fn room(&self, bytes: usize) -> Option<Room> {
        if bytes <= FREE {
            return Some(Room(None));
        }
        let wanted = steps(bytes).min(steps(self.inner.config.body_memory));
        Arc::clone(&self.inner.bodies).try_acquire_many_owned(wanted).ok().map(|permit| Room(Some(permit)))
    }

    /// By what forms of pages are known as our own.
    pub(crate) fn forms(&self) -> &FormKey {
        &self.inner.forms
    }

    /// How the judges of rollouts came to where they are.
    pub(crate) fn cones(&self) -> &Cones {
        &self.inner.cones
    }

    /// Versions of datasets that were compared.
    pub(crate) fn diffs(&self) -> &Diffs {
        &self.inner.diffs
    }

    /// What pages read of the store again and again.
    pub(crate) fn documents(&self) -> &Documents {
        &self.inner.documents
    }

    /// Ends of logs of steps that were looked at.
    pub(crate) fn log_ends(&self) -> &Ends {
        &self.inner.log_ends
    }

    /// What `/metrics` shows.
    pub(crate) fn meter(&self) -> &Meter {
        &self.inner.meter
    }

    /// What `/health` found last.
    pub(crate) fn pulse(&self) -> &Pulse {
        &self.inner.pulse
    }
}

/// Steps of room for so many bytes.
fn steps(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(ROOM)).unwrap_or(u32::MAX).max(1)
}
