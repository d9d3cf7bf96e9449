//! Tests over the public API, in one program.

mod contest;
mod errors;
mod slices;
mod stream;
