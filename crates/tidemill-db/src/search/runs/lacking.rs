//! Which runs lack a metric, remembered. The last page in the order of a metric ends with them, and that there are none can be told of
//! each run only: among 200,000 that takes ten times as long as the page.
//!
//! A run never loses a metric, so what was found holds for all runs up to some number of a row, and a search looks at those that came
//! since. SQLite gives the number of a last row that is removed to the next one; by the identifier of the last run that was looked at
//! it is told whether it did. PostgreSQL gives numbers in one order and commits in another, but runs come with an event: whoever makes one
//! has the head of the log from before its number is given until it is committed, so who sees a run sees all with smaller numbers.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::Result;
use crate::search::runs::plan::Search;

/// Metrics of experiments that are remembered.
const METRICS: usize = 256;
/// Where more runs than this lack a metric, a walk finds some of them soon.
const RUNS: usize = 1_000;

/// What is remembered, of one database.
#[derive(Debug, Default)]
pub(crate) struct Lacking {
    known: Mutex<HashMap<(i64, String), Known>>,
}

/// What is known of one metric in one experiment.
#[derive(Clone, Debug)]
struct Known {
    /// The last run that was looked at: the number of its row, and its identifier.
    last: Option<(i64, String)>,
    /// The rows of runs up to that one without the metric; `None` for too many.
    runs: Option<Vec<i64>>,
}

impl Lacking {
    fn get(&self, experiment: i64, metric: &str) -> Option<Known> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&(experiment, metric.to_owned())).cloned()
    }

    fn put(&self, experiment: i64, metric: &str, new: Known) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (experiment, metric.to_owned());
        if known.len() >= METRICS && !known.contains_key(&key) {
            known.clear();
        }
        known.insert(key, new);
    }
}

impl Search<'_> {
    /// The rows of all runs of the experiments without a metric, and perhaps some that have it by now. Nothing where these are many, or
    /// the experiments.
    pub(super) async fn lacking(&mut self, metric: &str) -> Result<Option<Vec<i64>>> {
        if self.scope.experiments.len() > self.effort.groups {
            return Ok(None);
        }
        let ctx = std::sync::Arc::clone(&self.ctx);
        let (last, mut all) = (self.last_run().await?, Vec::new());
        for experiment in self.scope.experiments.clone() {
            let known = match ctx.lacking.get(experiment, metric) {
                Some(known) if self.is_still_there(&known).await? => known,
                _ => Known { last: None, runs: Some(Vec::new()) },
            };
            let Some(mut runs) = known.runs else { return Ok(None) };
            let from = known.last.as_ref().map_or(0, |(row, _)| *row);
            if last.as_ref().is_some_and(|(row, _)| *row > from) {
                let mut sql = self.sql();
                sql.push("SELECT t.id FROM run t WHERE t.id > ").int(from);
                sql.push(" AND t.experiment_id + 0 = ").int(experiment);
                sql.push(" AND NOT EXISTS (SELECT 1 FROM series c WHERE c.run_id = t.id AND c.name = ");
                sql.text(metric).push(") LIMIT ").int((RUNS + 1) as i64);
                let new: Vec<(i64,)> = self.fetch(&sql).await?;
                runs.extend(new.into_iter().map(|(row,)| row));
                let are_few = runs.len() <= RUNS;
                let found = Known { last: last.clone(), runs: are_few.then(|| runs.clone()) };
                ctx.lacking.put(experiment, metric, found);
                if !are_few {
                    return Ok(None);
                }
            }
            all.append(&mut runs);
        }
        Ok(Some(all))
    }

    /// Whether the last run that was looked at is the one that it was.
    async fn is_still_there(&mut self, known: &Known) -> Result<bool> {
        let Some((row, uuid)) = &known.last else { return Ok(true) };
        let mut sql = self.sql();
        sql.push("SELECT uuid FROM run t WHERE t.id = ").int(*row);
        let found: Vec<(String,)> = self.fetch(&sql).await?;
        Ok(found.first().is_some_and(|(now,)| now == uuid))
    }

    /// The run of the last row.
    async fn last_run(&mut self) -> Result<Option<(i64, String)>> {
        let mut sql = self.sql();
        sql.push("SELECT id, uuid FROM run ORDER BY id DESC LIMIT 1");
        Ok(self.fetch::<(i64, String)>(&sql).await?.into_iter().next())
    }
}
