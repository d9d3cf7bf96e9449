//! Files that arrive in parts. The parts are content of the store until the file is put together.

use std::sync::Arc;

use tidemill_core::{Digest, Timestamp};

use crate::artifacts::{Artifact, put};
use crate::backend::on;
use crate::runs::parse;
use crate::{Db, Error, Result, Tx};

/// A file that is to be put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Its identifier, which nobody can guess.
    pub id: String,
    /// The path that the file will have.
    pub path: String,
    /// How many parts it has.
    pub parts: u64,
    /// When it began.
    pub at: Timestamp,
}

/// A part that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its number, from 1.
    pub number: u64,
    /// Its content in the store.
    pub digest: Digest,
    /// Its size.
    pub bytes: u64,
}

impl Db {
    /// Begins an upload.
    pub async fn start_upload(&self, upload: &Upload) -> Result<()> {
        const SQL: &str =
            "INSERT INTO artifact_upload (id, path, part_count, created_at) VALUES ($1, $2, $3, $4)";
        let mut tx = self.write().await?;
        on!(tx.conn(), c => sqlx::query(SQL)
            .bind(&upload.id).bind(&upload.path).bind(upload.parts as i64).bind(upload.at.millis())
            .execute(c).await.map(|_| ()))
        .map_err(self.ctx().fail("begin an upload"))?;
        tx.commit().await
    }

    /// An upload that has neither ended nor been given up.
    pub async fn upload(&self, id: &str) -> Result<Option<Upload>> {
        const SQL: &str = "SELECT path, part_count, created_at FROM artifact_upload WHERE id = $1";
        let mut reader = self.reader().await?;
        let row: Option<(String, i64, i64)> =
            on!(reader.conn(), c => sqlx::query_as(SQL).bind(id).fetch_optional(c).await)
                .map_err(self.ctx().fail("read an upload"))?;
        Ok(row.map(|(path, parts, at)| Upload {
            id: id.to_owned(),
            path,
            parts: parts as u64,
            at: Timestamp::from_millis(at),
        }))
    }

    /// Records a part, replacing one of its number. [`Error::NotFound`] if the upload has ended.
    pub async fn put_part(&self, upload: &str, part: &Part) -> Result<()> {
        const SQL: &str = "INSERT INTO artifact_part (upload_id, number, digest, bytes)
            SELECT id, $2, $3, $4 FROM artifact_upload WHERE id = $1
            ON CONFLICT (upload_id, number) DO UPDATE SET digest = excluded.digest, bytes = excluded.bytes";
        let mut tx = self.write().await?;
        let written = on!(tx.conn(), c => sqlx::query(SQL)
            .bind(upload).bind(part.number as i64).bind(part.digest.to_string()).bind(part.bytes as i64)
            .execute(c).await.map(|done| done.rows_affected()))
        .map_err(self.ctx().fail("record a part"))?;
        if written == 0 {
            return Err(no_upload(upload));
        }
        tx.commit().await
    }

    /// The parts that have arrived, by number.
    pub async fn upload_parts(&self, upload: &str) -> Result<Vec<Part>> {
        const SQL: &str =
            "SELECT number, digest, bytes FROM artifact_part WHERE upload_id = $1 ORDER BY number";
        let mut reader = self.reader().await?;
        let rows: Vec<(i64, String, i64)> =
            on!(reader.conn(), c => sqlx::query_as(SQL).bind(upload).fetch_all(c).await)
                .map_err(self.ctx().fail("read the parts of an upload"))?;
        rows.into_iter()
            .map(|(number, digest, bytes)| {
                let digest = parse("artifact_part", "digest", &digest, "a digest")?;
                Ok(Part { number: number as u64, digest, bytes: bytes as u64 })
            })
            .collect()
    }

    /// Ends an upload: the file is there, its parts are forgotten. [`Error::NotFound`] if it has ended already.
    pub async fn finish_upload(&self, upload: &str, artifact: &Artifact) -> Result<()> {
        let mut tx = self.write().await?;
        let ctx = Arc::clone(&tx.ctx);
        let removed = on!(tx.conn(), c => sqlx::query(DELETE).bind(upload)
            .execute(c).await.map(|done| done.rows_affected()))
        .map_err(ctx.fail("end an upload"))?;
        if removed == 0 {
            return Err(no_upload(upload));
        }
        put(tx.conn(), &ctx, std::slice::from_ref(artifact)).await?;
        tx.commit().await
    }

    /// Gives an upload up; gives whether it was there.
    pub async fn abort_upload(&self, upload: &str) -> Result<bool> {
        let mut tx = self.write().await?;
        let removed = on!(tx.conn(), c => sqlx::query(DELETE).bind(upload)
            .execute(c).await.map(|done| done.rows_affected()))
        .map_err(self.ctx().fail("give an upload up"))?;
        tx.commit().await?;
        Ok(removed > 0)
    }
}

impl Tx {
    /// Gives up uploads that began before `before`; gives their number. They are nothing that anybody has been told of,
    /// so this alone needs no event.
    pub async fn drop_uploads(&mut self, before: Timestamp) -> Result<u64> {
        const SQL: &str = "DELETE FROM artifact_upload WHERE created_at < $1";
        let ctx = Arc::clone(&self.transact.ctx);
        on!(self.transact.conn(), c => sqlx::query(SQL).bind(before.millis())
            .execute(c).await.map(|done| done.rows_affected()))
        .map_err(ctx.fail("give old uploads up"))
    }
}

const DELETE: &str = "DELETE FROM artifact_upload WHERE id = $1";

fn no_upload(id: &str) -> Error {
    Error::NotFound { what: "upload", name: id.to_owned() }
}
