//! The webhooks themselves.

use std::collections::HashMap;
use std::fmt;

use tidemill_core::Timestamp;

use crate::backend::{Conn, Context, on};
use crate::dialect::{self, Rows};
use crate::{Db, Result, Tx};

/// A URL that is told of changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Its identifier.
    pub id: String,
    /// Its name, not unique.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Where deliveries go.
    pub url: String,
    /// Whether it is told anything at present.
    pub active: bool,
    /// What it is told of; never empty.
    pub events: Vec<WebhookEvent>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// A kind of change: an action on an entity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WebhookEvent {
    /// For example `model_version`.
    pub entity: String,
    /// For example `created`.
    pub action: String,
}

/// What deliveries are signed with. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for signing.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A webhook that is about to be stored. Fields as in [`Webhook`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of `Webhook`")]
pub struct NewWebhook {
    pub id: String,
    pub name: String,
    pub description: Option<String>,
    pub url: String,
    pub secret: Option<Secret>,
    pub active: bool,
    pub events: Vec<WebhookEvent>,
    pub created_at: Timestamp,
}

/// What is changed of a webhook; what is `None` stays. Fields as in [`Webhook`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of `Webhook`")]
pub struct WebhookPatch {
    pub name: Option<String>,
    pub description: Option<String>,
    pub url: Option<String>,
    pub secret: Option<Secret>,
    pub active: Option<bool>,
    pub events: Option<Vec<WebhookEvent>>,
}

type Row = (i64, String, String, Option<String>, String, String, i64, i64);

const ACTIVE: &str = "ACTIVE";
const DISABLED: &str = "DISABLED";

const fn word(active: bool) -> &'static str {
    if active { ACTIVE } else { DISABLED }
}

impl Db {
    /// The webhook of this id.
    pub async fn webhook(&self, id: &str) -> Result<Option<Webhook>> {
        let mut tx = self.snapshot().await?;
        let ctx = tx.ctx.clone();
        webhook(tx.conn(), &ctx, id).await
    }

    /// Webhooks, the newest first.
    pub async fn webhooks(&self, offset: u64, limit: usize) -> Result<Vec<Webhook>> {
        const SQL: &str =
            "SELECT id, uuid, name, description, url, status, created_at, updated_at FROM webhook
            ORDER BY created_at DESC, id DESC LIMIT $1 OFFSET $2";
        let mut tx = self.snapshot().await?;
        let ctx = tx.ctx.clone();
        let rows: Vec<Row> = on!(tx.conn(), c => sqlx::query_as(SQL)
            .bind(limit as i64).bind(i64::try_from(offset).unwrap_or(i64::MAX)).fetch_all(c).await)
        .map_err(ctx.fail("read webhooks"))?;
        with_events(tx.conn(), &ctx, rows).await
    }

    /// What deliveries of this webhook are signed with.
    pub async fn webhook_secret(&self, id: &str) -> Result<Option<Secret>> {
        const SQL: &str = "SELECT secret FROM webhook WHERE uuid = $1";
        let mut reader = self.reader().await?;
        let found: Option<Option<String>> =
            on!(reader.conn(), c => sqlx::query_scalar(SQL).bind(id).fetch_optional(c).await)
                .map_err(self.ctx().fail("read a webhook"))?;
        Ok(found.flatten().map(Secret))
    }
}

impl Tx {
    /// Makes a webhook.
    pub async fn create_webhook(&mut self, new: &NewWebhook) -> Result<()> {
        const SQL: &str = "INSERT INTO webhook
                (uuid, name, description, url, secret, status, created_at, updated_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $7) RETURNING id";
        let ctx = self.transact.ctx.clone();
        let secret = new.secret.as_ref().map(Secret::reveal);
        let id: i64 = on!(self.transact.conn(), c => sqlx::query_scalar(SQL)
            .bind(&new.id).bind(&new.name).bind(&new.description).bind(&new.url).bind(secret)
            .bind(word(new.active)).bind(new.created_at.millis()).fetch_one(c).await)
        .map_err(ctx.fail("create a webhook"))?;
        self.changed = true;
        put_events(self.transact.conn(), id, &new.events).await.map_err(ctx.fail("create a webhook"))
    }

    /// Changes a webhook; `false` if it is not there.
    pub async fn update_webhook(&mut self, id: &str, patch: &WebhookPatch, at: Timestamp) -> Result<bool> {
        const SQL: &str = "UPDATE webhook SET name = COALESCE($1, name),
                description = COALESCE($2, description), url = COALESCE($3, url), secret = COALESCE($4, secret),
                status = COALESCE($5, status), updated_at = $6 WHERE uuid = $7 RETURNING id";
        const EVENTS: &str = "DELETE FROM webhook_event WHERE webhook_id = $1";
        let ctx = self.transact.ctx.clone();
        let fail = || ctx.fail("change a webhook");
        let secret = patch.secret.as_ref().map(Secret::reveal);
        let row: Option<i64> = on!(self.transact.conn(), c => sqlx::query_scalar(SQL)
            .bind(&patch.name).bind(&patch.description).bind(&patch.url).bind(secret)
            .bind(patch.active.map(word)).bind(at.millis()).bind(id).fetch_optional(c).await)
        .map_err(fail())?;
        let Some(row) = row else { return Ok(false) };
        self.changed = true;
        if let Some(events) = &patch.events {
            on!(self.transact.conn(), c => sqlx::query(EVENTS).bind(row).execute(c).await.map(drop))
                .map_err(fail())?;
            put_events(self.transact.conn(), row, events).await.map_err(fail())?;
        }
        Ok(true)
    }

    /// Deletes a webhook with what was still to be delivered to it; `false` if it is not there.
    pub async fn delete_webhook(&mut self, id: &str) -> Result<bool> {
        const SQL: &str = "DELETE FROM webhook WHERE uuid = $1";
        let ctx = self.transact.ctx.clone();
        let done = on!(self.transact.conn(), c => sqlx::query(SQL)
            .bind(id).execute(c).await.map(|done| done.rows_affected()))
        .map_err(ctx.fail("delete a webhook"))?;
        self.changed |= done > 0;
        Ok(done > 0)
    }

    /// The webhook of this id, as it stands in this transaction.
    pub async fn webhook(&mut self, id: &str) -> Result<Option<Webhook>> {
        let ctx = self.transact.ctx.clone();
        webhook(self.transact.conn(), &ctx, id).await
    }
}

async fn webhook(mut conn: Conn<'_>, ctx: &Context, id: &str) -> Result<Option<Webhook>> {
    const SQL: &str = "SELECT id, uuid, name, description, url, status, created_at, updated_at FROM webhook
        WHERE uuid = $1";
    let row: Option<Row> = on!(conn.reborrow(), c => sqlx::query_as(SQL).bind(id).fetch_optional(c).await)
        .map_err(ctx.fail("read a webhook"))?;
    Ok(with_events(conn, ctx, row.into_iter().collect()).await?.pop())
}

async fn with_events(conn: Conn<'_>, ctx: &Context, rows: Vec<Row>) -> Result<Vec<Webhook>> {
    const SQL: &str = "SELECT e.webhook_id, e.entity, e.action
        FROM {rows} JOIN webhook_event e ON e.webhook_id = r.id ORDER BY e.entity, e.action";
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let ids = Rows::new(rows.len()).int("id", rows.iter().map(|row| row.0));
    let events: Vec<(i64, String, String)> =
        dialect::read_rows(conn, SQL, &ids).await.map_err(ctx.fail("read webhooks"))?;
    let mut by_webhook: HashMap<i64, Vec<WebhookEvent>> = HashMap::new();
    for (id, entity, action) in events {
        by_webhook.entry(id).or_default().push(WebhookEvent { entity, action });
    }
    Ok(rows
        .into_iter()
        .map(|(row, id, name, description, url, status, created_at, updated_at)| Webhook {
            id,
            name,
            description,
            url,
            active: status == ACTIVE,
            events: by_webhook.remove(&row).unwrap_or_default(),
            created_at: Timestamp::from_millis(created_at),
            updated_at: Timestamp::from_millis(updated_at),
        })
        .collect())
}

async fn put_events(conn: Conn<'_>, id: i64, events: &[WebhookEvent]) -> sqlx::Result<()> {
    const SQL: &str = "INSERT INTO webhook_event ({columns}) SELECT {columns} FROM {rows} WHERE TRUE
        ON CONFLICT (webhook_id, entity, action) DO NOTHING";
    let rows = Rows::new(events.len())
        .int("webhook_id", events.iter().map(|_| id))
        .text("entity", events.iter().map(|event| event.entity.as_str()))
        .text("action", events.iter().map(|event| event.action.as_str()));
    dialect::write_rows(conn, SQL, &rows).await.map(drop)
}
