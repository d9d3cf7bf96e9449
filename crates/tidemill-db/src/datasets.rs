//! Named datasets and their numbered versions.

use tidemill_core::{Actor, Digest, Name, Timestamp};

use std::sync::Arc;

use crate::backend::{Conn, on};
use crate::events::{actor_kind, parse_actor_kind};
use crate::{Db, Error, Result, Tx};

/// A dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// Its name.
    pub name: Name,
    /// The number of its latest version.
    pub latest: u64,
    /// When the first version was added.
    pub created_at: Timestamp,
    /// When the latest version was added.
    pub updated_at: Timestamp,
}

/// One version of a dataset. Never changed once stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetVersion {
    /// The dataset.
    pub dataset: Name,
    /// From 1, without gaps.
    pub version: u64,
    /// The root of the stored content.
    pub content: Digest,
    /// What the content is, in the caller's words: `file`, `tree`, `table`.
    pub kind: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Number of files.
    pub files: u64,
    /// Number of rows where the content is a table.
    pub rows: Option<u64>,
    /// The table's schema as JSON text, where it is a table.
    pub schema: Option<String>,
    /// Where it came from: a path or URL, without credentials.
    pub source: String,
    /// What the user said about it.
    pub message: Option<String>,
    /// When it was added.
    pub created_at: Timestamp,
    /// Who added it.
    pub actor: Actor,
}

/// A version that is about to be stored; the database gives it its number. Fields as in [`DatasetVersion`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of `DatasetVersion`")]
pub struct NewDatasetVersion {
    pub dataset: Name,
    pub content: Digest,
    pub kind: String,
    pub bytes: u64,
    pub files: u64,
    pub rows: Option<u64>,
    pub schema: Option<String>,
    pub source: String,
    pub message: Option<String>,
    pub created_at: Timestamp,
    pub actor: Actor,
}

/// What [`Tx::put_dataset_version`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PutVersion {
    /// The version that now holds the content.
    pub version: u64,
    /// False if the latest version held this content already: nothing was written and no event is needed.
    pub created: bool,
}

type Row = (
    String,
    i64,
    String,
    String,
    i64,
    i64,
    Option<i64>,
    Option<String>,
    String,
    Option<String>,
    i64,
    String,
    String,
);

fn from_row(row: Row) -> Result<DatasetVersion> {
    const TABLE: &str = "dataset_version";
    let (name, version, content, kind, bytes, files, rows, schema, source, message, at, actor_kind, actor) =
        row;
    Ok(DatasetVersion {
        dataset: parse_name(&name)?,
        version: version as u64,
        content: content.parse().map_err(|_| Error::value(TABLE, "content", &content, "a digest"))?,
        kind,
        bytes: bytes as u64,
        files: files as u64,
        rows: rows.map(|rows| rows as u64),
        schema,
        source,
        message,
        created_at: Timestamp::from_millis(at),
        actor: Actor { kind: parse_actor_kind(TABLE, &actor_kind)?, name: actor },
    })
}

fn parse_name(name: &str) -> Result<Name> {
    Name::new(name).map_err(|_| Error::value("dataset", "name", name, "a name"))
}

impl Db {
    /// All datasets, by name.
    pub async fn datasets(&self) -> Result<Vec<Dataset>> {
        const SQL: &str = "SELECT d.name, MAX(v.version), d.created_at, MAX(v.created_at)
            FROM dataset d JOIN dataset_version v ON v.dataset_id = d.id
            GROUP BY d.name, d.created_at ORDER BY d.name";
        let mut reader = self.reader().await?;
        let rows: Vec<(String, i64, i64, i64)> =
            on!(reader.conn(), c => sqlx::query_as(SQL).fetch_all(c).await)
                .map_err(self.ctx().fail("read datasets"))?;
        rows.into_iter()
            .map(|(name, latest, created_at, updated_at)| {
                Ok(Dataset {
                    name: parse_name(&name)?,
                    latest: latest as u64,
                    created_at: Timestamp::from_millis(created_at),
                    updated_at: Timestamp::from_millis(updated_at),
                })
            })
            .collect()
    }

    /// All versions of a dataset, newest first; empty if there is no such dataset.
    pub async fn dataset_versions(&self, name: &Name) -> Result<Vec<DatasetVersion>> {
        self.versions(name, None, i64::MAX).await
    }

    /// One version of a dataset, or its latest.
    pub async fn dataset_version(&self, name: &Name, version: Option<u64>) -> Result<Option<DatasetVersion>> {
        let version = match version.map(i64::try_from) {
            Some(Err(_)) => return Ok(None),
            Some(Ok(version)) => Some(version),
            None => None,
        };
        Ok(self.versions(name, version, 1).await?.pop())
    }

    /// The latest version of every dataset, by name.
    pub async fn latest_dataset_versions(&self) -> Result<Vec<DatasetVersion>> {
        const SQL: &str =
            "SELECT d.name, v.version, v.content, v.kind, v.bytes, v.files, v.row_count, v.schema,
                v.source, v.message, v.created_at, v.actor_kind, v.actor
            FROM dataset d JOIN dataset_version v ON v.dataset_id = d.id
            WHERE v.version = (SELECT MAX(w.version) FROM dataset_version w WHERE w.dataset_id = d.id)
            ORDER BY d.name";
        let mut reader = self.reader().await?;
        let rows: Vec<Row> = on!(reader.conn(), c => sqlx::query_as(SQL).fetch_all(c).await)
            .map_err(self.ctx().fail("read dataset versions"))?;
        rows.into_iter().map(from_row).collect()
    }

    async fn versions(&self, name: &Name, version: Option<i64>, limit: i64) -> Result<Vec<DatasetVersion>> {
        const SQL: &str =
            "SELECT d.name, v.version, v.content, v.kind, v.bytes, v.files, v.row_count, v.schema,
                v.source, v.message, v.created_at, v.actor_kind, v.actor
            FROM dataset d JOIN dataset_version v ON v.dataset_id = d.id
            WHERE d.name = $1 AND v.version = COALESCE($2, v.version) ORDER BY v.version DESC LIMIT $3";
        let mut reader = self.reader().await?;
        let rows: Vec<Row> = on!(reader.conn(), c => sqlx::query_as(SQL)
            .bind(name.as_str()).bind(version).bind(limit).fetch_all(c).await)
        .map_err(self.ctx().fail("read dataset versions"))?;
        rows.into_iter().map(from_row).collect()
    }
}

impl Tx {
    /// Adds a version, unless the dataset's latest version has the same content.
    pub async fn put_dataset_version(&mut self, new: &NewDatasetVersion) -> Result<PutVersion> {
        let ctx = Arc::clone(&self.transact.ctx);
        put(self.transact.conn(), new).await.map_err(ctx.fail("add a dataset version")).inspect(|put| {
            self.changed |= put.created;
        })
    }
}

async fn put(mut conn: Conn<'_>, new: &NewDatasetVersion) -> sqlx::Result<PutVersion> {
    const NAME: &str = "INSERT INTO dataset (name, created_at) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
    const LATEST: &str = "SELECT d.id, v.version, v.content
        FROM dataset d LEFT JOIN dataset_version v ON v.dataset_id = d.id
        WHERE d.name = $1 ORDER BY v.version DESC LIMIT 1";
    const INSERT: &str =
        "INSERT INTO dataset_version (dataset_id, version, content, kind, bytes, files, row_count,
            schema, source, message, created_at, actor_kind, actor)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
    let at = new.created_at.millis();
    let content = new.content.to_string();
    let (id, latest, held): (i64, Option<i64>, Option<String>) = on!(&mut conn, c => {
        sqlx::query(NAME).bind(new.dataset.as_str()).bind(at).execute(&mut **c).await?;
        sqlx::query_as(LATEST).bind(new.dataset.as_str()).fetch_one(&mut **c).await?
    });
    let latest = latest.unwrap_or(0);
    if held.as_ref() == Some(&content) {
        return Ok(PutVersion { version: latest as u64, created: false });
    }
    on!(conn, c => sqlx::query(INSERT)
        .bind(id).bind(latest + 1).bind(content).bind(&new.kind)
        .bind(new.bytes as i64).bind(new.files as i64).bind(new.rows.map(|rows| rows as i64))
        .bind(&new.schema).bind(&new.source).bind(&new.message).bind(at)
        .bind(actor_kind(new.actor.kind)).bind(&new.actor.name)
        .execute(c).await.map(|_| ()))?;
    Ok(PutVersion { version: latest as u64 + 1, created: true })
}
