//! What a step that did not succeed left in the places of its outputs. It is remembered by its metadata, so that the
//! next run can tell it from work that somebody did by hand since then.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use tidemill_core::declare::Step;
use tidemill_core::{Digest, Hasher};

const FOLDER: &str = ".tidemill/unfinished";

fn note_of(root: &Path, out: &str) -> PathBuf {
    root.join(FOLDER).join(Digest::of(out.as_bytes()).hex())
}

/// Remembers the outputs of a step as they are now. Without the note they are only kept once more.
pub(super) fn remember(root: &Path, step: &Step) {
    for out in &step.outs {
        if let Some(state) = state(&root.join(&out.path)) {
            let note = note_of(root, &out.path);
            let _ = fs::create_dir_all(root.join(FOLDER)).and_then(|()| fs::write(note, state.hex()));
        }
    }
}

/// Whether an output is just as a step that did not succeed left it. The note is used up by asking.
pub(super) fn is_left_over(root: &Path, out: &str) -> bool {
    let note = note_of(root, out);
    let Ok(then) = fs::read_to_string(&note) else { return false };
    let _ = fs::remove_file(&note);
    state(&root.join(out)).is_some_and(|now| now.hex() == then)
}

/// Names, sizes and times of everything at and below a path.
fn state(path: &Path) -> Option<Digest> {
    let mut hasher = Hasher::new();
    let mut open = vec![path.to_owned()];
    while let Some(path) = open.pop() {
        let metadata = fs::symlink_metadata(&path).ok()?;
        hasher.update(path.as_os_str().as_bytes());
        let times = (metadata.mtime(), metadata.mtime_nsec());
        hasher.update(format!("\0{} {} {times:?}\n", metadata.ino(), metadata.len()).as_bytes());
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
    Some(hasher.finish())
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
}
