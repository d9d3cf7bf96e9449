//! Two shares: the pooled z-test, and Fisher's exact test where there are few hits.

use serde::{Deserialize, Serialize};

use crate::special::normal_two_sided;

/// With fewer hits than this expected on the smaller side, Fisher's exact test replaces the normal approximation.
pub const FEW_HITS: f64 = 10.0;

/// Probabilities within this relative distance of the observed one count as equal to it, as in R.
const TIE: f64 = 1.0 + 1e-7;

/// How a share differs between two samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProportionChange {
    /// Share on the reference side.
    pub share_reference: f64,
    /// Share on the current side.
    pub share_current: f64,
    /// Current minus reference.
    pub difference: f64,
    /// difference / √(p̄(1−p̄)(1/n_r+1/n_c)) with the pooled share p̄; `None` when p̄ is 0 or 1.
    pub z: Option<f64>,
    /// Two-sided p-value: of z, or of Fisher's exact test.
    pub p: f64,
    /// Whether `p` is Fisher's: p̄·min(n_r, n_c) < [`FEW_HITS`].
    pub exact: bool,
}

/// Compares `hits` of `rows` on both sides. Counts may be fractions (of a sketch, or scaled to an effective size);
/// Fisher's test rounds them. `None` if a side has no rows, or counts make no sense.
pub fn two_proportions(
    (hits_reference, rows_reference): (f64, f64),
    (hits_current, rows_current): (f64, f64),
) -> Option<ProportionChange> {
    let sensible = |hits: f64, rows: f64| rows > 0.0 && (0.0..=rows).contains(&hits);
    if !sensible(hits_reference, rows_reference) || !sensible(hits_current, rows_current) {
        return None;
    }
    let share_reference = hits_reference / rows_reference;
    let share_current = hits_current / rows_current;
    let difference = share_current - share_reference;
    let pooled = (hits_reference + hits_current) / (rows_reference + rows_current);
    let spread = pooled * (1.0 - pooled) * (1.0 / rows_reference + 1.0 / rows_current);
    let z = (spread > 0.0).then(|| difference / spread.sqrt());
    let exact = pooled * rows_reference.min(rows_current) < FEW_HITS;
    let p = if exact {
        let whole =
            |hits: f64, rows: f64| [hits.round() as u64, (rows.round() - hits.round()).max(0.0) as u64];
        fisher_exact([whole(hits_reference, rows_reference), whole(hits_current, rows_current)])
    } else {
        z.map_or(1.0, normal_two_sided)
    };
    Some(ProportionChange { share_reference, share_current, difference, z, p, exact })
}

/// Fisher's exact test of a 2 × 2 table, two-sided: the chance, given the margins, of a table no more likely than
/// this one.
///
/// Chances are products of ratios outwards from the most likely table, so that no logarithm of a factorial rounds them.
pub fn fisher_exact(table: [[u64; 2]; 2]) -> f64 {
    let [[a, b], [c, d]] = table;
    let (first, second, hits) = (a + b, c + d, a + c);
    let low = hits.saturating_sub(second);
    let high = hits.min(first);
    // Chance of x + 1 relative to x in the first cell.
    let up = |x: u64| {
        ((hits - x) as f64 * (first - x) as f64) / ((x + 1) as f64 * ((second + x + 1) - hits) as f64)
    };
    let mode = ((u128::from(hits) + 1) * (u128::from(first) + 1)
        / (u128::from(first) + u128::from(second) + 2)) as u64;
    let mode = mode.clamp(low, high);
    let rising = || {
        let mut weight = 1.0;
        (mode..high).map(move |x| {
            weight *= up(x);
            weight
        })
    };
    let falling = || {
        let mut weight = 1.0;
        (low..mode).rev().map(move |x| {
            weight /= up(x);
            weight
        })
    };
    let observed = if a >= mode {
        rising().take((a - mode) as usize).last()
    } else {
        falling().take((mode - a) as usize).last()
    };
    let limit = observed.unwrap_or(1.0) * TIE;
    let (mut all, mut extreme) = (0.0, 0.0);
    let weights = rising().take_while(|w| *w > 0.0).chain(falling().take_while(|w| *w > 0.0));
    for weight in std::iter::once(1.0).chain(weights) {
        all += weight;
        if weight <= limit {
            extreme += weight;
        }
    }
    f64::min(extreme / all, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fisher_by_hand() {
        // The lady tasting tea: 1, 16, 36, 16, 1 ways of 70.
        for (right, expected) in
            [(4, 2.0 / 70.0), (3, 34.0 / 70.0), (2, 1.0), (1, 34.0 / 70.0), (0, 2.0 / 70.0)]
        {
            let found = fisher_exact([[right, 4 - right], [4 - right, right]]);
            assert!((found - expected).abs() < 1e-15, "{right}: {found}");
        }
        assert_eq!(fisher_exact([[0, 0], [0, 0]]), 1.0);
        assert_eq!(fisher_exact([[0, 5], [0, 9]]), 1.0);
        assert_eq!(fisher_exact([[7, 0], [9, 0]]), 1.0);
    }

    #[test]
    fn few_hits_are_judged_exactly() {
        let few = two_proportions((0.0, 1_000.0), (9.0, 1_000.0)).unwrap();
        assert!(few.exact && few.p > 0.003 && few.p < 0.004, "{few:?}");
        let many = two_proportions((100.0, 1_000.0), (130.0, 1_000.0)).unwrap();
        assert!(!many.exact && (many.difference - 0.03).abs() < 1e-15);
        let none = two_proportions((0.0, 10.0), (0.0, 20.0)).unwrap();
        assert_eq!((none.p, none.z, none.exact), (1.0, None, true));
        let all = two_proportions((200.0, 200.0), (300.0, 300.0)).unwrap();
        assert_eq!((all.p, all.z, all.exact), (1.0, None, false));
        assert!(two_proportions((1.0, 0.0), (0.0, 1.0)).is_none());
        assert!(two_proportions((2.0, 1.0), (0.0, 1.0)).is_none());
    }
}
