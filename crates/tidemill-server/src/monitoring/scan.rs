//! Reading the rows of windows that are due.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::UInt32Array;
use arrow::compute::take_record_batch;
use tidemill_core::Timestamp;
use tidemill_db::Db;
use tidemill_monitor::window::Window;
use tidemill_serve::record::outcome::Outcomes;
use tidemill_serve::record::{LogError, Query, Reader};

use super::rows::{Rows, Wanted};
use super::spans::{Came, Line, Span, Spans, times_of};

/// A window, and whether it is one of the time at which requests came.
pub(super) type Key = (Window, bool);

/// Requests that came between two times, and the windows that hold them.
pub(super) type Stretch = ((Option<Timestamp>, Option<Timestamp>), BTreeMap<Key, Wanted>);

/// Windows whose requests came so close to one another are read together.
const NEAR: Duration = Duration::from_secs(3_600);

/// What must be read of windows: for each only the time in which its requests came, also where they say that they happened at another.
/// A window without requests is in none.
pub(super) fn stretches(
    wanted: BTreeMap<Key, Wanted>,
    spans: &Spans,
    is_dated: bool,
    (from, to): (Option<Timestamp>, Option<Timestamp>),
) -> Vec<Stretch> {
    let span = |(window, by_arrival): &Key| {
        let line = Line::new(window.to.since(window.from), is_dated && !by_arrival);
        spans.span(line, window.from)
    };
    let mut places: Vec<_> =
        wanted.into_iter().filter_map(|(key, wanted)| Some((span(&key)?, key, wanted))).collect();
    places.sort_by_key(|(span, ..)| span.first);
    let mut all: Vec<(Span, BTreeMap<Key, Wanted>)> = Vec::new();
    for (span, key, wanted) in places {
        match all.last_mut().filter(|(last, _)| span.first <= last.last.plus(NEAR)) {
            Some((last, keys)) => {
                last.last = last.last.max(span.last);
                keys.insert(key, wanted);
            }
            None => all.push((span, [(key, wanted)].into())),
        }
    }
    let between = |span: Span| {
        let end = Some(span.last.plus(Duration::from_millis(1)));
        (Some(span.first).max(from), [end, to].into_iter().flatten().min())
    };
    all.into_iter().map(|(span, keys)| (between(span), keys)).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn of_each_window_only_the_time_is_read_in_which_its_requests_came() {
        let hour = Duration::from_secs(3_600);
        let mut spans = Spans::of_lines([Line::new(hour, true), Line::new(hour, false)]);
        // The second window happened an hour after the first, and was told of two weeks later.
        for (came, said) in [
            ("2026-03-01T10:10:00Z", "2026-03-01T09:10:00Z"),
            ("2026-03-01T10:30:00Z", "2026-03-01T09:50:00Z"),
            ("2026-03-15T08:00:00Z", "2026-03-01T10:00:00Z"),
        ] {
            spans.request(at(came), Some(at(said)), true);
        }
        let window = |said: &str| (Window::containing(at(said), hour), false);
        let keys =
            [window("2026-03-01T09:00:00Z"), window("2026-03-01T10:00:00Z"), window("2026-03-02T00:00:00Z")];
        let wanted: BTreeMap<Key, Wanted> = keys.into_iter().map(|key| (key, Wanted::default())).collect();
        let found: Vec<_> = stretches(wanted, &spans, true, (Some(at("2026-03-01T10:20:00Z")), None))
            .into_iter()
            .map(|((from, to), keys)| (from.unwrap().to_string(), to.unwrap().millis(), keys.len()))
            .collect();
        let after = |text: &str| at(text).millis() + 1;
        let expected = [
            ("2026-03-01T10:20:00Z".to_owned(), after("2026-03-01T10:30:00Z"), 1),
            ("2026-03-15T08:00:00Z".to_owned(), after("2026-03-15T08:00:00Z"), 1),
        ];
        assert_eq!(found, expected);
    }
}
