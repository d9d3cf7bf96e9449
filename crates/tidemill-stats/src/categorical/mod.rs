//! Two sets of counts: categories, and yes or no.

mod domain;
mod proportion;

use serde::{Deserialize, Serialize};

pub use domain::{DomainChange, DomainKind, DomainRule, chances, domain_changes, largest_chance};
pub use proportion::{FEW_HITS, ProportionChange, fisher_exact, two_proportions};

use crate::special::chi_square_above;

/// Categories whose expected count on the smaller side is below this are pooled before testing.
pub const RARE: f64 = 5.0;

/// Pearson's test of homogeneity on a 2 × K table, without Yates' correction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Homogeneity {
    /// Σ (observed − expected)²/expected over both rows.
    pub chi2: f64,
    /// K − 1, where K counts categories that occur.
    pub degrees: f64,
    /// Upper tail of the chi-square distribution; one if only one category occurs.
    pub p: f64,
    /// Cramér's V: √(chi2/(n_r+n_c)), since min(rows, columns) − 1 is one.
    pub cramers_v: f64,
    /// V corrected for its bias (W. Bergsma, J. Korean Stat. Soc. 42, 2013), zero where chance explains all of it.
    pub cramers_v_corrected: f64,
}

/// Tests whether two samples share their distribution over categories. Entry k of both slices counts category k;
/// categories without any row are left out. `None` if a side has no rows, or the slices differ in length.
pub fn homogeneity(reference: &[f64], current: &[f64]) -> Option<Homogeneity> {
    let (n, m) = totals(reference, current)?;
    let total = n + m;
    let (mut chi2, mut categories) = (0.0, 0.0);
    for (&r, &c) in reference.iter().zip(current) {
        let both = r + c;
        if both > 0.0 {
            let (expected_r, expected_c) = (both * n / total, both * m / total);
            chi2 += (r - expected_r).powi(2) / expected_r + (c - expected_c).powi(2) / expected_c;
            categories += 1.0;
        }
    }
    let degrees: f64 = categories - 1.0;
    let p = if degrees > 0.0 { chi_square_above(chi2, degrees) } else { 1.0 };
    let corrected = bergsma(chi2 / total, categories, total);
    Some(Homogeneity { chi2, degrees, p, cramers_v: (chi2 / total).sqrt(), cramers_v_corrected: corrected })
}

/// Bergsma's correction for a table of 2 × `categories` with mean square contingency `phi2`.
fn bergsma(phi2: f64, categories: f64, total: f64) -> f64 {
    if total <= 1.0 || categories < 2.0 {
        return 0.0;
    }
    let left = (phi2 - (categories - 1.0) / (total - 1.0)).max(0.0);
    let rows = 2.0 - 1.0 / (total - 1.0);
    let columns = categories - (categories - 1.0).powi(2) / (total - 1.0);
    let least = (rows - 1.0).min(columns - 1.0);
    if least > 0.0 { (left / least).sqrt() } else { 0.0 }
}

/// Both sides with rare categories merged into one.
#[derive(Clone, Debug, PartialEq)]
pub struct Pooled {
    /// Counts of the reference: the categories that stay, and the pool last if there is one.
    pub reference: Vec<f64>,
    /// Counts of the current side, in the same order.
    pub current: Vec<f64>,
    /// How many categories went into the pool.
    pub pooled: usize,
}

/// Merges all categories that occur but are expected fewer than [`RARE`] times on the smaller side, given the shares
/// of both sides together. `None` as for [`homogeneity`].
pub fn pool_rare(reference: &[f64], current: &[f64]) -> Option<Pooled> {
    let (n, m) = totals(reference, current)?;
    let smaller = n.min(m) / (n + m);
    let mut result = Pooled { reference: Vec::new(), current: Vec::new(), pooled: 0 };
    let (mut pool_r, mut pool_c) = (0.0, 0.0);
    for (&r, &c) in reference.iter().zip(current) {
        if r + c <= 0.0 {
            continue;
        }
        if (r + c) * smaller < RARE {
            pool_r += r;
            pool_c += c;
            result.pooled += 1;
        } else {
            result.reference.push(r);
            result.current.push(c);
        }
    }
    if result.pooled > 0 {
        result.reference.push(pool_r);
        result.current.push(pool_c);
    }
    Some(result)
}

/// Half of the sum of absolute differences of shares: the share of rows that would have to change category. `None` as for
/// [`homogeneity`].
pub fn total_variation(reference: &[f64], current: &[f64]) -> Option<f64> {
    let (n, m) = totals(reference, current)?;
    Some(0.5 * reference.iter().zip(current).map(|(r, c)| (c / m - r / n).abs()).sum::<f64>())
}

/// The category whose share changed most.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LargestChange {
    /// Position of the category.
    pub category: usize,
    /// Its share on the reference side.
    pub share_reference: f64,
    /// Its share on the current side.
    pub share_current: f64,
    /// Largest absolute difference of shares: TFDV's L-infinity.
    pub l_infinity: f64,
}

/// The largest absolute difference of shares and where it is; the first of equals. `None` as for [`homogeneity`].
pub fn largest_change(reference: &[f64], current: &[f64]) -> Option<LargestChange> {
    let (n, m) = totals(reference, current)?;
    let mut largest: Option<LargestChange> = None;
    for (category, (r, c)) in reference.iter().zip(current).enumerate() {
        let (share_reference, share_current) = (r / n, c / m);
        let l_infinity = (share_current - share_reference).abs();
        if largest.is_none_or(|before| l_infinity > before.l_infinity) {
            largest = Some(LargestChange { category, share_reference, share_current, l_infinity });
        }
    }
    largest
}

/// Rows of both sides, if the slices fit and both have some.
fn totals(reference: &[f64], current: &[f64]) -> Option<(f64, f64)> {
    let n: f64 = reference.iter().sum();
    let m: f64 = current.iter().sum();
    (reference.len() == current.len() && n > 0.0 && m > 0.0).then_some((n, m))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_shares_have_no_distance() {
        let found = homogeneity(&[10.0, 20.0, 0.0], &[100.0, 200.0, 0.0]).unwrap();
        assert_eq!((found.chi2, found.degrees, found.p), (0.0, 1.0, 1.0));
        assert_eq!((found.cramers_v, found.cramers_v_corrected), (0.0, 0.0));
        assert_eq!(total_variation(&[1.0, 1.0], &[5.0, 5.0]), Some(0.0));
    }

    #[test]
    fn what_cannot_be_compared_has_no_figure() {
        for (r, c) in [(&[][..], &[][..]), (&[1.0], &[0.0]), (&[1.0], &[1.0, 2.0])] {
            assert!(homogeneity(r, c).is_none() && total_variation(r, c).is_none());
            assert!(largest_change(r, c).is_none() && pool_rare(r, c).is_none());
        }
        let one = homogeneity(&[5.0], &[7.0]).unwrap();
        assert_eq!((one.degrees, one.p, one.cramers_v_corrected), (0.0, 1.0, 0.0));
    }

    #[test]
    fn rare_categories_are_one_at_the_end() {
        // The smaller side has 100 of 300 rows, so 15 rows in both are 5 expected ones.
        let pooled = pool_rare(&[80.0, 5.0, 4.0, 0.0, 11.0], &[150.0, 10.0, 10.0, 0.0, 30.0]).unwrap();
        assert_eq!(pooled.reference, [80.0, 5.0, 11.0, 4.0]);
        assert_eq!(pooled.current, [150.0, 10.0, 30.0, 10.0]);
        assert_eq!(pooled.pooled, 1);
    }

    #[test]
    fn the_category_that_moved_is_named() {
        let found = largest_change(&[50.0, 30.0, 20.0], &[52.0, 10.0, 38.0]).unwrap();
        assert_eq!((found.category, found.share_reference, found.share_current), (1, 0.3, 0.1));
        assert!((total_variation(&[50.0, 30.0, 20.0], &[52.0, 10.0, 38.0]).unwrap() - 0.2).abs() < 1e-15);
    }
}
