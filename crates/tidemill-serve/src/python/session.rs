//! The session: what the model takes and gives, and calls through the pool.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tidemill_runtime::{Dim, ElementType, LoadError, RunError, Session, Slot, Tensor};

use crate::element::of_numpy;

use super::convert;
use super::pool::Pool;
use super::worker::{Worker, WorkerError};

/// How the workers of a model run.
#[derive(Clone, Debug)]
pub struct PythonSettings {
    /// The interpreter: of an [`Environment`](super::Environment), or one that has what the model needs.
    pub interpreter: PathBuf,
    /// Workers: calls that are answered at once.
    pub workers: usize,
    /// How long a call may take, waiting for a worker included; the worker is then ended and started again.
    pub call_timeout: Duration,
    /// How long a worker may take to load the model.
    pub start_timeout: Duration,
    /// Addresses in bytes that a worker may use (`RLIMIT_AS`), several times of what it occupies.
    pub memory_bytes: Option<u64>,
    /// Seconds of CPU after which a worker is ended by the system, and started again.
    pub cpu_seconds: Option<u64>,
    /// After how long without a call the worker for shadows is ended.
    pub shadow_rest: Duration,
    /// Variables of the workers' environment, for example `OMP_NUM_THREADS`.
    pub variables: Vec<(String, String)>,
}

impl PythonSettings {
    /// One worker, 30 seconds for a call and 2 minutes for loading.
    pub fn new(interpreter: impl Into<PathBuf>) -> Self {
        Self {
            interpreter: interpreter.into(),
            workers: 1,
            call_timeout: Duration::from_secs(30),
            start_timeout: Duration::from_mins(2),
            memory_bytes: None,
            cpu_seconds: None,
            shadow_rest: Duration::from_mins(10),
            variables: Vec::new(),
        }
    }
}

/// A model of Python that is loaded.
#[derive(Debug)]
pub struct PythonSession {
    interface: Arc<Interface>,
    /// Bytes of a worker as they were last seen, since those at work are not looked at.
    worker_bytes: AtomicU64,
    pool: Pool,
    shadows: ForShadows,
}

/// What the model takes and gives.
#[derive(Debug)]
struct Interface {
    inputs: Vec<Slot>,
    outputs: Vec<Slot>,
    takes_params: bool,
}

/// The same model for shadows: one worker of their own, so that one that hangs takes none from callers.
#[derive(Debug)]
struct ForShadows {
    interface: Arc<Interface>,
    pool: Pool,
}

/// The name of the runtime.
const NAME: &str = "python";

#[derive(Deserialize)]
struct Hello {
    inputs: Option<Vec<Described>>,
    outputs: Option<Vec<Described>>,
    /// Whether the signature names parameters.
    #[serde(default)]
    params: bool,
}

#[derive(Deserialize)]
struct Described {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    shape: Vec<i64>,
    optional: bool,
}

impl PythonSession {
    /// Loads the model of a folder as `log_model` or `save_model` wrote it: one worker is started and has loaded it when
    /// this returns, the others follow.
    ///
    /// # Errors
    ///
    /// Where Python cannot be started or cannot load the model, with what it said, and for a model without a signature.
    pub fn load(folder: &Path, settings: PythonSettings) -> Result<Self, LoadError> {
        let unavailable = |why: String| LoadError::Unavailable { runtime: NAME, why };
        let folder = fs_err::canonicalize(folder).map_err(|error| LoadError::Malformed(error.to_string()))?;
        if !folder.join("MLmodel").is_file() {
            return Err(LoadError::Malformed("the folder has no file `MLmodel`".to_owned()));
        }
        let (worker, hello) = Worker::start(&folder, &settings).map_err(|error| match error {
            WorkerError::Model(why) => LoadError::Malformed(why),
            WorkerError::Broken(why) => unavailable(why),
        })?;
        let hello: Hello = serde_json::from_slice(&hello)
            .map_err(|error| unavailable(format!("the worker's description cannot be read: {error}")))?;
        let unsigned = || {
            LoadError::Unsupported {
            runtime: NAME,
            what: "the model has no signature that tensors can carry; log it with `signature=` or `input_example=`"
                .to_owned(),
        }
        };
        let takes_params = hello.params;
        let inputs = hello.inputs.filter(|inputs| !inputs.is_empty()).ok_or_else(unsigned)?;
        let inputs =
            inputs.into_iter().map(Described::slot).collect::<Option<Vec<_>>>().ok_or_else(unsigned)?;
        let outputs = match hello.outputs.filter(|outputs| !outputs.is_empty()) {
            Some(outputs) => {
                outputs.into_iter().map(Described::slot).collect::<Option<_>>().ok_or_else(unsigned)?
            }
            // Most models without a word about their answer give numbers, one for each row.
            None => vec![Slot {
                name: "predictions".to_owned(),
                element: ElementType::F64,
                shape: vec![Dim::Any(None)],
                optional: false,
            }],
        };
        let interface = Arc::new(Interface { inputs, outputs, takes_params });
        let failed = |error: std::io::Error| unavailable(error.to_string());
        let one = PythonSettings { workers: 1, ..settings.clone() };
        let apart = Pool::for_shadows(folder.clone(), one).map_err(failed)?;
        let pool = Pool::new(folder, settings, worker).map_err(failed)?;
        let shadows = ForShadows { interface: Arc::clone(&interface), pool: apart };
        Ok(Self { interface, worker_bytes: AtomicU64::new(0), pool, shadows })
    }

    /// Numbers of the processes that wait for calls.
    pub fn idle_pids(&self) -> Vec<u32> {
        self.pool.pids()
    }

    /// Numbers of the processes that wait for calls of shadows.
    pub fn idle_shadow_pids(&self) -> Vec<u32> {
        self.shadows.pool.pids()
    }

    /// How often a worker for callers was started again.
    pub fn restarts(&self) -> u64 {
        self.pool.restarts()
    }
}

impl Described {
    fn slot(self) -> Option<Slot> {
        let kind = self.kind.as_str();
        let text = matches!(kind, "string" | "bytes" | "datetime").then_some(ElementType::Bytes);
        let element = of_numpy(kind).or(text)?;
        // The first dimension is that of the rows, whatever an example had.
        let rest = self.shape.iter().skip(1);
        let shape = std::iter::once(Dim::Any(None))
            .chain(rest.map(|size| usize::try_from(*size).map_or(Dim::Any(None), Dim::Fixed)))
            .collect();
        Some(Slot { name: self.name, element, shape, optional: self.optional })
    }
}

impl Session for PythonSession {
    fn runtime(&self) -> &'static str {
        NAME
    }

    fn inputs(&self) -> &[Slot] {
        &self.interface.inputs
    }

    fn outputs(&self) -> &[Slot] {
        &self.interface.outputs
    }

    fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, RunError> {
        self.interface.ask(&self.pool, inputs, None, None)
    }

    fn takes_params(&self) -> bool {
        self.interface.takes_params
    }

    fn run_with(&self, inputs: &[Tensor], params: &str) -> Result<Vec<Tensor>, RunError> {
        self.interface.ask(&self.pool, inputs, Some(params), None)
    }

    fn run_until(
        &self,
        inputs: &[Tensor],
        params: Option<&str>,
        until: Instant,
    ) -> Result<Vec<Tensor>, RunError> {
        self.interface.ask(&self.pool, inputs, params, Some(until))
    }

    fn for_shadows(&self) -> Option<&dyn Session> {
        Some(&self.shadows)
    }

    /// Of all workers, also of those that are still to be started or are at work: each holds the model.
    fn memory_bytes(&self) -> u64 {
        let resident = |pid: u32| {
            let status = fs_err::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        };
        let pids = self.pool.pids().into_iter().chain(self.shadows.pool.pids());
        let seen: Vec<u64> = pids.filter_map(resident).map(|kib| kib.saturating_mul(1024)).collect();
        let before = self.worker_bytes.load(Ordering::Relaxed);
        let workers = self.pool.workers() + self.shadows.pool.workers();
        let (each, all) = of_workers(&seen, workers, before);
        self.worker_bytes.store(each, Ordering::Relaxed);
        all
    }
}

impl Session for ForShadows {
    fn runtime(&self) -> &'static str {
        NAME
    }

    fn inputs(&self) -> &[Slot] {
        &self.interface.inputs
    }

    fn outputs(&self) -> &[Slot] {
        &self.interface.outputs
    }

    fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, RunError> {
        self.interface.ask(&self.pool, inputs, None, None)
    }

    /// It is counted with the model.
    fn memory_bytes(&self) -> u64 {
        0
    }
}

/// Bytes of a worker and of all of them, by those that are seen; `before` is a worker's where none is.
fn of_workers(seen: &[u64], workers: usize, before: u64) -> (u64, u64) {
    let sum: u64 = seen.iter().sum();
    let each = if seen.is_empty() { before } else { sum / seen.len() as u64 };
    (each, sum + each * workers.saturating_sub(seen.len()) as u64)
}

impl Interface {
    fn ask(
        &self,
        pool: &Pool,
        inputs: &[Tensor],
        params: Option<&str>,
        until: Option<Instant>,
    ) -> Result<Vec<Tensor>, RunError> {
        if inputs.len() != self.inputs.len() {
            return Err(RunError::InputCount { expected: self.inputs.len(), given: inputs.len() });
        }
        for (slot, tensor) in self.inputs.iter().zip(inputs) {
            if slot.element != tensor.element() {
                let why = format!("the model takes {} and was given {}", slot.element, tensor.element());
                return Err(RunError::Input { input: slot.name.clone(), why });
            }
        }
        let request = convert::encode(&self.inputs, inputs, params)?;
        let answer = pool.call(&request, until).map_err(RunError::Model)?;
        convert::decode(&self.outputs, &answer)
    }
}

#[cfg(test)]
mod tests {
    use super::of_workers;

    #[test]
    fn workers_that_are_still_to_start_count_as_those_that_run() {
        assert_eq!(of_workers(&[300], 4, 0), (300, 1_200), "as it is right after a load");
        assert_eq!(of_workers(&[300, 500], 3, 300), (400, 1_200));
        assert_eq!(of_workers(&[], 2, 400), (400, 800), "all are at work");
        assert_eq!(of_workers(&[100, 100], 2, 7), (100, 200));
    }
}
