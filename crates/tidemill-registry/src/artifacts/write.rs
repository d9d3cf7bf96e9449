//! Writing and deleting artifacts.

use bytes::Bytes;
use tidemill_core::{Actor, EventKind};
use tidemill_db::artifacts::Artifact;

use crate::artifacts::ArtifactPath;
use crate::artifacts::intake::Intake;
use crate::artifacts::queue::Queue;
use crate::{Error, Registry, Result};

/// A file on its way to a path. Until [`Self::finish`] returns nothing of it can be seen; dropped, it leaves nothing.
pub struct ArtifactWriter {
    path: ArtifactPath,
    intake: Intake,
    queue: Queue,
}

/// A part of a file that arrives in parts, see [`Registry::part_writer`].
pub struct PartWriter {
    pub(super) registry: Registry,
    pub(super) upload: String,
    pub(super) number: u64,
    pub(super) intake: Intake,
}

impl Registry {
    /// Begins to write a file, which replaces one of that path. `size` is what the sender announced.
    pub fn artifact_writer(&self, path: ArtifactPath, size: Option<u64>) -> Result<ArtifactWriter> {
        if path.is_root() {
            return Err(Error::invalid("Invalid path"));
        }
        let intake = Intake::new(self.store.clone(), size);
        Ok(ArtifactWriter { path, intake, queue: self.artifacts.clone() })
    }

    /// Writes a file that is in memory.
    pub async fn put_artifact(&self, path: ArtifactPath, bytes: Bytes) -> Result<Artifact> {
        let mut writer = self.artifact_writer(path, Some(bytes.len() as u64))?;
        writer.write(bytes).await?;
        writer.finish().await
    }

    /// Records that a path holds content that is in the store already. The caller keeps garbage collection away with
    /// [`tidemill_store::Store::hold`] from before the content was added.
    pub async fn link_artifacts(&self, files: &[(ArtifactPath, tidemill_store::Entry)]) -> Result<()> {
        let now = self.clock.now();
        let artifacts: Vec<Artifact> =
            files.iter().map(|(path, entry)| super::queue::artifact(path, entry, now)).collect();
        self.db.put_artifacts(&artifacts).await.map_err(super::queue::refusal)
    }

    /// Deletes a file or a folder; that nothing is there is no error. Gives the number of files.
    pub async fn delete_artifacts(&self, path: &ArtifactPath, actor: &Actor) -> Result<u64> {
        if path.is_root() {
            return Err(Error::invalid("Invalid path"));
        }
        let mut tx = self.db.begin().await?;
        let files = tx.delete_artifacts(path.as_str()).await?;
        if files > 0 {
            let kind = EventKind::ArtifactsDeleted { path: path.as_str().to_owned(), files };
            tx.commit(vec![self.event(actor, kind)]).await?;
        }
        Ok(files)
    }
}

impl ArtifactWriter {
    /// What takes its bytes.
    pub fn intake(&mut self) -> &mut Intake {
        &mut self.intake
    }

    /// Takes the next bytes.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.intake.write(bytes).await
    }

    /// The file is complete; durable and visible on return.
    pub async fn finish(self) -> Result<Artifact> {
        let received = self.intake.finish().await?;
        self.queue.put(self.path, received).await
    }
}
