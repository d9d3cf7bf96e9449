//! Sequential tests: the formula against scipy, and the error under peeking by simulation.

use serde_json::json;
use tidemill_stats::random::Random;
use tidemill_stats::sequential::{
    Counts, Decision, Guardrail, Law, Plan, Tally, TwoByTwo, Way, ln_evidence, radius, sample_ratio,
};

use crate::python::{close, close_to, python};

#[test]
fn the_evidence_is_the_integral_that_it_stands_for() {
    let points: Vec<(f64, f64, f64)> = vec![
        (0.01, 1e-4, 0.02),
        (-0.05, 1e-4, 0.02),
        (0.0, 1.0, 1.0),
        (3.0, 1.0, 0.5),
        (-8.0, 1.0, 2.0),
        (1e-3, 1e-8, 1e-3),
        (0.2, 4e-3, 10.0),
    ];
    let expected = python(
        "
import numpy as np
from scipy import stats, integrate
answer = []
for d, V, t in data['points']:
    s = V + t * t
    f = np.log(2) + .5 * np.log(V / s) + t * t * d * d / (2 * V * s) + stats.norm.logcdf(t * d / np.sqrt(V * s))
    # Likelihood ratio of N(h, V) to N(0, V), mixed over h ~ half-normal with scale t.
    top = max(0, d * t * t / s)
    g = lambda h: np.exp((h * d - h * h / 2) / V - h * h / (2 * t * t) - ((top * d - top * top / 2) / V - top * top / (2 * t * t)))
    w = np.sqrt(V * t * t / s)
    i = integrate.quad(g, 0, top + 40 * w, points=[top, top + w, max(0, top - w)], limit=500)[0]
    m = np.log(i * 2 / (t * np.sqrt(2 * np.pi))) + (top * d - top * top / 2) / V - top * top / (2 * t * t)
    answer.append([f, m])
answer = dict(f=answer, srm=stats.chisquare([4980, 5100, 9920], np.array([1, 1, 2]) * 5000).pvalue)
",
        &json!({"points": points}),
    );
    for (index, (d, variance, tau)) in points.into_iter().enumerate() {
        let found = ln_evidence(d, variance, tau);
        close(found, &expected["f"][index][0], &format!("formula at {index}"));
        close_to(found, &expected["f"][index][1], 1e-6, &format!("integral at {index}"));
    }
    let found = sample_ratio(&[4_980, 5_100, 9_920], &[0.25, 0.25, 0.5]).unwrap();
    close(found.p, &expected["srm"], "sample ratio");
    assert!(found.fine);
    assert!(radius(1e-4, 0.02, 0.05).unwrap() > radius(1e-4, 0.02, 0.1).unwrap());
}

/// Shares of 400 rollouts of 10,000 requests an arm, looked at after every 50, that end in harm and in no harm.
fn rollouts(rates: (f64, f64), plan: Plan, binary: bool, seed: u64) -> (f64, f64) {
    let (mut harm, mut no_harm) = (0.0, 0.0);
    for repetition in 0..400 {
        let mut random = Random::new(seed, repetition);
        let (mut control, mut candidate) = (Tally::default(), Tally::default());
        let mut guardrail = Guardrail::new(plan);
        for _ in 0..200 {
            for _ in 0..50 {
                let mut draw = |rate: f64| {
                    if binary {
                        f64::from(u8::from(random.unit() < rate))
                    } else {
                        rate - random.unit().max(1e-12).ln()
                    }
                };
                control.add(draw(rates.0));
                candidate.add(draw(rates.1));
            }
            guardrail.look(&control, &candidate);
            if guardrail.decision() != Decision::Undecided {
                break;
            }
        }
        harm += f64::from(u8::from(guardrail.decision() == Decision::Harm));
        no_harm += f64::from(u8::from(guardrail.decision() == Decision::NoHarm));
    }
    (harm / 400.0, no_harm / 400.0)
}

/// 400 repetitions of a true rate of 5 % show at most 7.5 % in 99 of 100 simulations.
const BOUND: f64 = 0.075;

#[test]
fn peeking_does_not_raise_the_error() {
    let plan = Plan::new(0.05, 0.0, 0.02);
    let same = rollouts((0.05, 0.05), plan, true, 1);
    let rare = rollouts((0.01, 0.01), plan, true, 2);
    let skewed = rollouts((0.0, 0.0), Plan::new(0.05, 0.0, 0.1), false, 3);
    // Exactly at the margin neither decision may come too often.
    let at_margin = rollouts((0.05, 0.06), Plan::new(0.05, 0.01, 0.02), true, 4);
    println!(
        "harm without harm: 5 % {:.3}, 1 % {:.3}, exponential {:.3}; at the margin {at_margin:?}",
        same.0, rare.0, skewed.0
    );
    for rate in [same.0, rare.0, skewed.0, at_margin.0, at_margin.1] {
        assert!(rate <= BOUND, "{rate}");
    }
    let worse = rollouts((0.05, 0.08), plan, true, 5);
    let fine = rollouts((0.05, 0.05), Plan::new(0.05, 0.02, 0.02), true, 6);
    println!("harm of 3 points found {:.3}, no harm of 2 points shown {:.3}", worse.0, fine.1);
    assert!(worse.0 > 0.95 && fine.1 > 0.9 && fine.0 <= BOUND, "{worse:?} {fine:?}");
}

#[test]
fn exact_tests_hold_their_level_on_rare_failures() {
    let run = |rates: (f64, f64), seed| {
        let (mut two_by_two, mut rare) = (0.0, 0.0);
        for repetition in 0..400 {
            let mut random = Random::new(seed, repetition);
            let mut table = TwoByTwo::new();
            let (mut events, mut largest) = (Counts::new(Law::Binomial, Way::Above, 1.0, 1.0), 0.0_f64);
            for _ in 0..100 {
                let mut hits =
                    |count: u64, rate: f64| (0..count).filter(|_| random.unit() < rate).count() as u64;
                let (control, candidate) = ((hits(90, rates.0), 90), (hits(30, rates.1), 30));
                table.add(control, candidate);
                events.update((candidate.1, candidate.0), (control.1, control.0));
                largest = largest.max(events.ln_evidence());
            }
            two_by_two += f64::from(u8::from(table.p() <= 0.05));
            rare += f64::from(u8::from((-largest).exp() <= 0.05));
        }
        (two_by_two / 400.0, rare / 400.0)
    };
    let (same, worse) = (run((0.005, 0.005), 7), run((0.005, 0.03), 8));
    println!("rare failures: error {same:?}, power {worse:?}");
    assert!(same.0 <= BOUND && same.1 <= BOUND && worse.0 > 0.8 && worse.1 > 0.9);
}
