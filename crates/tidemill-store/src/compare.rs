//! What a checkout would change in a folder that exists, and what would be lost. Reads only.

use std::collections::HashMap;
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use tidemill_core::{Clock, Digest, Progress, Quiet, SystemClock};

use crate::add::kind_of;
use crate::content;
use crate::inner::Inner;
use crate::target::{Target, Wanted};
use crate::{Checkout, Entry, Error};

/// What to do to make a destination equal its target.
#[derive(Debug, Default)]
pub(crate) struct Change {
    /// Files to write, as positions in [`Target::files`].
    pub(crate) write: Vec<usize>,
    /// Files whose content is right and whose executable bit is not.
    pub(crate) mode: Vec<usize>,
    /// Links to make, as positions in [`Target::links`].
    pub(crate) links: Vec<usize>,
    /// Files and links to remove, relative.
    pub(crate) remove: Vec<PathBuf>,
    /// Folders to remove after them, inner ones first.
    pub(crate) remove_folders: Vec<PathBuf>,
    /// Files whose present content exists nowhere else.
    pub(crate) lost: Vec<PathBuf>,
}

/// Compares `dest` with `target`.
pub(crate) fn compare(
    inner: &Arc<Inner>,
    target: &Target,
    expected: Option<&Target>,
    dest: &Path,
    options: &Checkout<'_>,
    progress: &dyn Progress,
) -> Result<Change, Error> {
    let mut present = Vec::new();
    list(dest, PathBuf::new(), &mut present)?;
    let wanted = target.by_path();
    let expected = expected.map(Target::by_path_owned).unwrap_or_default();
    let look = Look { inner, target, wanted: &wanted, expected: &expected, dest, options, progress };
    let verdicts: Vec<Verdict> = present.par_iter().map(|item| look.judge(item)).collect::<Result<_, _>>()?;
    let mut change = Change::default();
    let mut right = vec![false; target.files.len()];
    let mut right_links: HashMap<&Path, bool> = HashMap::new();
    for (item, verdict) in present.iter().zip(verdicts) {
        match verdict {
            Verdict::Right { at: Some(at), mode } => {
                right[at] = true;
                change.mode.extend(mode.then_some(at));
            }
            Verdict::Right { at: None, .. } => {
                right_links.insert(&item.path, true);
            }
            Verdict::Keep => {}
            Verdict::Replace { safe, remove } => {
                if !safe {
                    change.lost.push(item.path.clone());
                }
                if remove && item.metadata.is_dir() {
                    change.remove_folders.push(item.path.clone());
                } else if remove {
                    change.remove.push(item.path.clone());
                }
            }
        }
    }
    change.remove_folders.reverse();
    change.write = (0..right.len()).filter(|&at| !right[at]).collect();
    change.links = (0..target.links.len())
        .filter(|&at| !right_links.contains_key(target.links[at].0.as_path()))
        .collect();
    Ok(change)
}

struct Item {
    path: PathBuf,
    metadata: Metadata,
}

enum Verdict {
    /// It is what the target wants: a file (`at`), or a folder or link.
    Right { at: Option<usize>, mode: bool },
    /// It is not in the target and stays.
    Keep,
    /// It must go: it is replaced by a rename, or removed first.
    Replace { safe: bool, remove: bool },
}

/// Everything at and below a path, folders before what they hold. Links are not followed.
fn list(dest: &Path, path: PathBuf, out: &mut Vec<Item>) -> Result<(), Error> {
    let full = join(dest, &path);
    let metadata = match fs_err::symlink_metadata(&full) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io("inspect", &full)(error)),
    };
    let names: Option<Vec<PathBuf>> = if metadata.is_dir() {
        let entries = fs_err::read_dir(&full).map_err(Error::io("list", &full))?;
        let mut names: Vec<PathBuf> = entries
            .map(|entry| entry.map(|entry| path.join(entry.file_name())))
            .collect::<Result<_, _>>()
            .map_err(Error::io("list", &full))?;
        names.sort_unstable();
        Some(names)
    } else {
        None
    };
    out.push(Item { path, metadata });
    names.into_iter().flatten().try_for_each(|name| list(dest, name, out))
}

/// `dest/path`, without a slash after it if `path` is empty.
pub(crate) fn join(dest: &Path, path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { dest.to_owned() } else { dest.join(path) }
}

/// What was expected at a path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Before {
    File(Digest),
    Link(PathBuf),
}

impl Target {
    fn by_path_owned(&self) -> HashMap<PathBuf, Before> {
        let files = self.files.iter().map(|file| (file.path.clone(), Before::File(file.entry.digest)));
        let links = self.links.iter().map(|(path, to)| (path.clone(), Before::Link(to.clone())));
        files.chain(links).collect()
    }
}

struct Look<'a> {
    inner: &'a Arc<Inner>,
    target: &'a Target,
    wanted: &'a HashMap<&'a Path, Wanted<'a>>,
    expected: &'a HashMap<PathBuf, Before>,
    dest: &'a Path,
    options: &'a Checkout<'a>,
    progress: &'a dyn Progress,
}

impl Look<'_> {
    fn judge(&self, item: &Item) -> Result<Verdict, Error> {
        if self.progress.cancelled() {
            return Err(Error::Cancelled);
        }
        let root = item.path.as_os_str().is_empty();
        let wanted = match self.wanted.get(item.path.as_path()) {
            None if root && self.target.tree => Some(&Wanted::Folder),
            other => other,
        };
        if item.metadata.is_dir() {
            return Ok(match wanted {
                Some(Wanted::Folder) => Verdict::Right { at: None, mode: false },
                Some(Wanted::File(_) | Wanted::Link(_)) => Verdict::Replace { safe: true, remove: true },
                None if self.goes(&item.path) => Verdict::Replace { safe: true, remove: true },
                None => Verdict::Keep,
            });
        }
        if item.metadata.is_symlink() {
            return self.judge_link(item, wanted);
        }
        let Some(Wanted::File(at)) = wanted else {
            if wanted.is_none() && !self.goes(&item.path) {
                return Ok(Verdict::Keep);
            }
            return Ok(Verdict::Replace { safe: self.is_safe(item)?, remove: true });
        };
        let entry = &self.target.files[*at].entry;
        if item.metadata.len() == entry.bytes && self.digest(item)? == Some(entry.digest) {
            let mode = kind_of(&item.metadata) != entry.kind;
            return Ok(Verdict::Right { at: Some(*at), mode });
        }
        Ok(Verdict::Replace { safe: self.is_safe(item)?, remove: false })
    }

    fn judge_link(&self, item: &Item, wanted: Option<&Wanted<'_>>) -> Result<Verdict, Error> {
        let full = join(self.dest, &item.path);
        let to = fs_err::read_link(&full).map_err(Error::io("read", &full))?;
        let safe = self.expected.get(&item.path) == Some(&Before::Link(to.clone()));
        Ok(match wanted {
            Some(Wanted::Link(target)) if *target == to => Verdict::Right { at: None, mode: false },
            // A file is renamed over it; anything else needs it gone first.
            Some(Wanted::File(_)) => Verdict::Replace { safe, remove: false },
            Some(_) => Verdict::Replace { safe, remove: true },
            None if self.goes(&item.path) => Verdict::Replace { safe, remove: true },
            None => Verdict::Keep,
        })
    }

    /// Whether what the target does not have at this path must go: because that was asked for, or because a file or
    /// link of the target takes the place of a folder above it.
    fn goes(&self, path: &Path) -> bool {
        self.options.remove_extra
            || path
                .ancestors()
                .skip(1)
                .any(|above| matches!(self.wanted.get(above), Some(Wanted::File(_) | Wanted::Link(_))))
    }

    /// Whether replacing the file loses nothing: it is as expected, or the store has it.
    fn is_safe(&self, item: &Item) -> Result<bool, Error> {
        if self.options.force {
            return Ok(true);
        }
        if !item.metadata.is_file() {
            return Ok(false);
        }
        let Some(digest) = self.digest(item)? else { return Ok(false) };
        if self.expected.get(&item.path) == Some(&Before::File(digest)) {
            return Ok(true);
        }
        self.inner.knows(&digest)
    }

    fn digest(&self, item: &Item) -> Result<Option<Digest>, Error> {
        if !item.metadata.is_file() {
            return Ok(None);
        }
        if let Some(known) = self.options.stat.and_then(|stat| stat.lookup(&item.metadata)) {
            return Ok(Some(known.digest));
        }
        let full = join(self.dest, &item.path);
        let began = SystemClock.now();
        let (identity, metadata) = content::read_file(&full, None, false, &Quiet)?;
        if let Some(stat) = self.options.stat {
            let (digest, bytes) = (identity.digest, identity.bytes);
            let entry = Entry { digest, kind: kind_of(&metadata), bytes, files: 1, sha256: None };
            stat.insert_read(&metadata, &entry, began);
        }
        Ok(Some(identity.digest))
    }
}
