//! The decision over a table: against an independent program that follows the documented conventions, and by cases.

use serde_json::json;
use tidemill_stats::drift::{
    Answered, Column, DomainClassifier, Family, Level, Pair, Rules, TestKind, Values, Verdict, compare,
    judge, measure, told_apart,
};
use tidemill_stats::sample::{Sample, sorted};

use crate::python::{close, python};
use crate::twosample::normals;

/// Numeric columns of a table, as sorted values and missing counts of both sides.
type Numeric = (&'static str, Vec<f64>, u64, Vec<f64>, u64);
/// Categorical columns, as counts and missing counts of both sides.
type Categorical = (&'static str, Vec<f64>, u64, Vec<f64>, u64);

fn table() -> (Vec<Numeric>, Vec<Categorical>) {
    let n = |rows, shift, grid, seed| sorted(normals(rows, shift, grid, seed));
    let wider: Vec<f64> = n(3_000, 0.0, 0.0, 9).iter().map(|x| x * 1.2).collect();
    let numeric = vec![
        ("same", n(2_000, 0.0, 0.0, 1), 0, n(3_000, 0.0, 0.0, 2), 0),
        ("moved", n(2_000, 0.0, 0.0, 3), 10, n(3_000, 0.3, 0.0, 4), 12),
        ("moved a little", n(2_000, 0.0, 0.0, 5), 0, n(3_000, 0.11, 0.0, 6), 0),
        ("missing more", n(1_900, 0.0, 0.5, 7), 100, n(2_700, 0.0, 0.5, 8), 300),
        ("wider", n(2_000, 0.0, 0.0, 8), 0, wider, 0),
        ("constant", vec![3.0; 2_000], 0, vec![3.0; 3_000], 0),
        ("few", n(50, 0.0, 0.0, 1), 1_950, n(90, 0.0, 0.0, 2), 2_910),
    ];
    let categorical = vec![
        ("flag", vec![1_000.0, 1_000.0], 0, vec![1_480.0, 1_520.0], 0),
        ("swapped", vec![800.0, 700.0, 480.0, 15.0, 5.0], 0, vec![900.0, 1_350.0, 720.0, 20.0, 10.0], 0),
        ("rare", vec![1_980.0, 5.0, 5.0, 4.0, 6.0], 0, vec![2_975.0, 7.0, 9.0, 2.0, 7.0], 0),
        ("slight", vec![1_000.0, 600.0, 390.0], 10, vec![1_430.0, 900.0, 670.0], 0),
    ];
    (numeric, categorical)
}

fn columns<'a>(numeric: &'a [Numeric], categorical: &'a [Categorical]) -> Vec<Column<'a>> {
    let numbers = numeric.iter().map(|(name, reference, gone, current, gone_now)| Column {
        name,
        importance: None,
        missing_reference: *gone,
        missing_current: *gone_now,
        values: Values::Numeric {
            reference: Sample::exact(reference),
            current: Sample::exact(current),
            moments: None,
        },
    });
    let counts = categorical.iter().map(|(name, reference, gone, current, gone_now)| Column {
        name,
        importance: None,
        missing_reference: *gone,
        missing_current: *gone_now,
        values: Values::Categorical {
            labels: &["a", "b", "c", "d", "e"],
            reference,
            current,
            complete: true,
        },
    });
    numbers.chain(counts).collect()
}

const REFERENCE: &str = "
import numpy as np
from scipy import stats
def share(a, n, c, m):
    p = (a + c) / (n + m)
    if p * min(n, m) < 10: return stats.fisher_exact([[a, n - a], [c, m - c]]).pvalue, abs(c / m - a / n)
    return 2 * stats.norm.sf(abs((c / m - a / n) / np.sqrt(p * (1 - p) * (1/n + 1/m)))), abs(c / m - a / n)
cols = {}
for name, r, gr, c, gc in data['numeric']:
    r, c = np.array(r), np.array(c)
    tests = []
    if min(len(r), len(c)) >= 100:
        k = stats.ks_2samp(r, c, method='asymp')
        tests.append(('ks', k.pvalue, k.statistic, .05))
        lo, hi = np.quantile(r, [.005, .995])
        out = lambda x: int(np.sum((x < lo) | (x > hi)))
        tests.append(('tail', *share(out(r), len(r), out(c), len(c)), .005))
    tests.append(('missing', *share(gr, gr + len(r), gc, gc + len(c)), .01))
    cols[name] = tests
for name, r, gr, c, gc in data['categorical']:
    r, c = np.array(r), np.array(c)
    n, m = r.sum(), c.sum()
    rare = (r + c) * min(n, m) / (n + m) < 5
    t = np.array([np.append(r[~rare], r[rare].sum()), np.append(c[~rare], c[rare].sum())])
    t = t[:, t.sum(0) > 0]
    q = stats.chi2_contingency(t, correction=False)
    k, N = t.shape[1], t.sum()
    phi = max(0, q.statistic / N - (k - 1) / (N - 1))
    v = np.sqrt(phi / min(2 - 1 / (N - 1) - 1, k - (k - 1)**2 / (N - 1) - 1))
    cols[name] = [('chi_square', q.pvalue, v, .05), ('missing', *share(gr, gr + n, gc, gc + m), .01)]
names = list(cols)
p = {n: min(1, len(cols[n]) * min(t[1] for t in cols[n])) for n in names}
adj = dict(zip(names, stats.false_discovery_control([p[n] for n in names])))
single = stats.false_discovery_control([t[1] for n in names for t in cols[n]])
answer, at = {}, 0
rejected = sum(v < .05 for v in adj.values())
for n in names:
    mine = single[at:at + len(cols[n])]; at += len(cols[n])
    sig = [t for t in cols[n] if t[1] * len(cols[n]) < .05 * rejected / len(names)]
    level = 'none' if adj[n] >= .05 else 'major' if any(t[2] >= t[3] for t in sig) else 'minor'
    answer[n] = dict(tests=[list(t) for t in cols[n]], p=p[n], adj=adj[n], level=level, bh=min(mine))
";

fn check(verdict: &Verdict, adjusted: &str, expected: &serde_json::Value) {
    for column in &verdict.columns {
        let expected = &expected[&column.name];
        for (index, test) in column.tests.iter().enumerate() {
            let what = format!("{:?} of {}", test.kind, column.name);
            assert_eq!(json!(test.kind), expected["tests"][index][0], "{what}");
            close(test.p, &expected["tests"][index][1], &format!("p of {what}"));
            close(test.effect, &expected["tests"][index][2], &format!("effect of {what}"));
            close(test.floor, &expected["tests"][index][3], &format!("floor of {what}"));
        }
        assert_eq!(column.tests.len(), expected["tests"].as_array().unwrap().len());
        close(column.p, &expected["p"], &format!("p of {}", column.name));
        close(column.p_adjusted, &expected[adjusted], &format!("adjusted p of {}", column.name));
    }
}

#[test]
fn levels_are_those_of_the_documented_conventions() {
    let (numeric, categorical) = table();
    let expected = python(REFERENCE, &json!({"numeric": numeric, "categorical": categorical}));
    let verdict = compare(&columns(&numeric, &categorical), &Rules::default());
    check(&verdict, "adj", &expected);
    for column in &verdict.columns {
        assert_eq!(json!(column.level), expected[&column.name]["level"], "{}", column.name);
        println!("{:>14} {:?}: {}", column.name, column.level, column.reason);
    }
    let count = |level| verdict.columns.iter().filter(|column| column.level == level).count();
    assert!(count(Level::Major) >= 3 && count(Level::Minor) >= 1 && count(Level::None) >= 3);
    println!("{}", verdict.reason);
    let single =
        compare(&columns(&numeric, &categorical), &Rules { family: Family::Tests, ..Rules::default() });
    check(&single, "bh", &expected);
}

fn numeric<'a>(name: &'a str, reference: &'a [f64], current: &'a [f64], missing: (u64, u64)) -> Column<'a> {
    Column {
        name,
        importance: None,
        missing_reference: missing.0,
        missing_current: missing.1,
        values: Values::Numeric {
            reference: Sample::exact(reference),
            current: Sample::exact(current),
            moments: None,
        },
    }
}

#[test]
fn a_column_that_became_all_missing_is_major() {
    let values = sorted(normals(1_000, 0.0, 0.0, 1));
    let verdict = compare(&[numeric("a", &values, &[], (0, 1_000))], &Rules::default());
    let column = &verdict.columns[0];
    assert_eq!(
        (verdict.level, column.tests.len(), column.tests[0].kind),
        (Level::Major, 1, TestKind::Missing)
    );
    assert_eq!(column.reason, "missing values went from 0.0 % to 100.0 % (p = 0)");
    assert_eq!(column.shift, 1.0);
}

#[test]
fn too_few_rows_are_not_judged() {
    let values = sorted(normals(99, 0.0, 0.0, 1));
    let verdict = compare(&[numeric("a", &values, &values, (0, 0))], &Rules::default());
    assert_eq!((verdict.level, verdict.joint_level), (Level::NotJudged, Level::NotJudged));
    assert_eq!(verdict.columns[0].reason, "too few rows to judge: 99 against 99");
    assert_eq!(verdict.reason, "no column has enough rows to be judged");
    assert_eq!(compare(&[], &Rules::default()).level, Level::NotJudged);
}

#[test]
fn columns_are_ordered_by_importance_times_shift_within_a_level() {
    let base = sorted(normals(2_000, 0.0, 0.0, 1));
    let near = sorted(normals(2_000, 0.4, 0.0, 2));
    let far = sorted(normals(2_000, 1.5, 0.0, 3));
    let with = |mut column: Column<'static>, importance| {
        column.importance = Some(importance);
        column
    };
    let leak = |values: Vec<f64>| -> &'static [f64] { Box::leak(values.into_boxed_slice()) };
    let (base, near, far) = (leak(base), leak(near), leak(far));
    let verdict = compare(
        &[
            with(numeric("unused and still", base, base, (0, 0)), 0.1),
            with(numeric("important and near", base, near, (0, 0)), 10.0),
            with(numeric("little used and far", base, far, (0, 0)), 0.5),
        ],
        &Rules::default(),
    );
    let names: Vec<&str> = verdict.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["important and near", "little used and far", "unused and still"]);
    assert!((verdict.major_share - 10.5 / 10.6).abs() < 1e-12);
    // What the model does not use at all makes no table major.
    let idle = compare(
        &[with(numeric("used", base, base, (0, 0)), 1.0), with(numeric("idle", base, far, (0, 0)), 0.0)],
        &Rules::default(),
    );
    assert_eq!((idle.columns[0].level, idle.level), (Level::Major, Level::Minor));
    // The share of nothing is zero and not minus zero, which is shown as `-0`.
    let still = compare(&[numeric("still", base, base, (0, 0))], &Rules::default());
    assert!(still.major_share == 0.0 && still.major_share.is_sign_positive());
}

/// Beside a column that matters one that does not counts for nothing; where none does there is nothing to weigh by.
#[test]
fn columns_without_importance_count_alike_among_themselves() {
    let (still, moved) = (sorted(normals(2_000, 0.0, 0.0, 1)), sorted(normals(2_000, 0.5, 0.0, 2)));
    let weighed = |importance: [f64; 2]| {
        let first = Column { importance: Some(importance[0]), ..numeric("moved", &still, &moved, (0, 0)) };
        let second = Column { importance: Some(importance[1]), ..numeric("still", &still, &still, (0, 0)) };
        let found = compare(&[first, second], &Rules { major_share: 0.3, ..Rules::default() });
        (found.major_share, found.level)
    };
    assert_eq!(weighed([1.0, 3.0]), (0.25, Level::Minor));
    assert_eq!(weighed([0.0, 3.0]), (0.0, Level::Minor));
    assert_eq!(weighed([0.0, 0.0]), (0.5, Level::Major));
}

#[test]
fn a_new_category_is_major_without_a_test() {
    let column = |current: &'static [f64], complete| Column {
        name: "colour",
        importance: None,
        missing_reference: 0,
        missing_current: 0,
        values: Values::Categorical {
            labels: &["red", "green", "violet"],
            reference: &[6_000.0, 4_000.0, 0.0],
            current,
            complete,
        },
    };
    let verdict = compare(&[column(&[5_990.0, 3_995.0, 15.0], true)], &Rules::default());
    assert_eq!(verdict.level, Level::Major);
    assert_eq!(verdict.columns[0].reason, "category `violet` is new, with 0.1 % of the rows");
    let sketched = compare(&[column(&[5_990.0, 3_995.0, 15.0], false)], &Rules::default());
    assert!(sketched.level < Level::Major);
}

#[test]
fn levels_do_not_depend_on_traffic_above_the_cap() {
    let (small, large): (Vec<f64>, Vec<f64>) = ([50_200.0, 49_800.0].to_vec(), [5.02e6, 4.98e6].to_vec());
    let column = |reference: &'static [f64], current| Column {
        name: "flag",
        importance: None,
        missing_reference: 0,
        missing_current: 0,
        values: Values::Categorical { labels: &[], reference, current, complete: true },
    };
    let rules = Rules::default();
    let few = measure(&column(&[50_000.0, 50_000.0], &small), &rules);
    let many = measure(&column(&[5e6, 5e6], &large), &rules);
    assert!((few.tests[0].p - many.tests[0].p).abs() < 1e-12);
    assert!(many.figures.categorical.unwrap().chi_square.p < 1e-10);
}

#[test]
fn joint_shifts_have_a_level_of_their_own() {
    let values = sorted(normals(1_000, 0.0, 0.0, 1));
    let rules = Rules::default();
    let still = || vec![measure(&numeric("a", &values, &values, (0, 0)), &rules)];
    let pair =
        |r| Pair { columns: ("a", "b"), reference: (0.7, 1_000.0), current: (r, 1_000.0), sampled: None };
    let levels = |verdict: Verdict| (verdict.columns_level, verdict.joint_level, verdict.level);
    let none = judge(still(), &[pair(0.69)], None, &rules);
    assert_eq!(levels(none), (Level::None, Level::None, Level::None));
    let small = judge(still(), &[pair(0.62)], None, &rules);
    assert_eq!(levels(small), (Level::None, Level::Minor, Level::Minor));
    let lost = judge(still(), &[pair(0.1)], None, &rules);
    assert_eq!(lost.reason, "the correlation of `a` and `b` went from 0.7 to 0.1");
    assert_eq!(levels(lost), (Level::None, Level::Major, Level::Major));
    let told = |lower| judge(still(), &[], Some(classifier(lower, &[])), &rules);
    assert_eq!([0.49, 0.52, 0.56].map(|lower| told(lower).level), [Level::None, Level::Minor, Level::Major]);
}

fn classifier(lower: f64, columns: &[&str]) -> DomainClassifier {
    let columns = columns.iter().map(|name| (*name).to_owned()).collect();
    DomainClassifier { auc: 0.6, lower, upper: 0.65, p: Some(1e-6), columns }
}

#[test]
fn a_classifier_counts_by_what_its_columns_matter() {
    let values = sorted(normals(1_000, 0.0, 0.0, 1));
    let told = |columns: &[&str], importance: [f64; 3], share: f64| {
        let rules = Rules { major_share: share, ..Rules::default() };
        let measured = ["a", "b", "c"].into_iter().zip(importance).map(|(name, importance)| {
            let column = numeric(name, &values, &values, (0, 0));
            measure(&Column { importance: Some(importance), ..column }, &rules)
        });
        judge(measured.collect(), &[], Some(classifier(0.56, columns)), &rules)
    };
    let found = told(&["c", "a"], [1.0, 2.0, 1.0], 0.5);
    assert_eq!((found.level, found.major_share, found.joint_share), (Level::Major, 0.0, 0.5));
    let expected = "a classifier tells the sides apart with an area of 0.6 (0.56 to 0.65) under its curve, by `c` and `a`";
    assert_eq!(found.reason, expected);
    assert_eq!(told(&["c", "a"], [1.0, 2.0, 1.0], 0.6).level, Level::Minor);
    // The model uses none of them; and where nobody says which they are, there is nothing to weigh.
    assert_eq!(told(&["a"], [0.0, 1.0, 1.0], 0.0).level, Level::Minor);
    assert_eq!(told(&[], [1.0, 1.0, 1.0], 0.5).level, Level::Major);
}

/// Areas and p-values of answered parts beside scikit-learn's and scipy's.
#[test]
fn what_a_classifier_tells_is_what_others_tell_of_its_scores() {
    let script = r"
import numpy as np
from scipy import stats
from sklearn.metrics import roc_auc_score
weights = np.sqrt([part['learned'] for part in data])
areas, z, degrees = [], [], 0
for part in data:
    y, s = np.array(part['is_current']), np.array(part['scores'])
    areas.append(roc_auc_score(y, s))
    u = stats.mannwhitneyu(s[y], s[~y], alternative='greater', use_continuity=False, method='asymptotic')
    z.append(stats.norm.isf(u.pvalue))
    most = np.unique(s, return_counts=True)[1].max()
    degrees += min(y.sum(), (~y).sum()) * (1 - most / len(s)) - 1
answer = {'auc': np.average(areas, weights=weights), 'p': stats.t.sf(weights @ z / np.sqrt(weights @ weights), degrees)}
";
    let drawn = [normals(300, 0.0, 0.25, 41), normals(250, 0.0, 0.0, 42), normals(220, 0.0, 1.0, 43)];
    let parts: Vec<(Vec<bool>, Vec<f64>, usize)> = drawn
        .into_iter()
        .zip([100, 400, 800])
        .map(|(scores, learned)| {
            let is_current: Vec<bool> = (0..scores.len()).map(|row| row % 3 == 0).collect();
            let scores =
                scores.iter().zip(&is_current).map(|(score, is)| score + if *is { 0.25 } else { 0.0 });
            (is_current.clone(), scores.collect(), learned)
        })
        .collect();
    let answered: Vec<Answered<'_>> = parts
        .iter()
        .map(|(is_current, scores, learned)| Answered { is_current, scores, learned: *learned })
        .collect();
    let found = told_apart(&answered).unwrap();
    let data: Vec<_> = parts
        .iter()
        .map(|(is_current, scores, learned)| json!({"is_current": is_current, "scores": scores, "learned": learned}))
        .collect();
    let expected = python(script, &json!(data));
    close(found.auc, &expected["auc"], "area");
    close(found.p, &expected["p"], "p");
    assert!(found.p.is_some_and(|p| (1e-9..0.05).contains(&p)), "{found:?}");
}

#[test]
fn a_verdict_goes_through_text() {
    let (numbers, counts) = table();
    let verdict = compare(&columns(&numbers, &counts), &Rules::default());
    let text = serde_json::to_string(&verdict).unwrap();
    assert!(!text.contains("null,\"at\""));
    let again: Verdict = serde_json::from_str(&text).unwrap();
    assert_eq!(again.columns.len(), verdict.columns.len());
    assert_eq!(again.reason, verdict.reason);
}
