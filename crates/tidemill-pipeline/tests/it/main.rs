//! The pipeline through its public API, with real processes in temporary folders.

mod crash;
mod failures;
mod process;
mod reproduction;
mod runs;
mod sandbox;
mod store;
mod support;
