//! Files that arrive in parts, in any order and several at once.
//!
//! Each part is content of the store as soon as it is there, so it survives a restart. At the end the parts are read in
//! order and written as one file. Chunks are cut by content, and with the size of the whole in mind, so nearly all of them
//! are there already: putting together costs hashing, not writing. What is given up, or not finished within days, is
//! removed by garbage collection.

use bytes::Bytes;
use tidemill_core::Digest;
use tidemill_db::artifacts::{Artifact, Part, Upload};
use tidemill_store::{Entry, Hold, Store, WriterOptions};
use tokio::task::spawn_blocking;

use crate::artifacts::intake::{Intake, Received, ended};
use crate::artifacts::queue::{artifact, refusal};
use crate::artifacts::{ArtifactPath, PartWriter};
use crate::fresh::random_bytes;
use crate::{Code, Error, Registry, Result};

/// The most parts that a file may have.
const MOST_PARTS: u64 = 10_000;

/// What the sender of a part was told: its number, and the tag that names its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartReceipt {
    /// From 1.
    pub number: u64,
    /// As [`PartWriter::finish`] gave it; quotation marks around it do not matter. Empty if the sender lost it.
    pub tag: String,
}

impl Registry {
    /// Begins a file of so many parts; gives the identifier of the upload, which only its sender knows.
    pub async fn start_upload(&self, path: &ArtifactPath, parts: i64) -> Result<String> {
        if path.is_root() {
            return Err(Error::invalid("Invalid path"));
        }
        let parts = u64::try_from(parts).ok().filter(|parts| (1..=MOST_PARTS).contains(parts));
        let parts = parts.ok_or_else(|| {
            Error::invalid(format!("Invalid value for parameter 'num_parts': expected 1 to {MOST_PARTS}."))
        })?;
        let id = tidemill_core::RunId::from_entropy(random_bytes()?).to_string();
        let upload = Upload { id: id.clone(), path: path.as_str().to_owned(), parts, at: self.clock.now() };
        self.db.start_upload(&upload).await?;
        Ok(id)
    }

    /// Begins to write a part; `size` is what the sender announced.
    pub async fn part_writer(&self, upload: &str, number: i64, size: Option<u64>) -> Result<PartWriter> {
        let found = self.db.upload(upload).await?.ok_or_else(|| no_upload(upload))?;
        let number = u64::try_from(number).ok().filter(|number| (1..=found.parts).contains(number));
        let number = number.ok_or_else(|| {
            Error::invalid(format!("Invalid part number: the upload has parts 1 to {}.", found.parts))
        })?;
        // Parts are of one size but for the last, so this is about the size of the whole.
        let whole = size.map(|size| size.saturating_mul(found.parts));
        let intake = Intake::new(self.store.clone(), whole);
        Ok(PartWriter { registry: self.clone(), upload: upload.to_owned(), number, intake })
    }

    /// All parts are there: the file is put together, durable and visible on return.
    pub async fn complete_upload(
        &self,
        path: &ArtifactPath,
        upload: &str,
        receipts: &[PartReceipt],
    ) -> Result<Artifact> {
        let found = self.db.upload(upload).await?.filter(|found| found.path == path.as_str());
        let found = found.ok_or_else(|| no_upload(upload))?;
        let parts = self.db.upload_parts(upload).await?;
        check(&found, &parts, receipts)?;
        let store = self.store.clone();
        let (entry, _hold) = spawn_blocking(move || assemble(&store, &parts)).await.map_err(ended)??;
        let artifact = artifact(path, &entry, self.clock.now());
        match self.db.finish_upload(upload, &artifact).await {
            Ok(()) => Ok(artifact),
            Err(tidemill_db::Error::NotFound { .. }) => Err(no_upload(upload)),
            Err(error) => Err(refusal(error)),
        }
    }

    /// Gives an upload up; that it has ended already is no error.
    pub async fn abort_upload(&self, path: &ArtifactPath, upload: &str) -> Result<()> {
        if self.db.upload(upload).await?.is_some_and(|found| found.path == path.as_str()) {
            self.db.abort_upload(upload).await?;
        }
        Ok(())
    }
}

impl PartWriter {
    /// What takes its bytes.
    pub fn intake(&mut self) -> &mut Intake {
        &mut self.intake
    }

    /// The part is complete; durable on return. Gives the tag that names its content.
    pub async fn finish(self) -> Result<String> {
        let Self { registry, upload, number, intake } = self;
        let (entry, _hold) = match intake.finish().await? {
            Received::Stored(entry, hold) => (entry, hold),
            Received::Small(bytes) => {
                let store = registry.store.clone();
                spawn_blocking(move || put(&store, &bytes)).await.map_err(ended)??
            }
        };
        let part = Part { number, digest: entry.digest, bytes: entry.bytes };
        match registry.db.put_part(&upload, &part).await {
            Ok(()) => Ok(tag(&part.digest)),
            Err(tidemill_db::Error::NotFound { .. }) => Err(no_upload(&upload)),
            Err(error) => Err(error.into()),
        }
    }
}

fn put(store: &Store, bytes: &Bytes) -> Result<(Entry, Hold)> {
    let hold = store.hold()?;
    let entries = store.put_many(std::slice::from_ref(bytes), false)?;
    let entry = entries.into_iter().next();
    let entry = entry.ok_or_else(|| Error::new(Code::InternalError, "a part was not stored"))?;
    Ok((entry, hold))
}

/// Whether what arrived is what the sender believes to have sent, without gaps.
fn check(upload: &Upload, parts: &[Part], receipts: &[PartReceipt]) -> Result<()> {
    for number in 1..=upload.parts {
        if !parts.iter().any(|part| part.number == number) {
            return Err(Error::invalid(format!("Part {number} of {} has not arrived.", upload.parts)));
        }
    }
    for receipt in receipts {
        let part = parts.iter().find(|part| part.number == receipt.number);
        let wanted = receipt.tag.trim_matches('"');
        if !part.is_some_and(|part| wanted.is_empty() || tag(&part.digest) == wanted) {
            let number = receipt.number;
            return Err(Error::invalid(format!(
                "Part {number} is not the one that was sent: its ETag differs."
            )));
        }
    }
    let missing = (1..=upload.parts).find(|number| !receipts.iter().any(|one| one.number == *number));
    match missing {
        Some(number) => Err(Error::invalid(format!("Part {number} is missing in the list of parts."))),
        None => Ok(()),
    }
}

fn assemble(store: &Store, parts: &[Part]) -> Result<(Entry, Hold)> {
    let hold = store.hold()?;
    let whole = parts.iter().map(|part| part.bytes).sum();
    let mut writer = store.writer(WriterOptions { bytes: Some(whole), sha256: false });
    for part in parts {
        for chunk in store.chunks(&part.digest, 0..u64::MAX)? {
            writer.write(chunk?.as_slice())?;
        }
    }
    Ok((writer.finish()?, hold))
}

fn tag(digest: &Digest) -> String {
    digest.hex()
}

fn no_upload(id: &str) -> Error {
    Error::missing(format!("There is no multipart upload with id '{id}' for this path."))
}
