//! Reading logged models: one, or a page of them with a fixed number of statements.

use std::collections::HashMap;

use tidemill_core::Timestamp;

use super::types::{LoggedModel, LoggedModelStatus};
use crate::backend::{Conn, Context, on};
use crate::dialect::{self, Rows};
use crate::tracking::{KeyValue, Metric, Stage};
use crate::{Db, Error, Result, Tx};

impl Db {
    /// The logged model of this id, also if it is deleted.
    pub async fn logged_model(&self, id: &str) -> Result<Option<LoggedModel>> {
        let mut tx = self.snapshot().await?;
        let ctx = tx.ctx.clone();
        logged_model(tx.conn(), &ctx, id).await
    }

    /// The experiment of a logged model, also if it is deleted.
    pub async fn logged_model_experiment(&self, id: &str) -> Result<Option<i64>> {
        const SQL: &str = "SELECT experiment_id FROM logged_model WHERE uuid = $1";
        let mut reader = self.reader().await?;
        on!(reader.conn(), c => sqlx::query_scalar(SQL).bind(id).fetch_optional(c).await)
            .map_err(self.ctx().fail("read a logged model"))
    }

    /// Where the files of the newest logged model of this name are that the run made, unless it is deleted.
    pub async fn logged_model_root(&self, run: &str, name: &str) -> Result<Option<String>> {
        const SQL: &str = "SELECT artifact_uri FROM logged_model
            WHERE source_run = $1 AND name = $2 AND stage = 'active' ORDER BY created_at DESC, id DESC LIMIT 1";
        let mut reader = self.reader().await?;
        on!(reader.conn(), c => sqlx::query_scalar(SQL).bind(run).bind(name).fetch_optional(c).await)
            .map_err(self.ctx().fail("read a logged model"))
    }
}

impl Tx {
    /// The logged model of this id as it stands in this transaction, also if it is deleted.
    pub async fn logged_model(&mut self, id: &str) -> Result<Option<LoggedModel>> {
        let ctx = self.transact.ctx.clone();
        logged_model(self.transact.conn(), &ctx, id).await
    }
}

type Row =
    (i64, String, i64, String, String, String, Option<String>, String, Option<String>, String, i64, i64);

/// The columns of a [`Row`].
macro_rules! columns {
    () => {
        "m.id, m.uuid, m.experiment_id, m.name, m.model_type, m.status, m.status_message, m.stage, m.source_run,
            m.artifact_uri, m.created_at, m.updated_at"
    };
}

async fn logged_model(mut conn: Conn<'_>, ctx: &Context, id: &str) -> Result<Option<LoggedModel>> {
    const SQL: &str = concat!("SELECT ", columns!(), " FROM logged_model m WHERE m.uuid = $1");
    let row: Option<Row> = on!(conn.reborrow(), c => sqlx::query_as(SQL).bind(id).fetch_optional(c).await)
        .map_err(ctx.fail("read a logged model"))?;
    Ok(complete(conn, ctx, row.into_iter().collect()).await?.pop())
}

/// The logged models of these row numbers, in this order. Metrics are those of these models only.
pub(crate) async fn logged_models_by_id(
    mut conn: Conn<'_>,
    ctx: &Context,
    ids: &[i64],
) -> Result<Vec<LoggedModel>> {
    const SQL: &str = concat!("SELECT ", columns!(), " FROM {rows} JOIN logged_model m ON m.id = r.id");
    let wanted = Rows::new(ids.len()).int("id", ids.iter().copied());
    let rows: Vec<Row> =
        dialect::read_rows(conn.reborrow(), SQL, &wanted).await.map_err(ctx.fail("read logged models"))?;
    let mut found: HashMap<i64, Row> = rows.into_iter().map(|row| (row.0, row)).collect();
    let rows = ids.iter().filter_map(|id| found.remove(id)).collect();
    complete(conn, ctx, rows).await
}

/// Points of metrics that are read at once of all logged models of a page; of more only the newest.
const POINTS: i64 = 100_000;

type MetricRow = (i64, String, String, String, String, i64, i64, Option<f64>, i64);

async fn complete(mut conn: Conn<'_>, ctx: &Context, rows: Vec<Row>) -> Result<Vec<LoggedModel>> {
    const PARAMS: &str = "SELECT p.model_id, p.key, p.value
        FROM {rows} JOIN logged_model_param p ON p.model_id = r.id ORDER BY p.key";
    const TAGS: &str = "SELECT t.model_id, t.key, t.value
        FROM {rows} JOIN logged_model_tag t ON t.model_id = r.id ORDER BY t.key";
    const METRICS: &str =
        "SELECT x.model_id, x.key, x.dataset_name, x.dataset_digest, x.run_uuid, x.step, x.at, x.value, x.is_nan
        FROM {rows} JOIN logged_model_metric x ON x.model_id = r.id
        ORDER BY x.key, x.at, x.step, x.run_uuid, x.dataset_name, x.dataset_digest";
    // Of each metric on one dataset in one run the newest, so many as are asked for.
    const NEWEST: &str =
        "SELECT m.model_id, m.key, m.dataset_name, m.dataset_digest, m.run_uuid, m.step, m.at, m.value, m.is_nan
        FROM (SELECT x.*, r.most, ROW_NUMBER() OVER (
                PARTITION BY x.model_id, x.key, x.dataset_name, x.dataset_digest, x.run_uuid
                ORDER BY x.step DESC, x.at DESC) AS n
            FROM {rows} JOIN logged_model_metric x ON x.model_id = r.id) m WHERE m.n <= m.most
        ORDER BY m.key, m.at, m.step, m.run_uuid, m.dataset_name, m.dataset_digest";
    const COUNT: &str = "SELECT COUNT(*), COALESCE(CAST(SUM(g.points) AS BIGINT), 0) FROM (
            SELECT COUNT(*) AS points FROM {rows} JOIN logged_model_metric x ON x.model_id = r.id
            GROUP BY x.model_id, x.key, x.dataset_name, x.dataset_digest, x.run_uuid) g";
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let fail = || ctx.fail("read logged models");
    let ids = Rows::new(rows.len()).int("id", rows.iter().map(|row| row.0));
    let params: Vec<(i64, String, String)> =
        dialect::read_rows(conn.reborrow(), PARAMS, &ids).await.map_err(fail())?;
    let tags: Vec<(i64, String, String)> =
        dialect::read_rows(conn.reborrow(), TAGS, &ids).await.map_err(fail())?;
    let counted: Vec<(i64, i64)> = dialect::read_rows(conn.reborrow(), COUNT, &ids).await.map_err(fail())?;
    let (series, points) = counted.into_iter().fold((0, 0), |all, part| (all.0 + part.0, all.1 + part.1));
    let metrics: Vec<MetricRow> = if points <= POINTS {
        dialect::read_rows(conn, METRICS, &ids).await
    } else {
        let ids = ids.int("most", rows.iter().map(|_| (POINTS / series.max(1)).max(1)));
        dialect::read_rows(conn, NEWEST, &ids).await
    }
    .map_err(fail())?;
    let places: HashMap<i64, usize> = rows.iter().enumerate().map(|(at, row)| (row.0, at)).collect();
    let mut models = rows.into_iter().map(from_row).collect::<Result<Vec<_>>>()?;
    for (id, key, value) in params {
        models[places[&id]].params.push(KeyValue { key, value });
    }
    for (id, key, value) in tags {
        models[places[&id]].tags.push(KeyValue { key, value });
    }
    for row in metrics {
        let model = &mut models[places[&row.0]];
        let metric = metric_from_row(row, &model.id);
        model.metrics.push(metric);
    }
    Ok(models)
}

fn from_row(row: Row) -> Result<LoggedModel> {
    const TABLE: &str = "logged_model";
    let (
        _,
        id,
        experiment,
        name,
        model_type,
        status,
        status_message,
        stage,
        source_run,
        artifact_uri,
        created,
        updated,
    ) = row;
    Ok(LoggedModel {
        id,
        experiment,
        name,
        model_type,
        status: LoggedModelStatus::from_word(&status)
            .ok_or_else(|| Error::value(TABLE, "status", &status, "a status of a logged model"))?,
        status_message,
        stage: Stage::from_word(&stage).ok_or_else(|| Error::value(TABLE, "stage", &stage, "a stage"))?,
        source_run,
        artifact_uri,
        created_at: Timestamp::from_millis(created),
        updated_at: Timestamp::from_millis(updated),
        params: Vec::new(),
        tags: Vec::new(),
        metrics: Vec::new(),
    })
}

/// An empty text stands for a dataset or run that was not named: these columns are part of the primary key.
fn metric_from_row(row: MetricRow, model: &str) -> Metric {
    let (_, key, dataset_name, dataset_digest, run, step, at, value, is_nan) = row;
    let given = |text: String| Some(text).filter(|text| !text.is_empty());
    Metric {
        key,
        value: if is_nan == 1 { f64::NAN } else { value.unwrap_or(f64::NAN) },
        at: Timestamp::from_millis(at),
        step,
        dataset_name: given(dataset_name),
        dataset_digest: given(dataset_digest),
        model_id: Some(model.to_owned()),
        run_id: run.parse().ok(),
    }
}
