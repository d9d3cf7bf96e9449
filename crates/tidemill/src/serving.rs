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
    /// How long one call of a model of Python may take at least; the runtime's own limit where it is absent. A request that may take longer is
    /// given longer.
    pub(crate) call_timeout: Option<Duration>,
}

/// All runtimes, in the order in which they are tried. How many calls of a model run at once, on how many threads, and whether on a GPU it
/// declares itself: `serving.concurrency`, `serving.threads`, `serving.cuda`.
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::process::Command;

    use tidemill_core::Digest;
    use tidemill_runtime::{Tensor, Values};
    use tidemill_serve::gateway::loader::Loader as _;
    use tidemill_serve::gateway::source::ModelFiles;

    use super::*;

    /// A graph of a classical operator and a convolution, which ONNX Runtime alone runs.
    const MIXED: &str = "
import sys, numpy as np
from onnx import helper as h, numpy_helper as n, TensorProto as T
nodes = [h.make_node('Scaler', ['x'], ['s'], domain='ai.onnx.ml', offset=[1.0], scale=[2.0]), h.make_node('Conv', ['s', 'w'], ['y'])]
g = h.make_graph(nodes, 'g', [h.make_tensor_value_info('x', T.FLOAT, ['n', 1, 2, 2])], [h.make_tensor_value_info('y', T.FLOAT, None)],
                 [n.from_array(np.ones((1, 1, 2, 2), np.float32), 'w')])
m = h.make_model(g, opset_imports=[h.make_opsetid('', 17), h.make_opsetid('ai.onnx.ml', 3)], ir_version=8)
sys.stdout.buffer.write(m.SerializeToString())
";

    #[test]
    fn a_model_for_onnxruntime_is_run_as_it_declares() {
        let python = tidemill_testkit::python();
        let made = Command::new(&python).args(["-c", MIXED]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let loader = runtimes(Places {
            python: None,
            onnxruntime: python.parent().and_then(Path::parent).map(Path::to_owned),
            environments: PathBuf::new(),
            call_timeout: None,
        });
        let load = |serving: ServingSettings| {
            loader.load(&ModelBundle {
                model: "m".to_owned(),
                version: "1".to_owned(),
                digest: Digest::of(&made.stdout),
                expected: None,
                files: ModelFiles::Onnx(made.stdout.clone()),
                signature: None,
                golden: None,
                serving,
                properties: BTreeMap::new(),
            })
        };
        let of_calls =
            |concurrency| load(ServingSettings { concurrency, threads: 0, ..ServingSettings::default() });
        let session = of_calls(4).unwrap();
        assert_eq!(session.runtime(), "onnxruntime");
        assert_eq!(session.memory_bytes(), 4 * of_calls(1).unwrap().memory_bytes(), "a copy for each call");
        std::thread::scope(|scope| {
            let call = || {
                let x = Tensor::new(vec![1, 1, 2, 2], Values::F32(vec![1.0, 2.0, 3.0, 4.0])).unwrap();
                assert_eq!(*session.run(&[x]).unwrap()[0].values(), Values::F32(vec![12.0]));
            };
            (0..4).for_each(|_| drop(scope.spawn(call)));
        });
        let why = load(ServingSettings { cuda: true, ..ServingSettings::default() }).unwrap_err();
        assert!(why.contains("no CUDA in") && why.contains("onnxruntime-gpu"), "{why}");
    }
}
