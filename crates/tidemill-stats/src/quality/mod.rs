//! How good the answers of a classifier are: counts and what follows from them, calibration, fairness between groups, and
//! what changed between two versions.

mod calibration;
mod change;
mod confusion;
mod fairness;

pub use calibration::{Bin, Calibration, Slope, calibration, slope};
pub use change::{Decomposition, Flips, SegmentChange, flips, kitagawa};
pub use confusion::{Confusion, weighted_auc};
pub use fairness::{Fairness, Gap, Group, fairness};
