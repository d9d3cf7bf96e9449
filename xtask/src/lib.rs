//! All automation of the repository, as plain functions: `main.rs` only parses the command line.
//!
//! Nothing here is shipped. Of the workspace it depends on the test support alone (its tests on more, for the fuzz entry
//! points), so that `cargo xtask` starts within seconds of a fresh clone.

pub mod bench;
pub mod ci;
pub mod codegen;
pub mod fuzz;
pub mod process;
pub mod setup;
pub mod tidy;
pub mod workspace;
