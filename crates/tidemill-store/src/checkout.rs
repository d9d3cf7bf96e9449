//! From the store into the workspace: compares, refuses to lose local changes, then writes in parallel.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidemill_core::{Progress, Unit};

use crate::disk;
use crate::inner::Inner;
use crate::target::Target;
use crate::write::{Writer, write_new_folder};
use crate::{Entry, Error, StatCache};

/// How [`crate::Store::checkout`] treats what is already there.
#[derive(Clone, Copy, Default)]
pub struct Checkout<'a> {
    /// Overwrite and remove files whose content is neither expected nor in the store.
    pub force: bool,
    /// Remove files below a folder that are not in the tree, so that the folder equals it.
    pub remove_extra: bool,
    /// What the destination held when it was last in a known state; files that still equal it may be replaced.
    pub expected: Option<&'a Entry>,
    /// Spares reading unchanged files, and learns what was checked out.
    pub stat: Option<&'a StatCache>,
}

/// See [`crate::Store::checkout`].
pub(crate) fn checkout(
    inner: &Arc<Inner>,
    entry: &Entry,
    dest: &Path,
    options: &Checkout<'_>,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let target = Target::of(inner, entry)?;
    let dest = resolve(dest)?;
    if let Some(parent) = dest.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        disk::create_dir(parent)?;
    }
    let writer = Writer { inner, stat: options.stat, progress };
    if entry.is_tree() && is_free(&dest)? {
        progress.begin("checking out", Some(entry.bytes), Unit::Bytes);
        return write_new_folder(&writer, &target, &dest);
    }
    let expected = match options.expected {
        Some(expected) => Some(Target::of(inner, expected)?),
        None => None,
    };
    let change = crate::compare::compare(inner, &target, expected.as_ref(), &dest, options, progress)?;
    if !change.lost.is_empty() && !options.force {
        let count = change.lost.len();
        let mut paths = change.lost;
        paths.sort_unstable();
        paths.truncate(20);
        return Err(Error::LocalChanges { into: dest, paths, count });
    }
    let bytes = change.write.iter().map(|&at| target.files[at].entry.bytes).sum();
    progress.begin("checking out", Some(bytes), Unit::Bytes);
    writer.apply(&target, &change, &dest)
}

/// The destination itself, if it is a link: what the link means is what people want replaced.
fn resolve(dest: &Path) -> Result<PathBuf, Error> {
    match fs_err::symlink_metadata(dest) {
        Ok(metadata) if metadata.is_symlink() => {
            fs_err::canonicalize(dest).map_err(Error::io("follow the link", dest))
        }
        _ => Ok(dest.to_owned()),
    }
}

/// Whether nothing, or an empty folder, is there.
fn is_free(dest: &Path) -> Result<bool, Error> {
    match fs_err::symlink_metadata(dest) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(Error::io("inspect", dest)(error)),
        Ok(metadata) if !metadata.is_dir() => Ok(false),
        Ok(_) => Ok(fs_err::read_dir(dest).map_err(Error::io("list", dest))?.next().is_none()),
    }
}
