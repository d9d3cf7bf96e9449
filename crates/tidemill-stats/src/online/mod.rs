//! Detectors of change for one stream of values, where windows are too slow.
//!
//! Each is a small state that can be stored between values, updated by one value at a time, and tells when the change
//! probably began. A position counts values from one. States belong to one stream in one order, so they are
//! continued, not merged.

mod adwin;
mod cusum;
mod ewma;
mod page_hinkley;

use serde::{Deserialize, Serialize};

pub use adwin::Adwin;
pub use cusum::Cusum;
pub use ewma::Ewma;
pub use page_hinkley::{PageHinkley, Settings as PageHinkleySettings};

/// Which way a stream moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Values became larger.
    Up,
    /// Values became smaller.
    Down,
}

/// A detected change.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Position of the value at which it was noticed.
    pub noticed: u64,
    /// Position of the value with which it probably began.
    pub began: u64,
    /// Which way.
    pub direction: Direction,
    /// Mean before, as the detector knows it.
    pub before: f64,
    /// Mean since then.
    pub after: f64,
}
