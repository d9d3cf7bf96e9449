//! The crate from outside: windows judged one after another, and figures beside those of scikit-learn.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail where their helpers fail"
)]

mod judge;
mod levels;
mod numbers;
mod pairs;
mod restate;
