//! Reading and finding evaluation datasets.

use std::collections::HashMap;

use sqlx::{ColumnIndex, Decode, FromRow, Row, Type};
use tidemill_core::Timestamp;

use crate::backend::{Conn, on};
use crate::dialect::{self, Rows};
use crate::evaluation::{EvaluationDataset, EvaluationRecord};
use crate::search::{Condition, Field, Op, Operand, OrderBy, Sql};
use crate::traces::compare;
use crate::tracking::KeyValue;
use crate::{Db, Error, Result};

/// What to find.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EvaluationQuery {
    /// Of any of these experiments; none means all datasets.
    pub experiments: Vec<i64>,
    /// All must hold.
    pub conditions: Vec<Condition>,
    /// The order; then by identifier.
    pub order: Vec<OrderBy>,
    /// The identifier of the last one of the page before.
    pub after: Option<String>,
    /// The largest number of datasets.
    pub limit: usize,
}

/// The columns of a dataset `d`, as [`DatasetRow`] reads them.
const COLUMNS: &str =
    "d.id, d.uuid, d.name, d.digest, d.schema, d.profile, d.created_at, d.updated_at, d.created_by,
    d.updated_by";

pub(super) type DatasetRow =
    (i64, String, String, String, Option<String>, Option<String>, i64, i64, Option<String>, Option<String>);

impl Db {
    /// A dataset.
    pub async fn evaluation_dataset(&self, id: &str) -> Result<Option<EvaluationDataset>> {
        let mut tx = self.snapshot().await?;
        let found = one(tx.conn(), id).await.map_err(self.ctx().fail("read an evaluation dataset"))?;
        Ok(found.map(|(_, dataset)| dataset))
    }

    /// One page of the datasets that a query finds.
    ///
    /// Fails with [`Error::Unsupported`] for a condition or an order that datasets do not have.
    pub async fn search_evaluation_datasets(
        &self,
        query: &EvaluationQuery,
    ) -> Result<Vec<EvaluationDataset>> {
        let fail = "search evaluation datasets";
        let mut tx = self.snapshot().await?;
        let mut sql = Sql::new(&tx.conn());
        sql.push("SELECT ");
        sql.push(COLUMNS);
        sql.push(" FROM evaluation_dataset d WHERE TRUE");
        if !query.experiments.is_empty() {
            sql.push(" AND d.id IN (SELECT e.dataset_id FROM evaluation_dataset_experiment e WHERE ");
            sql.push("e.experiment_id IN ").ints(&query.experiments).push(")");
        }
        for condition in &query.conditions {
            sql.push(" AND ");
            write_condition(&mut sql, condition)?;
        }
        write_page(&mut sql, query)?;
        let rows: Vec<DatasetRow> = sql.fetch(tx.conn()).await.map_err(self.ctx().fail(fail))?;
        let found = complete(tx.conn(), rows).await.map_err(self.ctx().fail(fail))?;
        Ok(found.into_iter().map(|(_, dataset)| dataset).collect())
    }

    /// The experiments of a dataset.
    pub async fn evaluation_experiments(&self, id: &str) -> Result<Vec<i64>> {
        const SQL: &str = "SELECT e.experiment_id FROM evaluation_dataset d
            JOIN evaluation_dataset_experiment e ON e.dataset_id = d.id WHERE d.uuid = $1 ORDER BY e.experiment_id";
        let mut reader = self.reader().await?;
        on!(reader.conn(), c => sqlx::query_scalar(SQL).bind(id).fetch_all(c).await)
            .map_err(self.ctx().fail("read an evaluation dataset"))
    }

    /// One page of the records of a dataset, by time, then by identifier: those after `after`, at most `limit`.
    pub async fn evaluation_records(
        &self,
        dataset: &str,
        after: Option<(Timestamp, &str)>,
        limit: usize,
    ) -> Result<Vec<EvaluationRecord>> {
        const SQL: &str =
            "SELECT {columns} FROM evaluation_record x JOIN evaluation_dataset d ON d.id = x.dataset_id
            WHERE d.uuid = $1 AND x.created_at >= $2 AND (x.created_at > $2 OR x.uuid > $3)
            ORDER BY x.created_at, x.uuid LIMIT $4";
        let (at, id) = after.map_or((i64::MIN, ""), |(at, id)| (at.millis(), id));
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let sql = SQL.replace("{columns}", RECORD);
        let mut reader = self.reader().await?;
        let rows: Vec<RecordRow> =
            on!(reader.conn(), c => sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(dataset).bind(at).bind(id)
                .bind(limit).fetch_all(c).await)
            .map_err(self.ctx().fail("read evaluation records"))?;
        Ok(rows.into_iter().map(|row| row.0).collect())
    }
}

fn column(name: &str) -> Option<&'static str> {
    Some(match name {
        "name" => "d.name",
        "created_time" => "d.created_at",
        "last_update_time" => "d.updated_at",
        "created_by" => "d.created_by",
        "last_updated_by" => "d.updated_by",
        _ => return None,
    })
}

fn write_condition(sql: &mut Sql, condition: &Condition) -> Result<()> {
    let unsupported = || Error::Unsupported { what: format!("{:?} {:?}", condition.field, condition.op) };
    match &condition.field {
        Field::Attribute(name) => {
            let column = column(name).ok_or_else(unsupported)?;
            match &condition.value {
                Operand::Number(number) => sql.int_is(column, condition.op, *number),
                value => sql.text_is(column, condition.op, value),
            };
            Ok(())
        }
        Field::Tag(key) => {
            let missing = condition.op == Op::IsNull;
            sql.push(if missing { "NOT EXISTS (" } else { "EXISTS (" });
            sql.push("SELECT 1 FROM evaluation_dataset_tag g WHERE g.dataset_id = d.id AND g.key = ");
            sql.text(key.as_str());
            if !matches!(condition.op, Op::IsNull | Op::IsNotNull) {
                sql.push(" AND ");
                compare(sql, "g.value", condition);
            }
            sql.push(")");
            Ok(())
        }
        _ => Err(unsupported()),
    }
}

/// The page begins behind the row that ended the one before, wherever that is now: its keys are looked up.
fn write_page(sql: &mut Sql, query: &EvaluationQuery) -> Result<()> {
    let mut keys: Vec<(&'static str, bool)> = Vec::new();
    for key in &query.order {
        let unsupported = || Error::Unsupported { what: format!("an order by {:?}", key.field) };
        let Field::Attribute(name) = &key.field else { return Err(unsupported()) };
        if !matches!(name.as_str(), "name" | "created_time" | "last_update_time") {
            return Err(unsupported());
        }
        keys.push((column(name).ok_or_else(unsupported)?, key.descending));
    }
    keys.push(("d.uuid", true));
    if let Some(after) = &query.after {
        let old =
            |column: &str| format!("(SELECT o.{} FROM evaluation_dataset o WHERE o.uuid = ", &column[2..]);
        sql.push(" AND (");
        for (i, (column, descending)) in keys.iter().enumerate() {
            sql.push(if i == 0 { "(" } else { " OR (" });
            for (before, _) in &keys[..i] {
                sql.push(before);
                sql.push(" = ");
                sql.pieced(&old(before));
                sql.text(after.as_str());
                sql.push(") AND ");
            }
            sql.push(column);
            sql.push(if *descending { " < " } else { " > " });
            sql.pieced(&old(column));
            sql.text(after.as_str());
            sql.push("))");
        }
        sql.push(")");
    }
    for (i, (column, descending)) in keys.iter().enumerate() {
        sql.push(if i == 0 { " ORDER BY " } else { ", " });
        sql.push(column);
        sql.push(if *descending { " DESC" } else { "" });
    }
    sql.push(" LIMIT ");
    sql.int(i64::try_from(query.limit).unwrap_or(i64::MAX));
    Ok(())
}

/// A dataset and its number.
pub(super) async fn one(mut conn: Conn<'_>, id: &str) -> sqlx::Result<Option<(i64, EvaluationDataset)>> {
    const SQL: &str = "SELECT {columns} FROM evaluation_dataset d WHERE d.uuid = $1";
    let sql = SQL.replace("{columns}", COLUMNS);
    let rows: Vec<DatasetRow> = on!(conn.reborrow(), c => sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(id)
        .fetch_all(c).await)?;
    Ok(complete(conn, rows).await?.pop())
}

async fn complete(conn: Conn<'_>, rows: Vec<DatasetRow>) -> sqlx::Result<Vec<(i64, EvaluationDataset)>> {
    const TAGS: &str = "SELECT g.dataset_id, g.key, g.value FROM {rows}
        JOIN evaluation_dataset_tag g ON g.dataset_id = r.id";
    let ids = Rows::new(rows.len()).int("id", rows.iter().map(|row| row.0));
    let mut found: Vec<(i64, String, String)> = dialect::read_rows(conn, TAGS, &ids).await?;
    found.sort();
    let mut tags: HashMap<i64, Vec<KeyValue>> = HashMap::new();
    for (id, key, value) in found {
        tags.entry(id).or_default().push(KeyValue { key, value });
    }
    let datasets =
        rows.into_iter().map(|(number, id, name, digest, schema, profile, made, changed, by, last_by)| {
            let dataset = EvaluationDataset {
                id,
                name,
                digest,
                schema,
                profile,
                created_at: Timestamp::from_millis(made),
                updated_at: Timestamp::from_millis(changed),
                created_by: by,
                updated_by: last_by,
                tags: tags.remove(&number).unwrap_or_default(),
            };
            (number, dataset)
        });
    Ok(datasets.collect())
}

/// The columns of a record `x`, as [`RecordRow`] reads them.
pub(super) const RECORD: &str = "x.uuid, x.input_hash, x.inputs, x.outputs, x.expectations, x.tags, x.source,
    x.source_kind, x.source_id, x.created_at, x.updated_at, x.created_by, x.updated_by";

pub(super) struct RecordRow(pub(super) EvaluationRecord);

impl<'r, R> FromRow<'r, R> for RecordRow
where
    R: Row,
    usize: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    String: Decode<'r, R::Database> + Type<R::Database>,
{
    fn from_row(row: &'r R) -> sqlx::Result<Self> {
        Ok(Self(EvaluationRecord {
            id: row.try_get(0)?,
            input_hash: row.try_get(1)?,
            inputs: row.try_get(2)?,
            outputs: row.try_get(3)?,
            expectations: row.try_get(4)?,
            tags: row.try_get(5)?,
            source: row.try_get(6)?,
            source_kind: row.try_get(7)?,
            source_id: row.try_get(8)?,
            created_at: Timestamp::from_millis(row.try_get(9)?),
            updated_at: Timestamp::from_millis(row.try_get(10)?),
            created_by: row.try_get(11)?,
            updated_by: row.try_get(12)?,
        }))
    }
}
