//! Alerts: `pending → firing → resolved`, one at a time for each series, known by its fingerprint.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill_core::{Digest, Timestamp};

use crate::verdict::State;
use crate::window::Window;

/// How the alert of a series stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// There is none.
    #[default]
    Quiet,
    /// The rule is broken, and not for long enough yet.
    Pending {
        /// The begin of the first window that was.
        since: Timestamp,
        /// The end of it.
        seen: Timestamp,
    },
    /// It fires.
    Firing {
        /// The begin of the first window that was broken.
        since: Timestamp,
        /// The end of the window with which it began to fire.
        fired: Timestamp,
    },
}

/// What became of an alert with a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The rule is broken for the first time; it fires if that goes on.
    Pending,
    /// It fires. Told to receivers, and what triggers react to.
    Firing,
    /// It does not fire any more. Told to receivers.
    Resolved,
    /// It was pending, and nothing came of it.
    Dropped,
}

impl Change {
    /// The word as it is stored and sent.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Resolved => "resolved",
            Self::Dropped => "dropped",
        }
    }
}

impl Phase {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quiet => "ok",
            Self::Pending { .. } => "pending",
            Self::Firing { .. } => "firing",
        }
    }

    /// The begin of the first window in which the rule was broken, while it is pending or fires.
    pub const fn since(self) -> Option<Timestamp> {
        match self {
            Self::Quiet => None,
            Self::Pending { since, .. } | Self::Firing { since, .. } => Some(since),
        }
    }

    /// How an alert stands after windows, the oldest first, that stood like this before them.
    #[must_use]
    pub fn after(mut self, windows: impl IntoIterator<Item = (State, Window)>, hold: Duration) -> Self {
        for (state, window) in windows {
            self.step(state, window, hold);
        }
        self
    }

    /// Takes the phase on to how it stands now that windows were restated. What fires goes on while its rule is broken, also where it
    /// would not fire yet.
    pub fn restate(&mut self, now: Self) -> Option<Change> {
        let change = match (*self, now) {
            (Self::Firing { .. }, Self::Firing { .. } | Self::Pending { .. }) => return None,
            (Self::Firing { .. }, Self::Quiet) => Some(Change::Resolved),
            (Self::Quiet | Self::Pending { .. }, Self::Firing { .. }) => Some(Change::Firing),
            (Self::Quiet, Self::Pending { .. }) => Some(Change::Pending),
            (Self::Pending { .. }, Self::Quiet) => Some(Change::Dropped),
            (Self::Quiet, Self::Quiet) | (Self::Pending { .. }, Self::Pending { .. }) => None,
        };
        *self = now;
        change
    }

    /// Takes the phase on by a window. An alert fires when its rule is still broken `hold` after the end of the first window in which
    /// it was; a window that says nothing leaves everything as it is.
    pub fn step(&mut self, state: State, window: Window, hold: Duration) -> Option<Change> {
        match (state, *self) {
            (State::NoData, _) | (State::Ok, Self::Quiet) | (State::Broken, Self::Firing { .. }) => None,
            (State::Broken, Self::Quiet) if hold.is_zero() => {
                *self = Self::Firing { since: window.from, fired: window.to };
                Some(Change::Firing)
            }
            (State::Broken, Self::Quiet) => {
                *self = Self::Pending { since: window.from, seen: window.to };
                Some(Change::Pending)
            }
            (State::Broken, Self::Pending { since, seen }) => {
                if seen.plus(hold) > window.to {
                    return None;
                }
                *self = Self::Firing { since, fired: window.to };
                Some(Change::Firing)
            }
            (State::Ok, Self::Pending { .. }) => {
                *self = Self::Quiet;
                Some(Change::Dropped)
            }
            (State::Ok, Self::Firing { .. }) => {
                *self = Self::Quiet;
                Some(Change::Resolved)
            }
        }
    }
}

/// What an alert is known by: the endpoint and the series. While it fires there is one alert of a fingerprint.
pub fn fingerprint(endpoint: &str, watch: &str) -> Digest {
    Digest::of(format!("tidemill alert\0{endpoint}\0{watch}").as_bytes())
}

/// Where an alert stands among others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weight {
    /// What it may cost.
    pub at_risk: Option<f64>,
    /// Since when it fires.
    pub since: Timestamp,
}

/// Orders alerts: the most money at risk first, those without a figure last, and of equal ones the oldest first.
pub fn order(a: Weight, b: Weight) -> std::cmp::Ordering {
    let money =
        |weight: Weight| weight.at_risk.filter(|money| money.is_finite()).unwrap_or(f64::NEG_INFINITY);
    money(b).total_cmp(&money(a)).then(a.since.cmp(&b.since))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn day(number: i64) -> Window {
        let day = 86_400_000;
        Window { from: Timestamp::from_millis(number * day), to: Timestamp::from_millis((number + 1) * day) }
    }

    /// `b` broken, `.` good, `?` nothing known; the answer has `P`, `F`, `R`, `D`, or `-` where nothing changed.
    fn story(windows: &str, hold_days: u64) -> String {
        let (mut phase, hold) = (Phase::Quiet, Duration::from_secs(hold_days * 86_400));
        let mut step = |(number, word): (usize, char)| {
            let state = match word {
                'b' => State::Broken,
                '.' => State::Ok,
                _ => State::NoData,
            };
            match phase.step(state, day(number as i64), hold) {
                None => '-',
                Some(Change::Pending) => 'P',
                Some(Change::Firing) => 'F',
                Some(Change::Resolved) => 'R',
                Some(Change::Dropped) => 'D',
            }
        };
        windows.chars().enumerate().map(&mut step).collect()
    }

    #[test]
    fn stories() {
        for (windows, hold, expected) in [
            ("..bb..b", 0, "--F-R-F"),
            ("..bb..b", 1, "--PFR-P"),
            ("b.b.bbb.", 2, "PDPDP-FR"),
            ("b?b?.", 1, "P-F-R"),
            ("bbbb", 10, "P---"),
            ("b??.", 0, "F--R"),
            ("????", 0, "----"),
        ] {
            assert_eq!(story(windows, hold), expected, "{windows} for {hold} days");
        }
    }

    proptest! {
        /// An alert fires and is resolved in turns; without a hold it fires exactly when the rule is broken, and silence changes nothing.
        #[test]
        fn turns(windows in "[b.?]{0,60}", hold in 0_u64..4) {
            let told = story(&windows, hold);
            let turns: String = told.chars().filter(|c| matches!(c, 'F' | 'R')).collect();
            prop_assert!(!turns.contains("FF") && !turns.contains("RR") && !turns.starts_with('R'));
            for (seen, said) in windows.chars().zip(told.chars()) {
                prop_assert!(said == '-' || seen != '?');
                prop_assert!(said != 'F' || seen == 'b');
                prop_assert!(!matches!(said, 'R' | 'D') || seen == '.');
            }
            let quiet: String = windows.chars().filter(|c| *c != '?').collect();
            if hold == 0 {
                let judged: String = windows.chars().zip(told.chars()).filter(|(w, _)| *w != '?').map(|(_, t)| t).collect();
                prop_assert_eq!(judged, story(&quiet, 0));
            }
        }
    }

    #[test]
    fn alerts_are_ordered_by_money() {
        let mut alerts: Vec<Weight> =
            [(None, 1), (Some(10.0), 5), (Some(70.0), 4), (Some(10.0), 2), (Some(f64::NAN), 0)]
                .map(|(at_risk, since)| Weight { at_risk, since: Timestamp::from_millis(since) })
                .to_vec();
        alerts.sort_by(|a, b| order(*a, *b));
        let shown: Vec<i64> = alerts.iter().map(|alert| alert.since.millis()).collect();
        assert_eq!(shown, [4, 2, 5, 0, 1], "what has no figure comes last, of equal ones the oldest first");
        assert_ne!(fingerprint("a", "drift"), fingerprint("a", "drift#2"));
    }
}
