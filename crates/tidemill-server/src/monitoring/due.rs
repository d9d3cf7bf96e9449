//! Which windows are due: how far time has come, by what callers say and by the server's clock.

use std::collections::BTreeSet;
use std::time::Duration;

use tidemill_core::Timestamp;
use tidemill_db::monitoring::Stream;
use tidemill_monitor::window::{Window, due};
use tidemill_monitor::{Kind, Memory, Monitor, StreamOf, Watch};

use super::spans::{Line, Spans};

/// A request is in the log at the latest this long after it came.
const SETTLED: Duration = Duration::from_secs(5);
const HOUR: Duration = Duration::from_secs(3_600);
/// Windows of one series that are judged at once.
const MOST: usize = 32;
/// Those of a stream, which are short.
const MOST_OF_STREAM: usize = 512;

/// How far time has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// Of predictions: none is expected that happened earlier.
    pub(super) watermark: Timestamp,
    /// Of requests: none is expected that came earlier.
    pub(super) arrived: Timestamp,
    /// Whether predictions say when they happened.
    pub(super) is_dated: bool,
    /// Whether there was a request at all. Before, it is not known whose time counts.
    pub(super) has_begun: bool,
    /// When the last request came, where time goes on while windows are judged; a backtest is about the past.
    pub(super) live: Option<Live>,
}

/// What goes on without requests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Live {
    pub(super) last_came: Option<Timestamp>,
}

impl Now {
    /// Of what goes on at an endpoint, by the server's clock. `stored` is what was known of its log before, `latest` the latest time that
    /// a request said.
    pub(super) fn live(spans: &Spans, stored: Option<Stream>, latest: Timestamp, at: Timestamp) -> Self {
        let arrived = Timestamp::from_millis(at.millis().saturating_sub(SETTLED.as_millis() as i64));
        let is_dated = spans.is_dated(stored.map(|stored| stored.is_dated));
        Self {
            // Whatever callers say, no window is over before its end.
            watermark: if is_dated { latest.min(arrived) } else { arrived },
            arrived,
            is_dated,
            has_begun: stored.is_some() || !spans.is_empty(),
            live: Some(Live { last_came: spans.last_came() }),
        }
    }

    /// How far the time that a series goes by has come. Where callers say when things happened, some are later than others: a
    /// twenty-fourth of the window, at most an hour.
    pub(super) fn of(self, watch: &Watch) -> Timestamp {
        if watch.is_by_arrival() {
            return self.arrived;
        }
        if !self.is_dated {
            return self.watermark;
        }
        let late = (watch.length() / 24).min(Duration::from_secs(3600));
        Timestamp::from_millis(self.watermark.millis().saturating_sub(late.as_millis() as i64))
    }

    /// Whether no request came for so long that none is expected of the last windows any more, though their time has not come to an end:
    /// for the length of a window and an hour at least, and as long as outcomes take.
    fn is_silent(self, watch: &Watch) -> bool {
        let patience = watch.length().max(HOUR) + watch.delay();
        let last = self.live.and_then(|live| live.last_came);
        self.is_dated
            && !watch.is_by_arrival()
            && last.is_some_and(|last| last.plus(patience) <= self.arrived)
    }
}

/// The last window that is over.
fn last_whole(at: Timestamp, length: Duration) -> Window {
    let current = Window::containing(at, length);
    Window::containing(Timestamp::from_millis(current.from.millis().saturating_sub(1)), length)
}

/// A series and what is remembered of it.
pub(super) type Known = (Watch, Memory);

/// How many windows of a series are judged at once.
pub(super) fn most(watch: &Watch) -> usize {
    if matches!(watch.kind, Kind::Monitor(Monitor::Stream(_))) { MOST_OF_STREAM } else { MOST }
}

/// The windows that are due, by series.
pub(super) fn due_windows(known: &[Known], spans: &Spans, now: Now) -> Vec<Vec<Window>> {
    let of = |(watch, memory): &Known| {
        let (watermark, most) = (now.of(watch), most(watch));
        let seen: BTreeSet<Window> = match &watch.kind {
            _ if !now.has_begun => BTreeSet::new(),
            // Age needs no records, only time.
            Kind::Monitor(Monitor::Stale(_)) => [last_whole(watermark, watch.length())].into(),
            kind => {
                let end = if now.is_silent(watch) { Timestamp::from_millis(i64::MAX) } else { watermark };
                let over = end.millis().saturating_sub(watch.delay().as_millis() as i64);
                let line = Line::of(watch, now.is_dated);
                let mut seen = spans.windows(line, memory.done, Timestamp::from_millis(over), most);
                // That nothing came is something that is known of a service, by the server's clock.
                let is_service = matches!(kind, Kind::Monitor(Monitor::Service(_)));
                if is_service && now.live.is_some() && memory.done.is_some() {
                    seen.insert(last_whole(watermark, watch.length()));
                }
                return due(&seen, memory.done, end, watch.delay(), most);
            }
        };
        due(&seen, memory.done, watermark, watch.delay(), most)
    };
    known.iter().map(of).collect()
}

/// Whether a series needs labels, which come on a way of their own.
pub(super) fn needs_labels(watch: &Watch) -> bool {
    match &watch.kind {
        Kind::Monitor(Monitor::Stream(stream)) => matches!(stream.of, StreamOf::Outcome(_)),
        Kind::Monitor(monitor) => matches!(monitor, Monitor::Quality(_) | Monitor::Kpi(_)),
        Kind::Estimate(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidemill_monitor::Declaration;

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(&format!("2026-03-0{text}:00Z")).unwrap()
    }

    /// A monitor of inputs, and of service with windows of an hour.
    fn known() -> Vec<Known> {
        let declaration: Declaration = serde_json::from_value(json!({
            "project": "p", "endpoint": "e",
            "monitors": [{"inputs": {"violations": 0.1}}, {"service": {"error_rate": 0.1, "window": "1h"}}],
        }))
        .unwrap();
        declaration.watches().into_iter().map(|watch| (watch, Memory::default())).collect()
    }

    /// Requests that came at these times, and what each said.
    fn spans(known: &[Known], requests: &[(&str, Option<&str>)]) -> Spans {
        let mut spans = Spans::new(known.iter().map(|(watch, _)| watch));
        for (came, said) in requests {
            spans.request(at(came), said.map(at), true);
        }
        spans
    }

    /// The begins of the windows that are due.
    fn begins(known: &[Known], spans: &Spans, stored: Option<Stream>, clock: &str) -> Vec<Vec<String>> {
        let latest = spans.latest_said().unwrap_or(Timestamp::from_millis(i64::MIN));
        let now = Now::live(spans, stored, latest, at(clock));
        let begin = |window: &Window| window.from.to_string()[9..13].to_owned();
        due_windows(known, spans, now).iter().map(|due| due.iter().map(begin).collect()).collect()
    }

    #[test]
    fn no_window_is_over_before_its_end_whatever_a_caller_says() {
        let known = known();
        let requests =
            [("1T10:10", Some("1T10:10")), ("1T10:20", Some("1T11:20")), ("1T10:21", Some("1T11:21"))];
        let spans = spans(&known, &requests);
        assert_eq!(begins(&known, &spans, None, "1T10:30"), [Vec::<String>::new(), Vec::new()]);
        // Nine minutes past the hour a twenty-fourth of it is over.
        assert_eq!(begins(&known, &spans, None, "1T11:09")[0], ["1T10"]);
    }

    #[test]
    fn where_nothing_comes_any_more_the_last_window_is_over_by_the_clock() {
        let mut known = known();
        let spans = spans(&known, &[("1T10:10", Some("1T10:05")), ("1T10:40", Some("1T10:40"))]);
        assert_eq!(begins(&known, &spans, None, "1T11:30")[0], Vec::<String>::new(), "more may come");
        assert_eq!(begins(&known, &spans, None, "1T11:41")[0], ["1T10"]);
        // Of a service that nothing came is known, too; of what was before the last window it is not told.
        assert_eq!(begins(&known, &spans, None, "1T13:30")[1], ["1T10"]);
        known[1].1.done = Some(at("1T11:00"));
        assert_eq!(begins(&known, &spans, None, "1T15:30")[1], ["1T14"]);
        known[1].1.done = Some(at("1T15:00"));
        assert_eq!(begins(&known, &spans, None, "1T15:30")[1], Vec::<String>::new());
    }

    #[test]
    fn what_is_done_with_a_time_to_come_goes_back_to_the_clocks() {
        let mut memory = Memory::default();
        memory.done = Some(at("9T00:00"));
        assert!(memory.is_ahead_of(at("1T11:00")) && !memory.is_ahead_of(at("9T00:00")));
        memory.go_back(Some(at("1T10:00")));
        let mut known = known();
        known[0].1 = memory;
        let requests =
            [("1T09:10", Some("1T09:10")), ("1T10:10", Some("1T10:10")), ("1T11:20", Some("1T11:20"))];
        let spans = spans(&known, &requests);
        assert_eq!(begins(&known, &spans, None, "1T11:30")[0], ["1T10"]);
    }
}
