//! One streaming pass over a table that describes every column: counts, range, moments, quantiles, frequent values.
//!
//! A [`Summary`] holds mergeable sketches; [`Summary::describe`] turns them into plain numbers.

mod column;
mod describe;
mod frequent;
mod hll;
mod kll;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use self::column::ColumnSummary;
use crate::{ColumnType, Error, Table, Value};

/// Mergeable statistics of a table. Stored with serde; the form carries a version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    version: u32,
    rows: u64,
    columns: Vec<ColumnSummary>,
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
    /// Pairs of probability and value at 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99. The value at p is the least one
    /// that a share p of all values does not exceed.
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
        let mut summary = Self::empty(table);
        for batch in table.batches(None)? {
            summary.update(&batch?)?;
        }
        Ok(summary)
    }

    /// A summary of no rows of `table`.
    pub(crate) fn empty(table: &Table) -> Self {
        let columns = table.schema().fields().iter().map(|field| ColumnSummary::new(field)).collect();
        Self { version: 1, rows: 0, columns }
    }

    /// Adds the rows of a batch with the same columns.
    pub(crate) fn update(&mut self, batch: &arrow::array::RecordBatch) -> Result<(), Error> {
        self.rows += batch.num_rows() as u64;
        // Columns side by side: none depends on another, so the result does not depend on threads.
        self.columns.par_iter_mut().zip(batch.columns()).try_for_each(|(column, array)| column.update(array))
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
        let same = |a: &ColumnSummary, b: &ColumnSummary| a.name == b.name && a.data_type == b.data_type;
        let fits = self.columns.len() == other.columns.len()
            && self.columns.iter().zip(&other.columns).all(|(a, b)| same(a, b));
        if !fits {
            return Err(Error::Unusable(
                "summaries of tables with other columns cannot be merged".to_owned(),
            ));
        }
        self.rows += other.rows;
        for (mine, theirs) in self.columns.iter_mut().zip(&other.columns) {
            mine.merge(theirs);
        }
        Ok(())
    }

    /// The numbers of every column, in the table's order.
    pub fn describe(&self) -> Vec<ColumnStats> {
        self.columns.iter().map(describe::describe).collect()
    }

    /// All different values of a column with their counts, most frequent first, if they were all counted.
    pub fn values(&self, column: &str) -> Option<Vec<(Value, u64)>> {
        let column = self.columns.iter().find(|known| known.name == column)?;
        column.frequent.exact_distinct()?;
        let shown = column.frequent.values();
        let mut values: Vec<(Value, u64)> = shown
            .map(|(sample, count)| (describe::show(sample, column.column_type, &column.data_type), count))
            .collect();
        values.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.to_string().cmp(&b.0.to_string())));
        Some(values)
    }
}
