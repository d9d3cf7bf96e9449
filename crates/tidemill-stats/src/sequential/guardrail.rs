//! A metric that is watched against a margin of harm, with the half-normal mixture.

use serde::{Deserialize, Serialize};

use super::{Tally, ln_evidence, radius};
use crate::interval::Interval;

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
