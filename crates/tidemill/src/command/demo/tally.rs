//! What decisions came to, in money and in model terms.

use serde::Serialize;
use tidemill_core::declare::Costs;

/// The decisions of one policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Tally {
    /// Flights.
    pub(super) flights: u64,
    /// All of what decisions cost.
    pub(super) cost: f64,
    /// Late flights for which nobody was rung.
    pub(super) missed: u64,
    /// Flights in time for which somebody was.
    pub(super) false_alarms: u64,
    /// Sum of the squared distances of scores from what was true.
    squared: f64,
}

impl Tally {
    /// Takes up a decision on a score.
    pub(super) fn take(&mut self, costs: &Costs, threshold: f64, score: f64, is_late: bool) {
        let acts = score >= threshold;
        self.flights += 1;
        self.cost += costs.of(is_late, acts);
        self.missed += u64::from(is_late && !acts);
        self.false_alarms += u64::from(acts && !is_late);
        self.squared += (score - f64::from(u8::from(is_late))).powi(2);
    }

    /// What a decision costs.
    pub(super) fn mean(&self) -> f64 {
        self.cost / self.flights.max(1) as f64
    }

    /// The Brier score.
    pub(super) fn brier(&self) -> f64 {
        self.squared / self.flights.max(1) as f64
    }
}

/// One policy over the months.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Policy {
    pub(super) name: &'static str,
    pub(super) months: Vec<Tally>,
}

impl Policy {
    pub(super) fn new(name: &'static str, months: usize) -> Self {
        Self { name, months: vec![Tally::default(); months] }
    }

    /// All months together.
    pub(super) fn whole(&self) -> Tally {
        self.months.iter().fold(Tally::default(), |sum, month| Tally {
            flights: sum.flights + month.flights,
            cost: sum.cost + month.cost,
            missed: sum.missed + month.missed,
            false_alarms: sum.false_alarms + month.false_alarms,
            squared: sum.squared + month.squared,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_are_priced_and_counted() {
        let costs = Costs {
            currency: None,
            false_negative: 120.0,
            false_positive: 15.0,
            true_positive: 0.0,
            true_negative: 0.0,
        };
        let mut policy = Policy::new("test", 2);
        for (month, score, is_late) in [(0, 0.5, true), (0, 0.25, true), (1, 0.5, false), (1, 0.0, false)] {
            policy.months[month].take(&costs, 0.5, score, is_late);
        }
        let whole = policy.whole();
        assert_eq!((whole.flights, whole.cost, whole.missed, whole.false_alarms), (4, 135.0, 1, 1));
        assert_eq!(whole.brier(), (0.25 + 0.5625 + 0.25) / 4.0);
        assert_eq!(policy.months[0].mean(), 60.0);
    }
}
