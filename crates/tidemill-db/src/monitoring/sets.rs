//! What is watched at each endpoint, and how far its log was read.

use tidemill_core::{Digest, Timestamp};

use crate::backend::on;
use crate::runs::parse;
use crate::{Db, Result, Tx};

/// What is watched at an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonitorSet {
    /// The endpoint.
    pub endpoint: String,
    /// Counts its changes, from 1.
    pub revision: u64,
    /// Digest of the declaration.
    pub digest: Digest,
    /// The declaration: JSON.
    pub body: String,
    /// When it was declared.
    pub declared_at: Timestamp,
}

/// How far the inference log of an endpoint was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Records that came before this time are in windows that are done.
    pub low: Timestamp,
    /// Whether records say when they happened.
    pub is_dated: bool,
    /// The latest time that a record said.
    pub watermark: Timestamp,
}

type Row = (String, i64, String, String, i64);

impl Db {
    /// What is watched, by endpoint.
    pub async fn monitor_sets(&self) -> Result<Vec<MonitorSet>> {
        const SQL: &str =
            "SELECT endpoint, revision, digest, body, declared_at FROM monitor_set ORDER BY endpoint";
        let mut reader = self.reader().await?;
        let rows: Vec<Row> = on!(reader.conn(), c => sqlx::query_as(SQL).fetch_all(c).await)
            .map_err(self.ctx().fail("read monitors"))?;
        rows.into_iter()
            .map(|(endpoint, revision, digest, body, at)| {
                let digest = parse("monitor_set", "digest", &digest, "a digest")?;
                let declared_at = Timestamp::from_millis(at);
                Ok(MonitorSet { endpoint, revision: revision as u64, digest, body, declared_at })
            })
            .collect()
    }

    /// How far the log of an endpoint was read.
    pub async fn monitor_stream(&self, endpoint: &str) -> Result<Option<Stream>> {
        const SQL: &str = "SELECT low_at, is_dated, watermark FROM monitor_stream WHERE endpoint = $1";
        let mut reader = self.reader().await?;
        let row: Option<(i64, i64, i64)> =
            on!(reader.conn(), c => sqlx::query_as(SQL).bind(endpoint).fetch_optional(c).await)
                .map_err(self.ctx().fail("read how far a log was read"))?;
        Ok(row.map(|(low, is_dated, watermark)| Stream {
            low: Timestamp::from_millis(low),
            is_dated: is_dated != 0,
            watermark: Timestamp::from_millis(watermark),
        }))
    }
}

impl Tx {
    /// Declares what is watched at an endpoint; gives the revision, or nothing where it is declared so already.
    pub async fn put_monitor_set(
        &mut self,
        endpoint: &str,
        digest: Digest,
        body: &str,
        at: Timestamp,
    ) -> Result<Option<u64>> {
        const SQL: &str = "INSERT INTO monitor_set (endpoint, revision, digest, body, declared_at)
            VALUES ($1, 1, $2, $3, $4) ON CONFLICT (endpoint) DO UPDATE SET revision = monitor_set.revision + 1,
            digest = excluded.digest, body = excluded.body, declared_at = excluded.declared_at
            WHERE monitor_set.digest <> excluded.digest RETURNING revision";
        let ctx = self.transact.ctx.clone();
        let revision: Option<i64> = on!(self.transact.conn(), c => sqlx::query_scalar(SQL)
            .bind(endpoint).bind(digest.to_string()).bind(body).bind(at.millis()).fetch_optional(c).await)
        .map_err(ctx.fail("declare monitors"))?;
        self.changed |= revision.is_some();
        Ok(revision.map(|revision| revision as u64))
    }

    /// Notes how far the log of an endpoint was read. This follows from the log and needs no event.
    pub async fn put_monitor_stream(&mut self, endpoint: &str, stream: Stream) -> Result<()> {
        const SQL: &str = "INSERT INTO monitor_stream (endpoint, low_at, is_dated, watermark)
            VALUES ($1, $2, $3, $4) ON CONFLICT (endpoint) DO UPDATE SET low_at = excluded.low_at,
            is_dated = excluded.is_dated, watermark = excluded.watermark";
        let ctx = self.transact.ctx.clone();
        on!(self.transact.conn(), c => sqlx::query(SQL)
            .bind(endpoint).bind(stream.low.millis()).bind(i64::from(stream.is_dated))
            .bind(stream.watermark.millis()).execute(c).await.map(drop))
        .map_err(ctx.fail("note how far a log was read"))
    }
}
