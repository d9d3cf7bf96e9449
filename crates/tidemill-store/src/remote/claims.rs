//! What the folders in front of a store say there that they need, so that a collection on any machine keeps it.
//!
//! ```text
//! refs/claims/HOLDER/NAME.json   contents that this folder's users were told are stored, some more with each session
//! refs/needs/HOLDER.json         names an object that lists all that they need; takes the place of older claims
//! ```
//!
//! A holder is a local folder; a file in it holds the name, which no other folder has. A content is claimed before it is
//! acknowledged. A collection in the folder, which nobody uses meanwhile, asks the databases of its users what they need,
//! writes that, and only then removes the claims that it found before it asked. Who reads claims before needs therefore
//! sees a content in one of the two from when it is acknowledged until nobody needs it, whenever anybody is killed.
//!
//! A document of claims is written again with more in it only while it is young, and removed only when it is old.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tidemill_core::{Digest, Progress, Unit};

use crate::disk::{self, TempFile};
use crate::inner::Inner;
use crate::remote::client::Remote;
use crate::{Error, Root, Store};

const FORMAT: u32 = 1;
const CLAIMS: &str = "refs/claims";
const NEEDS: &str = "refs/needs";
/// A document of claims grows no more when it is as old or names as much.
const GROWS_FOR: Duration = Duration::from_mins(10);
const GROWS_TO: usize = 1000;
/// Documents of claims that are younger are never removed, where there is a grace period at all.
const KEPT_FOR: Duration = Duration::from_hours(2);
/// Documents that are read at a time.
const AT_ONCE: usize = 16;

/// What is claimed or needed, as it is written.
#[derive(Serialize, Deserialize)]
struct Document {
    format: u32,
    /// The machine and the folder, for people.
    host: String,
    folder: String,
    /// Digests, each with whether it is a folder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    contents: Vec<(Digest, bool)>,
    /// An object that holds such a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    list: Option<Digest>,
}

impl Document {
    fn new(inner: &Inner) -> Self {
        let folder = fs_err::canonicalize(&inner.dir).unwrap_or_else(|_| inner.dir.clone());
        Self {
            format: FORMAT,
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            folder: folder.display().to_string(),
            contents: Vec::new(),
            list: None,
        }
    }

    fn bytes(&self) -> Result<Vec<u8>, Error> {
        serde_json::to_vec(self).map_err(|_| Error::Internal("a document of needs cannot be written"))
    }

    fn read(name: &str, bytes: &[u8]) -> Result<Self, Error> {
        let bad = |why: String| Error::malformed("document", format!("`{name}`: {why}"));
        let document: Self = serde_json::from_slice(bytes).map_err(|error| bad(error.to_string()))?;
        if document.format == FORMAT {
            return Ok(document);
        }
        Err(bad(format!("it has form {}, and this version reads form {FORMAT}", document.format)))
    }
}

/// A document of claims that is being filled.
pub(super) struct Segment {
    name: String,
    began: Instant,
    contents: BTreeSet<(Digest, bool)>,
    document: Document,
}

impl Segment {
    pub(super) fn begin(inner: &Inner) -> Result<Self, Error> {
        let name = format!("{}/{}.json", folder_of(&holder(inner)?), disk::unique().hex());
        let (began, document) = (Instant::now(), Document::new(inner));
        Ok(Self { name, began, contents: BTreeSet::new(), document })
    }

    pub(super) fn is_open(&self) -> bool {
        self.began.elapsed() < GROWS_FOR && self.contents.len() < GROWS_TO
    }

    pub(super) fn extend(&mut self, contents: impl Iterator<Item = (Digest, bool)>) {
        self.contents.extend(contents);
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn document(&mut self) -> Result<Vec<u8>, Error> {
        self.document.contents = self.contents.iter().copied().collect();
        self.document.bytes()
    }
}

/// Where a holder's claims are.
fn folder_of(holder: &str) -> String {
    format!("{CLAIMS}/{holder}")
}

/// The name of this folder at remotes, given at the first use. Two processes that do so at once agree.
fn holder(inner: &Inner) -> Result<String, Error> {
    let path = inner.dir.join("holder");
    let read = || -> Result<Option<String>, Error> {
        match fs_err::read_to_string(&path) {
            Ok(name) if !name.is_empty() && name.chars().all(|c| c.is_ascii_hexdigit()) => Ok(Some(name)),
            Ok(_) => Err(Error::malformed("name of a folder", format!("see `{}`", path.display()))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("open", &path)(error)),
        }
    };
    if let Some(name) = read()? {
        return Ok(name);
    }
    let mut file = TempFile::create(&inner.tmp_dir(), "holder")?;
    file.write_all(&disk::unique().hex().as_bytes()[..32])?;
    file.sync()?;
    match file.link(&path) {
        Ok(()) => {}
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::AlreadyExists => {}
        // A file system without links: of two that do this at once the later one gives the name.
        Err(_) => file.persist(&path)?,
    }
    disk::sync_dir(&inner.dir)?;
    read()?.ok_or(Error::Internal("the folder's name is gone"))
}

/// A document in which this folder claims something.
#[derive(Clone, Debug)]
pub struct OwnClaim {
    name: String,
    /// When it was last written, by the remote's clock, in milliseconds.
    modified: i64,
}

/// A folder in front of a store, and what is needed of the store for it.
#[derive(Clone, Debug)]
pub struct Holder {
    /// Names the folder.
    pub id: String,
    /// The machine that it is on.
    pub host: String,
    /// Where it is.
    pub folder: String,
    /// When it last said what it needs, by the remote's clock, in milliseconds since 1970.
    pub heard: i64,
    /// What it needs.
    pub roots: Vec<Root>,
}

impl Holder {
    /// What people call it: `HOST:FOLDER`.
    pub fn label(&self) -> String {
        format!("{}:{}", self.host, self.folder)
    }
}

/// A store at an address: what is said there of needs. Nothing is where there is no store behind.
impl Store {
    /// The name of this folder at the store behind it.
    pub fn holder(&self) -> Result<Option<String>, Error> {
        self.behind().map(|_| holder(&self.inner)).transpose()
    }

    /// What this folder claims. To be asked before its users are asked what they need.
    pub fn own_claims(&self) -> Result<Vec<OwnClaim>, Error> {
        let Some(behind) = &self.inner.behind else { return Ok(Vec::new()) };
        let folder = folder_of(&holder(&self.inner)?);
        let found = behind.wait(async || behind.remote().list(&folder).await)?;
        Ok(found.into_iter().map(|found| OwnClaim { name: found.name, modified: found.modified }).collect())
    }

    /// Says at the store behind this one that `needs` is all that is needed there for this folder, in place of `claims`,
    /// of which those stay that are younger than two hours, or than `grace` where that is less.
    pub fn declare(&self, needs: &[Root], claims: &[OwnClaim], grace: Duration) -> Result<(), Error> {
        let Some(behind) = &self.inner.behind else { return Ok(()) };
        let contents: Vec<(Digest, bool)> = needs.iter().map(|root| (root.digest, root.tree)).collect();
        let list = serde_json::to_vec(&contents).map_err(|_| Error::Internal("needs cannot be written"))?;
        let list = Some(self.put(&list)?);
        let document = Document { list, ..Document::new(&self.inner) }.bytes()?;
        let name = format!("{NEEDS}/{}.json", holder(&self.inner)?);
        let kept = i64::try_from(KEPT_FOR.min(grace).as_millis()).unwrap_or(i64::MAX);
        behind.wait(async || {
            let remote = behind.remote();
            remote.put(&name, document).await?;
            remote.sync().await?;
            let now = remote.now().await?;
            for claim in claims.iter().filter(|claim| now.saturating_sub(claim.modified) >= kept) {
                remote.delete(&claim.name).await?;
            }
            remote.sync().await
        })?;
        // With a short grace period what this process claimed may be claimed no longer.
        behind.forget();
        Ok(())
    }

    /// Everybody who says at the store behind this one what they need, this folder too. To be asked after
    /// [`Self::inventory`].
    pub fn holders(&self, progress: &dyn Progress) -> Result<Vec<Holder>, Error> {
        let Some(behind) = &self.inner.behind else { return Ok(Vec::new()) };
        let mut holders: BTreeMap<String, Holder> = BTreeMap::new();
        // Claims first: what leaves them is in the needs by then.
        for folder in [CLAIMS, NEEDS] {
            let documents = behind.wait(async || read_all(behind.remote(), folder, progress).await)?;
            for (id, heard, document) in documents {
                let mut contents = document.contents;
                if let Some(list) = document.list {
                    let bytes = self.get(&list)?;
                    let listed: Vec<(Digest, bool)> = serde_json::from_slice(&bytes)
                        .map_err(|error| Error::malformed("list of needs", error.to_string()))?;
                    contents.extend(listed);
                    contents.push((list, false));
                }
                let (host, folder) = (document.host, document.folder);
                let label = format!("{host}:{folder}");
                let roots = Vec::new();
                let holder = holders.entry(id.clone()).or_insert(Holder { id, host, folder, heard, roots });
                holder.heard = holder.heard.max(heard);
                holder.roots.extend(contents.into_iter().map(|(digest, tree)| Root {
                    digest,
                    tree,
                    label: label.clone(),
                }));
            }
        }
        Ok(holders.into_values().collect())
    }

    /// Forgets what is needed for a folder that is gone.
    pub fn forget_holder(&self, id: &str) -> Result<(), Error> {
        let Some(behind) = &self.inner.behind else { return Ok(()) };
        behind.wait(async || {
            let remote = behind.remote();
            for claim in remote.list(&folder_of(id)).await? {
                remote.delete(&claim.name).await?;
            }
            remote.delete(&format!("{NEEDS}/{id}.json")).await?;
            remote.sync().await
        })
    }
}

/// The documents in a folder, each with its holder and when it was written.
async fn read_all(
    remote: &Remote,
    folder: &str,
    progress: &dyn Progress,
) -> Result<Vec<(String, i64, Document)>, Error> {
    let found = remote.list(folder).await?;
    progress.begin("asking", Some(found.len() as u64), Unit::Items);
    let mut documents = Vec::with_capacity(found.len());
    for some in found.chunks(AT_ONCE) {
        if progress.cancelled() {
            return Err(Error::Cancelled);
        }
        let reading = some.iter().map(|found| remote.get(&found.name));
        let read = futures::future::try_join_all(reading).await?;
        for (found, bytes) in some.iter().zip(read) {
            let below = found.name.strip_prefix(folder).unwrap_or_default().trim_start_matches('/');
            let id = below.split(['/', '.']).next().unwrap_or_default().to_owned();
            // One that is gone meanwhile has been replaced.
            if let Some(bytes) = bytes {
                documents.push((id, found.modified, Document::read(&found.name, &bytes)?));
            }
        }
        progress.advance(some.len() as u64);
    }
    Ok(documents)
}

/// Everything that is stored here or behind, at one time.
pub struct Stored {
    inner: Arc<Inner>,
    behind: Option<Arc<super::known::Known>>,
}

impl Stored {
    /// Whether this one object is stored.
    pub fn has(&self, digest: &Digest) -> Result<bool, Error> {
        Ok(self.inner.catalog.find(digest)?.is_some()
            || self.behind.as_ref().is_some_and(|known| known.find(digest).is_some()))
    }
}

impl Store {
    /// What is in the folder, whatever a store behind it has.
    pub fn stored_here(&self) -> Stored {
        Stored { inner: Arc::clone(&self.inner), behind: None }
    }

    /// What is stored now, for many questions. Asking does not claim anything.
    pub fn stored(&self) -> Result<Stored, Error> {
        let known = self.inner.behind.as_ref().map(|behind| behind.all_now(&self.inner)).transpose()?;
        Ok(Stored { inner: Arc::clone(&self.inner), behind: known })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_that_are_not_known_are_refused() {
        let good = r#"{"format":1,"host":"h","folder":"/f","contents":[]}"#;
        assert_eq!(Document::read("x", good.as_bytes()).unwrap().host, "h");
        for (bad, why) in [
            (good.replace(":1", ":2"), "it has form 2, and this version reads form 1"),
            ("{".to_owned(), "EOF"),
        ] {
            let error = Document::read("refs/needs/x.json", bad.as_bytes()).err().unwrap().to_string();
            assert!(error.contains(why) && error.contains("refs/needs/x.json"), "{error}");
        }
    }
}
