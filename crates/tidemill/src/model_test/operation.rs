//! Tests of the exported model as a thing to run, and of the training as a thing to trust.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use arrow::array::RecordBatch;
use tidemill_core::declare::TaskKind;
use tidemill_project::{LatencyTest, LeakageTest, OneOrMany, SizeTest};
use tidemill_train::probe::{alone, overlap, smoke as signs};

use super::settle::{Found, Unusable, settled};
use super::{Case, Judged, Outcome, TestResult, rescore};
use crate::output::{bytes, number, percent, plural};
use crate::step::train::file;

/// The best that one input alone may do.
pub(crate) const ALONE: f64 = 0.98;
/// Calls that are timed.
const CALLS: usize = 1_000;
/// How long they may take together.
const PATIENCE: Duration = Duration::from_secs(5);
/// Fewest calls that have a 99th percentile worth the name.
const FEWEST: usize = 100;
/// Columns that a message names.
const NAMED: usize = 3;

impl Case<'_> {
    /// The model's inputs by name.
    pub(super) fn inputs(&self) -> anyhow::Result<Vec<String>> {
        if let Some(inputs) = self.made.and_then(|made| made.inputs.get()) {
            return Ok(inputs.clone());
        }
        let signature = crate::tracking::signature(self.folder)?;
        Ok(signature.inputs.into_iter().map(|input| input.name).collect())
    }

    /// The columns that a test names, or else the model's inputs.
    pub(super) fn columns(&self, named: Option<&OneOrMany>) -> anyhow::Result<Vec<String>> {
        named.map_or_else(|| self.inputs(), |columns| Ok(columns.as_slice().to_vec()))
    }

    /// The whole table that the model learned from.
    pub(super) fn table(&self) -> anyhow::Result<Vec<RecordBatch>> {
        let runtime = self.app.runtime();
        let table = crate::table::learned_from(&self.app.root, runtime.handle(), self.step, self.training)?;
        Ok(table.batches(None)?.collect::<Result<Vec<_>, _>>()?)
    }
}

/// The size of the exported model.
pub(super) fn size(case: &Case<'_>, test: &SizeTest) -> anyhow::Result<TestResult> {
    let size = occupied(case.folder)?;
    let good = size as f64 <= test.max_mb * 1e6;
    let found = Found::new(good, bytes(size)).figure("bytes", size as f64);
    Ok(found.named(format!("exported model at most {} MB", number(test.max_mb))))
}

/// Bytes of a model: of `model.onnx` where there is one, else of all its files.
fn occupied(path: &Path) -> std::io::Result<u64> {
    if path.is_file() {
        return Ok(fs_err::metadata(path)?.len());
    }
    if path.join(file::ONNX).is_file() {
        return occupied(&path.join(file::ONNX));
    }
    fs_err::read_dir(path)?.map(|entry| occupied(&entry?.path())).sum()
}

/// Whether the training does what any training must: one result for each check.
pub(super) fn smoke(case: &Case<'_>) -> anyhow::Result<Vec<TestResult>> {
    let found = match signs(&case.table()?, case.training) {
        Ok(found) => found,
        Err(error) => return Ok(vec![settled("smoke".to_owned(), Err(error.into()))?]),
    };
    let named = |sign: tidemill_train::probe::Sign| {
        Found::of(sign.outcome, sign.message).named(format!("smoke: {}", sign.name))
    };
    Ok(found.into_iter().map(named).collect())
}

impl Judged {
    /// How long the exported model takes, in the runtime that serves it.
    pub(super) fn latency(&self, case: &Case<'_>, test: &LatencyTest) -> anyhow::Result<TestResult> {
        let rows = test.rows.unwrap_or(1);
        let each = plural(u64::from(rows), "row");
        let name = format!("99 of 100 calls of {each} within {} ms", number(test.p99_ms));
        settled(name, self.timed(case, rows as usize, test.p99_ms))
    }

    fn timed(&self, case: &Case<'_>, rows: usize, limit: f64) -> anyhow::Result<Found> {
        let held_out = self.held_out(case)?;
        if held_out.num_rows() < rows {
            let there = plural(held_out.num_rows() as u64, "held-out row");
            return Ok(Found::open(format!("there are {there} only")));
        }
        let model = self.exported(case)?;
        let times = model.latencies(held_out, rows, (CALLS, PATIENCE));
        let times = times.map_err(|why| Unusable(format!("the exported model: {why}")))?;
        let (Some(middle), Some(p99)) = (quantile(&times, 0.5), quantile(&times, 0.99)) else {
            let why =
                "the exported model refuses every held-out row: a value is missing that it has no form for";
            return Err(Unusable(why.to_owned()).into());
        };
        if times.len() < FEWEST && p99 <= limit {
            let calls = plural(times.len() as u64, "call");
            return Ok(Found::open(format!("only {calls} were made in {} s", PATIENCE.as_secs())));
        }
        let message = format!(
            "{} ms, half of them within {} ms, {} by the {} runtime",
            number(p99),
            number(middle),
            plural(times.len() as u64, "call"),
            model.session.runtime()
        );
        Ok(Found::new(p99 <= limit, message).figure("p50_ms", middle).figure("p99_ms", p99))
    }

    /// Whether something gives the answer away: one result for columns, one for rows.
    pub(super) fn leakage(&self, case: &Case<'_>, test: &LeakageTest) -> anyhow::Result<Vec<TestResult>> {
        let table = case.table()?;
        let limit = test.max_alone.unwrap_or(ALONE);
        let metric = match self.task {
            TaskKind::Classification => "roc_auc",
            TaskKind::Regression => "r2",
        };
        let name = format!("{metric} of any input alone at most {}", number(limit));
        let mut results = vec![settled(name, self.single(case, &table, limit))?];
        if let Some(most) = test.max_overlap {
            let name = format!("at most {} of the held-out rows are training rows too", percent(most.0));
            results.push(settled(name, self.overlapping(case, &table, most.0))?);
        }
        Ok(results)
    }

    fn single(&self, case: &Case<'_>, table: &[RecordBatch], limit: f64) -> anyhow::Result<Found> {
        let found = alone(table, case.training, &case.inputs()?)?;
        let known: Vec<(&str, f64)> =
            found.iter().filter_map(|one| Some((one.column.as_str(), one.value?))).collect();
        let Some((_, best)) = known.first() else {
            return Ok(Found::open("it is not defined for any input"));
        };
        let shown: Vec<String> =
            known.iter().take(NAMED).map(|(column, value)| format!("{column} {}", number(*value))).collect();
        let outcome = super::outcome(*best <= limit);
        let head = if outcome == Outcome::Failed { "gives the answer away: " } else { "best " };
        let mut result = Found::of(outcome, format!("{head}{}", shown.join(", ")));
        for (column, value) in &known {
            result = result.figure(column, *value);
        }
        Ok(result)
    }

    fn overlapping(&self, case: &Case<'_>, table: &[RecordBatch], most: f64) -> anyhow::Result<Found> {
        let held_out: HashSet<u64> = rescore::places(&self.predictions)?.iter().flatten().collect();
        if held_out.is_empty() {
            return Ok(Found::open("there are no held-out rows"));
        }
        let mut columns = case.inputs()?;
        columns.push(self.target.clone());
        let same = overlap(table, &held_out, &columns)?;
        let share = same as f64 / held_out.len() as f64;
        let message =
            format!("{} ({} of {})", percent(share), same, plural(held_out.len() as u64, "held-out row"));
        Ok(Found::new(share <= most, message).figure("share", share))
    }
}

/// The smallest of sorted times that such a share of the calls does not exceed; none without calls.
fn quantile(times: &[f64], share: f64) -> Option<f64> {
    let place = (times.len() as f64 * share).ceil() as usize;
    times.get(place.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_a_share_of_calls_does_not_exceed() {
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!((quantile(&hundred, 0.5), quantile(&hundred, 0.99)), (Some(50.0), Some(99.0)));
        assert_eq!((quantile(&[7.0], 0.5), quantile(&[7.0], 0.99)), (Some(7.0), Some(7.0)));
        assert_eq!(quantile(&[], 0.99), None);
    }
}
