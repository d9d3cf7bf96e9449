//! Metrics against scikit-learn, and what must hold of them whatever the numbers.

use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde_json::{Value, json};
use tidemill_core::declare::{Costs, Metric};
use tidemill_train::metric::{
    Decision, Measure, Scored, Truth, best_threshold, calibration_table, confusion, intervals, measure, name,
    paired_bootstrap,
};

use crate::python::python;

/// Uniform numbers for tests.
struct Draw(ChaCha8Rng);

impl Draw {
    fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, bound: u32) -> u32 {
        self.0.next_u32() % bound
    }
}

/// Two classes; probabilities on a grid of 50 values, so that there are many ties, and a few at 0 and 1.
fn two_classes(rows: usize, seed: u64, weighted: bool) -> Scored {
    let mut draw = Draw::new(seed);
    let mut values = Vec::new();
    let mut answers = Vec::new();
    for _ in 0..rows {
        let p = f64::from(draw.below(51)) / 50.0;
        values.push(u32::from(draw.unit() < 0.2 + 0.6 * p));
        answers.push(p);
    }
    let weights = weighted.then(|| (0..rows).map(|_| 3.0 * draw.unit()).collect());
    Scored { truth: Truth::Classes { values, classes: 2 }, answers, weights }
}

fn more_classes(rows: usize, classes: usize, seed: u64, weighted: bool) -> Scored {
    let mut draw = Draw::new(seed);
    let mut values = Vec::new();
    let mut answers = Vec::new();
    for _ in 0..rows {
        let class = draw.below(classes as u32);
        let mut row: Vec<f64> = (0..classes).map(|_| f64::from(draw.below(10) + 1)).collect();
        row[class as usize] += 5.0;
        let sum: f64 = row.iter().sum();
        answers.extend(row.iter().map(|value| value / sum));
        values.push(class);
    }
    let weights = weighted.then(|| (0..rows).map(|_| 3.0 * draw.unit()).collect());
    Scored { truth: Truth::Classes { values, classes }, answers, weights }
}

fn numbers(rows: usize, seed: u64, weighted: bool) -> Scored {
    let mut draw = Draw::new(seed);
    let truth: Vec<f64> = (0..rows).map(|_| 1e4 + 100.0 * draw.unit()).collect();
    let answers = truth.iter().map(|value| value + 60.0 * (draw.unit() - 0.4)).collect();
    let weights = weighted.then(|| (0..rows).map(|_| 3.0 * draw.unit()).collect());
    Scored { truth: Truth::Numbers(truth), answers, weights }
}

fn as_json(scored: &Scored) -> Value {
    let truth = match &scored.truth {
        Truth::Classes { values, .. } => json!(values),
        Truth::Numbers(values) => json!(values),
    };
    json!({"truth": truth, "answers": scored.answers, "weights": scored.weights})
}

fn close(found: f64, expected: &Value, what: &str) {
    let expected = expected.as_f64().unwrap_or_else(|| panic!("{what}: {expected}"));
    let bound = 1e-12 * expected.abs().max(1.0);
    assert!((found - expected).abs() <= bound, "{what}: {found} instead of {expected}");
}

const COSTS: Costs = Costs {
    currency: None,
    false_negative: 12.0,
    false_positive: 1.5,
    true_positive: 0.5,
    true_negative: 0.0,
};

#[test]
fn two_classes_as_scikit_learn() {
    let script = r"
import numpy as np
from sklearn import metrics as m
answer = []
for d in data:
    y, p, w = np.array(d['truth']), np.array(d['answers']), d['weights']
    label = (p >= 0.3).astype(int)
    bins = np.clip(np.ceil(p * 10 - 1e-9).astype(int) - 1, 0, 9)
    ww = np.ones(len(y)) if w is None else np.array(w)
    ece = sum(abs((ww * (y - p))[bins == b].sum()) for b in range(10)) / ww.sum()
    true, mean = [], []
    for b in range(10):
        true.append(float(np.average(y[bins == b], weights=ww[bins == b])))
        mean.append(float(np.average(p[bins == b], weights=ww[bins == b])))
    cost = np.where(y == 1, np.where(label == 1, .5, 12.), np.where(label == 1, 1.5, 0.))
    answer.append(dict(
        accuracy=m.accuracy_score(y, label, sample_weight=w), log_loss=m.log_loss(y, p, sample_weight=w),
        roc_auc=m.roc_auc_score(y, p, sample_weight=w), pr_auc=m.average_precision_score(y, p, sample_weight=w),
        f1=m.f1_score(y, label, sample_weight=w), brier=m.brier_score_loss(y, p, sample_weight=w),
        calibration_error=ece, cost=float(np.average(cost, weights=w)), true=true, mean=mean,
        confusion=m.confusion_matrix(y, label, sample_weight=w).tolist()))
";
    let sets: Vec<Scored> =
        (0..8).map(|at| two_classes([40, 257, 1_000, 5_000][at / 2], at as u64, at % 2 == 1)).collect();
    let expected = python(script, &sets.iter().map(as_json).collect());
    let decision = Decision { threshold: 0.3, costs: Some(COSTS) };
    for (scored, expected) in sets.iter().zip(expected.as_array().unwrap()) {
        for metric in [
            Metric::Accuracy,
            Metric::LogLoss,
            Metric::RocAuc,
            Metric::PrAuc,
            Metric::F1,
            Metric::Brier,
            Metric::CalibrationError,
            Metric::Cost,
        ] {
            close(measure(scored, metric, &decision).unwrap(), &expected[name(metric)], name(metric));
        }
        for (bin, at) in calibration_table(scored).iter().zip(0..) {
            close(bin.observed.unwrap(), &expected["true"][at], "observed");
            close(bin.mean_probability.unwrap(), &expected["mean"][at], "mean");
        }
        let Truth::Classes { values, .. } = &scored.truth else { panic!() };
        let matrix = confusion(values, &scored.labels(0.3), 2, scored.weights.as_deref());
        for (truth, label) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            close(matrix[truth][label], &expected["confusion"][truth][label], "confusion");
        }
    }
}

#[test]
fn more_classes_as_scikit_learn() {
    let script = r"
import numpy as np
from sklearn import metrics as m
answer = []
for d in data:
    y, w = np.array(d['truth']), d['weights']
    p = np.array(d['answers']).reshape(len(y), -1)
    label = p.argmax(axis=1)
    answer.append(dict(
        accuracy=m.accuracy_score(y, label, sample_weight=w), log_loss=m.log_loss(y, p, sample_weight=w),
        roc_auc=m.roc_auc_score(y, p, sample_weight=w, multi_class='ovr', average='macro'),
        pr_auc=m.average_precision_score(y, p, sample_weight=w, average='macro'),
        f1=m.f1_score(y, label, sample_weight=w, average='macro'), brier=m.brier_score_loss(y, p, sample_weight=w)))
";
    let sets: Vec<Scored> =
        (0..6).map(|at| more_classes(300 * (at + 1), 3 + at / 2, at as u64, at % 2 == 1)).collect();
    let expected = python(script, &sets.iter().map(as_json).collect());
    for (scored, expected) in sets.iter().zip(expected.as_array().unwrap()) {
        for metric in
            [Metric::Accuracy, Metric::LogLoss, Metric::RocAuc, Metric::PrAuc, Metric::F1, Metric::Brier]
        {
            let found = measure(scored, metric, &Decision::default()).unwrap();
            close(found, &expected[name(metric)], name(metric));
        }
    }
}

#[test]
fn regression_as_scikit_learn() {
    let script = r"
from sklearn import metrics as m
answer = []
for d in data:
    y, p, w = d['truth'], d['answers'], d['weights']
    answer.append(dict(rmse=m.root_mean_squared_error(y, p, sample_weight=w),
        mae=m.mean_absolute_error(y, p, sample_weight=w), r2=m.r2_score(y, p, sample_weight=w)))
";
    let sets: Vec<Scored> = (0..6).map(|at| numbers(50 + 997 * at, at as u64, at % 2 == 1)).collect();
    let expected = python(script, &sets.iter().map(as_json).collect());
    for (scored, expected) in sets.iter().zip(expected.as_array().unwrap()) {
        for metric in [Metric::Rmse, Metric::Mae, Metric::R2] {
            let found = measure(scored, metric, &Decision::default()).unwrap();
            close(found, &expected[name(metric)], name(metric));
        }
    }
}

#[test]
fn intervals_as_a_plain_bootstrap_gives_them() {
    let script = r"
import numpy as np
from scipy.stats import rankdata
y, p = np.array(data['truth']), np.array(data['answers'])
rng = np.random.default_rng(1)
drawn = rng.integers(0, len(y), (4000, len(y)))
ranks, y, p = rankdata(p[drawn], axis=1), y[drawn], p[drawn]
ones = y.sum(axis=1)
auc = ((ranks * y).sum(axis=1) - ones * (ones + 1) / 2) / (ones * (y.shape[1] - ones))
brier = ((y - p) ** 2).mean(axis=1)
answer = np.concatenate([np.percentile(auc, [2.5, 97.5]), np.percentile(brier, [2.5, 97.5])]).tolist()
";
    let scored = two_classes(400, 5, false);
    let expected = python(script, &as_json(&scored));
    let measures = Measure::prepare(&scored, &[Metric::RocAuc, Metric::Brier], &Decision::default()).unwrap();
    let found = intervals(&measures, &scored.weights(), 3);
    let found: Vec<f64> =
        found.iter().flatten().flat_map(|interval| [interval.lower, interval.upper]).collect();
    // Both are random; the ends agree within a tenth of the width.
    for (at, found) in found.iter().enumerate() {
        let width = expected[at / 2 * 2 + 1].as_f64().unwrap() - expected[at / 2 * 2].as_f64().unwrap();
        let distance = (found - expected[at].as_f64().unwrap()).abs();
        assert!(distance < 0.1 * width, "end {at}: {found} instead of {}", expected[at]);
    }
}

#[test]
fn intervals_do_not_depend_on_threads() {
    let scored = two_classes(700, 2, true);
    let all = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let metrics = [Metric::RocAuc, Metric::PrAuc, Metric::LogLoss, Metric::F1, Metric::CalibrationError];
        let measures = Measure::prepare(&scored, &metrics, &Decision::default()).unwrap();
        pool.install(|| intervals(&measures, &scored.weights(), 9))
    };
    assert_eq!(all(1), all(2));
    assert_eq!(all(1), all(5));
}

#[test]
fn two_models_on_the_same_rows() {
    let mut draw = Draw::new(4);
    let old: Vec<f64> = (0..2_000).map(|_| 100.0 * draw.unit()).collect();
    let better: Vec<f64> = old.iter().map(|cost| cost - 1.0 + 2.0 * draw.unit() * 0.5).collect();
    let found = paired_bootstrap(&better, &old, None, 1).unwrap();
    let difference = better.iter().zip(&old).map(|(new, old)| new - old).sum::<f64>() / 2_000.0;
    assert!((found.difference - difference).abs() < 1e-12);
    // The costs themselves vary by 29 from row to row; paired, a gain of a half is beyond doubt.
    assert!(found.upper < 0.0 && found.share_above == 0.0, "{found:?}");
    let same = paired_bootstrap(&old, &old, None, 1).unwrap();
    assert_eq!((same.lower, same.upper, same.share_above), (0.0, 0.0, 0.0));
    assert!(paired_bootstrap(&old, &old[1..], None, 1).is_err());
}

#[test]
fn metrics_that_are_not_defined_or_do_not_fit() {
    let one = Scored {
        truth: Truth::Classes { values: vec![1, 1], classes: 2 },
        answers: vec![0.2, 0.4],
        weights: None,
    };
    let text =
        |scored: &Scored, metric| measure(scored, metric, &Decision::default()).unwrap_err().to_string();
    assert!(text(&one, Metric::RocAuc).starts_with("metric `roc_auc` is not defined on these rows"));
    assert_eq!(text(&one, Metric::Rmse), "metric `rmse` cannot be used: it is for regression");
    assert_eq!(
        text(&one, Metric::Cost),
        "metric `cost` cannot be used: neither the training nor the objective has `costs`"
    );
    let constant = Scored { truth: Truth::Numbers(vec![0.1; 7]), answers: vec![0.2; 7], weights: None };
    assert!(text(&constant, Metric::R2).starts_with("metric `r2` is not defined"));
}

/// Rows with truth, a probability from few values, and a small whole weight.
fn rows() -> impl Strategy<Value = Vec<(bool, u8, u8)>> {
    prop::collection::vec((any::<bool>(), 0..20_u8, 0..4_u8), 2..60)
        .prop_filter("both classes have weight", |rows| {
            [true, false].iter().all(|class| rows.iter().any(|row| row.0 == *class && row.2 > 0))
        })
}

fn scored(rows: &[(bool, u8, u8)], probability: impl Fn(u8) -> f64) -> Scored {
    Scored {
        truth: Truth::Classes { values: rows.iter().map(|row| u32::from(row.0)).collect(), classes: 2 },
        answers: rows.iter().map(|row| probability(row.1)).collect(),
        weights: Some(rows.iter().map(|row| f64::from(row.2)).collect()),
    }
}

proptest! {
    #[test]
    fn ranks_alone_decide_the_areas(rows in rows()) {
        let plain = scored(&rows, |step| f64::from(step) / 20.0);
        let bent = scored(&rows, |step| (f64::from(step) / 20.0).powi(3) * 0.7 + 0.1);
        for metric in [Metric::RocAuc, Metric::PrAuc] {
            let (a, b) = (measure(&plain, metric, &Decision::default()), measure(&bent, metric, &Decision::default()));
            prop_assert!((a.unwrap() - b.unwrap()).abs() < 1e-12);
        }
    }

    #[test]
    fn swapping_the_classes_mirrors_the_area(rows in rows()) {
        let plain = scored(&rows, |step| f64::from(step) / 20.0);
        let swapped: Vec<_> = rows.iter().map(|row| (!row.0, row.1, row.2)).collect();
        let mirrored = scored(&swapped, |step| f64::from(step) / 20.0);
        let area = |scored| measure(scored, Metric::RocAuc, &Decision::default()).unwrap();
        prop_assert!((area(&plain) + area(&mirrored) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_weight_is_a_number_of_copies(rows in rows()) {
        let plain = scored(&rows, |step| f64::from(step) / 20.0);
        let copies: Vec<_> = rows.iter().flat_map(|row| vec![(row.0, row.1, 1); row.2 as usize]).collect();
        let copied = Scored { weights: None, ..scored(&copies, |step| f64::from(step) / 20.0) };
        let decision = Decision { threshold: 0.4, costs: Some(COSTS) };
        for metric in [
            Metric::Accuracy, Metric::LogLoss, Metric::RocAuc, Metric::PrAuc, Metric::F1, Metric::Brier,
            Metric::CalibrationError, Metric::Cost,
        ] {
            let (a, b) = (measure(&plain, metric, &decision), measure(&copied, metric, &decision));
            prop_assert!((a.unwrap() - b.unwrap()).abs() < 1e-12, "{}", name(metric));
        }
    }

    #[test]
    fn no_threshold_is_cheaper_than_the_best(rows in rows(), miss in 0..20_u8, alarm in 0..20_u8) {
        let scored = scored(&rows, |step| f64::from(step) / 20.0);
        let costs = Costs { false_negative: f64::from(miss), false_positive: f64::from(alarm), ..COSTS };
        let positive: Vec<bool> = rows.iter().map(|row| row.0).collect();
        let at = |threshold: f64| {
            measure(&scored, Metric::Cost, &Decision { threshold, costs: Some(costs.clone()) }).unwrap()
        };
        let best = best_threshold(&positive, &scored.answers, scored.weights.as_deref(), &costs).unwrap();
        prop_assert!((at(best.value) - best.cost).abs() < 1e-12);
        for step in 0..=42 {
            prop_assert!(at(f64::from(step) / 40.0) >= best.cost - 1e-9);
        }
        prop_assert!(costs.of(true, false) == f64::from(miss));
    }
}
