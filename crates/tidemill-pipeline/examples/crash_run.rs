//! Runs a small pipeline in the folder given as argument, over fakes that survive the process. The crash test kills
//! this program at any moment and looks at what is left.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests and measuring programs fail where their helpers fail, and print what they find"
)]

#[path = "../tests/it/support/mod.rs"]
mod support;

use std::path::PathBuf;

fn main() -> Result<(), tidemill_pipeline::Error> {
    let root = std::env::args_os().nth(1).map(PathBuf::from).unwrap_or_default();
    let root = fs_err::canonicalize(root)?;
    support::Project::at(&root).execute(&support::chain(), &support::options())?;
    Ok(())
}
