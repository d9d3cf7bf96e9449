//! The mergeable statistics of numbers: counters, moments, quantiles, histograms. They are fed with ascending runs.

use super::ProfileOptions;
use super::grid::Grid;
use super::kll::Kll;
use super::moments::Moments;
use super::runs::Scratch;

/// Statistics of a column's numbers, or of the lengths of its texts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Numbers {
    pub(super) nan: u64,
    pub(super) positive_infinite: u64,
    pub(super) negative_infinite: u64,
    pub(super) zero: u64,
    pub(super) negative: u64,
    /// Of all that are not NaN.
    pub(super) least: Option<f64>,
    pub(super) greatest: Option<f64>,
    /// Of finite numbers.
    pub(super) moments: Moments,
    /// Of all that are not NaN.
    pub(super) quantiles: Kll,
    /// Of finite numbers.
    pub(super) grid: Grid,
    /// Counts between the quantiles of a reference.
    pub(super) bins: Option<Bins>,
}

impl Numbers {
    pub(super) fn new(options: &ProfileOptions) -> Self {
        Self {
            nan: 0,
            positive_infinite: 0,
            negative_infinite: 0,
            zero: 0,
            negative: 0,
            least: None,
            greatest: None,
            moments: Moments::default(),
            quantiles: Kll::new(options.quantile_size),
            grid: Grid::default(),
            bins: None,
        }
    }

    /// Adds the runs of a batch. `shape` is false for times, whose moments mean nothing.
    pub(super) fn insert(&mut self, runs: &Scratch, shape: bool) {
        let (values, counts) = (runs.values.as_slice(), runs.counts.as_slice());
        self.range(values.first().copied(), values.last().copied());
        let total = |counts: &[u32]| counts.iter().map(|&count| u64::from(count)).sum::<u64>();
        let below = values.partition_point(|&value| value < 0.0);
        let upto = values.partition_point(|&value| value <= 0.0);
        self.negative += total(&counts[..below]);
        self.zero += total(&counts[below..upto]);
        let start = values.partition_point(|&value| value == f64::NEG_INFINITY);
        let end = values.partition_point(|&value| value < f64::INFINITY);
        self.negative_infinite += total(&counts[..start]);
        self.positive_infinite += total(&counts[end..]);
        if shape {
            self.moments.merge(&Moments::of(&values[start..end], &counts[start..end]));
        }
        self.grid.insert(&values[start..end], &counts[start..end]);
        self.quantiles.insert(values, counts);
        if let Some(bins) = &mut self.bins {
            bins.insert(values, counts);
        }
    }

    fn range(&mut self, low: Option<f64>, high: Option<f64>) {
        self.least = [self.least, low].into_iter().flatten().reduce(f64::min);
        self.greatest = [self.greatest, high].into_iter().flatten().reduce(f64::max);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.nan += other.nan;
        self.positive_infinite += other.positive_infinite;
        self.negative_infinite += other.negative_infinite;
        self.zero += other.zero;
        self.negative += other.negative;
        self.range(other.least, other.greatest);
        self.moments.merge(&other.moments);
        self.quantiles.merge(&other.quantiles);
        self.grid.merge(&other.grid);
        let same = match (&mut self.bins, &other.bins) {
            (Some(mine), Some(theirs)) => mine.merge(theirs),
            _ => false,
        };
        if !same {
            self.bins = None;
        }
    }
}

/// Exact counts between fixed edges: (−∞, e₁], (e₁, e₂], …, (eₖ, ∞), and outside of [low, high].
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bins {
    pub(super) edges: Vec<f64>,
    pub(super) counts: Vec<u64>,
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) outside: u64,
}

impl Bins {
    /// Empty bins between the deciles of `reference`; `None` where it saw no number.
    pub(super) fn of(reference: &Kll) -> Option<Self> {
        const CUTS: [f64; 11] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.005, 0.995];
        let mut cuts = reference.quantiles(&CUTS)?;
        let (high, low) = (cuts.pop()?, cuts.pop()?);
        cuts.dedup();
        Some(Self { counts: vec![0; cuts.len() + 1], edges: cuts, low, high, outside: 0 })
    }

    fn insert(&mut self, values: &[f64], counts: &[u32]) {
        let mut bin = 0;
        for (&value, &count) in values.iter().zip(counts) {
            while self.edges.get(bin).is_some_and(|&edge| value > edge) {
                bin += 1;
            }
            self.counts[bin] += u64::from(count);
            if value < self.low || value > self.high {
                self.outside += u64::from(count);
            }
        }
    }

    /// Adds counts between the same edges; tells whether they are the same.
    fn merge(&mut self, other: &Self) -> bool {
        if self.edges != other.edges || (self.low, self.high) != (other.low, other.high) {
            return false;
        }
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.outside += other.outside;
        true
    }
}
