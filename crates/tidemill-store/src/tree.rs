//! Folders as content: a sorted listing in canonical JSON, whose digest names the folder. No IO.
//!
//! A name that is valid UTF-8 is written as `name`, any other as `raw` with two hexadecimal digits a byte; link targets
//! alike as `target` or `raw_target`. Keys are in the order of their bytes and there is no white space, so that equal
//! listings have equal bytes, and whatever else would mean the same listing is refused.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};
use tidemill_core::{Digest, hex};

use crate::{Entry, EntryKind, Error};

/// What every listing begins and ends with.
pub(crate) const BEGINNING: &[u8] = b"{\"items\":[";
pub(crate) const END: &[u8] = b"],\"tree\":1}";
/// Folders may not be nested deeper.
pub(crate) const MAX_DEPTH: usize = 256;

/// A relative path inside a tree: one or more names joined by `/`, any bytes but `/` and NUL in a name, never `.`
/// or `..`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreePath(Vec<u8>);

impl TreePath {
    /// Reads a relative path; `./` at the start and a `/` at the end are dropped.
    pub fn new(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let mut bytes = Vec::new();
        for component in path.components() {
            match component {
                Component::CurDir => {}
                Component::Normal(name) if check_name(name.as_bytes()).is_ok() => {
                    if !bytes.is_empty() {
                        bytes.push(b'/');
                    }
                    bytes.extend_from_slice(name.as_bytes());
                }
                _ => return Err(bad_path(path.as_os_str().as_bytes(), "it must be relative, without `..`")),
            }
        }
        if bytes.is_empty() {
            return Err(bad_path(path.as_os_str().as_bytes(), "it is empty"));
        }
        Ok(Self(bytes))
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same as a path of this system.
    pub fn to_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }
}

/// What a name in a tree stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TreeNode {
    /// A file.
    File {
        /// BLAKE3-256 of its content.
        digest: Digest,
        /// Its size.
        bytes: u64,
        /// Whether its owner may execute it.
        executable: bool,
    },
    /// A folder.
    Tree {
        /// Names its own listing.
        digest: Digest,
        /// Content bytes of all files below it.
        bytes: u64,
        /// The number of files below it.
        files: u64,
    },
    /// A symbolic link, relative and inside the stored folder.
    Link {
        /// Its target as written, raw bytes.
        target: Vec<u8>,
    },
}

impl TreeNode {
    /// The same as an entry; `None` for a link.
    pub fn entry(&self) -> Option<Entry> {
        match *self {
            Self::File { digest, bytes, executable } => {
                Some(Entry { digest, kind: EntryKind::File { executable }, bytes, files: 1, sha256: None })
            }
            Self::Tree { digest, bytes, files } => {
                Some(Entry { digest, kind: EntryKind::Tree, bytes, files, sha256: None })
            }
            Self::Link { .. } => None,
        }
    }
}

impl From<&Entry> for TreeNode {
    fn from(entry: &Entry) -> Self {
        let Entry { digest, bytes, files, .. } = *entry;
        match entry.kind {
            EntryKind::File { executable } => Self::File { digest, bytes, executable },
            EntryKind::Tree => Self::Tree { digest, bytes, files },
        }
    }
}

/// A name and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeItem {
    /// Any bytes but `/` and NUL; need not be UTF-8.
    pub name: Vec<u8>,
    /// What it stands for.
    pub node: TreeNode,
}

/// The listing of one folder, sorted by the bytes of the names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    items: Vec<TreeItem>,
}

impl Tree {
    /// A listing of these items, sorted here. Refuses two of one name, and names that are no file names.
    pub fn new(mut items: Vec<TreeItem>) -> Result<Self, Error> {
        items.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let tree = Self { items };
        tree.check()?;
        Ok(tree)
    }

    /// The items, sorted by name.
    pub fn items(&self) -> &[TreeItem] {
        &self.items
    }

    /// The item of that name.
    pub fn get(&self, name: &[u8]) -> Option<&TreeItem> {
        self.items.binary_search_by(|item| item.name.as_slice().cmp(name)).ok().map(|at| &self.items[at])
    }

    /// (content bytes, files) below.
    pub fn totals(&self) -> (u64, u64) {
        self.items.iter().fold((0, 0), |(bytes, files), item| match item.node {
            TreeNode::File { bytes: n, .. } => (bytes.saturating_add(n), files + 1),
            TreeNode::Tree { bytes: n, files: m, .. } => (bytes.saturating_add(n), files.saturating_add(m)),
            TreeNode::Link { .. } => (bytes, files),
        })
    }

    /// The canonical bytes, whose BLAKE3-256 names the folder.
    pub fn encode(&self) -> Vec<u8> {
        let listing = Listing { items: self.items.iter().map(Row::of).collect(), tree: 1 };
        serde_json::to_vec(&listing).unwrap_or_default()
    }

    /// Reads canonical bytes; anything else is refused.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let bad = |why: String| Error::malformed("tree", why);
        let listing: Listing<'_> = serde_json::from_slice(bytes).map_err(|error| bad(error.to_string()))?;
        if listing.tree != 1 {
            return Err(bad(format!("it has format {}, and this version reads format 1", listing.tree)));
        }
        let items: Result<Vec<TreeItem>, Error> = listing.items.into_iter().map(Row::item).collect();
        let tree = Self { items: items? };
        tree.check()?;
        if tree.encode() == bytes { Ok(tree) } else { Err(bad("it is not in canonical form".into())) }
    }

    fn check(&self) -> Result<(), Error> {
        for item in &self.items {
            check_name(&item.name)?;
            if let TreeNode::Link { target } = &item.node
                && (target.is_empty() || target.contains(&0) || target[0] == b'/')
            {
                return Err(Error::malformed("tree", "a link in it has an impossible target"));
            }
        }
        match self.items.windows(2).find(|pair| pair[0].name >= pair[1].name) {
            Some(pair) => Err(bad_path(&pair[1].name, "it comes twice or out of order")),
            None => Ok(()),
        }
    }
}

/// The folders that lie above given paths, composed from entries: each with its listing, the inner ones first; the
/// last is the whole.
pub(crate) fn compose(items: Vec<(TreePath, Entry)>) -> Result<Vec<Tree>, Error> {
    let mut root = Folder::default();
    for (path, entry) in items {
        let names: Vec<&[u8]> = path.0.split(|&byte| byte == b'/').collect();
        if names.len() > MAX_DEPTH {
            return Err(bad_path(&path.0, "it is nested too deep"));
        }
        let Some((last, folders)) = names.split_last() else { continue };
        let mut folder = &mut root;
        for name in folders {
            let child = folder.0.entry(name.to_vec()).or_insert_with(|| Child::Folder(Folder::default()));
            let Child::Folder(inner) = child else {
                return Err(bad_path(&path.0, "it lies below another path that was given"));
            };
            folder = inner;
        }
        if folder.0.insert(last.to_vec(), Child::Entry(entry)).is_some() {
            return Err(bad_path(&path.0, "it comes twice, or another path lies below it"));
        }
    }
    let mut trees = Vec::new();
    root.close(&mut trees)?;
    Ok(trees)
}

#[derive(Default)]
struct Folder(BTreeMap<Vec<u8>, Child>);

enum Child {
    Entry(Entry),
    Folder(Folder),
}

impl Folder {
    fn close(self, trees: &mut Vec<Tree>) -> Result<Entry, Error> {
        let mut items = Vec::new();
        for (name, child) in self.0 {
            let entry = match child {
                Child::Entry(entry) => entry,
                Child::Folder(folder) => folder.close(trees)?,
            };
            items.push(TreeItem { name, node: TreeNode::from(&entry) });
        }
        let tree = Tree::new(items)?;
        let entry = entry_of(&tree, &tree.encode());
        trees.push(tree);
        Ok(entry)
    }
}

/// The entry of a folder with this listing.
pub(crate) fn entry_of(tree: &Tree, encoded: &[u8]) -> Entry {
    let (bytes, files) = tree.totals();
    Entry { digest: Digest::of(encoded), kind: EntryKind::Tree, bytes, files, sha256: None }
}

/// Whether a link at `depth` folders below the stored folder leads out of it by its words alone.
pub(crate) fn leads_out(depth: usize, target: &[u8]) -> bool {
    let mut level = depth;
    for name in target.split(|&byte| byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." if level == 0 => return true,
            b".." => level -= 1,
            _ => level += 1,
        }
    }
    false
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listing<'a> {
    #[serde(borrow)]
    items: Vec<Row<'a>>,
    tree: u32,
}

/// One item as JSON; fields are in the order of their names.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    files: Option<u64>,
    #[serde(borrow)]
    kind: std::borrow::Cow<'a, str>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    name: Option<std::borrow::Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    raw: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    raw_target: Option<String>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    target: Option<std::borrow::Cow<'a, str>>,
}

impl<'a> Row<'a> {
    fn of(item: &'a TreeItem) -> Self {
        let (name, raw) = text_or_hex(&item.name);
        let empty = Row {
            bytes: None,
            digest: None,
            files: None,
            kind: "".into(),
            name: name.map(Into::into),
            raw,
            raw_target: None,
            target: None,
        };
        match &item.node {
            TreeNode::File { digest, bytes, executable } => Row {
                bytes: Some(*bytes),
                digest: Some(*digest),
                kind: if *executable { "executable" } else { "file" }.into(),
                ..empty
            },
            TreeNode::Tree { digest, bytes, files } => Row {
                bytes: Some(*bytes),
                digest: Some(*digest),
                files: Some(*files),
                kind: "tree".into(),
                ..empty
            },
            TreeNode::Link { target } => {
                let (target, raw_target) = text_or_hex(target);
                Row { kind: "link".into(), target: target.map(Into::into), raw_target, ..empty }
            }
        }
    }

    fn item(self) -> Result<TreeItem, Error> {
        let bad = |why: &str| Error::malformed("tree", why);
        let name = bytes_of(self.name, self.raw).ok_or_else(|| bad("an item in it has no name"))?;
        let node = match (&*self.kind, self.digest, self.bytes) {
            ("file" | "executable", Some(digest), Some(bytes)) => {
                TreeNode::File { digest, bytes, executable: self.kind == "executable" }
            }
            ("tree", Some(digest), Some(bytes)) => {
                let files = self.files.ok_or_else(|| bad("a folder in it has no number of files"))?;
                TreeNode::Tree { digest, bytes, files }
            }
            ("link", None, None) => {
                let target = bytes_of(self.target, self.raw_target);
                TreeNode::Link { target: target.ok_or_else(|| bad("a link in it has no target"))? }
            }
            _ => return Err(bad("an item in it is of an unknown kind or lacks something")),
        };
        Ok(TreeItem { name, node })
    }
}

fn text_or_hex(bytes: &[u8]) -> (Option<&str>, Option<String>) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return (Some(text), None);
    }
    (None, Some(hex(bytes)))
}

fn bytes_of(text: Option<std::borrow::Cow<'_, str>>, hex: Option<String>) -> Option<Vec<u8>> {
    match (text, hex) {
        (Some(text), None) => Some(text.into_owned().into_bytes()),
        (None, Some(hex)) => unhex(hex.as_bytes()),
        _ => None,
    }
}

fn unhex(digits: &[u8]) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let nibble = |digit: u8| char::from(digit).to_digit(16).map(|n| n as u8);
    digits.chunks_exact(2).map(|pair| Some(nibble(pair[0])? << 4 | nibble(pair[1])?)).collect()
}

fn check_name(name: &[u8]) -> Result<(), Error> {
    let why = match name {
        b"" => "it is empty",
        b"." | b".." => "it means a folder, not a name",
        _ if name.contains(&b'/') || name.contains(&0) => "it contains `/` or NUL",
        _ if name.len() > 255 => "it is longer than 255 bytes",
        _ => return Ok(()),
    };
    Err(bad_path(name, why))
}

fn bad_path(name: &[u8], why: &'static str) -> Error {
    Error::BadName { what: "path in a tree", name: String::from_utf8_lossy(name).into_owned(), why }
}

/// Feeds foreign bytes to the parser of trees.
pub fn fuzz_tree(bytes: &[u8]) {
    if let Ok(tree) = Tree::decode(bytes) {
        let _ = tree.totals();
        assert_eq!(tree.encode(), bytes, "a tree has one encoding");
    }
}

#[cfg(test)]
mod tests;
