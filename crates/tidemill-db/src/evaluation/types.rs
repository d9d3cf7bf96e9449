//! The values that evaluation datasets are written and read as.

use tidemill_core::Timestamp;

use crate::tracking::KeyValue;

/// A dataset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EvaluationDataset {
    /// Its identifier, `d-…`.
    pub id: String,
    /// Its name, which others may have too.
    pub name: String,
    /// Changes with every change of its records.
    pub digest: String,
    /// What its records look like, as JSON.
    pub schema: Option<String>,
    /// What is in it, as JSON.
    pub profile: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Who made it.
    pub created_by: Option<String>,
    /// Who last changed it.
    pub updated_by: Option<String>,
    /// By key.
    pub tags: Vec<KeyValue>,
}

/// A record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EvaluationRecord {
    /// Its identifier, `dr-…`.
    pub id: String,
    /// Tells records of a dataset apart.
    pub input_hash: String,
    /// What is asked: a JSON object.
    pub inputs: String,
    /// What was answered, as JSON.
    pub outputs: Option<String>,
    /// What should be answered: a JSON object.
    pub expectations: Option<String>,
    /// A JSON object.
    pub tags: Option<String>,
    /// Where it is from: a JSON object.
    pub source: Option<String>,
    /// What kind of place that is; may be empty.
    pub source_kind: String,
    /// The thing there, for example a trace.
    pub source_id: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Who made it.
    pub created_by: Option<String>,
    /// Who last changed it.
    pub updated_by: Option<String>,
}
