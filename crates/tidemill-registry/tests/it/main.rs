//! The rules over a real database of either kind and a real store, through the public API.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail where their helpers fail"
)]

mod artifacts;
mod import;
mod models;
mod tracking;
