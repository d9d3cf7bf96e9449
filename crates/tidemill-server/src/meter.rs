//! What is counted while the server works, and the text that Prometheus reads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use prometheus_client::encoding::{EncodeLabelSet, prometheus_text};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use tidemill_serve::gateway::metrics::Page;
use tidemill_serve::record::RecordsPage;

use crate::App;
use crate::health::MLFLOW_VERSION;
use crate::monitoring;

/// Counters of one server.
pub(crate) struct Meter {
    requests: Family<Answered, Counter>,
    durations: Family<Asked, Histogram, fn() -> Histogram>,
    /// Of the routes that most requests go past.
    known: [OnceLock<Known>; MOST_KNOWN],
    in_flight: AtomicUsize,
    connections: AtomicUsize,
    sizes: Mutex<Option<(Instant, Sizes)>>,
}

/// Routes whose counters are kept at hand.
const MOST_KNOWN: usize = 4;

/// Counters that are found without their labels.
struct Known {
    method: &'static str,
    route: &'static str,
    durations: Histogram,
    /// Of answers with the status 200.
    answered: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    method: &'static str,
    route: String,
}

/// What it takes a look at the disk to know.
#[derive(Clone, Copy, Debug, Default)]
struct Sizes {
    database: Option<u64>,
    log: Option<u64>,
    store_bytes: u64,
    store_objects: u64,
    store_packs: u64,
}

/// A request or a connection that is counted as long as the value lives.
pub(crate) struct Place<'a> {
    count: &'a AtomicUsize,
    taken: usize,
}

impl Place<'_> {
    fn of(count: &AtomicUsize) -> Place<'_> {
        Place { count, taken: count.fetch_add(1, Ordering::Relaxed) + 1 }
    }

    /// How many there were when it came, itself included.
    pub(crate) fn taken(&self) -> usize {
        self.taken
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(|| {
                Histogram::new([
                    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
                ])
            }),
            known: [const { OnceLock::new() }; MOST_KNOWN],
            in_flight: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            sizes: Mutex::new(None),
        }
    }
}

impl Meter {
    /// A request begins to be worked on.
    pub(crate) fn enter(&self) -> Place<'_> {
        Place::of(&self.in_flight)
    }

    /// A connection was opened.
    pub(crate) fn connect(&self) -> Place<'_> {
        Place::of(&self.connections)
    }

    /// A request is over.
    pub(crate) fn request(&self, method: &str, route: &str, status: u16, took: Duration) {
        let asked = Asked { method: known_method(method), route: route.to_owned() };
        self.durations.get_or_create(&asked).observe(took.as_secs_f64());
        let Asked { method, route } = asked;
        self.requests.get_or_create(&Answered { method, route, status }).inc();
    }

    /// The same of a request past the routes: its route is the same text each time, so that counters are found by it once.
    pub(crate) fn past_routes(&self, method: &str, route: &'static str, status: u16, took: Duration) {
        const OK: u16 = 200;
        let known = if status == OK { self.known(known_method(method), route) } else { None };
        match known {
            Some(known) => {
                known.durations.observe(took.as_secs_f64());
                known.answered.inc();
            }
            None => self.request(method, route, status, took),
        }
    }

    fn known(&self, method: &'static str, route: &'static str) -> Option<&Known> {
        let find = || {
            let asked = Asked { method, route: route.to_owned() };
            let durations = self.durations.get_or_create_owned(&asked);
            let Asked { method, route: text } = asked;
            let answered = self.requests.get_or_create_owned(&Answered { method, route: text, status: 200 });
            Known { method, route, durations, answered }
        };
        let mut known = self.known.iter().map(|known| known.get_or_init(find));
        known.find(|known| known.route == route && known.method == method)
    }

    /// The page for Prometheus.
    pub(crate) async fn page(&self, app: &App) -> Result<String, std::fmt::Error> {
        let sizes = self.sizes(app).await;
        let mut registry = Registry::default();
        let build = [("version", env!("CARGO_PKG_VERSION")), ("mlflow_version", MLFLOW_VERSION)];
        registry.register("tidemill_build", "Which program this is", Info::new(build.to_vec()));
        registry.register("tidemill_http_requests", "Requests that were answered", self.requests.clone());
        registry.register_with_unit(
            "tidemill_http_request_duration",
            "Time from the head of a request to the end of its answer",
            Unit::Seconds,
            self.durations.clone(),
        );
        let load = app.registry().db().ingest().load();
        for (name, help, count) in [
            ("tidemill_ingest_requests", "Writes that went through the group-commit queue", load.requests),
            ("tidemill_ingest_groups", "Commits that they shared", load.groups),
        ] {
            registry.register(name, help, ConstCounter::new(count));
        }
        let mut gauge = |name: &str, help: &str, value: Option<u64>| {
            if let Some(value) = value.and_then(|value| i64::try_from(value).ok()) {
                registry.register(name, help, ConstGauge::new(value));
            }
        };
        let count = |count: &AtomicUsize| Some(count.load(Ordering::Relaxed) as u64);
        gauge("tidemill_http_in_flight", "Requests that are worked on now", count(&self.in_flight));
        gauge("tidemill_http_connections", "Connections that are open now", count(&self.connections));
        gauge("tidemill_ingest_waiting", "Writes that wait for their commit now", Some(load.waiting));
        gauge("tidemill_database_bytes", "Size of the database", sizes.database);
        gauge("tidemill_log_entries", "Entries of the log of events", sizes.log);
        gauge("tidemill_store_bytes", "Size of the store on disk", Some(sizes.store_bytes));
        gauge("tidemill_store_objects", "Objects in the store", Some(sizes.store_objects));
        gauge("tidemill_store_packs", "Pack files in the store", Some(sizes.store_packs));
        if let Some(process) = Process::read() {
            gauge("process_resident_memory_bytes", "Resident memory", Some(process.resident));
            gauge("process_threads", "Threads", Some(process.threads));
            gauge("process_open_fds", "Open files", process.files);
            registry.register_with_unit(
                "process_cpu",
                "Time on processors",
                Unit::Seconds,
                ConstCounter::new(process.cpu),
            );
        }
        if let Some(serving) = app.serving() {
            registry.register_collector(Box::new(Page(Arc::clone(serving.gateway().metrics()))));
            if let Some(log) = serving.log() {
                registry.register_collector(Box::new(RecordsPage(log.clone())));
            }
            if let Some(outcomes) = serving.outcomes() {
                registry.register_collector(Box::new(outcomes.clone()));
            }
        }
        monitoring::meter::register(app, &mut registry).await;
        let mut page = String::new();
        prometheus_text::encode(&mut page, &registry)?;
        Ok(page)
    }

    /// Sizes that are at most ten seconds old.
    async fn sizes(&self, app: &App) -> Sizes {
        const FRESH: Duration = Duration::from_secs(10);
        let known = *self.sizes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((_, sizes)) = known.filter(|(at, _)| at.elapsed() < FRESH) {
            return sizes;
        }
        let registry = app.registry();
        let store = registry.store().clone();
        let stats = tokio::task::spawn_blocking(move || store.stats()).await.unwrap_or_default();
        let sizes = Sizes {
            database: registry.db().size().await.ok(),
            log: registry.db().log_head().await.ok().map(|head| head.size),
            store_bytes: stats.stored_bytes,
            store_objects: stats.objects,
            store_packs: stats.packs,
        };
        *self.sizes.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some((Instant::now(), sizes));
        sizes
    }
}

/// Anybody can invent methods, and each would be a row for ever.
fn known_method(method: &str) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    KNOWN.into_iter().find(|known| *known == method).unwrap_or("OTHER")
}

/// This process as the kernel counts it.
struct Process {
    resident: u64,
    threads: u64,
    cpu: f64,
    files: Option<u64>,
}

impl Process {
    /// Fields 14, 15, 20 and 24 of `/proc/self/stat` (proc_pid_stat(5)); nothing where there is no `/proc`.
    fn read() -> Option<Self> {
        let stat = fs_err::read_to_string("/proc/self/stat").ok()?;
        let (_, rest) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        Some(Self {
            resident: number(24)? * rustix::param::page_size() as u64,
            threads: number(20)?,
            cpu: (number(14)? + number(15)?) as f64 / ticks,
            files: fs_err::read_dir("/proc/self/fd").ok().map(|files| files.count() as u64),
        })
    }
}
