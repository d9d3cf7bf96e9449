//! When a schedule fires.
//!
//! Times are those of the schedule's time zone. Where clocks are put forward, a fixed time that does not exist that day
//! fires right after the gap; where they are put back, it fires once. A schedule whose minutes or hours begin with `*` is
//! no fixed time but goes by the clock, and so fires in both hours. These are the rules of Vixie's cron.
//!
//! `croner` has them too, but takes a list of hours for no fixed time: it would fire `5 1,2,3 * * *` twice at 2:05 in
//! autumn and not at all in spring. So fixed times are looked for on a calendar without a zone, and put into it here.

use chrono::{DateTime, Duration, MappedLocalTime, NaiveDateTime, TimeZone as _, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds};
use tidemill_core::Timestamp;
use tidemill_core::declare::Missed;

/// The most times that are made up for with [`Missed::All`].
pub const MISSED_MOST: usize = 100;

/// A time that is this late, in milliseconds, was missed: a server that runs is quicker.
const LATE: i64 = 60_000;

/// A schedule that was understood.
#[derive(Clone, Debug)]
pub struct Schedule {
    cron: Cron,
    zone: Tz,
    is_fixed: bool,
}

/// Why a schedule cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSchedule {
    /// The text is no time.
    #[error("`{cron}` is no schedule: {reason}")]
    Cron {
        /// The text.
        cron: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no such zone.
    #[error("there is no time zone `{0}`")]
    Zone(String),
}

impl Schedule {
    /// Reads five or six cron fields, or `@daily` and its kin, in the time zone of this name.
    pub fn parse(cron: &str, zone: &str) -> Result<Self, BadSchedule> {
        let zone = zone.parse().map_err(|_| BadSchedule::Zone(zone.to_owned()))?;
        let parser = CronParser::builder().seconds(Seconds::Optional).build();
        let parsed = parser
            .parse(cron)
            .map_err(|error| BadSchedule::Cron { cron: cron.to_owned(), reason: error.to_string() })?;
        Ok(Self { cron: parsed, zone, is_fixed: is_fixed(cron) })
    }

    /// The first time after `after`; nothing where there is none, as for the 30th of February.
    pub fn next_fire(&self, after: Timestamp) -> Option<Timestamp> {
        let instant = DateTime::from_timestamp_millis(after.millis())?;
        let local = instant.with_timezone(&self.zone);
        let next = if self.is_fixed {
            self.next_fixed(instant, local.naive_local())?
        } else {
            self.cron.find_next_occurrence(&local, false).ok()?.with_timezone(&Utc)
        };
        let next = Timestamp::from_millis(next.timestamp_millis());
        // Whatever happens at the edges of calendars, time goes forward.
        (next > after).then_some(next)
    }

    /// The first of the fixed times that is after `after`, when clocks show `local`.
    fn next_fixed(&self, after: DateTime<Utc>, local: NaiveDateTime) -> Option<DateTime<Utc>> {
        // What lies in a gap fires after it, so it may still come although clocks show a later time.
        let mut at = local.checked_sub_signed(GAP)?.and_utc();
        loop {
            at = self.cron.find_next_occurrence(&at, false).ok()?;
            let instant = self.instant(at.naive_utc())?;
            if instant > after {
                return Some(instant);
            }
        }
    }

    /// When clocks show `local`: for the first time, or right after the gap that it lies in.
    fn instant(&self, local: NaiveDateTime) -> Option<DateTime<Utc>> {
        match self.zone.from_local_datetime(&local) {
            MappedLocalTime::Single(at) | MappedLocalTime::Ambiguous(at, _) => Some(at.with_timezone(&Utc)),
            MappedLocalTime::None => {
                // The end of the gap, by halves: before it clocks show less than `local`, and from it on more.
                let shows = |at: DateTime<Utc>| at.with_timezone(&self.zone).naive_local();
                let mut before = local.checked_sub_signed(Duration::days(2))?.and_utc().timestamp();
                let mut from = local.checked_add_signed(Duration::days(2))?.and_utc().timestamp();
                while from - before > 1 {
                    let middle = before + (from - before) / 2;
                    if shows(DateTime::from_timestamp(middle, 0)?) < local {
                        before = middle;
                    } else {
                        from = middle;
                    }
                }
                DateTime::from_timestamp(from, 0)
            }
        }
    }

    /// The times after `last`, up to and with `now`, that are to be fired, oldest first. A time that is more than a
    /// minute late was missed, and `missed` says what becomes of it.
    pub fn due(&self, last: Timestamp, now: Timestamp, missed: Missed) -> Vec<Timestamp> {
        let mut late: std::collections::VecDeque<Timestamp> = std::collections::VecDeque::new();
        let mut on_time = Vec::new();
        let mut at = match missed {
            // A schedule of seconds that was away for a year has 30 million times, of which none is wanted.
            Missed::Skip => last.max(Timestamp::from_millis(now.millis().saturating_sub(LATE))),
            Missed::Once | Missed::All => self.not_too_early(last, now),
        };
        while let Some(next) = self.next_fire(at).filter(|next| *next <= now) {
            at = next;
            if now.millis() - next.millis() < LATE {
                on_time.push(next);
                continue;
            }
            late.push_back(next);
            if late.len() > MISSED_MOST {
                late.pop_front();
            }
        }
        match missed {
            Missed::Skip => on_time,
            // What was missed counts as one with the time that has come now, if there is one.
            Missed::Once => {
                let only_late = if on_time.is_empty() { late.pop_back() } else { None };
                only_late.into_iter().chain(on_time).collect()
            }
            Missed::All => {
                let all: Vec<Timestamp> = late.into_iter().chain(on_time).collect();
                let from = all.len().saturating_sub(MISSED_MOST);
                all[from..].to_vec()
            }
        }
    }

    /// A time from which on at most some thousands of times have to be looked at, and none that is wanted is left out:
    /// the latest of those that lie so far back, by powers of two, that enough come after it.
    fn not_too_early(&self, last: Timestamp, now: Timestamp) -> Timestamp {
        let mut back = LATE;
        loop {
            let from = Timestamp::from_millis(now.millis().saturating_sub(back));
            if from <= last {
                return last;
            }
            let mut at = from;
            let enough = (0..=MISSED_MOST).all(|_| match self.next_fire(at).filter(|next| *next <= now) {
                Some(next) => {
                    at = next;
                    true
                }
                None => false,
            });
            // Those within the last minute are on time and do not count.
            if enough && now.millis() - at.millis() > LATE {
                return from;
            }
            back = back.saturating_mul(2);
        }
    }
}

/// Longer than any gap that clocks have: Samoa left out a whole day in 2011.
const GAP: Duration = Duration::hours(25);

/// Whether minutes and hours are given, so that the schedule names times of the day.
fn is_fixed(cron: &str) -> bool {
    let fields: Vec<&str> = cron.split_whitespace().collect();
    match fields[..] {
        [minute, hour, _, _, _] => !minute.starts_with('*') && !hour.starts_with('*'),
        [second, minute, hour, _, _, _] => [second, minute, hour].iter().all(|field| !field.starts_with('*')),
        _ => cron != "@hourly",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn times_in_several_zones_and_over_changes_of_the_clock() {
        for (cron, zone, after, expect) in [
            ("0 3 * * *", "UTC", "2026-11-26T02:59:59Z", "2026-11-26T03:00:00Z"),
            ("0 3 * * *", "UTC", "2026-11-26T03:00:00Z", "2026-11-27T03:00:00Z"),
            ("*/10 * * * * *", "UTC", "2026-11-26T03:00:01Z", "2026-11-26T03:00:10Z"),
            ("@daily", "Asia/Tokyo", "2026-11-26T00:00:00Z", "2026-11-26T15:00:00Z"),
            // Berlin, 29 March 2026: 02:00 to 03:00 does not exist; what was to fire in it fires at its end.
            ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"),
            ("0 3 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"),
            // Berlin, 25 October 2026: 02:00 to 03:00 comes twice; a fixed time fires in the first.
            ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"),
            ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"),
            ("30 * * * *", "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"),
            // A list of hours is as fixed as one hour.
            ("5 1,2,3 * * *", "Europe/Berlin", "2026-10-25T00:05:00Z", "2026-10-25T02:05:00Z"),
            ("5 1,2,3 * * *", "Europe/Berlin", "2026-03-29T00:05:00Z", "2026-03-29T01:00:00Z"),
            // Chatham leaves out 2:45 to 3:45, and Samoa the 30th of December 2011.
            ("0 3 * * *", "Pacific/Chatham", "2026-09-26T03:00:00Z", "2026-09-26T14:00:00Z"),
            ("0 12 * * *", "Pacific/Apia", "2011-12-29T23:00:00Z", "2011-12-30T10:00:00Z"),
            // Lord Howe puts its clocks by half an hour only.
            ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z", "2026-10-03T15:30:00Z"),
            // Both days restricted: either fits.
            ("0 0 13 * 5", "UTC", "2026-11-26T00:00:00Z", "2026-11-27T00:00:00Z"),
            ("0 0 29 2 *", "UTC", "2026-11-26T00:00:00Z", "2028-02-29T00:00:00Z"),
        ] {
            let schedule = Schedule::parse(cron, zone).unwrap();
            assert_eq!(schedule.next_fire(at(after)), Some(at(expect)), "{cron} in {zone} after {after}");
        }
    }

    #[test]
    fn what_is_no_schedule() {
        assert!(matches!(Schedule::parse("0 25 * * *", "UTC"), Err(BadSchedule::Cron { .. })));
        assert!(matches!(Schedule::parse("", "UTC"), Err(BadSchedule::Cron { .. })));
        let error = Schedule::parse("0 0 * * *", "Mars/Base").unwrap_err();
        assert_eq!(error.to_string(), "there is no time zone `Mars/Base`");
        let never = Schedule::parse("0 0 30 2 *", "UTC").unwrap();
        assert_eq!(never.next_fire(at("2026-01-01T00:00:00Z")), None);
    }

    #[test]
    fn missed_times() {
        let hourly = Schedule::parse("0 * * * *", "UTC").unwrap();
        let texts = |missed, last: &str, now: &str| -> Vec<String> {
            hourly.due(at(last), at(now), missed).iter().map(ToString::to_string).collect()
        };
        let (last, now) = ("2026-11-26T00:00:00Z", "2026-11-26T04:30:00Z");
        assert_eq!(texts(Missed::Skip, last, now), Vec::<String>::new());
        assert_eq!(texts(Missed::Once, last, now), ["2026-11-26T04:00:00Z"]);
        assert_eq!(texts(Missed::All, last, now).len(), 4);
        // The one that is on time is not missed, and stands for those that were.
        let now = "2026-11-26T04:00:20Z";
        assert_eq!(texts(Missed::Skip, last, now), ["2026-11-26T04:00:00Z"]);
        assert_eq!(texts(Missed::Once, last, now), ["2026-11-26T04:00:00Z"]);
        assert_eq!(texts(Missed::All, last, now).len(), 4);
        // Nothing twice, and nothing of the future.
        for missed in [Missed::Skip, Missed::Once, Missed::All] {
            assert_eq!(texts(missed, "2026-11-26T04:00:00Z", now), Vec::<String>::new());
            assert_eq!(
                texts(missed, "2026-11-27T00:00:00Z", now),
                Vec::<String>::new(),
                "the clock went back"
            );
        }
    }

    #[test]
    fn a_year_of_seconds_is_bounded() {
        let seconds = Schedule::parse("* * * * * *", "UTC").unwrap();
        let (last, now) = (at("2025-11-26T00:00:00Z"), at("2026-11-26T00:00:00Z"));
        assert_eq!(seconds.due(last, now, Missed::All).len(), MISSED_MOST);
        assert_eq!(seconds.due(last, now, Missed::Skip).len(), 60, "less than a minute is not late");
        assert_eq!(seconds.due(last, now, Missed::Once).len(), 60);
        let daily = Schedule::parse("@daily", "UTC").unwrap();
        let all = daily.due(last, now, Missed::All);
        assert_eq!((all.len(), all.last()), (MISSED_MOST, Some(&now)));
    }
}
