//! How much a category tells of another category or of a number.

use serde::{Deserialize, Serialize};

/// Cramér's V of a table of counts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CramersV {
    /// √(χ²/n / min(rows − 1, columns − 1)): scipy's `contingency.association(method="cramer")`.
    pub v: f64,
    /// The same corrected for its bias (W. Bergsma, J. Korean Stat. Soc. 42, 2013), zero where chance explains all of it.
    pub corrected: f64,
}

/// Cramér's V of counts, `(row, column, count)` with each pair at most once. `None` where a side has fewer than two categories.
pub fn cramers_v(counts: &[(usize, usize, f64)]) -> Option<CramersV> {
    let size = |side: &dyn Fn(&(usize, usize, f64)) -> usize| counts.iter().map(|one| side(one) + 1).max();
    let mut rows = vec![0.0; size(&|one| one.0)?];
    let mut columns = vec![0.0; size(&|one| one.1)?];
    for &(row, column, count) in counts {
        rows[row] += count;
        columns[column] += count;
    }
    let n: f64 = rows.iter().sum();
    let used = |side: &[f64]| side.iter().filter(|sum| **sum > 0.0).count() as f64;
    let (r, c) = (used(&rows), used(&columns));
    if r < 2.0 || c < 2.0 || n <= 1.0 {
        return None;
    }
    // Σ o²/(row·column) − 1 is χ²/n, and cells without rows add nothing to it.
    let sum: f64 = counts
        .iter()
        .filter(|(_, _, count)| *count > 0.0)
        .map(|&(row, column, count)| count * count / (rows[row] * columns[column]))
        .sum();
    let phi2 = (sum - 1.0).max(0.0);
    let left = (phi2 - (r - 1.0) * (c - 1.0) / (n - 1.0)).max(0.0);
    let shrunk = |k: f64| k - (k - 1.0).powi(2) / (n - 1.0);
    let least = (shrunk(r) - 1.0).min(shrunk(c) - 1.0);
    let v = (phi2 / (r.min(c) - 1.0)).sqrt().min(1.0);
    let corrected = if least > 0.0 { (left / least).sqrt().min(1.0) } else { 0.0 };
    Some(CramersV { v, corrected })
}

/// The correlation ratio of a number and groups.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CorrelationRatio {
    /// η: the root of the share of the variance that lies between groups.
    pub eta: f64,
    /// The same less what that many groups explain by chance (T. Kelley's ε, 1935).
    pub corrected: f64,
}

/// The correlation ratio of groups, each with its number of rows, mean and sum of squared deviations. `None` below two groups, without rows
/// to spare, or where the number does not vary.
pub fn correlation_ratio(groups: &[(f64, f64, f64)]) -> Option<CorrelationRatio> {
    let groups = || groups.iter().filter(|(count, _, _)| *count > 0.0);
    let (k, n) = (groups().count() as f64, groups().map(|(count, _, _)| count).sum::<f64>());
    if k < 2.0 || n <= k {
        return None;
    }
    let mean = groups().map(|(count, mean, _)| count * mean).sum::<f64>() / n;
    let between: f64 = groups().map(|(count, own, _)| count * (own - mean).powi(2)).sum();
    let within: f64 = groups().map(|(_, _, squares)| squares).sum();
    let share = between / (between + within);
    if !share.is_finite() {
        return None;
    }
    let corrected = (1.0 - (1.0 - share) * (n - 1.0) / (n - k)).max(0.0).sqrt();
    Some(CorrelationRatio { eta: share.sqrt(), corrected })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    }

    fn table(rows: &[&[f64]]) -> Vec<(usize, usize, f64)> {
        let of = |(row, counts): (usize, &&[f64])| {
            counts.iter().enumerate().map(move |(column, count)| (row, column, *count)).collect::<Vec<_>>()
        };
        rows.iter().enumerate().flat_map(of).collect()
    }

    #[test]
    fn cramers_v_is_that_of_scipy() {
        let counts = table(&[&[30.0, 10.0, 5.0], &[12.0, 25.0, 8.0], &[3.0, 9.0, 40.0], &[7.0, 7.0, 7.0]]);
        let found = cramers_v(&counts).unwrap();
        // scipy.stats.contingency.association(table, method="cramer"), and Bergsma's formula in numpy.
        close(found.v, 0.485_399_406_628_545_5);
        close(found.corrected, 0.468_836_582_675_441_3);
        let chance = cramers_v(&table(&[&[20.0, 21.0], &[19.0, 22.0], &[20.0, 20.0]])).unwrap();
        close(chance.v, 0.030_417_348_064_692_387);
        close(chance.corrected, 0.0);
        // One decides the other.
        let sure = cramers_v(&table(&[&[10.0, 0.0], &[0.0, 30.0]])).unwrap();
        close(sure.v, 1.0);
        close(sure.corrected, 1.0);
        assert_eq!(cramers_v(&table(&[&[10.0, 30.0]])), None);
        assert_eq!(cramers_v(&[]), None);
    }

    #[test]
    fn the_correlation_ratio_is_that_of_an_analysis_of_variance() {
        // From the F of scipy.stats.f_oneway([1,2,3,4], [2,4,6,8,9], [10,11,9]): F·2/(F·2 + 9).
        let found = correlation_ratio(&[(4.0, 2.5, 5.0), (5.0, 5.8, 32.8), (3.0, 10.0, 2.0)]).unwrap();
        close(found.eta, 0.841_361_936_539_133_5);
        close(found.corrected, 0.801_858_188_544_7);
        assert_eq!(correlation_ratio(&[(4.0, 2.5, 5.0)]), None);
        assert_eq!(correlation_ratio(&[(4.0, 2.5, 0.0), (4.0, 2.5, 0.0)]), None);
    }
}
