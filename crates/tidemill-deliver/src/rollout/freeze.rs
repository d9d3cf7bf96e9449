//! When nothing may get more traffic: freezes with a reason and an end, and windows outside of which nobody wants to be called.

use serde::{Deserialize, Serialize};
use tidemill_core::Timestamp;

/// A time in which no candidate gets more traffic. Stopping the line is a freeze without an end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// Its name, to lift it by.
    pub id: u64,
    /// The endpoint that it is for; all where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Why.
    pub reason: String,
    /// Who answers for it.
    pub owner: String,
    /// From when.
    pub from: Timestamp,
    /// Until when; until it is lifted where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Freeze {
    /// Whether it holds for an endpoint now.
    pub fn holds(&self, endpoint: &str, now: Timestamp) -> bool {
        self.endpoint.as_deref().is_none_or(|one| one == endpoint)
            && now >= self.from
            && self.until.is_none_or(|until| now < until)
    }
}

/// Hours of a week in which a candidate may get more traffic, in UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Days, from Monday as 0 to Sunday as 6; the first and the last.
    pub days: (u8, u8),
    /// Minutes of the day: from, and before which.
    pub minutes: (u16, u16),
}

impl Window {
    /// Whether it is open now.
    pub fn is_open(&self, now: Timestamp) -> bool {
        const DAY: i64 = 86_400_000;
        // 1970-01-01 was a Thursday.
        let day = (now.millis().div_euclid(DAY) + 3).rem_euclid(7) as u8;
        let minute = (now.millis().rem_euclid(DAY) / 60_000) as u16;
        let (first, last) = self.days;
        let is_day = if first <= last { (first..=last).contains(&day) } else { day >= first || day <= last };
        is_day && (self.minutes.0..self.minutes.1).contains(&minute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_know_their_days() {
        let office = Window { days: (0, 3), minutes: (9 * 60, 16 * 60) };
        for (time, open) in [
            ("2026-11-26T09:00:00Z", true),
            ("2026-11-26T15:59:59Z", true),
            ("2026-11-26T16:00:00Z", false),
            ("2026-11-27T10:00:00Z", false),
            ("2026-11-23T10:00:00Z", true),
            ("2026-11-22T10:00:00Z", false),
        ] {
            assert_eq!(office.is_open(Timestamp::parse(time).unwrap()), open, "{time}");
        }
        let weekend = Window { days: (5, 0), minutes: (0, 1440) };
        assert!(weekend.is_open(Timestamp::parse("2026-11-23T10:00:00Z").unwrap()));
        assert!(!weekend.is_open(Timestamp::parse("2026-11-24T10:00:00Z").unwrap()));
    }

    #[test]
    fn a_freeze_ends_and_may_be_for_one_endpoint() {
        let at = Timestamp::from_millis;
        let mut freeze = Freeze {
            id: 1,
            endpoint: Some("churn".into()),
            reason: "quarter end".into(),
            owner: "ada".into(),
            from: at(10),
            until: Some(at(20)),
        };
        assert!(
            freeze.holds("churn", at(10)) && !freeze.holds("churn", at(20)) && !freeze.holds("churn", at(9))
        );
        assert!(!freeze.holds("late", at(15)));
        freeze.endpoint = None;
        assert!(freeze.holds("late", at(15)));
    }
}
