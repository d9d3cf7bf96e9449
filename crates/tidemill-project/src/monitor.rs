//! What is watched in production.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tidemill_core::Name;

use crate::Period;

/// A rule on production data; when it is broken, an alert of the monitor's name fires.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Monitor {
    /// The inputs no longer look as they did.
    Drift(DriftMonitor),
    /// The predictions no longer look as they did.
    PredictionDrift(PredictionDriftMonitor),
    /// The model is no longer good, judged by outcomes.
    Quality(QualityMonitor),
    /// The business number.
    Kpi(KpiMonitor),
    /// Latency and errors.
    Service(ServiceMonitor),
    /// Requests that do not fit the model, and answers that are no numbers.
    Inputs(InputsMonitor),
    /// The model is old.
    Stale(StaleMonitor),
    /// One stream of values moved, watched value by value where windows are too slow.
    Stream(StreamMonitor),
}

impl Monitor {
    /// Every monitor's name as it stands in a project file, which is also the name of its alert.
    pub const NAMES: [&'static str; 8] =
        ["drift", "prediction_drift", "quality", "kpi", "service", "inputs", "stale", "stream"];

    /// The name as it stands in a project file.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Drift(_) => "drift",
            Self::PredictionDrift(_) => "prediction_drift",
            Self::Quality(_) => "quality",
            Self::Kpi(_) => "kpi",
            Self::Service(_) => "service",
            Self::Inputs(_) => "inputs",
            Self::Stale(_) => "stale",
            Self::Stream(_) => "stream",
        }
    }

    /// What its windows are compared with, if anything.
    pub fn against(&self) -> Option<&Reference> {
        match self {
            Self::Drift(monitor) => Some(&monitor.against),
            Self::PredictionDrift(monitor) => Some(&monitor.against),
            Self::Quality(_)
            | Self::Kpi(_)
            | Self::Service(_)
            | Self::Inputs(_)
            | Self::Stale(_)
            | Self::Stream(_) => None,
        }
    }

    /// How long it must stay broken before its alert fires.
    pub fn hold(&self) -> Duration {
        let hold = match self {
            Self::Drift(monitor) => monitor.hold,
            Self::PredictionDrift(monitor) => monitor.hold,
            Self::Quality(monitor) => monitor.hold,
            Self::Kpi(monitor) => monitor.hold,
            Self::Service(monitor) => monitor.hold,
            Self::Inputs(monitor) => monitor.hold,
            Self::Stale(monitor) => monitor.hold,
            Self::Stream(monitor) => monitor.hold,
        };
        hold.map_or(Duration::ZERO, |Period(hold)| hold)
    }
}

/// The inputs no longer look as they did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DriftMonitor {
    /// The stretch of production data that is judged.
    pub window: Period,
    /// What it is compared with: `training`, `previous` (the window before), or `NAME@VERSION`, a stored version of a dataset.
    #[serde(default)]
    pub against: Reference,
    /// Which columns: `features`, or a list.
    #[serde(default)]
    pub columns: Columns,
    /// Share of columns that must have drifted before it fires, above 0 and at most 1; columns count by their importance
    /// where the model has any. One drifted column is enough where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// How long it must stay broken before its alert fires; at once where not given.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub hold: Option<Period>,
}

/// What a window is compared with: `training`, `previous`, or a stored version of a dataset, `NAME@VERSION`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reference {
    /// The data that the model was trained on.
    #[default]
    Training,
    /// The window before.
    Previous,
    /// A version of a dataset, as it stands in the file.
    Dataset(String),
}

impl Reference {
    /// The words that are no dataset.
    pub const WORDS: [&'static str; 2] = ["training", "previous"];

    /// The text as it stands in a project file.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Training => "training",
            Self::Previous => "previous",
            Self::Dataset(text) => text,
        }
    }

    /// Name and version of the dataset; nothing where there is none, or the text names none.
    pub fn version(&self) -> Option<(Name, u64)> {
        let Self::Dataset(text) = self else { return None };
        let (name, version) = text.split_once('@')?;
        let version = version.parse().ok().filter(|version| *version > 0)?;
        Some((Name::new(name).ok()?, version))
    }
}

impl From<String> for Reference {
    fn from(text: String) -> Self {
        match text.as_str() {
            "training" => Self::Training,
            "previous" => Self::Previous,
            _ => Self::Dataset(text),
        }
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

impl JsonSchema for Reference {
    fn schema_name() -> Cow<'static, str> {
        "Reference".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "What a window is compared with: `training`, the data that the model was trained on; `previous`, the window before; or `NAME@VERSION`, a stored version of a dataset."
        })
    }
}

/// Which columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Columns {
    /// All of a kind.
    Word(ColumnsWord),
    /// These.
    List(Vec<String>),
}

impl Default for Columns {
    fn default() -> Self {
        Self::Word(ColumnsWord::Features)
    }
}

/// All columns of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ColumnsWord {
    /// The columns that the model reads.
    Features,
}

/// The predictions no longer look as they did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PredictionDriftMonitor {
    /// The stretch of predictions that is judged.
    pub window: Period,
    /// What it is compared with: `training`, here the answers on the model's test rows, or `previous`, the window before.
    #[serde(default)]
    pub against: Reference,
    /// How long it must stay broken before its alert fires; at once where not given.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub hold: Option<Period>,
}

/// The model is no longer good, judged by outcomes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QualityMonitor {
    /// The metric.
    pub metric: String,
    /// At least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// At most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// The stretch of predictions that is judged; one day where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Period>,
    /// When outcomes are expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcomes: Option<Outcomes>,
    /// Share of the predictions of a window whose label must be there for it to be judged, above 0 and at most 1; any where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_labelled: Option<f64>,
    /// How long after its outcomes must be there a window is judged again when others come; 30 days where not given, never with `0s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restate: Option<Period>,
    /// How long it must stay broken before its alert fires; at once where not given.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub hold: Option<Period>,
}

/// When outcomes are expected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Outcomes {
    /// How long after the prediction.
    pub delay: Period,
}

/// The business number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KpiMonitor {
    /// The objective's KPI.
    pub name: String,
    /// The stretch of time that is judged; one day where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Period>,
    /// When outcomes are expected; a window is judged when it is that long over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcomes: Option<Outcomes>,
    /// How long it takes until windows are alike again, as in `7d` where weekends differ: a whole number of windows, at least two. Without
    /// it a window is compared with those just before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub season: Option<Period>,
    /// Outcomes from which on a window is judged; 30 where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_outcomes: Option<u64>,
    /// The chance that a window in which nothing happened is broken: above 0 and below 0.5, 0.001 where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub false_alarms: Option<f64>,
    /// How long after its outcomes must be there a window is judged again when others come; 30 days where not given, never with `0s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restate: Option<Period>,
    /// How long it must stay broken before its alert fires; at once where not given.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub hold: Option<Period>,
}

/// Latency and errors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceMonitor {
    /// The 99th percentile of latency, in milliseconds, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
    /// Share of failed requests, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_rate: Option<f64>,
    /// The stretch of time that is judged; five minutes where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Period>,
    /// What it means that no request came for a whole window.
    #[serde(default, skip_serializing_if = "NoData::is_hold")]
    pub no_data: NoData,
    /// How long it must stay broken before its alert fires; at once where not given.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub hold: Option<Period>,
}

/// What a window without requests means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoData {
    /// Nothing: an alert stays as it is.
    #[default]
    Hold,
    /// The rule is broken.
    Alert,
    /// All is well: an alert is over.
    Ok,
}

impl NoData {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
    fn is_hold(&self) -> bool {
        *self == Self::Hold
    }
}

/// Requests that do not fit the model, and answers that are no numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InputsMonitor {
    /// Share of requests that were refused as invalid or held values outside of what the model was trained on, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub violations: Option<f64>,
    /// Share of rows whose answer is NaN or infinite, at most; none at all where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_finite: Option<f64>,
    /// The stretch of time that is judged; one hour where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Period>,
    /// How long it must stay broken before its alert fires; at once where not given.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub hold: Option<Period>,
}

/// The model is old.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StaleMonitor {
    /// How long after its training it may serve.
    pub max_age: Period,
    /// How long it must stay broken before its alert fires; at once where not given.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub hold: Option<Period>,
}

/// One stream of values moved, watched value by value where windows are too slow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamMonitor {
    /// Which values: `score`, `latency`, `error`, `{column: NAME}` of a numeric input, or `{outcome: NAME}` of a numeric outcome.
    pub of: StreamOf,
    /// What notices a change of their mean; `adwin` where not given.
    #[serde(default)]
    pub detector: Detector,
    /// Of `adwin`, the chance of a false alarm at a cut: above 0 and below 1, 0.002 where not given. Of `page_hinkley`, how far a value
    /// may be from the mean without counting: 0.005 where not given, for values that are counted in standard deviations 0.25.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delta: Option<f64>,
    /// Of `page_hinkley`, the sum of distances at which it alarms: 50 where not given, for values that are counted in standard
    /// deviations 25.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// Which change breaks the rule: `up` for `latency` and `error` where not given, `both` for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<ChangeDirection>,
    /// How often new values are looked at; one minute where not given, at least one second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Period>,
    /// How long a new level must hold to be the usual one, which ends the alert; one day where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settle: Option<Period>,
    /// When outcomes are expected, for a stream of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcomes: Option<Outcomes>,
    /// How long it must stay broken before its alert fires; at once where not given.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub hold: Option<Period>,
}

/// The values of a stream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StreamOf {
    /// The score of each prediction, or the number that is predicted.
    Score,
    /// How long each request took.
    Latency,
    /// Whether each request failed.
    Error,
    /// A numeric input.
    Column(String),
    /// A numeric outcome.
    Outcome(String),
}

/// What notices a change of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Detector {
    /// A window that grows while its mean holds (Bifet and Gavaldà).
    #[default]
    Adwin,
    /// The sum of distances from the running mean (Page; Hinkley).
    PageHinkley,
}

/// Which way a stream moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeDirection {
    /// Values become larger.
    Up,
    /// Values become smaller.
    Down,
    /// Either.
    Both,
}
