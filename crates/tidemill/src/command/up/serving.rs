//! What of the server answers requests for predictions: the runtimes, the inference log, the protocols.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tidemill_core::Clock;
use tidemill_registry::Registry;
use tidemill_serve::gateway::folder::FolderSource;
use tidemill_serve::gateway::settings::Settings;
use tidemill_serve::gateway::source::{ModelSource, Which};
use tidemill_serve::gateway::{self, Gateway};
use tidemill_serve::record::outcome::{Matcher, OutcomeCounters};
use tidemill_serve::record::{InferenceLog, LogError, LogSettings, Reader, Roll, Roller, Rules};
use tidemill_serve::scoring::{self, ScoringConfig};
use tidemill_serve::{Inference, Recorder, oip};
use tidemill_server::{App, Followed, Otlp, OutcomeApi, RegistrySource, Sending, Serving, Token};
use tokio::net::TcpListener;

use super::models::Models;
use crate::cli::GatewayOptions;
use crate::home::Home;
use crate::serving::{Places, runtimes};

/// The parts, from the start of the server to its end.
pub(super) struct Parts {
    serving: Serving,
    log: InferenceLog,
    reader: Reader,
    outcomes: OutcomeApi,
    /// What became of outcomes, for `/metrics`.
    counters: OutcomeCounters,
    followed: Followed,
    /// Taken by who starts it.
    sending: Option<Sending>,
}

impl Parts {
    pub(super) fn open(
        (args, roll): (&GatewayOptions, Roll),
        registry: &Registry,
        home: &Home,
        scratch: &Path,
        models: Models,
    ) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::clone(registry.clock());
        let log = open_log(home, &clock, roll)?;
        log.set_default(args.records.spec(home.records.as_ref())?)?;
        let loader = runtimes(Places {
            python: args.python.clone(),
            onnxruntime: args.onnxruntime.clone(),
            environments: home.dir.join("environments"),
            // An endpoint that declares more is given more.
            call_timeout: Some(args.model_timeout),
        });
        let recorder: Arc<dyn Recorder> = Arc::new(log.clone());
        let outcomes = OutcomeApi::new(registry.db().clone(), Arc::clone(&clock), Some(log.clone()));
        let settings =
            Settings { memory_budget: args.model_memory, timeout: args.model_timeout, ..Settings::default() };
        let (source, followed): (Arc<dyn ModelSource>, Followed) = match models {
            Models::Registry => {
                let (scratch, serving) = (scratch.join("models"), settings.serving.clone());
                let source = RegistrySource::new(registry.clone(), Vec::new(), scratch, serving);
                (Arc::new(source), Followed::Registry)
            }
            Models::Folders(found) => {
                (Arc::new(FolderSource::new(found, settings.serving.clone())), Followed::Nothing)
            }
            Models::Server(server) => (server.clone(), Followed::Server(server)),
        };
        let default = args.default_endpoint.clone();
        let scoring = ScoringConfig { model: default.clone(), ..ScoringConfig::default() };
        let gateway = Gateway::new(gateway::Parts {
            source,
            loader: Arc::new(loader),
            recorder: Some(recorder),
            clock,
            settings,
        });
        let sending = match &args.otlp {
            Some(address) => {
                let otlp = Otlp::new(address, args.trace_share, Arc::clone(gateway.metrics()));
                let (otlp, sending) = otlp.context("cannot make a client for the collector of traces")?;
                gateway.trace(Arc::new(otlp));
                Some(sending)
            }
            None => None,
        };
        let reader = Reader::of_home(registry.db().clone(), registry.store().clone(), &home.dir);
        let outcomes = outcomes.of_endpoints(gateway.clone(), reader.clone());
        let counters = OutcomeCounters::default();
        let serving = Serving::over(gateway, followed.clone())
            .mount(|inference| oip::router(inference, oip::Limits::default()))
            .past_routes(|inference| oip::direct(inference, oip::Limits::default()))
            .mount(|inference| scoring::routes(inference, scoring))
            .mount(|_| outcomes.clone().routes())
            .with_log(log.clone())
            .with_outcomes(counters.clone())
            .with_records(reader.clone(), log.settings().flush * 2 + SETTLE);
        Ok(Self { serving, log, reader, outcomes, counters, followed, sending })
    }

    pub(super) fn serving(&self) -> Serving {
        self.serving.clone()
    }

    /// What takes outcomes.
    pub(super) fn outcomes(&self) -> &OutcomeApi {
        &self.outcomes
    }

    /// The inference log.
    pub(super) fn log(&self) -> &InferenceLog {
        &self.log
    }

    /// With what it is read.
    pub(super) fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Makes a gateway alone ready before it listens: models of folders are loaded, endpoints of a server set.
    pub(super) async fn begin(&self) -> anyhow::Result<()> {
        let gateway = self.serving.gateway();
        match &self.followed {
            Followed::Registry => {}
            Followed::Server(server) => {
                let found = server.begin(gateway).await?;
                tracing::info!(endpoints = found, "took over the endpoints of the server");
            }
            Followed::Nothing => {
                for model in gateway.models().source().list().await? {
                    gateway.models().load(&model.model, &Which::Default, true).await?;
                }
            }
        }
        Ok(())
    }

    /// Starts what goes on beside requests; the address of gRPC.
    pub(super) fn start(
        &mut self,
        app: &App,
        grpc: Option<TcpListener>,
        token: Option<Token>,
    ) -> anyhow::Result<Option<SocketAddr>> {
        let registry = app.registry();
        let (db, store) = (registry.db().clone(), registry.store().clone());
        let clock: Arc<dyn Clock> = Arc::clone(registry.clock());
        let roller = Roller::new(self.log.clone(), db.clone(), store.clone(), Arc::clone(&clock));
        app.background().spawn("records", |stop| async move {
            tokio::select! {
                () = roller.run() => {}
                () = stop.cancelled() => {}
            }
        });
        let matcher = Matcher::new(db, self.reader.clone(), clock, self.log.settings().flush)
            .counted(self.counters.clone());
        let arrived = self.outcomes.arrived();
        let gateway = self.serving.gateway().clone();
        let rules = move |endpoint: &str| {
            let declared = gateway.endpoint(endpoint);
            let declared = declared.and_then(|endpoint| endpoint.spec.as_ref().map(|spec| spec.outcomes));
            declared.unwrap_or_default().rules()
        };
        app.background().spawn("outcomes", |stop| async move {
            tokio::select! {
                () = matcher.run(&arrived, rules) => {}
                () = stop.cancelled() => {}
            }
        });
        if !app.config().only_serving {
            let (watched, log, reader) = (app.clone(), self.log.clone(), self.reader.clone());
            app.background()
                .spawn("monitors", |stop| tidemill_server::monitoring::run(watched, reader, log, stop));
        }
        if let Some(sending) = self.sending.take() {
            app.background().spawn("traces", |stop| sending.run(stop));
        }
        let Some(listener) = grpc else { return Ok(None) };
        let address = listener.local_addr().context("cannot tell the address of gRPC")?;
        let inference: Arc<dyn Inference> = Arc::new(self.serving.gateway().clone());
        let service = oip::grpc_service(inference, oip::Limits::default());
        let service = match token {
            Some(token) => service.guarded(move |headers| token.admits(headers)),
            None => service,
        };
        app.background().spawn("grpc", |stop| async move {
            if let Err(error) = oip::serve_grpc(listener, service, stop.cancelled_owned()).await {
                tracing::error!(%error, "gRPC ended");
            }
        });
        Ok(Some(address))
    }

    /// Writes the records that still wait.
    pub(super) fn close(&self) {
        self.log.close();
    }
}

/// What joining outcomes may take beyond the flushes of the log, before rollouts are judged by them.
const SETTLE: Duration = Duration::from_secs(8);

/// Servers that share a database may share a home as well; each has a folder for its segments.
const SERVERS: usize = 64;

fn open_log(home: &Home, clock: &Arc<dyn Clock>, roll: Roll) -> anyhow::Result<InferenceLog> {
    let mut number = 1;
    loop {
        let name = if number == 1 { "records".to_owned() } else { format!("records-{number}") };
        let records = home.dir.join(name);
        // One secret for all servers that share the home, so that hashes can be joined.
        let settings =
            LogSettings { redact_key: home.dir.join("redact.key"), roll, ..LogSettings::new(&records) };
        match InferenceLog::open(settings, Rules::default(), Arc::clone(clock)) {
            Ok(log) => return Ok(log),
            Err(LogError::Busy(_)) if number < SERVERS => number += 1,
            Err(error) => return Err(error.into()),
        }
    }
}
