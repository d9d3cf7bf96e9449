//! Which windows hold requests, and between which times these came. It grows with windows, not with requests, and is read on from where
//! the last look ended.
//!
//! Adding a record twice changes nothing, so records near the end, and those of parts that were listed late, may be read again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::Int32Type;
use tidemill_core::Timestamp;
use tidemill_db::Db;
use tidemill_db::records::RecordFilter;
use tidemill_monitor::Watch;
use tidemill_monitor::window::Window;
use tidemill_serve::record::{EVENT_TIME_COLUMN, EventTimes, LogError, Query, Reader};

use super::scan::blocking;

/// How far after its arrival a request may say that what it is about happens: clocks differ. Beyond that it says nothing, or one request
/// of the year 2099 would end every window.
pub(super) const AHEAD: Duration = Duration::from_secs(3_600);
/// Requests that were seen may have company that came so much earlier and is written later.
pub(super) const SLACK: Duration = Duration::from_secs(60);
/// The last requests, whose majority says whether callers tell when things happened.
const RECENT: usize = 1_000;
/// Of fewer, what was known before counts.
const QUORUM: usize = 20;

/// When a request came, and when its caller said that it happened.
pub(super) type Came = (Timestamp, Option<Timestamp>);

/// The times of the rows of a batch, without what cannot be; `None` where it does not have them.
pub(super) fn times_of(batch: &RecordBatch) -> Option<impl Iterator<Item = Came> + '_> {
    let times = EventTimes::of(batch)?;
    Some((0..batch.num_rows()).map(move |row| {
        let came = times.arrived(row);
        (came, times.said(row).filter(|said| *said <= came.plus(AHEAD)))
    }))
}

/// Windows of one length, by the time at which requests came, or of what they say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Line {
    length: Duration,
    is_said: bool,
}

impl Line {
    pub(super) const fn new(length: Duration, is_said: bool) -> Self {
        Self { length, is_said }
    }

    /// That of a series.
    pub(super) fn of(watch: &Watch, is_dated: bool) -> Self {
        Self::new(watch.length(), is_dated && !watch.is_by_arrival())
    }
}

/// When the first and the last request of a window came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
}

impl Span {
    fn join(&mut self, other: Self) {
        (self.first, self.last) = (self.first.min(other.first), self.last.max(other.last));
    }
}

/// The windows of an endpoint that hold requests.
#[derive(Debug, Default)]
pub(super) struct Spans {
    /// By their begin.
    windows: BTreeMap<Line, BTreeMap<Timestamp, Span>>,
    /// Records that came before are known, but for those of parts that are listed later.
    until: Option<Timestamp>,
    /// The newest part that is known.
    part: i64,
    /// The latest time that a request said.
    latest_said: Option<Timestamp>,
    last_came: Option<Timestamp>,
    /// Whether the last requests said when they happened: those that are read once, and those that are read again.
    settled: VecDeque<bool>,
    fresh: VecDeque<bool>,
    /// Requests whose time was too far ahead.
    ahead: u64,
}

impl Spans {
    /// For these series, of which nothing is known yet.
    pub(super) fn new<'a>(watches: impl Iterator<Item = &'a Watch>) -> Self {
        Self::of_lines(watches.flat_map(|watch| [Line::of(watch, false), Line::of(watch, true)]))
    }

    pub(super) fn of_lines(lines: impl IntoIterator<Item = Line>) -> Self {
        Self { windows: lines.into_iter().map(|line| (line, BTreeMap::new())).collect(), ..Self::default() }
    }

    /// Reads on: records that came at or after `from` the first time, later only those that are new. `now` is the time of the server's
    /// clock.
    pub(super) async fn read(
        &mut self,
        (reader, db): (&Reader, &Db),
        endpoint: &str,
        from: Timestamp,
        now: Timestamp,
    ) -> Result<(), LogError> {
        let settled = Timestamp::from_millis(now.millis().saturating_sub(SLACK.as_millis() as i64));
        if let Some(until) = self.until {
            let filter = RecordFilter {
                endpoint: Some(endpoint.to_owned()),
                from: Some(from),
                to: Some(until),
                after: self.part,
            };
            let (parts, _) = db.record_parts(&filter, &[]).await?;
            if let Some(first) = parts.iter().map(|part| part.first_at).min() {
                let late =
                    Query { after_part: self.part, ..query(endpoint, Some(first.max(from)), Some(until)) };
                let mut late = self.found(reader, &late, None).await?;
                // They were counted when they came, but for those of other servers, which are like them.
                (late.settled, late.fresh, late.ahead) = (VecDeque::new(), VecDeque::new(), 0);
                self.add(late);
                self.part = parts.iter().map(|part| part.id).fold(self.part, i64::max);
            }
        }
        let begin = self.until.map_or(from, |until| until.max(from));
        let new = self.found(reader, &query(endpoint, Some(begin), None), Some(settled)).await?;
        let part = if self.until.is_none() { new.part } else { self.part };
        self.add(new);
        (self.part, self.until) = (part, Some(begin.max(settled)));
        Ok(())
    }

    /// Reads all records that came at or after `from` and before `to`.
    pub(super) async fn read_all(
        &mut self,
        reader: &Reader,
        endpoint: &str,
        (from, to): (Option<Timestamp>, Option<Timestamp>),
    ) -> Result<(), LogError> {
        let all = self.found(reader, &query(endpoint, from, to), None).await?;
        self.add(all);
        Ok(())
    }

    /// What a query finds. Requests that came before `settled` are not read again.
    async fn found(
        &self,
        reader: &Reader,
        query: &Query,
        settled: Option<Timestamp>,
    ) -> Result<Self, LogError> {
        let mut spans = Self::of_lines(self.windows.keys().copied());
        let found = reader.find(query).await?;
        spans.part = found.newest_part();
        blocking(move || {
            for batch in found.batches() {
                spans.take(&batch?, settled);
            }
            Ok(spans)
        })
        .await
    }

    fn take(&mut self, batch: &RecordBatch, settled: Option<Timestamp>) {
        let (Some(times), Some(all)) = (times_of(batch), EventTimes::of(batch)) else { return };
        let number = batch.column_by_name("row").and_then(|column| column.as_primitive_opt::<Int32Type>());
        for (row, (came, said)) in times.enumerate() {
            // Rows of one request have the same times.
            if number.is_some_and(|number| number.value(row) != 0) {
                continue;
            }
            let is_settled = settled.is_none_or(|settled| came < settled);
            self.request(came, said, is_settled);
            self.ahead += u64::from(is_settled && said.is_none() && all.said(row).is_some());
        }
    }

    /// Adds a request.
    pub(super) fn request(&mut self, came: Timestamp, said: Option<Timestamp>, is_settled: bool) {
        let span = Span { first: came, last: came };
        for (line, windows) in &mut self.windows {
            let Some(at) = (if line.is_said { said } else { Some(came) }) else { continue };
            let window = Window::containing(at, line.length);
            windows.entry(window.from).or_insert(span).join(span);
        }
        self.last_came = self.last_came.max(Some(came));
        self.latest_said = self.latest_said.max(said);
        let recent = if is_settled { &mut self.settled } else { &mut self.fresh };
        push(recent, said.is_some());
    }

    fn add(&mut self, new: Self) {
        for (line, windows) in new.windows {
            let known = self.windows.entry(line).or_default();
            for (from, span) in windows {
                known.entry(from).or_insert(span).join(span);
            }
        }
        self.last_came = self.last_came.max(new.last_came);
        self.latest_said = self.latest_said.max(new.latest_said);
        new.settled.into_iter().for_each(|said| push(&mut self.settled, said));
        self.fresh = new.fresh;
        self.ahead += new.ahead;
    }

    /// Whether no request is known.
    pub(super) fn is_empty(&self) -> bool {
        self.last_came.is_none()
    }

    /// The latest time that a request says.
    pub(super) const fn latest_said(&self) -> Option<Timestamp> {
        self.latest_said
    }

    /// When the last request came.
    pub(super) const fn last_came(&self) -> Option<Timestamp> {
        self.last_came
    }

    /// How many requests said a time that is too far ahead since this was asked last.
    pub(super) const fn taken_ahead(&mut self) -> u64 {
        std::mem::replace(&mut self.ahead, 0)
    }

    /// Whether requests say when they happened: most of the last ones. Then those that do not are left out, since they would be at the
    /// time of the wall clock. `before` is what counted so far; it takes a quarter to stay with it and a half to change to it, so that
    /// neither a tester nor a client that was forgotten decides for all.
    pub(super) fn is_dated(&self, before: Option<bool>) -> bool {
        let recent = || self.fresh.iter().rev().chain(self.settled.iter().rev()).take(RECENT);
        let (all, said) = (recent().count(), recent().filter(|said| **said).count());
        match before {
            None => all > 0 && 2 * said >= all,
            Some(before) if all < QUORUM => before,
            Some(true) => 4 * said >= all,
            Some(false) => 2 * said >= all,
        }
    }

    /// The first windows that begin at or after `done` and end at or before `over`, oldest first.
    pub(super) fn windows(
        &self,
        line: Line,
        done: Option<Timestamp>,
        over: Timestamp,
        most: usize,
    ) -> BTreeSet<Window> {
        self.since(line, done)
            .map(|(from, _)| Window::containing(*from, line.length))
            .take_while(|window| window.to <= over)
            .take(most)
            .collect()
    }

    /// When requests of a window came; `None` where it has none.
    pub(super) fn span(&self, line: Line, from: Timestamp) -> Option<Span> {
        self.windows.get(&line)?.get(&from).copied()
    }

    /// When the first request of the windows came that begin at or after `done`.
    pub(super) fn first_came_since(&self, line: Line, done: Option<Timestamp>) -> Option<Timestamp> {
        self.since(line, done).map(|(_, span)| span.first).min()
    }

    fn since(&self, line: Line, done: Option<Timestamp>) -> impl Iterator<Item = (&Timestamp, &Span)> {
        let begin = done.unwrap_or(Timestamp::from_millis(i64::MIN));
        self.windows.get(&line).into_iter().flat_map(move |windows| windows.range(begin..))
    }

    /// Forgets what is done: of a line in `done`, windows that begin before; of others, those whose requests all came before `low`.
    pub(super) fn forget(&mut self, done: &BTreeMap<Line, Option<Timestamp>>, low: Timestamp) {
        for (line, windows) in &mut self.windows {
            match done.get(line) {
                Some(Some(done)) => *windows = windows.split_off(done),
                Some(None) => {}
                None => windows.retain(|_, span| span.last >= low),
            }
        }
    }
}

fn query(endpoint: &str, from: Option<Timestamp>, to: Option<Timestamp>) -> Query {
    let columns = vec!["time".to_owned(), "row".to_owned(), EVENT_TIME_COLUMN.to_owned()];
    Query { shadow: Some(false), columns: Some(columns), ..Query::of(endpoint, from, to) }
}

fn push(recent: &mut VecDeque<bool>, said: bool) {
    if recent.len() == RECENT {
        recent.pop_front();
    }
    recent.push_back(said);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array, StringArray, TimestampMillisecondArray};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn spans() -> Spans {
        Spans::of_lines([Line::new(HOUR, false), Line::new(HOUR, true)])
    }

    /// Records as the log has them: when each came, and what it says.
    fn batch(rows: &[(&str, Option<&str>)]) -> RecordBatch {
        let came: Vec<i64> = rows.iter().map(|(came, _)| at(came).millis()).collect();
        let said: Vec<Option<&str>> = rows.iter().map(|(_, said)| *said).collect();
        RecordBatch::try_from_iter([
            ("time", Arc::new(TimestampMillisecondArray::from(came).with_timezone("UTC")) as ArrayRef),
            ("row", Arc::new(Int32Array::from(vec![0; rows.len()]))),
            (EVENT_TIME_COLUMN, Arc::new(StringArray::from(said))),
        ])
        .unwrap()
    }

    #[test]
    fn a_time_that_is_far_ahead_is_none_and_is_counted() {
        let mut found = spans();
        let rows = batch(&[
            ("2026-03-01T10:10:00Z", Some("2026-03-01T10:05:00Z")),
            ("2026-03-01T10:11:00Z", Some("2099-01-01T00:00:00Z")),
            ("2026-03-01T10:12:00Z", Some("2026-03-01T11:12:00Z")),
            ("2026-03-01T10:13:00Z", Some("2026-03-01T11:13:01Z")),
        ]);
        found.take(&rows, None);
        assert_eq!(found.latest_said(), Some(at("2026-03-01T11:12:00Z")), "an hour ahead is believed");
        assert_eq!((found.taken_ahead(), found.taken_ahead()), (2, 0));
        let far = Timestamp::from_millis(i64::MAX);
        let windows = |line| found.windows(line, None, far, 9).len();
        assert_eq!((windows(Line::new(HOUR, true)), windows(Line::new(HOUR, false))), (2, 1));
    }

    #[test]
    fn neither_a_tester_nor_a_forgotten_client_decides_whose_time_counts() {
        let mut found = spans();
        let mut send = |count: usize, said: bool| {
            for _ in 0..count {
                found.request(at("2026-03-01T10:00:00Z"), said.then(|| at("2026-03-01T09:00:00Z")), true);
            }
            [None, Some(false), Some(true)].map(|before| found.is_dated(before))
        };
        assert_eq!(send(0, false), [false, false, true], "nothing is known");
        assert_eq!(send(1, true), [true, false, true], "one request decides only where nobody did before");
        assert_eq!(send(30, false), [false, false, false], "a tester's header counts as one of many");
        assert_eq!(send(15, true), [false, false, true], "between a quarter and a half all stays as it is");
        assert_eq!(send(40, true), [true, true, true]);
        assert_eq!(send(2_000, false), [false, false, false], "what was long ago is forgotten");
    }

    #[test]
    fn what_is_remembered_grows_with_windows_and_not_with_requests() {
        let (mut found, begin) = (spans(), at("2026-03-01T00:00:00Z"));
        for second in 0..20_000_u64 {
            let came = begin.plus(Duration::from_secs(second));
            found.request(came, Some(came), true);
            // Read again, it changes nothing.
            found.request(came, Some(came), false);
        }
        let line = Line::new(HOUR, true);
        assert_eq!(found.windows[&line].len(), 6);
        assert!(found.settled.len() <= RECENT && found.fresh.len() <= RECENT);
        let second = begin.plus(HOUR);
        let expected = Span { first: second, last: second.plus(Duration::from_secs(3_599)) };
        assert_eq!(found.span(line, second), Some(expected));
        assert_eq!(found.first_came_since(line, Some(second)), Some(second));
        let ended = found.windows(line, Some(second), begin.plus(4 * HOUR), 2);
        assert_eq!(
            ended.into_iter().map(|window| window.from).collect::<Vec<_>>(),
            [second, begin.plus(2 * HOUR)]
        );
        found.forget(&[(line, Some(begin.plus(3 * HOUR)))].into(), begin.plus(4 * HOUR));
        assert_eq!((found.windows[&line].len(), found.windows[&Line::new(HOUR, false)].len()), (3, 2));
    }
}
