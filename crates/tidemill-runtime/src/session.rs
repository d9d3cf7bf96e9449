//! The seam between serving and what runs a model.

use std::fmt;
use std::time::Instant;

use crate::{ElementType, LoadError, RunError, Tensor};

/// Something that can run models of a format.
pub trait Runtime: Send + Sync + fmt::Debug {
    /// A short name for messages, metrics and the record of what answered: `classical`, `network`, `onnxruntime`.
    fn name(&self) -> &'static str;

    /// Reads a model and prepares it for calls.
    fn load(&self, model: &[u8]) -> Result<Box<dyn Session>, LoadError>;

    /// The same for a model that says how it wants to be run. What a runtime has no choice about it leaves aside.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load), and where the machine lacks what is asked for.
    fn load_with(&self, model: &[u8], options: &RunOptions) -> Result<Box<dyn Session>, LoadError> {
        let _ = options;
        self.load(model)
    }
}

/// How a model wants to be run, as far as its runtime has a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// Calls that run at once.
    pub calls: usize,
    /// Threads within a call; 0 is one for each core.
    pub threads: usize,
    /// Whether it must run on an NVIDIA GPU.
    pub cuda: bool,
}

impl Default for RunOptions {
    /// One call on one thread, no GPU.
    fn default() -> Self {
        Self { calls: 1, threads: 1, cuda: false }
    }
}

/// A loaded model. Calls may come from many threads at once.
pub trait Session: Send + Sync + fmt::Debug {
    /// The runtime's name.
    fn runtime(&self) -> &'static str;

    /// What a call takes, in this order.
    fn inputs(&self) -> &[Slot];

    /// What a call gives, in this order.
    fn outputs(&self) -> &[Slot];

    /// Answers a call. `inputs` are in the order of [`inputs`](Self::inputs) and so are the results in the order of
    /// [`outputs`](Self::outputs). Rows are the first dimension; rows do not influence each other.
    fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, RunError>;

    /// Whether calls may carry parameters, as models of Python do whose signature names some.
    fn takes_params(&self) -> bool {
        false
    }

    /// Answers a call with parameters, a JSON object as text.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run), and where the model takes none.
    fn run_with(&self, inputs: &[Tensor], params: &str) -> Result<Vec<Tensor>, RunError> {
        let _ = (inputs, params);
        Err(RunError::Input { input: "params".to_owned(), why: "the model takes no parameters".to_owned() })
    }

    /// Answers a call whose caller waits until a moment. A runtime that gives up on calls by itself does so no earlier than that.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run), and with parameters as [`run_with`](Self::run_with).
    fn run_until(
        &self,
        inputs: &[Tensor],
        params: Option<&str>,
        until: Instant,
    ) -> Result<Vec<Tensor>, RunError> {
        let _ = until;
        match params {
            Some(params) => self.run_with(inputs, params),
            None => self.run(inputs),
        }
    }

    /// The same model for calls whose answer nobody waits for, where calls take places from each other for as long as they last. Those
    /// places are others then, or one that no caller waits for, so that a shadow which hangs keeps none from callers. `None` where calls do not
    /// wait for each other, or there is one place for all.
    fn for_shadows(&self) -> Option<&dyn Session> {
        None
    }

    /// Bytes that the loaded model occupies, near enough for a memory budget.
    fn memory_bytes(&self) -> u64;

    /// Whether calls are short enough (well under a millisecond for one row) to be answered on a thread that also
    /// answers connections.
    fn is_quick(&self) -> bool {
        false
    }

    /// The names of the columns of an input or output which is a map in the model, such as what ONNX's `ZipMap` gives:
    /// it is a matrix here with one column for each key. `None` for plain tensors.
    fn columns(&self, slot: &str) -> Option<&[String]> {
        let _ = slot;
        None
    }
}

/// One input or output of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub element: ElementType,
    /// Its shape.
    pub shape: Vec<Dim>,
    /// Whether a call may leave it out.
    pub optional: bool,
}

/// The size of one dimension of a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dim {
    /// Always this.
    Fixed(usize),
    /// Any; dimensions with the same name have the same size within a call.
    Any(Option<String>),
}
