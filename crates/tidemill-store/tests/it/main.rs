//! API tests of the store, one binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests and measuring programs fail where their helpers fail, and print what they find"
)]

mod bad_input;
mod behind;
mod cache;
mod checkout;
mod concurrent;
mod crash;
mod gc;
mod holders;
mod range;
mod remote;
mod remote_gc;
mod remote_verify;
mod s3;
mod store;
mod support;
mod support_child;
mod verify;
