//! The real binary from outside: what users type, what they see, what is left behind.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests and measuring programs fail where their helpers fail, and print what they find"
)]

mod bad_input;
mod crash;
mod data;
mod demo;
mod fixture;
mod flights;
mod hostile;
mod init;
mod judge;
mod log;
mod pipeline;
mod profile;
mod project_file;
mod recorded;
mod remote_gc;
mod server;
mod shared_store;
mod simulate;
mod tables;
mod up;
