//! How many requests come when.

use serde::{Deserialize, Serialize};

/// Requests an hour, hour by hour from the beginning of the rollout; after the last hour it begins anew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    hours: Vec<f64>,
    /// Requests until the beginning of each hour.
    until: Vec<f64>,
    /// Requests of all hours.
    total: f64,
}

impl Pace {
    /// The same in every hour.
    pub fn constant(an_hour: f64) -> Self {
        Self::of(vec![an_hour])
    }

    /// By hour, as in the last week. Numbers that are none count as no request.
    pub fn of(hours: Vec<f64>) -> Self {
        let hours: Vec<f64> = hours
            .into_iter()
            .map(|requests| if requests.is_finite() { requests.max(0.0) } else { 0.0 })
            .collect();
        let mut sum = 0.0;
        let until = hours
            .iter()
            .map(|requests| {
                sum += requests;
                sum - requests
            })
            .collect();
        Self { hours, until, total: sum }
    }

    /// Requests an hour over all hours.
    pub fn mean(&self) -> f64 {
        if self.hours.is_empty() { 0.0 } else { self.total / self.hours.len() as f64 }
    }

    /// So many times as many.
    #[must_use]
    pub fn times(&self, factor: f64) -> Self {
        Self::of(self.hours.iter().map(|requests| requests * factor).collect())
    }

    /// Requests that are expected between two moments, in hours since the beginning.
    pub(super) fn between(&self, from: f64, to: f64) -> f64 {
        (self.expected(to) - self.expected(from)).max(0.0)
    }

    fn expected(&self, at: f64) -> f64 {
        let length = self.hours.len() as f64;
        if self.hours.is_empty() || at <= 0.0 {
            return 0.0;
        }
        let rounds = libm::floor(at / length);
        let within = (at - rounds * length).max(0.0);
        let hour = (within as usize).min(self.hours.len() - 1);
        rounds * self.total + self.until[hour] + (within - hour as f64) * self.hours[hour]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_follow_each_other_and_begin_anew() {
        let pace = Pace::of(vec![10.0, 0.0, 40.0]);
        for (from, to, wanted) in [
            (0.0, 1.0, 10.0),
            (0.5, 1.5, 5.0),
            (1.0, 2.0, 0.0),
            (2.25, 2.5, 10.0),
            (2.5, 3.5, 25.0),
            (0.0, 300.0, 5_000.0),
            (3.0, 3.0, 0.0),
        ] {
            assert!(
                (pace.between(from, to) - wanted).abs() < 1e-9,
                "{from} to {to}: {}",
                pace.between(from, to)
            );
        }
        assert!((pace.mean() - 50.0 / 3.0).abs() < 1e-12 && (pace.times(3.0).mean() - 50.0).abs() < 1e-12);
        assert_eq!((Pace::of(vec![]).mean(), Pace::of(vec![f64::NAN]).between(0.0, 5.0)), (0.0, 0.0));
    }
}
