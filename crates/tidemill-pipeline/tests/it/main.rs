//! The pipeline through its public API, with real processes in temporary folders.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests and measuring programs fail where their helpers fail, and print what they find"
)]

mod crash;
mod failures;
mod kept;
mod outside;
mod process;
mod reproduction;
mod runs;
mod sandbox;
mod store;
mod support;
