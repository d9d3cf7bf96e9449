//! Metrics on slices of the test rows.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tidemill_core::declare::Metric;

use super::predictions::{read, texts};
use crate::Result;
use crate::metric::{Decision, Interval, Measure, check, intervals};

/// One slice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slice {
    /// The value of the column that its rows share, as text; `None` where it is missing.
    pub value: Option<String>,
    /// Its rows.
    pub rows: u64,
    /// The metric on them; `None` where it is not defined, for example ROC AUC with one class.
    pub metric: Option<f64>,
    /// 95 % bootstrap interval.
    pub interval: Option<Interval>,
}

/// Cuts a table of predictions by the values of one of its columns and measures each slice of at least `min_rows`
/// rows, the largest first.
///
/// # Errors
/// [`crate::Error::UnknownColumn`], [`crate::Error::Unfit`] for a table that does not hold predictions,
/// [`crate::Error::MetricUnfit`].
pub fn by_slice(
    predictions: &RecordBatch,
    column: &str,
    metric: Metric,
    min_rows: usize,
) -> Result<Vec<Slice>> {
    let (scored, about) = read(predictions)?;
    let decision = Decision { threshold: about.threshold, costs: about.costs };
    check(metric, &scored.truth, decision.costs.is_some())?;
    let mut groups: BTreeMap<Option<String>, Vec<u32>> = BTreeMap::new();
    for (row, value) in texts(predictions, column)?.into_iter().enumerate() {
        groups.entry(value).or_default().push(row as u32);
    }
    let mut groups: Vec<_> = groups.into_iter().filter(|(_, rows)| rows.len() >= min_rows).collect();
    groups.sort_by_key(|(_, rows)| std::cmp::Reverse(rows.len()));
    groups
        .into_par_iter()
        .map(|(value, rows)| {
            let part = scored.select(&rows);
            let weights = part.weights();
            let measures = Measure::prepare(&part, &[metric], &decision)?;
            let interval = intervals(&measures, &weights, about.seed)[0];
            Ok(Slice { value, rows: rows.len() as u64, metric: measures[0].value(&weights), interval })
        })
        .collect()
}
