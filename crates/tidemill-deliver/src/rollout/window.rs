//! When hours of the week begin and end, by the clocks of their time zones.
//!
//! Hours are open exactly while clocks show them: what clocks leave out in spring is never open, and what they show twice in autumn is open
//! twice.

use chrono::{
    DateTime, Datelike as _, Days, MappedLocalTime, Offset as _, TimeZone as _, Timelike as _, Utc,
};
use chrono_tz::Tz;
use tidemill_core::Timestamp;
use tidemill_core::declare::Window;

/// So many days ahead an opening is looked for: hours of a week come again in a week, unless clocks leave them out.
const AHEAD: u64 = 15;

/// The time zone of a window; none where there is none of its name.
pub(super) fn zone(window: &Window) -> Option<Tz> {
    window.zone.parse().ok()
}

/// Whether one of them is open now. Without any it always is.
pub(super) fn is_open(windows: &[Window], now: Timestamp) -> bool {
    windows.is_empty() || windows.iter().any(|window| holds(window, now))
}

/// When the next one opens after `now`; none where none does in the next two weeks.
pub(super) fn next_open(windows: &[Window], now: Timestamp) -> Option<Timestamp> {
    let opens = windows.iter().flat_map(|window| beginnings(window, now).unwrap_or_default());
    opens.filter(|at| *at > now && is_open(windows, *at)).min()
}

fn holds(window: &Window, now: Timestamp) -> bool {
    let Some((zone, at)) = zone(window).zip(DateTime::from_timestamp_millis(now.millis())) else {
        return false;
    };
    let local = at.with_timezone(&zone);
    let minute = local.hour() * 60 + local.minute();
    window.holds(local.weekday().num_days_from_monday() as usize, minute as u16)
}

/// Moments at which it may begin to be open: where clocks show its first minute, and where they are put forward or back.
fn beginnings(window: &Window, now: Timestamp) -> Option<Vec<Timestamp>> {
    let zone = zone(window)?;
    let now = DateTime::from_timestamp_millis(now.millis())?;
    let today = now.with_timezone(&zone).date_naive();
    let mut found: Vec<DateTime<Utc>> = Vec::new();
    for ahead in 0..AHEAD {
        let first = today.checked_add_days(Days::new(ahead))?.and_hms_opt(
            u32::from(window.from / 60),
            u32::from(window.from % 60),
            0,
        )?;
        match zone.from_local_datetime(&first) {
            MappedLocalTime::Single(at) => found.push(at.to_utc()),
            MappedLocalTime::Ambiguous(at, again) => found.extend([at.to_utc(), again.to_utc()]),
            MappedLocalTime::None => {}
        }
        let from = now.checked_add_days(Days::new(ahead))?.timestamp();
        found.extend(change(zone, from, from + 86_400));
    }
    Some(found.into_iter().map(|at| Timestamp::from_millis(at.timestamp_millis())).collect())
}

/// When clocks are put between two moments, by halves; none where they are not.
fn change(zone: Tz, mut before: i64, mut from: i64) -> Option<DateTime<Utc>> {
    let offset = |at: i64| {
        let at = DateTime::from_timestamp(at, 0)?;
        Some(zone.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc())
    };
    let first = offset(before)?;
    if offset(from)? == first {
        return None;
    }
    while from - before > 1 {
        let middle = before + (from - before) / 2;
        if offset(middle)? == first { before = middle } else { from = middle }
    }
    DateTime::from_timestamp(from, 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn windows(texts: &[&str]) -> Vec<Window> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn hours_are_those_of_the_zone() {
        let office = windows(&["Mon-Thu 09:00-16:00 Europe/Prague"]);
        for (now, open, next) in [
            // Summer time is two hours ahead, winter time one.
            ("2026-07-06T06:59:59Z", false, "2026-07-06T07:00:00Z"),
            ("2026-07-06T07:00:00Z", true, "2026-07-07T07:00:00Z"),
            ("2026-11-26T08:00:00Z", true, "2026-11-30T08:00:00Z"),
            ("2026-11-26T15:00:00Z", false, "2026-11-30T08:00:00Z"),
            // Over the change of clocks.
            ("2026-10-23T12:00:00Z", false, "2026-10-26T08:00:00Z"),
        ] {
            assert_eq!(is_open(&office, at(now)), open, "{now}");
            assert_eq!(next_open(&office, at(now)), Some(at(next)), "{now}");
        }
        assert!(is_open(&[], at("2026-11-26T15:00:00Z")));
        assert_eq!(next_open(&windows(&["Mon 01:00-02:00 Mars/Base"]), at("2026-11-26T15:00:00Z")), None);
    }

    #[test]
    fn what_clocks_leave_out_is_never_open_and_what_they_show_twice_is_twice() {
        // Berlin, 29 March 2026: there is no time between 02:00 and 03:00.
        let early = windows(&["Sun 02:15-02:45 Europe/Berlin"]);
        assert_eq!(next_open(&early, at("2026-03-28T12:00:00Z")), Some(at("2026-04-05T00:15:00Z")));
        let longer = windows(&["Sun 02:15-03:30 Europe/Berlin"]);
        assert_eq!(next_open(&longer, at("2026-03-28T12:00:00Z")), Some(at("2026-03-29T01:00:00Z")));
        // 25 October 2026: 02:00 to 03:00 comes twice.
        let first = at("2026-10-25T00:15:00Z");
        assert_eq!(next_open(&early, at("2026-10-24T12:00:00Z")), Some(first));
        assert_eq!(next_open(&early, first), Some(at("2026-10-25T01:15:00Z")));
        let until = windows(&["Sun 01:00-02:30 Europe/Berlin"]);
        assert!(!is_open(&until, at("2026-10-25T00:45:00Z")));
        assert_eq!(next_open(&until, at("2026-10-25T00:45:00Z")), Some(at("2026-10-25T01:00:00Z")));
    }

    const ZONES: [&str; 5] =
        ["UTC", "Europe/Prague", "America/New_York", "Australia/Lord_Howe", "Pacific/Chatham"];
    /// Before clocks are put somewhere.
    const WEEKS: [&str; 7] =
        ["2026-03-07", "2026-03-27", "2026-04-04", "2026-09-25", "2026-10-02", "2026-10-24", "2026-11-01"];

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

        /// The next opening is the first minute that is open after one that is not, looked for minute by minute.
        #[test]
        fn the_next_opening_is_the_first(
            zone in prop::sample::select(ZONES.to_vec()),
            week in prop::sample::select(WEEKS.to_vec()),
            from in 0u16..1_440, length in 1u16..1_440, days in 1u8..128, back in 0i64..4_000,
        ) {
            let days = std::array::from_fn(|day| days & (1 << day) != 0);
            let until = from + length;
            let windows = [Window { days, from, until, zone: zone.into() }];
            let noon = at(&format!("{week}T12:00:00Z")).millis();
            let minute = |minutes: i64| Timestamp::from_millis(noon + (minutes - back) * 60_000);
            if !is_open(&windows, minute(0)) {
                let opening = (1..21_000).map(minute).find(|at| is_open(&windows, *at));
                prop_assert_eq!(next_open(&windows, minute(0)), opening);
            }
        }
    }
}
