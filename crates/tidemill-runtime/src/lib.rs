//! What runs a model: tensors in, tensors out.
//!
//! A [`Runtime`] reads the bytes of a model and gives a [`Session`], which says what it takes and gives
//! ([`Slot`]) and answers calls. The crate knows no protocol, no path, no store and starts no task: a call
//! works on the caller's thread.

#![allow(
    clippy::clone_on_copy,
    clippy::cast_lossless,
    clippy::cloned_instead_of_copied,
    reason = "macros write one body for numbers and for byte strings, or for all widths of numbers"
)]
#![allow(
    clippy::needless_bitwise_bool,
    clippy::trivially_copy_pass_by_ref,
    reason = "inner loops are without branches, and one signature holds for all operators"
)]
#![allow(
    clippy::inline_always,
    reason = "kernels become one loop with the vector instructions that `pulp` chose around them; a call in between would lose them"
)]

mod check;
mod classical;
mod error;
mod fuzz;
mod maps;
#[cfg(feature = "network")]
mod network;
mod onnx;
#[cfg(feature = "ort")]
mod onnxruntime;
mod select;
mod session;
mod tensor;

pub use classical::Classical;
pub use error::{LoadError, RunError};
#[doc(hidden)]
pub use fuzz::fuzz_entry;
#[cfg(feature = "network")]
pub use network::Network;
pub use onnx::{Description, describe};
#[cfg(feature = "ort")]
pub use onnxruntime::{OnnxRuntime, OrtOptions, usual_places};
pub use select::{Choice, Runtimes};
pub use session::{Dim, RunOptions, Runtime, Session, Slot};
pub use tensor::{ElementType, MOST_HOLLOW, Tensor, TensorError, Values, is_hollow};
