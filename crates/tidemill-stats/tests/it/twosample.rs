//! Two-sample tests, distances and correlations against scipy and numpy.

use serde_json::{Value, json};
use tidemill_stats::correlation::{correlation_change, mean_ranks, pearson, pearson_interval, spearman};
use tidemill_stats::random::Random;
use tidemill_stats::sample::{Moments, Sample, sorted};
use tidemill_stats::special;
use tidemill_stats::twosample::{distances, mann_whitney, wasserstein_over_deviation, welch};

use crate::python::{close, python};

/// Normal numbers moved by `shift`, on a grid of `grid` (zero: no ties).
pub(crate) fn normals(rows: usize, shift: f64, grid: f64, seed: u64) -> Vec<f64> {
    let mut random = Random::new(seed, rows as u64);
    (0..rows)
        .map(|_| {
            let x = random.normal() + shift;
            if grid > 0.0 { (x / grid).round() * grid } else { x }
        })
        .collect()
}

fn pairs() -> Vec<(Vec<f64>, Vec<f64>)> {
    let mut pairs = vec![
        (vec![1.0], vec![2.0]),
        (vec![1.0], vec![1.0]),
        (vec![1.0, 2.0], vec![1.5, 1.5, 3.0]),
        (vec![5.0; 30], vec![5.0; 20]),
        (vec![5.0; 30], vec![6.0; 20]),
        (vec![0.0, -0.0, 1e300], vec![-1e300, 0.0]),
        (vec![1.0, 2.0, 3.0, 4.0], vec![5.0, 6.0, 7.0, 8.0, 9.0]),
    ];
    let sizes =
        [(5, 7), (8, 90), (40, 40), (140, 141), (250, 300), (1_000, 3_000), (2_000, 2_000), (4_000, 3_999)];
    for (seed, (n, m)) in sizes.into_iter().enumerate() {
        for (shift, grid) in [(0.0, 0.0), (0.05, 0.0), (0.2, 0.0), (1.0, 0.0), (0.1, 0.5)] {
            pairs.push((normals(n, 0.0, grid, seed as u64), normals(m, shift, grid, seed as u64 + 100)));
        }
    }
    pairs
}

#[test]
fn figures_of_two_samples_are_scipys() {
    let pairs = pairs();
    let expected = python(
        "
import numpy as np
from scipy import stats
answer = []
for a, b in data:
    a, b = np.array(a), np.array(b)
    k = stats.ks_2samp(a, b, method='asymp')
    e = stats.ks_2samp(a, b, method='exact')
    m = stats.mannwhitneyu(a, b)
    w = stats.wasserstein_distance(a, b) if max(abs(a).max(), abs(b).max()) < 1e200 else float('nan')
    s = np.std(a)
    t = stats.ttest_ind(a, b, equal_var=False) if len(a) > 1 and len(b) > 1 and a.std() + b.std() > 0 and s < 1e200 else None
    answer.append(dict(d=k.statistic, p=k.pvalue, exact=e.pvalue, u=m.statistic, mp=m.pvalue, w=w,
        ws=w / s if s > 0 else None, t=t and t.statistic, df=t and t.df, tp=t and t.pvalue,
        ci=t and list(t.confidence_interval(.9)), q=np.quantile(a, [0, .005, .1, .37, .5, .9, .995, 1]).tolist()))
",
        &json!(pairs),
    );
    for (index, (a, b)) in pairs.into_iter().enumerate() {
        let expected = &expected[index];
        let what = |name: &str| format!("{name} of pair {index} ({} and {} values)", a.len(), b.len());
        let (x, y) = (sorted(a.clone()), sorted(b.clone()));
        let (r, c) = (Sample::exact(&x), Sample::exact(&y));
        let found = distances(r, c).unwrap();
        close(found.ks.statistic, &expected["d"], &what("D"));
        if !expected["p"].is_null() {
            close(found.ks.p, &expected["p"], &what("p of D"));
        }
        close(found.ks.exact_p(), &expected["exact"], &what("exact p of D"));
        let ranks = mann_whitney(r, c).unwrap();
        close(ranks.statistic, &expected["u"], &what("U"));
        // Without any spread scipy divides zero by zero.
        if !expected["mp"].is_null() {
            close(ranks.p, &expected["mp"], &what("p of U"));
        }
        if !expected["w"].is_null() {
            close(found.wasserstein, &expected["w"], &what("Wasserstein"));
            let deviation = Moments::of(&x).unwrap().deviation();
            let scaled = wasserstein_over_deviation(found.wasserstein.unwrap(), deviation);
            close(scaled, &expected["ws"], &what("Wasserstein over deviation"));
            let t = welch(Moments::of(&x).unwrap(), Moments::of(&y).unwrap());
            close(t.map(|t| t.statistic), &expected["t"], &what("t"));
            close(t.map(|t| t.degrees), &expected["df"], &what("degrees"));
            close(t.map(|t| t.p), &expected["tp"], &what("p of t"));
            if let Some(t) = t {
                close(t.interval(0.9).0, &expected["ci"][0], &what("lower end"));
                close(t.interval(0.9).1, &expected["ci"][1], &what("upper end"));
            }
        }
        for (place, q) in [0.0, 0.005, 0.1, 0.37, 0.5, 0.9, 0.995, 1.0].into_iter().enumerate() {
            close(r.quantile(q), &expected["q"][place], &what("quantile"));
        }
    }
}

#[test]
fn p_values_of_distances_are_scipys_over_the_whole_plane() {
    let mut points = Vec::new();
    for n in [1_u64, 2, 3, 10, 50, 139, 140, 141, 200, 1_000, 5_000, 20_000, 50_000] {
        for z in [0.3, 0.45, 0.55, 0.7, 0.85, 1.0, 1.2, 1.4, 1.49, 1.7, 1.95, 2.05, 3.0, 5.0, 12.0] {
            let d = z / (n as f64).sqrt();
            if d < 1.0 {
                points.push((n, d));
            }
        }
    }
    let expected = python(
        "from scipy import stats\nanswer = [float(stats.kstwo.sf(d, n)) for n, d in data]",
        &json!(points),
    );
    for (index, (n, d)) in points.into_iter().enumerate() {
        // A pair of equal sides of 2n values has the effective size n.
        let found = tidemill_stats::twosample::distance_p(d, 2.0 * n as f64, 2.0 * n as f64);
        close(found, &expected[index], &format!("p of {d} at {n}"));
    }
}

#[test]
fn sketches_of_whole_samples_give_the_figures_of_the_samples() {
    let a = sorted(normals(4_000, 0.0, 0.01, 1));
    let b = sorted(normals(3_000, 0.3, 0.01, 2));
    let (mut values, mut weights) = (Vec::<f64>::new(), Vec::<f64>::new());
    for x in &a {
        if values.last() == Some(x) {
            *weights.last_mut().unwrap() += 1.0;
        } else {
            values.push(*x);
            weights.push(1.0);
        }
    }
    let sketch = Sample::sketch(&values, &weights, 4_000, 0.002).unwrap();
    let (plain, weighted) = (Sample::exact(&a), Sample::exact(&b));
    let (left, right) = (distances(plain, weighted).unwrap(), distances(sketch, weighted).unwrap());
    assert_eq!(left.ks.statistic, right.ks.statistic);
    assert_eq!(left.ks.p, right.ks.p);
    assert!((left.wasserstein.unwrap() - right.wasserstein.unwrap()).abs() < 1e-12);
    assert!((plain.moments().unwrap().variance - sketch.moments().unwrap().variance).abs() < 1e-12);
    assert_eq!(plain.share_outside(-1.0, 1.0), sketch.share_outside(-1.0, 1.0));
}

#[test]
fn correlations_and_distributions_are_scipys() {
    let x = normals(300, 0.0, 0.5, 5);
    let y: Vec<f64> = normals(300, 0.0, 0.5, 6).iter().zip(&x).map(|(e, x)| 0.6 * x + e).collect();
    let expected = python(
        "
import numpy as np
from scipy import stats
x, y = np.array(data['x']), np.array(data['y'])
r, s = stats.pearsonr(x, y), stats.spearmanr(x, y)
z = (np.arctanh(.3) - np.arctanh(.5)) / np.sqrt(1/297 + 1/497)
answer = dict(r=r.statistic, ci=list(r.confidence_interval(.95)), s=s.statistic, ranks=stats.rankdata(x).tolist(),
  z=z, p=2*stats.norm.sf(abs(z)),
  chi=[stats.chi2.sf(a, b) for a, b in data['chi']], chiq=[stats.chi2.ppf(a, b) for a, b in data['chiq']],
  t=[2*stats.t.sf(abs(a), b) for a, b in data['t']], tq=[stats.t.ppf(a, b) for a, b in data['tq']],
  n=[stats.norm.sf(a) for a in data['n']], nq=[stats.norm.ppf(a) for a in data['nq']],
  ln=[stats.norm.logcdf(a) for a in data['ln']],
  beta=[stats.beta.cdf(a, b, c) for a, b, c in data['beta']], betaq=[stats.beta.ppf(a, b, c) for a, b, c in data['betaq']],
  bin=[stats.binom.pmf(a, b, c) for a, b, c in data['bin']], binc=[stats.binom.cdf(a, b, c) for a, b, c in data['bin']])
",
        &json!({"x": x, "y": y, "chi": CHI, "chiq": CHI_QUANTILE, "t": T, "tq": T_QUANTILE, "n": NORMAL,
            "nq": NORMAL_QUANTILE, "ln": LN_NORMAL, "beta": BETA, "betaq": BETA_QUANTILE, "bin": BINOMIAL}),
    );
    let r = pearson(&x, &y).unwrap();
    close(r.0, &expected["r"], "Pearson");
    let interval = pearson_interval(r.0, r.1, 0.95).unwrap();
    close(interval.0, &expected["ci"][0], "interval");
    close(interval.1, &expected["ci"][1], "interval");
    close(spearman(&x, &y).unwrap().0, &expected["s"], "Spearman");
    assert_eq!(json!(mean_ranks(&x)), expected["ranks"]);
    let change = correlation_change((0.5, 300.0), (0.3, 500.0)).unwrap();
    close(change.z, &expected["z"], "z");
    close(change.p, &expected["p"], "p of z");
    let all = |name: &str, found: Vec<f64>| {
        for (index, found) in found.into_iter().enumerate() {
            close(found, &expected[name][index], &format!("{name} {index}"));
        }
    };
    all("chi", CHI.map(|(x, k)| special::chi_square_above(x, k)).to_vec());
    all("chiq", CHI_QUANTILE.map(|(p, k)| special::chi_square_quantile(p, k)).to_vec());
    all("t", T.map(|(t, k)| special::student_two_sided(t, k)).to_vec());
    all("tq", T_QUANTILE.map(|(p, k)| special::student_quantile(p, k)).to_vec());
    all("n", NORMAL.map(special::normal_above).to_vec());
    all("nq", NORMAL_QUANTILE.map(special::normal_quantile).to_vec());
    all("ln", LN_NORMAL.map(special::ln_normal_below).to_vec());
    all("beta", BETA.map(|(x, a, b)| special::beta_share(a, b, x, 1.0 - x)).to_vec());
    all("betaq", BETA_QUANTILE.map(|(p, a, b)| special::beta_quantile(p, a, b)).to_vec());
    all("bin", BINOMIAL.map(|(k, n, p)| special::binomial_chance(k, n, p)).to_vec());
    all("binc", BINOMIAL.map(|(k, n, p)| special::binomial_below(k, n, p)).to_vec());
    assert!(matches!(expected, Value::Object(_)));
}

const CHI: [(f64, f64); 9] = [
    (0.001, 1.0),
    (3.84, 1.0),
    (100.0, 1.0),
    (0.5, 3.0),
    (9.5, 4.0),
    (300.0, 20.0),
    (900.0, 1_000.0),
    (1_100.0, 1_000.0),
    (20_500.0, 20_000.0),
];
const CHI_QUANTILE: [(f64, f64); 6] =
    [(0.95, 1.0), (0.5, 2.0), (0.95, 9.0), (0.999, 50.0), (0.01, 5.0), (0.95, 2_000.0)];
const T: [(f64, f64); 8] =
    [(0.0, 3.0), (1.5, 1.0), (-2.5, 4.7), (30.0, 10.0), (2.0, 1e3), (2.0, 1e5), (4.0, 2e6), (0.001, 1e7)];
const T_QUANTILE: [(f64, f64); 5] = [(0.975, 1.0), (0.025, 7.3), (0.95, 200.0), (0.999, 1e6), (0.5, 4.0)];
const NORMAL: [f64; 7] = [-5.0, 0.0, 0.3, 1.96, 6.0, 15.0, 30.0];
const NORMAL_QUANTILE: [f64; 7] = [1e-200, 1e-12, 0.01, 0.3, 0.5, 0.975, 0.999_999];
const LN_NORMAL: [f64; 6] = [3.0, 0.0, -5.0, -29.0, -31.0, -200.0];
const BETA: [(f64, f64, f64); 8] = [
    (0.3, 2.0, 5.0),
    (0.001, 0.5, 0.5),
    (0.999, 0.5, 0.5),
    (0.5, 1_000.0, 1_000.0),
    (0.02, 1_000.0, 50_000.0),
    (0.1, 1e6, 9e6),
    (0.1001, 1e6, 9e6),
    (1e-6, 1.0, 1e6),
];
const BETA_QUANTILE: [(f64, f64, f64); 5] =
    [(0.025, 3.0, 8.0), (0.975, 4.0, 7.0), (0.025, 1.0, 1e6), (0.9, 5e5, 5e5), (0.001, 0.5, 0.5)];
const BINOMIAL: [(u64, u64, f64); 7] = [
    (0, 10, 0.1),
    (10, 10, 0.9),
    (3, 10, 0.5),
    (500, 1_000, 0.45),
    (1_000, 1_000_000, 0.001),
    (400_000, 1_000_000, 0.401),
    (5, 1_000_000, 1e-6),
];
