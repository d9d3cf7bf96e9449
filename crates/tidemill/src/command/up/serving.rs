//! What of the server answers requests for predictions: the runtimes, the inference log, the protocols.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use tidemill_core::Clock;
use tidemill_registry::Registry;
use tidemill_runtime::{Choice, Classical, LoadError, Network, OrtOptions, Session};
use tidemill_serve::gateway::loader::{FolderRuntime, Runtimes};
use tidemill_serve::gateway::settings::Settings;
use tidemill_serve::gateway::source::ModelBundle;
use tidemill_serve::python::{Environment, PythonSession, PythonSettings};
use tidemill_serve::record::outcome::{Matcher, OutcomeRules};
use tidemill_serve::record::{InferenceLog, LogError, LogSettings, Reader, Roller, Rules};
use tidemill_serve::scoring::{self, ScoringConfig};
use tidemill_serve::{Inference, Recorder, oip};
use tidemill_server::{App, OutcomeApi, Serving};
use tokio::net::TcpListener;

use crate::cli::Up;
use crate::failure::Failure;
use crate::home::Home;

/// The parts, from the start of the server to its end.
pub(super) struct Parts {
    serving: Serving,
    log: InferenceLog,
    outcomes: OutcomeApi,
    records: PathBuf,
}

impl Parts {
    pub(super) fn open(args: &Up, registry: &Registry, home: &Home, scratch: &Path) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::clone(registry.clock());
        let (log, records) = open_log(home, &clock)?;
        let ort = args.onnxruntime.as_ref().map_or_else(OrtOptions::default, |place| OrtOptions {
            candidates: vec![place.clone()],
            ..OrtOptions::default()
        });
        let folders =
            PythonModels { interpreter: args.python.clone(), environments: home.dir.join("environments") };
        let loader = Runtimes {
            // ONNX Runtime's library is looked for when a model needs it.
            onnx: vec![
                Arc::new(Classical),
                Arc::new(Network),
                Arc::new(tidemill_runtime::Runtimes::new(Choice::OnnxRuntime).with_onnxruntime(ort)),
            ],
            folders: vec![Arc::new(folders)],
        };
        let recorder: Arc<dyn Recorder> = Arc::new(log.clone());
        let outcomes = OutcomeApi::new(registry.db().clone(), clock, Some(log.clone()));
        let scoring = ScoringConfig { model: args.default_endpoint.clone(), ..ScoringConfig::default() };
        let serving = Serving::new(
            registry,
            Vec::new(),
            scratch.join("models"),
            Arc::new(loader),
            Some(recorder),
            Settings::default(),
        )
        .mount(|inference| oip::router(inference, oip::Limits::default()))
        .mount(|inference| scoring::routes(inference, scoring))
        .mount(|_| outcomes.clone().routes());
        Ok(Self { serving, log, outcomes, records })
    }

    pub(super) fn serving(&self) -> Serving {
        self.serving.clone()
    }

    /// Starts what goes on beside requests; the address of gRPC.
    pub(super) fn start(&self, app: &App, grpc: Option<TcpListener>) -> anyhow::Result<Option<SocketAddr>> {
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
        let reader = Reader::new(db.clone(), store, &self.records);
        let matcher = Matcher::new(db, reader, clock, self.log.settings().flush);
        let arrived = self.outcomes.arrived();
        app.background().spawn("outcomes", |stop| async move {
            tokio::select! {
                () = matcher.run(&arrived, |_| OutcomeRules::default()) => {}
                () = stop.cancelled() => {}
            }
        });
        let Some(listener) = grpc else { return Ok(None) };
        let address = listener.local_addr().context("cannot tell the address of gRPC")?;
        let inference: Arc<dyn Inference> = Arc::new(self.serving.gateway().clone());
        let service = oip::grpc_service(inference, oip::Limits::default());
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

/// Servers that share a database may share a home as well; each has a folder for its segments.
const SERVERS: usize = 64;

fn open_log(home: &Home, clock: &Arc<dyn Clock>) -> anyhow::Result<(InferenceLog, PathBuf)> {
    let mut number = 1;
    loop {
        let name = if number == 1 { "records".to_owned() } else { format!("records-{number}") };
        let records = home.dir.join(name);
        match InferenceLog::open(LogSettings::new(&records), Rules::default(), Arc::clone(clock)) {
            Ok(log) => return Ok((log, records)),
            Err(LogError::Busy(_)) if number < SERVERS => number += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Where gRPC listens. It does not ask for a token, so it is for programs of this machine alone.
pub(super) fn grpc_address(listen: &str, token: bool) -> anyhow::Result<Vec<SocketAddr>> {
    let addresses = super::resolve(listen)?;
    if token || !addresses.iter().all(|address| address.ip().is_loopback()) {
        return Err(Failure::usage(format!("refusing to answer gRPC on {listen}"))
            .hint(
                "gRPC does not ask for a token, so it listens on this machine only, as in `--grpc 127.0.0.1:5001`, and \
                 not together with --auth-token-file; `/v2` over HTTP asks for the token",
            )
            .into());
    }
    Ok(addresses)
}

/// Models in folders that MLflow's `log_model` wrote, run by workers of Python.
#[derive(Debug)]
struct PythonModels {
    /// What runs all of them, where given.
    interpreter: Option<PathBuf>,
    /// Where environments are made and kept.
    environments: PathBuf,
}

impl FolderRuntime for PythonModels {
    fn name(&self) -> &'static str {
        "python"
    }

    fn load(&self, folder: &Path, bundle: &ModelBundle) -> Result<Arc<dyn Session>, LoadError> {
        let interpreter = match &self.interpreter {
            Some(interpreter) => interpreter.clone(),
            None => Environment::of_model(folder)?
                .prepare(&self.environments, &|line| tracing::info!(line, "making a Python environment"))?,
        };
        let workers = bundle.serving.concurrency;
        let settings = PythonSettings { workers, ..PythonSettings::new(interpreter) };
        Ok(Arc::new(PythonSession::load(folder, settings)?))
    }
}
