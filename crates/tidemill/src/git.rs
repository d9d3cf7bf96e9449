//! The program `git`, asked without a person at the keyboard: for nothing longer than is said, for no password, and with none of the
//! repository's hooks.

use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tidemill_core::Cancel;

use crate::app::reason;

/// How long Git may take where nothing else is said.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much of what it prints is read where nothing else is said.
const MOST: u64 = 256 << 10;

/// What a question to Git may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds<'a> {
    /// How long it may take.
    pub(crate) time: Duration,
    /// How many bytes of what it prints are read.
    pub(crate) bytes: u64,
    /// Ends it early.
    pub(crate) cancel: Option<&'a Cancel>,
}

impl Default for Bounds<'_> {
    fn default() -> Self {
        Self { time: PATIENCE, bytes: MOST, cancel: None }
    }
}

/// What Git said.
#[derive(Debug)]
pub(crate) struct Said {
    /// Whether it went well.
    pub(crate) good: bool,
    /// What it printed.
    pub(crate) out: String,
    /// What it printed for people.
    pub(crate) err: String,
}

impl Said {
    /// What it printed, without the line's end, where it went well; else why not.
    pub(crate) fn line(self) -> Result<String, String> {
        if self.good { Ok(self.out.trim_end().to_owned()) } else { Err(self.why()) }
    }

    /// Why it did not go well: its own words, in one line.
    pub(crate) fn why(&self) -> String {
        let lines: Vec<&str> = self.err.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let words: String = lines.join("; ").chars().take(500).collect();
        if words.is_empty() { "it says nothing".to_owned() } else { words }
    }
}

/// Runs `git` in a folder.
pub(crate) fn git(root: &Path, arguments: &[&str]) -> Result<Said, String> {
    git_with(root, arguments, &[], "")
}

/// The commit of a branch, of a remote or of the repository itself; nothing where it is not there.
pub(crate) fn tip(root: &Path, branch: &str, remote: Option<&str>) -> Result<Option<String>, String> {
    let reference = format!("refs/heads/{branch}");
    let Some(remote) = remote else {
        let said = git(root, &["rev-parse", "--verify", "--quiet", &reference])?;
        return Ok(said.good.then(|| said.out.trim().to_owned()));
    };
    let said = git(root, &["ls-remote", "--", remote, &reference])?;
    if !said.good {
        return Err(format!("`git ls-remote {remote}` failed; try it in the project folder: {}", said.why()));
    }
    Ok(said.out.split_whitespace().next().map(str::to_owned))
}

/// Runs `git` in a folder with variables in its environment and a text to read.
pub(crate) fn git_with(
    root: &Path,
    arguments: &[&str],
    environment: &[(&str, &str)],
    input: &str,
) -> Result<Said, String> {
    git_within(root, arguments, environment, input, &Bounds::default())
}

/// The same with bounds of its own.
pub(crate) fn git_within(
    root: &Path,
    arguments: &[&str],
    environment: &[(&str, &str)],
    input: &str,
    bounds: &Bounds<'_>,
) -> Result<Said, String> {
    let failed = |error: std::io::Error| format!("cannot run `git`: {}", reason(&error));
    // Files, since whoever waits for a process does not read its pipes.
    let mut read = tempfile::tempfile().map_err(failed)?;
    read.write_all(input.as_bytes()).and_then(|()| read.rewind()).map_err(failed)?;
    let (mut out, mut err) = (tempfile::tempfile().map_err(failed)?, tempfile::tempfile().map_err(failed)?);
    let mut command = Command::new("git");
    command.arg("-C").arg(root).args(["-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0"]).args(arguments);
    // Those of somebody who is in the middle of something else.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
        command.env_remove(name);
    }
    command.env("GIT_TERMINAL_PROMPT", "0").env("GIT_OPTIONAL_LOCKS", "0").env("LC_ALL", "C");
    if std::env::var_os("GIT_SSH_COMMAND").is_none() {
        command.env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes -o ConnectTimeout=20");
    }
    command.envs(environment.iter().copied());
    command.stdin(Stdio::from(read));
    command.stdout(Stdio::from(out.try_clone().map_err(failed)?));
    command.stderr(Stdio::from(err.try_clone().map_err(failed)?));
    let mut child = Ending(command.spawn().map_err(failed)?);
    let begin = Instant::now();
    let status = loop {
        if let Some(status) = child.0.try_wait().map_err(failed)? {
            break status;
        }
        if bounds.cancel.is_some_and(Cancel::is_cancelled) {
            return Err(format!("`git {}` was stopped", arguments[0]));
        }
        if begin.elapsed() > bounds.time {
            return Err(format!("`git {}` did not end in {} s", arguments[0], bounds.time.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let text = |file: &mut std::fs::File| -> std::io::Result<String> {
        let mut bytes = Vec::new();
        file.rewind()?;
        file.take(bounds.bytes).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let (out, err) = (text(&mut out).map_err(failed)?, text(&mut err).map_err(failed)?);
    Ok(Said { good: status.success(), out, err })
}

/// A process that does not outlive the question.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
