//! Experiments: reading them, and the changes to them.

use std::collections::HashMap;
use std::sync::Arc;

use tidemill_core::Timestamp;

use super::load::LoadError;
use crate::backend::{Conn, on};
use crate::dialect::{self, Rows};
use crate::tracking::{Experiment, KeyValue, Stage};
use crate::{Db, Error, Result, Tx};

type Row = (i64, String, String, String, i64, i64);

fn from_row((id, name, artifact_location, stage, created_at, updated_at): Row) -> Result<Experiment> {
    Ok(Experiment {
        id,
        name,
        artifact_location,
        stage: parse_stage("experiment", &stage)?,
        created_at: Timestamp::from_millis(created_at),
        updated_at: Timestamp::from_millis(updated_at),
        tags: Vec::new(),
    })
}

pub(crate) fn parse_stage(table: &'static str, word: &str) -> Result<Stage> {
    Stage::from_word(word).ok_or_else(|| Error::value(table, "stage", word, "a lifecycle stage"))
}

/// The experiments with these numbers, in this order, with their tags. Numbers without one are left out.
pub(crate) async fn load_experiments(mut conn: Conn<'_>, ids: &[i64]) -> Result<Vec<Experiment>, LoadError> {
    const SQL: &str = "SELECT e.id, e.name, e.artifact_location, e.stage, e.created_at, e.updated_at
        FROM {rows} JOIN experiment e ON e.id = r.wanted";
    const TAGS: &str = "SELECT t.experiment_id, t.key, t.value FROM {rows} JOIN experiment_tag t ON t.experiment_id = r.wanted";
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = Rows::new(ids.len()).int("wanted", ids.iter().copied());
    let found: Vec<Row> = dialect::read_rows(conn.reborrow(), SQL, &rows).await?;
    let mut experiments = HashMap::with_capacity(found.len());
    for row in found {
        let experiment = from_row(row)?;
        experiments.insert(experiment.id, experiment);
    }
    let tags: Vec<(i64, String, String)> = dialect::read_rows(conn, TAGS, &rows).await?;
    for (id, key, value) in tags {
        if let Some(experiment) = experiments.get_mut(&id) {
            experiment.tags.push(KeyValue { key, value });
        }
    }
    let mut all: Vec<Experiment> = ids.iter().filter_map(|id| experiments.remove(id)).collect();
    all.iter_mut().for_each(|experiment| experiment.tags.sort_unstable());
    Ok(all)
}

async fn id_by_name(conn: Conn<'_>, name: &str) -> sqlx::Result<Option<i64>> {
    const SQL: &str = "SELECT id FROM experiment WHERE name = $1";
    on!(conn, c => sqlx::query_scalar(SQL).bind(name).fetch_optional(c).await)
}

impl Db {
    /// The experiment with a number, whether deleted or not.
    pub async fn experiment(&self, id: i64) -> Result<Option<Experiment>> {
        let mut reader = self.reader().await?;
        let found = load_experiments(reader.conn(), &[id]).await;
        Ok(found.map_err(LoadError::sort(self.ctx(), "read experiments"))?.pop())
    }

    /// The experiment of a name, whether deleted or not.
    pub async fn experiment_by_name(&self, name: &str) -> Result<Option<Experiment>> {
        let mut reader = self.reader().await?;
        let id = id_by_name(reader.conn(), name).await.map_err(self.ctx().fail("read experiments"))?;
        let found = load_experiments(reader.conn(), id.as_slice()).await;
        Ok(found.map_err(LoadError::sort(self.ctx(), "read experiments"))?.pop())
    }
}

impl Tx {
    /// The experiment with a number, as it stands in this transaction.
    pub async fn experiment(&mut self, id: i64) -> Result<Option<Experiment>> {
        let ctx = Arc::clone(&self.transact.ctx);
        let found = load_experiments(self.transact.conn(), &[id]).await;
        Ok(found.map_err(LoadError::sort(&ctx, "read experiments"))?.pop())
    }

    /// The number for the next experiment: one more than the greatest that there is or was, from 1. That of one that was
    /// removed for good is not given again: what the log says of it must not seem to be of another one.
    pub async fn next_experiment(&mut self) -> Result<i64> {
        const SQL: &str = "SELECT MAX(n) + 1 FROM (SELECT COALESCE(MAX(id), 0) AS n FROM experiment
            UNION ALL SELECT COALESCE(MAX(CAST(substr(subject, 12) AS BIGINT)), 0) FROM event
                WHERE kind = 'experiment.removed') known";
        let ctx = Arc::clone(&self.transact.ctx);
        on!(self.transact.conn(), c => sqlx::query_scalar(SQL).fetch_one(c).await)
            .map_err(ctx.fail("read experiments"))
    }

    /// Records an experiment with its tags. Fails with [`Error::Exists`] if its name is taken, also by a deleted one.
    pub async fn create_experiment(&mut self, new: &Experiment) -> Result<()> {
        const SQL: &str =
            "INSERT INTO experiment (id, name, artifact_location, stage, created_at, updated_at)
            VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
        let ctx = Arc::clone(&self.transact.ctx);
        let added = on!(self.transact.conn(), c => sqlx::query(SQL)
            .bind(new.id).bind(&new.name).bind(&new.artifact_location).bind(new.stage.word())
            .bind(new.created_at.millis()).bind(new.updated_at.millis())
            .execute(c).await.map(|done| done.rows_affected()))
        .map_err(ctx.fail("record an experiment"))?;
        if added == 0 {
            return Err(Error::Exists { what: "experiment", name: new.name.clone() });
        }
        self.changed = true;
        for tag in &new.tags {
            self.set_experiment_tag(new.id, tag).await?;
        }
        Ok(())
    }

    /// Gives an experiment another name. Fails with [`Error::Exists`] if it is taken by another one.
    pub async fn rename_experiment(&mut self, id: i64, name: &str, at: Timestamp) -> Result<()> {
        const SQL: &str = "UPDATE experiment SET name = $1, updated_at = $2 WHERE id = $3";
        let ctx = Arc::clone(&self.transact.ctx);
        let holder = id_by_name(self.transact.conn(), name).await.map_err(ctx.fail("read experiments"))?;
        if holder.is_some_and(|holder| holder != id) {
            return Err(Error::Exists { what: "experiment", name: name.to_owned() });
        }
        let done = on!(self.transact.conn(), c => sqlx::query(SQL)
            .bind(name).bind(at.millis()).bind(id).execute(c).await.map(|done| done.rows_affected()))
        .map_err(ctx.fail("rename an experiment"))?;
        self.changed_experiment(id, done)
    }

    /// Marks an experiment and all its runs as deleted, or takes them back.
    ///
    /// Fails with [`Error::NotFound`] if it is not in the other stage.
    pub async fn move_experiment(&mut self, id: i64, to: Stage, at: Timestamp) -> Result<()> {
        const SQL: &str = "UPDATE experiment SET stage = $1, updated_at = $2 WHERE id = $3 AND stage <> $1";
        const RUNS: &str =
            "UPDATE run SET stage = $1, deleted_at = $2 WHERE experiment_id = $3 AND stage <> $1";
        let ctx = Arc::clone(&self.transact.ctx);
        let done = on!(self.transact.conn(), c => sqlx::query(SQL)
            .bind(to.word()).bind(at.millis()).bind(id).execute(c).await.map(|done| done.rows_affected()))
        .map_err(ctx.fail("move an experiment"))?;
        self.changed_experiment(id, done)?;
        let deleted_at = (to == Stage::Deleted).then_some(at.millis());
        on!(self.transact.conn(), c => sqlx::query(RUNS)
            .bind(to.word()).bind(deleted_at).bind(id).execute(c).await.map(drop))
        .map_err(ctx.fail("move runs"))
    }

    fn changed_experiment(&mut self, id: i64, rows: u64) -> Result<()> {
        if rows == 0 {
            return Err(Error::NotFound { what: "experiment", name: id.to_string() });
        }
        self.changed = true;
        Ok(())
    }

    /// Sets a tag of an experiment that is there.
    pub async fn set_experiment_tag(&mut self, id: i64, tag: &KeyValue) -> Result<()> {
        const SQL: &str = "INSERT INTO experiment_tag (experiment_id, key, value) VALUES ($1, $2, $3)
            ON CONFLICT (experiment_id, key) DO UPDATE SET value = excluded.value";
        let ctx = Arc::clone(&self.transact.ctx);
        self.changed = true;
        on!(self.transact.conn(), c => sqlx::query(SQL)
            .bind(id).bind(&tag.key).bind(&tag.value).execute(c).await.map(drop))
        .map_err(ctx.fail("tag an experiment"))
    }

    /// Removes a tag of an experiment; says whether it was there.
    pub async fn remove_experiment_tag(&mut self, id: i64, key: &str) -> Result<bool> {
        const SQL: &str = "DELETE FROM experiment_tag WHERE experiment_id = $1 AND key = $2";
        let ctx = Arc::clone(&self.transact.ctx);
        let done = on!(self.transact.conn(), c => sqlx::query(SQL)
            .bind(id).bind(key).execute(c).await.map(|done| done.rows_affected()))
        .map_err(ctx.fail("tag an experiment"))?;
        self.changed |= done > 0;
        Ok(done > 0)
    }
}
