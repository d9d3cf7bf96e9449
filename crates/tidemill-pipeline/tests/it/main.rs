//! The pipeline through its public API, with real processes in temporary folders.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod crash;
mod failures;
mod process;
mod reproduction;
mod runs;
mod sandbox;
mod store;
mod support;
