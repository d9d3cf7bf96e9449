//! Searches over experiments, and over the datasets that their runs read.

use crate::search::page::{Cursor, Page, Place};
use crate::search::sql::{Column, Sql};
use crate::search::{Condition, Field, Op, Operand, OrderBy};
use crate::tracking::experiments::load_experiments;
use crate::tracking::load::LoadError;
use crate::tracking::{Experiment, Stage};
use crate::{Db, Error, Result};

/// What experiments are searched for.
#[derive(Clone, Debug)]
pub struct ExperimentSearch {
    /// In these stages.
    pub stages: Vec<Stage>,
    /// All of which must hold. Identifiers are texts of whole numbers.
    pub conditions: Vec<Condition>,
    /// In this order, then the newest first; the one that was made last first where it is empty.
    pub order: Vec<OrderBy>,
    /// Not more than this at once.
    pub limit: usize,
    /// Behind this place.
    pub after: Option<Cursor>,
}

/// A dataset that runs of an experiment read for the same purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetSummary {
    /// The experiment.
    pub experiment: i64,
    /// The dataset's name.
    pub name: String,
    /// Its digest.
    pub digest: String,
    /// What it was used for, if that was said.
    pub context: Option<String>,
}

/// A column that experiments are ordered by.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    column: &'static str,
    descending: bool,
}

fn column(name: &str) -> Option<&'static str> {
    Some(match name {
        "name" => "name",
        "experiment_id" => "id",
        "creation_time" => "created_at",
        "last_update_time" => "updated_at",
        _ => return None,
    })
}

fn keys(order: &[OrderBy]) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    for order in order {
        if let Field::Attribute(name) = &order.field
            && let Some(column) = column(name)
            && keys.iter().all(|key| key.column != column)
        {
            keys.push(Key { column, descending: order.descending });
        }
    }
    if keys.is_empty() {
        keys.extend([
            Key { column: "created_at", descending: true },
            Key { column: "id", descending: false },
        ]);
    }
    match keys.iter().position(|key| key.column == "id") {
        Some(end) => keys.truncate(end + 1),
        None => keys.push(Key { column: "id", descending: true }),
    }
    keys
}

fn push_condition(sql: &mut Sql, Condition { field, op, value }: &Condition) {
    match field {
        Field::Tag(key) => {
            sql.pair_is("experiment_tag c WHERE c.experiment_id", "t.id", key, &[(*op, value)]);
        }
        Field::Attribute(name) => match (column(name), value) {
            (Some("id"), value) => push_id(sql, *op, value),
            (Some("name"), value) => {
                sql.text_is("t.name", *op, value);
            }
            (Some(column), Operand::Number(number)) => {
                sql.int_is(Column::new("t", column), *op, *number);
            }
            _ => {
                sql.push("FALSE");
            }
        },
        Field::Metric(_)
        | Field::Param(_)
        | Field::Dataset(_)
        | Field::Metadata(_)
        | Field::Span(_)
        | Field::Feedback(_)
        | Field::Expectation(_) => {
            sql.push("FALSE");
        }
    }
}

fn push_id(sql: &mut Sql, op: Op, value: &Operand) {
    let texts = match value {
        Operand::Text(text) => std::slice::from_ref(text),
        Operand::List(texts) => texts.as_slice(),
        Operand::Nothing | Operand::Number(_) => &[],
    };
    let ids: Vec<i64> = texts.iter().filter_map(|text| text.parse().ok()).collect();
    match op {
        Op::Eq | Op::In if !ids.is_empty() => sql.push("t.id IN ").ints(&ids),
        Op::Ne | Op::NotIn if ids.is_empty() => sql.push("TRUE"),
        Op::Ne | Op::NotIn => sql.push("t.id NOT IN ").ints(&ids),
        _ => sql.push("FALSE"),
    };
}

fn push_after(sql: &mut Sql, keys: &[Key], places: &[Place]) {
    let Some((key, place)) = keys.first().zip(places.first()) else {
        sql.push("FALSE");
        return;
    };
    let bind = |sql: &mut Sql| {
        match place {
            Place::Text(text) => sql.text(text.as_str()),
            Place::Int(whole) => sql.int(*whole),
            Place::Float(_) | Place::Nan | Place::Missing => sql.push("NULL"),
        };
    };
    sql.push("(").column(Column::new("t", key.column)).push(if key.descending { " < " } else { " > " });
    bind(sql);
    sql.push(" OR ").column(Column::new("t", key.column)).push(" = ");
    bind(sql);
    sql.push(" AND ");
    push_after(sql, &keys[1..], &places[1..]);
    sql.push(")");
}

impl Key {
    fn place(self, experiment: &Experiment) -> Place {
        match self.column {
            "name" => Place::Text(experiment.name.clone()),
            "created_at" => Place::Int(experiment.created_at.millis()),
            "updated_at" => Place::Int(experiment.updated_at.millis()),
            _ => Place::Int(experiment.id),
        }
    }

    fn fits(self, place: &Place) -> bool {
        matches!((self.column, place), ("name", Place::Text(_)))
            || matches!(place, Place::Int(_)) && self.column != "name"
    }
}

impl Db {
    /// A page of experiments.
    ///
    /// Fails with [`Error::Cursor`] if `after` is not a place in this order.
    pub async fn search_experiments(&self, search: &ExperimentSearch) -> Result<Page<Experiment>> {
        let keys = keys(&search.order);
        let after = search.after.as_ref().map(|cursor| cursor.0.as_slice());
        if after.is_some_and(|places| {
            places.len() != keys.len() || keys.iter().zip(places).any(|(key, place)| !key.fits(place))
        }) {
            return Err(Error::Cursor);
        }
        if search.stages.is_empty() || search.limit == 0 {
            return Ok(Page::empty());
        }
        let mut tx = self.snapshot().await?;
        let mut sql = Sql::new(&tx.conn());
        let stages: Vec<String> = search.stages.iter().map(|stage| stage.word().to_owned()).collect();
        sql.push("SELECT t.id FROM experiment t WHERE t.stage IN ").texts(&stages);
        for condition in &search.conditions {
            sql.push(" AND ");
            push_condition(&mut sql, condition);
        }
        if let Some(after) = after {
            sql.push(" AND ");
            push_after(&mut sql, &keys, after);
        }
        for (i, key) in keys.iter().enumerate() {
            sql.push(if i == 0 { " ORDER BY " } else { ", " }).column(Column::new("t", key.column));
            sql.push(if key.descending { " DESC" } else { "" });
        }
        sql.push(" LIMIT ").int(search.limit as i64 + 1);
        let fail = self.ctx().fail("search experiments");
        let found: Vec<(i64,)> = sql.fetch(tx.conn()).await.map_err(fail)?;
        let mut ids: Vec<i64> = found.into_iter().map(|(id,)| id).collect();
        let more = ids.len() > search.limit;
        ids.truncate(search.limit);
        let items = load_experiments(tx.conn(), &ids)
            .await
            .map_err(LoadError::sort(self.ctx(), "search experiments"))?;
        let last = items.last().filter(|_| more);
        let next = last.map(|last| Cursor(keys.iter().map(|key| key.place(last)).collect()));
        Ok(Page { items, next })
    }

    /// The datasets that runs of these experiments read, at most `limit`, each once for each purpose.
    pub async fn dataset_summaries(&self, experiments: &[i64], limit: usize) -> Result<Vec<DatasetSummary>> {
        if experiments.is_empty() {
            return Ok(Vec::new());
        }
        let mut reader = self.reader().await?;
        let mut sql = Sql::new(&reader.conn());
        sql.push("SELECT DISTINCT d.experiment_id, d.name, d.digest, ")
            .either(
                "(SELECT json_extract(j.value, '$[1]') FROM json_each(d.tags) j
                    WHERE json_extract(j.value, '$[0]') = 'mlflow.data.context' LIMIT 1)",
                "(SELECT (j.value ->> 1) COLLATE \"C\" FROM json_array_elements(d.tags::json) j(value)
                    WHERE j.value ->> 0 = 'mlflow.data.context' LIMIT 1)",
            )
            .push(
                " FROM (SELECT DISTINCT x.experiment_id, x.name, x.digest, i.tags
                    FROM input_dataset x JOIN run_input i ON i.dataset_id = x.id WHERE x.experiment_id IN ",
            )
            .ints(experiments)
            .push(") d ORDER BY 1, 2, 3, 4 LIMIT ")
            .int(limit as i64);
        let fail = self.ctx().fail("search datasets");
        let rows: Vec<(i64, String, String, Option<String>)> =
            sql.fetch(reader.conn()).await.map_err(fail)?;
        let summary =
            |(experiment, name, digest, context)| DatasetSummary { experiment, name, digest, context };
        Ok(rows.into_iter().map(summary).collect())
    }
}
