//! One window of one series: what was seen in it, what it comes to, and what is remembered for the next.

use serde::{Deserialize, Serialize};
use tidemill_core::Timestamp;
use tidemill_core::declare::Objective;
use tidemill_project::Monitor;
use tidemill_stats::multiple::Lord;

use crate::alert::{Change, Phase};
use crate::declare::{Kind, Watch};
use crate::drift::{self, Compared};
use crate::kpi::{self, Series};
use crate::levels::{self, InputsSeen, ServiceSeen, StaleSeen};
use crate::quality::{self, Estimated, QualitySeen};
use crate::releases::{AnsweredBy, Releases};
use crate::restate::Ago;
use crate::stream::{self, Stream};
use crate::verdict::{Exposure, Verdict};
use crate::window::Window;

/// What was seen in a window.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// Of a monitor of drift: a comparison with the reference.
    Drift(Compared),
    /// Of a monitor of quality: labels.
    Quality(QualitySeen),
    /// Of an estimate: the figure, or why there is none.
    Estimate(Result<Estimated, String>),
    /// Of a monitor of service.
    Service(ServiceSeen),
    /// Of a monitor of inputs.
    Inputs(InputsSeen),
    /// Of a monitor of age.
    Stale(StaleSeen),
    /// Of a monitor of the business number: its outcomes by the version that answered.
    Kpi(Vec<AnsweredBy>),
    /// Of a monitor of a stream: its values in their order.
    Stream(Vec<f64>),
    /// There is nothing to look at, with the reason.
    Nothing(String),
}

/// False discovery rate of the alarms of one monitor of drift over all its windows.
const ALPHA: f64 = 0.05;

/// What is remembered of a series between windows. Stored; whoever adds a field gives it a default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// The end of the last window that was judged.
    #[serde(default)]
    pub done: Option<Timestamp>,
    /// How the alert stands.
    #[serde(default)]
    pub phase: Phase,
    /// The sequence of tests so far.
    #[serde(default = "fresh")]
    lord: Lord,
    /// Values of the windows before.
    #[serde(default)]
    pub(crate) series: Series,
    /// Outcomes of the business number by version; of a monitor of quality, decisions and what they cost.
    #[serde(default, skip_serializing_if = "Releases::is_empty")]
    pub releases: Releases,
    /// The window that was restated last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restated: Option<Ago>,
    /// The detector of a stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stream: Option<Stream>,
}

fn fresh() -> Lord {
    Lord::new(ALPHA)
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            done: None,
            phase: Phase::default(),
            lord: fresh(),
            series: Series::default(),
            releases: Releases::default(),
            restated: None,
            stream: None,
        }
    }
}

impl Memory {
    /// Whether windows were judged that are not over at `now`.
    pub fn is_ahead_of(&self, now: Timestamp) -> bool {
        self.done.is_some_and(|done| done > now)
    }

    /// Goes on after the window that ended at `done`, as if none after it had been judged. An alert that was to come of one of them is
    /// none.
    pub fn go_back(&mut self, done: Option<Timestamp>) {
        self.done = done;
        if matches!(self.phase, Phase::Pending { .. }) {
            self.phase = Phase::Quiet;
        }
    }
}

/// What a window came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Remembered {
    /// The verdict.
    pub verdict: Verdict,
    /// What is remembered from now on.
    pub memory: Memory,
    /// What became of the alert.
    pub change: Option<Change>,
}

/// Judges a window of a series. The same memory, window and sight give the same result, so a window that was judged and not
/// written down may be judged again.
pub fn judge(
    watch: &Watch,
    memory: &Memory,
    window: Window,
    seen: &Seen,
    objective: Option<&Objective>,
    exposure: Exposure,
) -> Remembered {
    let mut memory = memory.clone();
    let costs = objective.and_then(|objective| objective.costs.as_ref());
    let verdict = match (&watch.kind, seen) {
        (_, Seen::Nothing(why)) => Verdict::no_data(why.clone()),
        (Kind::Monitor(Monitor::Drift(_) | Monitor::PredictionDrift(_)), Seen::Drift(compared)) => {
            drift::judge(compared, &mut memory.lord, exposure)
        }
        (Kind::Monitor(Monitor::Quality(rule)), Seen::Quality(seen)) => {
            let verdict = quality::judged(rule, seen, costs, exposure);
            memory.releases.add((window.from, window.to), &verdict.counted);
            verdict
        }
        (Kind::Estimate(rule), Seen::Estimate(found)) => quality::estimate(rule, found),
        (Kind::Monitor(Monitor::Service(rule)), Seen::Service(seen)) => levels::service(rule, seen, exposure),
        (Kind::Monitor(Monitor::Inputs(rule)), Seen::Inputs(seen)) => levels::inputs(rule, *seen, exposure),
        (Kind::Monitor(Monitor::Stale(rule)), Seen::Stale(seen)) => levels::stale(rule, seen),
        (Kind::Monitor(Monitor::Kpi(rule)), Seen::Kpi(answered)) => {
            memory.releases.add((window.from, window.to), answered);
            kpi::judged(rule, objective, &mut memory.series, (window, exposure.decisions), answered)
        }
        (Kind::Monitor(Monitor::Stream(rule)), Seen::Stream(values)) => {
            stream::judge(rule, &mut memory.stream, window, values, objective, exposure)
        }
        (Kind::Monitor(_) | Kind::Estimate(_), _) => {
            Verdict::no_data("what was looked at is not what this monitor is about")
        }
    };
    memory.done = Some(window.to);
    let change =
        if watch.alert().is_some() { memory.phase.step(verdict.state, window, watch.hold()) } else { None };
    Remembered { verdict, memory, change }
}
