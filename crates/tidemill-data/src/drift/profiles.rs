//! The battery's inputs from two profiles.

use rayon::prelude::*;
use tidemill_stats::drift::{Measured, Pair, judge};

use super::inputs::{Input, InputValues};
use super::{Chosen, DriftOptions, DriftReport, Role, choose, schema_of, skew};
use crate::{Error, Profile};

pub(super) fn compare(
    reference: &Profile,
    current: &Profile,
    options: &DriftOptions,
) -> Result<DriftReport, Error> {
    let (before, after) = (schema_of(reference), schema_of(current));
    let (chosen, skipped) = choose(&before, &after, options)?;
    let inputs: Vec<Input> =
        chosen.iter().filter_map(|column| input(column, reference, current, options)).collect();
    let exact = inputs.iter().all(|input| match &input.values {
        InputValues::Numeric(a, b) => a.weights.is_none() && b.weights.is_none(),
        InputValues::Categorical(categories) => categories.complete,
    });
    let measured: Vec<Measured> = inputs.par_iter().map(|input| input.measure(&options.rules)).collect();
    let found = if options.pairs { pairs(reference, current, &chosen) } else { Vec::new() };
    let pairs: Vec<Pair<'_>> = found
        .iter()
        .map(|(columns, reference, current)| Pair {
            columns: (&columns[0], &columns[1]),
            reference: *reference,
            current: *current,
        })
        .collect();
    Ok(DriftReport {
        rows_reference: reference.rows(),
        rows_current: current.rows(),
        exact,
        schema: skew(&before, &after),
        skipped,
        verdict: judge(measured, &pairs, None, &options.rules),
    })
}

fn input(column: &Chosen, reference: &Profile, current: &Profile, options: &DriftOptions) -> Option<Input> {
    let values = match column.role {
        Role::Numeric => InputValues::Numeric(reference.side(&column.name)?, current.side(&column.name)?),
        Role::Categorical => InputValues::Categorical(reference.categories(current, &column.name)?),
    };
    Some(Input {
        name: column.name.clone(),
        importance: options.importance.get(&column.name).copied(),
        missing: (reference.missing(&column.name)?, current.missing(&column.name)?),
        values,
    })
}

/// Names of two columns, and r with the number of rows on either side.
pub(super) type FoundPair = ([String; 2], (f64, f64), (f64, f64));

/// The correlations that both sides have.
pub(super) fn pairs(reference: &Profile, current: &Profile, chosen: &[Chosen]) -> Vec<FoundPair> {
    let numeric =
        |name: &str| chosen.iter().any(|column| column.name == name && column.role == Role::Numeric);
    let after = current.correlations();
    reference
        .correlations()
        .into_iter()
        .filter(|(columns, _, _)| numeric(&columns[0]) && numeric(&columns[1]))
        .filter_map(|(columns, r, rows)| {
            let same =
                |other: &[String; 2]| *other == columns || (other[0] == columns[1] && other[1] == columns[0]);
            let (_, after, count) = after.iter().find(|(other, _, _)| same(other))?;
            Some((columns, (r, rows as f64), (*after, *count as f64)))
        })
        .collect()
}
