//! The step cache: what a step with a certain key gave.

use std::collections::HashMap;
use std::sync::Arc;

use tidemill_core::{Digest, RunId, Timestamp};

use crate::backend::Hand;
use crate::dialect::{self, Rows};
use crate::runs::parse;
use crate::{Db, Result, Tx};

/// What a step gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepResult {
    /// The step's cache key.
    pub key: Digest,
    /// The record of its outputs, as JSON text. Opaque here, except that every digest in it (`b3:…`) counts as
    /// referred to in [`Db::roots`].
    pub outputs: String,
    /// The run that did it.
    pub run: RunId,
    /// When.
    pub created_at: Timestamp,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

type Row = (String, String, String, i64, i64);

fn from_row((key, outputs, run, created_at, duration_ms): Row) -> Result<(Digest, StepResult)> {
    let key: Digest = parse("step_cache", "cache_key", &key, "a digest")?;
    let result = StepResult {
        key,
        outputs,
        run: parse("step_cache", "run_id", &run, "a run id")?,
        created_at: Timestamp::from_millis(created_at),
        duration_ms: duration_ms as u64,
    };
    Ok((key, result))
}

impl Db {
    /// The result stored under a key.
    pub async fn step_cache(&self, key: Digest) -> Result<Option<StepResult>> {
        Ok(self.step_cache_many(&[key]).await?.remove(&key))
    }

    /// The results stored under many keys, in one query; keys without one are absent.
    pub async fn step_cache_many(&self, keys: &[Digest]) -> Result<HashMap<Digest, StepResult>> {
        const SQL: &str = "SELECT c.cache_key, c.outputs, c.run_id, c.created_at, c.duration_ms
            FROM {rows} JOIN step_cache c ON c.cache_key = r.wanted";
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
        let rows = Rows::new(keys.len()).text("wanted", keys.iter().map(String::as_str));
        let mut reader = self.reader().await?;
        let found: Vec<Row> = dialect::read_rows(reader.conn(), SQL, &rows)
            .await
            .map_err(self.ctx().fail("read the step cache"))?;
        found.into_iter().map(from_row).collect()
    }
}

impl Tx {
    /// Puts a result into the cache, replacing one with the same key.
    pub async fn put_step_result(&mut self, result: &StepResult) -> Result<()> {
        self.changed = true;
        let ctx = Arc::clone(&self.transact.ctx);
        put_results(self.transact.conn().into(), &[result])
            .await
            .map_err(ctx.fail("record a step's result"))?;
        Ok(())
    }

    /// Notes that results were used at `at`. This alone is no state change and needs no event.
    pub async fn touch_cache(&mut self, keys: &[Digest], at: Timestamp) -> Result<()> {
        const SQL: &str = "UPDATE step_cache SET used_at = r.now FROM {rows}
            WHERE step_cache.cache_key = r.wanted AND step_cache.used_at < r.now";
        if keys.is_empty() {
            return Ok(());
        }
        let ctx = Arc::clone(&self.transact.ctx);
        let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
        let rows = Rows::new(keys.len())
            .text("wanted", keys.iter().map(String::as_str))
            .int("now", keys.iter().map(|_| at.millis()));
        dialect::write_rows(self.transact.conn(), SQL, &rows)
            .await
            .map_err(ctx.fail("touch the step cache"))?;
        Ok(())
    }
}

/// Writes results in one statement. The same key must not be there twice.
pub(crate) async fn put_results(hand: Hand<'_>, results: &[&StepResult]) -> sqlx::Result<u64> {
    const SQL: &str = "INSERT INTO step_cache ({columns}) SELECT {columns} FROM {rows} WHERE TRUE
        ON CONFLICT (cache_key) DO UPDATE SET outputs = excluded.outputs, run_id = excluded.run_id,
            created_at = excluded.created_at, duration_ms = excluded.duration_ms, used_at = excluded.used_at";
    let keys: Vec<String> = results.iter().map(|result| result.key.to_string()).collect();
    let runs: Vec<String> = results.iter().map(|result| result.run.to_string()).collect();
    let rows = Rows::new(results.len())
        .text("cache_key", keys.iter().map(String::as_str))
        .text("outputs", results.iter().map(|result| result.outputs.as_str()))
        .text("run_id", runs.iter().map(String::as_str))
        .int("created_at", results.iter().map(|result| result.created_at.millis()))
        .int("duration_ms", results.iter().map(|result| result.duration_ms as i64))
        .int("used_at", results.iter().map(|result| result.created_at.millis()));
    hand.write_rows(SQL, &rows).await
}
