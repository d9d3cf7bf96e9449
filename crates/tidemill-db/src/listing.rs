//! Lists in a fixed order, page by page: each page begins after the last row of the one before, so that a page far
//! behind costs as much as the first, and nothing is skipped or shown twice while others write.

use tidemill_core::{RunId, Timestamp};

use crate::backend::on;
use crate::models::{ModelVersion, RegisteredModel, read};
use crate::tracking::experiments::load_experiments;
use crate::tracking::load::{LoadError, load};
use crate::tracking::{Experiment, Run, Stage};
use crate::{Db, Result};

impl Db {
    /// Experiments of a stage with a number below `before`, newest first.
    pub async fn experiments_before(
        &self,
        stage: Stage,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Experiment>> {
        const SQL: &str = "SELECT id FROM experiment WHERE stage = $1 AND id < $2 ORDER BY id DESC LIMIT $3";
        let mut tx = self.snapshot().await?;
        let ids: Vec<i64> = on!(tx.conn(), c => sqlx::query_scalar(SQL)
            .bind(stage.word()).bind(before.unwrap_or(i64::MAX)).bind(rows(limit)).fetch_all(c).await)
        .map_err(self.ctx().fail("read experiments"))?;
        load_experiments(tx.conn(), &ids).await.map_err(LoadError::sort(self.ctx(), "read experiments"))
    }

    /// Runs of an experiment, those that began last first, after `before` in this order; those that did not begin yet
    /// stand at the end.
    pub async fn tracked_runs_before(
        &self,
        experiment: i64,
        stage: Stage,
        before: Option<(Option<Timestamp>, RunId)>,
        limit: usize,
    ) -> Result<Vec<Run>> {
        const FIRST: &str = "SELECT id FROM run WHERE experiment_id = $1 AND stage = $2
            ORDER BY started_at DESC NULLS LAST, uuid DESC LIMIT $5";
        const AFTER: &str = "SELECT id FROM run WHERE experiment_id = $1 AND stage = $2
                AND (started_at < $3 OR (started_at = $3 AND uuid < $4) OR started_at IS NULL)
            ORDER BY started_at DESC NULLS LAST, uuid DESC LIMIT $5";
        const WAITING: &str = "SELECT id FROM run WHERE experiment_id = $1 AND stage = $2
                AND started_at IS NULL AND uuid < $4
            ORDER BY uuid DESC LIMIT $5";
        let (sql, at, id) = match before {
            None => (FIRST, 0, String::new()),
            Some((Some(at), id)) => (AFTER, at.millis(), id.to_string()),
            Some((None, id)) => (WAITING, 0, id.to_string()),
        };
        let mut tx = self.snapshot().await?;
        let ids: Vec<i64> = on!(tx.conn(), c => sqlx::query_scalar(sql)
            .bind(experiment).bind(stage.word()).bind(at).bind(id).bind(rows(limit)).fetch_all(c).await)
        .map_err(self.ctx().fail("read runs"))?;
        load(tx.conn().into(), &ids).await.map_err(LoadError::sort(self.ctx(), "read runs"))
    }

    /// Registered models by name, after `after`.
    pub async fn registered_models_after(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<RegisteredModel>> {
        const SQL: &str = "SELECT id FROM registered_model WHERE name > $1 ORDER BY name LIMIT $2";
        let mut tx = self.snapshot().await?;
        // Names are not empty.
        let ids: Vec<i64> = on!(tx.conn(), c => sqlx::query_scalar(SQL)
            .bind(after.unwrap_or_default()).bind(rows(limit)).fetch_all(c).await)
        .map_err(self.ctx().fail("read models"))?;
        read::models_by_id(tx.conn(), self.ctx(), &ids).await
    }

    /// Versions of a registered model with a number below `before`, newest first; deleted ones are left out.
    pub async fn model_versions_before(
        &self,
        model: &str,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<ModelVersion>> {
        const SQL: &str = "SELECT v.id FROM model_version v JOIN registered_model m ON m.id = v.model_id
            WHERE m.name = $1 AND v.version < $2 AND v.stage <> 'Deleted_Internal'
            ORDER BY v.version DESC LIMIT $3";
        let before = before.and_then(|before| i64::try_from(before).ok()).unwrap_or(i64::MAX);
        let mut tx = self.snapshot().await?;
        let ids: Vec<i64> = on!(tx.conn(), c => sqlx::query_scalar(SQL)
            .bind(model).bind(before).bind(rows(limit)).fetch_all(c).await)
        .map_err(self.ctx().fail("read versions"))?;
        read::versions_by_id(tx.conn(), self.ctx(), &ids).await
    }
}

fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
