//! A stored folder spread out: every folder, file and link with its relative path, checked to be safe to write.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidemill_core::Digest;

use crate::inner::Inner;
use crate::tree::{MAX_DEPTH, TreeNode, leads_out};
use crate::{Entry, Error};

/// What a destination shall hold. For a single file its path is empty.
#[derive(Debug, Default)]
pub(crate) struct Target {
    /// Folders, each after the one that holds it, without the destination itself.
    pub(crate) folders: Vec<PathBuf>,
    pub(crate) files: Vec<TargetFile>,
    pub(crate) links: Vec<(PathBuf, PathBuf)>,
    /// Whether the whole is a folder.
    pub(crate) tree: bool,
}

/// One file of a target.
#[derive(Clone, Debug)]
pub(crate) struct TargetFile {
    pub(crate) path: PathBuf,
    pub(crate) entry: Entry,
}

/// What a target has at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted<'a> {
    Folder,
    File(usize),
    Link(&'a Path),
}

impl Target {
    pub(crate) fn of(inner: &Arc<Inner>, entry: &Entry) -> Result<Self, Error> {
        let mut target = Self { tree: entry.is_tree(), ..Self::default() };
        if entry.is_tree() {
            target.spread(inner, &entry.digest, Path::new(""), 0)?;
        } else {
            target.files.push(TargetFile { path: PathBuf::new(), entry: *entry });
        }
        Ok(target)
    }

    fn spread(
        &mut self,
        inner: &Arc<Inner>,
        digest: &Digest,
        path: &Path,
        depth: usize,
    ) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(Error::malformed("tree", "it is nested too deep"));
        }
        for item in inner.tree(digest)?.items() {
            let path = path.join(OsStr::from_bytes(&item.name));
            match &item.node {
                TreeNode::Link { target } if leads_out(depth, target) => {
                    let target = PathBuf::from(OsStr::from_bytes(target));
                    return Err(Error::Link { path, target, why: "leads out of the folder" });
                }
                TreeNode::Link { target } => self.links.push((path, OsStr::from_bytes(target).into())),
                TreeNode::Tree { digest, .. } => {
                    self.folders.push(path.clone());
                    self.spread(inner, digest, &path, depth + 1)?;
                }
                node @ TreeNode::File { .. } => {
                    if let Some(entry) = node.entry() {
                        self.files.push(TargetFile { path, entry });
                    }
                }
            }
        }
        Ok(())
    }

    /// Look-up by path.
    pub(crate) fn by_path(&self) -> HashMap<&Path, Wanted<'_>> {
        let folders = self.folders.iter().map(|path| (path.as_path(), Wanted::Folder));
        let files = self.files.iter().enumerate().map(|(at, file)| (file.path.as_path(), Wanted::File(at)));
        let links = self.links.iter().map(|(path, to)| (path.as_path(), Wanted::Link(to)));
        folders.chain(files).chain(links).collect()
    }
}
