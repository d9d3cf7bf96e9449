//! Endpoints of serving and every declaration that they ever had.
//!
//! A declaration is JSON text whose meaning is the caller's; its changes are told by events, which the caller commits.

use tidemill_core::{Actor, Timestamp};

use crate::backend::{Conn, Context, on};
use crate::events::{actor_kind, parse_actor_kind};
use crate::{Db, Result, Tx};

/// An endpoint as it is declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its name.
    pub name: String,
    /// Counts its changes, from 1; goes on where an endpoint of this name was deleted before.
    pub revision: u64,
    /// Its declaration, as JSON text.
    pub spec: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// A declaration that an endpoint has or had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointRevision {
    /// Its number.
    pub revision: u64,
    /// The declaration, as JSON text; none where the endpoint was deleted.
    pub spec: Option<String>,
    /// When it was made.
    pub at: Timestamp,
    /// Who made it.
    pub actor: Actor,
}

type Row = (String, i64, String, i64, i64);

fn from_row((name, revision, spec, created_at, updated_at): Row) -> Endpoint {
    Endpoint {
        name,
        revision: revision as u64,
        spec,
        created_at: Timestamp::from_millis(created_at),
        updated_at: Timestamp::from_millis(updated_at),
    }
}

impl Db {
    /// The endpoint of this name.
    pub async fn endpoint(&self, name: &str) -> Result<Option<Endpoint>> {
        let mut reader = self.reader().await?;
        endpoint(reader.conn(), self.ctx(), name).await
    }

    /// Endpoints by name, those after `after`.
    pub async fn endpoints_after(&self, after: Option<&str>, limit: usize) -> Result<Vec<Endpoint>> {
        const SQL: &str = "SELECT name, revision, spec, created_at, updated_at FROM endpoint
            WHERE name > $1 ORDER BY name LIMIT $2";
        let mut reader = self.reader().await?;
        let rows: Vec<Row> = on!(reader.conn(), c => sqlx::query_as(SQL)
            .bind(after.unwrap_or_default()).bind(i64::try_from(limit).unwrap_or(i64::MAX)).fetch_all(c).await)
        .map_err(self.ctx().fail("read endpoints"))?;
        Ok(rows.into_iter().map(from_row).collect())
    }

    /// The declarations of a name, newest first, those before `before`. Also those of an endpoint that is deleted.
    pub async fn endpoint_history(
        &self,
        name: &str,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<EndpointRevision>> {
        const SQL: &str = "SELECT revision, spec, at, actor_kind, actor FROM endpoint_revision
            WHERE endpoint = $1 AND revision < $2 ORDER BY revision DESC LIMIT $3";
        let before = before.and_then(|before| i64::try_from(before).ok()).unwrap_or(i64::MAX);
        let mut reader = self.reader().await?;
        let rows: Vec<(i64, Option<String>, i64, String, String)> =
            on!(reader.conn(), c => sqlx::query_as(SQL)
            .bind(name).bind(before).bind(i64::try_from(limit).unwrap_or(i64::MAX)).fetch_all(c).await)
            .map_err(self.ctx().fail("read the history of an endpoint"))?;
        rows.into_iter()
            .map(|(revision, spec, at, kind, actor)| {
                Ok(EndpointRevision {
                    revision: revision as u64,
                    spec,
                    at: Timestamp::from_millis(at),
                    actor: Actor { kind: parse_actor_kind("endpoint_revision", &kind)?, name: actor },
                })
            })
            .collect()
    }
}

impl Tx {
    /// The endpoint of this name, as it stands in this transaction.
    pub async fn endpoint(&mut self, name: &str) -> Result<Option<Endpoint>> {
        let ctx = self.transact.ctx.clone();
        endpoint(self.transact.conn(), &ctx, name).await
    }

    /// Declares an endpoint, made where there is none; gives the revision.
    pub async fn put_endpoint(
        &mut self,
        name: &str,
        spec: &str,
        actor: &Actor,
        at: Timestamp,
    ) -> Result<u64> {
        const SQL: &str = "INSERT INTO endpoint (name, revision, spec, created_at, updated_at)
            VALUES ($1, $2, $3, $4, $4) ON CONFLICT (name) DO UPDATE SET
            revision = excluded.revision, spec = excluded.spec, updated_at = excluded.updated_at";
        let revision = self.add_revision(name, Some(spec), actor, at).await?;
        let ctx = self.transact.ctx.clone();
        on!(self.transact.conn(), c => sqlx::query(SQL)
            .bind(name).bind(revision as i64).bind(spec).bind(at.millis()).execute(c).await.map(drop))
        .map_err(ctx.fail("declare an endpoint"))?;
        Ok(revision)
    }

    /// Deletes an endpoint; gives the revision without a declaration that this is, or `None` if it is not there.
    pub async fn delete_endpoint(&mut self, name: &str, actor: &Actor, at: Timestamp) -> Result<Option<u64>> {
        const SQL: &str = "DELETE FROM endpoint WHERE name = $1";
        let ctx = self.transact.ctx.clone();
        let gone = on!(self.transact.conn(), c => sqlx::query(SQL)
            .bind(name).execute(c).await.map(|done| done.rows_affected()))
        .map_err(ctx.fail("delete an endpoint"))?;
        if gone == 0 {
            return Ok(None);
        }
        self.add_revision(name, None, actor, at).await.map(Some)
    }

    async fn add_revision(
        &mut self,
        name: &str,
        spec: Option<&str>,
        actor: &Actor,
        at: Timestamp,
    ) -> Result<u64> {
        const SQL: &str = "INSERT INTO endpoint_revision (endpoint, revision, spec, at, actor_kind, actor)
            SELECT $1, COALESCE(MAX(revision) + 1, 1), $2, $3, $4, $5 FROM endpoint_revision WHERE endpoint = $1
            RETURNING revision";
        let ctx = self.transact.ctx.clone();
        let revision: i64 = on!(self.transact.conn(), c => sqlx::query_scalar(SQL)
            .bind(name).bind(spec).bind(at.millis()).bind(actor_kind(actor.kind)).bind(&actor.name)
            .fetch_one(c).await)
        .map_err(ctx.fail("note a revision of an endpoint"))?;
        self.changed = true;
        Ok(revision as u64)
    }
}

async fn endpoint(conn: Conn<'_>, ctx: &Context, name: &str) -> Result<Option<Endpoint>> {
    const SQL: &str = "SELECT name, revision, spec, created_at, updated_at FROM endpoint WHERE name = $1";
    let row: Option<Row> = on!(conn, c => sqlx::query_as(SQL).bind(name).fetch_optional(c).await)
        .map_err(ctx.fail("read an endpoint"))?;
    Ok(row.map(from_row))
}
