//! Histogram gradient boosting of decision trees.
//!
//! Columns are cut into at most 255 quantile bins, trees grow leaf by leaf on histograms of first and second
//! derivatives (Ke et al., "LightGBM", NeurIPS 2017; Chen and Guestrin, "XGBoost", KDD 2016). Derivatives are
//! added up as integers, so that sums do not depend on the order of rows or on the number of threads.
//! No ranking losses, no dropout of trees, no linear leaves.

mod bins;
mod boost;
mod exp;
mod grow;
mod histogram;
mod loss;
mod partition;
mod radix;
mod split;
mod tree;

pub use bins::Cuts;
pub use tree::{Branch, Node, Test, Tree};

use serde::{Deserialize, Serialize};
use tidemill_core::Progress;
use tidemill_core::declare::GbdtParams;

use crate::Result;
use crate::frame::{Frame, Target};
use crate::model::{Predictor, Scores};
use loss::Loss;

/// Boosted trees.
///
/// The raw score of output `k` is `start[k]` plus one leaf of each tree whose index is `k` modulo the number of
/// outputs. Start and leaves are multiples of one power of two, so that 32-bit sums of them are exact within 2^24
/// steps. Answers are the raw score for regression, its logistic function for two classes, the softmax for more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GbdtModel {
    /// Number of classes; 0 for regression.
    pub classes: usize,
    /// The raw score before the first tree, for each output: one for regression and two classes, else one a class.
    pub start: Vec<f64>,
    /// The trees of all rounds; within a round in the order of the outputs.
    pub trees: Vec<Tree>,
    /// How each column of the frame is cut.
    pub cuts: Vec<Cuts>,
}

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
    /// The mean training loss after each round, of about 65,536 evenly spaced rows where there are more.
    pub training_loss: Vec<f64>,
    /// The mean validation loss after each round; empty without a validation sample.
    pub validation_loss: Vec<f64>,
}

/// Trains on `train`. With `validation`, records its loss each round, and with `early_stopping` in `params` stops
/// when that loss has not fallen for so many rounds and keeps the best round's trees. The loss is the mean
/// squared error or the negative mean log likelihood.
///
/// The same rows, parameters and seed give the same model, bit for bit, for any number of threads. The order of rows
/// matters only to which rows `row_share` draws, the order of columns only to which `column_share` draws and to
/// which of two equally good splits is taken.
pub fn train(
    train: Sample<'_>,
    validation: Option<Sample<'_>>,
    params: &GbdtParams,
    seed: u64,
    progress: &dyn Progress,
) -> Result<Fitted> {
    boost::check(train, params)?;
    // Inside the pool, forks are cheap; a call from outside would cross threads at each of them.
    rayon::scope(|_| boost::boost(train, validation, params, seed, progress))
}

impl GbdtModel {
    /// Raw scores a row: one for regression and two classes, else one a class.
    pub fn outputs(&self) -> usize {
        self.start.len()
    }

    fn loss(&self) -> Loss {
        match self.classes {
            0 => Loss::Squared,
            1 | 2 => Loss::Logistic,
            classes => Loss::Softmax { classes },
        }
    }
}

impl Predictor for GbdtModel {
    fn scores(&self, frame: &Frame) -> Scores {
        tree::Flat::new(self).scores(frame)
    }
}
