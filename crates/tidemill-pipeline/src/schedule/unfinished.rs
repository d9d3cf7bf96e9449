//! What a step that did not succeed left in the places of its outputs. It is remembered by its metadata, so that the
//! next run can tell it from work that somebody did by hand since then.
//!
//! A step that is killed together with Tidemill leaves its outputs half-written and remembers nothing. So it is noted
//! which outputs a step is about to write, after what lay there before is safe, and a run shows all the time that it is
//! alive. What changed last while it was is what the step left; what changed later may be somebody's work.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fs_err as fs;
use tidemill_core::declare::{Out, Step};
use tidemill_core::{Digest, Hasher};

const FOLDER: &str = ".tidemill/unfinished";
/// Notes of steps that are at work, each with the paths of its outputs, a NUL after each.
const AT_WORK: &str = ".tidemill/working";
/// Written again and again while a run is alive. Not the name of a step's note, which is a digest.
const ALIVE: &str = ".tidemill/working/alive";
/// How often that is.
const BEAT: Duration = Duration::from_millis(50);
/// What a killed step wrote between the last sign of life and its end is no longer than this after it.
const LATE: Duration = Duration::from_millis(250);

fn note_of(root: &Path, out: &[u8]) -> PathBuf {
    root.join(FOLDER).join(Digest::of(out).hex())
}

/// Notes that a step writes these outputs from now on: nothing of anybody else's is in their places any more. Without the
/// note what it leaves when it is killed is only kept once more.
pub(super) fn begin<'a>(root: &Path, step: &Step, outs: impl Iterator<Item = &'a Out>) {
    let mut text = Vec::new();
    for out in outs {
        text.extend_from_slice(out.path.as_bytes());
        text.push(0);
    }
    let note = at_work(root, step);
    // The folder is there from the second step on.
    if fs::write(&note, &text).is_err() {
        let _ = fs::create_dir_all(root.join(AT_WORK)).and_then(|()| fs::write(note, text));
    }
}

/// Notes that a step is at work no more.
pub(super) fn end(root: &Path, step: &Step) {
    let _ = fs::remove_file(at_work(root, step));
}

fn at_work(root: &Path, step: &Step) -> PathBuf {
    root.join(AT_WORK).join(Digest::of(step.name.as_bytes()).hex())
}

/// Shows that a run is alive.
#[derive(Debug, Default)]
pub(super) struct Alive(Option<Instant>);

impl Alive {
    /// To be called at least every [`BEAT`].
    pub(super) fn beat(&mut self, root: &Path) {
        if self.0.is_none_or(|last| last.elapsed() >= BEAT) {
            // Its time is all that counts. Before the first step there is no folder, and nothing to tell.
            let _ = fs::write(root.join(ALIVE), ".");
            self.0 = Some(Instant::now());
        }
    }
}

/// Remembers what steps left that were killed with their run. Called by the holder of the project's lock when nothing of
/// an earlier run is left.
pub(super) fn settle(root: &Path) {
    let Ok(entries) = fs::read_dir(root.join(AT_WORK)) else { return };
    let alive = fs::metadata(root.join(ALIVE)).ok().map(|metadata| written(&metadata));
    for entry in entries.flatten().filter(|entry| entry.file_name() != "alive") {
        let note = entry.path();
        if let (Ok(text), Ok(metadata)) = (fs::read(&note), fs::metadata(&note)) {
            let until = alive.into_iter().fold(written(&metadata), i128::max) + LATE.as_nanos() as i128;
            for out in text.split(|byte| *byte == 0).filter(|out| !out.is_empty()) {
                let path = root.join(OsStr::from_bytes(out));
                if newest(&path).is_some_and(|at| at <= until) {
                    remember_one(root, out, &path);
                }
            }
        }
        let _ = fs::remove_file(note);
    }
}

/// Remembers the outputs of a step as they are now. Without the note they are only kept once more.
pub(super) fn remember(root: &Path, step: &Step) {
    for out in &step.outs {
        remember_one(root, out.path.as_bytes(), &root.join(&out.path));
    }
}

fn remember_one(root: &Path, out: &[u8], path: &Path) {
    if let Some(state) = state(path) {
        let note = note_of(root, out);
        let _ = fs::create_dir_all(root.join(FOLDER)).and_then(|()| fs::write(note, state.hex()));
    }
}

/// Whether an output is just as a step that did not succeed left it. The note is used up by asking.
pub(super) fn is_left_over(root: &Path, out: &str) -> bool {
    let note = note_of(root, out.as_bytes());
    let Ok(then) = fs::read_to_string(&note) else { return false };
    let _ = fs::remove_file(&note);
    state(&root.join(out)).is_some_and(|now| now.hex() == then)
}

/// When a file was written or moved here, in nanoseconds by the clock of its file system.
fn written(metadata: &std::fs::Metadata) -> i128 {
    i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec())
}

/// When anything at and below a path changed last.
fn newest(path: &Path) -> Option<i128> {
    let mut newest = None;
    each(path, &mut |_, metadata| newest = newest.max(Some(written(metadata))))?;
    newest
}

/// Names, sizes and times of everything at and below a path.
fn state(path: &Path) -> Option<Digest> {
    let mut hasher = Hasher::new();
    each(path, &mut |path, metadata| {
        hasher.update(path.as_os_str().as_bytes());
        let times = (metadata.mtime(), metadata.mtime_nsec());
        hasher.update(format!("\0{} {} {times:?}\n", metadata.ino(), metadata.len()).as_bytes());
    })?;
    Some(hasher.finish())
}

/// Calls `visit` for everything at and below a path, in an order that does not change; `None` if not all can be read.
fn each(path: &Path, visit: &mut dyn FnMut(&Path, &std::fs::Metadata)) -> Option<()> {
    let mut open = vec![path.to_owned()];
    while let Some(path) = open.pop() {
        let metadata = fs::symlink_metadata(&path).ok()?;
        visit(&path, &metadata);
        if metadata.is_dir() {
            let mut below: Vec<PathBuf> = fs::read_dir(&path)
                .ok()?
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<Result<_, _>>()
                .ok()?;
            below.sort_unstable();
            open.extend(below);
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::step;

    #[test]
    fn only_what_nobody_touched_since_is_left_over() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let step = step("a", &[], &["out", "none"]);
        fs::create_dir(root.join("out")).unwrap();
        fs::write(root.join("out/part"), "half").unwrap();
        remember(root, &step);
        assert!(is_left_over(root, "out"));
        assert!(!is_left_over(root, "out") && !is_left_over(root, "none"));
        remember(root, &step);
        fs::write(root.join("out/part"), "by hand").unwrap();
        assert!(!is_left_over(root, "out"));
    }

    #[test]
    fn what_a_killed_step_left_is_told_from_what_was_written_later() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let step = step("a", &[], &["half", "later", "none"]);
        begin(root, &step, step.outs.iter());
        fs::write(root.join("half"), "ha").unwrap();
        fs::write(root.join("later"), "ha").unwrap();
        Alive::default().beat(root);
        // Killed here: nothing ends the note.
        std::thread::sleep(LATE * 2);
        fs::write(root.join("later"), "by hand").unwrap();
        settle(root);
        assert!(is_left_over(root, "half"));
        assert!(!is_left_over(root, "later") && !is_left_over(root, "none"));
        // The note was of that run only.
        settle(root);
        assert!(!is_left_over(root, "half"));
    }

    #[test]
    fn a_step_that_ended_leaves_no_note() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let step = step("a", &[], &["out"]);
        begin(root, &step, step.outs.iter());
        fs::write(root.join("out"), "whole").unwrap();
        end(root, &step);
        settle(root);
        assert!(!is_left_over(root, "out"));
    }
}
