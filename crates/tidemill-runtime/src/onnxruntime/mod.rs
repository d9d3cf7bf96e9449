//! ONNX Runtime, as a shared library that is loaded when it is wanted. Nothing of it is linked or downloaded.
//!
//! A process has one ONNX Runtime: the first library that was loaded stays until the process ends.

mod copies;
mod library;
mod session;
mod tensors;

use std::path::{Path, PathBuf};

use ort::ep;
use ort::session::builder::SessionBuilder;

use crate::onnx::{self, Model};
use crate::{LoadError, RunOptions, Runtime, Session};
pub use library::usual_places;
pub(crate) use session::OrtSession;

/// The runtime's name.
pub(crate) const NAME: &str = "onnxruntime";

/// How ONNX Runtime is found and run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrtOptions {
    /// The shared library, or folders in which to look for it; the first that can be loaded is taken.
    pub candidates: Vec<PathBuf>,
    /// Threads within a call; 0 is one for each core.
    pub threads: usize,
    /// How many calls may run at once. Each has its own copy of the model.
    pub copies: usize,
    /// Whether to run on an NVIDIA GPU. A library or machine without one is an error then.
    pub cuda: bool,
}

impl Default for OrtOptions {
    /// The usual places, one thread, one copy, no GPU.
    fn default() -> Self {
        Self { candidates: usual_places(), threads: 1, copies: 1, cuda: false }
    }
}

impl OrtOptions {
    /// How models are run that say nothing themselves.
    pub(crate) fn of_calls(&self) -> RunOptions {
        RunOptions { calls: self.copies, threads: self.threads, cuda: self.cuda }
    }
}

/// The runtime that is ONNX Runtime.
#[derive(Clone, Debug)]
pub struct OnnxRuntime {
    options: OrtOptions,
    library: PathBuf,
}

impl OnnxRuntime {
    /// Loads the library.
    ///
    /// # Errors
    ///
    /// [`LoadError::Unavailable`] with what was tried and what to do, where none of the candidates can be loaded.
    pub fn new(options: OrtOptions) -> Result<Self, LoadError> {
        let library = library::load(&options.candidates)?;
        Ok(Self { options, library })
    }

    /// The shared library that was loaded.
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// Prepares a model that is read already. `bytes` are its file.
    pub(crate) fn session(
        &self,
        model: &Model,
        bytes: &[u8],
        options: &RunOptions,
    ) -> Result<OrtSession, LoadError> {
        let sessions = (0..options.calls.max(1))
            .map(|_| {
                let mut builder = self.builder(options)?;
                builder
                    .commit_from_memory(bytes)
                    .map_err(|error| LoadError::Unsupported { runtime: NAME, what: error.to_string() })
            })
            .collect::<Result<Vec<_>, _>>()?;
        OrtSession::new(sessions, model, bytes.len() as u64)
    }

    fn builder(&self, options: &RunOptions) -> Result<SessionBuilder, LoadError> {
        let unavailable = |why: String| LoadError::Unavailable { runtime: NAME, why };
        let environment =
            library::environment().ok_or_else(|| unavailable("it was not loaded".to_owned()))?;
        let mut builder =
            ort::session::Session::builder(environment).map_err(|error| unavailable(error.to_string()))?;
        builder = builder.with_intra_threads(options.threads).map_err(|e| unavailable(e.to_string()))?;
        if options.cuda {
            let provider = ep::CUDA::default().build().error_on_failure();
            builder = builder.with_execution_providers([provider]).map_err(|error| {
                unavailable(format!(
                    "no CUDA in `{}`: {error}; install `onnxruntime-gpu` with CUDA and cuDNN, or do not ask for a GPU",
                    self.library.display()
                ))
            })?;
        }
        Ok(builder)
    }
}

impl Runtime for OnnxRuntime {
    fn name(&self) -> &'static str {
        NAME
    }

    fn load(&self, model: &[u8]) -> Result<Box<dyn Session>, LoadError> {
        self.load_with(model, &self.options.of_calls())
    }

    fn load_with(&self, model: &[u8], options: &RunOptions) -> Result<Box<dyn Session>, LoadError> {
        let read = onnx::read(model)?;
        self.session(&read, model, options).map(|session| Box::new(session) as Box<dyn Session>)
    }
}
