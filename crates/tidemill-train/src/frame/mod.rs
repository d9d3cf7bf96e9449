//! Features and targets in memory: what every algorithm learns from and predicts on.
//!
//! A [`Frame`] holds features only, column by column, as numbers or as codes of categories. How a table becomes
//! a frame is learnt once by [`FrameSchema::learn`] on training rows and then applied to any rows. Targets,
//! weights, times and groups are read from the [`Table`] itself. Nothing here scales, imputes or one-hot
//! encodes: each algorithm does that as it needs.

mod convert;
mod labels;
mod schema;
mod table;

use std::sync::Arc;

pub use labels::{ClassLabel, Target};
pub use schema::{ColumnKind, ColumnSpec, FrameSchema, MAX_LEVELS, Selection, Source};
pub use table::{MAX_CLASSES, Table};

use crate::{Error, Result};

/// The code of a category that is missing, or that the schema does not know.
pub const NO_LEVEL: u32 = u32::MAX;

/// Features of some rows, in the order of the schema's columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    columns: Vec<Column>,
    rows: usize,
}

/// One feature.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: Arc<str>,
    /// Its values, one for each row.
    pub data: ColumnData,
}

/// The values of one feature.
#[derive(Clone, Debug, PartialEq)]
pub enum ColumnData {
    /// Numbers; NaN where missing. Infinities are ordinary values.
    Numeric(Vec<f64>),
    /// Categories.
    Category {
        /// Index into `levels`, or [`NO_LEVEL`] where missing or unknown.
        codes: Vec<u32>,
        /// The categories as text, in the schema's order.
        levels: Arc<[String]>,
    },
}

impl ColumnData {
    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Numeric(values) => values.len(),
            Self::Category { codes, .. } => codes.len(),
        }
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values of `rows`, in that order; a row may come several times.
    #[must_use]
    pub fn take(&self, rows: &[usize]) -> Self {
        match self {
            Self::Numeric(values) => Self::Numeric(rows.iter().map(|&row| values[row]).collect()),
            Self::Category { codes, levels } => Self::Category {
                codes: rows.iter().map(|&row| codes[row]).collect(),
                levels: Arc::clone(levels),
            },
        }
    }
}

impl Frame {
    /// A frame of `columns`, which must all have `rows` rows.
    pub fn new(columns: Vec<Column>, rows: usize) -> Result<Self> {
        if let Some(odd) = columns.iter().find(|column| column.data.len() != rows) {
            return Err(Error::Unfit(format!(
                "column `{}` has {} rows, where {rows} are expected",
                odd.name,
                odd.data.len()
            )));
        }
        Ok(Self { columns, rows })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The features.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The frame of `rows`, in that order; a row may come several times.
    #[must_use]
    pub fn take(&self, rows: &[usize]) -> Self {
        let columns = self
            .columns
            .iter()
            .map(|column| Column { name: Arc::clone(&column.name), data: column.data.take(rows) })
            .collect();
        Self { columns, rows: rows.len() }
    }

    /// The frame with the values of one column replaced, for example shuffled; `data` must be of the same kind
    /// and length.
    pub fn with_column(&self, index: usize, data: ColumnData) -> Result<Self> {
        let mut columns = self.columns.clone();
        columns[index].data = data;
        Self::new(columns, self.rows)
    }
}
