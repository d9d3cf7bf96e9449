//! Tests of this repository as it is: the rules of `cargo xtask tidy`, the fuzz entry points, and what builds it in CI.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests and measuring programs fail where their helpers fail, and print what they find"
)]

mod at_once;
mod fuzz;
mod tidy;
