//! What decisions cost: per row, per threshold, and for the two baselines that need no model.

use serde::{Deserialize, Serialize};
use tidemill_core::declare::Costs;

/// The threshold at which acting on `probability >= value` costs least, and what it costs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// 0 to act always; above 1 to act never; otherwise between two probabilities that occurred.
    pub value: f64,
    /// Mean cost of a decision at this threshold on the rows that chose it.
    pub cost: f64,
}

/// The threshold that a perfectly calibrated model would use: act where the expected cost of acting is not above
/// that of doing nothing (Elkan 2001, IJCAI). `None` where acting never or always is right whatever the probability.
pub fn calibrated_threshold(costs: &Costs) -> Option<f64> {
    let alarm = costs.false_positive - costs.true_negative;
    let miss = costs.false_negative - costs.true_positive;
    (alarm > 0.0 && miss > 0.0).then(|| alarm / (alarm + miss))
}

/// The threshold of least mean cost over the rows; among equals the highest one, which acts least.
///
/// It lies in the middle between two neighbouring probabilities, so that rounding a probability does not turn a
/// decision. `None` where all weights are zero or there are no rows.
pub fn best_threshold(
    positive: &[bool],
    probability: &[f64],
    weights: Option<&[f64]>,
    costs: &Costs,
) -> Option<Threshold> {
    let weight = |row: usize| weights.map_or(1.0, |w| w[row]);
    let mut order: Vec<usize> = (0..positive.len()).collect();
    order.sort_unstable_by(|a, b| probability[*b].total_cmp(&probability[*a]).then(a.cmp(b)));
    let total: f64 = order.iter().map(|row| weight(*row)).sum();
    if total <= 0.0 {
        return None;
    }
    let never: f64 = order.iter().map(|row| weight(*row) * costs.of(positive[*row], false)).sum();
    let mut best = (never, None);
    let mut running = never;
    for (at, row) in order.iter().enumerate() {
        let change = costs.of(positive[*row], true) - costs.of(positive[*row], false);
        running += weight(*row) * change;
        let ends = order.get(at + 1).is_none_or(|next| probability[*next] != probability[*row]);
        // A difference in the last digits of the running sum is not a gain.
        if ends && running < best.0 - 1e-12 * total {
            best = (running, Some(at));
        }
    }
    let value = match best.1 {
        None => above_all(probability[order[0]]),
        Some(at) if at + 1 == order.len() => 0.0,
        Some(at) => between(probability[order[at + 1]], probability[order[at]]),
    };
    Some(Threshold { value, cost: best.0 / total })
}

/// A threshold that no probability up to `highest` reaches.
fn above_all(highest: f64) -> f64 {
    if highest < 1.0 { between(highest, 1.0) } else { 1.0_f64.next_up() }
}

/// The middle, or the upper end where the two are neighbours.
fn between(lower: f64, upper: f64) -> f64 {
    let middle = f64::midpoint(lower, upper);
    if middle > lower { middle } else { upper }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(false_negative: f64, false_positive: f64) -> Costs {
        Costs { currency: None, false_negative, false_positive, true_positive: 0.0, true_negative: 0.0 }
    }

    #[test]
    fn the_cheapest_of_all_cuts() {
        let positive = [false, false, true, false, true];
        let probability = [0.1, 0.2, 0.3, 0.6, 0.8];
        for (miss, alarm, value, cost) in
            [(10.0, 1.0, 0.25, 0.2), (1.0, 10.0, 0.7, 0.2), (0.0, 1.0, 0.9, 0.0), (1.0, 0.0, 0.25, 0.0)]
        {
            let found = best_threshold(&positive, &probability, None, &costs(miss, alarm)).unwrap();
            assert_eq!((found.value, found.cost), (value, cost), "{miss} {alarm}");
        }
        assert_eq!(best_threshold(&[], &[], None, &costs(1.0, 1.0)), None);
    }

    #[test]
    fn always_and_never() {
        let always = best_threshold(&[true, true], &[0.2, 0.9], None, &costs(1.0, 1.0)).unwrap();
        assert_eq!((always.value, always.cost), (0.0, 0.0));
        let never = best_threshold(&[false, false], &[0.2, 1.0], None, &costs(1.0, 1.0)).unwrap();
        assert!(never.value > 1.0);
    }

    #[test]
    fn what_a_calibrated_model_would_use() {
        assert_eq!(calibrated_threshold(&costs(120.0, 15.0)), Some(15.0 / 135.0));
        assert_eq!(calibrated_threshold(&costs(0.0, 15.0)), None);
    }
}
