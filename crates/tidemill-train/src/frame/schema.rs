//! What the columns of a frame are, learnt on training rows.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Frame, Table};
use crate::{Error, Result};

/// The columns of a frame: names, kinds, and the categories that training rows had.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrameSchema {
    /// The columns, in order.
    pub columns: Vec<ColumnSpec>,
}

/// One column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnSpec {
    /// Its name in the table.
    pub name: String,
    /// How the table holds it; it decides the type of the exported model's input.
    pub source: Source,
    /// How the algorithms see it.
    pub kind: ColumnKind,
}

/// How a table holds a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Booleans, none missing in the training rows.
    Bool,
    /// Whole numbers, none missing in the training rows.
    Int,
    /// 32-bit floating point.
    Float,
    /// 64-bit floating point; also decimals, and booleans and whole numbers of which some are missing.
    Double,
    /// Text.
    Text,
}

/// How the algorithms see a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnKind {
    /// As a number.
    Numeric,
    /// As one of some categories.
    Category {
        /// The categories as text, sorted (by value where the table holds numbers). The empty text counts as
        /// missing and is never a level.
        levels: Arc<[String]>,
    },
}

/// Which columns of a table become features.
#[derive(Clone, Copy, Debug, Default)]
pub struct Selection<'a> {
    /// These, in this order; all where not given.
    pub columns: Option<&'a [String]>,
    /// Not these: what the declaration drops, and the target, weight, group and time columns.
    pub without: &'a [&'a str],
    /// Treat these as categories although they hold numbers.
    pub categorical: &'a [String],
}

impl FrameSchema {
    /// Learns the columns and their categories from `rows` of `table` (all rows where not given).
    ///
    /// Columns come in the table's order unless the selection gives one. Fails on unknown names and on types
    /// that cannot be features (timestamps, lists, structures), which can be dropped.
    pub fn learn(table: &Table, rows: Option<&[usize]>, selection: Selection<'_>) -> Result<Self> {
        let _ = (table, rows, selection);
        Err(Error::NoFeatures)
    }

    /// The features of all rows of `table`. Columns are found by name, further columns are ignored, categories
    /// that the schema does not know become missing.
    pub fn frame(&self, table: &Table) -> Result<Frame> {
        let _ = table;
        Err(Error::NoFeatures)
    }
}
