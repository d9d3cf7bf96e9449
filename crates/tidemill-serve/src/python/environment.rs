//! Interpreters made from a model's own requirements: a virtual environment each, kept by the digest of what is in it.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tidemill_core::Digest;
use tidemill_runtime::LoadError;

/// What a model needs to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// Lines of requirements.
    pub(super) requirements: String,
    /// The version of Python that the model was logged with, as in `3.11`.
    pub(super) python: Option<String>,
}

/// The file that says that an environment is complete.
const COMPLETE: &str = "complete";

impl Environment {
    /// Reads `requirements.txt` and `python_env.yaml` of a model's folder.
    ///
    /// # Errors
    ///
    /// Where the folder has no requirements.
    pub fn of_model(folder: &Path) -> Result<Self, LoadError> {
        let read = |name: &str| fs_err::read_to_string(folder.join(name)).ok();
        let described = read("python_env.yaml").unwrap_or_default();
        let requirements = read("requirements.txt").ok_or_else(|| LoadError::Unavailable {
            runtime: "python",
            why: "the model's folder has no `requirements.txt`; name an interpreter that has what it needs"
                .to_owned(),
        })?;
        let mut lines: Vec<&str> = requirements
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .collect();
        // Calls go as Arrow, which a small installation of MLflow does not bring.
        let name = |line: &str| -> String {
            let ends = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
            line.split(ends).next().unwrap_or_default().to_ascii_lowercase()
        };
        if !lines.iter().any(|line| name(line) == "pyarrow") {
            lines.push("pyarrow");
        }
        let version = described.lines().find_map(|line| line.trim().strip_prefix("python:"));
        let python = version.and_then(|version| {
            let version = version.trim().trim_matches(['"', '\'']);
            let mut parts = version.split('.');
            Some(format!("{}.{}", parts.next()?, parts.next()?))
        });
        Ok(Self { requirements: lines.join("\n") + "\n", python })
    }

    /// The name of the environment: equal for models that need the same.
    pub fn digest(&self) -> Digest {
        Digest::of(
            format!("{}\n{}", self.python.as_deref().unwrap_or_default(), self.requirements).as_bytes(),
        )
    }

    /// The interpreter below `cache`, made where it is not there. `progress` gets a line now and then. Another process
    /// that makes the same one is waited for.
    ///
    /// # Errors
    ///
    /// Where no Python is found, or its `venv` or `pip` fails, with what it said.
    pub fn prepare(&self, cache: &Path, progress: &dyn Fn(&str)) -> Result<PathBuf, LoadError> {
        let unavailable = |why: String| LoadError::Unavailable { runtime: "python", why };
        let io = |error: std::io::Error| unavailable(error.to_string());
        let folder = cache.join(self.digest().short());
        let interpreter = folder.join("bin/python");
        if folder.join(COMPLETE).is_file() {
            return Ok(interpreter);
        }
        fs_err::create_dir_all(cache).map_err(io)?;
        let lock = fs_err::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.with_extension("lock"))
            .map_err(io)?;
        rustix::fs::flock(lock.file(), rustix::fs::FlockOperation::LockExclusive)
            .map_err(|error| unavailable(error.to_string()))?;
        if folder.join(COMPLETE).is_file() {
            return Ok(interpreter);
        }
        // What an interrupted one left.
        if folder.exists() {
            fs_err::remove_dir_all(&folder).map_err(io)?;
        }
        let base = self.base(progress)?;
        progress(&format!("making an environment with {}", base.display()));
        run(Command::new(&base).args(["-m", "venv"]).arg(&folder), progress).map_err(unavailable)?;
        let file = folder.join("requirements.txt");
        fs_err::write(&file, &self.requirements).map_err(io)?;
        let mut pip = Command::new(&interpreter);
        pip.args([
            "-m",
            "pip",
            "install",
            "--disable-pip-version-check",
            "--no-input",
            "--progress-bar",
            "off",
        ]);
        run(pip.arg("-r").arg(&file), progress).map_err(unavailable)?;
        fs_err::write(folder.join(COMPLETE), "").map_err(io)?;
        progress("the environment is complete");
        Ok(interpreter)
    }

    /// A Python of the model's version; else any, with a word about it.
    fn base(&self, progress: &dyn Fn(&str)) -> Result<PathBuf, LoadError> {
        let found = |name: &str| {
            let path = std::env::var_os("PATH")?;
            std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file())
        };
        if let Some(version) = &self.python {
            if let Some(path) = found(&format!("python{version}")) {
                return Ok(path);
            }
            progress(&format!(
                "there is no python{version}, which the model was logged with; taking `python3`"
            ));
        }
        found("python3").ok_or_else(|| LoadError::Unavailable {
            runtime: "python",
            why: "there is no `python3` on the path; install Python, or name an interpreter in the settings"
                .to_owned(),
        })
    }
}

/// Runs a command, each line of its output to `progress`; what it said last is the error.
fn run(command: &mut Command, progress: &dyn Fn(&str)) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot run `{program}`: {error}"))?;
    let stderr = child.stderr.take();
    // Both pipes are read side by side, so that neither fills up.
    let errors = std::thread::spawn(move || {
        let mut last = std::collections::VecDeque::new();
        for line in stderr.into_iter().flat_map(|stderr| BufReader::new(stderr).lines()).map_while(Result::ok)
        {
            if last.len() == 20 {
                last.pop_front();
            }
            last.push_back(line);
        }
        last.into_iter().collect::<Vec<_>>().join("\n")
    });
    for line in
        child.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines()).map_while(Result::ok)
    {
        progress(&line);
    }
    let status = child.wait().map_err(|error| format!("`{program}` was lost: {error}"))?;
    let said = errors.join().unwrap_or_default();
    if status.success() { Ok(()) } else { Err(format!("`{program}` failed ({status}): {said}")) }
}
