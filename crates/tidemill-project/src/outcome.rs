//! Outcomes that come as tables: which dataset holds what became known of an endpoint's requests, and which of its columns say what.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidemill_core::Name;

/// What belongs to an endpoint of serving, whoever declares how its requests are routed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServedEndpoint {
    /// Datasets that hold what becomes known of its requests: labels, amounts. `tidemill up` on this project joins each new version with the
    /// log of requests when it is recorded, once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outcomes: Vec<OutcomeTable>,
}

/// A dataset whose rows are outcomes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutcomeTable {
    /// The dataset, one of those below `data`.
    pub from: Name,
    /// What a row and its request have in common: the column with the entity, or a column for each of `entity`, `request_id` and `row`.
    pub key: OutcomeKey,
    /// The column that says when it happened: an outcome about an entity belongs to the entity's last request before. When the version is
    /// read, where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// The columns with what became known: a column, several, or columns by the name of the outcome, as in `{label: repaid}`.
    pub values: OutcomeValues,
}

/// What a row and its request have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OutcomeKey {
    /// The column with the entity.
    Entity(String),
    /// A column for each.
    Columns(OutcomeKeys),
}

/// Columns by which a row finds its request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutcomeKeys {
    /// The column with what the request was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity: Option<String>,
    /// The column with the request's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The column with the number of the row within the request, from 0; every row of it where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<String>,
}

/// Columns with what became known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OutcomeValues {
    /// A column, which has the outcome's name.
    Column(String),
    /// Several of them.
    Columns(Vec<String>),
    /// Columns by the name of the outcome.
    Named(IndexMap<String, String>),
}

/// Which columns of a table say what: pairs of the field of an outcome and its column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OutcomeColumns {
    /// `entity`, `request_id` or `row`.
    pub keys: Vec<(String, String)>,
    /// When it happened.
    pub time: Option<String>,
    /// The name of an outcome.
    pub values: Vec<(String, String)>,
}

/// What a request and its outcome can have in common.
pub const OUTCOME_KEYS: [&str; 3] = ["entity", "request_id", "row"];
/// Fields of an outcome that cannot be the name of one.
pub const OUTCOME_FIELDS: [&str; 6] = ["entity", "name", "request_id", "row", "time", "value"];

impl OutcomeKeys {
    /// The columns that are named, each after what it is the column of.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let columns = [self.entity.as_deref(), self.request_id.as_deref(), self.row.as_deref()];
        OUTCOME_KEYS.into_iter().zip(columns).filter_map(|(field, column)| Some((field, column?)))
    }
}

impl OutcomeTable {
    /// Which columns say what.
    pub fn columns(&self) -> OutcomeColumns {
        let keys = match &self.key {
            OutcomeKey::Entity(column) => vec![("entity".to_owned(), column.clone())],
            OutcomeKey::Columns(keys) => {
                keys.named().map(|(field, column)| (field.to_owned(), column.to_owned())).collect()
            }
        };
        let values = match &self.values {
            OutcomeValues::Column(column) => vec![(column.clone(), column.clone())],
            OutcomeValues::Columns(columns) => {
                columns.iter().map(|column| (column.clone(), column.clone())).collect()
            }
            OutcomeValues::Named(columns) => {
                columns.iter().map(|(name, column)| (name.clone(), column.clone())).collect()
            }
        };
        OutcomeColumns { keys, time: self.time.clone(), values }
    }
}
