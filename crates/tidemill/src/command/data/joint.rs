//! A classifier that tells two tables apart, for shifts that only columns together show.

use std::sync::Arc;

use arrow::array::RecordBatch;
use tidemill_core::Progress;
use tidemill_core::declare::GbdtParams;
use tidemill_data::drift::{DomainClassifier, DriftOptions, samples};
use tidemill_data::{Error, Table};
use tidemill_stats::interval::auc;
use tidemill_train::frame::{ClassLabel, FrameSchema, Selection, Target};
use tidemill_train::gbdt::{Sample, train};
use tidemill_train::model::Predictor as _;

/// Most rows of either side. What two times ten thousand rows do not show is small.
const ROWS: usize = 10_000;
/// With fewer rows of a side there is nothing to learn and to check.
const FEW: usize = 200;
/// Parts of the rows, each of which is answered by a model that was trained on the others.
const FOLDS: usize = 5;
/// Confidence of the area's interval.
const LEVEL: f64 = 0.99;
const SEED: u64 = 0x6a6f_696e_7473;

/// How well boosted trees tell rows of the one from rows of the other that they were not trained on: the area under the curve with DeLong's
/// interval. `None` where there are too few rows.
pub(super) fn classifier(
    reference: &Table,
    current: &Table,
    options: &DriftOptions,
    progress: &dyn Progress,
) -> anyhow::Result<Option<DomainClassifier>> {
    let Some(drawn) = samples(reference, current, options, ROWS, progress)? else { return Ok(None) };
    let rows = |batches: &[RecordBatch]| batches.iter().map(RecordBatch::num_rows).sum::<usize>();
    let (before, after) = (rows(&drawn.reference), rows(&drawn.current));
    if before.min(after) < FEW {
        return Ok(None);
    }
    let batches = [drawn.reference, drawn.current].concat();
    let table = tidemill_train::frame::Table::new(Arc::clone(&drawn.schema), batches)?;
    let is_current: Vec<bool> = (0..before + after).map(|row| row >= before).collect();
    let target = Target::Classes {
        codes: is_current.iter().map(|is| u32::from(*is)).collect(),
        classes: vec![ClassLabel::Bool(false), ClassLabel::Bool(true)],
    };
    let params = GbdtParams { rounds: 30, max_leaves: 15, max_bins: 63, ..GbdtParams::default() };
    let mut scores = vec![0.0; before + after];
    for fold in 0..FOLDS {
        if progress.cancelled() {
            return Err(Error::Cancelled.into());
        }
        // Rows are drawn evenly and in order, so every fifth one of each side is a part like any other.
        let (held, kept): (Vec<usize>, Vec<usize>) = (0..before + after).partition(|row| row % FOLDS == fold);
        // Categories are those of the rows that are learned from.
        let schema = FrameSchema::learn(&table, Some(&kept), Selection::default())?;
        let frame = schema.frame(&table)?;
        let (learned, labels) = (frame.take(&kept), target.take(&kept));
        let sample = Sample { frame: &learned, target: &labels, weights: None };
        let fitted = train(sample, None, &params, SEED + fold as u64, &tidemill_core::Quiet)?;
        let answers = fitted.model.scores(&frame.take(&held));
        for (at, row) in held.into_iter().enumerate() {
            scores[row] = answers.row(at).last().copied().unwrap_or(0.5);
        }
    }
    Ok(auc(&is_current, &scores).map(|found| {
        let interval = found.interval(LEVEL);
        DomainClassifier { auc: found.area, lower: interval.low, upper: interval.high }
    }))
}
