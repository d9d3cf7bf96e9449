//! The battery's inputs from two profiles.

use rayon::prelude::*;
use tidemill_stats::drift::Measured;

use super::inputs::{Input, InputValues};
use super::{
    Chosen, DriftOptions, DriftReport, FoundPair, Role, choose, decide, of_role, sampled, schema_of, skew,
};
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
        InputValues::Categorical(categories) | InputValues::Text(categories, _) => categories.complete,
    });
    let measured: Vec<Measured> = inputs.par_iter().map(|input| input.measure(&options.rules)).collect();
    let numeric = of_role(&chosen, Role::Numeric);
    let mut found = if options.pairs { pairs(reference, current, &numeric) } else { Vec::new() };
    if options.sampled {
        found.extend(sampled::pairs(reference, current, &chosen, options));
    }
    Ok(DriftReport {
        rows_reference: reference.rows(),
        rows_current: current.rows(),
        exact,
        schema: skew(&before, &after),
        skipped,
        verdict: decide(measured, &found, options),
    })
}

fn input(column: &Chosen, reference: &Profile, current: &Profile, options: &DriftOptions) -> Option<Input> {
    let values = match column.role {
        Role::Numeric => InputValues::Numeric(reference.side(&column.name)?, current.side(&column.name)?),
        Role::Categorical => reference.category_values(current, &column.name)?,
    };
    let missing = (reference.missing(&column.name)?, current.missing(&column.name)?);
    Some(Input::new(column, missing, values, options))
}

/// The correlations of numeric columns that both sides have.
pub(super) fn pairs(reference: &Profile, current: &Profile, numeric: &[&Chosen]) -> Vec<FoundPair> {
    let numeric = |name: &str| numeric.iter().any(|column| column.name == name);
    let after = current.correlations();
    reference
        .correlations()
        .into_iter()
        .filter(|(columns, _, _)| numeric(&columns[0]) && numeric(&columns[1]))
        .filter_map(|(columns, r, rows)| {
            let same =
                |other: &[String; 2]| *other == columns || (other[0] == columns[1] && other[1] == columns[0]);
            let (_, after, count) = after.iter().find(|(other, _, _)| same(other))?;
            Some(FoundPair {
                columns,
                reference: (r, rows as f64),
                current: (*after, *count as f64),
                sampled: None,
            })
        })
        .collect()
}
