//! The example project from end to end, as a newcomer runs it: a fresh copy, one run, a run that has nothing to do,
//! and a run after one line of SQL changed.
//!
//! Only what a user sees is judged: exit codes, outputs and the lock file. Details are the binary's own tests.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{process, workspace};

/// The folder of the example in the repository.
const EXAMPLE: &str = "examples/flights";
/// A run with nothing to do takes well under a second even without optimisation.
const NOTHING_TO_DO: Duration = Duration::from_secs(1);

/// Runs the example with `binary`.
pub fn run(root: &Path, binary: &Path) -> Result<()> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    copy(root, folder.path())?;
    let project = Project { folder: folder.path(), binary };

    let first = project.run()?;
    let lock = project.lock()?;
    process::note(format!("example: first run {}", process::duration(first)));

    let second = project.run()?;
    ensure!(project.lock()? == lock, "a run with nothing to do changed `tidemill.lock`");
    ensure!(second < NOTHING_TO_DO, "a run with nothing to do took {}", process::duration(second));
    process::note(format!("example: nothing to do {} ms", second.as_millis()));

    project.change_one_line_of_sql()?;
    let third = project.run()?;
    let changed = changed_blocks(&lock, &project.lock()?);
    ensure!(!changed.is_empty(), "a changed line of SQL re-ran nothing");
    ensure!(
        !changed.iter().any(|block| block.contains("traffic")),
        "a change of `features.sql` re-ran `traffic`, which does not depend on it"
    );
    process::note(format!("example: one line of SQL changed {}", process::duration(third)));
    Ok(())
}

/// Copies the tracked files of the example.
fn copy(root: &Path, to: &Path) -> Result<()> {
    for path in workspace::tracked_files(root)? {
        let Some(inside) = path.strip_prefix(EXAMPLE).and_then(|rest| rest.strip_prefix('/')) else {
            continue;
        };
        let target = to.join(inside);
        if let Some(parent) = target.parent() {
            fs_err::create_dir_all(parent)?;
        }
        fs_err::copy(root.join(&path), target)?;
    }
    ensure!(to.join("tidemill.yaml").is_file(), "`{EXAMPLE}/tidemill.yaml` is not there");
    Ok(())
}

struct Project<'a> {
    folder: &'a Path,
    binary: &'a Path,
}

impl Project<'_> {
    fn run(&self) -> Result<Duration> {
        let started = Instant::now();
        process::run(Command::new(self.binary).arg("run").current_dir(self.folder))?;
        Ok(started.elapsed())
    }

    fn lock(&self) -> Result<String> {
        Ok(fs_err::read_to_string(self.folder.join("tidemill.lock"))?)
    }

    /// A change of meaning, not of layout only: one more row is left out.
    fn change_one_line_of_sql(&self) -> Result<()> {
        let path = self.folder.join("sql/features.sql");
        let text = fs_err::read_to_string(&path)?;
        let Some((before, after)) = text.rsplit_once("where ").or_else(|| text.rsplit_once("WHERE ")) else {
            bail!("`sql/features.sql` has no `where` to change");
        };
        fs_err::write(&path, format!("{before}where 1 = 1 and {after}"))?;
        Ok(())
    }
}

/// Blocks of lines, separated by blank ones, of `after` which `before` does not have.
fn changed_blocks(before: &str, after: &str) -> Vec<String> {
    let known: Vec<&str> = before.split("\n\n").map(str::trim).collect();
    after.split("\n\n").map(str::trim).filter(|block| !known.contains(block)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changed_blocks_are_listed() {
        assert_eq!(changed_blocks("a\n1\n\nb\n2\n", "a\n1\n\nb\n3\n\nc\n4\n"), ["b\n3", "c\n4"]);
    }
}
