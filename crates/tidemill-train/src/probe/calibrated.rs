//! Whether probabilities mean what they say, and how far off chance alone would be.

use arrow::array::RecordBatch;
use tidemill_stats::quality::{Calibration, Slope, calibration, slope};
use tidemill_stats::random::Random;

use crate::fit::read;
use crate::metric::{Truth, row_claims};
use crate::{Error, Result};

/// Outcomes that are drawn to see what chance does.
const DRAWS: u64 = 200;
/// The quantile of their errors that counts as possible by chance.
const BY_CHANCE: f64 = 0.95;

/// Calibration of some rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibrated {
    /// Figures of the rows, by their weights where the training has any.
    pub figures: Calibration,
    /// The 95 % quantile of the calibration error that a perfectly calibrated model has with these probabilities
    /// (J. Bröcker, L. Smith, Weather and Forecasting 22, 2007: consistency resampling). An error below it says nothing.
    pub chance: f64,
    /// The calibration line, where there is one.
    pub slope: Option<Slope>,
}

/// Calibration of the rows `of` of a table of predictions, all where not given: of the positive class for two classes,
/// of the answered class for more. `None` without rows.
///
/// # Errors
/// [`Error::Unfit`] for a table that holds no probabilities.
pub fn calibrated(predictions: &RecordBatch, of: Option<&[u32]>, bins: usize) -> Result<Option<Calibrated>> {
    let (scored, about) = read(predictions)?;
    let scored = match of {
        Some(rows) => scored.select(rows),
        None => scored,
    };
    if matches!(scored.truth, Truth::Numbers(_)) {
        return Err(Error::Unfit("a regression has no probabilities".into()));
    }
    let (probabilities, came_true) = row_claims(&scored);
    // Answers of an exported model may be off by the rounding of a 32-bit number.
    let probabilities = probabilities.into_iter().map(|p| p.clamp(0.0, 1.0));
    let mut rows: Vec<(f64, (bool, f64))> =
        probabilities.zip(came_true.into_iter().zip(scored.weights())).collect();
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (probabilities, rows): (Vec<f64>, Vec<(bool, f64)>) = rows.into_iter().unzip();
    let (positive, weights): (Vec<bool>, Vec<f64>) = rows.into_iter().unzip();
    let weights = scored.weights.is_some().then_some(weights.as_slice());
    let Some(figures) = calibration(&positive, &probabilities, weights, bins) else { return Ok(None) };
    let mut errors: Vec<f64> = (0..DRAWS)
        .filter_map(|draw| {
            let mut random = Random::new(about.seed, draw);
            let drawn: Vec<bool> = probabilities.iter().map(|p| random.unit() < *p).collect();
            calibration(&drawn, &probabilities, weights, bins).map(|found| found.ece)
        })
        .collect();
    errors.sort_unstable_by(f64::total_cmp);
    let at = ((errors.len() as f64 * BY_CHANCE) as usize).min(errors.len().saturating_sub(1));
    let chance = errors.get(at).copied().unwrap_or(0.0);
    Ok(Some(Calibrated { figures, chance, slope: slope(&positive, &probabilities, weights) }))
}
