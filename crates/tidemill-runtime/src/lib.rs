//! What runs a model: tensors in, tensors out.
//!
//! A [`Runtime`] reads the bytes of a model and gives a [`Session`], which says what it takes and gives
//! ([`Slot`]) and answers calls. The crate knows no protocol, no path, no store and starts no task: a call
//! works on the caller's thread.

mod error;
mod session;
mod tensor;

pub use error::{LoadError, RunError};
pub use session::{Dim, Runtime, Session, Slot};
pub use tensor::{ElementType, Tensor, TensorError, Values};
