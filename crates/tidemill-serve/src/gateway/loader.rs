//! From a model's files to something that answers: the seam to the runtimes, and the choice among them.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use tidemill_runtime::{LoadError, RunOptions, Runtime, Session};

use super::source::{ModelBundle, ModelFiles};

/// Prepares models for calls.
pub trait Loader: Send + Sync {
    /// Prepares a model. Blocks.
    ///
    /// # Errors
    ///
    /// Says why no runtime can run it, and what would help.
    fn load(&self, bundle: &ModelBundle) -> Result<Arc<dyn Session>, String>;
}

/// Does the work of a load, which takes and frees much memory, on a thread that ends with it. What an allocator keeps for a thread goes to the
/// next one that is started, so that loads one after another are content with the same memory; on threads that stay, each would keep its own.
/// None where the work panicked.
///
/// # Errors
///
/// Where the system has no thread for it.
pub async fn on_own_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<Option<T>> {
    let (done, result) = tokio::sync::oneshot::channel();
    // Nobody waits any more where a load was cut off.
    let run = move || drop(done.send(work()));
    let thread = std::thread::Builder::new().name("load".to_owned()).spawn(run)?;
    let result = result.await.ok();
    // All that is left to it is to end, which takes some microseconds. Before that its memory is not the next one's, and what follows is most
    // often the next step of the same load: reading a model, then preparing it.
    drop(thread.join());
    Ok(result)
}

/// Something that can run the models in folders that MLflow's `log_model` wrote: Python workers.
pub trait FolderRuntime: Send + Sync + fmt::Debug {
    /// A short name, as [`Runtime::name`].
    fn name(&self) -> &'static str;

    /// Prepares the model in a folder, which stays there as long as the session lives. Blocks.
    fn load(&self, folder: &Path, bundle: &ModelBundle) -> Result<Arc<dyn Session>, LoadError>;
}

/// The runtimes of this program, in the order in which they are tried.
#[derive(Clone, Debug, Default)]
pub struct Runtimes {
    /// For ONNX files.
    pub onnx: Vec<Arc<dyn Runtime>>,
    /// For folders.
    pub folders: Vec<Arc<dyn FolderRuntime>>,
}

impl Loader for Runtimes {
    fn load(&self, bundle: &ModelBundle) -> Result<Arc<dyn Session>, String> {
        let serving = &bundle.serving;
        let wanted = serving.runtime.as_deref();
        if serving.cuda
            && let Some(other) = wanted.filter(|wanted| *wanted != ON_GPU)
        {
            return Err(format!(
                "`serving.cuda` needs the runtime `{ON_GPU}`, and `serving.runtime` says `{other}`"
            ));
        }
        match &bundle.files {
            ModelFiles::Onnx(bytes) => {
                let options =
                    RunOptions { calls: serving.concurrency, threads: serving.threads, cuda: serving.cuda };
                let wanted = wanted.or_else(|| serving.cuda.then_some(ON_GPU));
                let load = |one: &Arc<dyn Runtime>| one.load_with(bytes, &options).map(Arc::from);
                first(&self.onnx, wanted, |one| one.name(), load)
            }
            ModelFiles::Folder(_) if serving.cuda => {
                Err("`serving.cuda` is of ONNX models; one of Python chooses its device itself".to_owned())
            }
            ModelFiles::Folder(folder) => {
                let load = |one: &Arc<dyn FolderRuntime>| {
                    let session = one.load(folder.path(), bundle)?;
                    Ok(Arc::new(InFolder { session, _folder: Arc::clone(folder) }) as Arc<dyn Session>)
                };
                first(&self.folders, wanted, |one| one.name(), load)
            }
        }
    }
}

/// The runtime that knows GPUs.
const ON_GPU: &str = "onnxruntime";

/// The first runtime that can, or the one that is wanted.
fn first<R>(
    runtimes: &[R],
    wanted: Option<&str>,
    name: impl Fn(&R) -> &'static str,
    load: impl Fn(&R) -> Result<Arc<dyn Session>, LoadError>,
) -> Result<Arc<dyn Session>, String> {
    let names: Vec<&str> = runtimes.iter().map(&name).collect();
    if let Some(wanted) = wanted
        && !names.contains(&wanted)
    {
        let hint = tidemill_core::did_you_mean(wanted, names.iter().copied());
        let hint = hint.unwrap_or_else(|| "this server has none for such models".to_owned());
        return Err(format!("there is no runtime `{wanted}` for it; {hint}"));
    }
    let mut refusals = Vec::new();
    for runtime in runtimes.iter().filter(|one| wanted.is_none_or(|wanted| name(one) == wanted)) {
        match load(runtime) {
            Ok(session) => return Ok(session),
            // The same bytes are no better for another runtime.
            Err(error @ LoadError::Malformed(_)) => return Err(error.to_string()),
            Err(error) => refusals.push(error.to_string()),
        }
    }
    if refusals.is_empty() {
        return Err("this server has no runtime for such models".to_owned());
    }
    Err(refusals.join("; "))
}

/// A session that keeps the folder which it was loaded from.
#[derive(Debug)]
struct InFolder {
    session: Arc<dyn Session>,
    _folder: Arc<dyn super::source::Folder>,
}

impl Session for InFolder {
    fn runtime(&self) -> &'static str {
        self.session.runtime()
    }

    fn inputs(&self) -> &[tidemill_runtime::Slot] {
        self.session.inputs()
    }

    fn outputs(&self) -> &[tidemill_runtime::Slot] {
        self.session.outputs()
    }

    fn run(
        &self,
        inputs: &[tidemill_runtime::Tensor],
    ) -> Result<Vec<tidemill_runtime::Tensor>, tidemill_runtime::RunError> {
        self.session.run(inputs)
    }

    fn takes_params(&self) -> bool {
        self.session.takes_params()
    }

    fn run_with(
        &self,
        inputs: &[tidemill_runtime::Tensor],
        params: &str,
    ) -> Result<Vec<tidemill_runtime::Tensor>, tidemill_runtime::RunError> {
        self.session.run_with(inputs, params)
    }

    fn run_until(
        &self,
        inputs: &[tidemill_runtime::Tensor],
        params: Option<&str>,
        until: std::time::Instant,
    ) -> Result<Vec<tidemill_runtime::Tensor>, tidemill_runtime::RunError> {
        self.session.run_until(inputs, params, until)
    }

    fn for_shadows(&self) -> Option<&dyn Session> {
        self.session.for_shadows()
    }

    fn memory_bytes(&self) -> u64 {
        self.session.memory_bytes()
    }

    fn is_quick(&self) -> bool {
        self.session.is_quick()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::settings::ServingSettings;
    use super::super::testing::{Fake, bundle};
    use super::*;

    #[derive(Debug)]
    struct Named(&'static str, Option<fn() -> LoadError>);

    impl Runtime for Named {
        fn name(&self) -> &'static str {
            self.0
        }

        fn load(&self, _: &[u8]) -> Result<Box<dyn Session>, LoadError> {
            match self.1 {
                None => Ok(Box::new(Fake::quick())),
                Some(error) => Err(error()),
            }
        }
    }

    fn load(runtimes: Vec<Named>, wanted: Option<&str>) -> Result<(), String> {
        with(runtimes.into_iter().map(|one| Arc::new(one) as Arc<dyn Runtime>).collect(), |serving| {
            serving.runtime = wanted.map(str::to_owned);
        })
    }

    fn with(onnx: Vec<Arc<dyn Runtime>>, change: impl FnOnce(&mut ServingSettings)) -> Result<(), String> {
        let mut bundle = bundle("m", "1");
        change(&mut bundle.serving);
        Runtimes { onnx, folders: Vec::new() }.load(&bundle).map(drop)
    }

    /// Remembers how it was asked to run a model.
    #[derive(Debug, Default)]
    struct Asked(Mutex<Vec<RunOptions>>);

    impl Runtime for Asked {
        fn name(&self) -> &'static str {
            ON_GPU
        }

        fn load(&self, _: &[u8]) -> Result<Box<dyn Session>, LoadError> {
            Ok(Box::new(Fake::quick()))
        }

        fn load_with(&self, model: &[u8], options: &RunOptions) -> Result<Box<dyn Session>, LoadError> {
            self.0.lock().unwrap().push(*options);
            self.load(model)
        }
    }

    #[test]
    fn what_a_model_declares_reaches_its_runtime() {
        let asked = Arc::new(Asked::default());
        let runtimes = || vec![Arc::new(Named("classical", None)) as Arc<dyn Runtime>, asked.clone()];
        with(runtimes(), |_| {}).unwrap();
        assert!(asked.0.lock().unwrap().is_empty(), "the first that can has it");
        with(runtimes(), |serving| {
            serving.runtime = Some(ON_GPU.to_owned());
            (serving.concurrency, serving.threads) = (5, 0);
        })
        .unwrap();
        with(runtimes(), |serving| serving.cuda = true).unwrap();
        let expected = [
            RunOptions { calls: 5, threads: 0, cuda: false },
            RunOptions { calls: ServingSettings::default().concurrency, threads: 1, cuda: true },
        ];
        assert_eq!(*asked.0.lock().unwrap(), expected);
        let why = with(runtimes(), |serving| {
            serving.cuda = true;
            serving.runtime = Some("classical".to_owned());
        });
        assert!(why.unwrap_err().contains("`serving.cuda` needs the runtime `onnxruntime`"));
    }

    #[test]
    fn the_first_runtime_that_can_or_the_one_that_is_wanted() {
        let no = || LoadError::Unsupported { runtime: "classical", what: "Conv".into() };
        let gone = || LoadError::Unavailable { runtime: "onnxruntime", why: "no library".into() };
        let broken = || LoadError::Malformed("no protocol buffer".into());
        load(vec![Named("classical", Some(no)), Named("network", None)], None).unwrap();
        load(vec![Named("classical", None), Named("network", None)], Some("network")).unwrap();
        for (runtimes, wanted, text) in [
            (vec![], None, "no runtime for such models"),
            (
                vec![Named("classical", Some(no)), Named("onnxruntime", Some(gone))],
                None,
                "the classical runtime cannot run this model: Conv; the onnxruntime runtime is not available: no library",
            ),
            (vec![Named("classical", Some(broken)), Named("network", None)], None, "no protocol buffer"),
            (vec![Named("classical", None)], Some("clasical"), "did you mean `classical`?"),
            (
                vec![Named("classical", Some(no)), Named("network", None)],
                Some("classical"),
                "cannot run this model",
            ),
        ] {
            let why = load(runtimes, wanted).unwrap_err();
            assert!(why.contains(text), "{why}");
        }
    }
}
