//! Runs one test of this binary in a process of its own, where it finds its orders in the environment.

use std::path::Path;
use std::process::{Command, Stdio};

/// Names the folder in which a child works; without it a test is not a child.
pub(crate) const DIR: &str = "TIDEMILL_STORE_TEST_DIR";

/// The folder this process was told to work in, if it is a child.
pub(crate) fn orders() -> Option<std::path::PathBuf> {
    std::env::var_os(DIR).map(Into::into)
}

/// A command that runs exactly the test `name` as a child in `dir`.
pub(crate) fn command(name: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    with_args(&mut command, name, dir);
    command
}

/// Adds the arguments and environment of a child to a command that ends in this binary.
pub(crate) fn with_args(command: &mut Command, name: &str, dir: &Path) {
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(DIR, dir).stdin(Stdio::null());
}
