//! The comparison of two models on the same rows.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::bootstrap::{percentile, resample, resamples};
use super::{Measure, sum};
use crate::random::{Purpose, Random};
use crate::{Error, Result};

/// The mean difference of per-row costs or losses, new minus old, with what chance leaves open.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Paired {
    /// Mean of the new model.
    pub new: f64,
    /// Mean of the old model.
    pub old: f64,
    /// `new - old`; below 0 the new model is better where less is better.
    pub difference: f64,
    /// The 2.5 % percentile of the difference.
    pub lower: f64,
    /// The 97.5 % percentile of the difference.
    pub upper: f64,
    /// Share of resamples in which the new mean is above the old one.
    pub share_above: f64,
}

/// Compares two models by their costs or losses on the same rows: both keep their rows together in each resample, so
/// that what makes a row dear for both does not widen the interval.
///
/// # Errors
/// [`Error::Unpaired`] where the lengths differ or there are no rows, [`Error::NoWeight`].
pub fn paired_bootstrap(new: &[f64], old: &[f64], weights: Option<&[f64]>, seed: u64) -> Result<Paired> {
    if new.len() != old.len() || weights.is_some_and(|weights| weights.len() != new.len()) {
        return Err(Error::Unpaired(format!("{} rows against {}", new.len(), old.len())));
    }
    if new.is_empty() {
        return Err(Error::Unpaired("there are no rows".into()));
    }
    let ones;
    let weights = match weights {
        Some(weights) => weights,
        None => {
            ones = vec![1.0; new.len()];
            &ones
        }
    };
    let differences: Vec<f64> = new.iter().zip(old).map(|(new, old)| new - old).collect();
    let none = || Error::NoWeight { side: "test" };
    let difference = sum::mean(&differences, weights).ok_or_else(none)?;
    let mut drawn: Vec<f64> = (0..resamples(new.len()))
        .into_par_iter()
        .map_init(
            || vec![0.0; new.len()],
            |buffer, item| {
                resample(buffer, weights, Random::new(seed, Purpose::Paired, item as u64));
                sum::mean(&differences, buffer)
            },
        )
        .flatten()
        .collect();
    drawn.sort_unstable_by(f64::total_cmp);
    if drawn.is_empty() {
        return Err(none());
    }
    Ok(Paired {
        new: sum::mean(new, weights).ok_or_else(none)?,
        old: sum::mean(old, weights).ok_or_else(none)?,
        difference,
        lower: percentile(&drawn, 0.025),
        upper: percentile(&drawn, 0.975),
        share_above: drawn.iter().filter(|value| **value > 0.0).count() as f64 / drawn.len() as f64,
    })
}

/// The interval at `level` of `new - old` for one metric of two models on the same rows, by percentiles of resamples that
/// both see. `None` where the metric was not defined on half of them or more.
pub(crate) fn paired_measures(
    new: &Measure,
    old: &Measure,
    weights: &[f64],
    seed: u64,
    level: f64,
) -> Option<(f64, f64)> {
    let count = resamples(weights.len());
    let drawn: Vec<Option<f64>> = (0..count)
        .into_par_iter()
        .map_init(
            || vec![0.0; weights.len()],
            |buffer, item| {
                resample(buffer, weights, Random::new(seed, Purpose::Paired, item as u64));
                Some(new.value(buffer)? - old.value(buffer)?)
            },
        )
        .collect();
    let mut known: Vec<f64> = drawn.into_iter().flatten().collect();
    known.sort_unstable_by(f64::total_cmp);
    let tail = (1.0 - level) / 2.0;
    (2 * known.len() > count).then(|| (percentile(&known, tail), percentile(&known, 1.0 - tail)))
}
