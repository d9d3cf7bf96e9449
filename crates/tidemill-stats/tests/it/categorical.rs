//! Tests of counts and divergences against scipy and numpy.

use serde_json::json;
use tidemill_stats::categorical::{
    fisher_exact, homogeneity, largest_change, pool_rare, total_variation, two_proportions,
};
use tidemill_stats::divergence::{bin_shares, decile_edges, divergences, psi_null_quantile, shares};
use tidemill_stats::random::Random;
use tidemill_stats::sample::{Sample, sorted};

use crate::python::{close, python};
use crate::twosample::normals;

fn tables() -> Vec<(Vec<f64>, Vec<f64>)> {
    let mut tables = vec![
        (vec![1.0, 1.0], vec![1.0, 1.0]),
        (vec![10.0, 0.0], vec![0.0, 10.0]),
        (vec![100.0, 3.0, 2.0, 1.0], vec![90.0, 0.0, 5.0, 4.0]),
        (vec![1e6, 2e6, 3e6], vec![1.1e6, 1.9e6, 3.05e6]),
    ];
    for (seed, categories) in [2_u32, 3, 10, 60, 400].into_iter().enumerate() {
        for rows in [150, 3_000] {
            let mut random = Random::new(seed as u64, rows);
            let mut counts = |tilt: f64| {
                let mut counts = vec![0.0; categories as usize];
                for _ in 0..rows {
                    let u = random.unit();
                    counts[((u * u * tilt).min(0.999_999) * f64::from(categories)) as usize] += 1.0;
                }
                counts
            };
            tables.push((counts(1.0), counts(0.9)));
        }
    }
    tables
}

#[test]
fn figures_of_counts_are_scipys() {
    let tables = tables();
    let expected = python(
        "
import numpy as np
from scipy import stats
from scipy.spatial.distance import jensenshannon
def chi(r, c):
    keep = (r + c) > 0
    r, c = r[keep], c[keep]
    n, k = r.sum() + c.sum(), len(r)
    if k < 2: return 0., 0, 1., 0., 0.
    t = stats.chi2_contingency(np.array([r, c]), correction=False)
    phi = t.statistic / n
    phi_c = max(0, phi - (k - 1) * (2 - 1) / (n - 1))
    kc, rc = k - (k - 1)**2 / (n - 1), 2 - 1 / (n - 1)
    return t.statistic, t.dof, t.pvalue, np.sqrt(phi), np.sqrt(phi_c / min(kc - 1, rc - 1))
answer = []
for r, c in data:
    r, c = np.array(r), np.array(c)
    n, m = r.sum(), c.sum()
    expected = (r + c) * min(n, m) / (n + m)
    rare = expected < 5
    pr, pc = np.append(r[~rare], r[rare].sum()), np.append(c[~rare], c[rare].sum())
    p, q = r / n, c / m
    fp, fq = np.where(p == 0, 1e-4, p), np.where(q == 0, 1e-4, q)
    answer.append(dict(chi=chi(r, c), pooled=chi(pr, pc), tvd=.5 * abs(p - q).sum(), linf=abs(p - q).max(),
      psi=((fq - fp) * np.log(fq / fp)).sum() if True else 0, js2=jensenshannon(p, q, 2)**2, jsd=jensenshannon(p, q, 2),
      jsn=jensenshannon(p, q), kl=stats.entropy(q, p), hell=np.sqrt(.5 * ((np.sqrt(p) - np.sqrt(q))**2).sum()),
      null=(1/n + 1/m) * stats.chi2.ppf(.95, len(p) - 1)))
",
        &json!(tables),
    );
    for (index, (r, c)) in tables.into_iter().enumerate() {
        let expected = &expected[index];
        let what = |name: &str| format!("{name} of table {index}");
        let pooled = pool_rare(&r, &c).unwrap();
        let both = [(&r, &c, "chi"), (&pooled.reference, &pooled.current, "pooled")];
        for (r, c, name) in both {
            let found = homogeneity(r, c).unwrap();
            let figures = [found.chi2, found.degrees, found.p, found.cramers_v, found.cramers_v_corrected];
            for (place, figure) in figures.into_iter().enumerate() {
                close(figure, &expected[name][place], &what(&format!("{name} {place}")));
            }
        }
        close(total_variation(&r, &c), &expected["tvd"], &what("total variation"));
        close(largest_change(&r, &c).map(|l| l.l_infinity), &expected["linf"], &what("L-infinity"));
        let found = divergences(&shares(&r), &shares(&c)).unwrap();
        close(found.psi, &expected["psi"], &what("PSI"));
        close(found.js_bits, &expected["js2"], &what("JS in bits"));
        close(found.js_distance, &expected["jsd"], &what("JS distance"));
        close(found.js_distance_nats, &expected["jsn"], &what("JS distance in nats"));
        close(found.kl, &expected["kl"], &what("KL"));
        close(found.hellinger, &expected["hell"], &what("Hellinger"));
        let (n, m): (f64, f64) = (r.iter().sum(), c.iter().sum());
        close(psi_null_quantile(0.95, r.len(), n, m), &expected["null"], &what("null quantile of PSI"));
    }
}

#[test]
fn shares_of_two_samples_are_scipys() {
    let tables: Vec<[[u64; 2]; 2]> = vec![
        [[0, 10], [0, 20]],
        [[1, 9], [11, 3]],
        [[8, 2], [1, 5]],
        [[3, 997], [14, 986]],
        [[0, 200], [9, 1_991]],
        [[40, 9_960], [4, 9_996]],
        [[1_000, 1_000], [1_100, 900]],
        [[50_000, 50_000], [50_700, 49_300]],
        [[2, 99_998], [12, 99_988]],
        [[123, 877], [4_000, 6_000]],
    ];
    let expected = python(
        "
import numpy as np
from scipy import stats
answer = []
for (a, b), (c, d) in data:
    n, m = a + b, c + d
    p = (a + c) / (n + m)
    z = (c / m - a / n) / np.sqrt(p * (1 - p) * (1/n + 1/m)) if 0 < p < 1 else None
    f = stats.fisher_exact([[a, b], [c, d]]).pvalue
    answer.append(dict(z=z, f=f, p=f if p * min(n, m) < 10 else 2 * stats.norm.sf(abs(z)), exact=bool(p * min(n, m) < 10)))
",
        &json!(tables),
    );
    for (index, table) in tables.into_iter().enumerate() {
        let [[a, b], [c, d]] = table;
        let what = |name: &str| format!("{name} of table {index}");
        close(fisher_exact(table), &expected[index]["f"], &what("Fisher's p"));
        let side = |hits: u64, others: u64| (hits as f64, (hits + others) as f64);
        let found = two_proportions(side(a, b), side(c, d)).unwrap();
        close(found.z, &expected[index]["z"], &what("z"));
        close(found.p, &expected[index]["p"], &what("p"));
        assert_eq!(json!(found.exact), expected[index]["exact"], "{}", what("choice"));
    }
}

#[test]
fn bins_are_numpys() {
    let samples: Vec<(Vec<f64>, Vec<f64>)> = [(1_000, 0.0), (77, 0.5), (500, 2.0), (9, 0.0)]
        .into_iter()
        .map(|(rows, grid)| (normals(rows, 0.0, grid, 3), normals(rows + 50, 0.3, grid, 4)))
        .collect();
    let expected = python(
        "
import numpy as np
answer = []
for r, c in data:
    e = np.unique(np.quantile(r, [.1, .2, .3, .4, .5, .6, .7, .8, .9]))
    cut = lambda x: np.bincount(np.searchsorted(e, x, side='left'), minlength=len(e) + 1) / len(x)
    lo, hi = np.quantile(r, [.005, .995])
    out = lambda x: float(np.mean((np.array(x) < lo) | (np.array(x) > hi)))
    answer.append(dict(edges=e.tolist(), r=cut(r).tolist(), c=cut(c).tolist(), out=[out(r), out(c)]))
",
        &json!(samples),
    );
    for (index, (r, c)) in samples.into_iter().enumerate() {
        let (r, c) = (sorted(r), sorted(c));
        let (r, c) = (Sample::exact(&r), Sample::exact(&c));
        let edges = decile_edges(r);
        assert_eq!(edges.len(), expected[index]["edges"].as_array().unwrap().len());
        for (place, edge) in edges.iter().enumerate() {
            close(*edge, &expected[index]["edges"][place], &format!("edge {place} of {index}"));
        }
        for (name, sample, place) in [("r", r, 0), ("c", c, 1)] {
            for (bin, share) in bin_shares(sample, &edges).into_iter().enumerate() {
                close(share, &expected[index][name][bin], &format!("share {bin} of {name} {index}"));
            }
            let outside = sample.share_outside(r.quantile(0.005).unwrap(), r.quantile(0.995).unwrap());
            close(outside, &expected[index]["out"][place], "share outside");
        }
    }
}
