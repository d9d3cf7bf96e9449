//! Writing evaluation datasets. Every change is committed with an event.

use std::sync::Arc;

use crate::backend::on;
use crate::dialect::{self, Rows};
use crate::evaluation::read::{self, RecordRow};
use crate::evaluation::{EvaluationDataset, EvaluationRecord};
use crate::tracking::KeyValue;
use crate::{Error, Result, Tx};

impl Tx {
    /// A dataset as it is in this transaction.
    pub async fn evaluation_dataset(&mut self, id: &str) -> Result<Option<EvaluationDataset>> {
        let ctx = Arc::clone(&self.transact.ctx);
        let found =
            read::one(self.transact.conn(), id).await.map_err(ctx.fail("read an evaluation dataset"))?;
        Ok(found.map(|(_, dataset)| dataset))
    }

    /// Records a new dataset, or what has changed of one; its tags are added to those that it has.
    pub async fn put_evaluation_dataset(&mut self, dataset: &EvaluationDataset) -> Result<()> {
        const SQL: &str = "INSERT INTO evaluation_dataset
            (uuid, name, digest, schema, profile, created_at, updated_at, created_by, updated_by)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
            ON CONFLICT (uuid) DO UPDATE SET name = excluded.name, digest = excluded.digest, schema = excluded.schema,
                profile = excluded.profile, updated_at = excluded.updated_at, updated_by = excluded.updated_by";
        const TAGS: &str = "INSERT INTO evaluation_dataset_tag (dataset_id, key, value)
            SELECT d.id, r.key, r.value FROM {rows} JOIN evaluation_dataset d ON d.uuid = r.dataset WHERE TRUE
            ON CONFLICT (dataset_id, key) DO UPDATE SET value = excluded.value";
        let ctx = Arc::clone(&self.transact.ctx);
        let fail = "store an evaluation dataset";
        on!(self.transact.conn(), c => sqlx::query(SQL).bind(&dataset.id).bind(&dataset.name)
            .bind(&dataset.digest).bind(&dataset.schema).bind(&dataset.profile).bind(dataset.created_at.millis())
            .bind(dataset.updated_at.millis()).bind(&dataset.created_by).bind(&dataset.updated_by)
            .execute(c).await.map(|_| ()))
        .map_err(ctx.fail(fail))?;
        self.changed = true;
        let tags: std::collections::BTreeMap<&str, &KeyValue> =
            dataset.tags.iter().map(|tag| (tag.key.as_str(), tag)).collect();
        let rows = Rows::new(tags.len())
            .text("dataset", tags.iter().map(|_| dataset.id.as_str()))
            .text("key", tags.keys().copied())
            .text("value", tags.values().map(|tag| tag.value.as_str()));
        dialect::write_rows(self.transact.conn(), TAGS, &rows).await.map(|_| ()).map_err(ctx.fail(fail))
    }

    /// Removes a tag of a dataset; `false` where it is not there.
    pub async fn delete_evaluation_tag(&mut self, dataset: &str, key: &str) -> Result<bool> {
        const SQL: &str = "DELETE FROM evaluation_dataset_tag
            WHERE key = $2 AND dataset_id = (SELECT id FROM evaluation_dataset WHERE uuid = $1)";
        let ctx = Arc::clone(&self.transact.ctx);
        let rows = on!(self.transact.conn(), c => sqlx::query(SQL).bind(dataset).bind(key)
            .execute(c).await.map(|done| done.rows_affected()))
        .map_err(ctx.fail("remove a tag of an evaluation dataset"))?;
        self.changed |= rows > 0;
        Ok(rows > 0)
    }

    /// Removes a dataset with its records; `false` where it is not there.
    pub async fn delete_evaluation_dataset(&mut self, id: &str) -> Result<bool> {
        const SQL: &str = "DELETE FROM evaluation_dataset WHERE uuid = $1";
        let ctx = Arc::clone(&self.transact.ctx);
        let rows = on!(self.transact.conn(), c => sqlx::query(SQL).bind(id)
            .execute(c).await.map(|done| done.rows_affected()))
        .map_err(ctx.fail("delete an evaluation dataset"))?;
        self.changed |= rows > 0;
        Ok(rows > 0)
    }

    /// Adds a dataset to experiments, or takes it out of them.
    ///
    /// Fails with [`Error::NotFound`] of an `experiment` that is not there.
    pub async fn link_evaluation(&mut self, dataset: &str, experiments: &[i64], there: bool) -> Result<()> {
        const FIND: &str = "SELECT r.id FROM {rows} JOIN experiment e ON e.id = r.id";
        const ADD: &str = "INSERT INTO evaluation_dataset_experiment (dataset_id, experiment_id)
            SELECT d.id, r.id FROM {rows} JOIN evaluation_dataset d ON d.uuid = r.dataset WHERE TRUE
            ON CONFLICT (dataset_id, experiment_id) DO NOTHING";
        const REMOVE: &str = "DELETE FROM evaluation_dataset_experiment WHERE (dataset_id, experiment_id) IN
            (SELECT d.id, r.id FROM {rows} JOIN evaluation_dataset d ON d.uuid = r.dataset)";
        let ctx = Arc::clone(&self.transact.ctx);
        let experiments: std::collections::BTreeSet<i64> = experiments.iter().copied().collect();
        let rows = Rows::new(experiments.len())
            .int("id", experiments.iter().copied())
            .text("dataset", experiments.iter().map(|_| dataset));
        let fail = "link an evaluation dataset";
        if there {
            let found: Vec<(i64,)> =
                dialect::read_rows(self.transact.conn(), FIND, &rows).await.map_err(ctx.fail(fail))?;
            if let Some(missing) = experiments.iter().find(|id| !found.contains(&(**id,))) {
                return Err(Error::NotFound { what: "experiment", name: missing.to_string() });
            }
        }
        let sql = if there { ADD } else { REMOVE };
        let changed = dialect::write_rows(self.transact.conn(), sql, &rows).await.map_err(ctx.fail(fail))?;
        self.changed |= changed > 0;
        Ok(())
    }

    /// The records of a dataset that have these hashes.
    pub async fn evaluation_records(
        &mut self,
        dataset: &str,
        hashes: &[&str],
    ) -> Result<Vec<EvaluationRecord>> {
        const SQL: &str = "SELECT {record} FROM {rows} JOIN evaluation_dataset d ON d.uuid = r.dataset
            JOIN evaluation_record x ON x.dataset_id = d.id AND x.input_hash = r.hash";
        let ctx = Arc::clone(&self.transact.ctx);
        let hashes: std::collections::BTreeSet<&str> = hashes.iter().copied().collect();
        let rows = Rows::new(hashes.len())
            .text("dataset", hashes.iter().map(|_| dataset))
            .text("hash", hashes.iter().copied());
        let sql = SQL.replace("{record}", read::RECORD);
        let found: Vec<RecordRow> = dialect::read_rows(self.transact.conn(), &sql, &rows)
            .await
            .map_err(ctx.fail("read evaluation records"))?;
        Ok(found.into_iter().map(|row| row.0).collect())
    }

    /// Writes records of a dataset; those with the same hash are written anew. Gives how many it then has.
    pub async fn put_evaluation_records(
        &mut self,
        dataset: &str,
        records: &[EvaluationRecord],
    ) -> Result<u64> {
        const ID: &str = "SELECT id FROM evaluation_dataset WHERE uuid = $1";
        const SQL: &str = "INSERT INTO evaluation_record ({columns}) SELECT {columns} FROM {rows} WHERE TRUE
            ON CONFLICT (dataset_id, input_hash) DO UPDATE SET outputs = excluded.outputs,
                expectations = excluded.expectations, tags = excluded.tags, updated_at = excluded.updated_at,
                updated_by = excluded.updated_by";
        let ctx = Arc::clone(&self.transact.ctx);
        let fail = "store evaluation records";
        let id: Option<i64> =
            on!(self.transact.conn(), c => sqlx::query_scalar(ID).bind(dataset).fetch_optional(c).await)
                .map_err(ctx.fail(fail))?;
        let id =
            id.ok_or_else(|| Error::NotFound { what: "evaluation dataset", name: dataset.to_owned() })?;
        let rows = Rows::new(records.len())
            .text("uuid", records.iter().map(|record| record.id.as_str()))
            .int("dataset_id", records.iter().map(|_| id))
            .text("input_hash", records.iter().map(|record| record.input_hash.as_str()))
            .text("inputs", records.iter().map(|record| record.inputs.as_str()))
            .opt_text("outputs", records.iter().map(|record| record.outputs.as_deref()))
            .opt_text("expectations", records.iter().map(|record| record.expectations.as_deref()))
            .opt_text("tags", records.iter().map(|record| record.tags.as_deref()))
            .opt_text("source", records.iter().map(|record| record.source.as_deref()))
            .text("source_kind", records.iter().map(|record| record.source_kind.as_str()))
            .opt_text("source_id", records.iter().map(|record| record.source_id.as_deref()))
            .int("created_at", records.iter().map(|record| record.created_at.millis()))
            .int("updated_at", records.iter().map(|record| record.updated_at.millis()))
            .opt_text("created_by", records.iter().map(|record| record.created_by.as_deref()))
            .opt_text("updated_by", records.iter().map(|record| record.updated_by.as_deref()));
        dialect::write_rows(self.transact.conn(), SQL, &rows).await.map_err(ctx.fail(fail))?;
        self.changed |= !records.is_empty();
        self.count(id).await
    }

    /// Removes records of a dataset; gives how many were removed and how many are left.
    pub async fn delete_evaluation_records(&mut self, dataset: &str, ids: &[String]) -> Result<(u64, u64)> {
        const ID: &str = "SELECT id FROM evaluation_dataset WHERE uuid = $1";
        const SQL: &str = "DELETE FROM evaluation_record WHERE id IN (SELECT x.id FROM {rows}
            JOIN evaluation_record x ON x.uuid = r.uuid AND x.dataset_id = r.dataset_id)";
        let ctx = Arc::clone(&self.transact.ctx);
        let fail = "delete evaluation records";
        let id: Option<i64> =
            on!(self.transact.conn(), c => sqlx::query_scalar(ID).bind(dataset).fetch_optional(c).await)
                .map_err(ctx.fail(fail))?;
        let Some(id) = id else { return Ok((0, 0)) };
        let rows = Rows::new(ids.len())
            .text("uuid", ids.iter().map(String::as_str))
            .int("dataset_id", ids.iter().map(|_| id));
        let removed = dialect::write_rows(self.transact.conn(), SQL, &rows).await.map_err(ctx.fail(fail))?;
        self.changed |= removed > 0;
        Ok((removed, self.count(id).await?))
    }

    async fn count(&mut self, id: i64) -> Result<u64> {
        const SQL: &str = "SELECT COUNT(*) FROM evaluation_record WHERE dataset_id = $1";
        let ctx = Arc::clone(&self.transact.ctx);
        let count: i64 = on!(self.transact.conn(), c => sqlx::query_scalar(SQL).bind(id).fetch_one(c).await)
            .map_err(ctx.fail("count evaluation records"))?;
        Ok(count as u64)
    }
}
