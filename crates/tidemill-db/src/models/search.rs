//! Searches over registered models and over versions.

use super::read::{models_by_id, versions_by_id};
use super::types::{ModelVersion, RegisteredModel};
use crate::backend::Transact;
use crate::search::parts::Parts;
use crate::search::{Column, Condition, Field, Op, Operand, OrderBy, Sql};
use crate::tracking::KeyValue;
use crate::{Db, Result};

/// What is searched for, and which page of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelQuery {
    /// All must hold.
    pub conditions: Vec<Condition>,
    /// What has this tag with this value is left out.
    pub without: Option<KeyValue>,
    /// Before the order that tells all apart: the name, then the greatest version.
    pub order: Vec<OrderBy>,
    /// How many to skip.
    pub offset: u64,
    /// How many at most.
    pub limit: usize,
}

impl Db {
    /// Registered models that meet the conditions.
    pub async fn search_registered_models(&self, query: &ModelQuery) -> Result<Vec<RegisteredModel>> {
        let mut tx = self.snapshot().await?;
        let ctx = tx.ctx.clone();
        let mut sql = Sql::new(&tx.conn());
        sql.push("SELECT m.id");
        push_models(&mut sql, query);
        push_order(&mut sql, query, model_column, &["m.name"]);
        let rows: Vec<(i64,)> = sql.fetch(tx.conn()).await.map_err(ctx.fail("search models"))?;
        let ids: Vec<i64> = rows.into_iter().map(|(id,)| id).collect();
        models_by_id(tx.conn(), &ctx, &ids).await
    }

    /// How many registered models meet the conditions, counted up to `limit`; order and page do not matter.
    pub async fn count_registered_models(&self, query: &ModelQuery, limit: u64) -> Result<u64> {
        let mut reader = self.reader().await?;
        let mut sql = Sql::new(&reader.conn());
        sql.push("SELECT COUNT(*) FROM (SELECT 1");
        push_models(&mut sql, query);
        sql.push(" LIMIT ").int(i64::try_from(limit).unwrap_or(i64::MAX)).push(") n");
        let rows: Vec<(i64,)> = sql.fetch(reader.conn()).await.map_err(self.ctx().fail("count models"))?;
        Ok(rows.first().map_or(0, |(count,)| *count as u64))
    }

    /// Versions that meet the conditions and are not deleted.
    pub async fn search_model_versions(&self, query: &ModelQuery) -> Result<Vec<ModelVersion>> {
        let mut tx = self.snapshot().await?;
        let ctx = tx.ctx.clone();
        let ids = version_rows(&mut tx, query).await?;
        versions_by_id(tx.conn(), &ctx, &ids).await
    }

    /// As [`Self::search_model_versions`], to be read a part at a time.
    pub async fn find_model_versions(&self, query: &ModelQuery) -> Result<FoundVersions> {
        let query = ModelQuery { limit: query.limit + 1, ..query.clone() };
        let mut tx = self.snapshot().await?;
        let ctx = tx.ctx.clone();
        let mut ids = version_rows(&mut tx, &query).await?;
        let more = ids.len() == query.limit;
        ids.truncate(query.limit - 1);
        let read = |ids: Vec<i64>| async move { versions_by_id(tx.conn(), &ctx, &ids).await };
        let parts = Parts::new(ids, PART, read).await?;
        Ok(FoundVersions { db: self.clone(), parts, more })
    }
}

/// Versions that are read at once of a page that is read in parts.
const PART: usize = 1000;

/// Versions that a search found, read a part at a time, so that a long page is never in memory as a whole.
pub struct FoundVersions {
    db: Db,
    parts: Parts<ModelVersion>,
    /// Whether there are more than the page holds.
    pub more: bool,
}

impl FoundVersions {
    /// The next versions in order; none at the end. One that was removed since the search is left out.
    pub async fn part(&mut self) -> Result<Vec<ModelVersion>> {
        let db = &self.db;
        let read = |ids: Vec<i64>| async move {
            let mut tx = db.snapshot().await?;
            versions_by_id(tx.conn(), db.ctx(), &ids).await
        };
        self.parts.next(read).await
    }
}

/// The rows of the versions that a search finds.
async fn version_rows(tx: &mut Transact, query: &ModelQuery) -> Result<Vec<i64>> {
    let ctx = tx.ctx.clone();
    let mut sql = Sql::new(&tx.conn());
    sql.push("SELECT v.id FROM model_version v JOIN registered_model m ON m.id = v.model_id");
    sql.push(" WHERE v.stage <> 'Deleted_Internal'");
    for condition in &query.conditions {
        sql.push(" AND ");
        push_version(&mut sql, condition);
    }
    if let Some(tag) = &query.without {
        push_without(&mut sql, "model_version_tag c WHERE c.version_id", "v.id", tag);
    }
    push_order(&mut sql, query, version_column, &["m.name", "v.version"]);
    let rows: Vec<(i64,)> = sql.fetch(tx.conn()).await.map_err(ctx.fail("search versions"))?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Where registered models are, and the conditions that they must meet.
fn push_models(sql: &mut Sql, query: &ModelQuery) {
    sql.push(" FROM registered_model m WHERE TRUE");
    for condition in &query.conditions {
        sql.push(" AND ");
        push_model(sql, condition);
    }
    if let Some(tag) = &query.without {
        push_without(sql, "registered_model_tag c WHERE c.model_id", "m.id", tag);
    }
}

fn push_model(sql: &mut Sql, Condition { field, op, value }: &Condition) {
    match (field, value) {
        (Field::Attribute(name), Operand::Text(_) | Operand::List(_)) if name == "name" => {
            sql.text_is("m.name", *op, value);
        }
        (Field::Attribute(name), Operand::Number(number)) => match model_column(name) {
            Some(column) => {
                sql.int_is(column, *op, *number);
            }
            None => never(sql),
        },
        (Field::Tag(key), _) => {
            sql.pair_is("registered_model_tag c WHERE c.model_id", "m.id", key, &[(*op, value)]);
        }
        _ => never(sql),
    }
}

fn push_version(sql: &mut Sql, Condition { field, op, value }: &Condition) {
    match (field, value) {
        (Field::Attribute(name), Operand::Text(_) | Operand::List(_)) => {
            let column = match (name.as_str(), op, value) {
                ("name", _, _) => "m.name",
                ("source_path", _, _) => "v.source",
                // Only this one can use the index; clients know no difference between no run and an empty text.
                ("run_id", Op::Eq, Operand::Text(run)) if !run.is_empty() => "v.run_uuid",
                ("run_id", Op::In, Operand::List(runs)) if !runs.iter().any(String::is_empty) => "v.run_uuid",
                ("run_id", _, _) => "COALESCE(v.run_uuid, '')",
                _ => return never(sql),
            };
            sql.text_is(column, *op, value);
        }
        (Field::Attribute(name), Operand::Number(number)) => match version_column(name) {
            Some(column) => {
                sql.int_is(column, *op, *number);
            }
            None => never(sql),
        },
        (Field::Tag(key), _) => {
            sql.pair_is("model_version_tag c WHERE c.version_id", "v.id", key, &[(*op, value)]);
        }
        _ => never(sql),
    }
}

fn push_without(sql: &mut Sql, table: &'static str, owner: &'static str, tag: &KeyValue) {
    sql.push(" AND NOT ");
    sql.pair_is(table, owner, &tag.key, &[(Op::Eq, &Operand::Text(tag.value.clone()))]);
}

/// The order of the query, then `last` as far as it is not there yet, the page.
fn push_order(
    sql: &mut Sql,
    query: &ModelQuery,
    column: impl Fn(&str) -> Option<&'static str>,
    last: &[&'static str],
) {
    let mut keys: Vec<(&'static str, bool)> = Vec::new();
    for OrderBy { field, descending } in &query.order {
        if let Field::Attribute(name) = field
            && let Some(column) = column(name)
        {
            keys.push((column, *descending));
        }
    }
    for column in last {
        if keys.iter().all(|(known, _)| known != column) {
            // Of versions of one model the newest is of most interest.
            keys.push((column, *column == "v.version"));
        }
    }
    for (i, (column, descending)) in keys.into_iter().enumerate() {
        sql.push(if i == 0 { " ORDER BY " } else { ", " }).column(Column::from(column));
        sql.push(if descending { " DESC" } else { "" });
    }
    sql.push(" LIMIT ").int(i64::try_from(query.limit).unwrap_or(i64::MAX));
    sql.push(" OFFSET ").int(i64::try_from(query.offset).unwrap_or(i64::MAX));
}

/// The column of an attribute that models are ordered by.
fn model_column(name: &str) -> Option<&'static str> {
    Some(match name {
        "name" => "m.name",
        "creation_timestamp" => "m.created_at",
        "last_updated_timestamp" => "m.updated_at",
        _ => return None,
    })
}

/// The column of an attribute that versions are ordered by.
fn version_column(name: &str) -> Option<&'static str> {
    Some(match name {
        "name" => "m.name",
        "version_number" => "v.version",
        "creation_timestamp" => "v.created_at",
        "last_updated_timestamp" => "v.updated_at",
        _ => return None,
    })
}

/// What no row meets.
fn never(sql: &mut Sql) {
    sql.push("FALSE");
}
