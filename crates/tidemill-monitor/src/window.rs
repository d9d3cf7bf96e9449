//! Tumbling windows over the time of predictions: which one a time is in, and which are due.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill_core::Timestamp;

/// A stretch of time, its end excluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Window {
    /// Its first moment.
    pub from: Timestamp,
    /// The first moment after it.
    pub to: Timestamp,
}

impl Window {
    /// The window of this length that `at` is in. Windows follow one another from 1970-01-01T00:00:00Z, so days are those of UTC;
    /// lengths are whole milliseconds, at least one.
    pub fn containing(at: Timestamp, length: Duration) -> Self {
        let length = millis(length).max(1);
        let from = at.millis().div_euclid(length).saturating_mul(length);
        Self { from: Timestamp::from_millis(from), to: Timestamp::from_millis(from.saturating_add(length)) }
    }

    /// Whether a time is in it.
    pub fn contains(self, at: Timestamp) -> bool {
        (self.from..self.to).contains(&at)
    }
}

/// The windows that are due, oldest first and at most `most`: those of `seen`, windows that hold predictions, that begin at or after
/// `done`, and whose end and `delay` after it the watermark has reached. No prediction is expected any more that is earlier than
/// the watermark. The delay is how long labels take: a window is mature when they must be there.
///
/// A length that was changed gives windows that overlap what is done; time is judged once.
pub fn due(
    seen: &BTreeSet<Window>,
    done: Option<Timestamp>,
    watermark: Timestamp,
    delay: Duration,
    most: usize,
) -> Vec<Window> {
    let is_due =
        |window: &&Window| done.is_none_or(|done| window.from >= done) && window.to.plus(delay) <= watermark;
    seen.iter().filter(is_due).take(most).copied().collect()
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn seen(times: &[i64]) -> BTreeSet<Window> {
        times.iter().map(|time| Window::containing(at(*time), ms(10))).collect()
    }

    #[test]
    fn windows_that_are_due() {
        for (times, watermark, done, delay, expected) in [
            (&[3_i64][..], 9, None, 0, vec![]),
            (&[3], 10, None, 0, vec![0]),
            (&[25, 33, 58, 61], 60, None, 0, vec![20, 30, 50]),
            (&[25, 33, 58], 60, None, 15, vec![20, 30]),
            (&[25, 33, 58], 60, Some(30), 0, vec![30, 50]),
            (&[25, 33, 58], 60, Some(35), 0, vec![50]),
            (&[-5, 3], 11, None, 0, vec![-10, 0]),
            (&[1, 11, 21, 31, 41], i64::MAX, None, 0, vec![0, 10, 20, 30]),
        ] {
            let found: Vec<i64> = due(&seen(times), done.map(at), at(watermark), ms(delay), 4)
                .iter()
                .map(|window| window.from.millis())
                .collect();
            assert_eq!(found, expected, "{times:?} {watermark} {done:?} {delay}");
        }
    }

    #[test]
    fn a_day_is_one_of_utc() {
        let noon = Timestamp::parse("2013-03-10T12:34:56Z").unwrap();
        let day = Window::containing(noon, Duration::from_secs(86_400));
        assert_eq!(
            (day.from.to_string(), day.to.to_string()),
            ("2013-03-10T00:00:00Z".into(), "2013-03-11T00:00:00Z".into())
        );
        assert!(day.contains(day.from) && !day.contains(day.to));
    }

    proptest! {
        /// However often it is asked, each window that holds something is due exactly once, in order, and not before its time.
        #[test]
        fn each_window_once(
            times in proptest::collection::vec(0_i64..1_000, 1..60),
            delay in 0_u64..60,
            steps in proptest::collection::vec(0_i64..90, 1..60),
        ) {
            let (mut done, mut watermark, mut found) = (None, 0, Vec::<Window>::new());
            for step in steps.into_iter().chain([2_000, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]) {
                watermark += step;
                // Later predictions may not be there yet; earlier ones must.
                let there: Vec<i64> = times.iter().copied().filter(|time| *time < watermark).collect();
                for window in due(&seen(&there), done, at(watermark), ms(delay), 3) {
                    prop_assert!(window.to.millis() + delay as i64 <= watermark);
                    done = Some(window.to);
                    found.push(window);
                }
            }
            prop_assert_eq!(found, seen(&times).into_iter().collect::<Vec<_>>());
        }
    }
}
