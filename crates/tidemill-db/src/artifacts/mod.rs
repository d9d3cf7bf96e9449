//! Logged files: which path holds which content of the store.
//!
//! A path is relative, with single slashes, as `7/0a1b…/artifacts/model/MLmodel`. Folders are not stored: one is there as
//! long as a file lies below it. A file and a folder of one path exclude each other. What is written here is an
//! observation of a run and no event; deleting is one.

mod list;
mod orphan;
mod upload;

use std::sync::Arc;

use tidemill_core::{Digest, Sha256, Timestamp};

use crate::backend::{Conn, Context, Either, on};
use crate::dialect::{self, Rows};
use crate::runs::parse;
use crate::{Db, Error, Result, Tx};

pub use list::{Page, PageItem};
pub use upload::{Part, Upload};

/// A logged file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// Where, below the root of all artifacts.
    pub path: String,
    /// Its content in the store.
    pub digest: Digest,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its content, where it was computed.
    pub sha256: Option<Sha256>,
    /// When it was written.
    pub at: Timestamp,
}

type Row = (String, String, i64, Option<String>, i64);

const COLUMNS: &str = "path, digest, bytes, sha256, updated_at";

impl Artifact {
    fn from_row((path, digest, bytes, sha256, at): Row) -> Result<Self> {
        Ok(Self {
            path,
            digest: parse("artifact", "digest", &digest, "a digest")?,
            bytes: bytes as u64,
            sha256: sha256.map(|text| parse("artifact", "sha256", &text, "a SHA-256")).transpose()?,
            at: Timestamp::from_millis(at),
        })
    }
}

impl Db {
    /// The file at a path.
    pub async fn artifact(&self, path: &str) -> Result<Option<Artifact>> {
        const SQL: &str = "SELECT path, digest, bytes, sha256, updated_at FROM artifact WHERE path = $1";
        let mut reader = self.reader().await?;
        let row: Option<Row> =
            on!(reader.conn(), c => sqlx::query_as(SQL).bind(path).fetch_optional(c).await)
                .map_err(self.ctx().fail("read artifacts"))?;
        row.map(Artifact::from_row).transpose()
    }

    /// The files below a folder (all files below the root for an empty path) in the order of their paths: those after
    /// the path `after`, at most `limit`.
    pub async fn artifacts_below(
        &self,
        folder: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Artifact>> {
        const SQL: &str = "SELECT {columns} FROM artifact WHERE path >= $1 AND path < $2 AND path > $3
            ORDER BY path LIMIT $4";
        let (low, high) = bounds(folder);
        let sql = sqlx::AssertSqlSafe(SQL.replace("{columns}", COLUMNS));
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut reader = self.reader().await?;
        let rows: Vec<Row> = on!(reader.conn(), c => sqlx::query_as(sql)
            .bind(low).bind(high).bind(after.unwrap_or_default()).bind(limit)
            .fetch_all(c).await)
        .map_err(self.ctx().fail("read artifacts"))?;
        rows.into_iter().map(Artifact::from_row).collect()
    }

    /// Whether a path is a folder.
    pub async fn is_artifact_folder(&self, path: &str) -> Result<bool> {
        Ok(!self.artifacts_below(path, None, 1).await?.is_empty())
    }

    /// Writes files, replacing what is at their paths; all of them or, on error, none. Of several with one path the
    /// last counts. Fails with [`Error::Exists`] where a file would lie below a file or in the place of a folder.
    ///
    /// Durable on return. This is no state change in the sense of the log and has no event.
    pub async fn put_artifacts(&self, artifacts: &[Artifact]) -> Result<()> {
        let mut tx = self.write().await?;
        let ctx = Arc::clone(&tx.ctx);
        put(tx.conn(), &ctx, artifacts).await?;
        tx.commit().await
    }

    /// Every content that an artifact or a part of an unfinished upload needs, with a path that needs it.
    pub async fn artifact_roots(&self) -> Result<Vec<(Digest, String)>> {
        let mut reader = self.reader().await?;
        roots(reader.conn(), self.ctx()).await
    }

    /// Where the artifacts of a tracked run are, as a URI.
    pub async fn run_artifact_uri(&self, run: &str) -> Result<Option<String>> {
        const SQL: &str = "SELECT artifact_uri FROM run WHERE uuid = $1";
        self.artifact_uri(SQL, run).await
    }

    /// Where the files of a logged model that is not deleted are, as a URI.
    pub async fn logged_model_artifact_uri(&self, model: &str) -> Result<Option<String>> {
        const SQL: &str = "SELECT artifact_uri FROM logged_model WHERE uuid = $1 AND stage = 'active'";
        self.artifact_uri(SQL, model).await
    }

    async fn artifact_uri(&self, sql: &'static str, id: &str) -> Result<Option<String>> {
        let mut reader = self.reader().await?;
        let row: Option<(String,)> =
            on!(reader.conn(), c => sqlx::query_as(sql).bind(id).fetch_optional(c).await)
                .map_err(self.ctx().fail("read where artifacts are"))?;
        Ok(row.map(|(uri,)| uri))
    }
}

impl Tx {
    /// Removes the file at a path, or everything below it; gives the number of files. Commit it with an
    /// `ArtifactsDeleted` event.
    pub async fn delete_artifacts(&mut self, path: &str) -> Result<u64> {
        const SQL: &str = "DELETE FROM artifact WHERE path = $1 OR (path >= $2 AND path < $3)";
        let (low, high) = bounds(path);
        let ctx = Arc::clone(&self.transact.ctx);
        let removed = on!(self.transact.conn(), c => sqlx::query(SQL)
            .bind(path).bind(low).bind(high)
            .execute(c).await.map(|done| done.rows_affected()))
        .map_err(ctx.fail("delete artifacts"))?;
        self.changed |= removed > 0;
        Ok(removed)
    }

    /// [`Db::artifact_roots`] as this transaction sees them.
    pub async fn artifact_roots(&mut self) -> Result<Vec<(Digest, String)>> {
        let ctx = Arc::clone(&self.transact.ctx);
        roots(self.transact.conn(), &ctx).await
    }
}

async fn roots(mut conn: Conn<'_>, ctx: &Context) -> Result<Vec<(Digest, String)>> {
    const FILES: &str = "SELECT digest, MIN(path) FROM artifact GROUP BY digest";
    const PARTS: &str =
        "SELECT p.digest, MIN(u.path) FROM artifact_part p JOIN artifact_upload u ON u.id = p.upload_id
        GROUP BY p.digest";
    let mut roots = Vec::new();
    for sql in [FILES, PARTS] {
        let rows: Vec<(String, String)> = on!(conn.reborrow(), c => sqlx::query_as(sql).fetch_all(c).await)
            .map_err(ctx.fail("read which artifacts are in use"))?;
        for (digest, path) in rows {
            roots.push((parse("artifact", "digest", &digest, "a digest")?, path));
        }
    }
    Ok(roots)
}

/// Everything below a folder lies from the first of these to before the second; `0` is the character after `/`.
fn bounds(folder: &str) -> (String, String) {
    if folder.is_empty() {
        return (String::new(), "\u{10FFFF}\u{10FFFF}".to_owned());
    }
    (format!("{folder}/"), format!("{folder}0"))
}

/// Held by whoever writes artifacts until its commit. On SQLite there is one writer at a time anyway.
const POSTGRES_LOCK: i64 = 0x7469_6465_6172_7466;

/// Writes files after checking that none gets into the way of another.
async fn put(mut conn: Conn<'_>, ctx: &Context, artifacts: &[Artifact]) -> Result<()> {
    const SQL: &str = "INSERT INTO artifact ({columns}) SELECT {columns} FROM {rows} WHERE TRUE
        ON CONFLICT (path) DO UPDATE SET digest = excluded.digest, bytes = excluded.bytes,
            sha256 = excluded.sha256, updated_at = excluded.updated_at";
    let mut last: Vec<&Artifact> = artifacts.iter().collect();
    // A stable sort keeps those of one path in their order. All writers thus take their rows in one order, too.
    last.sort_by(|a, b| a.path.cmp(&b.path));
    last.reverse();
    last.dedup_by(|a, b| a.path == b.path);
    last.reverse();
    // Otherwise two servers could each find nothing in their way, and write a file and a folder of one path.
    if let Either::Postgres(c) = conn.reborrow() {
        let locked = sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(POSTGRES_LOCK).execute(c).await;
        locked.map(drop).map_err(ctx.fail("store artifacts"))?;
    }
    if let Some(name) = obstacle(conn.reborrow(), &last).await.map_err(ctx.fail("store artifacts"))? {
        return Err(Error::Exists { what: "file or folder", name });
    }
    let digests: Vec<String> = last.iter().map(|artifact| artifact.digest.to_string()).collect();
    let shas: Vec<Option<String>> =
        last.iter().map(|artifact| artifact.sha256.map(|sha| sha.to_string())).collect();
    let rows = Rows::new(last.len())
        .text("path", last.iter().map(|artifact| artifact.path.as_str()))
        .text("digest", digests.iter().map(String::as_str))
        .int("bytes", last.iter().map(|artifact| artifact.bytes as i64))
        .opt_text("sha256", shas.iter().map(Option::as_deref))
        .int("updated_at", last.iter().map(|artifact| artifact.at.millis()));
    if !last.is_empty() {
        dialect::write_rows(conn, SQL, &rows).await.map_err(ctx.fail("store artifacts"))?;
    }
    Ok(())
}

/// A path that one of these cannot be written beside: a file above it, or a folder in its place.
async fn obstacle(mut conn: Conn<'_>, sorted: &[&Artifact]) -> sqlx::Result<Option<String>> {
    const FILES: &str = "SELECT a.path FROM {rows} JOIN artifact a ON a.path = r.wanted";
    const FOLDERS: &str = "SELECT r.wanted FROM {rows}
        WHERE EXISTS (SELECT 1 FROM artifact a WHERE a.path >= r.low AND a.path < r.high)";
    let mut above: Vec<&str> = sorted.iter().flat_map(|artifact| folders_above(&artifact.path)).collect();
    above.sort_unstable();
    above.dedup();
    if let Some(both) = sorted.iter().find(|artifact| above.binary_search(&artifact.path.as_str()).is_ok()) {
        return Ok(Some(both.path.clone()));
    }
    if !above.is_empty() {
        let rows = Rows::new(above.len()).text("wanted", above.iter().copied());
        let found: Vec<(String,)> = dialect::read_rows(conn.reborrow(), FILES, &rows).await?;
        if let Some((path,)) = found.into_iter().next() {
            return Ok(Some(path));
        }
    }
    if sorted.is_empty() {
        return Ok(None);
    }
    let bounds: Vec<(String, String)> = sorted.iter().map(|artifact| bounds(&artifact.path)).collect();
    let rows = Rows::new(sorted.len())
        .text("wanted", sorted.iter().map(|artifact| artifact.path.as_str()))
        .text("low", bounds.iter().map(|(low, _)| low.as_str()))
        .text("high", bounds.iter().map(|(_, high)| high.as_str()));
    let found: Vec<(String,)> = dialect::read_rows(conn, FOLDERS, &rows).await?;
    Ok(found.into_iter().next().map(|(path,)| path))
}

/// `a` and `a/b` for `a/b/c`.
fn folders_above(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}
