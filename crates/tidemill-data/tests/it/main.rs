//! The public API on real and generated tables, checked against independent programs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests and measuring programs fail where their helpers fail, and print what they find"
)]

mod diff;
mod drift;
mod expect;
mod fuzz;
mod infer;
mod profile;
mod python;
mod read;
#[cfg(feature = "sql")]
mod remote;
#[cfg(feature = "sql")]
mod sql;
