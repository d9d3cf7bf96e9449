//! Models of Python: whatever `mlflow.pyfunc.load_model` loads, answered by supervised worker processes.
//!
//! A [`PythonSession`] keeps some workers. Each is an interpreter with our script and the model, and one end of a socket
//! over which calls and answers go as Arrow IPC. A worker that crashes, hangs or answers nonsense is ended and started
//! again with growing pauses; the other workers go on. A worker ends by itself when this process is gone.
//! [`Environment`] makes the interpreter from the model's own requirements.

mod convert;
mod environment;
mod frame;
mod pool;
mod session;
mod worker;

pub use environment::Environment;
pub use session::{PythonSession, PythonSettings};

#[cfg(test)]
mod tests;
