//! Categories that appear or disappear: an alarm of the domain, not a test of shares.

use serde::{Deserialize, Serialize};

/// When a category that only one side has is an alarm. All conditions must hold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DomainRule {
    /// Least share of the rows of its side.
    pub share: f64,
    /// Least number of rows.
    pub rows: f64,
    /// Largest chance that all of its rows fall on one side by luck. With sides of equal size ten rows have 0.001; a side
    /// three times as large needs 25.
    pub chance: f64,
    /// Expected number of false alarms in a whole table; with many rare categories it lowers `chance`.
    pub false_alarms: f64,
}

impl Default for DomainRule {
    fn default() -> Self {
        Self { share: 0.001, rows: 10.0, chance: 0.001, false_alarms: 0.005 }
    }
}

/// What happened to a category.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DomainKind {
    /// Only the current side has it.
    New,
    /// Only the reference side has it.
    Gone,
}

/// A category that only one side has, often enough to be an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DomainChange {
    /// Position of the category.
    pub category: usize,
    /// New or gone.
    pub kind: DomainKind,
    /// Its rows on the side that has it.
    pub rows: f64,
    /// Its share there.
    pub share: f64,
    /// The chance that all of its rows fall on that side by luck.
    pub chance: f64,
}

/// All new and gone categories that meet `rule`, the largest share first.
pub fn domain_changes(reference: &[f64], current: &[f64], rule: DomainRule) -> Vec<DomainChange> {
    let n: f64 = reference.iter().sum();
    let m: f64 = current.iter().sum();
    let mut changes: Vec<DomainChange> = reference
        .iter()
        .zip(current)
        .enumerate()
        .filter_map(|(category, (&r, &c))| {
            let (kind, rows, side) = match (r > 0.0, c > 0.0) {
                (false, true) => (DomainKind::New, c, m),
                (true, false) => (DomainKind::Gone, r, n),
                _ => return None,
            };
            let chance = (side / (n + m)).powf(rows);
            let share = rows / side;
            (share >= rule.share && rows >= rule.rows && chance <= rule.chance).then_some(DomainChange {
                category,
                kind,
                rows,
                share,
                chance,
            })
        })
        .collect();
    changes.sort_by(|a, b| b.share.total_cmp(&a.share));
    changes
}

/// Smaller chances than this are not listed: a million of them are no false alarm.
const NEGLIGIBLE: f64 = 1e-9;

/// For every category with enough rows on both sides together: the chances that all of them fall on the one or the
/// other side, as far as these would be an alarm under `rule`. Their sum is the expected number of false alarms in
/// the column.
pub fn chances(reference: &[f64], current: &[f64], rule: DomainRule) -> Vec<f64> {
    let n: f64 = reference.iter().sum();
    let m: f64 = current.iter().sum();
    let possible = |chance: &f64| (NEGLIGIBLE..=rule.chance).contains(chance);
    reference
        .iter()
        .zip(current)
        .map(|(r, c)| r + c)
        .filter(|rows| *rows >= rule.rows)
        .flat_map(|rows| [(n / (n + m)).powf(rows), (m / (n + m)).powf(rows)])
        .filter(possible)
        .collect()
}

/// The largest chance up to which the alarms of a table are believed, given the [`chances`] of all of its columns:
/// the expected number of false alarms stays within the rule (R. Tarone's argument for discrete tests, Biometrics 46,
/// 1990: given its total, a category that could not alarm costs nothing).
pub fn largest_chance(mut chances: Vec<f64>, rule: DomainRule) -> f64 {
    chances.sort_unstable_by(f64::total_cmp);
    let mut sum = 0.0;
    for chance in chances {
        sum += chance;
        if sum > rule.false_alarms {
            // Equal chances stand or fall together.
            return f64::from_bits(chance.to_bits() - 1).min(rule.chance);
        }
    }
    rule.chance
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_needs_share_rows_and_surprise() {
        let kinds = |r: &[f64], c: &[f64]| -> Vec<(usize, DomainKind)> {
            domain_changes(r, c, DomainRule::default()).iter().map(|d| (d.category, d.kind)).collect()
        };
        assert_eq!(kinds(&[1_000.0, 0.0], &[990.0, 10.0]), [(1, DomainKind::New)]);
        assert_eq!(kinds(&[1_000.0, 0.0], &[991.0, 9.0]), []);
        assert_eq!(
            kinds(&[1_000.0, 20.0, 30.0], &[900.0, 0.0, 0.0]),
            [(2, DomainKind::Gone), (1, DomainKind::Gone)]
        );
        // A hundred of 1,000,000 rows is under a thousandth.
        assert_eq!(kinds(&[1e6, 0.0], &[1e6, 100.0]), []);
        // Twelve rows of a side that is ten times as large are no surprise; a hundred are.
        assert_eq!(kinds(&[1_000.0, 0.0], &[10_000.0, 12.0]), []);
        assert_eq!(kinds(&[1_000.0, 0.0], &[10_000.0, 100.0]), [(1, DomainKind::New)]);
    }

    #[test]
    fn many_rare_categories_make_an_alarm_rarer() {
        let rule = DomainRule::default();
        let limit = |rare: usize| {
            let counts: Vec<f64> = std::iter::once(10_000.0).chain(std::iter::repeat_n(5.0, rare)).collect();
            largest_chance(chances(&counts, &counts, rule), rule)
        };
        // Ten rows on one side by luck: 2·0.5¹⁰ false alarms a category.
        assert_eq!((limit(0), limit(2)), (rule.chance, rule.chance));
        assert!(limit(3) < 0.5_f64.powi(10) && limit(3) > 0.5_f64.powi(11));
        assert_eq!(largest_chance(Vec::new(), rule), rule.chance);
    }
}
