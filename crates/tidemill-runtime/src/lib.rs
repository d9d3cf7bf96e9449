//! What runs a model: tensors in, tensors out.
//!
//! A [`Runtime`] reads the bytes of a model and gives a [`Session`], which says what it takes and gives
//! ([`Slot`]) and answers calls. The crate knows no protocol, no path, no store and starts no task: a call
//! works on the caller's thread.

mod check;
mod classical;
mod error;
mod maps;
mod onnx;
mod session;
mod tensor;

pub use classical::Classical;
pub use error::{LoadError, RunError};
pub use onnx::{Description, describe};
pub use session::{Dim, Runtime, Session, Slot};
pub use tensor::{ElementType, Tensor, TensorError, Values};
