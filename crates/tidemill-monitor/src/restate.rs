//! Windows that are judged again, since outcomes of their requests came after they were judged or became others.
//!
//! A restated window says what it was before and when it changed. Its alert follows it once: a figure that wavers about its limit while
//! labels trickle in must not ring with each of them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill_core::Timestamp;
use tidemill_core::declare::Objective;
use tidemill_project::Monitor;

use crate::alert::{Change, Phase};
use crate::declare::{Kind, Watch};
use crate::judge::{Memory, Seen};
use crate::verdict::{Evidence, Exposure, State, Verdict};
use crate::window::Window;
use crate::{kpi, quality};

/// What a window was before.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Was {
    /// How the monitor stood.
    pub state: State,
    /// The figure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Lower end of its 95 % interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// Upper end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
    /// Labels, or outcomes that carry the business number, that were there.
    pub outcomes: u64,
    /// When it was judged so, by the server's clock.
    pub at: Timestamp,
}

/// That a window was judged again.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Restated {
    /// When, by the server's clock; of several times the last.
    pub at: Timestamp,
    /// How often.
    pub times: u32,
    /// What it was when it was judged first.
    pub first: Was,
    /// What it was before the last time.
    pub before: Was,
    /// The state that counts for the alert.
    pub counts: State,
    /// Whether the alert began or ended with it, which it does once.
    #[serde(default)]
    pub has_turned: bool,
}

/// The window of a series that was restated last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ago {
    /// The window.
    pub window: Window,
    /// When, by the server's clock.
    pub at: Timestamp,
    /// How often windows of the series were restated so far.
    pub times: u64,
    /// What it comes to now, in words.
    pub why: String,
}

/// A window that is looked at again.
#[derive(Clone, Copy, Debug)]
pub struct Again<'a> {
    /// The series.
    pub watch: &'a Watch,
    /// The window.
    pub window: Window,
    /// What is seen in it now.
    pub seen: &'a Seen,
    /// What the model is for.
    pub objective: Option<&'a Objective>,
    /// What is decided with it.
    pub exposure: Exposure,
    /// What it came to.
    pub before: &'a Verdict,
    /// When it was judged.
    pub judged_at: Timestamp,
    /// The time of the server's clock.
    pub at: Timestamp,
}

impl Was {
    fn of(verdict: &Verdict, at: Timestamp) -> Self {
        Self {
            state: verdict.state,
            value: verdict.value,
            low: verdict.low,
            high: verdict.high,
            outcomes: outcomes(verdict),
            at,
        }
    }

    fn words(&self) -> String {
        let state = match self.state {
            State::Ok => "ok",
            State::Broken => "broken",
            State::NoData => "no data",
        };
        let figure = self.value.map(|value| format!(" with {value:.4}")).unwrap_or_default();
        let word = if self.outcomes == 1 { "outcome" } else { "outcomes" };
        format!("{state}{figure} by {} {word}", self.outcomes)
    }
}

impl Verdict {
    /// The state that counts for the alert of the series.
    pub fn counts(&self) -> State {
        self.restated.map_or(self.state, |restated| restated.counts)
    }
}

/// Judges a window by the outcomes that are there now, with what was remembered of the windows before it, and corrects what is remembered.
/// Nothing where it comes to the same, or where outcomes are gone that it rested on.
pub fn restate(memory: &mut Memory, again: &Again<'_>) -> Option<Verdict> {
    let Again { window, before, exposure, objective, .. } = *again;
    let costs = objective.and_then(|objective| objective.costs.as_ref());
    let from = window.from.millis();
    let mut then = None;
    let verdict = match (&again.watch.kind, again.seen) {
        (Kind::Monitor(Monitor::Quality(rule)), Seen::Quality(seen)) => {
            quality::judged(rule, seen, costs, exposure)
        }
        (Kind::Monitor(Monitor::Kpi(rule)), Seen::Kpi(answered)) => {
            let series = then.insert(memory.series.before(from));
            kpi::judged(rule, objective, series, (window, exposure.decisions), answered)
        }
        _ => return None,
    };
    if outcomes(&verdict) < outcomes(before) || is_same(before, &verdict) {
        return None;
    }
    memory.releases.replace((window.from, window.to), &before.counted, &verdict.counted);
    if let Some(then) = then {
        memory.series.restate(from, &then);
    }
    let was = Was::of(before, before.restated.map_or(again.judged_at, |restated| restated.at));
    let first = before.restated.map_or(was, |restated| restated.first);
    let turned = before.restated.filter(|restated| restated.has_turned);
    let restated = Restated {
        at: again.at,
        times: before.restated.map_or(0, |restated| restated.times).saturating_add(1),
        first,
        before: was,
        counts: turned.map_or(verdict.state, |turned| turned.counts),
        has_turned: turned.is_some(),
    };
    let why = format!("{}; restated: at first {}", verdict.why, first.words());
    let times = memory.restated.as_ref().map_or(0, |ago| ago.times) + 1;
    memory.restated = Some(Ago { window, at: again.at, times, why: why.clone() });
    Some(Verdict { why, restated: Some(restated), ..verdict })
}

/// What becomes of the alert of a series some of whose windows were restated. `windows` are the last ones of the series with the state
/// that counts, the oldest first and the restated ones among them. Those of `restated` that turn the alert will not do so again.
pub fn turn(
    memory: &mut Memory,
    windows: &[(State, Window)],
    hold: Duration,
    restated: &mut [&mut Verdict],
) -> Option<Change> {
    // What began before these windows is as it was.
    let begin = windows.first().map(|(_, window)| window.from);
    let is_older = |since: Timestamp| begin.is_none_or(|begin| since < begin);
    let start = if memory.phase.since().is_some_and(is_older) { memory.phase } else { Phase::Quiet };
    let change = memory.phase.restate(start.after(windows.iter().copied(), hold));
    if matches!(change, Some(Change::Firing | Change::Resolved)) {
        for verdict in restated {
            if let Some(restated) = &mut verdict.restated {
                restated.has_turned |= restated.counts != restated.before.state;
            }
        }
    }
    change
}

/// Labels, or outcomes that carry the business number, that a verdict rests on.
fn outcomes(verdict: &Verdict) -> u64 {
    match &verdict.evidence {
        Some(Evidence::Quality { labelled, .. }) => *labelled,
        _ => verdict.counted.iter().map(|by| by.outcomes).sum(),
    }
}

/// Whether two verdicts are the same but for their words.
fn is_same(one: &Verdict, other: &Verdict) -> bool {
    let figures = |verdict: &Verdict| {
        (verdict.state, verdict.value, verdict.low, verdict.high, verdict.limit, verdict.at_risk)
    };
    figures(one) == figures(other) && one.evidence == other.evidence && one.counted == other.counted
}
