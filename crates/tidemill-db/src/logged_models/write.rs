//! Changing logged models. What is logged inside of one (parameters and tags) are observations, written without an
//! event; its making, its status and its end are in the log.

use tidemill_core::Timestamp;

use super::types::{LoggedModelStatus, NewLoggedModel};
use crate::backend::on;
use crate::dialect::{self, Rows};
use crate::models::put_tags;
use crate::tracking::{KeyValue, Metric, Stage};
use crate::{Error, Result, Tx};

const PARAMS: &str = "INSERT INTO logged_model_param ({columns}) SELECT {columns} FROM {rows} WHERE TRUE
    ON CONFLICT (model_id, key) DO UPDATE SET value = excluded.value";
const TAGS: &str = "INSERT INTO logged_model_tag ({columns}) SELECT {columns} FROM {rows} WHERE TRUE
    ON CONFLICT (model_id, key) DO UPDATE SET value = excluded.value";

impl Tx {
    /// Makes a logged model of status `LOGGED_MODEL_PENDING`. Fails with [`Error::NotFound`] if its experiment is not
    /// there.
    pub async fn create_logged_model(&mut self, new: &NewLoggedModel) -> Result<()> {
        const EXPERIMENT: &str = "SELECT id FROM experiment WHERE id = $1";
        const SQL: &str =
            "INSERT INTO logged_model (uuid, experiment_id, name, model_type, status, stage, source_run,
                artifact_uri, created_at, updated_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9) RETURNING id";
        let ctx = self.transact.ctx.clone();
        let fail = || ctx.fail("create a logged model");
        let experiment: Option<i64> =
            on!(self.transact.conn(), c => sqlx::query_scalar(EXPERIMENT).bind(new.experiment).fetch_optional(c).await)
                .map_err(fail())?;
        if experiment.is_none() {
            return Err(Error::NotFound { what: "experiment", name: new.experiment.to_string() });
        }
        let id: i64 = on!(self.transact.conn(), c => sqlx::query_scalar(SQL)
            .bind(&new.id).bind(new.experiment).bind(&new.name).bind(&new.model_type)
            .bind(LoggedModelStatus::Pending.word()).bind(Stage::Active.word()).bind(&new.source_run)
            .bind(&new.artifact_uri).bind(new.created_at.millis()).fetch_one(c).await)
        .map_err(fail())?;
        self.changed = true;
        put_tags(self.transact.conn(), PARAMS, "model_id", id, &new.params).await.map_err(fail())?;
        put_tags(self.transact.conn(), TAGS, "model_id", id, &new.tags).await.map_err(fail())?;
        Ok(())
    }

    /// Gives a logged model another status; `false` if it is not there.
    pub async fn finish_logged_model(
        &mut self,
        id: &str,
        status: LoggedModelStatus,
        at: Timestamp,
    ) -> Result<bool> {
        const SQL: &str = "UPDATE logged_model SET status = $1, updated_at = $2 WHERE uuid = $3";
        self.move_logged_model(SQL, status.word(), id, at).await
    }

    /// Marks a logged model as deleted; `false` if it is not there.
    pub async fn delete_logged_model(&mut self, id: &str, at: Timestamp) -> Result<bool> {
        const SQL: &str = "UPDATE logged_model SET stage = $1, updated_at = $2 WHERE uuid = $3";
        self.move_logged_model(SQL, Stage::Deleted.word(), id, at).await
    }

    /// Adds parameters to a logged model; `false` if it is not there. A key that is there gets the new value.
    pub async fn put_logged_model_params(&mut self, id: &str, params: &[KeyValue]) -> Result<bool> {
        self.put_logged_model_pairs(PARAMS, id, params).await
    }

    /// Sets tags of a logged model; `false` if it is not there.
    pub async fn put_logged_model_tags(&mut self, id: &str, tags: &[KeyValue]) -> Result<bool> {
        self.put_logged_model_pairs(TAGS, id, tags).await
    }

    /// Records what was measured on a logged model, each point once; `false` if the model is not there.
    pub async fn put_logged_model_metrics(&mut self, id: &str, metrics: &[Metric]) -> Result<bool> {
        const SQL: &str =
            "INSERT INTO logged_model_metric ({columns}) SELECT {columns} FROM {rows} WHERE TRUE
            ON CONFLICT DO NOTHING";
        let ctx = self.transact.ctx.clone();
        let Some(row) = self.logged_model_row(id).await? else { return Ok(false) };
        if metrics.is_empty() {
            return Ok(true);
        }
        let runs: Vec<String> = metrics
            .iter()
            .map(|metric| metric.run_id.map(|run| run.to_string()).unwrap_or_default())
            .collect();
        let rows = Rows::new(metrics.len())
            .int("model_id", metrics.iter().map(|_| row))
            .text("key", metrics.iter().map(|metric| metric.key.as_str()))
            .text(
                "dataset_name",
                metrics.iter().map(|metric| metric.dataset_name.as_deref().unwrap_or_default()),
            )
            .text(
                "dataset_digest",
                metrics.iter().map(|metric| metric.dataset_digest.as_deref().unwrap_or_default()),
            )
            .text("run_uuid", runs.iter().map(String::as_str))
            .int("step", metrics.iter().map(|metric| metric.step))
            .int("at", metrics.iter().map(|metric| metric.at.millis()))
            .float("value", metrics.iter().map(|metric| metric.value))
            .int("is_nan", metrics.iter().map(|metric| i64::from(metric.value.is_nan())));
        dialect::write_rows(self.transact.conn(), SQL, &rows).await.map_err(ctx.fail("record metrics"))?;
        Ok(true)
    }

    /// Removes a tag of a logged model; says whether it was there, or `None` if the model is not there.
    pub async fn remove_logged_model_tag(&mut self, id: &str, key: &str) -> Result<Option<bool>> {
        const SQL: &str = "DELETE FROM logged_model_tag WHERE model_id = $1 AND key = $2";
        let ctx = self.transact.ctx.clone();
        let Some(row) = self.logged_model_row(id).await? else { return Ok(None) };
        let done = on!(self.transact.conn(), c => sqlx::query(SQL)
            .bind(row).bind(key).execute(c).await.map(|done| done.rows_affected()))
        .map_err(ctx.fail("remove a tag"))?;
        Ok(Some(done > 0))
    }

    async fn put_logged_model_pairs(
        &mut self,
        sql: &'static str,
        id: &str,
        pairs: &[KeyValue],
    ) -> Result<bool> {
        let ctx = self.transact.ctx.clone();
        let Some(row) = self.logged_model_row(id).await? else { return Ok(false) };
        put_tags(self.transact.conn(), sql, "model_id", row, pairs)
            .await
            .map_err(ctx.fail("write to a logged model"))?;
        Ok(true)
    }

    async fn move_logged_model(
        &mut self,
        sql: &'static str,
        word: &'static str,
        id: &str,
        at: Timestamp,
    ) -> Result<bool> {
        let ctx = self.transact.ctx.clone();
        let done = on!(self.transact.conn(), c => sqlx::query(sql)
            .bind(word).bind(at.millis()).bind(id).execute(c).await.map(|done| done.rows_affected()))
        .map_err(ctx.fail("change a logged model"))?;
        self.changed |= done > 0;
        Ok(done > 0)
    }

    async fn logged_model_row(&mut self, id: &str) -> Result<Option<i64>> {
        const SQL: &str = "SELECT id FROM logged_model WHERE uuid = $1";
        let ctx = self.transact.ctx.clone();
        on!(self.transact.conn(), c => sqlx::query_scalar(SQL).bind(id).fetch_optional(c).await)
            .map_err(ctx.fail("read a logged model"))
    }
}
