//! What is watched at an endpoint, as a project declares it and the database keeps it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill_core::declare::Objective;
use tidemill_project::{Monitor, Period, QualityMonitor, Receiver, StreamOf};

/// What is watched at an endpoint, and who is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Declaration {
    /// The project.
    pub project: String,
    /// The endpoint, by the name under which requests find it.
    pub endpoint: String,
    /// What the model is for: target, costs, the business number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<Objective>,
    /// The monitors.
    #[serde(default)]
    pub monitors: Vec<Monitor>,
    /// Who is told of alerts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub receivers: Vec<Receiver>,
    /// Columns of the project's data whose values are shown nowhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redact: Vec<String>,
}

/// One series of windows that is judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Watch {
    /// Its name among those of the endpoint: `drift`, `quality:roc_auc`, and with `#2` where one is declared twice.
    pub id: String,
    /// What it looks at.
    pub kind: Kind,
}

/// What a series of windows looks at.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// A monitor of the project; has an alert.
    Monitor(Monitor),
    /// The value that a quality monitor will probably find, before the labels are there. Never an alert.
    Estimate(QualityMonitor),
}

/// The length of windows where none is declared.
const DAY: Duration = Duration::from_secs(86_400);
const HOUR: Duration = Duration::from_secs(3_600);
const MINUTES: Duration = Duration::from_secs(300);
const MINUTE: Duration = Duration::from_secs(60);
/// How long windows are judged again where that is not declared.
const MONTH: Duration = Duration::from_secs(30 * 86_400);

impl Declaration {
    /// Everything that is judged in windows, in the order of the file.
    pub fn watches(&self) -> Vec<Watch> {
        let mut used: BTreeMap<String, u32> = BTreeMap::new();
        let mut watches = Vec::new();
        for monitor in &self.monitors {
            let name = match monitor {
                Monitor::Quality(quality) => format!("quality:{}", quality.metric),
                Monitor::Kpi(kpi) => format!("kpi:{}", kpi.name),
                Monitor::Stream(stream) => format!("stream:{}", name_of(&stream.of)),
                Monitor::Drift(_)
                | Monitor::PredictionDrift(_)
                | Monitor::Service(_)
                | Monitor::Inputs(_)
                | Monitor::Stale(_) => monitor.name().to_owned(),
            };
            let count = used.entry(name.clone()).or_default();
            *count += 1;
            let id = if *count == 1 { name } else { format!("{name}#{count}") };
            if let Monitor::Quality(quality) = monitor {
                let id = format!("estimate:{}", id.trim_start_matches("quality:"));
                watches.push(Watch { id, kind: Kind::Estimate(quality.clone()) });
            }
            watches.push(Watch { id, kind: Kind::Monitor(monitor.clone()) });
        }
        watches
    }
}

impl Watch {
    /// The name of its alert, by which triggers know it: that of its kind of monitor. None for an estimate.
    pub fn alert(&self) -> Option<&'static str> {
        match &self.kind {
            Kind::Monitor(monitor) => Some(monitor.name()),
            Kind::Estimate(_) => None,
        }
    }

    /// The length of its windows.
    pub fn length(&self) -> Duration {
        let given =
            |period: Option<Period>, default: Duration| period.map_or(default, |Period(length)| length);
        match &self.kind {
            Kind::Monitor(Monitor::Drift(drift)) => drift.window.0,
            Kind::Monitor(Monitor::PredictionDrift(drift)) => drift.window.0,
            Kind::Monitor(Monitor::Quality(quality)) | Kind::Estimate(quality) => given(quality.window, DAY),
            Kind::Monitor(Monitor::Kpi(kpi)) => given(kpi.window, DAY),
            Kind::Monitor(Monitor::Service(service)) => given(service.window, MINUTES),
            Kind::Monitor(Monitor::Inputs(inputs)) => given(inputs.window, HOUR),
            // An age is looked at a hundred times before it is reached, and at most once an hour.
            Kind::Monitor(Monitor::Stale(stale)) => (stale.max_age.0 / 100).clamp(HOUR, DAY),
            Kind::Monitor(Monitor::Stream(stream)) => given(stream.every, MINUTE),
        }
    }

    /// How long after the end of a window it can be judged.
    pub fn delay(&self) -> Duration {
        let outcomes = match &self.kind {
            Kind::Monitor(Monitor::Quality(quality)) => quality.outcomes.as_ref(),
            Kind::Monitor(Monitor::Kpi(kpi)) => kpi.outcomes.as_ref(),
            Kind::Monitor(Monitor::Stream(stream)) => stream.outcomes.as_ref(),
            Kind::Monitor(_) | Kind::Estimate(_) => None,
        };
        outcomes.map_or(Duration::ZERO, |outcomes| outcomes.delay.0)
    }

    /// How long after it could be judged a window is judged again when outcomes come that were not there; nothing for windows that
    /// rest on none, and for streams, whose detector has gone on.
    pub fn restates(&self) -> Option<Duration> {
        let given = match &self.kind {
            Kind::Monitor(Monitor::Quality(quality)) => quality.restate,
            Kind::Monitor(Monitor::Kpi(kpi)) => kpi.restate,
            Kind::Monitor(_) | Kind::Estimate(_) => return None,
        };
        Some(given.map_or(MONTH, |Period(length)| length)).filter(|length| !length.is_zero())
    }

    /// How long it must stay broken before its alert fires.
    pub fn hold(&self) -> Duration {
        match &self.kind {
            Kind::Monitor(monitor) => monitor.hold(),
            Kind::Estimate(_) => Duration::ZERO,
        }
    }

    /// Whether its windows are of the time at which requests came, also where they say that they happened at another time: how fast
    /// and how reliably a server answers is a matter of its own clock, and a stream is one in the order in which it came.
    pub fn is_by_arrival(&self) -> bool {
        matches!(self.kind, Kind::Monitor(Monitor::Service(_) | Monitor::Stream(_)))
    }
}

/// A stream in the name of its series.
fn name_of(of: &StreamOf) -> String {
    match of {
        StreamOf::Score => "score".to_owned(),
        StreamOf::Latency => "latency".to_owned(),
        StreamOf::Error => "error".to_owned(),
        StreamOf::Column(name) => format!("column:{name}"),
        StreamOf::Outcome(name) => format!("outcome:{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_has_a_name_of_its_own() {
        let text = "project: p\nobjective:\n  task: {kind: classification, target: late, positive: 1}\n  kpi: {name: money, better: higher}\nmonitors:\n  - drift: {window: 1d, for: 2d}\n  - drift: {window: 7d}\n  - quality: {metric: roc_auc, min: 0.6, outcomes: {delay: 12h}}\n  - kpi: {name: money, outcomes: {delay: 2h}}\n  - inputs: {violations: 0.01}\n  - service: {p99_ms: 50}\n  - stale: {max_age: 45d}\n  - stream: {of: score}\n  - stream: {of: {outcome: delay}, detector: page_hinkley, every: 10s, outcomes: {delay: 2h}}\n";
        let project = tidemill_project::parse(text, "tidemill.yaml").unwrap();
        let declared = Declaration {
            project: project.project.to_string(),
            endpoint: "late".to_owned(),
            objective: project.objective,
            monitors: project.monitors,
            receivers: Vec::new(),
            redact: Vec::new(),
        };
        let watches = declared.watches();
        let named: Vec<(&str, u64, u64, u64)> = watches
            .iter()
            .map(|watch| {
                (watch.id.as_str(), watch.length().as_secs(), watch.delay().as_secs(), watch.hold().as_secs())
            })
            .collect();
        assert_eq!(
            named,
            [
                ("drift", 86_400, 0, 172_800),
                ("drift#2", 604_800, 0, 0),
                ("estimate:roc_auc", 86_400, 0, 0),
                ("quality:roc_auc", 86_400, 43_200, 0),
                ("kpi:money", 86_400, 7_200, 0),
                ("inputs", 3_600, 0, 0),
                ("service", 300, 0, 0),
                ("stale", 38_880, 0, 0),
                ("stream:score", 60, 0, 0),
                ("stream:outcome:delay", 10, 7_200, 0),
            ]
        );
        let text = serde_json::to_string(&declared).unwrap();
        assert_eq!(serde_json::from_str::<Declaration>(&text).unwrap(), declared);
    }
}
