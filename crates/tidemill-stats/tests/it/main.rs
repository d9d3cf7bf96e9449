//! The statistical core against independent implementations, its properties, and its error rates by simulation.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests fail where their helpers fail, and print what they find"
)]

mod categorical;
mod dependence;
mod drift;
mod interval;
mod multiple;
mod nannyml;
mod online;
mod peers;
mod properties;
mod python;
mod quality;
mod sequential;
mod simulation;
mod slices;
mod twosample;
