//! Figures of classifiers against scikit-learn, and CBPE against its definition in numpy.

use serde_json::json;
use tidemill_stats::estimate::{Isotonic, cbpe};
use tidemill_stats::quality::{Confusion, Group, calibration, fairness, slope, weighted_auc};
use tidemill_stats::random::Random;

use crate::python::{close, close_to, python};

/// Rows with probability, truth, weight and group; probabilities on a grid of 200 values, overconfident by `sharpness`.
struct Rows {
    probability: Vec<f64>,
    truth: Vec<bool>,
    said: Vec<bool>,
    weight: Vec<f64>,
    group: Vec<usize>,
}

fn rows(count: usize, sharpness: f64, seed: u64) -> Rows {
    let mut random = Random::new(seed, count as u64);
    let mut rows = Rows { probability: vec![], truth: vec![], said: vec![], weight: vec![], group: vec![] };
    for _ in 0..count {
        let logit = 1.5 * random.normal() - 0.5;
        let group = random.below(3) as usize;
        let p = (200.0 / (1.0 + (-sharpness * logit).exp())).round().clamp(1.0, 199.0) / 200.0;
        rows.probability.push(p);
        rows.truth.push(random.unit() < 1.0 / (1.0 + (-logit).exp()));
        rows.said.push(p + 0.05 * group as f64 >= 0.5);
        rows.weight.push(0.5 + 2.0 * random.unit());
        rows.group.push(group);
    }
    rows
}

#[test]
fn figures_of_classifiers_are_scikit_learns() {
    let sample = rows(3_007, 1.6, 2);
    let expected = python(
        "
import numpy as np
from sklearn import metrics as m
from sklearn.linear_model import LogisticRegression
p, y, s, w, g = [np.array(data[k]) for k in 'pyswg']
cal = []
order = np.argsort(p, kind='stable')
for part in np.array_split(order, 15):
    cal.append([len(part), p[part].mean(), y[part].mean()])
ece = sum(n / len(p) * abs(a - b) for n, a, b in cal)
x = np.log(p / (1 - p))[:, None]
f = LogisticRegression(C=np.inf, tol=1e-14, max_iter=10000, solver='newton-cholesky').fit(x, y)
X = np.column_stack([np.ones(len(p)), x])
q = f.predict_proba(x)[:, 1]
C = np.linalg.inv(X.T @ (X * (q * (1 - q))[:, None]))
wf = LogisticRegression(C=np.inf, tol=1e-14, max_iter=10000, solver='newton-cholesky').fit(x, y, sample_weight=w)
wq = wf.predict_proba(x)[:, 1]
H = np.linalg.inv(X.T @ (X * (w * wq * (1 - wq))[:, None]))
W = H @ (X.T @ (X * ((w * (y - wq)) ** 2)[:, None])) @ H
cut = np.minimum((np.cumsum(w[order]) - w[order] / 2) / w.sum() * 15, 14).astype(int)
wece = sum(w[o].sum() / w.sum() * abs(np.average(p[o], weights=w[o]) - np.average(y[o], weights=w[o]))
  for o in (order[cut == b] for b in range(15)))
weighted = [wf.coef_[0, 0], np.sqrt(W[1, 1]), np.sqrt(W[0, 0]), m.brier_score_loss(y, p, sample_weight=w), wece]
def group(f, **k): return [f(y[g == i], s[g == i]) for i in range(3)]
sel = [s[g == i].mean() for i in range(3)]
tpr = [m.recall_score(y[g == i], s[g == i]) for i in range(3)]
fpr = [1 - m.recall_score(y[g == i], s[g == i], pos_label=False) for i in range(3)]
answer = dict(weighted=weighted, acc=m.accuracy_score(y, s, sample_weight=w), prec=m.precision_score(y, s, sample_weight=w),
  rec=m.recall_score(y, s, sample_weight=w), spec=m.recall_score(y, s, sample_weight=w, pos_label=False),
  f1=m.f1_score(y, s, sample_weight=w), bal=m.balanced_accuracy_score(y, s, sample_weight=w),
  mcc=m.matthews_corrcoef(y, s, sample_weight=w), auc=m.roc_auc_score(y, p), wauc=m.roc_auc_score(y, p, sample_weight=w),
  brier=m.brier_score_loss(y, p), ece=ece, bins=cal, slope=f.coef_[0, 0], intercept=f.intercept_[0],
  se=[np.sqrt(C[1, 1]), np.sqrt(C[0, 0])],
  dp=[max(sel) - min(sel), min(sel) / max(sel)], eo=[max(tpr) - min(tpr), min(tpr) / max(tpr)],
  odds=[max(max(tpr) - min(tpr), max(fpr) - min(fpr)), min(min(tpr) / max(tpr), min(fpr) / max(fpr))])
",
        &json!({"p": sample.probability, "y": sample.truth, "s": sample.said, "w": sample.weight, "g": sample.group}),
    );
    let counts = Confusion::of(&sample.truth, &sample.said, Some(&sample.weight));
    for (name, figure) in [
        ("acc", counts.accuracy()),
        ("prec", counts.precision()),
        ("rec", counts.recall()),
        ("spec", counts.specificity()),
        ("f1", counts.f1()),
        ("bal", counts.balanced_accuracy()),
        ("mcc", counts.matthews()),
        ("auc", weighted_auc(&sample.truth, &sample.probability, None)),
        ("wauc", weighted_auc(&sample.truth, &sample.probability, Some(&sample.weight))),
    ] {
        close(figure, &expected[name], name);
    }
    let found = calibration(&sample.truth, &sample.probability, None, 15).unwrap();
    close(found.brier, &expected["brier"], "Brier");
    close(found.ece, &expected["ece"], "ECE");
    for (index, bin) in found.bins.iter().enumerate() {
        close(bin.rows, &expected["bins"][index][0], "rows of a bin");
        close(bin.said, &expected["bins"][index][1], "mean of a bin");
        close(bin.happened, &expected["bins"][index][2], "share of a bin");
    }
    let line = slope(&sample.truth, &sample.probability, None).unwrap();
    close_to(Some(line.slope), &expected["slope"], 1e-7, "slope");
    close_to(Some(line.intercept), &expected["intercept"], 1e-7, "intercept");
    close_to(Some(line.slope_error), &expected["se"][0], 1e-7, "error of the slope");
    close_to(Some(line.intercept_error), &expected["se"][1], 1e-7, "error of the intercept");
    let heavy = slope(&sample.truth, &sample.probability, Some(&sample.weight)).unwrap();
    close_to(Some(heavy.slope), &expected["weighted"][0], 1e-6, "weighted slope");
    close_to(Some(heavy.slope_error), &expected["weighted"][1], 1e-6, "its error");
    close_to(Some(heavy.intercept_error), &expected["weighted"][2], 1e-6, "error of the intercept");
    let found = calibration(&sample.truth, &sample.probability, Some(&sample.weight), 15).unwrap();
    close(found.brier, &expected["weighted"][3], "weighted Brier");
    close(found.ece, &expected["weighted"][4], "weighted ECE");
    assert!(line.interval(0.95).high < 1.0, "overconfident probabilities have a slope below one: {line:?}");
    let mut groups: Vec<Group> =
        (0..3).map(|group| Group { name: format!("{group}"), counts: Confusion::default() }).collect();
    for row in 0..sample.truth.len() {
        groups[sample.group[row]].counts.add(sample.truth[row], sample.said[row], 1.0);
    }
    let gaps = fairness(&groups, 0.95);
    let parity = gaps.demographic_parity.as_ref().unwrap();
    close(parity.difference.estimate, &expected["dp"][0], "demographic parity difference");
    close(parity.ratio.map(|r| r.estimate), &expected["dp"][1], "demographic parity ratio");
    let chance = gaps.equal_opportunity.as_ref().unwrap();
    close(chance.difference.estimate, &expected["eo"][0], "equal opportunity difference");
    close(chance.ratio.map(|r| r.estimate), &expected["eo"][1], "equal opportunity ratio");
    let odds = gaps.equalized_odds_difference().unwrap();
    close(odds.difference.estimate, &expected["odds"][0], "equalized odds difference");
    close(gaps.equalized_odds_ratio().map(|r| r.estimate), &expected["odds"][1], "equalized odds ratio");
}

#[test]
fn isotonic_regression_is_scikit_learns() {
    let sample = rows(800, 1.5, 4);
    let truth: Vec<f64> = sample.truth.iter().map(|y| f64::from(u8::from(*y))).collect();
    let at: Vec<f64> = (0..=500).map(|x| f64::from(x) / 500.0).collect();
    let expected = python(
        "
import numpy as np
from sklearn.isotonic import IsotonicRegression
f = lambda **k: IsotonicRegression(out_of_bounds='clip').fit(data['x'], data['y'], **k).predict(data['at'])
answer = [f(), f(sample_weight=data['w'])]
",
        &json!({"x": sample.probability, "y": truth, "w": sample.weight, "at": at}),
    );
    let plain = Isotonic::fit(&sample.probability, &truth, None).unwrap();
    let weighted = Isotonic::fit(&sample.probability, &truth, Some(&sample.weight)).unwrap();
    for (index, x) in at.iter().enumerate() {
        close_to(Some(plain.at(*x)), &expected[0][index], 1e-9, &format!("at {x}"));
        close_to(Some(weighted.at(*x)), &expected[1][index], 1e-9, &format!("weighted at {x}"));
    }
    let stored = serde_json::to_string(&plain).unwrap();
    let again: Isotonic = serde_json::from_str(&stored).unwrap();
    assert!((again.at(0.37) - plain.at(0.37)).abs() < 1e-12);
}

#[test]
fn estimates_without_labels_follow_their_definition_and_the_truth() {
    let (reference, current) = (rows(5_000, 1.5, 5), rows(5_000, 1.5, 6));
    // Another mix of rows, the same concept: the surer half of the current rows.
    let keep: Vec<usize> = (0..5_000).filter(|at| (current.probability[*at] - 0.5).abs() > 0.3).collect();
    let pick = |values: &[f64]| keep.iter().map(|at| values[*at]).collect::<Vec<f64>>();
    let flags = |values: &[bool]| keep.iter().map(|at| values[*at]).collect::<Vec<bool>>();
    let (scores, said, truth) = (pick(&current.probability), flags(&current.said), flags(&current.truth));
    let labels: Vec<f64> = reference.truth.iter().map(|y| f64::from(u8::from(*y))).collect();
    let expected = python(
        "
import numpy as np
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import roc_auc_score
f = IsotonicRegression(out_of_bounds='clip', increasing=True).fit(data['x'], data['y'])
s = np.array(data['s']); said = np.array(data['said']); c = f.predict(s)
tp, fp, fn, tn = c[said].sum(), (1 - c[said]).sum(), c[~said].sum(), (1 - c[~said]).sum()
# Every row once as a positive and once as a negative one, with the chance of either as its weight.
auc = roc_auc_score([1] * len(s) + [0] * len(s), np.r_[s, s], sample_weight=np.r_[c, 1 - c])
answer = dict(acc=(tp + tn) / len(s), prec=tp / (tp + fp), rec=tp / (tp + fn), f1=2 * tp / (2 * tp + fp + fn), auc=auc,
  sd=np.sqrt((c * (1 - c)).sum()) / len(s))
",
        &json!({"x": reference.probability, "y": labels, "s": scores, "said": said}),
    );
    let calibrator = Isotonic::fit(&reference.probability, &labels, None).unwrap();
    let found = cbpe(&calibrator.map(&scores), &scores, &said).unwrap();
    close(found.accuracy, &expected["acc"], "accuracy");
    close(found.accuracy_deviation, &expected["sd"], "deviation of the accuracy");
    close(found.precision, &expected["prec"], "precision");
    close(found.recall, &expected["rec"], "recall");
    close(found.f1, &expected["f1"], "F1");
    close(found.auc, &expected["auc"], "area");
    let real = Confusion::of(&truth, &said, None);
    let area = weighted_auc(&truth, &scores, None).unwrap();
    println!(
        "CBPE: accuracy {:.4} (real {:.4}), area {:.4} (real {area:.4})",
        found.accuracy,
        real.accuracy().unwrap(),
        found.auc.unwrap()
    );
    assert!((found.accuracy - real.accuracy().unwrap()).abs() < 0.03);
    assert!((found.auc.unwrap() - area).abs() < 0.03);
}
