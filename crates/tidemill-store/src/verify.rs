//! Reads every byte of a store and says what is damaged, and which files need it.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use rayon::prelude::*;
use tidemill_core::{Digest, Progress, Unit};

use crate::catalog::IndexName;
use crate::index::{self, Location, PackName, end_of};
use crate::inner::Inner;
use crate::list::List;
use crate::record::{Kind, PACK_MAGIC};
use crate::tree::{MAX_DEPTH, TreeNode};
use crate::{Damage, Error, Root};

/// Checks indexes, packs and what the roots need.
pub(crate) fn verify(
    inner: &Arc<Inner>,
    roots: &[Root],
    progress: &dyn Progress,
) -> Result<Vec<Damage>, Error> {
    let _lock = inner.shared_lock(&|| progress.cancelled())?;
    let mut damage = check_indexes(inner)?;
    let tables = inner.catalog.refresh()?;
    let mut packs: BTreeMap<PackName, Vec<Location>> = BTreeMap::new();
    tables.each(|location| {
        packs.entry(location.pack).or_default().push(location);
        Ok(())
    })?;
    let total = packs.values().flatten().map(|location| location.header.record_len()).sum();
    progress.begin("verifying", Some(total), Unit::Bytes);
    let packs: Vec<(PackName, Vec<Location>)> = packs.into_iter().collect();
    let found: Vec<Vec<Damage>> = packs
        .into_par_iter()
        .map(|(name, locations)| check_pack(inner, name, locations, progress))
        .collect::<Result<_, _>>()?;
    damage.extend(found.into_iter().flatten());
    trace(inner, roots, &mut damage, progress)?;
    damage.sort_by(|a, b| (&a.pack, a.offset).cmp(&(&b.pack, b.offset)));
    Ok(damage)
}

fn check_indexes(inner: &Inner) -> Result<Vec<Damage>, Error> {
    let mut damage = Vec::new();
    for name in inner.index_names()?.into_iter().filter(|name| IndexName::parse(name).is_some()) {
        match index::verify_file(&inner.catalog.index_dir().join(&name)) {
            Ok(()) => {}
            // Merged with others meanwhile.
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => damage.push(Damage {
                pack: name,
                offset: 0,
                object: None,
                what: error.to_string(),
                needed_by: Vec::new(),
            }),
        }
    }
    Ok(damage)
}

fn check_pack(
    inner: &Inner,
    name: PackName,
    mut locations: Vec<Location>,
    progress: &dyn Progress,
) -> Result<Vec<Damage>, Error> {
    locations.sort_unstable_by_key(|location| location.offset);
    locations.dedup();
    let mut damage = Vec::new();
    let file = format!("{}.pack", name.hex());
    let mut note = |offset, object, what: String| {
        damage.push(Damage { pack: file.clone(), offset, object, what, needed_by: Vec::new() });
    };
    let path = inner.catalog.pack_path(&name);
    let mut magic = [0; PACK_MAGIC.len()];
    match fs_err::File::open(&path).and_then(|mut file| file.read_exact(&mut magic)) {
        Ok(()) if magic == *PACK_MAGIC => {}
        Ok(()) => note(0, None, "its first bytes are not those of a pack".into()),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            note(0, None, "the pack file ends too early".into());
        }
        // It left a cache since the indexes were read.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && has_left(inner, &name)? => {
            return Ok(Vec::new());
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            note(0, None, "the pack file is missing".into());
        }
        Err(error) => return Err(Error::io("read", &path)(error)),
    }
    let mut before = PACK_MAGIC.len() as u64;
    for location in &locations {
        if progress.cancelled() {
            return Err(Error::Cancelled);
        }
        if location.offset < before {
            note(location.offset, Some(location.header.digest), "it overlaps the object before it".into());
        }
        before = end_of(location);
        match inner.catalog.fetch_at(location) {
            Ok(raw) => {
                if location.header.kind == Kind::File
                    && let Err(error) = List::decode(&raw)
                {
                    note(location.offset, Some(location.header.digest), error.to_string());
                }
            }
            Err(Error::Damaged { what, .. }) => note(location.offset, Some(location.header.digest), what),
            Err(Error::NotFound { .. }) if has_left(inner, &name)? => return Ok(Vec::new()),
            Err(Error::NotFound { .. }) => {
                note(location.offset, Some(location.header.digest), "the pack file is missing".into());
            }
            Err(error) => return Err(error),
        }
        progress.advance(location.header.record_len());
    }
    Ok(damage)
}

/// Whether no index speaks of a pack any more.
fn has_left(inner: &Inner, pack: &PackName) -> Result<bool, Error> {
    let tables = inner.catalog.refresh()?;
    Ok(inner.limit.is_some() && !tables.packs().any(|named| named == pack))
}

/// Adds to each damage the files below `roots` that need it, and a damage for each object that is missing.
fn trace(
    inner: &Arc<Inner>,
    roots: &[Root],
    damage: &mut Vec<Damage>,
    progress: &dyn Progress,
) -> Result<(), Error> {
    walk(inner, roots, damage, true, progress)
}

/// Adds to damage that was found elsewhere the files below `roots` that need it, as far as their listings can be read.
pub(crate) fn trace_elsewhere(
    inner: &Arc<Inner>,
    roots: &[Root],
    damage: &mut Vec<Damage>,
    progress: &dyn Progress,
) -> Result<(), Error> {
    walk(inner, roots, damage, false, progress)
}

fn walk(
    inner: &Arc<Inner>,
    roots: &[Root],
    damage: &mut Vec<Damage>,
    here: bool,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let mut by_object: HashMap<Digest, usize> = HashMap::new();
    for (at, one) in damage.iter().enumerate() {
        if let Some(object) = one.object {
            by_object.insert(object, at);
        }
    }
    let mut trace = Trace { inner, damage, by_object, known: HashMap::new(), here, progress };
    for root in roots {
        let label = PathBuf::from(&root.label);
        if root.tree { trace.tree(&root.digest, &label, 0)? } else { trace.file(&root.digest, &label)? }
    }
    Ok(())
}

struct Trace<'a> {
    inner: &'a Arc<Inner>,
    damage: &'a mut Vec<Damage>,
    by_object: HashMap<Digest, usize>,
    /// For each file or listing, the damages it suffers from.
    known: HashMap<Digest, Vec<usize>>,
    /// Whether it is this store that is looked at, and what is missing in it counts as damage.
    here: bool,
    progress: &'a dyn Progress,
}

impl Trace<'_> {
    fn tree(&mut self, digest: &Digest, path: &std::path::Path, depth: usize) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(Error::malformed("tree", "it is nested too deep"));
        }
        if self.progress.cancelled() {
            return Err(Error::Cancelled);
        }
        self.file(digest, path)?;
        // What is below a listing that cannot be read is told by naming the folder itself.
        if self.known.get(digest).is_some_and(|damages| !damages.is_empty()) {
            return Ok(());
        }
        let listing = match self.inner.tree(digest) {
            Err(_) if !self.here => return Ok(()),
            listing => listing?,
        };
        for item in listing.items() {
            let below = path.join(std::ffi::OsStr::from_bytes(&item.name));
            match &item.node {
                TreeNode::Tree { digest, .. } => self.tree(digest, &below, depth + 1)?,
                TreeNode::File { digest, .. } => self.file(digest, &below)?,
                TreeNode::Link { .. } => {}
            }
        }
        Ok(())
    }

    fn file(&mut self, digest: &Digest, path: &std::path::Path) -> Result<(), Error> {
        if !self.known.contains_key(digest) {
            let mut damages = Vec::new();
            self.content(digest, &mut damages)?;
            self.known.insert(*digest, damages);
        }
        for &at in &self.known[digest] {
            self.damage[at].needed_by.push(path.display().to_string());
        }
        Ok(())
    }

    fn content(&mut self, digest: &Digest, damages: &mut Vec<usize>) -> Result<(), Error> {
        if self.suffers(digest, damages)? {
            return Ok(());
        }
        let (kind, bytes) = match self.inner.fetch(digest) {
            Err(_) if !self.here => return Ok(()),
            found => found?,
        };
        match kind {
            Kind::Blob => Ok(()),
            Kind::File => self.list(&List::decode(&bytes)?, damages),
        }
    }

    fn list(&mut self, list: &List, damages: &mut Vec<usize>) -> Result<(), Error> {
        for part in &list.parts {
            if !self.suffers(&part.digest, damages)? && list.level > 0 {
                match self.inner.lower_list(part, list.level - 1) {
                    Err(_) if !self.here => {}
                    lower => self.list(&lower?, damages)?,
                }
            }
        }
        Ok(())
    }

    /// Whether the object itself is damaged or missing.
    fn suffers(&mut self, digest: &Digest, damages: &mut Vec<usize>) -> Result<bool, Error> {
        if let Some(&at) = self.by_object.get(digest) {
            damages.push(at);
            return Ok(true);
        }
        if !self.here || self.inner.catalog.tables().find(digest)?.is_some() {
            return Ok(false);
        }
        self.damage.push(Damage {
            pack: String::new(),
            offset: 0,
            object: Some(*digest),
            what: "it is missing".into(),
            needed_by: Vec::new(),
        });
        self.by_object.insert(*digest, self.damage.len() - 1);
        damages.push(self.damage.len() - 1);
        Ok(true)
    }
}
