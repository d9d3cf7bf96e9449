//! A project in a temporary folder and the binary that works on it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// A project folder that goes away with the value.
pub(crate) struct Project {
    dir: TempDir,
}

/// What a command printed and how it ended.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn of(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The same, after checking that it went well.
    #[track_caller]
    pub(crate) fn good(self) -> Self {
        assert_eq!(self.code, Some(0), "{self}");
        self
    }

    /// The same, after checking the exit code and that standard error contains every one of these texts, and that
    /// nothing panicked.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, texts: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        for text in texts {
            assert!(self.stderr.contains(text), "`{text}` is not in:\n{self}");
        }
        assert!(!self.stderr.contains("panicked"), "{self}");
        self
    }

    /// Checks that standard output contains every one of these texts.
    #[track_caller]
    pub(crate) fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.stdout.contains(text), "`{text}` is not in:\n{self}");
        }
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self}"))
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit {:?}\n--- stdout\n{}\n--- stderr\n{}", self.code, self.stdout, self.stderr)
    }
}

/// The binary, with an environment that is the same everywhere.
pub(crate) fn tidemill() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    clean(&mut command);
    command
}

/// A command that finally runs the binary: `wrapper… tidemill`.
pub(crate) fn wrapped(wrapper: &[&str]) -> Command {
    let mut command = Command::new(wrapper[0]);
    command.args(&wrapper[1..]).arg(env!("CARGO_BIN_EXE_tidemill"));
    clean(&mut command);
    command
}

fn clean(command: &mut Command) {
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", "/nonexistent").env("USER", "tester").env("NO_COLOR", "1").env("RUST_BACKTRACE", "0");
    command.stdin(std::process::Stdio::null());
}

impl Project {
    /// An empty folder.
    pub(crate) fn empty() -> Self {
        Self { dir: tempfile::Builder::new().prefix("tidemill-test-").tempdir().unwrap() }
    }

    /// A folder with this project file.
    pub(crate) fn new(text: &str) -> Self {
        let project = Self::empty();
        project.write("tidemill.yaml", text);
        project
    }

    pub(crate) fn path(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.dir.path().join(name.as_ref())
    }

    pub(crate) fn root(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs_err::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// The command, not started.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = tidemill();
        command.current_dir(self.root()).args(args);
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran::of(&self.command(args).output().unwrap())
    }

    /// The states of the steps of a run, from its JSON.
    #[track_caller]
    pub(crate) fn states(&self, args: &[&str]) -> Vec<(String, String)> {
        let mut all = vec!["run", "--json"];
        all.extend(args);
        let value = self.run(&all).good().json();
        let Some(steps) = value["run"]["steps"].as_array() else { return Vec::new() };
        steps
            .iter()
            .map(|step| {
                (step["step"].as_str().unwrap().to_owned(), step["state"].as_str().unwrap().to_owned())
            })
            .collect()
    }

    /// Every file below a folder with its content, sorted; `.tidemill` is left out.
    pub(crate) fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        collect(self.root(), self.root(), &mut found);
        found.sort();
        found
    }
}

fn collect(root: &Path, dir: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
    for file in fs_err::read_dir(dir).unwrap() {
        let path = file.unwrap().path();
        if path.ends_with(".tidemill") {
            continue;
        }
        if path.is_dir() {
            collect(root, &path, found);
        } else {
            found.push((path.strip_prefix(root).unwrap().to_owned(), fs_err::read(&path).unwrap()));
        }
    }
}

/// The repository's root.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Copies a folder.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs_err::create_dir_all(to).unwrap();
    for file in fs_err::read_dir(from).unwrap() {
        let file = file.unwrap();
        let dest = to.join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            if file.file_name() != ".tidemill" {
                copy(&file.path(), &dest);
            }
        } else {
            fs_err::copy(file.path(), dest).unwrap();
        }
    }
}

/// Waits until a condition holds; panics after twenty seconds.
#[track_caller]
pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(start.elapsed().as_secs() < 20, "{what} did not happen");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}
