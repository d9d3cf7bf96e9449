//! How many runs a search finds, and which keys the runs of an experiment have: for the head and the foot of a table of runs.

use std::sync::Arc;

use futures::FutureExt as _;

use crate::search::Sql;
use crate::search::runs::need::{Need, needs};
use crate::search::runs::plan::Search;
use crate::search::runs::query::{Found, Scope, push_search};
use crate::search::runs::{Effort, RunSearch};
use crate::tracking::Stage;
use crate::{Db, Result};

/// Runs that are looked at to see which of them meet a filter; where more would have to be, nothing is counted.
const LOOKED_AT: usize = 20_000;
/// Runs of an experiment whose keys are looked at, the newest.
const OF_RUNS: i64 = 10_000;

/// What a key is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyOf {
    /// A metric.
    Metrics,
    /// A parameter.
    Params,
    /// A tag.
    Tags,
}

impl Db {
    /// How many runs a search finds on all of its pages together, counted up to `limit`. Nothing where too many runs would have to be
    /// looked at for that.
    pub async fn count_runs(&self, search: &RunSearch, limit: usize) -> Result<Option<usize>> {
        self.count_runs_with(search, limit, LOOKED_AT).await
    }

    /// [`Self::count_runs`] with another limit of runs that are looked at.
    pub async fn count_runs_with(
        &self,
        search: &RunSearch,
        limit: usize,
        looked_at: usize,
    ) -> Result<Option<usize>> {
        let needs = needs(&search.conditions);
        if search.experiments.is_empty() || search.stages.is_empty() || needs.contains(&Need::Nothing) {
            return Ok(Some(0));
        }
        let (ctx, scope) = (Arc::clone(self.ctx()), Scope::of(search));
        self.view("search runs", move |hand| {
            async move {
                let mut plan = Search { ctx, hand, scope: scope.clone(), effort: Effort::default() };
                plan.prepare().await?;
                if needs.is_empty() {
                    return Ok(Some(plan.fewest(&needs, limit).await?.0));
                }
                let (rows, driver) = plan.fewest(&needs, looked_at).await?;
                if rows >= looked_at {
                    return Ok(None);
                }
                let mut sql = plan.sql();
                push_search(&mut sql, &scope, &driver, &needs, &[], None, limit);
                let found: Vec<Found> = plan.fetch(&sql).await?;
                Ok(Some(found.len()))
            }
            .boxed()
        })
        .await
    }

    /// Keys that runs of an experiment have and that hold `part`, whatever the case of letters, in order; at most `limit`. Of an
    /// experiment with very many runs the newest 10,000 are looked at.
    pub async fn run_keys(
        &self,
        experiment: i64,
        stage: Stage,
        of: KeyOf,
        part: &str,
        limit: usize,
    ) -> Result<Vec<String>> {
        let mut tx = self.snapshot().await?;
        let mut sql = Sql::new(&tx.conn());
        sql.push("SELECT DISTINCT k.")
            .push(of.column())
            .push(" FROM (SELECT id FROM run WHERE experiment_id = ");
        sql.int(experiment).push(" AND stage = ").text(stage.word());
        sql.push(" ORDER BY started_at DESC LIMIT ").int(OF_RUNS).push(") r CROSS JOIN ").push(of.table());
        sql.push(" k WHERE k.run_id = r.id");
        if !part.is_empty() {
            sql.push(" AND ").either("instr(lower(k.", "strpos(lower(k.").push(of.column());
            sql.push("), lower(").text(part).push(")) > 0");
        }
        sql.push(" ORDER BY 1 LIMIT ").int(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows: Vec<(String,)> =
            sql.fetch(tx.conn()).await.map_err(self.ctx().fail("read keys of runs"))?;
        Ok(rows.into_iter().map(|(key,)| key).collect())
    }
}

impl KeyOf {
    const fn table(self) -> &'static str {
        match self {
            Self::Metrics => "series",
            Self::Params => "run_param",
            Self::Tags => "run_tag",
        }
    }

    const fn column(self) -> &'static str {
        match self {
            Self::Metrics => "name",
            Self::Params | Self::Tags => "key",
        }
    }
}
