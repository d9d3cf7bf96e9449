//! Pages with made-up numbers: what their components look like as text, and that nothing unescaped gets out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail where their helpers fail"
)]

mod charts;
mod components;
mod contrast;
mod hostile;
mod sample;
