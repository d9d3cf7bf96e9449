//! Rows of both sides for a classifier that tells them apart: it sees what no single column and no correlation shows.
//!
//! The classifier itself is trained by whoever has a trainer; its answer comes back in the options of the comparison.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use tidemill_core::{Progress, Unit};

use super::{DriftOptions, Role, choose};
use crate::plain::{Plain, floats};
use crate::{Error, Table};

/// Evenly spaced rows of both sides, with the columns that are compared: numbers as 64-bit floats, all else as text.
#[derive(Clone, Debug)]
pub struct Samples {
    /// The columns of both.
    pub schema: SchemaRef,
    /// Rows of the reference.
    pub reference: Vec<RecordBatch>,
    /// Rows of what is compared with it.
    pub current: Vec<RecordBatch>,
}

/// At most `most` rows of either side; `None` where no column is compared.
///
/// # Errors
/// A column of the options that is on neither side; what reading gives; [`Error::Cancelled`].
pub fn samples(
    reference: &Table,
    current: &Table,
    options: &DriftOptions,
    most: usize,
    progress: &dyn Progress,
) -> Result<Option<Samples>, Error> {
    let (chosen, _) = choose(reference.schema(), current.schema(), options)?;
    if chosen.is_empty() {
        return Ok(None);
    }
    let kind = |role: Role| match role {
        Role::Numeric => DataType::Float64,
        Role::Categorical => DataType::Utf8,
    };
    let fields: Vec<Field> =
        chosen.iter().map(|column| Field::new(&column.name, kind(column.role), true)).collect();
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    progress.begin("drawing rows", Some(reference.rows() + current.rows()), Unit::Rows);
    let read = |table: &Table| -> Result<Vec<RecordBatch>, Error> {
        let places: Vec<usize> =
            chosen.iter().map(|column| table.column(&column.name)).collect::<Result<_, _>>()?;
        let step = table.rows().div_ceil(most.max(1) as u64).max(1);
        let (mut drawn, mut row) = (Vec::new(), 0_u64);
        for batch in table.batches(Some(&places))? {
            let batch = batch?;
            if progress.cancelled() {
                return Err(Error::Cancelled);
            }
            let rows = batch.num_rows() as u64;
            let wanted = (row.next_multiple_of(step)..row + rows).step_by(step as usize);
            let wanted: UInt32Array = wanted.map(|at| (at - row) as u32).collect();
            row += rows;
            progress.advance(rows);
            if wanted.is_empty() {
                continue;
            }
            let columns = batch.columns().iter().zip(&chosen).map(|(array, column)| {
                let array = take(array, &wanted, None).map_err(Error::arrow("draw rows"))?;
                plain(&array, column.role)
            });
            let columns = columns.collect::<Result<Vec<_>, Error>>()?;
            drawn.push(RecordBatch::try_new(schema.clone(), columns).map_err(Error::arrow("draw rows"))?);
        }
        Ok(drawn)
    };
    let (reference, current) = (read(reference)?, read(current)?);
    Ok(Some(Samples { schema, reference, current }))
}

fn plain(array: &ArrayRef, role: Role) -> Result<ArrayRef, Error> {
    if role == Role::Numeric {
        return Ok(Arc::new(floats(array)?));
    }
    Ok(match Plain::of(array)? {
        Plain::Text(texts) => Arc::new(texts),
        Plain::Int(numbers, _) => cast(&numbers, &DataType::Utf8).map_err(Error::arrow("draw rows"))?,
        Plain::Float(numbers) => cast(&numbers, &DataType::Utf8).map_err(Error::arrow("draw rows"))?,
    })
}
