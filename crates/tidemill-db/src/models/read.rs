//! Reading models and versions: one, or a page of them with a fixed number of statements.

use std::collections::HashMap;

use tidemill_core::Timestamp;

use super::types::{Alias, DELETED, ModelVersion, RegisteredModel, VersionStage};
use crate::backend::{Conn, Context, on};
use crate::dialect::{self, Rows};
use crate::tracking::KeyValue;
use crate::{Db, Error, Result, Tx};

impl Db {
    /// The model of this name.
    pub async fn registered_model(&self, name: &str) -> Result<Option<RegisteredModel>> {
        let mut tx = self.snapshot().await?;
        let ctx = tx.ctx.clone();
        registered_model(tx.conn(), &ctx, name).await
    }

    /// This version of the model, unless it is deleted.
    pub async fn model_version(&self, model: &str, version: u64) -> Result<Option<ModelVersion>> {
        let mut tx = self.snapshot().await?;
        let ctx = tx.ctx.clone();
        model_version(tx.conn(), &ctx, model, version).await
    }

    /// The numbers that versions of a model have or had: those of deleted ones are not given again.
    pub async fn version_numbers(&self, model: &str) -> Result<Vec<u64>> {
        const SQL: &str = "SELECT v.version FROM model_version v JOIN registered_model m ON m.id = v.model_id
            WHERE m.name = $1 ORDER BY v.version";
        let mut reader = self.reader().await?;
        let numbers: Vec<i64> =
            on!(reader.conn(), c => sqlx::query_scalar(SQL).bind(model).fetch_all(c).await)
                .map_err(self.ctx().fail("read versions"))?;
        Ok(numbers.into_iter().map(|number| number as u64).collect())
    }

    /// Models whose newest version came of a run, each with the name of that run's experiment, by name; at most `limit`.
    pub async fn models_by_experiment(&self, limit: usize) -> Result<Vec<(String, String)>> {
        const SQL: &str = "SELECT m.name, e.name FROM registered_model m
            JOIN model_version v ON v.model_id = m.id AND v.version = (SELECT MAX(o.version) FROM model_version o
                WHERE o.model_id = m.id AND o.stage <> 'Deleted_Internal')
            JOIN run r ON r.uuid = v.run_uuid JOIN experiment e ON e.id = r.experiment_id
            ORDER BY m.name LIMIT $1";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut reader = self.reader().await?;
        on!(reader.conn(), c => sqlx::query_as(SQL).bind(limit).fetch_all(c).await)
            .map_err(self.ctx().fail("read which experiments made models"))
    }

    /// The version that an alias points at.
    pub async fn aliased_version(&self, model: &str, alias: &str) -> Result<Option<ModelVersion>> {
        const SQL: &str = "SELECT a.version FROM model_alias a JOIN registered_model m ON m.id = a.model_id
            WHERE m.name = $1 AND a.alias = $2";
        let mut tx = self.snapshot().await?;
        let ctx = tx.ctx.clone();
        let found: Option<i64> =
            on!(tx.conn(), c => sqlx::query_scalar(SQL).bind(model).bind(alias).fetch_optional(c).await)
                .map_err(ctx.fail("read an alias"))?;
        match found {
            Some(version) => model_version(tx.conn(), &ctx, model, version as u64).await,
            None => Ok(None),
        }
    }
}

impl Tx {
    /// The model of this name, as it stands in this transaction.
    pub async fn registered_model(&mut self, name: &str) -> Result<Option<RegisteredModel>> {
        let ctx = self.transact.ctx.clone();
        registered_model(self.transact.conn(), &ctx, name).await
    }

    /// The value of a tag of a model.
    pub async fn model_tag(&mut self, name: &str, key: &str) -> Result<Option<String>> {
        const SQL: &str =
            "SELECT t.value FROM registered_model_tag t JOIN registered_model m ON m.id = t.model_id
            WHERE m.name = $1 AND t.key = $2";
        let ctx = self.transact.ctx.clone();
        on!(self.transact.conn(), c => sqlx::query_scalar(SQL).bind(name).bind(key).fetch_optional(c).await)
            .map_err(ctx.fail("read a tag"))
    }

    /// This version of the model, as it stands in this transaction, unless it is deleted.
    pub async fn model_version(&mut self, model: &str, version: u64) -> Result<Option<ModelVersion>> {
        let ctx = self.transact.ctx.clone();
        model_version(self.transact.conn(), &ctx, model, version).await
    }
}

type ModelRow = (i64, String, Option<String>, i64, i64);

pub(super) type VersionRow = (
    i64,
    i64,
    i64,
    String,
    Option<String>,
    Option<String>,
    String,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    String,
    Option<String>,
    i64,
    i64,
);

/// The columns of a [`VersionRow`].
macro_rules! version_columns {
    () => {
        "v.id, v.model_id, v.version, v.stage, v.description, v.user_name, v.source, v.storage_location, v.run_uuid,
            v.run_link, v.logged_model, v.content, v.status, v.status_message, v.created_at, v.updated_at"
    };
}

async fn registered_model(mut conn: Conn<'_>, ctx: &Context, name: &str) -> Result<Option<RegisteredModel>> {
    const SQL: &str =
        "SELECT id, name, description, created_at, updated_at FROM registered_model WHERE name = $1";
    let row: Option<ModelRow> =
        on!(conn.reborrow(), c => sqlx::query_as(SQL).bind(name).fetch_optional(c).await)
            .map_err(ctx.fail("read a model"))?;
    let rows = row.into_iter().collect();
    Ok(complete_models(conn, ctx, rows).await?.pop())
}

async fn model_version(
    mut conn: Conn<'_>,
    ctx: &Context,
    model: &str,
    version: u64,
) -> Result<Option<ModelVersion>> {
    const SQL: &str = concat!(
        "SELECT ",
        version_columns!(),
        " FROM model_version v JOIN registered_model m ON m.id = v.model_id
          WHERE m.name = $1 AND v.version = $2 AND v.stage <> $3"
    );
    let Ok(number) = i64::try_from(version) else { return Ok(None) };
    let row: Option<VersionRow> = on!(conn.reborrow(), c => sqlx::query_as(SQL)
        .bind(model).bind(number).bind(DELETED).fetch_optional(c).await)
    .map_err(ctx.fail("read a version"))?;
    let Some(row) = row else { return Ok(None) };
    let names = HashMap::from([(row.1, model.to_owned())]);
    Ok(complete_versions(conn, ctx, vec![row], &names).await?.pop())
}

/// The models of these numbers, in this order.
pub(crate) async fn models_by_id(
    mut conn: Conn<'_>,
    ctx: &Context,
    ids: &[i64],
) -> Result<Vec<RegisteredModel>> {
    const SQL: &str = "SELECT m.id, m.name, m.description, m.created_at, m.updated_at
        FROM {rows} JOIN registered_model m ON m.id = r.id";
    let wanted = Rows::new(ids.len()).int("id", ids.iter().copied());
    let rows: Vec<ModelRow> =
        dialect::read_rows(conn.reborrow(), SQL, &wanted).await.map_err(ctx.fail("read models"))?;
    let mut found: HashMap<i64, ModelRow> = rows.into_iter().map(|row| (row.0, row)).collect();
    let rows = ids.iter().filter_map(|id| found.remove(id)).collect();
    complete_models(conn, ctx, rows).await
}

/// The versions of these numbers (of rows, not of versions), in this order.
pub(crate) async fn versions_by_id(
    mut conn: Conn<'_>,
    ctx: &Context,
    ids: &[i64],
) -> Result<Vec<ModelVersion>> {
    const SQL: &str =
        concat!("SELECT ", version_columns!(), " FROM {rows} JOIN model_version v ON v.id = r.id");
    const NAMES: &str = "SELECT m.id, m.name FROM {rows} JOIN registered_model m ON m.id = r.id";
    let fail = || ctx.fail("read versions");
    let wanted = Rows::new(ids.len()).int("id", ids.iter().copied());
    let rows: Vec<VersionRow> = dialect::read_rows(conn.reborrow(), SQL, &wanted).await.map_err(fail())?;
    let mut models: Vec<i64> = rows.iter().map(|row| row.1).collect();
    models.sort_unstable();
    models.dedup();
    let wanted = Rows::new(models.len()).int("id", models.iter().copied());
    let names: Vec<(i64, String)> =
        dialect::read_rows(conn.reborrow(), NAMES, &wanted).await.map_err(fail())?;
    let names = names.into_iter().collect();
    let mut found: HashMap<i64, VersionRow> = rows.into_iter().map(|row| (row.0, row)).collect();
    let rows = ids.iter().filter_map(|id| found.remove(id)).collect();
    complete_versions(conn, ctx, rows, &names).await
}

async fn complete_models(
    mut conn: Conn<'_>,
    ctx: &Context,
    rows: Vec<ModelRow>,
) -> Result<Vec<RegisteredModel>> {
    const TAGS: &str = "SELECT t.model_id, t.key, t.value
        FROM {rows} JOIN registered_model_tag t ON t.model_id = r.id ORDER BY t.key";
    const ALIASES: &str = "SELECT a.model_id, a.alias, a.version
        FROM {rows} JOIN model_alias a ON a.model_id = r.id ORDER BY a.alias";
    const LATEST: &str = concat!(
        "SELECT ",
        version_columns!(),
        " FROM {rows} JOIN model_version v ON v.model_id = r.id
          WHERE v.stage <> 'Deleted_Internal' AND NOT EXISTS (SELECT 1 FROM model_version w
            WHERE w.model_id = v.model_id AND w.stage = v.stage AND w.version > v.version)
          ORDER BY v.version"
    );
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let fail = || ctx.fail("read models");
    let ids = Rows::new(rows.len()).int("id", rows.iter().map(|row| row.0));
    let tags: Vec<(i64, String, String)> =
        dialect::read_rows(conn.reborrow(), TAGS, &ids).await.map_err(fail())?;
    let aliases: Vec<(i64, String, i64)> =
        dialect::read_rows(conn.reborrow(), ALIASES, &ids).await.map_err(fail())?;
    let latest: Vec<VersionRow> = dialect::read_rows(conn.reborrow(), LATEST, &ids).await.map_err(fail())?;
    let names = rows.iter().map(|row| (row.0, row.1.clone())).collect();
    let owners: Vec<i64> = latest.iter().map(|row| row.1).collect();
    let latest = complete_versions(conn, ctx, latest, &names).await?;
    let mut models: Vec<RegisteredModel> = Vec::with_capacity(rows.len());
    let mut places = HashMap::with_capacity(rows.len());
    for (id, name, description, created_at, updated_at) in rows {
        places.insert(id, models.len());
        models.push(RegisteredModel {
            name,
            description,
            created_at: Timestamp::from_millis(created_at),
            updated_at: Timestamp::from_millis(updated_at),
            tags: Vec::new(),
            aliases: Vec::new(),
            latest: Vec::new(),
        });
    }
    for (id, key, value) in tags {
        models[places[&id]].tags.push(KeyValue { key, value });
    }
    for (id, alias, version) in aliases {
        models[places[&id]].aliases.push(Alias { alias, version: version as u64 });
    }
    for (id, version) in owners.into_iter().zip(latest) {
        models[places[&id]].latest.push(version);
    }
    Ok(models)
}

/// Adds tags and aliases to versions, whose models have these names.
async fn complete_versions(
    mut conn: Conn<'_>,
    ctx: &Context,
    rows: Vec<VersionRow>,
    names: &HashMap<i64, String>,
) -> Result<Vec<ModelVersion>> {
    const TAGS: &str = "SELECT t.version_id, t.key, t.value
        FROM {rows} JOIN model_version_tag t ON t.version_id = r.id ORDER BY t.key";
    const ALIASES: &str = "SELECT r.id, a.alias FROM {rows}
        JOIN model_version v ON v.id = r.id
        JOIN model_alias a ON a.model_id = v.model_id AND a.version = v.version ORDER BY a.alias";
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let fail = || ctx.fail("read versions");
    let ids = Rows::new(rows.len()).int("id", rows.iter().map(|row| row.0));
    let tags: Vec<(i64, String, String)> =
        dialect::read_rows(conn.reborrow(), TAGS, &ids).await.map_err(fail())?;
    let aliases: Vec<(i64, String)> = dialect::read_rows(conn, ALIASES, &ids).await.map_err(fail())?;
    let places: HashMap<i64, usize> = rows.iter().enumerate().map(|(at, row)| (row.0, at)).collect();
    let mut versions = rows
        .into_iter()
        .map(|row| {
            let name = names.get(&row.1).cloned().unwrap_or_default();
            version_from_row(row, name)
        })
        .collect::<Result<Vec<_>>>()?;
    for (id, key, value) in tags {
        versions[places[&id]].tags.push(KeyValue { key, value });
    }
    for (id, alias) in aliases {
        versions[places[&id]].aliases.push(alias);
    }
    Ok(versions)
}

fn version_from_row(row: VersionRow, model: String) -> Result<ModelVersion> {
    const TABLE: &str = "model_version";
    let (_, _, version, stage, description, user, source, storage_location, run, run_link, logged_model, ..) =
        row;
    let (content, status, status_message, created_at, updated_at) = (row.11, row.12, row.13, row.14, row.15);
    let content = content
        .map(|text| text.parse().map_err(|_| Error::value(TABLE, "content", &text, "a digest")))
        .transpose()?;
    let stage =
        VersionStage::from_word(&stage).ok_or_else(|| Error::value(TABLE, "stage", &stage, "a stage"))?;
    Ok(ModelVersion {
        model,
        version: version as u64,
        stage,
        description,
        user,
        source,
        storage_location,
        run,
        run_link,
        logged_model,
        content,
        status,
        status_message,
        created_at: Timestamp::from_millis(created_at),
        updated_at: Timestamp::from_millis(updated_at),
        tags: Vec::new(),
        aliases: Vec::new(),
    })
}
