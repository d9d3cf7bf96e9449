//! The decision that a model supports, what errors cost, and the number it must move.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Why the model exists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Objective {
    /// The decision in one sentence, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// What is predicted.
    pub task: Task,
    /// The column that joins predictions to outcomes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity: Option<String>,
    /// The column that says when a row happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// What errors cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub costs: Option<Costs>,
    /// The business number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kpi: Option<Kpi>,
    /// The risk tier; selects default gates.
    #[serde(default)]
    pub risk: Risk,
}

/// What is predicted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Classification or regression.
    pub kind: TaskKind,
    /// The target column.
    pub target: String,
    /// The value of the target that counts as positive, for classification with two classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub positive: Option<Value>,
}

/// Classification or regression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// The target is one of a few classes.
    Classification,
    /// The target is a number.
    Regression,
}

/// The cost of each kind of error, in one currency, for a decision with two outcomes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Costs {
    /// The unit, for example `EUR`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// Cost of missing a positive.
    pub false_negative: f64,
    /// Cost of a false alarm.
    pub false_positive: f64,
    /// Cost of acting on a real positive.
    #[serde(default)]
    pub true_positive: f64,
    /// Cost of rightly doing nothing.
    #[serde(default)]
    pub true_negative: f64,
}

impl Costs {
    /// The cost of one decision.
    pub fn of(&self, is_positive: bool, acts: bool) -> f64 {
        match (is_positive, acts) {
            (true, true) => self.true_positive,
            (true, false) => self.false_negative,
            (false, true) => self.false_positive,
            (false, false) => self.true_negative,
        }
    }
}

/// The business number that the model must move.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Kpi {
    /// Its name.
    pub name: String,
    /// Its unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Which way is good.
    pub better: Better,
}

/// Which way is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// Less is better.
    Lower,
    /// More is better.
    Higher,
}

/// The risk tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// Nothing much happens when it is wrong.
    Minimal,
    /// Money or comfort.
    #[default]
    Limited,
    /// Safety, rights, large sums.
    High,
}
