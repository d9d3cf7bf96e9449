//! Reading the log for windows: first only times, to know what is due; then the rows of what is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use tidemill_core::Timestamp;
use tidemill_db::Db;
use tidemill_monitor::window::Window;
use tidemill_serve::record::outcome::Outcomes;
use tidemill_serve::record::{EVENT_TIME_COLUMN, EventTimes, LogError, Query, Reader};

use super::rows::{Rows, Wanted};

/// When a request came, and when its caller said that it happened.
type Came = (Timestamp, Option<Timestamp>);

/// The times of records, in the order of the log.
#[derive(Debug, Default)]
pub(super) struct Times {
    rows: Vec<Came>,
}

/// A window, and whether it is one of the time at which requests came.
pub(super) type Key = (Window, bool);

impl Times {
    /// Of the records of an endpoint that came at or after `from` and before `to`; answers of shadows are nobody's.
    pub(super) async fn read(
        reader: &Reader,
        endpoint: &str,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) -> Result<Self, LogError> {
        let columns = vec!["time".to_owned(), "row".to_owned(), EVENT_TIME_COLUMN.to_owned()];
        let query = Query { shadow: Some(false), columns: Some(columns), ..Query::of(endpoint, from, to) };
        let found = reader.find(&query).await?;
        blocking(move || {
            let mut rows = Vec::new();
            for batch in found.batches() {
                let batch = batch?;
                let Some(times) = times_of(&batch) else { continue };
                // Rows of one request have the same times.
                let mut last = None;
                for time in times {
                    if last != Some(time) {
                        rows.push(time);
                        last = Some(time);
                    }
                }
            }
            Ok(Self { rows })
        })
        .await
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether some records say when they happened. Then those that do not are left out: they would be at the time of the wall clock.
    pub(super) fn are_dated(&self) -> bool {
        self.rows.iter().any(|(_, said)| said.is_some())
    }

    /// The latest time that a record says.
    pub(super) fn latest_said(&self) -> Option<Timestamp> {
        self.rows.iter().filter_map(|(_, said)| *said).max()
    }

    fn of(&self, is_dated: bool, by_arrival: bool) -> impl Iterator<Item = (Timestamp, Timestamp)> + '_ {
        self.rows.iter().filter_map(move |(came, said)| {
            Some((*came, if is_dated && !by_arrival { (*said)? } else { *came }))
        })
    }

    /// Windows of this length that hold records.
    pub(super) fn windows(&self, length: Duration, is_dated: bool, by_arrival: bool) -> BTreeSet<Window> {
        let mut windows = BTreeSet::new();
        let mut last: Option<Window> = None;
        for (_, at) in self.of(is_dated, by_arrival) {
            if last.is_none_or(|last| !last.contains(at)) {
                let window = Window::containing(at, length);
                windows.insert(window);
                last = Some(window);
            }
        }
        windows
    }

    /// When the first record came that happened at or after `at`.
    pub(super) fn first_came_since(
        &self,
        at: Timestamp,
        is_dated: bool,
        by_arrival: bool,
    ) -> Option<Timestamp> {
        self.of(is_dated, by_arrival).filter(|(_, happened)| *happened >= at).map(|(came, _)| came).min()
    }
}

/// Reads the rows of some windows in one pass.
pub(super) async fn read_rows(
    (reader, db): (&Reader, &Db),
    endpoint: &str,
    (from, to): (Option<Timestamp>, Option<Timestamp>),
    is_dated: bool,
    wanted: BTreeMap<Key, Wanted>,
) -> Result<BTreeMap<Key, Rows>, LogError> {
    let query = Query { shadow: Some(false), ..Query::of(endpoint, from, to) };
    let found = reader.find(&query).await?;
    let outcomes = Outcomes::load(db, endpoint, from, to).await?;
    blocking(move || {
        let mut rows: BTreeMap<Key, Rows> =
            wanted.into_iter().map(|(key, wanted)| (key, Rows::new(wanted))).collect();
        for batch in found.batches() {
            let batch = batch?;
            let Some(times) = times_of(&batch) else { continue };
            // Read once for all windows.
            let times: Vec<Came> = times.collect();
            // Which rows belong where is told by the times alone; only those are joined with their outcomes.
            for ((window, by_arrival), rows) in &mut rows {
                let Some(chosen) = chosen(&times, *window, is_dated && !*by_arrival) else { continue };
                let chosen = outcomes.attach(&take_record_batch(&batch, &chosen)?)?;
                rows.take(&chosen).map_err(|error| LogError::Unusable(error.to_string()))?;
            }
        }
        Ok(rows)
    })
    .await
}

/// The times of the rows of a batch; `None` where it does not have them.
fn times_of(batch: &RecordBatch) -> Option<impl Iterator<Item = Came> + '_> {
    let times = EventTimes::of(batch)?;
    Some((0..batch.num_rows()).map(move |row| (times.arrived(row), times.said(row))))
}

/// The rows of a batch that are in a window; `None` where no one is.
fn chosen(times: &[Came], window: Window, by_said: bool) -> Option<UInt32Array> {
    let row_in = |(row, (came, said)): (u32, &Came)| {
        let at = if by_said { *said } else { Some(*came) };
        at.is_some_and(|at| window.contains(at)).then_some(row)
    };
    let rows: Vec<u32> = (0_u32..).zip(times).filter_map(row_in).collect();
    (!rows.is_empty()).then(|| UInt32Array::from(rows))
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| LogError::Damaged(format!("reading the log for monitors failed: {error}")))?
}
