//! Tests of this repository as it is: the rules of `cargo xtask tidy` and the fuzz entry points.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests and measuring programs fail where their helpers fail, and print what they find"
)]

mod fuzz;
mod tidy;
