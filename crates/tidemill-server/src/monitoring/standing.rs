//! How monitors stand: each series with its last window.

use tidemill_core::Timestamp;
use tidemill_core::declare::Objective;
use tidemill_db::Db;
use tidemill_monitor::alert::{Phase, Weight, order};
use tidemill_monitor::window::Window;
use tidemill_monitor::{Ago, Kind, Monitor, Verdict};
use tidemill_registry::Error;

use super::declare::declarations;
use super::keep::currency;

/// A series and how it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// The endpoint.
    pub endpoint: String,
    /// The series: `drift`, `quality:roc_auc`, `estimate:roc_auc`.
    pub watch: String,
    /// The kind of monitor whose alert it has; none of an estimate.
    pub monitor: Option<&'static str>,
    /// How its alert stands.
    pub phase: Phase,
    /// In which currency money is counted, where the project names one.
    pub currency: Option<String>,
    /// The unit of its figure, where the project names one: of a business number.
    pub unit: Option<String>,
    /// How many windows were judged.
    pub windows: u64,
    /// The last of them.
    pub last: Option<Last>,
    /// The window that was judged again last, since outcomes came later.
    pub restated: Option<Ago>,
}

/// The last window of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct Last {
    /// The window.
    pub window: Window,
    /// When it was judged.
    pub evaluated_at: Timestamp,
    /// The model and version that answered most of it.
    pub version: Option<(String, String)>,
    /// Its predictions.
    pub predictions: u64,
    /// What it comes to.
    pub verdict: Verdict,
}

/// How the monitors of an endpoint stand, or of all: those that fire first, by the money at risk.
///
/// # Errors
///
/// What the database refuses, and what cannot be read.
pub async fn standing(db: &Db, endpoint: Option<&str>) -> Result<Vec<Standing>, Error> {
    let mut all = Vec::new();
    for (set, declaration) in declarations(db).await? {
        if endpoint.is_some_and(|endpoint| endpoint != set.endpoint) {
            continue;
        }
        let series = db.monitor_series(&set.endpoint).await?;
        let currency = declaration.objective.as_ref().and_then(currency);
        let watches = declaration.watches();
        let named: Vec<(&str, &str)> =
            watches.iter().map(|watch| (set.endpoint.as_str(), watch.id.as_str())).collect();
        let mut lasts = db.last_windows(&named, 1).await?.into_iter().map(|mut last| last.pop());
        for watch in watches {
            let stored = series.iter().find(|series| series.watch == watch.id);
            let memory = super::memory(&watch.id, stored)?;
            let last = match lasts.next().flatten() {
                None => None,
                Some(judged) => Some(Last {
                    window: Window { from: judged.made.from, to: judged.made.to },
                    evaluated_at: judged.at,
                    version: judged.made.model.zip(judged.made.version),
                    predictions: judged.made.predictions,
                    verdict: super::verdict(&judged.made.verdict)?,
                }),
            };
            let unit = unit(&watch.kind, declaration.objective.as_ref());
            all.push(Standing {
                endpoint: set.endpoint.clone(),
                monitor: watch.alert(),
                watch: watch.id,
                phase: memory.phase,
                currency: currency.clone(),
                unit,
                windows: stored.map_or(0, |series| series.revision),
                last,
                restated: memory.restated,
            });
        }
    }
    // What does not fire stays in the order of the project file.
    all.sort_by(|a, b| match (a.phase, b.phase) {
        (Phase::Firing { since: one, .. }, Phase::Firing { since: other, .. }) => {
            order(weight(a, one), weight(b, other))
        }
        (one, other) => rank(one).cmp(&rank(other)),
    });
    Ok(all)
}

fn unit(kind: &Kind, objective: Option<&Objective>) -> Option<String> {
    let Kind::Monitor(Monitor::Kpi(rule)) = kind else { return None };
    objective?.kpi.as_ref().filter(|kpi| kpi.name == rule.name)?.unit.clone()
}

fn rank(phase: Phase) -> u8 {
    match phase {
        Phase::Firing { .. } => 0,
        Phase::Pending { .. } => 1,
        Phase::Quiet => 2,
    }
}

fn weight(standing: &Standing, since: Timestamp) -> Weight {
    Weight { at_risk: standing.last.as_ref().and_then(|last| last.verdict.at_risk), since }
}
