//! Tests that may be looked at after every request: the judge of rollouts.
//!
//! A fixed test that is peeked at becomes a false alarm sooner or later. The figures here hold at all times at once:
//! under no harm the evidence Λ reaches 1/α ever with a chance of at most α.

mod rare;
mod ratio;
mod tally;
mod two_by_two;

use serde::{Deserialize, Serialize};

pub use rare::{RareEvents, Side};
pub use ratio::{REFUSE, SampleRatio, sample_ratio};
pub use tally::Tally;
pub use two_by_two::TwoByTwo;

use crate::interval::Interval;
use crate::special::ln_normal_below;

/// Natural logarithm of the one-sided half-normal mixture evidence that a difference is above zero (H. Robbins, Ann.
/// Math. Stat. 41, 1970; I. Waudby-Smith et al., Time-uniform central limit theory and asymptotic confidence
/// sequences, <https://arxiv.org/abs/2103.06476>):
///
/// ln 2 + ½·ln(V/(V+τ²)) + τ²d²/(2V(V+τ²)) + ln Φ(τd/√(V(V+τ²)))
///
/// with the difference `d` in the direction of harm minus the margin, its `variance` V, and the effect of interest `tau`.
/// `None` unless `variance` and `tau` are above zero.
pub fn ln_evidence(d: f64, variance: f64, tau: f64) -> Option<f64> {
    let good = variance > 0.0 && tau > 0.0 && variance.is_finite() && tau.is_finite() && d.is_finite();
    good.then(|| {
        let square = tau * tau;
        let sum = variance + square;
        std::f64::consts::LN_2
            + 0.5 * (variance / sum).ln()
            + square * d * d / (2.0 * variance * sum)
            + ln_normal_below(tau * d / (variance * sum).sqrt())
    })
}

/// The difference at which [`ln_evidence`] reaches ln(1/`alpha`): half of the width of the confidence sequence.
/// `None` as there.
pub fn radius(variance: f64, tau: f64, alpha: f64) -> Option<f64> {
    let wanted = -alpha.ln();
    let mut high = variance.sqrt();
    while ln_evidence(high, variance, tau)? < wanted {
        high *= 2.0;
        if !high.is_finite() {
            return None;
        }
    }
    let mut low = 0.0;
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if middle <= low || middle >= high {
            break;
        }
        if ln_evidence(middle, variance, tau)? < wanted {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some(high)
}

/// What to watch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Chance of a wrong decision ever. With m guardrails give each α/m.
    pub alpha: f64,
    /// How much harm is tolerated, in the unit of the metric.
    pub margin: f64,
    /// The difference that is of interest; evidence grows fastest for differences about this large.
    pub tau: f64,
    /// Requests an arm before the first reading counts.
    pub burn_in: u64,
    /// For 0/1 metrics, hits of both arms together before the first reading counts.
    pub least_hits: u64,
}

impl Plan {
    /// The documented defaults: a burn-in of 100 requests an arm and 10 failures pooled.
    pub fn new(alpha: f64, margin: f64, tau: f64) -> Self {
        Self { alpha, margin, tau, burn_in: 100, least_hits: 10 }
    }
}

/// What the evidence comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// More than the margin of harm is shown.
    Harm,
    /// Less than the margin of harm is shown: non-inferior.
    NoHarm,
    /// Neither yet.
    Undecided,
}

/// One look at the data.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// Candidate minus control with the interval of the confidence sequence at 1 − α, positive is harm. Its ends are
    /// those at which the two one-sided tests decide, each at α.
    pub difference: Interval,
    /// Variance of the difference.
    pub variance: f64,
    /// Evidence that harm exceeds the margin, as a logarithm.
    pub ln_harm: f64,
    /// Evidence that harm is below the margin, as a logarithm.
    pub ln_no_harm: f64,
    /// Always-valid p-value of "harm is at most the margin": the smallest 1/Λ so far.
    pub p_harm: f64,
    /// Always-valid p-value of "harm is at least the margin".
    pub p_no_harm: f64,
    /// What was decided, now or earlier.
    pub decision: Decision,
}

/// A guardrail metric that is watched; its state can be stored between looks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Guardrail {
    plan: Plan,
    p_harm: f64,
    p_no_harm: f64,
    decision: Decision,
}

impl Guardrail {
    /// Starts with nothing seen.
    pub fn new(plan: Plan) -> Self {
        Self { plan, p_harm: 1.0, p_no_harm: 1.0, decision: Decision::Undecided }
    }

    /// What was decided so far.
    pub fn decision(&self) -> Decision {
        self.decision
    }

    /// Looks at all data so far, more harmful values being larger. `None` during burn-in, or while neither arm
    /// varies. The first decision stays.
    pub fn look(&mut self, control: &Tally, candidate: &Tally) -> Option<Reading> {
        let plan = self.plan;
        let enough = control.count().min(candidate.count()) >= plan.burn_in;
        let hits = control.hits().zip(candidate.hits()).map(|(a, b)| a + b);
        if !enough || hits.is_some_and(|hits| hits < plan.least_hits) {
            return None;
        }
        let variance = control.variance_of_mean()? + candidate.variance_of_mean()?;
        let estimate = candidate.mean()? - control.mean()?;
        let ln_harm = ln_evidence(estimate - plan.margin, variance, plan.tau)?;
        let ln_no_harm = ln_evidence(plan.margin - estimate, variance, plan.tau)?;
        let width = radius(variance, plan.tau, plan.alpha)?;
        self.p_harm = self.p_harm.min((-ln_harm).exp());
        self.p_no_harm = self.p_no_harm.min((-ln_no_harm).exp());
        if self.decision == Decision::Undecided {
            self.decision = if self.p_harm <= plan.alpha {
                Decision::Harm
            } else if self.p_no_harm <= plan.alpha {
                Decision::NoHarm
            } else {
                Decision::Undecided
            };
        }
        Some(Reading {
            difference: Interval { estimate, low: estimate - width, high: estimate + width },
            variance,
            ln_harm,
            ln_no_harm,
            p_harm: self.p_harm,
            p_no_harm: self.p_no_harm,
            decision: self.decision,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_and_radius_agree() {
        for (variance, tau, alpha) in [(1e-4, 0.01, 0.05), (1e-8, 0.5, 0.001), (4.0, 0.1, 0.01)] {
            let width = radius(variance, tau, alpha).unwrap();
            let at = ln_evidence(width, variance, tau).unwrap();
            assert!((at + f64::ln(alpha)).abs() < 1e-9, "{variance} {tau} {alpha}: {at}");
        }
        assert!(ln_evidence(1.0, 0.0, 1.0).is_none() && ln_evidence(f64::NAN, 1.0, 1.0).is_none());
        assert!(radius(0.0, 1.0, 0.05).is_none());
        // Far on the other side the evidence is small but a number.
        assert!(ln_evidence(-50.0, 1e-4, 0.1).unwrap() < -2.0);
    }

    #[test]
    fn a_guardrail_waits_and_then_decides_once() {
        let mut guardrail = Guardrail::new(Plan::new(0.05, 0.0, 0.05));
        let arm = |hits, count| Tally::binary(hits, count).unwrap();
        assert_eq!(guardrail.look(&arm(3, 99), &arm(9, 500)), None);
        assert_eq!(guardrail.look(&arm(3, 500), &arm(4, 500)), None);
        let first = guardrail.look(&arm(10, 500), &arm(12, 500)).unwrap();
        assert_eq!(first.decision, Decision::Undecided);
        assert!(first.difference.contains(0.0));
        let second = guardrail.look(&arm(20, 1_000), &arm(90, 1_000)).unwrap();
        assert_eq!(second.decision, Decision::Harm);
        assert!(second.difference.low > 0.0 && second.p_harm <= 0.05);
        let stored = serde_json::to_string(&guardrail).unwrap();
        let mut again: Guardrail = serde_json::from_str(&stored).unwrap();
        let third = again.look(&arm(500, 5_000), &arm(500, 5_000)).unwrap();
        assert_eq!((third.decision, third.p_harm), (Decision::Harm, second.p_harm));
    }

    #[test]
    fn no_harm_is_shown_by_a_margin() {
        let mut guardrail = Guardrail::new(Plan::new(0.05, 0.02, 0.02));
        let arm = |hits, count| Tally::binary(hits, count).unwrap();
        let reading = guardrail.look(&arm(1_000, 100_000), &arm(1_010, 100_000)).unwrap();
        assert_eq!(reading.decision, Decision::NoHarm);
        assert!(reading.difference.high < 0.02);
    }
}
