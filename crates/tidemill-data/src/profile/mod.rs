//! Mergeable profiles: one streaming pass that describes every column and how columns hang together.
//!
//! A [`Profile`] holds counters, moments and sketches, and merges with another of the same columns: partitions, nodes
//! and hours add up to the answer of one pass. [`Profile::describe`] turns it into plain numbers, `codec` into bytes.

mod association;
mod build;
mod bytes;
mod codec;
mod column;
mod compare;
mod describe;
mod frequent;
mod grid;
mod hll;
mod kll;
mod mask;
mod merge;
mod moments;
mod numbers;
mod relations;
mod rows;
mod runs;
mod stats;
mod words;

use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::Schema;
use tidemill_core::{Progress, Quiet};

pub use self::build::ProfileBuilder;
pub(crate) use self::codec::read_body;
use self::column::ColumnProfile;
pub(crate) use self::describe::time_text;
use self::frequent::Sample;
use self::relations::Relations;
use self::rows::RowSample;
pub(crate) use self::runs::ordered;
pub use self::stats::{
    Association, AssociationKind, Bar, ColumnStats, Correlation, Distinct, Duplicates, MissingTogether,
    Quantiles, TableStats, TopValue,
};
pub(crate) use self::words::Unseen;
use crate::{Error, Format, Table, Value};

/// Mergeable statistics of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    rows: u64,
    columns: Vec<ColumnProfile>,
    /// `None` where only columns were asked for.
    relations: Option<Relations>,
    /// `None` where none was asked for.
    sample: Option<RowSample>,
}

/// Rows of a sample that is drawn for windows and what they are compared with: changes of correlations by a tenth show in so many.
pub const SAMPLED: usize = 2_000;

/// What a profile holds, and how finely.
#[derive(Clone, Debug)]
pub struct ProfileOptions {
    /// Size of the quantile sketches: their rank error is 2.296 / k^0.9021, with 99 % confidence.
    pub quantile_size: u16,
    /// Different values of a column that are counted exactly.
    pub exact_values: usize,
    /// Whether to look at pairs of columns and at keys.
    pub relations: bool,
    /// The column that is predicted: every other column is set beside it, whatever its type and however wide the table is.
    pub target: Option<String>,
    /// Columns that identify a row: rows that repeat an earlier key are counted.
    pub key: Vec<String>,
    /// Bytes that keys may use in memory before they spill to temporary files.
    pub key_memory: usize,
    /// Counts are also kept between the deciles of these columns, so that comparing with it is exact.
    pub reference: Option<Arc<Profile>>,
    /// Rows that are sampled, so that what pairs of columns have to do with each other can be compared: [`SAMPLED`], or 0 for none.
    pub sample: usize,
}

impl ProfileOptions {
    /// For a whole dataset: fine enough to be the reference that windows are compared with.
    pub fn dataset() -> Self {
        Self {
            quantile_size: 1024,
            exact_values: 8192,
            relations: true,
            target: None,
            key: Vec::new(),
            key_memory: 64 << 20,
            reference: None,
            sample: 0,
        }
    }

    /// For one of many windows or parts: small and quick to merge.
    pub fn window() -> Self {
        Self { quantile_size: 256, exact_values: 1024, ..Self::dataset() }
    }

    /// Columns alone.
    pub fn columns() -> Self {
        Self { relations: false, ..Self::dataset() }
    }
}

impl Profile {
    /// Describes the columns of `table` in one pass.
    ///
    /// # Errors
    /// What reading the table gives.
    pub fn of(table: &Table) -> Result<Self, Error> {
        Self::build(table, &ProfileOptions::columns(), &Quiet)
    }

    /// Describes `table` in one pass.
    ///
    /// # Errors
    /// What reading the table gives; a key column that is not there; [`Error::Cancelled`].
    pub fn build(table: &Table, options: &ProfileOptions, progress: &dyn Progress) -> Result<Self, Error> {
        build::build(table, options, progress)
    }

    /// Describes a file in one pass, with the options that its columns ask for; its format is told by its name where it is not given. It is [`Profile::build`] of the opened file, and
    /// saves delimited text the pass that opening takes to find types, where its first rows tell them.
    ///
    /// # Errors
    /// As [`Table::open`] and [`Profile::build`].
    pub fn of_file(
        path: &Path,
        format: Option<&Format>,
        options: &dyn Fn(&Schema) -> ProfileOptions,
        progress: &dyn Progress,
    ) -> Result<Self, Error> {
        build::of_file(path, format, options, progress)
    }

    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The sampled rows.
    fn rows_sampled(&self) -> Option<&RowSample> {
        self.sample.as_ref()
    }

    /// Without its sample of rows, which is much of its bytes.
    #[must_use]
    pub fn without_sample(self) -> Self {
        Self { sample: None, ..self }
    }

    fn find(&self, name: &str) -> Option<&ColumnProfile> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The names of the columns, in the table's order.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.name.as_str())
    }

    /// The numbers of every column, in the table's order.
    pub fn describe(&self) -> Vec<ColumnStats> {
        self.columns.iter().map(describe::describe).collect()
    }

    /// The numbers of one column.
    pub fn describe_column(&self, name: &str) -> Option<ColumnStats> {
        self.find(name).map(describe::describe)
    }

    /// A quantile of a column of numbers, and by how much its rank may be off. The least and the largest value are exact.
    pub fn quantile(&self, column: &str, probability: f64) -> Option<(f64, f64)> {
        let column = self.find(column)?;
        let end = match probability {
            0.0 => column.min.as_ref(),
            1.0 => column.max.as_ref(),
            _ => None,
        };
        match end {
            Some(Sample::Float(value)) => return Some((*value, 0.0)),
            Some(Sample::Int(value)) => return Some((*value as f64, 0.0)),
            Some(Sample::Text(_)) | None => {}
        }
        let sketch = &column.numbers.quantiles;
        Some((*sketch.quantiles(&[probability])?.first()?, sketch.rank_error()))
    }

    /// The numbers of the table and of every column.
    pub fn stats(&self) -> TableStats {
        describe::table(self)
    }

    /// All different values of a column with their counts, most frequent first, if they were all counted.
    pub fn values(&self, column: &str) -> Option<Vec<(Value, u64)>> {
        let column = self.find(column)?;
        column.frequent.exact_distinct()?;
        let shown = column.frequent.values();
        let mut values: Vec<(Value, u64)> = shown
            .map(|(sample, count)| (describe::show(sample, column.column_type, &column.data_type), count))
            .collect();
        values.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.to_string().cmp(&b.0.to_string())));
        Some(values)
    }

    /// The profile as bytes: versioned, compressed, with a checksum.
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::write(self)
    }

    /// Reads what [`Profile::to_bytes`] wrote.
    ///
    /// # Errors
    /// Another version, or bytes that are damaged.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        codec::read(bytes).map_err(|why| Error::Unusable(format!("a stored profile cannot be read: {why}")))
    }
}
