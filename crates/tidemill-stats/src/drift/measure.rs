//! What is measured of one column, without a decision.

use serde::{Deserialize, Serialize};

use crate::categorical::{
    DomainChange, Homogeneity, LargestChange, ProportionChange, chances, domain_changes, homogeneity,
    largest_change, pool_rare, total_variation as total_variation_of, two_proportions,
};
use crate::divergence::{Divergences, bin_shares, decile_edges, divergences, psi_null_quantile, shares};
use crate::drift::{Column, Rules, Test, TestKind, TextFigures, Values};
use crate::sample::{Moments, Sample};
use crate::twosample::{KolmogorovSmirnov, distances, wasserstein_over_deviation};

/// The reference's quantiles outside of which the tail begins.
const TAIL: (f64, f64) = (0.005, 0.995);

/// Probability of the null quantile that is shown beside PSI.
const PSI_LEVEL: f64 = 0.95;

/// A measured column that waits for the decision over all columns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Name of the column.
    pub name: String,
    /// Importance as given.
    pub importance: Option<f64>,
    /// Tests that could be made; none is significant yet.
    pub tests: Vec<Test>,
    /// Figures.
    pub figures: Figures,
    /// Chances of false alarms by categories that fall on one side.
    pub(super) chances: Vec<f64>,
    /// Labels of the categories that a sentence may name: the one that moved most, then those of domain changes.
    pub(super) labels: Vec<String>,
}

/// All figures of a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Rows with a value on the reference side.
    pub rows_reference: f64,
    /// Rows with a value on the current side.
    pub rows_current: f64,
    /// Shares of missing values; `None` if a side has no rows at all.
    pub missing: Option<ProportionChange>,
    /// Figures of numbers.
    pub numeric: Option<NumericFigures>,
    /// Figures of categories.
    pub categorical: Option<CategoricalFigures>,
    /// Figures of texts that are no categories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<TextFigures>,
}

/// Figures of a numeric column with values on both sides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NumericFigures {
    /// Kolmogorov-Smirnov on all rows.
    pub ks: KolmogorovSmirnov,
    /// Wasserstein-1 distance.
    pub wasserstein: Option<f64>,
    /// The same in population standard deviations of the reference.
    pub wasserstein_over_deviation: Option<f64>,
    /// Change of the mean in standard deviations of the reference.
    pub mean_shift: Option<f64>,
    /// Means of both sides.
    pub means: (f64, f64),
    /// Medians of both sides.
    pub medians: (f64, f64),
    /// Shares outside of the reference's middle 99 %.
    pub tail: Option<Tail>,
    /// Inner edges of the decile bins.
    pub edges: Vec<f64>,
    /// Shares of both sides in the bins.
    pub bins: Vec<(f64, f64)>,
    /// Divergences over the bins.
    pub divergences: Option<Divergences>,
    /// What PSI stays below in 95 of 100 comparisons without drift.
    pub psi_null: f64,
}

/// Shares outside of the reference's quantiles .005 and .995.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tail {
    /// The lower quantile.
    pub low: f64,
    /// The upper quantile.
    pub high: f64,
    /// Shares outside, with test, on all rows.
    pub change: ProportionChange,
}

/// Figures of a categorical column with values on both sides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CategoricalFigures {
    /// Homogeneity over all categories and rows.
    pub chi_square: Homogeneity,
    /// Homogeneity with rare categories pooled, on all rows.
    pub pooled: Homogeneity,
    /// How many categories were pooled.
    pub rare: usize,
    /// Total variation distance.
    pub total_variation: f64,
    /// The same with rare categories pooled: what is left where every row has a value of its own. Not in reports from before it was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pooled_variation: Option<f64>,
    /// The category that moved most, with L-infinity.
    pub largest: LargestChange,
    /// New and gone categories that are alarms.
    pub domain: Vec<DomainChange>,
    /// Divergences over categories.
    pub divergences: Option<Divergences>,
    /// What PSI stays below in 95 of 100 comparisons without drift.
    pub psi_null: f64,
}

/// Runs the battery on one column.
///
/// Tests of values need `rules.min_rows` values a side; the test of missing values needs as many rows, so a column
/// that became all missing is still judged.
pub fn measure(column: &Column<'_>, rules: &Rules) -> Measured {
    let (rows_reference, rows_current) = match &column.values {
        Values::Numeric { reference, current, .. } => (reference.rows(), current.rows()),
        Values::Categorical { reference, current, .. } => (reference.iter().sum(), current.iter().sum()),
    };
    let mut found = Measured {
        name: column.name.to_owned(),
        importance: column.importance,
        tests: Vec::new(),
        figures: Figures {
            rows_reference,
            rows_current,
            missing: None,
            numeric: None,
            categorical: None,
            text: None,
        },
        chances: Vec::new(),
        labels: Vec::new(),
    };
    let enough = rows_reference >= rules.min_rows && rows_current >= rules.min_rows;
    match &column.values {
        Values::Numeric { reference, current, moments } => {
            numeric(&mut found, *reference, *current, *moments, enough, rules);
        }
        Values::Categorical { labels, reference, current, complete } => {
            categorical(&mut found, labels, (reference, current), *complete, enough, rules);
        }
    }
    missing(&mut found, column, rules);
    found
}

fn numeric(
    found: &mut Measured,
    reference: Sample<'_>,
    current: Sample<'_>,
    moments: Option<(Moments, Moments)>,
    enough: bool,
    rules: &Rules,
) {
    let Some(both) = distances(reference, current) else { return };
    let known = moments.or_else(|| Some((reference.moments()?, current.moments()?)));
    let Some((first, second)) = known else { return };
    let medians =
        (reference.quantile(0.5).unwrap_or(first.mean), current.quantile(0.5).unwrap_or(second.mean));
    let deviation = first.deviation();
    let edges = decile_edges(reference);
    let (old, new) = (bin_shares(reference, &edges), bin_shares(current, &edges));
    let occupied = old.iter().filter(|share| **share > 0.0).count();
    let tail = tail(reference, current, f64::INFINITY);
    let finite = |x: f64| x.is_finite().then_some(x);
    found.figures.numeric = Some(NumericFigures {
        ks: both.ks,
        wasserstein: both.wasserstein,
        wasserstein_over_deviation: both.wasserstein.and_then(|w| wasserstein_over_deviation(w, deviation)),
        mean_shift: (deviation > 0.0).then(|| (second.mean - first.mean) / deviation).and_then(finite),
        means: (first.mean, second.mean),
        medians,
        tail,
        divergences: divergences(&old, &new),
        bins: old.into_iter().zip(new).collect(),
        edges,
        psi_null: psi_null_quantile(PSI_LEVEL, occupied, reference.rows(), current.rows()),
    });
    if !enough {
        return;
    }
    let test = |kind, p, effect, floor| Test { kind, p, effect, floor, significant: false };
    found.tests.push(test(TestKind::Ks, both.ks.p_within(rules.cap), both.ks.statistic, rules.floors.ks));
    if let (Some(all), Some(capped)) = (tail, self::tail(reference, current, rules.cap)) {
        found.tests.push(test(
            TestKind::Tail,
            capped.change.p,
            all.change.difference.abs(),
            rules.floors.tail,
        ));
    }
}

/// The tail on sides of at most `cap` rows. What the sketches may be wrong by is taken off the difference before the
/// test.
fn tail(reference: Sample<'_>, current: Sample<'_>, cap: f64) -> Option<Tail> {
    let (low, high) = (reference.quantile(TAIL.0)?, reference.quantile(TAIL.1)?);
    let outside_reference = reference.share_outside(low, high);
    let mut outside = current.share_outside(low, high);
    if cap.is_finite() {
        // Each of the two ends of each side may be off by its rank error.
        let error = 2.0 * (reference.rank_error() + current.rank_error());
        let difference = outside - outside_reference;
        outside = outside_reference + difference.signum() * (difference.abs() - error).max(0.0);
    }
    let (n, m) = (reference.rows().min(cap), current.rows().min(cap));
    let hits = |share: f64, rows: f64| (share * rows).clamp(0.0, rows);
    // Exact samples have whole counts, which a product of share and rows may miss by one unit in the last place.
    let whole = |hits: f64| if (hits - hits.round()).abs() < 1e-6 { hits.round() } else { hits };
    let change = two_proportions((whole(hits(outside_reference, n)), n), (whole(hits(outside, m)), m))?;
    Some(Tail { low, high, change })
}

fn categorical(
    found: &mut Measured,
    labels: &[&str],
    (reference, current): (&[f64], &[f64]),
    complete: bool,
    enough: bool,
    rules: &Rules,
) {
    let (Some(chi_square), Some(rest)) = (homogeneity(reference, current), pool_rare(reference, current))
    else {
        return;
    };
    let (Some(pooled), Some(total_variation), Some(largest)) = (
        homogeneity(&rest.reference, &rest.current),
        total_variation_of(reference, current),
        largest_change(reference, current),
    ) else {
        return;
    };
    let (mut domain, mut possible) = (Vec::new(), Vec::new());
    if enough && complete {
        domain = domain_changes(reference, current, rules.domain);
        possible = chances(reference, current, rules.domain);
    }
    found.chances = possible;
    let name = |category: usize| {
        labels.get(category).map_or_else(|| format!("{category}"), |label| (*label).to_owned())
    };
    found.labels =
        std::iter::once(largest.category).chain(domain.iter().map(|d| d.category)).map(name).collect();
    let occupied = reference.iter().filter(|count| **count > 0.0).count();
    found.figures.categorical = Some(CategoricalFigures {
        chi_square,
        pooled,
        rare: rest.pooled,
        total_variation,
        pooled_variation: total_variation_of(&rest.reference, &rest.current),
        largest,
        domain,
        divergences: divergences(&shares(reference), &shares(current)),
        psi_null: psi_null_quantile(
            PSI_LEVEL,
            occupied,
            found.figures.rows_reference,
            found.figures.rows_current,
        ),
    });
    if !enough {
        return;
    }
    let p = capped_p(reference, current, rules.cap).unwrap_or(pooled.p);
    found.tests.push(Test {
        kind: TestKind::ChiSquare,
        p,
        effect: pooled.cramers_v_corrected,
        floor: rules.floors.cramers_v,
        significant: false,
    });
}

/// The pooled test on counts scaled to at most `cap` rows a side. `None` when neither side exceeds it.
pub(super) fn capped_p(reference: &[f64], current: &[f64], cap: f64) -> Option<f64> {
    let (n, m): (f64, f64) = (reference.iter().sum(), current.iter().sum());
    if n <= cap && m <= cap {
        return None;
    }
    let scale = |counts: &[f64], rows: f64| -> Vec<f64> {
        let factor = (cap / rows).min(1.0);
        counts.iter().map(|count| count * factor).collect()
    };
    let rest = pool_rare(&scale(reference, n), &scale(current, m))?;
    homogeneity(&rest.reference, &rest.current).map(|found| found.p)
}

fn missing(found: &mut Measured, column: &Column<'_>, rules: &Rules) {
    let (gone_r, gone_c) = (column.missing_reference as f64, column.missing_current as f64);
    let (n, m) = (found.figures.rows_reference + gone_r, found.figures.rows_current + gone_c);
    found.figures.missing = two_proportions((gone_r, n), (gone_c, m));
    let capped = |hits: f64, rows: f64| (hits * (rules.cap / rows).min(1.0), rows.min(rules.cap));
    if n < rules.min_rows || m < rules.min_rows {
        return;
    }
    let (Some(all), Some(test)) =
        (found.figures.missing, two_proportions(capped(gone_r, n), capped(gone_c, m)))
    else {
        return;
    };
    found.tests.push(Test {
        kind: TestKind::Missing,
        p: test.p,
        effect: all.difference.abs(),
        floor: rules.floors.missing,
        significant: false,
    });
}
