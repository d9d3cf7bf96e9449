//! Serving inside of the server: models from the registry, endpoints from the database, answers through the gateway.
//!
//! What a request for a prediction goes through is `tidemill-serve`'s; here its parts are put together. The protocols
//! come as finished routers, so that the binary decides which of them there are.

pub(crate) mod counts;
pub mod endpoints;
mod follow;
mod remote;
pub(crate) mod slices;
mod source;
mod traces;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tidemill_registry::Registry;
use tidemill_serve::gateway::loader::Loader;
use tidemill_serve::gateway::settings::Settings;
use tidemill_serve::gateway::{Gateway, Parts};
use tidemill_serve::oip::Direct;
use tidemill_serve::record::outcome::OutcomeCounters;
use tidemill_serve::record::{InferenceLog, Reader};
use tidemill_serve::{Inference, Recorder};
use tokio_util::sync::CancellationToken;

pub(crate) use endpoints::{Refusal, delete, put, read as read_endpoint};
pub use remote::{Followed, Remote};
pub use source::RegistrySource;
pub use traces::{Otlp, Sending};

use crate::App;

/// What a server needs to answer requests for predictions.
#[derive(Clone)]
pub struct Serving {
    gateway: Gateway,
    followed: Followed,
    protocols: Router,
    direct: Option<Direct>,
    records: Option<(Reader, Duration)>,
    log: Option<InferenceLog>,
    outcomes: Option<OutcomeCounters>,
    reported: counts::Reported,
}

impl Serving {
    /// A gateway over the models of a registry, without protocols. Must be called inside of a runtime.
    ///
    /// `artifact_roots` are the local folders whose models may be read, `scratch` is where models of folders are laid
    /// out.
    pub fn new(
        registry: &Registry,
        artifact_roots: Vec<PathBuf>,
        scratch: PathBuf,
        loader: Arc<dyn Loader>,
        recorder: Option<Arc<dyn Recorder>>,
        settings: Settings,
    ) -> Self {
        let source = RegistrySource::new(registry.clone(), artifact_roots, scratch, settings.serving.clone());
        let clock = Arc::clone(registry.clock());
        let gateway = Gateway::new(Parts { source: Arc::new(source), loader, recorder, clock, settings });
        Self::over(gateway, Followed::Registry)
    }

    /// A gateway whose models come from elsewhere, without protocols.
    pub fn over(gateway: Gateway, followed: Followed) -> Self {
        Self {
            gateway,
            followed,
            protocols: Router::new(),
            direct: None,
            records: None,
            log: None,
            outcomes: None,
            reported: counts::Reported::default(),
        }
    }

    /// Adds the routes of a protocol, which must not have a fallback of their own: `serving.mount(oip::router)`.
    #[must_use]
    pub fn mount(mut self, router: impl FnOnce(Arc<dyn Inference>) -> Router) -> Self {
        self.protocols = self.protocols.merge(router(Arc::new(self.gateway.clone())));
        self
    }

    /// Answers the requests that are most without a look at the routes: `serving.past_routes(oip::direct)`.
    #[must_use]
    pub fn past_routes(mut self, direct: impl FnOnce(Arc<dyn Inference>) -> Direct) -> Self {
        self.direct = Some(direct(Arc::new(self.gateway.clone())));
        self
    }

    /// What answers without a look at the routes.
    pub(crate) fn direct(&self) -> Option<&Direct> {
        self.direct.as_ref()
    }

    /// Lets rollouts be judged by outcomes: with what the log of requests is read, and how long after a request its record can be read
    /// and outcomes that came by then are joined with it.
    #[must_use]
    pub fn with_records(mut self, reader: Reader, settle: Duration) -> Self {
        self.records = Some((reader, settle));
        self
    }

    /// Shows on `/metrics` what became of records.
    #[must_use]
    pub fn with_log(mut self, log: InferenceLog) -> Self {
        self.log = Some(log);
        self
    }

    /// Shows on `/metrics` what became of outcomes.
    #[must_use]
    pub fn with_outcomes(mut self, outcomes: OutcomeCounters) -> Self {
        self.outcomes = Some(outcomes);
        self
    }

    /// What became of outcomes.
    pub(crate) fn outcomes(&self) -> Option<&OutcomeCounters> {
        self.outcomes.as_ref()
    }

    /// What keeps records.
    pub(crate) fn log(&self) -> Option<&InferenceLog> {
        self.log.as_ref()
    }

    /// With what the log of requests is read, and how long that takes to settle.
    pub(crate) fn records(&self) -> Option<(&Reader, Duration)> {
        self.records.as_ref().map(|(reader, settle)| (reader, *settle))
    }

    /// Whether its endpoints are those of this server's own database.
    pub(crate) fn is_of_registry(&self) -> bool {
        matches!(self.followed, Followed::Registry)
    }

    /// The gateway.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// What gateways elsewhere tell.
    pub(crate) fn reported(&self) -> &counts::Reported {
        &self.reported
    }
}

/// The routes of the protocols; none where the server does not serve.
pub(crate) fn routes(app: &App) -> Router<App> {
    app.serving().map_or_else(Router::new, |serving| serving.protocols.clone().with_state(()))
}

/// Keeps the gateway at what database and registry say, and lets it drain when the server stops.
pub(crate) async fn run(app: App, stop: CancellationToken) {
    const DRAIN: Duration = Duration::from_secs(5);
    let Some(serving) = app.serving() else { return };
    match &serving.followed {
        Followed::Registry => follow::follow(&app, serving.gateway(), stop).await,
        Followed::Server(server) => {
            let gateway = serving.gateway();
            tokio::join!(server.follow(gateway, stop.clone()), server.tell(gateway, stop));
        }
        Followed::Nothing => stop.cancelled().await,
    }
    // Connections that are open finish their requests; those that come on them are told to go elsewhere.
    serving.gateway().drain(DRAIN).await;
}
