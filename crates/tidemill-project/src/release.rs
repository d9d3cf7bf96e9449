//! How a model gets to production: environments, approvals, rollouts.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidemill_core::Name;

use crate::{Period, Share};

/// How a model gets to production.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// The registered model.
    pub model: Name,
    /// The endpoint that serves it; the model's name where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Name>,
    /// Environments by name, in the order of promotion.
    pub environments: IndexMap<Name, Environment>,
}

/// One environment of a release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// Who must agree.
    #[serde(default)]
    pub approve: Approve,
    /// How the release gets traffic; all at once where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
}

/// Who must agree: `auto`, or so many people of a role.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Approve {
    /// Nobody.
    Word(ApproveWord),
    /// People.
    People(Approval),
}

impl Default for Approve {
    fn default() -> Self {
        Self::Word(ApproveWord::Auto)
    }
}

/// `auto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApproveWord {
    /// The gates decide alone.
    Auto,
}

/// So many people of a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// The role, for example `owner`.
    pub by: String,
    /// How many of them.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub count: u32,
    /// Who has the role; everybody but the release's author where nobody is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub people: Vec<String>,
    /// How long an agreement holds; for ever where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Period>,
}

fn one() -> u32 {
    1
}

/// How a release gets traffic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rollout {
    /// The stages, in order.
    pub stages: Vec<Stage>,
    /// What decides between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge: Option<Judge>,
}

/// One stage of a rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It answers copies of requests, and nobody sees the answers.
    Shadow(Shadow),
    /// It answers a share of requests: `5%`, or `{share: 5%, for: 1h}`.
    Canary(Canary),
    /// People must agree.
    Gate(Approval),
    /// It answers all requests.
    Full(Full),
}

/// It answers copies of requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Shadow {
    /// At least so many requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<u64>,
    /// At least so long.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub duration: Option<Period>,
}

/// A share of requests, or that with conditions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Canary {
    /// The share.
    Share(Share),
    /// The share and how long it lasts at least.
    Stage(CanaryStage),
}

impl Canary {
    /// The share of requests.
    pub fn share(&self) -> Share {
        match self {
            Self::Share(share) => *share,
            Self::Stage(stage) => stage.share,
        }
    }
}

/// A share of requests and how long it lasts at least.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CanaryStage {
    /// The share of requests.
    pub share: Share,
    /// At least so many requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<u64>,
    /// At least so long.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub duration: Option<Period>,
}

/// It answers all requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Full {
    /// How long the release before it is kept ready for a rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settle: Option<Period>,
}

/// What decides between stages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Judge {
    /// Probability of a wrong verdict over the whole rollout, above 0 and below 1.
    pub error_budget: f64,
    /// What must not get worse.
    pub metrics: Vec<JudgeMetric>,
}

/// What must not get worse during a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JudgeMetric {
    /// Failed requests.
    Errors,
    /// Slow requests.
    Latency,
    /// The expected cost per decision.
    Cost,
    /// The objective's KPI.
    Kpi,
}
