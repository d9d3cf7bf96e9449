//! What is watched in production: how monitors stand, the windows that were judged, and alerts.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use tidemill_db::monitoring::{self as stored, AlertFilter, Judged, JudgedFilter};
use utoipa::{IntoParams, ToSchema};

use super::envelope::{Limit, One, OneAnswer, Page, PageAnswer, Path, Position, Query, Text, Time, one};
use super::{Failures, Problem};
use crate::App;
use crate::monitoring::{Last, OfReleases, Standing, over_releases, standing, verdict};

/// A monitor and how it stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Monitor {
    /// The endpoint.
    endpoint: String,
    /// Its name among those of the endpoint, for example `quality:roc_auc`. `estimate:…` is what a monitor of quality will probably
    /// find, before labels are there; it has no alert.
    watch: String,
    /// Its kind, as it stands in the project file; none of an estimate.
    #[serde(skip_serializing_if = "Option::is_none")]
    monitor: Option<String>,
    /// `ok`, `pending` or `firing`.
    state: String,
    /// The begin of the first window in which the rule was broken, while it is pending or fires.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Time>,
    /// How many windows were judged.
    windows: u64,
    /// The last of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<Window>,
    /// The window that was judged again last, since outcomes came after it was judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    restated: Option<Ago>,
    /// Of a business number, its mean while each version answered, and which metrics of versions went with it: `releases`, `metrics`
    /// (each with `correlation`, `low`, `high`, `why`), `why`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    releases: Option<serde_json::Value>,
}

/// A window that was judged again.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Ago {
    /// Its first moment, in the time of predictions.
    from: Time,
    /// The first moment after it.
    to: Time,
    /// When it was judged again, by the server's clock.
    at: Time,
    /// How often windows of the monitor were.
    times: u64,
    /// What it comes to now, and what it was at first.
    why: String,
}

/// A window of predictions that was judged.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Window {
    /// Its first moment, in the time of predictions.
    from: Time,
    /// The first moment after it.
    to: Time,
    /// When it was judged, by the server's clock.
    evaluated_at: Time,
    /// The model that answered most of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// The version that did.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// Its predictions.
    predictions: u64,
    /// What it comes to: `state` (`ok`, `broken`, `no_data`), `value`, `low`, `high`, `limit`, `why`, `at_risk`, `evidence`; and, where
    /// outcomes that came later changed it, `restated` with when, how often, and what it was.
    #[schema(value_type = Object)]
    verdict: serde_json::Value,
}

/// A window with the monitor that judged it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WindowOf {
    /// Its number.
    #[schema(minimum = 1)]
    id: u64,
    /// The endpoint.
    endpoint: String,
    /// The monitor.
    watch: String,
    #[serde(flatten)]
    window: Window,
}

/// An alert.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Alert {
    /// Its number.
    #[schema(minimum = 1)]
    id: u64,
    /// What it is known by, the same each time that it fires.
    fingerprint: String,
    /// The endpoint.
    endpoint: String,
    /// The kind of monitor, by which triggers know it.
    monitor: String,
    /// The monitor.
    watch: String,
    /// `pending`, `firing`, `resolved`, or `dropped` where it was pending and nothing came of it.
    state: String,
    /// The begin of the first window in which the rule was broken, in the time of predictions.
    since: Time,
    /// The end of the window with which it began to fire.
    #[serde(skip_serializing_if = "Option::is_none")]
    fired_at: Option<Time>,
    /// The end of the window with which it was over.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Time>,
    /// Why, in words.
    why: String,
    /// What it may have cost in its last broken window.
    #[serde(skip_serializing_if = "Option::is_none")]
    at_risk: Option<f64>,
    /// In which currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    currency: Option<String>,
    /// The window that it rests on.
    window: u64,
}

impl Monitor {
    fn of(standing: Standing, releases: &[OfReleases]) -> Result<Self, Problem> {
        let releases =
            releases.iter().find(|of| of.endpoint == standing.endpoint && of.watch == standing.watch);
        Ok(Self {
            releases: releases.map(|of| shown(&of.found)).transpose()?,
            endpoint: standing.endpoint,
            watch: standing.watch,
            monitor: standing.monitor.map(str::to_owned),
            state: standing.phase.name().to_owned(),
            since: standing.phase.since().map(Time),
            windows: standing.windows,
            last: standing.last.map(Window::of_last).transpose()?,
            restated: standing.restated.map(Ago::from),
        })
    }
}

impl From<tidemill_monitor::Ago> for Ago {
    fn from(ago: tidemill_monitor::Ago) -> Self {
        Self {
            from: Time(ago.window.from),
            to: Time(ago.window.to),
            at: Time(ago.at),
            times: ago.times,
            why: ago.why,
        }
    }
}

impl Window {
    fn of_last(last: Last) -> Result<Self, Problem> {
        let (model, version) = last.version.unzip();
        Ok(Self {
            from: Time(last.window.from),
            to: Time(last.window.to),
            evaluated_at: Time(last.evaluated_at),
            model,
            version,
            predictions: last.predictions,
            verdict: shown(&last.verdict)?,
        })
    }
}

impl WindowOf {
    fn of(judged: Judged) -> Result<Self, Problem> {
        let made = judged.made;
        Ok(Self {
            id: judged.id,
            endpoint: made.endpoint,
            watch: made.watch,
            window: Window {
                from: Time(made.from),
                to: Time(made.to),
                evaluated_at: Time(judged.at),
                model: made.model,
                version: made.version,
                predictions: made.predictions,
                verdict: shown(&verdict(&made.verdict)?)?,
            },
        })
    }
}

impl From<stored::Alert> for Alert {
    fn from(alert: stored::Alert) -> Self {
        let made = alert.made;
        Self {
            id: alert.id,
            fingerprint: made.fingerprint.to_string(),
            endpoint: made.endpoint,
            monitor: made.monitor,
            watch: made.watch,
            state: alert.state,
            since: Time(made.since),
            fired_at: alert.fired_at.map(Time),
            ended_at: alert.ended_at.map(Time),
            why: made.why,
            at_risk: made.at_risk,
            currency: made.currency,
            window: made.window,
        }
    }
}

fn shown(found: &impl Serialize) -> Result<serde_json::Value, Problem> {
    serde_json::to_value(found).map_err(|error| {
        let message = format!("what was found cannot be shown: {error}");
        Problem::from(tidemill_registry::Error::new(tidemill_registry::Code::InternalError, message))
    })
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Monitors {
    /// Of this endpoint
    #[param(value_type = Option<String>, min_length = 1, pattern = r"^[^\x00]+$")]
    endpoint: Option<Text>,
}

/// How monitors stand
///
/// Those that fire first, by what they may cost; then those that are pending; then the others in the order of the project file.
#[utoipa::path(get, path = "/api/v1/monitors", operation_id = "listMonitors", tag = "monitoring", params(Monitors),
    responses((status = 200, description = "All monitors", body = One<Vec<Monitor>>), Failures))]
pub(super) async fn monitors(
    State(app): State<App>,
    Query(wanted): Query<Monitors>,
) -> OneAnswer<Vec<Monitor>> {
    let endpoint = wanted.endpoint.as_ref().map(|endpoint| endpoint.0.as_str());
    let all = standing(app.registry().db(), endpoint).await?;
    let releases = over_releases(app.registry().db(), endpoint).await?;
    one(all.into_iter().map(|standing| Monitor::of(standing, &releases)).collect::<Result<_, _>>()?)
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Windows {
    /// Of this endpoint
    #[param(value_type = Option<String>, min_length = 1, pattern = r"^[^\x00]+$")]
    endpoint: Option<Text>,
    /// Of this monitor
    #[param(value_type = Option<String>, min_length = 1, pattern = r"^[^\x00]+$")]
    watch: Option<Text>,
    /// `next` of the page before
    #[param(value_type = Option<u64>, minimum = 0, maximum = 9_007_199_254_740_991_u64)]
    cursor: Option<Position>,
    /// How many
    #[serde(default)]
    #[param(value_type = u64, minimum = 1, maximum = 1000, required = false)]
    limit: Limit,
}

/// Windows that were judged, the last ones first
#[utoipa::path(get, path = "/api/v1/windows", operation_id = "listWindows", tag = "monitoring", params(Windows),
    responses((status = 200, description = "A page of windows", body = Page<WindowOf>), Failures))]
pub(super) async fn windows(State(app): State<App>, Query(wanted): Query<Windows>) -> PageAnswer<WindowOf> {
    let filter = JudgedFilter {
        endpoint: wanted.endpoint.map(|text| text.0),
        watch: wanted.watch.map(|text| text.0),
        before: wanted.cursor.map(|cursor| cursor.0),
    };
    let found = app.registry().db().judged_windows(&filter, wanted.limit.and_one()).await?;
    let page = Page::of(found, wanted.limit, |judged| judged.id.to_string(), WindowOf::of).0;
    let data = page.data.into_iter().collect::<Result<_, _>>()?;
    Ok(axum::Json(Page { data, next: page.next }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Alerts {
    /// In this state: `pending`, `firing`, `resolved` or `dropped`
    #[param(value_type = Option<String>, pattern = "^(pending|firing|resolved|dropped)$")]
    state: Option<Text>,
    /// Of this endpoint
    #[param(value_type = Option<String>, min_length = 1, pattern = r"^[^\x00]+$")]
    endpoint: Option<Text>,
    /// Of this monitor
    #[param(value_type = Option<String>, min_length = 1, pattern = r"^[^\x00]+$")]
    watch: Option<Text>,
    /// `next` of the page before
    #[param(value_type = Option<u64>, minimum = 0, maximum = 9_007_199_254_740_991_u64)]
    cursor: Option<Position>,
    /// How many
    #[serde(default)]
    #[param(value_type = u64, minimum = 1, maximum = 1000, required = false)]
    limit: Limit,
}

/// Alerts, newest first
#[utoipa::path(get, path = "/api/v1/alerts", operation_id = "listAlerts", tag = "monitoring", params(Alerts),
    responses((status = 200, description = "A page of alerts", body = Page<Alert>), Failures))]
pub(super) async fn alerts(State(app): State<App>, Query(wanted): Query<Alerts>) -> PageAnswer<Alert> {
    const STATES: [&str; 4] = ["pending", "firing", "resolved", "dropped"];
    if let Some(state) = wanted.state.as_ref().filter(|state| !STATES.contains(&state.0.as_str())) {
        let message = format!("`{}` is no state of an alert; expected one of {}", state.0, STATES.join(", "));
        return Err(Problem::invalid(message));
    }
    let filter = AlertFilter {
        state: wanted.state.map(|text| text.0),
        endpoint: wanted.endpoint.map(|text| text.0),
        watch: wanted.watch.map(|text| text.0),
        before: wanted.cursor.map(|cursor| cursor.0),
    };
    let found = app.registry().db().alerts(&filter, wanted.limit.and_one()).await?;
    Ok(Page::of(found, wanted.limit, |alert| alert.id.to_string(), Alert::from))
}

/// One alert
#[utoipa::path(get, path = "/api/v1/alerts/{id}", operation_id = "getAlert", tag = "monitoring",
    params(("id" = u64, Path, description = "The alert", minimum = 0, maximum = 9_007_199_254_740_991_u64)),
    responses((status = 200, description = "The alert", body = One<Alert>), Failures))]
pub(super) async fn alert(State(app): State<App>, Path(id): Path<Position>) -> OneAnswer<Alert> {
    let found = app.registry().db().alert(id.0).await?;
    let missing =
        || Problem::missing(format!("there is no alert {}", id.0)).hint("`/api/v1/alerts` lists them");
    one(found.ok_or_else(missing)?.into())
}
