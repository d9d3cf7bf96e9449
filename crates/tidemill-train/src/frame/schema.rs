//! What the columns of a frame are, learnt on training rows.
//!
//! The schema keeps categories and source types only; means, scales and bin edges belong to the algorithms.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::Field;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::convert::{Family, append_numbers, family, texts};
use super::{Column, ColumnData, Frame, NO_LEVEL, Table};
use crate::{Error, Result};

/// Most levels that a column keeps; rarer ones count as missing.
pub const MAX_LEVELS: usize = 65_536;

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
        /// The categories as text, sorted (by value where the table holds numbers, which are written so that
        /// they parse back exactly). The empty text counts as missing and is never a level; of more than
        /// [`MAX_LEVELS`] the most frequent are kept.
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
        for name in selection.categorical {
            table.field(name, "categorical")?;
        }
        let mut fields: Vec<&Field> = Vec::new();
        let all: Vec<&str> = table.schema().fields().iter().map(|field| field.name().as_str()).collect();
        let named: Vec<&str> = match selection.columns {
            Some(columns) => columns.iter().map(String::as_str).collect(),
            None => all,
        };
        for name in named {
            if selection.without.contains(&name) {
                continue;
            }
            let field = table.field(name, "feature")?;
            if fields.iter().any(|other| other.name() == name) {
                return Err(Error::ColumnTwice {
                    column: name.into(),
                    first: "a feature",
                    second: "a feature",
                });
            }
            if matches!(family(field.data_type()), Family::Time | Family::Other) {
                return Err(Error::ColumnType {
                    role: "feature",
                    column: name.into(),
                    found: field.data_type().to_string(),
                    expected: "a number, a boolean or text",
                });
            }
            fields.push(field);
        }
        if fields.is_empty() {
            return Err(Error::NoFeatures);
        }
        let chosen = rows.map(|rows| mask(rows, table.rows()));
        let columns = fields
            .par_iter()
            .map(|field| {
                let category = selection.categorical.iter().any(|name| name == field.name());
                learn_column(table, field, chosen.as_deref(), category)
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Self { columns })
    }

    /// The features of all rows of `table`. Columns are found by name, further columns are ignored, categories
    /// that the schema does not know become missing.
    pub fn frame(&self, table: &Table) -> Result<Frame> {
        let columns = self.columns.par_iter().map(|spec| spec.read(table)).collect::<Result<Vec<_>>>()?;
        Frame::new(columns, table.rows())
    }
}

impl ColumnSpec {
    /// The levels, for a category.
    pub fn levels(&self) -> Option<&Arc<[String]>> {
        match &self.kind {
            ColumnKind::Numeric => None,
            ColumnKind::Category { levels } => Some(levels),
        }
    }

    fn read(&self, table: &Table) -> Result<Column> {
        let field = table.field(&self.name, "feature")?;
        let found = family(field.data_type());
        let fits = match self.source {
            Source::Text => found == Family::Text || field.data_type().is_null(),
            _ => matches!(found, Family::Bool | Family::Int | Family::Float | Family::Double),
        };
        if !fits {
            let want = if self.source == Source::Text { "text" } else { "a number" };
            return Err(Error::Unfit(format!(
                "column `{}` has type {}, where the model was trained on {want}",
                self.name,
                field.data_type()
            )));
        }
        let arrays = table.arrays(&self.name);
        let data = match (&self.kind, self.source) {
            (ColumnKind::Numeric, _) => ColumnData::Numeric(all_numbers(arrays, table.rows())?),
            (ColumnKind::Category { levels }, Source::Text) => ColumnData::Category {
                codes: text_codes(arrays, levels, table.rows())?,
                levels: Arc::clone(levels),
            },
            (ColumnKind::Category { levels }, _) => {
                let numbers = all_numbers(arrays, table.rows())?;
                ColumnData::Category { codes: number_codes(&numbers, levels), levels: Arc::clone(levels) }
            }
        };
        Ok(Column { name: self.name.as_str().into(), data })
    }
}

/// The level of a number as text; it parses back to the same number, and -0 is 0.
fn level_text(number: f64) -> String {
    format!("{}", number + 0.0)
}

fn mask(rows: &[usize], all: usize) -> Vec<bool> {
    let mut mask = vec![false; all];
    for &row in rows {
        mask[row] = true;
    }
    mask
}

fn learn_column(table: &Table, field: &Field, chosen: Option<&[bool]>, category: bool) -> Result<ColumnSpec> {
    let is_chosen = |row: usize| chosen.is_none_or(|mask| mask[row]);
    let name = field.name().clone();
    let kind_of = family(field.data_type());
    if kind_of == Family::Text {
        let mut counts: HashMap<String, u64> = HashMap::new();
        let mut start = 0;
        for array in table.arrays(&name) {
            let array = texts(array)?;
            for (row, text) in array.iter().enumerate() {
                let Some(text) = text.filter(|text| !text.is_empty() && is_chosen(start + row)) else {
                    continue;
                };
                match counts.get_mut(text) {
                    Some(count) => *count += 1,
                    None => {
                        counts.insert(text.to_owned(), 1);
                    }
                }
            }
            start += array.len();
        }
        let mut levels = most_frequent(counts.into_iter().collect());
        levels.sort_unstable();
        return Ok(ColumnSpec {
            name,
            source: Source::Text,
            kind: ColumnKind::Category { levels: levels.into() },
        });
    }
    let numbers = all_numbers(table.arrays(&name), table.rows())?;
    let missing = numbers.iter().enumerate().any(|(row, number)| number.is_nan() && is_chosen(row));
    let source = match kind_of {
        Family::Bool if !missing => Source::Bool,
        Family::Int if !missing => Source::Int,
        Family::Float => Source::Float,
        _ => Source::Double,
    };
    let kind = if category {
        let mut counts: HashMap<u64, u64> = HashMap::new();
        for (row, number) in numbers.iter().enumerate() {
            if !number.is_nan() && is_chosen(row) {
                *counts.entry((number + 0.0).to_bits()).or_default() += 1;
            }
        }
        let mut levels = most_frequent(counts.into_iter().collect());
        levels.sort_unstable_by(|a, b| f64::from_bits(*a).total_cmp(&f64::from_bits(*b)));
        let levels: Vec<String> = levels.into_iter().map(|bits| level_text(f64::from_bits(bits))).collect();
        ColumnKind::Category { levels: levels.into() }
    } else {
        ColumnKind::Numeric
    };
    Ok(ColumnSpec { name, source, kind })
}

/// The keys with the highest counts, at most [`MAX_LEVELS`]; among equals the smaller keys.
fn most_frequent<K: Ord>(mut counts: Vec<(K, u64)>) -> Vec<K> {
    if counts.len() > MAX_LEVELS {
        counts.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        counts.truncate(MAX_LEVELS);
    }
    counts.into_iter().map(|(key, _)| key).collect()
}

fn all_numbers<'a>(arrays: impl Iterator<Item = &'a ArrayRef>, rows: usize) -> Result<Vec<f64>> {
    let mut numbers = Vec::with_capacity(rows);
    for array in arrays {
        append_numbers(array, &mut numbers)?;
    }
    Ok(numbers)
}

fn text_codes<'a>(
    arrays: impl Iterator<Item = &'a ArrayRef>,
    levels: &[String],
    rows: usize,
) -> Result<Vec<u32>> {
    let known: HashMap<&str, u32> = levels.iter().map(String::as_str).zip(0..).collect();
    let mut codes = Vec::with_capacity(rows);
    for array in arrays {
        let array = texts(array)?;
        codes.extend(array.iter().map(|text| text.and_then(|t| known.get(t)).copied().unwrap_or(NO_LEVEL)));
    }
    Ok(codes)
}

fn number_codes(numbers: &[f64], levels: &[String]) -> Vec<u32> {
    let values: Vec<f64> = levels.iter().map(|level| level.parse().unwrap_or(f64::NAN)).collect();
    numbers
        .iter()
        .map(|number| {
            let found = values.binary_search_by(|value| value.total_cmp(&(number + 0.0)));
            found.map_or(NO_LEVEL, |index| index as u32)
        })
        .collect()
}
