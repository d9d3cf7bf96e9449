//! Permutation importance: how much a metric suffers when one column is shuffled (Breiman 2001; Fisher, Rudin and
//! Dominici 2019).
//!
//! It tells what the model uses, not what causes what: of two columns that say the same, both may look unimportant.

use rayon::prelude::*;
use tidemill_core::Progress;
use tidemill_core::declare::{Better, Metric};

use crate::frame::Frame;
use crate::metric::{Decision, Scored, better, measure};
use crate::model::{Predictor, Scores};
use crate::random::{Purpose, Random};
use crate::report::ColumnImportance;
use crate::{Error, Result};

/// Shuffles of each column.
pub const REPEATS: usize = 5;
/// Most rows that are used; beyond them a seeded sample tells the same for less work.
const MOST_ROWS: usize = 10_000;
/// Never fewer where there are more.
const LEAST_ROWS: usize = 2_000;
/// Trees (or linear models) times rows that all shuffles together may answer.
const BUDGET: usize = 300_000_000;

/// What importance is measured on.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// The metric that suffers.
    pub metric: Metric,
    /// The threshold and costs that it needs.
    pub decision: &'a Decision,
    /// Shuffles of each column, at least 1.
    pub repeats: usize,
    /// Decides the shuffles.
    pub seed: u64,
}

/// The importance of each column of the frame, the most important first, equal ones in the frame's order.
///
/// `known` holds the truth and weights of the frame's rows; `answers` turns scores into the answers that
/// [`Scored`] wants. The mean and the standard deviation (over the repeats, `n` in the denominator) are of the value
/// before minus after, signed so that positive means useful.
///
/// # Errors
/// [`Error::MetricUnfit`], [`Error::MetricUndefined`], [`Error::Cancelled`].
pub fn permutation(
    model: &dyn PredictorSync,
    frame: &Frame,
    known: &Scored,
    answers: impl Fn(&Scores) -> Vec<f64> + Sync,
    setting: Setting<'_>,
    progress: &dyn Progress,
) -> Result<Vec<ColumnImportance>> {
    let score = |frame: &Frame| {
        let scored = Scored { answers: answers(&model.scores(frame)), ..known.clone() };
        measure(&scored, setting.metric, setting.decision)
    };
    let before = score(frame)?;
    let sign = if better(setting.metric) == Better::Higher { 1.0 } else { -1.0 };
    let losses = (0..frame.columns().len() * setting.repeats)
        .into_par_iter()
        .map(|item| {
            if progress.cancelled() {
                return Err(Error::Cancelled);
            }
            let column = item / setting.repeats;
            let mut order: Vec<usize> = (0..frame.rows()).collect();
            Random::new(setting.seed, Purpose::Importance, item as u64).shuffle(&mut order);
            let shuffled = frame.columns()[column].data.take(&order);
            Ok(sign * (before - score(&frame.with_column(column, shuffled)?)?))
        })
        .collect::<Result<Vec<f64>>>()?;
    let mut columns: Vec<ColumnImportance> = losses
        .chunks_exact(setting.repeats)
        .zip(frame.columns())
        .map(|(losses, column)| {
            let mean = losses.iter().sum::<f64>() / losses.len() as f64;
            let squares: f64 = losses.iter().map(|loss| (loss - mean).powi(2)).sum();
            ColumnImportance {
                column: column.name.to_string(),
                mean,
                std: (squares / losses.len() as f64).sqrt(),
            }
        })
        .collect();
    columns.sort_by(|a, b| b.mean.total_cmp(&a.mean));
    Ok(columns)
}

/// A seeded sample of so many rows, in rising order: at most 10,000, fewer but at least 2,000 for a model of very many
/// trees (1 for other models) or columns.
pub fn sample(rows: usize, columns: usize, trees: usize, seed: u64) -> Vec<usize> {
    let most = (BUDGET / (columns * REPEATS * trees).max(1)).clamp(LEAST_ROWS, MOST_ROWS);
    let mut order: Vec<usize> = (0..rows).collect();
    if rows > most {
        Random::new(seed, Purpose::Importance, u64::from(u32::MAX)).shuffle(&mut order);
        order.truncate(most);
        order.sort_unstable();
    }
    order
}

/// A predictor that several threads may ask at once.
pub trait PredictorSync: Predictor + Sync {}
impl<T: Predictor + Sync> PredictorSync for T {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_models_are_asked_less() {
        for (rows, trees, expected) in
            [(500, 1, 500), (50_000, 1, 10_000), (50_000, 1_000, 3_000), (50_000, 100_000, 2_000)]
        {
            let drawn = sample(rows, 20, trees, 1);
            assert_eq!(drawn.len(), expected);
            assert!(drawn.is_sorted_by(|a, b| a < b) && drawn.iter().all(|row| *row < rows));
        }
    }
}
