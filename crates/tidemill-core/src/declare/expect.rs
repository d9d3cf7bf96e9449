//! Expectations on data, named as people know them from dbt and Great Expectations.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One expectation: a rule and how bad it is when it does not hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Expectation {
    /// The rule.
    #[serde(flatten)]
    pub rule: Rule,
    /// `error` stops, `warn` is reported.
    #[serde(default)]
    pub severity: Severity,
}

/// How bad a broken expectation is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The command fails.
    #[default]
    Error,
    /// It is reported.
    Warn,
}

/// What must hold of a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// No nulls in any of these columns.
    NotNull(Vec<String>),
    /// No two rows agree in all of these columns.
    Unique(Vec<String>),
    /// Every value that is not null is in the set.
    InSet {
        /// The column.
        column: String,
        /// The allowed values.
        values: Vec<Value>,
    },
    /// Every value that is not null is within the bounds, which belong to the range.
    Between {
        /// The column.
        column: String,
        /// The least allowed value: a number, a date or a time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min: Option<Value>,
        /// The greatest allowed value.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max: Option<Value>,
    },
    /// Every text that is not null matches the regular expression somewhere.
    Regex {
        /// The column.
        column: String,
        /// The expression, in the syntax of Rust's `regex` crate.
        pattern: String,
    },
    /// The number of rows is within the bounds.
    RowCount {
        /// At least so many.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min: Option<u64>,
        /// At most so many.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max: Option<u64>,
    },
    /// These columns are there with these types (`int`, `float`, `string`, `bool`, `timestamp`, `date`).
    Schema(indexmap::IndexMap<String, String>),
    /// A query that must answer with one row and one column holding true. The dataset is a table of its name.
    Sql {
        /// The query, for example `select count(*) = 0 from flights where air_time < 0`.
        assert: String,
    },
}

impl Rule {
    /// The name as it stands in a project file.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotNull(_) => "not_null",
            Self::Unique(_) => "unique",
            Self::InSet { .. } => "in_set",
            Self::Between { .. } => "between",
            Self::Regex { .. } => "regex",
            Self::RowCount { .. } => "row_count",
            Self::Schema(_) => "schema",
            Self::Sql { .. } => "sql",
        }
    }
}
