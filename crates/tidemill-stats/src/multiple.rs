//! Many tests at once: keeping the share or the chance of false alarms at what was declared.

use serde::{Deserialize, Serialize};

/// One p-value for several tests of one thing: min(1, m·smallest). Valid whatever the dependence between the tests.
/// `None` without tests.
pub fn bonferroni(p_values: &[f64]) -> Option<f64> {
    let smallest = p_values.iter().copied().reduce(f64::min)?;
    Some((smallest * p_values.len() as f64).min(1.0))
}

/// Benjamini and Hochberg's adjusted p-values (1995), in the order given: scipy's `false_discovery_control`. A test is
/// rejected at level q when its adjusted value is at most q.
pub fn benjamini_hochberg(p_values: &[f64]) -> Vec<f64> {
    let count = p_values.len();
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_unstable_by(|&a, &b| p_values[b].total_cmp(&p_values[a]));
    let mut adjusted = vec![1.0; count];
    let mut least = 1.0_f64;
    for (from_top, &at) in order.iter().enumerate() {
        let rank = (count - from_top) as f64;
        // At the last rank the factor is exactly one.
        least = least.min(p_values[at] * (count as f64 / rank));
        adjusted[at] = least;
    }
    adjusted
}

/// The largest p-value that Benjamini and Hochberg reject strictly below level `q`: q·k/m with k rejections among m
/// p-values. Zero when nothing is rejected.
pub fn rejection_limit(adjusted: &[f64], q: f64) -> f64 {
    let rejected = adjusted.iter().filter(|p| **p < q).count();
    if adjusted.is_empty() { 0.0 } else { q * rejected as f64 / adjusted.len() as f64 }
}

/// How many rejections [`Lord`] remembers. What an older one would still add to a level is below α·10⁻⁵.
const REMEMBERED: usize = 1_000;

/// LORD++: the false discovery rate of an endless sequence of tests (A. Ramdas, F. Yang, M. Wainwright, M. Jordan:
/// Online control of the false discovery rate with decaying memory, NeurIPS 2017; sequence γ of A. Javanmard and A.
/// Montanari 2018).
///
/// Each test gets a level that depends on how many tests and rejections came before; a rejection earns level for later
/// tests. The state can be stored between checks. It belongs to one sequence of tests in one order: two states cannot be
/// merged, because the guarantee is about that order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lord {
    alpha: f64,
    start: f64,
    tests: u64,
    first: Option<u64>,
    rejections: Vec<u64>,
}

impl Lord {
    /// For a false discovery rate of `alpha` in (0, 1), with a tenth of it to begin with.
    pub fn new(alpha: f64) -> Self {
        Self { alpha, start: alpha / 10.0, tests: 0, first: None, rejections: Vec::new() }
    }

    /// The level at which the next test will be judged.
    pub fn level(&self) -> f64 {
        let now = self.tests + 1;
        let mut level = self.start * decay(now);
        if let Some(first) = self.first {
            level += (self.alpha - self.start) * decay(now - first);
        }
        level + self.alpha * self.rejections.iter().map(|time| decay(now - time)).sum::<f64>()
    }

    /// Judges the next p-value; returns whether it is a discovery.
    pub fn judge(&mut self, p: f64) -> bool {
        let rejected = p <= self.level();
        self.tests += 1;
        if rejected {
            if self.first.is_none() {
                self.first = Some(self.tests);
            } else {
                // Forgetting the oldest makes levels smaller, never larger.
                if self.rejections.len() == REMEMBERED {
                    self.rejections.remove(0);
                }
                self.rejections.push(self.tests);
            }
        }
        rejected
    }

    /// Number of tests judged.
    pub fn tests(&self) -> u64 {
        self.tests
    }
}

/// γ_j = 0.07720838·ln(max(j, 2)) / (j·exp(√ln j)), which sums to one.
fn decay(j: u64) -> f64 {
    let j = j as f64;
    0.077_208_38 * j.max(2.0).ln() / (j * j.ln().sqrt().exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adjusted_values_by_hand() {
        let expected = [0.04, 0.16 / 3.0, 0.16 / 3.0, 0.5];
        for (found, expected) in benjamini_hochberg(&[0.01, 0.04, 0.03, 0.5]).into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-15, "{found} {expected}");
        }
        assert!(benjamini_hochberg(&[]).is_empty());
        assert_eq!(benjamini_hochberg(&[1.0]), [1.0]);
        assert_eq!(bonferroni(&[0.4, 0.01, 0.9]), Some(0.03));
        assert_eq!(bonferroni(&[0.4, 0.9]), Some(0.8));
        assert_eq!(bonferroni(&[]), None);
        assert_eq!(rejection_limit(&[0.01, 0.2, 0.03, 0.9], 0.05), 0.025);
    }

    #[test]
    fn the_sequence_of_levels_sums_to_at_most_one() {
        let sum: f64 = (1..2_000_000).map(decay).sum();
        assert!(sum > 0.5 && sum <= 1.0, "{sum}");
    }

    #[test]
    fn the_state_goes_through_text() {
        let mut lord = Lord::new(0.05);
        assert!(lord.judge(1e-9) && !lord.judge(0.9) && lord.judge(1e-9));
        let text = serde_json::to_string(&lord).unwrap();
        let mut again: Lord = serde_json::from_str(&text).unwrap();
        assert_eq!(again.level(), lord.level());
        assert_eq!(again.judge(1e-4), lord.judge(1e-4));
        assert_eq!(again.tests(), 4);
    }
}
