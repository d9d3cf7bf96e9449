//! The battery's inputs from the rows of two tables: columns in groups that fit into memory, one pass a group and side.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::Schema;
use rayon::prelude::*;
use tidemill_core::{Progress, Unit};
use tidemill_stats::drift::Measured;

use super::inputs::{Input, InputValues, Side};
use super::{Chosen, DriftOptions, DriftReport, FoundPair, Role, choose, decide, of_role, profiles, skew};
use crate::plain::floats;
use crate::profile::ProfileBuilder;
use crate::{Error, Profile, ProfileOptions, Table};

/// Different values of a column of categories that are counted.
const CATEGORIES: usize = 100_000;

pub(super) fn compare(
    reference: &Table,
    current: &Table,
    options: &DriftOptions,
    progress: &dyn Progress,
) -> Result<DriftReport, Error> {
    let (chosen, skipped) = choose(reference.schema(), current.schema(), options)?;
    let numeric = of_role(&chosen, Role::Numeric);
    let categorical = of_role(&chosen, Role::Categorical);
    let rows = reference.rows().max(current.rows()).max(1);
    // Values are held as read and once more while they are sorted.
    let fit = options.memory as u64 / (32 * rows);
    let group = usize::try_from(fit).unwrap_or(usize::MAX).max(1);
    let passes = numeric.len().div_ceil(group) + usize::from(!categorical.is_empty());
    let total = (reference.rows() + current.rows()) * passes as u64;
    progress.begin("comparing", Some(total), Unit::Rows);
    let mut measured: Vec<Measured> = Vec::new();
    for columns in numeric.chunks(group) {
        let sides: Vec<(Column, Column)> =
            read(reference, columns, progress)?.into_iter().zip(read(current, columns, progress)?).collect();
        let found: Vec<Measured> = columns
            .par_iter()
            .zip(sides)
            .map(|(column, (before, after))| {
                let missing = (before.missing, after.missing);
                let values = InputValues::Numeric(before.side(), after.side());
                Input::new(column, missing, values, options).measure(&options.rules)
            })
            .collect();
        measured.extend(found);
    }
    if !categorical.is_empty() {
        let (before, after) =
            (count(reference, &categorical, progress)?, count(current, &categorical, progress)?);
        for column in categorical {
            let (Some(missing), Some(values)) = (
                before.missing(&column.name).zip(after.missing(&column.name)),
                before.category_values(&after, &column.name),
            ) else {
                continue;
            };
            measured.push(Input::new(column, missing, values, options).measure(&options.rules));
        }
    }
    let found = if options.pairs { correlate(reference, current, &numeric, progress)? } else { Vec::new() };
    Ok(DriftReport {
        rows_reference: reference.rows(),
        rows_current: current.rows(),
        exact: true,
        schema: skew(reference.schema(), current.schema()),
        skipped,
        verdict: decide(measured, &found, options),
    })
}

/// The numbers of a column as they are read.
#[derive(Default)]
struct Column {
    values: Vec<f64>,
    missing: u64,
}

impl Column {
    fn push(&mut self, array: &ArrayRef) -> Result<(), Error> {
        let numbers = floats(array)?;
        let before = self.values.len();
        if numbers.null_count() == 0 {
            self.values.extend(numbers.values().iter().filter(|value| !value.is_nan()));
        } else {
            self.values.extend(numbers.iter().flatten().filter(|value| !value.is_nan()));
        }
        self.missing += (numbers.len() - (self.values.len() - before)) as u64;
        Ok(())
    }

    fn side(self) -> Side {
        let rows = self.values.len() as u64;
        let values = tidemill_stats::sample::sorted(self.values);
        Side { values, weights: None, rank_error: 0.0, rows, moments: None }
    }
}

fn read(table: &Table, columns: &[&Chosen], progress: &dyn Progress) -> Result<Vec<Column>, Error> {
    let places = places(table, columns)?;
    let mut found: Vec<Column> = columns.iter().map(|_| Column::default()).collect();
    for batch in table.batches(Some(&places))? {
        let batch = batch?;
        if progress.cancelled() {
            return Err(Error::Cancelled);
        }
        found.par_iter_mut().zip(batch.columns()).try_for_each(|(column, array)| column.push(array))?;
        progress.advance(batch.num_rows() as u64);
    }
    Ok(found)
}

fn places(table: &Table, columns: &[&Chosen]) -> Result<Vec<usize>, Error> {
    columns.iter().map(|column| table.column(&column.name)).collect()
}

/// A profile of some columns, whose values are counted rather than sketched.
fn count(table: &Table, columns: &[&Chosen], progress: &dyn Progress) -> Result<Profile, Error> {
    let options = ProfileOptions { exact_values: CATEGORIES, ..ProfileOptions::columns() };
    profile(table, columns, |schema| ProfileBuilder::new(schema, &options), progress)
}

/// Fills the profile that `empty` makes with the rows of some columns.
fn profile(
    table: &Table,
    columns: &[&Chosen],
    empty: impl FnOnce(&Schema) -> Result<ProfileBuilder, Error>,
    progress: &dyn Progress,
) -> Result<Profile, Error> {
    let places = places(table, columns)?;
    let batches = table.batches(Some(&places))?;
    let mut builder = empty(batches.schema())?;
    for batch in batches {
        let batch = batch?;
        if progress.cancelled() {
            return Err(Error::Cancelled);
        }
        builder.update(&batch)?;
        progress.advance(batch.num_rows() as u64);
    }
    builder.finish()
}

fn correlate(
    reference: &Table,
    current: &Table,
    numeric: &[&Chosen],
    progress: &dyn Progress,
) -> Result<Vec<FoundPair>, Error> {
    if numeric.len() < 2 {
        return Ok(Vec::new());
    }
    progress.begin("correlating", Some(reference.rows() + current.rows()), Unit::Rows);
    let before = correlations(reference, numeric, progress)?;
    let after = correlations(current, numeric, progress)?;
    Ok(profiles::pairs(&before, &after, numeric))
}

/// A profile that has nothing but correlations.
fn correlations(table: &Table, columns: &[&Chosen], progress: &dyn Progress) -> Result<Profile, Error> {
    let options = ProfileOptions::window();
    let empty = |schema: &Schema| ProfileBuilder::new(schema, &options).map(ProfileBuilder::only_relations);
    profile(table, columns, empty, progress)
}
