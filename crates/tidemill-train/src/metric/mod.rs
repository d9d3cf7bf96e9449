//! Measures of a model on rows whose truth is known, equal to scikit-learn's to the last digits.
//!
//! Everything takes row weights, and a weight of 2 counts as the row twice. A [`Measure`] is prepared once (sorted,
//! binned, turned into losses) and then evaluated under any weights in one pass, which is what makes bootstrap
//! intervals cheap. Models, tables and splits are elsewhere.

mod bootstrap;
mod calibration;
mod cost;
mod label;
mod measure;
mod paired;
mod rank;
mod scored;
mod sum;

pub(crate) use bootstrap::intervals_between;
pub use bootstrap::{Interval, intervals, resamples};
pub use calibration::{BINS, CalibrationBin};
pub use cost::{Threshold, best_threshold, calibrated_threshold};
pub use label::confusion;
pub use measure::{Decision, Measure, calibration_table, check, defaults, measure};
pub(crate) use measure::{row_claims, row_errors, row_losses};
pub(crate) use paired::paired_measures;
pub use paired::{Paired, paired_bootstrap};
pub use scored::{Scored, Truth};

use tidemill_core::declare::{Better, Metric};

/// The name of a metric as in the project file.
pub fn name(metric: Metric) -> &'static str {
    match metric {
        Metric::Accuracy => "accuracy",
        Metric::LogLoss => "log_loss",
        Metric::RocAuc => "roc_auc",
        Metric::PrAuc => "pr_auc",
        Metric::F1 => "f1",
        Metric::Brier => "brier",
        Metric::CalibrationError => "calibration_error",
        Metric::Rmse => "rmse",
        Metric::Mae => "mae",
        Metric::R2 => "r2",
        Metric::Cost => "cost",
    }
}

/// Which way a metric is good.
pub fn better(metric: Metric) -> Better {
    match metric {
        Metric::Accuracy | Metric::RocAuc | Metric::PrAuc | Metric::F1 | Metric::R2 => Better::Higher,
        Metric::LogLoss
        | Metric::Brier
        | Metric::CalibrationError
        | Metric::Rmse
        | Metric::Mae
        | Metric::Cost => Better::Lower,
    }
}

/// Whether `a` is a better value of the metric than `b`. A value that is not a number is never better.
pub fn is_better(metric: Metric, a: f64, b: f64) -> bool {
    match better(metric) {
        Better::Higher => a > b || (b.is_nan() && !a.is_nan()),
        Better::Lower => a < b || (b.is_nan() && !a.is_nan()),
    }
}
