//! A classifier that tells two tables apart, for shifts that only columns together show.

use tidemill_core::Progress;
use tidemill_data::drift::{DomainClassifier, DriftOptions, samples};
use tidemill_data::{Error, Table};
use tidemill_train::domain::tell_apart;

/// Most rows of either side. What two times ten thousand rows do not show is small.
const ROWS: usize = 10_000;

/// How well boosted trees tell rows of the one from rows of the other that they were not trained on. `None` where there are too few rows.
pub(super) fn classifier(
    reference: &Table,
    current: &Table,
    options: &DriftOptions,
    progress: &dyn Progress,
) -> anyhow::Result<Option<DomainClassifier>> {
    let Some(drawn) = samples(reference, current, options, ROWS, progress)? else { return Ok(None) };
    match tell_apart(drawn.schema, drawn.reference, drawn.current, progress) {
        // What stops is told by the one error that the command line knows.
        Err(tidemill_train::Error::Cancelled) => Err(Error::Cancelled.into()),
        found => Ok(found?),
    }
}
