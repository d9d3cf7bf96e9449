//! What a gate is decided on: the results of the tests of one model, and how a version was made.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Digest;

/// How a test came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It holds.
    Passed,
    /// It does not.
    Failed,
    /// There is nothing to judge it on; this is never a pass.
    NotJudged,
}

/// One test with its outcome.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TestResult {
    /// The test as declared, in short.
    pub test: String,
    /// How it came out.
    pub outcome: Outcome,
    /// What was found, with numbers.
    pub message: String,
    /// The numbers by name, for programs; finite ones only. Empty where the message has them all.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: BTreeMap<String, f64>,
    /// How older versions do on the same rows, of a test of staleness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ages: Option<AgeCurve>,
    /// Whether it is not judged because it compares with what a first version cannot have yet, such as a champion.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waits: bool,
}

/// Quality over age: what versions come to on the rows that were held out for the newest model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgeCurve {
    /// The metric.
    pub metric: String,
    /// Its value for the model that was tested.
    pub new: f64,
    /// The worst value that a version may have.
    pub allowed: f64,
    /// The age in days up to which versions are judged.
    pub max_days: f64,
    /// The versions, the youngest first.
    pub versions: Vec<AgedVersion>,
}

/// A version on fresh labels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgedVersion {
    /// Its number.
    pub version: u64,
    /// How old it was.
    pub days: f64,
    /// The metric of it.
    pub value: f64,
}

/// The results of all tests of one model. Stored as an object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// [`Self::FORMAT`].
    pub format: u32,
    /// The step whose model was tested.
    pub step: String,
    /// Identity of model and tests together: the same key gives the same results.
    pub key: String,
    /// Digest of what was tested; not in results from before this was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Digest>,
    /// As declared, in order.
    pub results: Vec<TestResult>,
}

/// How a version was made, as far as releases are decided on it. Recorded with it in the log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// The step that wrote it.
    pub step: String,
    /// What the step wrote. Files of a version also say by which run they were made; this is the same for the same model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Digest>,
    /// What its pipeline has read that no step wrote: datasets by name, other files by path, each with its content.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, Digest>,
    /// The parameters of the step and of the training.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, String>,
    /// Metrics on rows that it did not learn from; finite ones only.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
    /// Where it decides otherwise than another version, if that was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flips: Option<Flips>,
    /// The commit whose pipeline made it, where a commit was tested for a release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Who wrote what that commit brings, by the names under which they may be known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authors: Vec<String>,
}

/// Decisions that were right before and are wrong now.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Flips {
    /// Their share of the held-out rows.
    pub share: f64,
    /// The version that had them right.
    pub against: u64,
}

impl TestResult {
    /// A result without figures.
    pub fn new(test: impl Into<String>, outcome: Outcome, message: impl Into<String>) -> Self {
        Self {
            test: test.into(),
            outcome,
            message: message.into(),
            figures: BTreeMap::new(),
            ages: None,
            waits: false,
        }
    }
}

impl Evidence {
    /// The form written by this version.
    pub const FORMAT: u32 = 2;

    /// The evidence in stored bytes; nothing where they are of another form.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().filter(|evidence: &Self| evidence.format == Self::FORMAT)
    }

    /// Number of results with an outcome.
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.results.iter().filter(|result| result.outcome == outcome).count() as u64
    }

    /// Number of results that wait for something to compare with.
    pub fn waiting(&self) -> u64 {
        self.results.iter().filter(|result| result.waits).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_form_is_not_read() {
        let evidence = Evidence {
            format: Evidence::FORMAT,
            step: "train".into(),
            key: "k".into(),
            content: None,
            results: vec![],
        };
        let bytes = serde_json::to_vec(&evidence).unwrap_or_default();
        assert_eq!(Evidence::read(&bytes), Some(evidence.clone()));
        let older = serde_json::to_vec(&Evidence { format: 1, ..evidence }).unwrap_or_default();
        assert_eq!(Evidence::read(&older), None);
    }
}
