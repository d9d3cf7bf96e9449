//! Monitoring: the loop that reads the inference log, has each window judged once, and keeps what came of it.
//!
//! What a window comes to is decided by `tidemill-monitor`; `rows` reads the log, `reference` what it is compared with, `driver`
//! brings both together, and `keep` writes the result with its events. `backtest` does the same over the past and writes nothing.

mod again;
mod backtest;
mod declare;
mod driver;
mod due;
mod judge;
mod keep;
mod look;
mod mail;
pub(crate) mod meter;
pub(crate) mod notify;
mod reference;
mod releases;
mod restate;
mod rows;
mod scan;
mod spans;
mod standing;
mod stream;
mod told;

pub use backtest::{Backtest, Fired, backtest};
pub use declare::{declarations, declare};
pub use driver::{Driver, run};
pub(crate) use releases::metrics_of;
pub use releases::{OfReleases, over_releases};
pub use standing::{Last, Standing, standing};
use tidemill_db::monitoring::Series;
use tidemill_monitor::{Memory, Verdict};
use tidemill_registry::{Code, Error};

/// The file in a model's folder that holds the profile of the rows that it learned from.
pub const PROFILE_FILE: &str = "training.profile";

/// A stored verdict.
///
/// # Errors
///
/// Where it cannot be read.
pub fn verdict(text: &str) -> Result<Verdict, Error> {
    serde_json::from_str(text).map_err(|error| internal(format!("a stored verdict cannot be read: {error}")))
}

/// What is remembered of a series; of one that was never judged, nothing.
fn memory(watch: &str, series: Option<&Series>) -> Result<Memory, Error> {
    let Some(series) = series else { return Ok(Memory::default()) };
    serde_json::from_str(&series.memory)
        .map_err(|error| internal(format!("what is remembered of `{watch}` cannot be read: {error}")))
}

fn internal(why: impl Into<String>) -> Error {
    Error::new(Code::InternalError, why.into())
}
