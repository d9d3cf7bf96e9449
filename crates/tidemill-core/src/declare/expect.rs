//! Expectations on data, named as people know them from dbt and Great Expectations.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One expectation: a rule and how bad it is when it does not hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Expectation {
    /// The rule.
    #[serde(flatten)]
    pub rule: Rule,
    /// `error` stops, `warn` is reported. `warn` for `drift_below` and `no_new_categories`, `error` for all others where not
    /// given: values that shift are news, and a table of another shape cannot be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// The share of rows that must hold, above 0 and at most 1; all of them where not given. Of values that are not null,
    /// except for `not_null`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub mostly: Option<f64>,
    /// Only rows for which this SQL condition holds, for example `origin = 'JFK' and cancelled = false`.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
}

impl Expectation {
    /// The rule alone.
    pub fn new(rule: Rule) -> Self {
        Self { rule, severity: None, mostly: None, condition: None }
    }

    /// The severity given, or that of the rule.
    pub fn severity(&self) -> Severity {
        self.severity.unwrap_or(match self.rule {
            Rule::DriftBelow { .. } | Rule::NoNewCategories { .. } => Severity::Warn,
            _ => Severity::Error,
        })
    }
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
    /// The share of nulls is within the bounds.
    NullShare(Bounds),
    /// Every value that is not null is in the set.
    InSet {
        /// The column.
        column: String,
        /// The allowed values.
        values: Vec<Value>,
    },
    /// No value is in the set.
    NotInSet {
        /// The column.
        column: String,
        /// The forbidden values.
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
    /// No text matches the regular expression anywhere.
    NotRegex {
        /// The column.
        column: String,
        /// The expression, in the syntax of Rust's `regex` crate.
        pattern: String,
    },
    /// Every text that is not null has a number of characters within the bounds.
    Length(Bounds),
    /// Every value is at least as great as the one before it (or as small). Nulls are passed over.
    Monotonic {
        /// The column.
        column: String,
        /// Which way.
        #[serde(default)]
        order: Order,
        /// Whether equal neighbours break it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        strict: bool,
    },
    /// Two columns compare so in every row in which neither is null.
    Compare {
        /// The column on the left.
        left: String,
        /// How they compare.
        is: Comparison,
        /// The column on the right.
        right: String,
    },
    /// Every key is one of another dataset. Rows with a null in the key are passed over.
    ForeignKey {
        /// The columns.
        columns: Vec<String>,
        /// The other dataset: a name, or a version such as `planes@3`.
        to: String,
        /// Its columns; of the same names where not given.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        key: Vec<String>,
    },
    /// No row is also in another dataset: what a model is tested on must not be what it learnt from.
    NoLeakage {
        /// The other dataset: a name, or a version such as `training@3`.
        from: String,
        /// Columns that tell rows apart; all that both have where not given.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        columns: Vec<String>,
    },
    /// The newest time is at most so old.
    Freshness {
        /// The column of times or dates.
        column: String,
        /// The greatest age, for example `36h` or `2d`.
        max_age: String,
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
    /// The number of columns is within the bounds.
    ColumnCount {
        /// At least so many.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min: Option<u64>,
        /// At most so many.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max: Option<u64>,
    },
    /// The number of different values is within the bounds.
    DistinctCount(Bounds),
    /// The mean of the numbers is within the bounds.
    MeanBetween(Bounds),
    /// The standard deviation of the numbers (n − 1) is within the bounds.
    StdBetween(Bounds),
    /// The sum of the numbers is within the bounds.
    SumBetween(Bounds),
    /// A quantile of the numbers is within the bounds.
    QuantileBetween {
        /// The column.
        column: String,
        /// Which one, from 0 to 1: 0.5 is the median.
        quantile: f64,
        /// At least so much.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min: Option<f64>,
        /// At most so much.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max: Option<f64>,
    },
    /// No value that another dataset does not have.
    NoNewCategories {
        /// The columns.
        columns: Vec<String>,
        /// The other dataset: a name, or a version such as `flights@3`.
        against: String,
    },
    /// The values are distributed as in another dataset.
    DriftBelow {
        /// The other dataset: a name, or a version such as `flights@3`.
        against: String,
        /// The columns; all but times where not given.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        columns: Vec<String>,
        /// The least level that breaks it.
        #[serde(default)]
        level: DriftLevel,
    },
    /// These columns are there with these types (`int`, `float`, `string`, `bool`, `timestamp`, `date`).
    Schema(indexmap::IndexMap<String, String>),
    /// A query that must answer with one row and one column holding true. The dataset is a table of its name.
    Sql {
        /// The query, for example `select count(*) = 0 from flights where air_time < 0`.
        assert: String,
    },
}

/// A figure of a column and its bounds, which belong to the range.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bounds {
    /// The column.
    pub column: String,
    /// At least so much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// At most so much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

/// Which way values go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Up.
    #[default]
    Increasing,
    /// Down.
    Decreasing,
}

/// How two columns compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Comparison {
    /// Less.
    #[serde(rename = "<")]
    Less,
    /// At most.
    #[serde(rename = "<=")]
    AtMost,
    /// Equal.
    #[serde(rename = "=")]
    Equal,
    /// Not equal.
    #[serde(rename = "!=")]
    NotEqual,
    /// At least.
    #[serde(rename = ">=")]
    AtLeast,
    /// Greater.
    #[serde(rename = ">")]
    Greater,
}

/// How much of a shift breaks `drift_below`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DriftLevel {
    /// Significant.
    Minor,
    /// Significant and large, or a category that appeared or vanished.
    #[default]
    Major,
}

impl Rule {
    /// Every rule's name as it stands in a project file.
    pub const NAMES: [&'static str; 25] = [
        "not_null",
        "unique",
        "null_share",
        "in_set",
        "not_in_set",
        "between",
        "regex",
        "not_regex",
        "length",
        "monotonic",
        "compare",
        "foreign_key",
        "no_leakage",
        "freshness",
        "row_count",
        "column_count",
        "distinct_count",
        "mean_between",
        "std_between",
        "sum_between",
        "quantile_between",
        "no_new_categories",
        "drift_below",
        "schema",
        "sql",
    ];

    /// The name as it stands in a project file.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotNull(_) => "not_null",
            Self::Unique(_) => "unique",
            Self::NullShare(_) => "null_share",
            Self::InSet { .. } => "in_set",
            Self::NotInSet { .. } => "not_in_set",
            Self::Between { .. } => "between",
            Self::Regex { .. } => "regex",
            Self::NotRegex { .. } => "not_regex",
            Self::Length(_) => "length",
            Self::Monotonic { .. } => "monotonic",
            Self::Compare { .. } => "compare",
            Self::ForeignKey { .. } => "foreign_key",
            Self::NoLeakage { .. } => "no_leakage",
            Self::Freshness { .. } => "freshness",
            Self::RowCount { .. } => "row_count",
            Self::ColumnCount { .. } => "column_count",
            Self::DistinctCount(_) => "distinct_count",
            Self::MeanBetween(_) => "mean_between",
            Self::StdBetween(_) => "std_between",
            Self::SumBetween(_) => "sum_between",
            Self::QuantileBetween { .. } => "quantile_between",
            Self::NoNewCategories { .. } => "no_new_categories",
            Self::DriftBelow { .. } => "drift_below",
            Self::Schema(_) => "schema",
            Self::Sql { .. } => "sql",
        }
    }

    /// Whether `mostly` means something: the rule is judged row by row.
    pub fn by_row(&self) -> bool {
        matches!(
            self,
            Self::NotNull(_)
                | Self::Unique(_)
                | Self::InSet { .. }
                | Self::NotInSet { .. }
                | Self::Between { .. }
                | Self::Regex { .. }
                | Self::NotRegex { .. }
                | Self::Length(_)
                | Self::Monotonic { .. }
                | Self::Compare { .. }
                | Self::ForeignKey { .. }
                | Self::NoLeakage { .. }
        )
    }

    /// The other dataset that the rule looks at.
    pub fn other(&self) -> Option<&str> {
        match self {
            Self::ForeignKey { to, .. } => Some(to),
            Self::NoLeakage { from, .. } => Some(from),
            Self::NoNewCategories { against, .. } | Self::DriftBelow { against, .. } => Some(against),
            _ => None,
        }
    }
}

/// An age such as `90s`, `15m`, `36h`, `2d` or `1w`.
pub fn age(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return None,
    };
    let number: f64 = text[..text.len() - 1].trim().parse().ok()?;
    let seconds = number * f64::from(seconds);
    (seconds > 0.0 && seconds < 1e12).then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        for (text, seconds) in [("90s", Some(90.0)), ("1.5h", Some(5400.0)), ("2d", Some(172_800.0))] {
            assert_eq!(age(text).map(|age| age.as_secs_f64()), seconds, "{text}");
        }
        for text in ["", "h", "3", "-1d", "5 years", "nand", "1é"] {
            assert_eq!(age(text), None, "{text}");
        }
    }

    #[test]
    fn every_rule_has_its_name() {
        let rule: Rule = serde_json::from_str(r#"{"mean_between": {"column": "x", "min": 1}}"#).unwrap();
        assert!(Rule::NAMES.contains(&rule.name()));
        let expectation: Expectation =
            serde_json::from_str(r#"{"drift_below": {"against": "flights@1"}, "where": "a = 1"}"#).unwrap();
        assert_eq!(expectation.severity(), Severity::Warn);
        assert_eq!((expectation.rule.other(), expectation.rule.by_row()), (Some("flights@1"), false));
    }
}
