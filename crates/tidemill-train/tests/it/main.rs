//! The trainer's public API against independent implementations.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests and measuring programs fail where their helpers fail, and print what they find"
)]

mod fit;
mod flights;
mod gbdt;
mod linear;
mod metric;
mod onnx;
mod probe;
mod python;
mod split;
