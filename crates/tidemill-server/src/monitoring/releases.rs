//! The business number and the cost of decisions over releases, beside the metrics that are recorded with versions.

use std::collections::BTreeMap;

use tidemill_core::RunId;
use tidemill_db::Db;
use tidemill_db::models::ModelVersion;
use tidemill_db::tracking::Metric;
use tidemill_monitor::{Kind, Metrics, Monitor, OverReleases, Releases, over_releases as relate};
use tidemill_registry::Error;

use super::declare::declarations;
use crate::mlflow::is_system;

/// What a monitor of the business number found over releases.
#[derive(Clone, Debug, PartialEq)]
pub struct OfReleases {
    /// The endpoint.
    pub endpoint: String,
    /// The monitor.
    pub watch: String,
    /// What it found.
    pub found: OverReleases,
}

/// What decisions cost, as it is called beside business numbers.
const COST: &str = "cost per decision";

/// Of each monitor of the business number at an endpoint, or at all: its mean while a version answered beside the version's metrics; and
/// the same of what decisions cost, where quality is watched and the objective names costs.
///
/// # Errors
///
/// What the database refuses, and what cannot be read.
pub async fn over_releases(db: &Db, endpoint: Option<&str>) -> Result<Vec<OfReleases>, Error> {
    let mut all = Vec::new();
    for (set, declaration) in declarations(db).await? {
        if endpoint.is_some_and(|endpoint| endpoint != set.endpoint) {
            continue;
        }
        let series = db.monitor_series(&set.endpoint).await?;
        let has_costs = declaration.objective.as_ref().is_some_and(|objective| objective.costs.is_some());
        let mut is_priced = false;
        for watch in declaration.watches() {
            // Costs are the same whatever metric is watched, so the first monitor of quality stands for all.
            let name = match &watch.kind {
                Kind::Monitor(Monitor::Kpi(kpi)) => kpi.name.clone(),
                Kind::Monitor(Monitor::Quality(_)) if has_costs && !is_priced => {
                    is_priced = true;
                    COST.to_owned()
                }
                _ => continue,
            };
            let stored = series.iter().find(|series| series.watch == watch.id);
            let releases = super::memory(&watch.id, stored)?.releases;
            let metrics = metrics(db, &releases).await?;
            let found = relate(&name, &releases, &metrics);
            all.push(OfReleases { endpoint: set.endpoint.clone(), watch: watch.id, found });
        }
    }
    Ok(all)
}

async fn metrics(db: &Db, releases: &Releases) -> Result<Metrics, Error> {
    let mut all = Metrics::new();
    for release in releases.in_order() {
        let by = &release.answered;
        let Ok(number) = by.version.parse() else { continue };
        // One that was deleted has left its outcomes.
        let Some(version) = db.model_version(&by.model, number).await? else { continue };
        let named: BTreeMap<String, f64> =
            metrics_of(db, &version).await?.into_iter().map(|metric| (metric.key, metric.value)).collect();
        all.insert((by.model.clone(), by.version.clone()), named);
    }
    Ok(all)
}

/// Metrics of a version: those of the logged model, or else of the run that made it. What a machine was like meanwhile is none.
pub(crate) async fn metrics_of(db: &Db, version: &ModelVersion) -> Result<Vec<Metric>, Error> {
    let mut metrics = Vec::new();
    if let Some(model) = &version.logged_model
        && let Some(model) = db.logged_model(model).await?
    {
        metrics = model.metrics;
    }
    if metrics.is_empty()
        && let Some(run) = version.run.as_deref().and_then(|run| run.parse::<RunId>().ok())
        && let Some(run) = db.tracked_run(run).await?
    {
        metrics = run.metrics;
    }
    metrics.retain(|metric| !is_system(&metric.key));
    Ok(metrics)
}
