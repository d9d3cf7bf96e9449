//! The runtimes of models, as server, serving alone, batch scoring and tests of models use them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tidemill_registry::Registry;
use tidemill_runtime::{Choice, Classical, LoadError, Network, OrtOptions, Session};
use tidemill_serve::gateway::loader::{FolderRuntime, Runtimes};
use tidemill_serve::gateway::settings::ServingSettings;
use tidemill_serve::gateway::source::ModelBundle;
use tidemill_serve::python::{Environment, PythonSession, PythonSettings};
use tidemill_server::RegistrySource;

use crate::app::App;

/// The versions of the project's registry with their files; `what` they are read for names the folder in which those lie that need one.
pub(crate) fn registered(app: &App<'_>, what: &str) -> anyhow::Result<RegistrySource> {
    let registry = Registry::new(app.db()?.clone(), app.store()?.clone(), app.clock.clone());
    let scratch = app.inside("tmp").join(format!("{what}-{}", std::process::id()));
    Ok(RegistrySource::new(registry, Vec::new(), scratch, ServingSettings::default()))
}

/// Where what models need is found.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// What runs all models of Python; an environment is made from the requirements of each where it is absent.
    pub(crate) python: Option<PathBuf>,
    /// ONNX Runtime's shared library or its folder; the usual places where it is absent.
    pub(crate) onnxruntime: Option<PathBuf>,
    /// Where environments are made and kept.
    pub(crate) environments: PathBuf,
    /// How long one call of a model of Python may take; the runtime's own limit where it is absent.
    pub(crate) call_timeout: Option<Duration>,
}

/// All runtimes, in the order in which they are tried.
pub(crate) fn runtimes(places: Places) -> Runtimes {
    let ort = places.onnxruntime.as_ref().map_or_else(OrtOptions::default, |place| OrtOptions {
        candidates: vec![place.clone()],
        ..OrtOptions::default()
    });
    Runtimes {
        // ONNX Runtime's library is looked for when a model needs it.
        onnx: vec![
            Arc::new(Classical),
            Arc::new(Network),
            Arc::new(tidemill_runtime::Runtimes::new(Choice::OnnxRuntime).with_onnxruntime(ort)),
        ],
        folders: vec![Arc::new(PythonModels(places))],
    }
}

/// Models in folders that MLflow's `log_model` wrote, run by workers of Python.
#[derive(Debug)]
struct PythonModels(Places);

impl FolderRuntime for PythonModels {
    fn name(&self) -> &'static str {
        "python"
    }

    fn load(&self, folder: &Path, bundle: &ModelBundle) -> Result<Arc<dyn Session>, LoadError> {
        let interpreter = match &self.0.python {
            Some(interpreter) => interpreter.clone(),
            None => Environment::of_model(folder)?
                .prepare(&self.0.environments, &|line| tracing::info!(line, "making a Python environment"))?,
        };
        let settings = PythonSettings::new(interpreter);
        let call_timeout = self.0.call_timeout.unwrap_or(settings.call_timeout);
        let settings = PythonSettings { workers: bundle.serving.concurrency, call_timeout, ..settings };
        Ok(Arc::new(PythonSession::load(folder, settings)?))
    }
}
