//! The world as planning sees it: the project folder, the store, the journal and the lock file.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use tidemill_core::declare::{Action, Step};
use tidemill_core::{Cancel, Digest};

use crate::pattern::Pattern;
use crate::{
    Builtin, CacheView, CachedStep, Content, ContentKind, Contents, Error, Journal, Lock, LockedStep,
};

/// A [`CacheView`] over the seams of a run.
pub struct Workspace<'a> {
    /// The project folder, absolute.
    pub root: &'a Path,
    /// Bytes.
    pub contents: &'a dyn Contents,
    /// Metadata.
    pub journal: &'a dyn Journal,
    /// Built-in bodies.
    pub builtin: &'a dyn Builtin,
    /// Tidemill's own environment.
    pub env: &'a BTreeMap<String, OsString>,
    /// What the last run recorded.
    pub lock: &'a Lock,
    /// Stops hashing.
    pub cancel: &'a Cancel,
}

impl CacheView for Workspace<'_> {
    fn contents(&self, paths: &[String]) -> Result<Vec<Option<Content>>, Error> {
        let paths: Vec<PathBuf> = paths.iter().map(|path| self.root.join(path)).collect();
        self.contents.identify(&paths, self.cancel)
    }

    fn exists(&self, path: &str) -> Result<bool, Error> {
        match fs::metadata(self.root.join(path)) {
            Ok(_) => Ok(true),
            Err(error) if absent(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn expand(&self, pattern: &str) -> Result<Vec<String>, Error> {
        matches(self.root, pattern)
    }

    fn remote(&self, step: &Step, url: &str) -> Result<Content, Error> {
        match self.builtin.identify_remote(step, url) {
            Ok(digest) => Ok(Content { digest, kind: ContentKind::Remote, bytes: 0 }),
            Err(failure) => Err(Error::Step {
                step: step.name.clone(),
                message: format!("`{url}` cannot be read: {}", failure.message),
                hint: failure.hint,
            }),
        }
    }

    fn neighbours(&self, path: &str) -> Vec<String> {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let Ok(entries) = fs::read_dir(self.root.join(folder)) else { return Vec::new() };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.take(10_000).map(|name| join(folder, &name)).collect();
        names.sort_unstable();
        names
    }

    fn cached(&self, keys: &[Digest]) -> Result<Vec<Option<CachedStep>>, Error> {
        self.journal.lookup(keys)
    }

    fn stored(&self, contents: &[Content]) -> Result<Vec<bool>, Error> {
        self.contents.has(contents)
    }

    fn last(&self, step: &str) -> Result<Option<LockedStep>, Error> {
        match self.lock.steps.get(step) {
            Some(locked) => Ok(Some(locked.clone())),
            None => Ok(self.journal.last(&[step])?.into_iter().next().flatten()),
        }
    }

    fn env(&self, name: &str) -> Option<Vec<u8>> {
        self.env.get(name).map(|value| value.as_bytes().to_vec())
    }

    fn builtin_version(&self, step: &Step) -> Option<String> {
        match step.action {
            Action::Run { .. } => None,
            Action::Sql { .. } | Action::Train(_) => Some(self.builtin.version(step)),
        }
    }
}

/// What a path or pattern relative to `root` names: the path itself where there is something, else the paths that match
/// it as a pattern, sorted.
pub fn matching(root: &Path, read: &str) -> Result<Vec<String>, Error> {
    match fs::symlink_metadata(root.join(read)) {
        Ok(_) => Ok(vec![read.to_owned()]),
        Err(error) if absent(&error) => matches(root, read),
        Err(error) => Err(error.into()),
    }
}

fn matches(root: &Path, pattern: &str) -> Result<Vec<String>, Error> {
    let compiled = Pattern::new(pattern)
        .map_err(|why| Error::Internal(format!("`{pattern}` is not a valid pattern: {why}")))?;
    let mut found = Vec::new();
    search(root, &compiled.base(), pattern, &compiled, &mut found)?;
    found.sort_unstable();
    Ok(found)
}

/// Whether an error says that there is nothing at a path.
pub(crate) fn absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// Collects the paths below `folder` that match. Folders that are symbolic links are searched only where the
/// pattern names them part by part, so that a loop of links ends at the pattern's own length.
fn search(
    root: &Path,
    folder: &str,
    text: &str,
    pattern: &Pattern,
    found: &mut Vec<String>,
) -> Result<(), Error> {
    let entries = match fs::read_dir(root.join(folder)) {
        Ok(entries) => entries,
        Err(error) if absent(&error) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            let shown = join(folder, &entry.file_name().to_string_lossy());
            if pattern.matches(&shown) {
                return Err(Error::NotUtf8 {
                    pattern: text.to_owned(),
                    path: Path::new(folder).join(entry.file_name()),
                });
            }
            continue;
        };
        if folder.is_empty() && name == ".tidemill" {
            continue;
        }
        let path = join(folder, &name);
        if pattern.matches(&path) {
            found.push(path.clone());
        }
        if pattern.may_match_below(&path) {
            let kind = entry.file_type()?;
            let linked = kind.is_symlink() && !text.contains("**") && root.join(&path).is_dir();
            if kind.is_dir() || linked {
                search(root, &path, text, pattern, found)?;
            }
        }
    }
    Ok(())
}
