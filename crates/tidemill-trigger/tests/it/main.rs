//! Triggers through the public API: tables of cases, properties, and times of an independent program.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail where their helpers fail"
)]

mod hooks;
mod react;
mod schedule;
