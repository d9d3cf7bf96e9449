//! Tests over the public API, in one program.

mod errors;
mod slices;
mod stream;
