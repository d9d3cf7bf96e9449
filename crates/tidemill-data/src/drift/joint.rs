//! Rows of both sides for a classifier that tells them apart: it sees what no single column and no correlation shows.
//!
//! The classifier itself is trained by whoever has a trainer; its answer comes back in the options of the comparison.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, Float64Array, RecordBatch, StringArray, UInt32Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use tidemill_core::{Progress, Unit};
use tidemill_stats::dependence::{Cells, MISSING};

use super::sampled::{MOST, by_importance};
use super::{DriftOptions, Role, choose, schema_of};
use crate::plain::{Plain, floats};
use crate::{Error, Profile, Table};

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

/// The rows that both profiles sampled, as [`samples`] has those of tables: the columns that are compared, up to the 40 that matter most. A
/// category is told by its hash. `None` where fewer than two columns are in both samples: of one alone its own tests say all.
///
/// # Errors
/// A column of the options that is on neither side.
pub fn sampled_rows(
    reference: &Profile,
    current: &Profile,
    options: &DriftOptions,
) -> Result<Option<Samples>, Error> {
    let (chosen, _) = choose(&schema_of(reference), &schema_of(current), options)?;
    let (mut fields, mut sides) = (Vec::new(), [Vec::new(), Vec::new()]);
    for column in by_importance(&chosen, options) {
        let of =
            |profile: &Profile| Some(cells(profile.sampled(&column.name, column.role == Role::Numeric)?));
        let Some((before, after)) = of(reference).zip(of(current)) else { continue };
        fields.push(Field::new(&column.name, before.data_type().clone(), true));
        let [left, right] = &mut sides;
        left.push(before);
        right.push(after);
        if fields.len() == MOST {
            break;
        }
    }
    if fields.len() < 2 {
        return Ok(None);
    }
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let [before, after] =
        sides.map(|columns| RecordBatch::try_new(schema.clone(), columns).map_err(Error::arrow("draw rows")));
    Ok(Some(Samples { schema, reference: vec![before?], current: vec![after?] }))
}

fn cells(cells: Cells) -> ArrayRef {
    match cells {
        Cells::Numbers(numbers) => Arc::new(Float64Array::from(numbers)),
        Cells::Categories(codes) => {
            let text = |code: u32| (code != MISSING).then(|| format!("{code:08x}"));
            Arc::new(codes.into_iter().map(text).collect::<StringArray>())
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray as _;

    use super::*;
    use crate::ProfileOptions;

    /// A profile with a sample of rows of two numbers, of which one has gaps, a category and a time.
    fn profile(rows: u32, sample: usize) -> Profile {
        let numbers: Float64Array = (0..rows).map(|row| (row % 4 != 1).then(|| f64::from(row))).collect();
        let kinds: StringArray = (0..rows).map(|row| ["even", "odd"].get(row as usize % 3)).collect();
        let columns: [(&str, ArrayRef); 3] = [
            ("gaps", Arc::new(numbers)),
            ("kind", Arc::new(kinds)),
            ("whole", Arc::new((0..rows).map(|row| Some(f64::from(row))).collect::<Float64Array>())),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let table = Table::from_batches(batch.schema(), vec![batch]).unwrap();
        let options = ProfileOptions { sample, ..ProfileOptions::window() };
        Profile::build(&table, &options, &tidemill_core::Quiet).unwrap()
    }

    #[test]
    fn rows_of_profiles_are_those_that_they_sampled() {
        let importance = [("whole".to_owned(), 2.0), ("kind".to_owned(), 1.0)].into();
        let options = DriftOptions { importance, ..DriftOptions::default() };
        let found = sampled_rows(&profile(900, 300), &profile(50, 300), &options).unwrap().unwrap();
        let names: Vec<&str> = found.schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["whole", "kind", "gaps"], "what matters most comes first");
        let [before, after] = [&found.reference[0], &found.current[0]];
        assert_eq!((before.num_rows(), after.num_rows()), (300, 50));
        // The cells of a row stay together: each third row has no kind, of numbers one in four is missing.
        let whole = before.column(0).as_primitive::<arrow::datatypes::Float64Type>();
        let gaps = before.column(2).as_primitive::<arrow::datatypes::Float64Type>();
        for row in 0..before.num_rows() {
            let number = whole.value(row) as u32;
            assert_eq!(before.column(1).is_null(row), number % 3 == 2, "{number}");
            assert_eq!(gaps.value(row).is_nan(), number % 4 == 1, "{number}");
        }
        let text = |side: &RecordBatch| {
            let mut codes: Vec<String> =
                side.column(1).as_string::<i32>().iter().flatten().map(str::to_owned).collect();
            codes.sort();
            codes.dedup();
            codes
        };
        assert_eq!(text(before), text(after), "a category has one hash on both sides");
        assert_eq!(text(before).len(), 2);
    }

    #[test]
    fn without_two_columns_in_both_samples_there_are_none() {
        let (reference, current) = (profile(900, 300), profile(50, 300));
        let found = |columns: &[&str]| {
            let columns = columns.iter().map(|name| (*name).to_owned()).collect();
            let options = DriftOptions { columns: Some(columns), ..DriftOptions::default() };
            sampled_rows(&reference, &current, &options)
        };
        assert!(found(&["gaps", "kind"]).unwrap().is_some() && found(&["kind"]).unwrap().is_none());
        assert!(found(&["gone"]).is_err());
        let without = sampled_rows(&reference, &profile(50, 0), &DriftOptions::default());
        assert!(without.unwrap().is_none());
    }
}
