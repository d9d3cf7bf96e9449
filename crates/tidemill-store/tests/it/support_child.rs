//! Runs one test of this binary in a process of its own, where it finds its orders in the environment, and a log in
//! which it says what it has done.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};

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

/// Starts such a child; what it says goes into a file of the folder.
pub(crate) fn start(name: &str, dir: &Path) -> Child {
    let said = fs_err::File::create(dir.join("said")).unwrap().into_parts().0;
    command(name, dir).stdout(Stdio::null()).stderr(said).spawn().unwrap()
}

/// Sees that a child that was started is still there.
#[track_caller]
pub(crate) fn is_at_work(child: &mut Child, dir: &Path) {
    if let Some(status) = child.try_wait().unwrap() {
        panic!("the worker ended, {status}: {}", fs_err::read_to_string(dir.join("said")).unwrap());
    }
}

/// The lines of a child's log. What follows the last line's end was being written when the child was killed.
pub(crate) fn lines(log: &Path) -> Vec<String> {
    let text = fs_err::read_to_string(log).unwrap_or_default();
    complete(&text).lines().map(str::to_owned).collect()
}

/// Adds a line to the log in one write, in place of one that was not completed.
pub(crate) fn add_line(log: &Path, line: &str) {
    let mut file = fs_err::OpenOptions::new().append(true).create(true).open(log).unwrap();
    let text = fs_err::read_to_string(log).unwrap();
    file.set_len(complete(&text).len() as u64).unwrap();
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}

fn complete(text: &str) -> &str {
    &text[..text.rfind('\n').map_or(0, |end| end + 1)]
}
