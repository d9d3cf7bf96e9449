//! Intervals and paired tests against scipy, scikit-learn and the definitions written out in numpy.

use serde_json::json;
use tidemill_stats::interval::{
    auc, auc_difference, bootstrap, clopper_pearson, mcnemar, newcombe, paired_difference, ratio, wilson,
};
use tidemill_stats::random::Random;

use crate::python::{close, close_to, python};
use crate::twosample::normals;

#[test]
fn intervals_of_proportions_are_scipys() {
    let cases: Vec<(u64, u64)> = vec![
        (0, 1),
        (1, 1),
        (0, 30),
        (3, 10),
        (17, 40),
        (40, 40),
        (500, 1_000),
        (7, 100_000),
        (123_456, 1_000_000),
    ];
    let expected = python(
        "
import numpy as np
from scipy import stats
answer = []
z = stats.norm.ppf(.975)
def wilson(k, n):
    ci = stats.binomtest(k, n).proportion_ci(.95, method='wilson')
    return ci.low, ci.high
for k, n in data:
    # The quantiles themselves; scipy's own interval stops its search for them at 1e-12 absolute.
    e = [stats.beta.ppf(.025, k, n - k + 1) if k else 0, stats.beta.isf(.025, k + 1, n - k) if k < n else 1]
    l, u = wilson(k, n)
    L, U = wilson(2, 9)
    p, q = k / n, 2 / 9
    d = [p - q - np.sqrt((p - l)**2 + (U - q)**2), p - q + np.sqrt((u - p)**2 + (q - L)**2)]
    s = np.sqrt(1/k - 1/n + 1/2 - 1/9) if k else None
    answer.append(dict(w=[l, u], e=e, d=d, r=[p / q * np.exp(-z * s), p / q * np.exp(z * s)] if k else [None, None]))
",
        &json!(cases),
    );
    for (index, (k, n)) in cases.into_iter().enumerate() {
        let (hits, rows) = (k as f64, n as f64);
        let found = [
            ("w", wilson(hits, rows, 0.95)),
            ("e", clopper_pearson(k, n, 0.95)),
            ("d", newcombe((hits, rows), (2.0, 9.0), 0.95)),
            ("r", ratio((hits, rows), (2.0, 9.0), 0.95)),
        ];
        for (name, interval) in found {
            let what = |end: &str| format!("{end} of {name} for {k} of {n}");
            close(interval.map(|i| i.low), &expected[index][name][0], &what("low"));
            close(interval.map(|i| i.high), &expected[index][name][1], &what("high"));
        }
    }
}

/// Scores of rows of which some are positive, on a grid so that there are ties, and a second score that is noisier.
fn scored(rows: usize, grid: f64, seed: u64) -> (Vec<bool>, Vec<f64>, Vec<f64>) {
    let (first, noise) = (normals(rows, 0.0, grid, seed), normals(rows, 0.0, grid, seed + 1));
    let mut random = Random::new(seed, 9);
    let truth: Vec<bool> = first.iter().map(|x| random.unit() < 1.0 / (1.0 + (-2.0 * x).exp())).collect();
    let second = first.iter().zip(&noise).map(|(x, e)| x + e).collect();
    (truth, first, second)
}

#[test]
fn areas_are_scikit_learns_with_delongs_variance() {
    let samples: Vec<_> = [(20, 0.0, 1), (300, 0.0, 2), (500, 0.5, 3), (1_000, 0.1, 4)]
        .into_iter()
        .map(|(rows, grid, seed)| scored(rows, grid, seed))
        .collect();
    let expected = python(
        "
import numpy as np
from scipy import stats
from sklearn.metrics import roc_auc_score
answer = []
for y, a, b in data:
    y, s = np.array(y), [np.array(a), np.array(b)]
    areas, V10, V01 = [], [], []
    for x in s:
        p, n = x[y], x[~y]
        psi = (p[:, None] > n[None, :]) + .5 * (p[:, None] == n[None, :])
        areas.append(psi.mean()); V10.append(psi.mean(1)); V01.append(psi.mean(0))
        assert abs(areas[-1] - roc_auc_score(y, x)) < 1e-12
    S = np.cov(V10) / y.sum() + np.cov(V01) / (~y).sum()
    d, se = areas[0] - areas[1], np.sqrt(S[0, 0] + S[1, 1] - 2 * S[0, 1])
    A, z = areas[0], stats.norm.ppf(.975)
    l, w = np.log(A / (1 - A)), z * np.sqrt(S[0, 0]) / (A * (1 - A))
    answer.append(dict(areas=areas, se=[np.sqrt(S[0, 0]), np.sqrt(S[1, 1])], d=d, dse=se, p=2 * stats.norm.sf(abs(d / se)),
      ci=[1 / (1 + np.exp(-(l - w))), 1 / (1 + np.exp(-(l + w)))]))
",
        &json!(samples),
    );
    for (index, (truth, first, second)) in samples.into_iter().enumerate() {
        let expected = &expected[index];
        let both = auc_difference(&truth, &first, &second).unwrap();
        assert_eq!(both.first, auc(&truth, &first).unwrap());
        close(both.first.area, &expected["areas"][0], "first area");
        close(both.second.area, &expected["areas"][1], "second area");
        close(both.first.error, &expected["se"][0], "error of the first");
        close(both.second.error, &expected["se"][1], "error of the second");
        close(both.difference, &expected["d"], "difference");
        close(both.error, &expected["dse"], "error of the difference");
        close(both.p, &expected["p"], "p of the difference");
        let interval = both.first.interval(0.95);
        close(interval.low, &expected["ci"][0], "lower end");
        close(interval.high, &expected["ci"][1], "upper end");
    }
}

#[test]
fn resampled_intervals_are_scipys_on_the_same_resamples() {
    let values = normals(60, 0.0, 0.0, 8).iter().map(|x| x.exp()).collect::<Vec<f64>>();
    let mean = |index: &[u32]| index.iter().map(|at| values[*at as usize]).sum::<f64>() / index.len() as f64;
    let found = bootstrap(60, 2_000, 3, mean).unwrap().with_left_out(60, mean);
    let expected = python(
        "
import numpy as np
from scipy import stats
from scipy.stats._resampling import _bca_interval
x, b = np.array(data['x']), np.array(data['b'])
lo, hi, _ = _bca_interval((x,), lambda x, axis: np.mean(x, axis=axis), -1, .05, b, None, np)
answer = dict(se=np.std(b, ddof=1), p=np.quantile(b, [.05, .95]), bca=[np.quantile(b, lo.item()), np.quantile(b, hi.item())])
",
        &json!({"x": values, "b": found.values()}),
    );
    close(found.error(), &expected["se"], "error");
    let (percentile, bca) = (found.percentile(0.9).unwrap(), found.bca(0.9).unwrap());
    close(percentile.low, &expected["p"][0], "low percentile");
    close(percentile.high, &expected["p"][1], "high percentile");
    close_to(Some(bca.low), &expected["bca"][0], 1e-8, "low BCa");
    close_to(Some(bca.high), &expected["bca"][1], 1e-8, "high BCa");
}

#[test]
fn paired_tests_are_scipys() {
    let counts: Vec<(u64, u64)> =
        vec![(0, 0), (0, 1), (1, 5), (10, 10), (30, 12), (400, 300), (10_000, 10_400)];
    let differences = normals(80, 0.2, 0.0, 3);
    let expected = python(
        "
import numpy as np
from scipy import stats
tests = []
for b, c in data['counts']:
    n, k = b + c, min(b, c)
    exact = stats.binomtest(k, n).pvalue if n else 1.
    pmf = stats.binom.pmf(k, n, .5)
    tests.append([exact, 1. if n == 0 else 1 - pmf / 2 if b == c else exact - pmf])
d = np.array(data['d'])
t = stats.ttest_1samp(d, .1, alternative='greater')
ci = stats.ttest_1samp(d, 0).confidence_interval(.9)
answer = dict(tests=tests, p=t.pvalue, ci=[ci.low, ci.high])
",
        &json!({"counts": counts, "d": differences}),
    );
    for (index, (b, c)) in counts.into_iter().enumerate() {
        let found = mcnemar(b, c);
        close(found.p_exact, &expected["tests"][index][0], &format!("exact p of {b} and {c}"));
        close(found.p_mid, &expected["tests"][index][1], &format!("mid-p of {b} and {c}"));
    }
    let found = paired_difference(&differences).unwrap();
    close(found.p_above(0.1), &expected["p"], "p above a limit");
    close(found.interval(0.9).low, &expected["ci"][0], "lower end");
    close(found.interval(0.9).high, &expected["ci"][1], "upper end");
}

/// 95 % intervals contain the truth about as often as they say: of 400 at least 359 (4.6 standard errors below 380).
#[test]
fn intervals_cover() {
    let (mut by_auc, mut by_bca) = (0, 0);
    // Area of two unit normals a distance of one apart: Φ(1/√2).
    let truth = tidemill_stats::special::normal_below(0.5_f64.sqrt());
    for repetition in 0..400 {
        let mut random = Random::new(20, repetition);
        let classes: Vec<bool> = (0..120).map(|at| at % 3 == 0).collect();
        let scores: Vec<f64> = classes.iter().map(|c| random.normal() + f64::from(u8::from(*c))).collect();
        by_auc += u32::from(auc(&classes, &scores).unwrap().interval(0.95).contains(truth));
        let mean =
            |index: &[u32]| index.iter().map(|at| scores[*at as usize]).sum::<f64>() / index.len() as f64;
        let found = bootstrap(120, 400, repetition, mean).unwrap().with_left_out(120, mean);
        by_bca += u32::from(found.bca(0.95).unwrap().contains(1.0 / 3.0));
    }
    println!("coverage of 400 intervals: DeLong {by_auc}, BCa {by_bca}");
    assert!(by_auc >= 359 && by_bca >= 359, "{by_auc} {by_bca}");
}
