//! The server on a loopback listener, asked as clients ask it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail where their helpers fail"
)]

mod artifacts;
