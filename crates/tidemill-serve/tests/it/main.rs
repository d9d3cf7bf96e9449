//! The protocols over a fake model server: unit cases in Rust, and the real clients as Python scripts.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests fail where their helpers fail, and say what they counted"
)]

mod fake;
mod gateway;
mod grpc;
mod http;
mod mutate;
mod python;
mod scoring;
