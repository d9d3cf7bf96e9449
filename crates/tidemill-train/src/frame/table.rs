//! A table of record batches, and what training reads from it besides features: target, weights, times, groups.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, Field, Int64Type, SchemaRef};
use tidemill_core::declare::TaskKind;

use super::convert::{Family, append_numbers, family, plain, texts};
use super::{ClassLabel, Target};
use crate::{Error, Result};

/// Most classes of a classification target.
pub const MAX_CLASSES: usize = 1_000;

/// Record batches with one schema. Rows are numbered through all batches, from 0.
#[derive(Clone, Debug)]
pub struct Table {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    rows: usize,
}

impl Table {
    /// A table of `batches`, whose columns must be those of `schema`.
    pub fn new(schema: SchemaRef, batches: Vec<RecordBatch>) -> Result<Self> {
        for (index, field) in schema.fields().iter().enumerate() {
            if schema.fields()[..index].iter().any(|other| other.name() == field.name()) {
                let (first, second) = ("a column of the table", "another column of the table");
                return Err(Error::ColumnTwice { column: field.name().clone(), first, second });
            }
        }
        for (batch, found) in batches.iter().enumerate() {
            if let Some(detail) = first_difference(&schema, found) {
                return Err(Error::SchemaChanges { batch, detail });
            }
        }
        let rows = batches.iter().map(RecordBatch::num_rows).sum();
        Ok(Self { schema, batches, rows })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The schema.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The batches.
    pub fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    /// A column of numbers (or booleans as 0 and 1), NaN where missing; `role` names its use in errors.
    pub fn numbers(&self, column: &str, role: &'static str) -> Result<Vec<f64>> {
        let field = self.field(column, role)?;
        if !matches!(family(field.data_type()), Family::Bool | Family::Int | Family::Float | Family::Double) {
            return Err(wrong_type(field, role, "a number"));
        }
        let mut numbers = Vec::with_capacity(self.rows);
        for array in self.arrays(column) {
            append_numbers(array, &mut numbers)?;
        }
        Ok(numbers)
    }

    /// A column that orders rows in time: timestamps, dates and times as their raw integers, whole numbers as
    /// they are, floats in an order-preserving code, text (ISO 8601) by its rank. `None` where missing.
    pub fn times(&self, column: &str, role: &'static str) -> Result<Vec<Option<i64>>> {
        let field = self.field(column, role)?;
        match family(field.data_type()) {
            Family::Time | Family::Int => self.integers(column),
            Family::Float | Family::Double => {
                Ok(self.numbers(column, role)?.into_iter().map(order_code).collect())
            }
            Family::Text => {
                let groups = self.texts(column)?;
                let mut sorted: Vec<&String> = groups.iter().flatten().collect();
                sorted.sort_unstable();
                sorted.dedup();
                let rank = |text: &String| sorted.binary_search(&text).map_or(-1, |rank| rank as i64);
                Ok(groups.iter().map(|text| text.as_ref().map(rank)).collect())
            }
            Family::Bool | Family::Other => {
                Err(wrong_type(field, role, "a timestamp, a date, a number or ISO 8601 text"))
            }
        }
    }

    /// A number for each distinct value of a column of any simple type, in order of first appearance; `None`
    /// where missing.
    pub fn groups(&self, column: &str, role: &'static str) -> Result<Vec<Option<u32>>> {
        let field = self.field(column, role)?;
        if family(field.data_type()) == Family::Other {
            return Err(wrong_type(field, role, "a number, a time, a boolean or text"));
        }
        let mut known: HashMap<String, u32> = HashMap::new();
        let mut groups = Vec::with_capacity(self.rows);
        for text in self.texts(column)? {
            groups.push(text.map(|text| {
                let next = known.len() as u32;
                *known.entry(text).or_insert(next)
            }));
        }
        Ok(groups)
    }

    /// The target. Fails where values are missing (the empty text counts as missing), where a regression target
    /// is not a finite number, and where a classification target is a fraction, has one class only, or has more
    /// than [`MAX_CLASSES`].
    pub fn target(&self, column: &str, kind: TaskKind) -> Result<Target> {
        match kind {
            TaskKind::Regression => self.regression_target(column),
            TaskKind::Classification => self.class_target(column),
        }
    }

    /// The field of a column; `role` names its use in the error.
    pub(super) fn field(&self, column: &str, role: &'static str) -> Result<&Field> {
        let found = self.schema.fields().iter().find(|field| field.name() == column);
        found.map(AsRef::as_ref).ok_or_else(|| Error::UnknownColumn {
            role,
            column: column.into(),
            known: self.schema.fields().iter().map(|field| field.name().clone()).collect(),
        })
    }

    /// The arrays of a column that exists.
    pub(super) fn arrays(&self, column: &str) -> impl Iterator<Item = &ArrayRef> {
        let index = self.schema.index_of(column).unwrap_or(usize::MAX);
        self.batches.iter().filter_map(move |batch| batch.columns().get(index))
    }

    fn regression_target(&self, column: &str) -> Result<Target> {
        let values = self.numbers(column, "target")?;
        self.refuse_missing(column, values.iter().map(|value| value.is_nan()))?;
        if let Some(row) = values.iter().position(|value| value.is_infinite()) {
            let value = values[row].to_string();
            return Err(Error::NotFinite { role: "target", column: column.into(), value, row });
        }
        Ok(Target::Regression(values))
    }

    fn class_target(&self, column: &str) -> Result<Target> {
        let field = self.field(column, "target")?;
        let expected = "a boolean, a whole number or text";
        let labels: Vec<Option<ClassLabel>> = match family(field.data_type()) {
            Family::Bool => {
                let numbers = self.numbers(column, "target")?;
                numbers.iter().map(|n| (!n.is_nan()).then_some(ClassLabel::Bool(*n == 1.0))).collect()
            }
            Family::Int => self.integers(column)?.into_iter().map(|n| n.map(ClassLabel::Int)).collect(),
            Family::Float | Family::Double => {
                let numbers = self.numbers(column, "target")?;
                if let Some(odd) =
                    numbers.iter().find(|n| !n.is_nan() && (n.fract() != 0.0 || n.abs() > 9.0e15))
                {
                    let found = format!("{} and holds {odd}", field.data_type());
                    return Err(Error::ColumnType { role: "target", column: column.into(), found, expected });
                }
                numbers.iter().map(|n| (!n.is_nan()).then_some(ClassLabel::Int(*n as i64))).collect()
            }
            Family::Text => {
                let texts = self.texts(column)?;
                texts.into_iter().map(|t| t.filter(|t| !t.is_empty()).map(ClassLabel::Text)).collect()
            }
            Family::Time | Family::Other => return Err(wrong_type(field, "target", expected)),
        };
        self.refuse_missing(column, labels.iter().map(Option::is_none))?;
        encode_classes(column, labels.into_iter().flatten().collect())
    }

    fn refuse_missing(&self, column: &str, missing: impl Iterator<Item = bool> + Clone) -> Result<()> {
        let Some(first) = missing.clone().position(|missing| missing) else { return Ok(()) };
        let count = missing.filter(|missing| *missing).count();
        Err(Error::TargetMissing { column: column.into(), count, rows: self.rows, first })
    }

    fn integers(&self, column: &str) -> Result<Vec<Option<i64>>> {
        let mut integers = Vec::with_capacity(self.rows);
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        for array in self.arrays(column) {
            let mut array = plain(array)?;
            // Times of day and dates are kept as 32-bit numbers, which only cast through their own width.
            if matches!(array.data_type(), DataType::Date32 | DataType::Time32(_)) {
                array = cast(&array, &DataType::Int32)?;
            }
            let array = cast_with_options(&array, &DataType::Int64, &strict)?;
            integers.extend(array.as_primitive::<Int64Type>().iter());
        }
        Ok(integers)
    }

    fn texts(&self, column: &str) -> Result<Vec<Option<String>>> {
        let mut all = Vec::with_capacity(self.rows);
        for array in self.arrays(column) {
            all.extend(texts(array)?.iter().map(|text| text.map(str::to_owned)));
        }
        Ok(all)
    }
}

fn first_difference(schema: &SchemaRef, batch: &RecordBatch) -> Option<String> {
    let found = batch.schema_ref().fields();
    for (index, field) in schema.fields().iter().enumerate() {
        let Some(other) = found.get(index) else { return Some(format!("`{}` is missing", field.name())) };
        if other.name() != field.name() || other.data_type() != field.data_type() {
            return Some(format!(
                "`{}` of type {} where `{}` of type {} is expected",
                other.name(),
                other.data_type(),
                field.name(),
                field.data_type()
            ));
        }
    }
    found.get(schema.fields().len()).map(|more| format!("`{}` is not in the first", more.name()))
}

fn wrong_type(field: &Field, role: &'static str, expected: &'static str) -> Error {
    let (column, found) = (field.name().clone(), field.data_type().to_string());
    Error::ColumnType { role, column, found, expected }
}

/// An integer with the order of the floats: `total_cmp`'s trick, without NaN.
fn order_code(value: f64) -> Option<i64> {
    let bits = (value + 0.0).to_bits() as i64;
    (!value.is_nan()).then_some(if bits < 0 { bits ^ i64::MAX } else { bits })
}

fn encode_classes(column: &str, labels: Vec<ClassLabel>) -> Result<Target> {
    let mut classes: Vec<ClassLabel> = Vec::new();
    let mut known: HashMap<&ClassLabel, ()> = HashMap::new();
    for label in &labels {
        if known.insert(label, ()).is_none() {
            classes.push(label.clone());
        }
    }
    if classes.len() > MAX_CLASSES {
        return Err(Error::TooManyClasses {
            column: column.into(),
            classes: classes.len(),
            most: MAX_CLASSES,
        });
    }
    if let [only] = classes.as_slice() {
        return Err(Error::OneClass { column: column.into(), value: only.to_string(), side: "table" });
    }
    classes.sort_unstable();
    let index: HashMap<&ClassLabel, u32> = classes.iter().zip(0..).collect();
    let codes = labels.iter().filter_map(|label| index.get(label).copied()).collect();
    Ok(Target::Classes { codes, classes })
}
