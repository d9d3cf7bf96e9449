//! What must hold whatever the numbers are.

use proptest::prelude::*;
use tidemill_stats::categorical::{fisher_exact, homogeneity, total_variation};
use tidemill_stats::divergence::{divergences, shares};
use tidemill_stats::estimate::{Isotonic, cbpe};
use tidemill_stats::interval::{auc, clopper_pearson, mcnemar, newcombe, wilson};
use tidemill_stats::multiple::benjamini_hochberg;
use tidemill_stats::quality::{kitagawa, weighted_auc};
use tidemill_stats::sample::{Sample, sorted};
use tidemill_stats::sequential::{Tally, ln_evidence, radius};
use tidemill_stats::special;
use tidemill_stats::twosample::{distances, mann_whitney};

fn values() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec((-20_i32..20).prop_map(|x| f64::from(x) / 4.0), 1..60).prop_map(sorted)
}

fn counts() -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> {
    prop::collection::vec((0_u32..50, 0_u32..50), 2..12).prop_filter_map("a side is empty", |pairs| {
        let (r, c): (Vec<f64>, Vec<f64>) =
            pairs.into_iter().map(|(r, c)| (f64::from(r), f64::from(c))).unzip();
        (r.iter().sum::<f64>() > 0.0 && c.iter().sum::<f64>() > 0.0).then_some((r, c))
    })
}

proptest! {
    #[test]
    fn two_sample_figures_are_symmetric_and_bounded(a in values(), b in values()) {
        let (x, y) = (Sample::exact(&a), Sample::exact(&b));
        let (there, back) = (distances(x, y).unwrap(), distances(y, x).unwrap());
        prop_assert_eq!(there.ks.statistic, back.ks.statistic);
        prop_assert!((0.0..=1.0).contains(&there.ks.statistic));
        prop_assert!((0.0..=1.0).contains(&there.ks.p));
        let exact = (there.ks.exact_p().unwrap(), back.ks.exact_p().unwrap());
        prop_assert!((exact.0 - exact.1).abs() < 1e-12 && (0.0..=1.0).contains(&exact.0));
        let (w, v) = (there.wasserstein.unwrap(), back.wasserstein.unwrap());
        prop_assert!(w >= 0.0 && (w - v).abs() < 1e-12);
        // Wasserstein is at most the distance times the range, and at least the difference of the means.
        prop_assert!(w <= there.ks.statistic * 10.0 + 1e-12);
        let mean = |sample: Sample<'_>| sample.moments().unwrap().mean;
        prop_assert!(w >= (mean(x) - mean(y)).abs() - 1e-12);
        let u = (mann_whitney(x, y).unwrap(), mann_whitney(y, x).unwrap());
        prop_assert!((u.0.p - u.1.p).abs() < 1e-12);
        prop_assert!((u.0.larger_share + u.1.larger_share - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_sample_is_at_no_distance_from_itself(a in values()) {
        let found = distances(Sample::exact(&a), Sample::exact(&a)).unwrap();
        prop_assert_eq!((found.ks.statistic, found.ks.p, found.wasserstein), (0.0, 1.0, Some(0.0)));
    }

    #[test]
    fn p_values_fall_with_the_distance(n in 1_u32..3_000, steps in 1_usize..40) {
        let at = |step: usize| {
            tidemill_stats::twosample::distance_p(step as f64 / 40.0, 2.0 * f64::from(n), 2.0 * f64::from(n))
        };
        prop_assert!(at(steps) <= at(steps - 1) + 1e-12);
    }

    #[test]
    fn figures_of_counts_are_symmetric_and_bounded((r, c) in counts()) {
        let (there, back) = (homogeneity(&r, &c).unwrap(), homogeneity(&c, &r).unwrap());
        prop_assert!((there.chi2 - back.chi2).abs() <= 1e-9 * there.chi2.max(1.0));
        prop_assert!((0.0..=1.0).contains(&there.p) && there.cramers_v <= 1.0 + 1e-12);
        prop_assert!((0.0..=1.0 + 1e-9).contains(&there.cramers_v_corrected));
        let (p, q) = (shares(&r), shares(&c));
        let (d, e) = (divergences(&p, &q).unwrap(), divergences(&q, &p).unwrap());
        let tv = total_variation(&r, &c).unwrap();
        prop_assert!((0.0..=1.0 + 1e-12).contains(&tv));
        prop_assert!((d.psi - e.psi).abs() < 1e-9 && d.psi >= -1e-12);
        prop_assert!((d.js_bits - e.js_bits).abs() < 1e-12 && (0.0..=1.0 + 1e-12).contains(&d.js_bits));
        // Hellinger's distance bounds the total variation on both sides.
        prop_assert!(d.hellinger.powi(2) <= tv + 1e-12 && tv <= d.hellinger * 2.0_f64.sqrt() + 1e-12);
    }

    #[test]
    fn fisher_does_not_mind_turning_the_table(a in 0_u64..40, b in 0_u64..40, c in 0_u64..40, d in 0_u64..40) {
        let p = fisher_exact([[a, b], [c, d]]);
        prop_assert!((0.0..=1.0).contains(&p));
        for turned in [[[c, d], [a, b]], [[b, a], [d, c]], [[a, c], [b, d]]] {
            prop_assert!((fisher_exact(turned) - p).abs() < 1e-12);
        }
    }

    #[test]
    fn adjusted_values_keep_their_order(p in prop::collection::vec(0.0..=1.0, 1..40)) {
        let adjusted = benjamini_hochberg(&p);
        for (i, x) in p.iter().enumerate() {
            prop_assert!(adjusted[i] >= *x && adjusted[i] <= 1.0);
            for (j, y) in p.iter().enumerate() {
                prop_assert!(x > y || adjusted[i] <= adjusted[j]);
            }
        }
    }

    #[test]
    fn quantiles_invert_their_distributions(p in 1e-6..0.999_999, degrees in 0.5..500.0) {
        prop_assert!((special::normal_below(special::normal_quantile(p)) - p).abs() < 1e-12);
        prop_assert!((1.0 - special::chi_square_above(special::chi_square_quantile(p, degrees), degrees) - p).abs() < 1e-9);
        prop_assert!((1.0 - special::student_above(special::student_quantile(p, degrees), degrees) - p).abs() < 1e-9);
        let x = special::beta_quantile(p, degrees, 3.0);
        prop_assert!((special::beta_share(degrees, 3.0, x, 1.0 - x) - p).abs() < 1e-9);
    }

    #[test]
    fn intervals_of_proportions_contain_them_and_shrink_with_the_level(
        hits in 0_u64..500, misses in 0_u64..500, others in (0_u64..50, 1_u64..50),
    ) {
        let trials = (hits + misses).max(1);
        let hits = hits.min(trials);
        let (k, n) = (hits as f64, trials as f64);
        let (narrow, wide) = (wilson(k, n, 0.8).unwrap(), wilson(k, n, 0.99).unwrap());
        let exact = clopper_pearson(hits, trials, 0.95).unwrap();
        for interval in [narrow, wide, exact] {
            prop_assert!(interval.contains(interval.estimate));
            prop_assert!(interval.low >= 0.0 && interval.high <= 1.0);
        }
        prop_assert!(wide.low <= narrow.low && narrow.high <= wide.high);
        let other = (others.0.min(others.1) as f64, others.1 as f64);
        let (there, back) = (newcombe((k, n), other, 0.9).unwrap(), newcombe(other, (k, n), 0.9).unwrap());
        prop_assert!((there.low + back.high).abs() < 1e-12 && there.low >= -1.0 && there.high <= 1.0);
    }

    #[test]
    fn areas_agree_and_turn_with_the_scores(rows in prop::collection::vec((any::<bool>(), -8_i32..8), 4..60)) {
        let (truth, scores): (Vec<bool>, Vec<f64>) = rows.into_iter().map(|(y, s)| (y, f64::from(s))).unzip();
        let Some(found) = auc(&truth, &scores) else { return Ok(()) };
        let plain = weighted_auc(&truth, &scores, None).unwrap();
        prop_assert!((found.area - plain).abs() < 1e-12 && (0.0..=1.0).contains(&plain));
        let turned: Vec<f64> = scores.iter().map(|s| -s).collect();
        let back = auc(&truth, &turned).unwrap();
        prop_assert!((found.area + back.area - 1.0).abs() < 1e-12 && (found.error - back.error).abs() < 1e-12);
        let interval = found.interval(0.95);
        prop_assert!(interval.contains(found.area) && interval.low >= 0.0 && interval.high <= 1.0);
    }

    #[test]
    fn isotonic_fits_never_fall_and_keep_the_mean(points in prop::collection::vec((0.0..1.0, 0.0..1.0), 1..80)) {
        let (x, y): (Vec<f64>, Vec<f64>) = points.into_iter().unzip();
        let fitted = Isotonic::fit(&x, &y, None).unwrap();
        let line: Vec<f64> = (0..=100).map(|at| fitted.at(f64::from(at) / 100.0)).collect();
        prop_assert!(line.is_sorted() && line[0] >= -1e-12 && line[100] <= 1.0 + 1e-12);
        let sum = |values: &[f64]| values.iter().sum::<f64>();
        prop_assert!((sum(&fitted.map(&x)) - sum(&y)).abs() < 1e-9);
        let said: Vec<bool> = x.iter().map(|x| *x > 0.5).collect();
        let calibrated: Vec<f64> = fitted.map(&x).into_iter().map(|p| p.clamp(0.0, 1.0)).collect();
        let estimate = cbpe(&calibrated, &x, &said).unwrap();
        prop_assert!((0.0..=1.0 + 1e-12).contains(&estimate.accuracy));
        prop_assert!((estimate.expected.total() - x.len() as f64).abs() < 1e-9);
    }

    #[test]
    fn mix_and_rate_add_up(segments in prop::collection::vec((0_u32..50, 0_u32..50, 0.0..1.0, 0.0..1.0), 1..8)) {
        let segments: Vec<((f64, f64), (f64, f64))> = segments
            .into_iter()
            .map(|(n, m, a, b)| ((f64::from(n), f64::from(n) * a), (f64::from(m), f64::from(m) * b)))
            .collect();
        if let Some(found) = kitagawa(&segments) {
            prop_assert!((found.mix + found.rate - found.change).abs() < 1e-12);
        }
    }

    #[test]
    fn mcnemar_is_symmetric_and_mid_p_is_smaller(a in 0_u64..2_000, b in 0_u64..2_000) {
        let (there, back) = (mcnemar(a, b), mcnemar(b, a));
        prop_assert_eq!(there.p_exact, back.p_exact);
        prop_assert!(there.p_mid <= there.p_exact && there.p_mid >= 0.0 && there.p_exact <= 1.0);
    }

    #[test]
    fn evidence_grows_with_the_difference(variance in 1e-8..1.0, tau in 1e-4..2.0, d in -3.0..3.0) {
        let deviation = f64::sqrt(variance);
        let at = |d: f64| ln_evidence(d * deviation, variance, tau).unwrap();
        prop_assert!(at(d) < at(d + 0.1));
        let (near, far) = (radius(variance, tau, 0.1).unwrap(), radius(variance, tau, 0.01).unwrap());
        prop_assert!(near < far);
    }

    #[test]
    fn tallies_of_parts_are_the_tally_of_the_whole(values in prop::collection::vec(-100.0..100.0, 2..50), cut in 0_usize..50) {
        let of = |values: &[f64]| {
            let mut tally = Tally::default();
            values.iter().for_each(|x| tally.add(*x));
            tally
        };
        let cut = cut.min(values.len());
        let (whole, mut parts) = (of(&values), of(&values[..cut]));
        parts.merge(&of(&values[cut..]));
        prop_assert_eq!(parts.count(), whole.count());
        prop_assert!((parts.mean().unwrap() - whole.mean().unwrap()).abs() < 1e-9);
        prop_assert!((parts.variance_of_mean().unwrap() - whole.variance_of_mean().unwrap()).abs() < 1e-6);
    }
}
