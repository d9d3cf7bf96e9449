//! Searches over logged models.

use super::read::logged_models_by_id;
use super::types::LoggedModel;
use crate::search::{Condition, Field, Op, Operand, Sql};
use crate::{Db, Result};

/// What is searched for, and which page of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoggedModelQuery {
    /// Models of these experiments; of none if the list is empty.
    pub experiments: Vec<i64>,
    /// All must hold.
    pub conditions: Vec<Condition>,
    /// Conditions on metrics look at values on one of these; without such conditions a model must have some metric on
    /// one. All datasets count if the list is empty.
    pub datasets: Vec<DatasetName>,
    /// Before the order that tells all apart: the newest first, then the identifier.
    pub order: Vec<LoggedModelOrder>,
    /// How many to skip.
    pub offset: u64,
    /// How many at most.
    pub limit: usize,
}

/// A dataset that a metric was measured on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetName {
    /// Its name.
    pub name: String,
    /// Its digest; every one if there is none.
    pub digest: Option<String>,
}

/// A key of the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedModelOrder {
    /// An attribute or a metric, whose newest value counts.
    pub field: Field,
    /// Whether the greatest comes first. What is missing is last in both directions.
    pub descending: bool,
    /// Only values of a metric on a dataset of this name count.
    pub dataset_name: Option<String>,
    /// Only values of a metric on a dataset of this digest count.
    pub dataset_digest: Option<String>,
}

impl Db {
    /// Logged models that meet the conditions and are not deleted.
    pub async fn search_logged_models(&self, query: &LoggedModelQuery) -> Result<Vec<LoggedModel>> {
        if query.experiments.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.snapshot().await?;
        let ctx = tx.ctx.clone();
        let mut sql = Sql::new(&tx.conn());
        push_query(&mut sql, query);
        let rows: Vec<(i64,)> = sql.fetch(tx.conn()).await.map_err(ctx.fail("search logged models"))?;
        let ids: Vec<i64> = rows.into_iter().map(|(id,)| id).collect();
        logged_models_by_id(tx.conn(), &ctx, &ids).await
    }
}

/// The keys are columns of an inner query, so that each is written once and can be compared with nothing first.
fn push_query(sql: &mut Sql, query: &LoggedModelQuery) {
    sql.push("SELECT s.id FROM (SELECT t.id, t.uuid, t.created_at");
    for (i, key) in query.order.iter().enumerate() {
        sql.push(", ");
        push_key(sql, key);
        sql.push(" AS o").number(i);
    }
    sql.push(" FROM logged_model t WHERE t.stage = 'active' AND t.experiment_id IN ")
        .ints(&query.experiments);
    let mut on_metric = false;
    for condition in &query.conditions {
        on_metric |= matches!(condition.field, Field::Metric(_));
        sql.push(" AND ");
        push_condition(sql, condition, &query.datasets);
    }
    if !query.datasets.is_empty() && !on_metric {
        sql.push(" AND EXISTS (SELECT 1 FROM logged_model_metric c WHERE c.model_id = t.id");
        push_datasets(sql, &query.datasets);
        sql.push(")");
    }
    sql.push(") s ORDER BY ");
    for (i, key) in query.order.iter().enumerate() {
        sql.push("s.o").number(i).push(" IS NULL, s.o").number(i);
        sql.push(if key.descending { " DESC, " } else { ", " });
    }
    sql.push("s.created_at DESC, s.uuid LIMIT ").int(i64::try_from(query.limit).unwrap_or(i64::MAX));
    sql.push(" OFFSET ").int(i64::try_from(query.offset).unwrap_or(i64::MAX));
}

fn push_key(sql: &mut Sql, key: &LoggedModelOrder) {
    match &key.field {
        Field::Metric(name) => {
            sql.push("(SELECT CASE WHEN c.is_nan = 1 THEN NULL ELSE c.value END FROM logged_model_metric c");
            sql.push(" WHERE c.model_id = t.id AND c.key = ").text(name.as_str());
            if let Some(dataset) = &key.dataset_name {
                sql.push(" AND c.dataset_name = ").text(dataset.as_str());
            }
            if let Some(digest) = &key.dataset_digest {
                sql.push(" AND c.dataset_digest = ").text(digest.as_str());
            }
            sql.push(" ORDER BY c.at DESC, c.step DESC, c.run_uuid LIMIT 1)");
        }
        Field::Attribute(name) => {
            sql.column(text_column(name).or_else(|| whole_column(name)).unwrap_or("t.id"));
        }
        _ => {
            sql.push("t.id");
        }
    }
}

fn push_condition(sql: &mut Sql, Condition { field, op, value }: &Condition, datasets: &[DatasetName]) {
    match (field, value) {
        (Field::Metric(key), Operand::Number(number)) => {
            sql.push("EXISTS (SELECT 1 FROM logged_model_metric c WHERE c.model_id = t.id AND c.key = ");
            sql.text(key.as_str());
            push_datasets(sql, datasets);
            sql.push(" AND (");
            // NaN differs from every number and compares in no other way.
            if *op == Op::Ne {
                sql.push("c.is_nan = 1 OR ");
            }
            sql.push("c.is_nan = 0 AND ").float_is("c.value", *op, *number).push("))");
        }
        (Field::Param(key), _) => {
            sql.pair_is("logged_model_param c WHERE c.model_id", "t.id", key, &[(*op, value)]);
        }
        (Field::Tag(key), _) => {
            sql.pair_is("logged_model_tag c WHERE c.model_id", "t.id", key, &[(*op, value)]);
        }
        (Field::Attribute(name), Operand::Number(number)) => match whole_column(name) {
            Some(column) => {
                sql.int_is(column, *op, *number);
            }
            None => never(sql),
        },
        (Field::Attribute(name), Operand::Text(_) | Operand::List(_)) => match text_column(name) {
            Some(column) => {
                sql.text_is(column, *op, value);
            }
            None => never(sql),
        },
        _ => never(sql),
    }
}

fn push_datasets(sql: &mut Sql, datasets: &[DatasetName]) {
    for (i, dataset) in datasets.iter().enumerate() {
        sql.push(if i == 0 { " AND (" } else { " OR " });
        sql.push("c.dataset_name = ").text(dataset.name.as_str());
        if let Some(digest) = &dataset.digest {
            sql.push(" AND c.dataset_digest = ").text(digest.as_str());
        }
    }
    if !datasets.is_empty() {
        sql.push(")");
    }
}

fn text_column(name: &str) -> Option<&'static str> {
    Some(match name {
        "name" => "t.name",
        "model_id" => "t.uuid",
        "model_type" => "t.model_type",
        "status" => "t.status",
        // Clients know no difference between no run and an empty text.
        "source_run_id" => "COALESCE(t.source_run, '')",
        "experiment_id" => "CAST(t.experiment_id AS TEXT)",
        _ => return None,
    })
}

fn whole_column(name: &str) -> Option<&'static str> {
    Some(match name {
        "creation_timestamp" => "t.created_at",
        "last_updated_timestamp" => "t.updated_at",
        _ => return None,
    })
}

/// What no row meets.
fn never(sql: &mut Sql) {
    sql.push("FALSE");
}
