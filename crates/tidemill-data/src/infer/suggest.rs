//! More expectations than a new project begins with: what the table suggests, for people to choose from.
//!
//! The rules are those of Deequ's suggestions (Schelter et al., "Automating large-scale data quality verification", VLDB 2018)
//! with Wilson's interval: a share that was seen is demanded only as far as another table of this size would keep it.

use serde_json::Value;
use tidemill_core::declare::{Bounds, Expectation, Rule, Severity};

use super::{ColumnProposal, Role, expectations, roles};
use crate::profile::ColumnStats;
use crate::{ColumnType, Error, Profile, Table};

/// Share of the values that a set of the most frequent ones must cover to be proposed.
const COVERED: f64 = 0.9;
/// The level of intervals of shares.
const LEVEL: f64 = 0.99;

/// Expectations that hold on `table`: those that a new project begins with, and bounds for nulls, lengths and rarer values.
/// `target` is the column that is predicted, if one is: its classes are an error when they change.
///
/// # Errors
/// What reading the table gives.
pub fn suggest(table: &Table, target: Option<&str>) -> Result<Vec<Expectation>, Error> {
    let profile = Profile::of(table)?;
    let stats = profile.describe();
    let columns = roles::roles(&stats, target.unwrap_or_default());
    let key = super::key(&stats, &columns);
    let mut expect = expectations::expectations(&profile, &stats, &columns, &key);
    for (stats, column) in stats.iter().zip(&columns) {
        expect.extend(more(stats, column));
    }
    Ok(expect)
}

fn more(stats: &ColumnStats, column: &ColumnProposal) -> Vec<Expectation> {
    let warn = |rule| Expectation { severity: Some(Severity::Warn), ..Expectation::new(rule) };
    let mut found = Vec::new();
    let rows = stats.count + stats.nulls;
    if stats.count == 0 {
        return found;
    }
    if stats.nulls > 0 {
        let max = up(wilson(stats.nulls, rows).1);
        if max < 1.0 {
            let name = stats.name.clone();
            found.push(warn(Rule::NullShare(Bounds { column: name, min: None, max: Some(max) })));
        }
    }
    let listed = stats.distinct.exact && stats.distinct.estimate <= 20;
    let text = stats.column_type == ColumnType::String;
    if text && !listed && matches!(column.role, Role::Categorical | Role::Id) {
        let covered: u64 = stats.top.iter().map(|top| top.count).sum();
        let least = wilson(covered, stats.count).0;
        if least >= COVERED {
            let values: Vec<Value> = stats.top.iter().map(|top| top.value.clone()).collect();
            found.push(Expectation {
                mostly: Some((least * 100.0).floor() / 100.0),
                ..warn(Rule::InSet { column: stats.name.clone(), values })
            });
        }
        if let (Some(min), Some(max)) = (stats.min_length, stats.max_length) {
            // Names of one length stay so; others may grow by half.
            let slack = if min == max { 0 } else { (max - min).div_ceil(2) };
            found.push(warn(Rule::Length(Bounds {
                column: stats.name.clone(),
                min: Some(min.saturating_sub(slack) as f64),
                max: Some((max + slack) as f64),
            })));
        }
    }
    found
}

/// Wilson's interval of a share; of no rows nothing is known.
fn wilson(hits: u64, rows: u64) -> (f64, f64) {
    let found = tidemill_stats::interval::wilson(hits as f64, rows as f64, LEVEL);
    found.map_or((0.0, 1.0), |found| (found.low, found.high))
}

/// Rounded up to three decimals.
fn up(share: f64) -> f64 {
    (share * 1000.0).ceil() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_wilsons() {
        // scipy.stats.binomtest(hits, 100).proportion_ci(0.99, method="wilson").
        for (hits, low, high) in [(10, 0.046_025_8, 0.203_750_7), (0, 0.0, 0.062_220_7)] {
            let found = wilson(hits, 100);
            assert!((found.0 - low).abs() < 1e-4 && (found.1 - high).abs() < 1e-4, "{found:?}");
        }
        assert_eq!(up(0.01221), 0.013);
    }
}
