//! Which runtime takes a model.

use std::str::FromStr;

use crate::onnx;
use crate::{LoadError, RunOptions, Runtime, Session, classical};

/// Which runtimes may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// Our own evaluator if it has every operator, else the one for networks, else ONNX Runtime.
    #[default]
    Auto,
    /// What is built in: our own evaluator or the one for networks.
    Embedded,
    /// ONNX Runtime alone.
    OnnxRuntime,
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "auto" => Self::Auto,
            "embedded" => Self::Embedded,
            "onnxruntime" => Self::OnnxRuntime,
            other => return Err(format!("`{other}` is none of `auto`, `embedded` and `onnxruntime`")),
        })
    }
}

/// All runtimes, and the rule by which one of them takes a model.
#[derive(Debug, Default)]
pub struct Runtimes {
    choice: Choice,
    #[cfg(feature = "ort")]
    ort: std::sync::OnceLock<Result<crate::OnnxRuntime, String>>,
    #[cfg(feature = "ort")]
    options: crate::OrtOptions,
}

impl Runtimes {
    /// Runtimes by a choice, with ONNX Runtime in its usual places.
    pub fn new(choice: Choice) -> Self {
        Self { choice, ..Self::default() }
    }

    /// With other settings for ONNX Runtime, which is loaded when the first model needs it.
    #[cfg(feature = "ort")]
    #[must_use]
    pub fn with_onnxruntime(mut self, options: crate::OrtOptions) -> Self {
        self.options = options;
        self
    }

    /// Loads a model with the first runtime that can run all of it.
    ///
    /// # Errors
    ///
    /// [`LoadError::Malformed`] for what is no model. Otherwise [`LoadError::Unsupported`] with what each runtime
    /// lacks.
    fn choose(&self, bytes: &[u8], options: &RunOptions) -> Result<Box<dyn Session>, LoadError> {
        let model = onnx::read(bytes)?;
        let mut lacking = Vec::new();
        // Only ONNX Runtime knows GPUs.
        if self.choice != Choice::OnnxRuntime && !options.cuda {
            match classical::session(&model) {
                Ok(session) => return Ok(Box::new(session)),
                Err(error) => lacking.push(reason(error)?),
            }
            #[cfg(feature = "network")]
            match crate::network::session(&model, bytes) {
                Ok(session) => return Ok(Box::new(session)),
                Err(error) => lacking.push(reason(error)?),
            }
            #[cfg(not(feature = "network"))]
            lacking.push("network: this program was built without it".to_owned());
        }
        if self.choice == Choice::Embedded {
            lacking
                .push("onnxruntime: the choice `embedded` leaves it out; choose `auto` to use it".to_owned());
        } else {
            match self.onnxruntime(&model, bytes, options) {
                Ok(session) => return Ok(session),
                Err(error) => lacking.push(reason(error)?),
            }
        }
        let mixed = if is_mixed(&model) {
            "; the model has operators of classical models and of networks, which only ONNX Runtime runs together"
        } else {
            ""
        };
        Err(LoadError::Unsupported { runtime: "chosen", what: format!("{}{mixed}", lacking.join("; ")) })
    }

    #[cfg(feature = "ort")]
    fn onnxruntime(
        &self,
        model: &onnx::Model,
        bytes: &[u8],
        options: &RunOptions,
    ) -> Result<Box<dyn Session>, LoadError> {
        let loaded = self.ort.get_or_init(|| {
            crate::OnnxRuntime::new(self.options.clone()).map_err(|error| match error {
                LoadError::Unavailable { why, .. } => why,
                other => other.to_string(),
            })
        });
        match loaded {
            Ok(runtime) => Ok(Box::new(runtime.session(model, bytes, options)?)),
            Err(why) => Err(LoadError::Unavailable { runtime: "onnxruntime", why: why.clone() }),
        }
    }

    #[cfg(not(feature = "ort"))]
    #[expect(clippy::unused_self, reason = "the same as with the feature")]
    fn onnxruntime(&self, _: &onnx::Model, _: &[u8], _: &RunOptions) -> Result<Box<dyn Session>, LoadError> {
        let why = "this program was built without it".to_owned();
        Err(LoadError::Unavailable { runtime: "onnxruntime", why })
    }
}

impl Runtime for Runtimes {
    fn name(&self) -> &'static str {
        match self.choice {
            Choice::Auto => "auto",
            Choice::Embedded => "embedded",
            Choice::OnnxRuntime => "onnxruntime",
        }
    }

    fn load(&self, model: &[u8]) -> Result<Box<dyn Session>, LoadError> {
        #[cfg(feature = "ort")]
        let options = self.options.of_calls();
        #[cfg(not(feature = "ort"))]
        let options = RunOptions::default();
        self.choose(model, &options)
    }

    fn load_with(&self, model: &[u8], options: &RunOptions) -> Result<Box<dyn Session>, LoadError> {
        self.choose(model, options)
    }
}

/// What a runtime lacks. What makes a file no model is an error for all.
fn reason(error: LoadError) -> Result<String, LoadError> {
    match error {
        LoadError::Malformed(_) => Err(error),
        LoadError::Unsupported { runtime, what } => Ok(format!("{runtime}: {what}")),
        LoadError::Unavailable { runtime, why } => Ok(format!("{runtime}: {why}")),
    }
}

/// Whether operators of classical models stand beside some that our evaluator does not have.
fn is_mixed(model: &onnx::Model) -> bool {
    let nodes = &model.graph.nodes;
    nodes.iter().any(|node| node.domain == "ai.onnx.ml")
        && nodes.iter().any(|node| node.domain.is_empty() && !classical::knows(&node.op))
}
