//! Tests over the public API, in one program.

#![allow(clippy::unwrap_used, reason = "tests fail where their helpers fail")]

mod contest;
mod errors;
mod slices;
mod stream;
