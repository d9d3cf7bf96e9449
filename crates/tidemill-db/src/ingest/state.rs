//! What must be known of the runs that a group touches, read in one statement per table.

use std::collections::{BTreeSet, HashMap, HashSet};

use tidemill_core::RunId;

use super::work::Work;
use crate::backend::Hand;
use crate::dialect::{Rows, row_lock, shared_row_lock};
use crate::runs::parse;
use crate::tracking::experiments::parse_stage;
use crate::tracking::load::LoadError;
use crate::tracking::runs::{InfoRow, info_from_row, select_info};
use crate::tracking::{RunInfo, Stage};

/// What a group knows. Decisions change it, so that each request sees what those before it in its group did.
#[derive(Default)]
pub(super) struct State {
    /// The number of the last event.
    pub(super) log_size: u64,
    pub(super) runs: HashMap<RunId, KnownRun>,
    pub(super) experiments: HashMap<i64, KnownExperiment>,
    /// The values of those parameters that the group sets.
    pub(super) params: HashMap<RunId, HashMap<String, String>>,
    /// Those tags that the group removes, and whether they are there.
    pub(super) tags: HashMap<RunId, HashMap<String, bool>>,
    /// The numbers of the logged models that the group has metrics of.
    pub(super) models: HashMap<String, i64>,
    /// Those pipeline runs that the group has steps of.
    pub(super) pipeline_runs: HashSet<RunId>,
}

pub(super) struct KnownRun {
    /// The number of its row; none as long as it is not written.
    pub(super) row: Option<i64>,
    pub(super) info: RunInfo,
}

pub(super) struct KnownExperiment {
    pub(super) stage: Stage,
    pub(super) artifact_location: String,
}

impl State {
    /// Reads what the requests of `group` touch, in a transaction that writes; on PostgreSQL it stays as it is until the transaction ends.
    pub(super) async fn read(mut hand: Hand<'_>, group: &[Work], log_size: u64) -> Result<Self, LoadError> {
        let mut state = Self { log_size, ..Self::default() };
        let wanted = Wanted::of(group);
        state.read_experiments(hand.reborrow(), &wanted.experiments).await?;
        state.read_runs(hand.reborrow(), &wanted.runs).await?;
        state.read_params(hand.reborrow(), &wanted.params).await?;
        state.read_tags(hand.reborrow(), &wanted.tags).await?;
        state.read_models(hand.reborrow(), &wanted.models).await?;
        state.read_pipeline_runs(hand, &wanted.pipeline_runs).await?;
        Ok(state)
    }

    /// The row of a run that is written.
    pub(super) fn row(&self, run: RunId) -> sqlx::Result<i64> {
        self.runs.get(&run).and_then(|run| run.row).ok_or(sqlx::Error::RowNotFound)
    }

    async fn read_experiments(&mut self, hand: Hand<'_>, wanted: &BTreeSet<i64>) -> Result<(), LoadError> {
        const SQL: &str =
            "SELECT t.id, t.stage, t.artifact_location FROM {rows} JOIN experiment t ON t.id = r.wanted
            ORDER BY t.id";
        if wanted.is_empty() {
            return Ok(());
        }
        let sql = format!("{SQL}{}", shared_row_lock(&hand));
        let rows = Rows::new(wanted.len()).padded().int("wanted", wanted.iter().copied());
        let found: Vec<(i64, String, String)> = hand.read_rows(&sql, &rows).await?;
        for (id, stage, artifact_location) in found {
            let stage = parse_stage("experiment", &stage)?;
            self.experiments.insert(id, KnownExperiment { stage, artifact_location });
        }
        Ok(())
    }

    /// In the order of their numbers, so that two servers that write to the same runs do not wait for each other.
    async fn read_runs(&mut self, hand: Hand<'_>, wanted: &BTreeSet<RunId>) -> Result<(), LoadError> {
        const SQL: &str = select_info!("FROM {rows} JOIN run t ON t.uuid = r.wanted ORDER BY t.id");
        if wanted.is_empty() {
            return Ok(());
        }
        let sql = format!("{SQL}{}", row_lock(&hand));
        let found: Vec<InfoRow> = hand.read_rows(&sql, &run_rows(&texts(wanted))).await?;
        for row in found {
            let (row, info) = info_from_row(row)?;
            self.runs.insert(info.id, KnownRun { row: Some(row), info });
        }
        Ok(())
    }

    async fn read_params(&mut self, hand: Hand<'_>, wanted: &BTreeSet<(RunId, &str)>) -> sqlx::Result<()> {
        const SQL: &str = "SELECT p.run_id, p.key, p.value FROM {rows}
            JOIN run_param p ON p.run_id = r.run_id AND p.key = r.key";
        let Some((pairs, runs)) = self.pairs(wanted) else { return Ok(()) };
        let rows = Rows::new(pairs.len())
            .padded()
            .int("run_id", pairs.iter().map(|(row, _)| *row))
            .text("key", pairs.iter().map(|(_, key)| *key));
        let found: Vec<(i64, String, String)> = hand.read_rows(SQL, &rows).await?;
        for (row, key, value) in found {
            if let Some(run) = runs.get(&row) {
                self.params.entry(*run).or_default().insert(key, value);
            }
        }
        Ok(())
    }

    async fn read_tags(&mut self, hand: Hand<'_>, wanted: &BTreeSet<(RunId, &str)>) -> sqlx::Result<()> {
        const SQL: &str = "SELECT p.run_id, p.key FROM {rows}
            JOIN run_tag p ON p.run_id = r.run_id AND p.key = r.key";
        for (run, key) in wanted {
            self.tags.entry(*run).or_default().insert((*key).to_owned(), false);
        }
        let Some((pairs, runs)) = self.pairs(wanted) else { return Ok(()) };
        let rows = Rows::new(pairs.len())
            .padded()
            .int("run_id", pairs.iter().map(|(row, _)| *row))
            .text("key", pairs.iter().map(|(_, key)| *key));
        let found: Vec<(i64, String)> = hand.read_rows(SQL, &rows).await?;
        for (row, key) in found {
            if let Some(run) = runs.get(&row) {
                self.tags.entry(*run).or_default().insert(key, true);
            }
        }
        Ok(())
    }

    async fn read_models(&mut self, hand: Hand<'_>, wanted: &BTreeSet<&str>) -> sqlx::Result<()> {
        const SQL: &str =
            "SELECT t.uuid, t.id FROM {rows} JOIN logged_model t ON t.uuid = r.wanted ORDER BY t.id";
        if wanted.is_empty() {
            return Ok(());
        }
        let sql = format!("{SQL}{}", row_lock(&hand));
        let rows = Rows::new(wanted.len()).padded().text("wanted", wanted.iter().copied());
        let found: Vec<(String, i64)> = hand.read_rows(&sql, &rows).await?;
        self.models.extend(found);
        Ok(())
    }

    async fn read_pipeline_runs(
        &mut self,
        hand: Hand<'_>,
        wanted: &BTreeSet<RunId>,
    ) -> Result<(), LoadError> {
        const SQL: &str = "SELECT t.id FROM {rows} JOIN pipeline_run t ON t.id = r.wanted";
        if wanted.is_empty() {
            return Ok(());
        }
        let found: Vec<(String,)> = hand.read_rows(SQL, &run_rows(&texts(wanted))).await?;
        for (id,) in found {
            self.pipeline_runs.insert(parse("pipeline_run", "id", &id, "a run id")?);
        }
        Ok(())
    }

    /// Keys of runs that are there, by row, and the way back from rows to runs; none if there is none.
    fn pairs<'a>(
        &self,
        wanted: &BTreeSet<(RunId, &'a str)>,
    ) -> Option<(Vec<(i64, &'a str)>, HashMap<i64, RunId>)> {
        let mut runs = HashMap::new();
        let mut pairs = Vec::with_capacity(wanted.len());
        for (run, key) in wanted {
            if let Some(row) = self.runs.get(run).and_then(|known| known.row) {
                runs.insert(row, *run);
                pairs.push((row, *key));
            }
        }
        (!pairs.is_empty()).then_some((pairs, runs))
    }
}

fn texts(wanted: &BTreeSet<RunId>) -> Vec<String> {
    wanted.iter().map(ToString::to_string).collect()
}

fn run_rows(texts: &[String]) -> Rows<'_> {
    Rows::new(texts.len()).padded().text("wanted", texts.iter().map(String::as_str))
}

/// What the requests of a group touch.
#[derive(Default)]
struct Wanted<'a> {
    experiments: BTreeSet<i64>,
    runs: BTreeSet<RunId>,
    params: BTreeSet<(RunId, &'a str)>,
    tags: BTreeSet<(RunId, &'a str)>,
    models: BTreeSet<&'a str>,
    pipeline_runs: BTreeSet<RunId>,
}

impl<'a> Wanted<'a> {
    fn of(group: &'a [Work]) -> Self {
        let mut wanted = Self::default();
        for work in group {
            let (run, batch) = match work {
                Work::Create { run, batch, .. } => {
                    wanted.experiments.insert(run.experiment);
                    (run.id, batch)
                }
                Work::Write { run, batch, .. } => (*run, batch),
                Work::Step { step, .. } => {
                    wanted.pipeline_runs.insert(step.run);
                    continue;
                }
                Work::Events(_) => continue,
            };
            wanted.runs.insert(run);
            wanted.params.extend(batch.params.iter().map(|param| (run, param.key.as_str())));
            wanted.tags.extend(batch.removed_tags.iter().map(|key| (run, key.as_str())));
            wanted.models.extend(batch.metrics.iter().filter_map(|metric| metric.model_id.as_deref()));
        }
        wanted
    }
}
