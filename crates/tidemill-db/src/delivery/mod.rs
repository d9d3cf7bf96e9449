//! Delivery: releases, rollouts with everything that happened to them, environments, quarantine and freezes.
//!
//! Bodies, plans, states and inputs are JSON text whose meaning is the caller's. A rollout goes on by [`Tx::advance_rollout`] alone: input,
//! state and transitions are written together, and only on top of the state that the caller decided on.

mod quarantine;
mod rollouts;
mod standing;

use tidemill_core::{Actor, Digest, Timestamp};

pub use quarantine::{Quarantine, QuarantineWord};
pub use rollouts::{
    Advance, Approval, GateResult, NewRollout, Rollout, RolloutFilter, RolloutInput, RolloutTransition,
};
pub use standing::{Environment, Freeze};

use crate::backend::{Conn, Context, on};
use crate::dialect::{self, Rows};
use crate::events::{actor_kind, parse_actor_kind};
use crate::{Db, Error, Result, Tx};

/// A release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Its name: the digest of everything that belongs to it.
    pub digest: Digest,
    /// The model.
    pub model: String,
    /// Its version.
    pub version: u64,
    /// Everything that belongs to it, as JSON text.
    pub body: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub author: Actor,
}

type Row = (String, String, i64, String, i64, String, String);

const COLUMNS: &str = "digest, model, version, body, created_at, actor_kind, actor";

fn from_row((digest, model, version, body, created_at, kind, actor): Row) -> Result<Release> {
    Ok(Release {
        digest: parse_digest("release", "digest", &digest)?,
        model,
        version: version as u64,
        body,
        created_at: Timestamp::from_millis(created_at),
        author: Actor { kind: parse_actor_kind("release", &kind)?, name: actor },
    })
}

fn parse_digest(table: &'static str, column: &'static str, text: &str) -> Result<Digest> {
    text.parse().map_err(|_| Error::value(table, column, text, "a digest"))
}

impl Db {
    /// The release of this digest.
    pub async fn release(&self, digest: Digest) -> Result<Option<Release>> {
        let mut reader = self.reader().await?;
        release(reader.conn(), self.ctx(), digest).await
    }

    /// The releases of these digests, as many as there are; at most 500 are looked for.
    pub async fn releases_of(&self, digests: &[Digest]) -> Result<Vec<Release>> {
        let digests = &digests[..digests.len().min(500)];
        if digests.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!("SELECT {COLUMNS} FROM release WHERE digest IN (SELECT r.wanted FROM {{rows}})");
        let texts: Vec<String> = digests.iter().map(ToString::to_string).collect();
        let wanted = Rows::new(texts.len()).padded().text("wanted", texts.iter().map(String::as_str));
        let mut reader = self.reader().await?;
        let rows: Vec<Row> = dialect::read_rows(reader.conn(), &sql, &wanted)
            .await
            .map_err(self.ctx().fail("read releases"))?;
        rows.into_iter().map(from_row).collect()
    }

    /// Releases of a model, or of all, newest first; those made before `before`.
    pub async fn releases(
        &self,
        model: Option<&str>,
        before: Option<(Timestamp, Digest)>,
        limit: usize,
    ) -> Result<Vec<Release>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM release WHERE ($1 = '' OR model = $1)
             AND (created_at < $2 OR (created_at = $2 AND digest < $3)) ORDER BY created_at DESC, digest DESC LIMIT $4"
        );
        let (at, digest) =
            before.map_or((i64::MAX, String::new()), |(at, digest)| (at.millis(), digest.to_string()));
        let mut reader = self.reader().await?;
        let rows: Vec<Row> = on!(reader.conn(), c => sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(model.unwrap_or_default()).bind(at).bind(digest)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX)).fetch_all(c).await)
        .map_err(self.ctx().fail("read releases"))?;
        rows.into_iter().map(from_row).collect()
    }
}

impl Tx {
    /// The release of this digest, as it stands in this transaction.
    pub async fn release(&mut self, digest: Digest) -> Result<Option<Release>> {
        let ctx = self.transact.ctx.clone();
        release(self.transact.conn(), &ctx, digest).await
    }

    /// Keeps a release; gives whether it is new. A release never changes, so one that is there stays as it is.
    pub async fn add_release(&mut self, release: &Release) -> Result<bool> {
        const SQL: &str = "INSERT INTO release (digest, model, version, body, created_at, actor_kind, actor)
            VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (digest) DO NOTHING";
        let ctx = self.transact.ctx.clone();
        let added = on!(self.transact.conn(), c => sqlx::query(SQL)
            .bind(release.digest.to_string()).bind(&release.model).bind(release.version as i64).bind(&release.body)
            .bind(release.created_at.millis()).bind(actor_kind(release.author.kind)).bind(&release.author.name)
            .execute(c).await.map(|done| done.rows_affected()))
        .map_err(ctx.fail("keep a release"))?;
        self.changed |= added > 0;
        Ok(added > 0)
    }
}

async fn release(conn: Conn<'_>, ctx: &Context, digest: Digest) -> Result<Option<Release>> {
    const SQL: &str =
        "SELECT digest, model, version, body, created_at, actor_kind, actor FROM release WHERE digest = $1";
    let row: Option<Row> =
        on!(conn, c => sqlx::query_as(SQL).bind(digest.to_string()).fetch_optional(c).await)
            .map_err(ctx.fail("read a release"))?;
    row.map(from_row).transpose()
}
