//! Figures of labelled windows, beside scikit-learn's.

use tidemill_core::declare::{Costs, Metric};
use tidemill_monitor::{Labels, measure};
use tidemill_stats::random::Random;

const SCRIPT: &str = "
import json, sys
import numpy as np
from sklearn import metrics as m
case = json.load(sys.stdin)
y, s, d = (np.array(case[key]) for key in ('positive', 'scores', 'said'))
t, a = np.array(case['truth']), np.array(case['answers'])
cost = np.where(y & ~d, 120.0, 0) + np.where(~y & d, 15.0, 0)
print(json.dumps({
    'roc_auc': m.roc_auc_score(y, s), 'accuracy': m.accuracy_score(y, d), 'brier': m.brier_score_loss(y, s),
    'log_loss': m.log_loss(y, s), 'f1': m.f1_score(y, d), 'pr_auc': m.average_precision_score(y, s), 'cost': cost.mean(),
    'mae': m.mean_absolute_error(t, a), 'rmse': m.mean_squared_error(t, a) ** 0.5, 'r2': m.r2_score(t, a),
    'accuracy_kinds': m.accuracy_score(case['kinds'], case['kinds_said']),
    'f1_kinds': m.f1_score(case['kinds'], case['kinds_said'], average='macro'),
    'cost_half': 1.959963984540054 * cost.std(ddof=1) / len(cost) ** 0.5,
}))
";

#[test]
fn metrics_of_windows_are_those_of_scikit_learn() {
    let mut random = Random::new(5, 0);
    let positive: Vec<bool> = (0..700).map(|_| random.unit() < 0.3).collect();
    // Few different scores, so that many rows tie.
    let scores: Vec<f64> = positive
        .iter()
        .map(|positive| {
            ((random.unit() + f64::from(u8::from(*positive)) * 0.4) * 20.0).floor().min(20.0) / 20.0
        })
        .collect();
    let said: Vec<bool> = scores.iter().map(|score| *score >= 0.5).collect();
    let truth: Vec<f64> = (0..700).map(|_| random.normal() * 3.0).collect();
    let answers: Vec<f64> = truth.iter().map(|truth| truth * 0.8 + random.normal()).collect();
    // Three classes, of which one is rare.
    let kinds: Vec<u32> = (0..700).map(|row| [0, 0, 1, 1, 1, 0, 1, 2][row % 8]).collect();
    let kinds_said: Vec<u32> =
        kinds.iter().map(|kind| if random.unit() < 0.7 { *kind } else { (kind + 1) % 3 }).collect();
    let input = serde_json::json!({
        "positive": positive, "scores": scores, "said": said, "truth": truth, "answers": answers,
        "kinds": kinds, "kinds_said": kinds_said,
    });
    let answer = tidemill_testkit::python_answer(SCRIPT, &input.to_string());
    let theirs: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let costs = Costs {
        currency: None,
        false_negative: 120.0,
        false_positive: 15.0,
        true_positive: 0.0,
        true_negative: 0.0,
    };
    let classes = Labels::Classes { positive, scores, said };
    let numbers = Labels::Numbers { truth, answers };
    let kinds = Labels::Kinds { truth: kinds, said: kinds_said };
    for (name, metric, labels) in [
        ("roc_auc", Metric::RocAuc, &classes),
        ("accuracy", Metric::Accuracy, &classes),
        ("brier", Metric::Brier, &classes),
        ("log_loss", Metric::LogLoss, &classes),
        ("f1", Metric::F1, &classes),
        ("pr_auc", Metric::PrAuc, &classes),
        ("cost", Metric::Cost, &classes),
        ("mae", Metric::Mae, &numbers),
        ("rmse", Metric::Rmse, &numbers),
        ("r2", Metric::R2, &numbers),
        ("accuracy_kinds", Metric::Accuracy, &kinds),
        ("f1_kinds", Metric::F1, &kinds),
    ] {
        let found = measure(metric, labels, Some(&costs)).unwrap();
        let expected = theirs[name].as_f64().unwrap();
        assert!(
            (found.estimate - expected).abs() < 1e-9 * expected.abs().max(1.0),
            "{name}: {found:?}, not {expected}"
        );
        assert!(found.low < found.estimate && found.estimate < found.high, "{name}: {found:?}");
        if name == "cost" {
            let half = theirs["cost_half"].as_f64().unwrap();
            assert!((found.high - found.estimate - half).abs() < 1e-9, "{found:?}, not ± {half}");
        }
    }
    assert!(measure(Metric::CalibrationError, &classes, None).unwrap_err().contains("watch another metric"));
    assert!(measure(Metric::RocAuc, &kinds, None).unwrap_err().contains("watch `accuracy` or `f1`"));
    assert!(measure(Metric::Cost, &classes, None).unwrap_err().contains("names no costs"));
}
