//! Corrections for many tests: against scipy, and the false discovery rate of a long sequence.

use serde_json::json;
use tidemill_stats::multiple::{Lord, benjamini_hochberg};
use tidemill_stats::random::Random;
use tidemill_stats::special::normal_above;

use crate::python::{close, python};

#[test]
fn adjusted_values_are_scipys() {
    let mut random = Random::new(4, 0);
    let families: Vec<Vec<f64>> = [1, 2, 20, 300]
        .into_iter()
        .map(|count| {
            (0..count).map(|at| if at % 7 == 0 { random.unit() * 0.01 } else { random.unit() }).collect()
        })
        .chain([vec![0.0, 1.0, 0.5, 0.5, 0.5], vec![0.2; 6]])
        .collect();
    let expected = python(
        "from scipy import stats\nanswer = [stats.false_discovery_control(p).tolist() for p in data]",
        &json!(families),
    );
    for (index, family) in families.iter().enumerate() {
        for (at, found) in benjamini_hochberg(family).into_iter().enumerate() {
            close(found, &expected[index][at], &format!("family {index}, test {at}"));
        }
    }
}

#[test]
fn levels_of_a_sequence_are_those_of_the_paper() {
    let mut random = Random::new(5, 0);
    let sequence: Vec<f64> =
        (0..400).map(|at| if at % 10 < 2 { random.unit() * 1e-4 } else { random.unit() }).collect();
    let expected = python(
        "
import numpy as np
g = lambda j: 0.07720838 * np.log(max(j, 2)) / (j * np.exp(np.sqrt(np.log(j))))
alpha, w0, tau, answer = .05, .005, [], []
for t, p in enumerate(data, 1):
    level = g(t) * w0 + ((alpha - w0) * g(t - tau[0]) if tau else 0) + alpha * sum(g(t - x) for x in tau[1:])
    answer.append(level)
    if p <= level: tau.append(t)
",
        &json!(sequence),
    );
    let mut lord = Lord::new(0.05);
    for (at, p) in sequence.into_iter().enumerate() {
        close(lord.level(), &expected[at], &format!("level {at}"));
        lord.judge(p);
    }
}

/// 300 sequences of 500 tests of which a fifth has an effect: the mean share of false discoveries stays below α.
#[test]
fn the_share_of_false_discoveries_is_kept() {
    let (mut shares, mut found) = (0.0, 0.0);
    for repetition in 0..300 {
        let mut random = Random::new(6, repetition);
        let mut lord = Lord::new(0.1);
        let (mut all, mut wrong) = (0.0, 0.0);
        for _ in 0..500 {
            let effect = random.unit() < 0.2;
            let p = normal_above(random.normal() + if effect { 3.0 } else { 0.0 });
            if lord.judge(p) {
                all += 1.0;
                wrong += if effect { 0.0 } else { 1.0 };
            }
        }
        shares += if all > 0.0 { wrong / all } else { 0.0 };
        found += all - wrong;
    }
    let (rate, power) = (shares / 300.0, found / (300.0 * 100.0));
    println!("LORD++: false discovery rate {rate:.3}, power {power:.3}");
    assert!(rate < 0.1 && power > 0.3, "{rate} {power}");
}
