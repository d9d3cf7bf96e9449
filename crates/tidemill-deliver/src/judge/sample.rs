//! What is seen of one metric in one look.

use serde::{Deserialize, Serialize};
use tidemill_stats::exact;

/// What one arm did since the last look.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sample {
    /// Requests, and those of them with the event.
    Counts {
        /// Requests.
        n: u64,
        /// Requests with the event, at most `n`.
        events: u64,
    },
    /// Sums of values.
    Moments {
        /// How many values.
        n: u64,
        /// Their sum.
        #[serde(with = "exact::number")]
        sum: f64,
        /// The sum of their squares.
        #[serde(with = "exact::number")]
        sumsq: f64,
    },
    /// Distinct values and how often each was seen.
    Values(#[serde(with = "exact::counted")] Vec<(f64, u64)>),
}

impl Sample {
    /// How many requests or values.
    pub fn n(&self) -> u64 {
        match self {
            Self::Counts { n, .. } | Self::Moments { n, .. } => *n,
            Self::Values(values) => values.iter().map(|(_, count)| count).sum(),
        }
    }

    /// Requests with the event, where values are 0 and 1.
    pub(crate) fn events(&self) -> u64 {
        match self {
            Self::Counts { events, n } => (*events).min(*n),
            Self::Moments { n, sum, .. } => (sum.max(0.0) as u64).min(*n),
            Self::Values(values) => {
                values.iter().filter(|(value, _)| *value != 0.0).map(|(_, count)| count).sum()
            }
        }
    }

    /// The sum of all values.
    pub(crate) fn sum(&self) -> f64 {
        match self {
            Self::Counts { events, .. } => *events as f64,
            Self::Moments { sum, .. } => *sum,
            Self::Values(values) => values.iter().map(|(value, count)| value * *count as f64).sum(),
        }
    }

    /// The sum of all squares.
    pub(crate) fn sumsq(&self) -> f64 {
        match self {
            Self::Counts { events, .. } => *events as f64,
            Self::Moments { sumsq, .. } => *sumsq,
            Self::Values(values) => values.iter().map(|(value, count)| value * value * *count as f64).sum(),
        }
    }
}

/// Number, mean and squared deviations of values, merged without cancellation (Chan, Golub and LeVeque 1983).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Moments {
    #[serde(with = "exact::number")]
    pub(crate) n: f64,
    #[serde(with = "exact::number")]
    pub(crate) mean: f64,
    #[serde(with = "exact::number")]
    deviations: f64,
}

impl Moments {
    pub(crate) fn add(&mut self, sample: &Sample) {
        let n = sample.n() as f64;
        if n == 0.0 {
            return;
        }
        let mean = sample.sum() / n;
        let deviations = (sample.sumsq() - n * mean * mean).max(0.0);
        let total = self.n + n;
        let apart = mean - self.mean;
        self.deviations += deviations + apart * apart * self.n * n / total;
        self.mean += apart * n / total;
        self.n = total;
    }

    /// The variance of the values.
    pub(crate) fn variance(&self) -> f64 {
        if self.n < 2.0 { f64::INFINITY } else { self.deviations / (self.n - 1.0) }
    }

    /// The variance of the mean.
    pub(crate) fn variance_of_mean(&self) -> f64 {
        self.variance() / self.n
    }

    /// The same for a share, smoothed so that no events are not no variance, and drawn a quarter of the way to a share of at least
    /// `least`: what looks good by luck also looks more certain than it is.
    pub(crate) fn variance_of_share(&self, least: f64) -> f64 {
        const DRAWN: f64 = 0.25;
        let share = (self.mean * self.n + 2.0) / (self.n + 4.0);
        let share = share + DRAWN * (least - share).max(0.0);
        share * (1.0 - share) / self.n
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_looks_are_one_look() {
        let values = [1.0, 4.0, 4.5, 9.0, 1_000_001.0, 1_000_003.0];
        let mut merged = Moments::default();
        for value in values {
            merged.add(&Sample::Values(vec![(value, 1)]));
        }
        let mean = values.iter().sum::<f64>() / 6.0;
        let deviations: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        assert!((merged.mean - mean).abs() < 1e-9 * mean);
        assert!((merged.variance_of_mean() - deviations / 30.0).abs() < 1e-9 * deviations);
    }

    #[test]
    fn counts_are_zeros_and_ones() {
        let (mut counts, mut values) = (Moments::default(), Moments::default());
        counts.add(&Sample::Counts { n: 10, events: 3 });
        values.add(&Sample::Values(vec![(0.0, 7), (1.0, 3)]));
        assert_eq!(counts, values);
    }
}
