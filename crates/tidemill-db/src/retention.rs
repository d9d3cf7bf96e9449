//! What the metadata still refers to, and how old runs leave it.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidemill_core::Digest;

use crate::backend::on;
use crate::{Db, Result, RunRecord, Tx};

/// How much is kept. Dataset versions and the log are always kept, and so is every running run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep<'a> {
    /// Keep only this many of the latest runs of each project, and of the step cache only what these runs used; `None`
    /// keeps all.
    pub runs: Option<usize>,
    /// The project whose runs are counted; all runs of the others are kept. `None` counts those of every project.
    pub project: Option<&'a str>,
}

/// What [`Tx::prune`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Runs.
    pub runs: u64,
    /// Their steps.
    pub steps: u64,
    /// Results in the step cache.
    pub results: u64,
}

/// The runs that stay: the latest `$1` of each project, those that are still running, and, where `$2` names a project,
/// all of the other ones.
macro_rules! kept_runs {
    () => {
        "(SELECT id FROM (SELECT id, project, state,
            ROW_NUMBER() OVER (PARTITION BY project ORDER BY started_at DESC, id DESC) AS place
            FROM pipeline_run) placed
          WHERE place <= $1 OR state = 'running' OR ($2 <> '' AND project <> $2))"
    };
}

impl Db {
    /// Every digest that the metadata would refer to after [`Tx::prune`] with the same `keep`: contents of
    /// datasets and of registered versions, plans, lock files, outputs, logs, evidence, parts of the inference log, and all digests in the output records of the step cache.
    ///
    /// Not every one names a stored object: a collector ignores those that its store does not have.
    pub async fn roots(&self, keep: &Keep<'_>) -> Result<BTreeSet<Digest>> {
        const VERSIONS: &str = "SELECT content FROM dataset_version WHERE $1 IS NOT NULL AND $2 IS NOT NULL";
        const MODELS: &str = "SELECT content FROM model_version WHERE content IS NOT NULL AND $1 IS NOT NULL AND $2 IS NOT NULL";
        const RUNS: &str = concat!(
            "SELECT plan || ' ' || COALESCE(lock_digest, '') FROM pipeline_run WHERE id IN ",
            kept_runs!()
        );
        const STEPS: &str = concat!(
            "SELECT COALESCE(outputs, '') || ' ' || COALESCE(log, '') FROM step_run WHERE run_id IN ",
            kept_runs!()
        );
        const RESULTS: &str = concat!(
            "SELECT outputs FROM step_cache WHERE cache_key IN (SELECT cache_key FROM step_run WHERE run_id IN ",
            kept_runs!(),
            ")"
        );
        const ALL_RESULTS: &str = "SELECT outputs FROM step_cache WHERE $1 IS NOT NULL AND $2 IS NOT NULL";
        const EVIDENCE: &str = concat!(
            "SELECT body FROM event WHERE kind = 'model.tested' AND subject IN (SELECT 'run:' || id FROM ",
            kept_runs!(),
            " kept)"
        );
        // Of each dataset, how its expectations came out last; what a release rests on, the release names.
        const CHECKS: &str = "SELECT body FROM event WHERE seq IN
            (SELECT MAX(seq) FROM event WHERE kind = 'data.checked' GROUP BY subject) AND $1 IS NOT NULL AND $2 IS NOT NULL";
        const RELEASES: &str = "SELECT body FROM release WHERE $1 IS NOT NULL AND $2 IS NOT NULL";
        const RECORDS: &str = "SELECT digest FROM record_part WHERE $1 IS NOT NULL AND $2 IS NOT NULL";
        const WINDOWS: &str = "SELECT profile FROM monitor_window WHERE profile IS NOT NULL AND $1 IS NOT NULL AND $2 IS NOT NULL";
        let limit = keep.limit();
        let results = if keep.runs.is_some() { RESULTS } else { ALL_RESULTS };
        let mut tx = self.snapshot().await?;
        let mut roots = BTreeSet::new();
        for sql in [VERSIONS, MODELS, RUNS, STEPS, results, EVIDENCE, CHECKS, RELEASES, RECORDS, WINDOWS] {
            let texts: Vec<(String,)> =
                on!(tx.conn(), c => sqlx::query_as(sql).bind(limit).bind(keep.project()).fetch_all(c).await)
                    .map_err(self.ctx().fail("read what is in use"))?;
            texts.iter().for_each(|(text,)| roots.extend(digests_in(text)));
        }
        Ok(roots)
    }
}

impl Db {
    /// The runs that stay after [`Tx::prune`] with the same `keep`, newest first.
    pub async fn kept_runs(&self, keep: &Keep<'_>) -> Result<Vec<RunRecord>> {
        const SQL: &str = concat!("SELECT id FROM ", kept_runs!(), " kept");
        let (limit, project) = (keep.limit(), keep.project());
        let mut reader = self.reader().await?;
        let kept: Vec<(String,)> =
            on!(reader.conn(), c => sqlx::query_as(SQL).bind(limit).bind(project).fetch_all(c).await)
                .map_err(self.ctx().fail("read runs"))?;
        drop(reader);
        let kept: BTreeSet<String> = kept.into_iter().map(|(id,)| id).collect();
        let runs = self.runs(usize::MAX).await?;
        Ok(runs.into_iter().filter(|run| kept.contains(&run.id.to_string())).collect())
    }
}

impl Keep<'_> {
    fn project(&self) -> &str {
        self.project.unwrap_or_default()
    }

    fn limit(&self) -> i64 {
        self.runs.map_or(i64::MAX, |runs| i64::try_from(runs).unwrap_or(i64::MAX))
    }
}

impl Tx {
    /// Removes the runs, steps and results that `keep` does not cover. Commit it with a `StoreSwept` event.
    pub async fn prune(&mut self, keep: &Keep<'_>) -> Result<Pruned> {
        const STEPS: &str = concat!("DELETE FROM step_run WHERE run_id NOT IN ", kept_runs!());
        const RUNS: &str = concat!("DELETE FROM pipeline_run WHERE id NOT IN ", kept_runs!());
        const RESULTS: &str = "DELETE FROM step_cache WHERE NOT EXISTS
            (SELECT 1 FROM step_run s WHERE s.cache_key = step_cache.cache_key) AND $1 IS NOT NULL AND $2 IS NOT NULL";
        if keep.runs.is_none() {
            return Ok(Pruned::default());
        }
        let limit = keep.limit();
        let ctx = Arc::clone(&self.transact.ctx);
        let mut removed = [0; 3];
        for (removed, sql) in removed.iter_mut().zip([STEPS, RUNS, RESULTS]) {
            *removed = on!(self.transact.conn(), c => sqlx::query(sql).bind(limit).bind(keep.project())
                .execute(c).await.map(|done| done.rows_affected()))
            .map_err(ctx.fail("remove old runs"))?;
        }
        let [steps, runs, results] = removed;
        self.changed |= steps + runs + results > 0;
        Ok(Pruned { runs, steps, results })
    }
}

/// All digests that stand in a text, wherever they stand.
fn digests_in(text: &str) -> impl Iterator<Item = Digest> + '_ {
    text.match_indices("b3:").filter_map(|(at, _)| text.get(at..at + 67)?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_found_in_any_text() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let text = format!(r#"{{"é":"{a}","x":["b3:","b3:12",{{"y":"{b}"}}]}} b3:"#);
        assert_eq!(digests_in(&text).collect::<Vec<_>>(), [a, b]);
        assert_eq!(digests_in("").count(), 0);
    }
}
