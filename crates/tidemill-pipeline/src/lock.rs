//! `tidemill.lock`: what every step read and wrote, as text that people can read, compare and merge.
//!
//! One block per step, sorted by name; content ids only, no times, no machine. Writing it to disk is here, deciding
//! what goes into it is not.

mod merge;
mod parse;
mod render;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use fs_err as fs;
use serde::{Deserialize, Serialize};
use tidemill_core::{Digest, Hint};

use crate::{ActionRecord, CacheKey, Content, Error};

pub use merge::LockMerge;

/// Name of the file in the project folder.
pub const LOCK_FILE: &str = "tidemill.lock";

/// What one step read and wrote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LockedStep {
    /// What it was keyed on.
    pub record: ActionRecord,
    /// What it wrote, by path.
    pub outs: BTreeMap<String, Content>,
}

impl LockedStep {
    /// The key of the record.
    pub fn key(&self) -> CacheKey {
        self.record.key()
    }

    /// Covers what the key does not: the contents of the outputs.
    fn check(&self, key: &Digest) -> Digest {
        let mut text = key.to_string();
        for (path, content) in &self.outs {
            text.push('\n');
            text.push_str(&render::content_line(path, content));
        }
        Digest::of(text.as_bytes())
    }
}

/// The content of a lock file: steps by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lock {
    /// The steps.
    pub steps: BTreeMap<String, LockedStep>,
}

/// Why a lock file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct LockError {
    /// The file's name, for messages.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
    /// What to do; a general advice where `None`.
    pub advice: Option<String>,
}

impl Hint for LockError {
    fn hint(&self) -> Option<String> {
        Some(self.advice.clone().unwrap_or_else(|| {
            format!(
                "restore it with `git checkout {0}`, or delete `{0}`: the next run writes it again",
                self.file
            )
        }))
    }
}

impl Lock {
    /// Reads the text of a lock file; `file` is its name in messages.
    pub fn parse(file: &str, text: &[u8]) -> Result<Self, LockError> {
        parse::parse(file, text)
    }

    /// The text of the lock file. Reading it gives an equal value, and equal values have equal text.
    pub fn render(&self) -> String {
        render::render(self)
    }

    /// The digest of the text.
    pub fn digest(&self) -> Digest {
        Digest::of(self.render().as_bytes())
    }

    /// Merges the changes of two sides since their common ancestor, step by step.
    pub fn merge(base: &Self, ours: &Self, theirs: &Self) -> LockMerge {
        merge::merge(base, ours, theirs)
    }

    /// Reads the lock file of a project; an absent one is empty.
    pub fn read(root: &Path) -> Result<Self, Error> {
        match fs::read(root.join(LOCK_FILE)) {
            Ok(text) => Ok(Self::parse(LOCK_FILE, &text)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error.into()),
        }
    }

    /// Replaces the lock file of a project as a whole, durably; does nothing where the text is the same already.
    pub fn write(&self, root: &Path) -> Result<(), Error> {
        remove_unfinished(root);
        let (path, text) = (root.join(LOCK_FILE), self.render());
        if fs::read(&path).is_ok_and(|old| old == text.as_bytes()) {
            return Ok(());
        }
        let temporary = root.join(format!(".{LOCK_FILE}.{}.tmp", std::process::id()));
        let written = (|| {
            let mut file = fs::File::create(&temporary)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            fs::File::open(root)?.sync_all()
        })();
        if written.is_err() {
            // Whatever went wrong is reported; a leftover of ours would only confuse.
            let _ = fs::remove_file(&temporary);
        }
        Ok(written?)
    }
}

/// Removes what writers left that were killed while they wrote. Only the holder of the project's guard writes.
fn remove_unfinished(root: &Path) {
    let Ok(entries) = fs::read_dir(root) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let process = name
            .to_str()
            .and_then(|name| name.strip_prefix('.')?.strip_prefix(LOCK_FILE)?.strip_prefix('.'))
            .and_then(|rest| rest.strip_suffix(".tmp"));
        if process.is_some_and(|pid| !pid.is_empty() && pid.bytes().all(|digit| digit.is_ascii_digit())) {
            // It is only in the way of the eye; what cannot be removed may stay.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Entry of the fuzz target: any bytes are read or refused, and what is read survives a round trip.
///
/// # Errors
/// Says what went wrong with the round trip; a refusal is not an error.
pub fn fuzz_lock(bytes: &[u8]) -> Result<(), String> {
    let Ok(lock) = Lock::parse(LOCK_FILE, bytes) else { return Ok(()) };
    let text = lock.render();
    match Lock::parse(LOCK_FILE, text.as_bytes()) {
        Ok(again) if again == lock && again.render() == text => Ok(()),
        Ok(_) => Err(format!("read differently the second time:\n{text}")),
        Err(error) => Err(format!("own text refused: {error}\n{text}")),
    }
}

#[cfg(test)]
mod tests;
