//! Models of other people's libraries answer here as they do in ONNX Runtime.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests fail where their helpers fail, and say how far answers are apart"
)]

mod files;
mod runtimes;
mod suite;
