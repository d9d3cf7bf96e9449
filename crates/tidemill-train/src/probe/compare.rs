//! One metric of two models on the same rows.

use arrow::array::RecordBatch;
use tidemill_core::declare::{Better, Metric};
use tidemill_stats::interval::{Interval, auc_difference};

use crate::fit::read;
use crate::metric::{Decision, Measure, Truth, better, intervals_between, name, paired_measures};
use crate::{Error, Result};

/// Two models by one metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Compared {
    /// The metric of the new model.
    pub new: f64,
    /// The metric of the old model.
    pub old: f64,
    /// By how much the new one is better, with its paired interval; below zero it is worse, whichever way the metric
    /// is good.
    pub gain: Interval,
}

/// One metric of a table of predictions.
///
/// # Errors
/// [`Error::Unfit`] for a table without predictions, [`Error::MetricUnfit`], [`Error::MetricUndefined`].
pub fn value(predictions: &RecordBatch, metric: Metric) -> Result<f64> {
    let (scored, about) = read(predictions)?;
    let decision = Decision { threshold: about.threshold, costs: about.costs };
    crate::metric::measure(&scored, metric, &decision)
}

/// One metric of a table of predictions with its percentile interval at `level` from resampled rows: at 0.95 that of the training's report.
/// Nothing where it is not defined on half of the resamples or more.
///
/// # Errors
/// As for [`value`].
pub fn interval(predictions: &RecordBatch, metric: Metric, level: f64) -> Result<Option<Interval>> {
    let (scored, about) = read(predictions)?;
    let decision = Decision { threshold: about.threshold, costs: about.costs };
    let estimate = crate::metric::measure(&scored, metric, &decision)?;
    let measures = Measure::prepare(&scored, &[metric], &decision)?;
    let tail = (1.0 - level) / 2.0;
    let found = intervals_between(&measures, &scored.weights(), about.seed, (tail, 1.0 - tail));
    let ends = found.first().copied().flatten();
    Ok(ends.map(|ends| Interval { estimate, low: ends.lower, high: ends.upper }))
}

/// Compares two models by a metric on the same rows, each deciding by its own threshold. The interval at `level` is
/// DeLong's for the ROC AUC of two classes without weights, and from paired resamples otherwise.
///
/// # Errors
/// [`Error::Unpaired`] for other rows or classes, and those of [`value`].
pub fn compare(new: &RecordBatch, old: &RecordBatch, metric: Metric, level: f64) -> Result<Compared> {
    crate::fit::same_rows(new, old)?;
    let ((ours, about), (theirs, other)) = (read(new)?, read(old)?);
    if about.classes != other.classes {
        return Err(Error::Unpaired("they do not answer with the same classes".into()));
    }
    // What errors cost is a fact of today, not of the version.
    let decision = |threshold| Decision { threshold, costs: about.costs.clone() };
    let weights = ours.weights();
    let prepare = |scored, threshold| -> Result<(Measure, f64)> {
        let measure = Measure::prepare(scored, &[metric], &decision(threshold))?.swap_remove(0);
        let value = measure.value(&weights).ok_or(Error::MetricUndefined {
            metric: name(metric),
            reason: "they hold one class only, a constant target, or no weight",
        })?;
        Ok((measure, value))
    };
    let (left, new) = prepare(&ours, about.threshold)?;
    let (right, old) = prepare(&theirs, other.threshold)?;
    let interval = match (&ours.truth, &ours.weights) {
        (Truth::Classes { values, classes: 2 }, None) if metric == Metric::RocAuc => {
            let positive: Vec<bool> = values.iter().map(|class| *class == 1).collect();
            auc_difference(&positive, &ours.answers, &theirs.answers)
                .map(|found| found.interval(level))
                .map(|interval| (interval.low, interval.high))
        }
        _ => paired_measures(&left, &right, &weights, about.seed, level),
    };
    let (low, high) = interval.ok_or(Error::MetricUndefined {
        metric: name(metric),
        reason: "too many resamples hold one class only",
    })?;
    let gain = match better(metric) {
        Better::Higher => Interval { estimate: new - old, low, high },
        Better::Lower => Interval { estimate: old - new, low: -high, high: -low },
    };
    Ok(Compared { new, old, gain })
}
