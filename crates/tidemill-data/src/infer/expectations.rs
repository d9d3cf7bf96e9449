//! Expectations that hold on the table now and leave room for what may come.

use serde_json::Value;
use tidemill_core::declare::{Expectation, Rule, Severity};

use super::{ColumnProposal, Role};
use crate::profile::ColumnStats;
use crate::{ColumnType, Profile};

/// Most values of a set that is worth writing down.
const MOST_LISTED: u64 = 20;

pub(super) fn expectations(
    profile: &Profile,
    stats: &[ColumnStats],
    columns: &[ColumnProposal],
    key: &[String],
) -> Vec<Expectation> {
    let error = |rule| Expectation { severity: Some(Severity::Error), ..Expectation::new(rule) };
    let warn = |rule| Expectation { severity: Some(Severity::Warn), ..Expectation::new(rule) };
    let mut found = vec![error(Rule::RowCount { min: Some((profile.rows() / 2).max(1)), max: None })];
    let used = |role: Role| !matches!(role, Role::Constant | Role::Unsupported | Role::Text);
    let pairs: Vec<(&ColumnStats, Role)> =
        stats.iter().zip(columns.iter().map(|column| column.role)).collect();
    let types = pairs.iter().filter(|(stats, role)| used(*role) && stats.column_type != ColumnType::Other);
    found.push(error(Rule::Schema(
        types.map(|(stats, _)| (stats.name.clone(), stats.column_type.to_string())).collect(),
    )));
    let full: Vec<String> = pairs
        .iter()
        .filter(|(stats, role)| used(*role) && stats.nulls == 0 && stats.count > 0)
        .map(|(stats, _)| stats.name.clone())
        .collect();
    if !full.is_empty() {
        found.push(error(Rule::NotNull(full)));
    }
    if !key.is_empty() {
        found.push(error(Rule::Unique(key.to_vec())));
    }
    for (stats, role) in pairs {
        let column = stats.name.clone();
        match (role, stats.column_type) {
            (Role::Categorical | Role::Target, ColumnType::String | ColumnType::Int)
                if stats.distinct.exact && stats.distinct.estimate <= MOST_LISTED =>
            {
                let values = profile.values(&column).unwrap_or_default();
                let mut values: Vec<Value> = values.into_iter().map(|(value, _)| value).collect();
                values.sort_by(|a, b| {
                    a.as_f64()
                        .partial_cmp(&b.as_f64())
                        .filter(|order| order.is_ne())
                        .unwrap_or_else(|| a.to_string().cmp(&b.to_string()))
                });
                // A class that training never saw is an error, a new category only worth a look.
                let rule = Rule::InSet { column, values };
                found.push(if role == Role::Target { error(rule) } else { warn(rule) });
            }
            (Role::Numeric | Role::Target, ColumnType::Int | ColumnType::Float) => {
                if let Some((min, max)) = bounds(stats) {
                    found.push(warn(Rule::Between { column, min: Some(min), max: Some(max) }));
                }
            }
            _ => {}
        }
    }
    found
}

/// The range widened by half of its width on both sides, but not below 0 where nothing is, rounded outward to two
/// digits.
fn bounds(stats: &ColumnStats) -> Option<(Value, Value)> {
    let (min, max) = (stats.min.as_ref()?.as_f64()?, stats.max.as_ref()?.as_f64()?);
    let slack = ((max - min) / 2.0).max(max.abs() * 0.1);
    let low = if min >= 0.0 { (min - slack).max(0.0) } else { min - slack };
    let high = if max <= 0.0 { (max + slack).min(0.0) } else { max + slack };
    let value = |number: f64| match stats.column_type {
        ColumnType::Int if number.abs() < 9e15 => Some(Value::from(number as i64)),
        ColumnType::Int => None,
        _ => serde_json::Number::from_f64(number).map(Value::Number),
    };
    let whole = stats.column_type == ColumnType::Int;
    value(outward(low, f64::floor, whole)).zip(value(outward(high, f64::ceil, whole)))
}

/// Two digits, rounded by `round`.
fn outward(value: f64, round: fn(f64) -> f64, whole: bool) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let digits = value.abs().log10().floor() as i32 - 1;
    if digits < 0 {
        // Divided by a whole power of ten, so that the result is the number people would write.
        let unit = 10_f64.powi(-digits);
        let rounded = round(value * unit) / unit;
        return if whole { round(rounded) } else { rounded };
    }
    let unit = 10_f64.powi(digits);
    round(value / unit) * unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_rounded_outward_to_two_digits() {
        for (value, down, up) in [
            (0.0, 0.0, 0.0),
            (4983.0, 4900.0, 5000.0),
            (-43.5, -44.0, -43.0),
            (0.123, 0.12, 0.13),
            (7.25, 7.2, 7.3),
        ] {
            assert_eq!(outward(value, f64::floor, false), down, "{value}");
            assert_eq!(outward(value, f64::ceil, false), up, "{value}");
        }
    }
}
