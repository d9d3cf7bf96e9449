//! From the workspace into the store: walks, consults the stat cache, reads what is new, builds trees.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use tidemill_core::{Clock, Digest, Progress, SystemClock, Unit};

use crate::batch::Batch;
use crate::content::{self, Sink};
use crate::list::Part;
use crate::tree::{self, Tree, TreeItem, TreeNode};
use crate::walk::{Found, Walk};
use crate::{AddOptions, Entry, EntryKind, Error};

/// So few files are looked at by the thread that asks, and read where they are small together: to wake others costs more.
const FEW: usize = 4;
const LITTLE: u64 = 256 << 10;

impl Sink for Batch {
    fn blob(&self, digest: Digest, bytes: &[u8]) -> Result<(), Error> {
        self.put_blob(digest, bytes)
    }

    fn list(&self, file: Digest, chunks: Vec<Part>) -> Result<(), Error> {
        self.put_list(file, chunks)
    }
}

/// Reads files and folders; stores what is new in `batch`, if there is one.
pub(crate) fn read_paths(
    paths: &[PathBuf],
    batch: Option<&Batch>,
    options: &AddOptions<'_>,
    progress: &dyn Progress,
) -> Result<Vec<Entry>, Error> {
    let mut walk = Walk::default();
    let found: Vec<Found> = paths.iter().map(|path| walk.visit(path)).collect::<Result<_, _>>()?;
    // Only single files report SHA-256, so only they pay for it.
    let mut single = vec![false; walk.files.len()];
    for item in &found {
        if let Found::File(at) = item {
            single[*at] = options.sha256;
        }
    }
    let reading = Reading { batch, options, progress };
    let entries = reading.files(&walk.files, &single)?;
    found.into_iter().map(|item| build(item, &entries, batch)).collect()
}

struct Reading<'a> {
    batch: Option<&'a Batch>,
    options: &'a AddOptions<'a>,
    progress: &'a dyn Progress,
}

impl Reading<'_> {
    fn files(&self, paths: &[PathBuf], sha256: &[bool]) -> Result<Vec<Entry>, Error> {
        let few = paths.len() <= FEW;
        let inspect = |(path, sha256): (&PathBuf, &bool)| self.inspect(path, *sha256);
        let stats: Vec<(u64, Option<Entry>)> = if few {
            paths.iter().zip(sha256).map(inspect).collect::<Result<_, _>>()?
        } else {
            paths.par_iter().zip(sha256).map(inspect).collect::<Result<_, _>>()?
        };
        let total: u64 = stats.iter().filter(|(_, known)| known.is_none()).map(|(bytes, _)| bytes).sum();
        self.progress.begin("reading", Some(total), Unit::Bytes);
        // Large files first: all cores work on each of them, small ones then fill the gaps.
        let mut order: Vec<usize> = (0..paths.len()).collect();
        order.sort_by_key(|&at| std::cmp::Reverse(stats[at].0 >> 24));
        let read = |at: usize| match stats[at].1 {
            Some(entry) => Ok((at, entry)),
            None => self.read(&paths[at], sha256[at]).map(|entry| (at, entry)),
        };
        let read: Vec<(usize, Entry)> = if few && total <= LITTLE {
            order.into_iter().map(read).collect::<Result<_, _>>()?
        } else {
            order.into_par_iter().map(read).collect::<Result<_, _>>()?
        };
        let mut entries = vec![None; paths.len()];
        for (at, entry) in read {
            entries[at] = Some(entry);
        }
        entries.into_iter().map(|entry| entry.ok_or(Error::Internal("a file was not read"))).collect()
    }

    /// The size of a file, and its entry if the stat cache knows it and its content is where it should be.
    fn inspect(&self, path: &Path, sha256: bool) -> Result<(u64, Option<Entry>), Error> {
        let metadata = fs_err::metadata(path).map_err(Error::io("read", path))?;
        let Some(mut entry) = self.options.stat.and_then(|stat| stat.lookup(&metadata)) else {
            return Ok((metadata.len(), None));
        };
        entry.kind = kind_of(&metadata);
        let lacking = match self.batch {
            Some(batch) => !batch.holds(&entry.digest)?,
            None => false,
        };
        if lacking || (sha256 && entry.sha256.is_none()) {
            return Ok((metadata.len(), None));
        }
        entry.sha256 = entry.sha256.filter(|_| sha256);
        Ok((metadata.len(), Some(entry)))
    }

    fn read(&self, path: &Path, sha256: bool) -> Result<Entry, Error> {
        if self.progress.cancelled() {
            return Err(Error::Cancelled);
        }
        let began = SystemClock.now();
        let sink = self.batch.map(|batch| batch as &dyn Sink);
        let (identity, metadata) = content::read_file(path, sink, sha256, self.progress)?;
        let entry = Entry {
            digest: identity.digest,
            kind: kind_of(&metadata),
            bytes: identity.bytes,
            files: 1,
            sha256: identity.sha256,
        };
        if let Some(stat) = self.options.stat {
            stat.insert_read(&metadata, &entry, began);
        }
        Ok(entry)
    }
}

/// File, and whether its owner may execute it.
pub(crate) fn kind_of(metadata: &Metadata) -> EntryKind {
    EntryKind::File { executable: metadata.mode() & 0o100 != 0 }
}

fn build(found: Found, entries: &[Entry], batch: Option<&Batch>) -> Result<Entry, Error> {
    match found {
        Found::File(at) => Ok(entries[at]),
        Found::Link(_) => Err(Error::Internal("a link stands alone")),
        Found::Folder(names) => {
            let mut items = Vec::with_capacity(names.len());
            for (name, found) in names {
                let node = match found {
                    Found::Link(target) => TreeNode::Link { target },
                    other => TreeNode::from(&build(other, entries, batch)?),
                };
                items.push(TreeItem { name, node });
            }
            put_tree(&Tree::new(items)?, batch)
        }
    }
}

/// The entry of a folder with this listing, which is stored in `batch` if there is one.
pub(crate) fn put_tree(tree: &Tree, batch: Option<&Batch>) -> Result<Entry, Error> {
    let encoded = tree.encode();
    if let Some(batch) = batch {
        content::put_bytes(&encoded, batch)?;
    }
    Ok(tree::entry_of(tree, &encoded))
}
