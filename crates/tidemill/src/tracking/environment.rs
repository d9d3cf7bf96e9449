//! Where commands of a run find a tracking server, and the variables that tell their MLflow client.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::json;
use tidemill_core::RunId;
use tidemill_registry::Registry;
use tidemill_server::{App, Before, Config, Running};
use tokio::runtime::Handle;

use super::queue::Pending;

/// How long clients that are still talking when a run ends may go on.
const DRAIN: Duration = Duration::from_secs(5);

/// The tracking server of a run: one of its own on a free loopback port, started when the first command needs it.
pub(crate) struct Server {
    registry: Registry,
    runtime: Handle,
    /// For bodies that are being received.
    scratch: PathBuf,
    pending: OnceLock<Arc<Pending>>,
    running: Mutex<Option<Running>>,
}

impl Server {
    pub(crate) fn new(registry: Registry, runtime: Handle, scratch: PathBuf) -> Self {
        Self { registry, runtime, scratch, pending: OnceLock::new(), running: Mutex::new(None) }
    }

    /// Requests wait until `pending` is settled: what the run says of itself is there before anybody asks for it.
    pub(super) fn gate(&self, pending: Arc<Pending>) {
        // Set once, by the tracking that owns this server.
        let _ = self.pending.set(pending);
    }

    /// What a command finds in its environment: the server, the experiment, and tags for every run that it makes, which
    /// put it below the step's own run `parent`.
    ///
    /// The step's run is not handed over as `MLFLOW_RUN_ID`: with it a script that chooses an experiment of its own
    /// would fail.
    pub(super) fn variables(
        &self,
        experiment: i64,
        run: RunId,
        parent: RunId,
        step: &str,
    ) -> std::io::Result<BTreeMap<String, OsString>> {
        let context = json!({
            "mlflow.parentRunId": parent.to_string(), "tidemill.run": run.to_string(), "tidemill.step": step,
        });
        let variables = [
            ("MLFLOW_TRACKING_URI", self.address()?),
            ("MLFLOW_EXPERIMENT_ID", experiment.to_string()),
            ("MLFLOW_RUN_CONTEXT", context.to_string()),
            // A step talks to nobody that it does not name.
            ("MLFLOW_DISABLE_TELEMETRY", "true".to_owned()),
        ];
        Ok(variables.map(|(name, value)| (name.to_owned(), value.into())).into())
    }

    /// The address, after starting the server if that has not happened yet.
    fn address(&self) -> std::io::Result<String> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = running.as_ref() {
            return Ok(running.url());
        }
        fs_err::create_dir_all(&self.scratch)?;
        let mut config = Config::new(self.scratch.clone());
        config.user = crate::app::user_name();
        if let Some(pending) = self.pending.get().cloned() {
            config.before = Some(Before(Arc::new(move || {
                let pending = Arc::clone(&pending);
                Box::pin(async move { pending.settled().await })
            })));
        }
        let _inside = self.runtime.enter();
        let address = std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, 0));
        let started = Running::start_at(App::new(self.registry.clone(), config), address, DRAIN)?;
        let url = started.url();
        tracing::debug!(server.url = url, "a tracking server for this run");
        *running = Some(started);
        Ok(url)
    }

    /// Stops the server, if there is one, after what it is doing.
    pub(super) fn stop(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(running) = running {
            self.runtime.block_on(running.stop());
        }
    }
}
