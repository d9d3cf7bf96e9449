//! Pairs of columns from the samples of rows that two profiles have.

use rayon::prelude::*;
use tidemill_stats::dependence::{Beside, change};

use super::{Chosen, DriftOptions, FoundPair, FoundSample, Role};
use crate::Profile;

/// Most columns whose pairs are looked at: those that matter most to the model. Their pairs are a tenth of a second's work.
pub(super) const MOST: usize = 40;

/// The columns in the order of what they matter to the model.
pub(super) fn by_importance<'a>(chosen: &'a [Chosen], options: &DriftOptions) -> Vec<&'a Chosen> {
    let mut columns: Vec<&Chosen> = chosen.iter().collect();
    let importance = |column: &Chosen| options.importance.get(&column.name).copied().unwrap_or(0.0);
    columns.sort_by(|a, b| importance(b).total_cmp(&importance(a)));
    columns
}

/// The associations of all columns that both samples have.
pub(super) fn pairs(
    reference: &Profile,
    current: &Profile,
    chosen: &[Chosen],
    options: &DriftOptions,
) -> Vec<FoundPair> {
    let beside: Vec<(&str, Beside)> = by_importance(chosen, options)
        .into_iter()
        .filter_map(|column| {
            let name = column.name.as_str();
            let are_numbers = column.role == Role::Numeric;
            let sides = (reference.sampled(name, are_numbers)?, current.sampled(name, are_numbers)?);
            Some((name, Beside::new(sides.0, sides.1)?))
        })
        .take(MOST)
        .collect();
    let places: Vec<(usize, usize)> =
        (0..beside.len()).flat_map(|i| (i + 1..beside.len()).map(move |j| (i, j))).collect();
    places
        .into_par_iter()
        .filter_map(|(i, j)| {
            let ((left, a), (right, b)) = (&beside[i], &beside[j]);
            let found = change(a, b, options.rules.min_rows)?;
            let label = |name: &str, code: Option<u32>| {
                code.and_then(|code| current.label_of(name, code).or_else(|| reference.label_of(name, code)))
            };
            Some(FoundPair {
                columns: [(*left).to_owned(), (*right).to_owned()],
                reference: (found.reference, found.rows.0),
                current: (found.current, found.rows.1),
                sampled: Some(FoundSample {
                    z: found.z,
                    p: found.p,
                    of: [label(left, found.categories.0), label(right, found.categories.1)],
                }),
            })
        })
        .collect()
}
