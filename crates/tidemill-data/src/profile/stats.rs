//! The plain numbers that a profile tells. Nothing is counted here.

use serde::{Deserialize, Serialize};

use crate::{ColumnType, Value};

/// The numbers of a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableStats {
    /// Number of rows.
    pub rows: u64,
    /// Every column, in the table's order.
    pub columns: Vec<ColumnStats>,
    /// Rows that repeat the declared key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicates: Option<Duplicates>,
    /// Pairs of columns that are null in the same rows, most rows first.
    pub missing_together: Vec<MissingTogether>,
    /// Pairs of numeric columns, strongest first.
    pub correlations: Vec<Correlation>,
    /// What every column has to do with the target, strongest first; empty without a target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub associations: Vec<Association>,
}

impl TableStats {
    /// Takes the values of some columns out; counts and moments stay.
    pub fn redact(&mut self, columns: &[String]) {
        let hidden = self.columns.iter_mut().filter(|column| columns.contains(&column.name));
        hidden.for_each(ColumnStats::redact);
    }
}

/// Rows whose key a row before them has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Duplicates {
    /// The key's columns.
    pub key: Vec<String>,
    /// How many such rows there are, or an estimate.
    pub rows: u64,
    /// Whether they were counted; merged profiles estimate.
    pub exact: bool,
}

/// Two columns and the rows in which both are null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MissingTogether {
    /// The columns.
    pub columns: [String; 2],
    /// Rows in which both are null.
    pub rows: u64,
    /// Rows in which both are null as a share of those in which one of them is.
    pub overlap: f64,
}

/// How a column is set beside the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AssociationKind {
    /// Pearson's r of two columns of numbers; truth values of a target count as 0 and 1.
    Correlation,
    /// Cramér's V of two columns of categories, corrected for its bias.
    CramersV,
    /// The correlation ratio of categories and numbers, corrected for the number of categories.
    CorrelationRatio,
}

/// What a column has to do with the target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Association {
    /// The column.
    pub column: String,
    /// The measure, which the types of both decide.
    pub kind: AssociationKind,
    /// From 0 for nothing to 1 where one follows from the other; of a correlation with its sign.
    pub value: f64,
    /// Rows in which both have a value.
    pub rows: u64,
}

/// Two numeric columns and their correlation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Correlation {
    /// The columns.
    pub columns: [String; 2],
    /// Pearson's r over the rows in which both are finite numbers.
    pub r: f64,
    /// Number of these rows.
    pub rows: u64,
}

/// The numbers of one column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnStats {
    /// The column.
    pub name: String,
    /// Its type in a project file's words.
    #[serde(rename = "type")]
    pub column_type: ColumnType,
    /// Its exact Arrow type.
    pub data_type: String,
    /// Values that are not null.
    pub count: u64,
    /// Nulls. NaN is not null.
    pub nulls: u64,
    /// Values that are NaN.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub nan: u64,
    /// Values that are +∞.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub positive_infinite: u64,
    /// Values that are −∞.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub negative_infinite: u64,
    /// Numbers that are 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zero: Option<u64>,
    /// Numbers below 0, −∞ among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub negative: Option<u64>,
    /// Values of a column of truth values that are true.
    #[serde(default, rename = "true", skip_serializing_if = "Option::is_none")]
    pub true_count: Option<u64>,
    /// How many different values there are; NaN is none.
    pub distinct: Distinct,
    /// The least value; for text the first in byte order. NaN does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<Value>,
    /// The greatest value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<Value>,
    /// Mean of numbers (truth values count as 0 and 1), without NaN and infinities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
    /// Sample standard deviation (n − 1) of the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub std: Option<f64>,
    /// Skewness of the same, as `scipy.stats.skew`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skewness: Option<f64>,
    /// Excess kurtosis of the same, as `scipy.stats.kurtosis`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kurtosis: Option<f64>,
    /// Quantiles of numbers, dates and times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantiles: Option<Quantiles>,
    /// Exact counts of finite numbers in bins of one width, a power of two.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub histogram: Vec<Bar>,
    /// The most frequent values, most frequent first; only those more frequent than the error of the counts.
    pub top: Vec<TopValue>,
    /// Mean number of characters of texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_length: Option<f64>,
    /// Characters of the shortest text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_length: Option<u64>,
    /// Characters of the longest text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u64>,
    /// The most frequent shapes of texts: digits as `9`, letters as `a` and `A`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patterns: Vec<TopValue>,
}

impl ColumnStats {
    /// Takes the values out; counts and moments stay.
    pub fn redact(&mut self) {
        self.min = None;
        self.max = None;
        self.quantiles = None;
        self.histogram.clear();
        self.top.clear();
        self.patterns.clear();
    }

    /// The share of rows without a value: nulls and NaN.
    pub fn missing_share(&self) -> f64 {
        let rows = (self.count + self.nulls).max(1);
        (self.nulls + self.nan) as f64 / rows as f64
    }

    /// The median, of columns that have quantiles.
    pub fn median(&self) -> Option<&Value> {
        let points = &self.quantiles.as_ref()?.points;
        points.iter().find(|(probability, _)| *probability == 0.5).map(|(_, value)| value)
    }
}

/// One bin of a histogram.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bar {
    /// Its lower edge, which belongs to it.
    pub from: Value,
    /// Its upper edge, which does not.
    pub to: Value,
    /// How many values are in it.
    pub count: u64,
}

/// How many different values a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distinct {
    /// The number, or its estimate.
    pub estimate: u64,
    /// Whether every different value was counted.
    pub exact: bool,
    /// Relative standard error; 0 where exact.
    pub relative_error: f64,
}

/// Quantiles of a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// Probability and value; the value is the smallest whose share of values at or below it reaches the probability.
    pub points: Vec<(f64, Value)>,
    /// By how much the true probability of a value may differ, with 99 % confidence; 0 where exact.
    pub rank_error: f64,
}

/// A frequent value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopValue {
    /// The value.
    pub value: Value,
    /// How often it occurs, at least.
    pub count: u64,
    /// How much more often it may occur; 0 where counted exactly.
    pub error: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}
