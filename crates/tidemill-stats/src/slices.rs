//! The slices of rows on which a model is worst: an exact search over conjunctions of conditions.
//!
//! S. Sagadeeva, M. Boehm, SliceLine: Fast, Linear-Algebra-based Slice Finding for ML Model Debugging, SIGMOD 2021:
//! the score, and the bounds by which branches of the lattice are left out without missing a slice. Effect size and
//! test are those of Y. Chung et al., Slice Finder, ICDE 2019. Slices are judged as if all conjunctions had been
//! tested, because the search looks at all of them.

use serde::{Deserialize, Serialize};

use crate::multiple::benjamini_hochberg;
use crate::sample::Moments;
use crate::twosample::welch;

/// A column with few distinct values, as codes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Codes<'a> {
    /// The code of every row, below `levels`.
    pub codes: &'a [u32],
    /// How many codes there are, at most [`MOST_LEVELS`].
    pub levels: u32,
}

/// Columns with more codes than this are refused: a condition on them would describe single rows.
pub const MOST_LEVELS: u32 = 10_000;

/// How to search.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// Least number of rows of a slice.
    pub support: u64,
    /// Most conditions of a slice.
    pub depth: usize,
    /// How many slices to return.
    pub top: usize,
    /// Weight of the loss against the size in the score, in (0, 1); larger prefers small, bad slices.
    pub weight: f64,
    /// False discovery rate over all slices.
    pub alpha: f64,
    /// Least mean loss above that of the other rows for a slice to be flagged.
    pub difference: f64,
}

impl Default for Search {
    fn default() -> Self {
        Self { support: 100, depth: 2, top: 10, weight: 0.95, alpha: 0.05, difference: 0.05 }
    }
}

/// A slice: rows that meet all of its conditions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slice {
    /// Positions of columns with the code that their rows have there, by ascending column.
    pub conditions: Vec<(usize, u32)>,
    /// Number of rows.
    pub rows: u64,
    /// Mean loss in the slice.
    pub mean: f64,
    /// Mean loss of all other rows.
    pub others: f64,
    /// SliceLine's score: w·(mean/overall − 1) − (1−w)·(all rows/rows − 1). Above zero is worse than average, given
    /// its size.
    pub score: f64,
    /// Difference of the means over √((s² + s'²)/2).
    pub effect: f64,
    /// One-sided p-value of Welch's test against the other rows.
    pub p: f64,
    /// After Benjamini and Hochberg over all conjunctions that the search looks at.
    pub p_adjusted: f64,
    /// Significant, and worse by at least the least difference.
    pub flagged: bool,
}

/// Sums over the rows of a slice, each with its weight; losses as distances from the overall mean so that squares keep their digits.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    rows: u64,
    weight: f64,
    /// Of squared weights.
    spread: f64,
    sum: f64,
    squares: f64,
    largest: f64,
}

impl Sums {
    fn add(&mut self, weight: f64, loss: f64, mean: f64) {
        let distance = loss - mean;
        self.rows += 1;
        self.weight += weight;
        self.spread += weight * weight;
        self.sum += weight * distance;
        self.squares += weight * distance * distance;
        self.largest = self.largest.max(loss);
    }

    /// All rows but those of a slice.
    fn without(&self, slice: &Self) -> Self {
        Self {
            rows: self.rows - slice.rows,
            weight: self.weight - slice.weight,
            spread: self.spread - slice.spread,
            sum: self.sum - slice.sum,
            squares: self.squares - slice.squares,
            largest: 0.0,
        }
    }

    /// Of the distances; as many rows as ones of equal weight would be (L. Kish, Survey Sampling, 1965).
    fn moments(&self) -> Option<Moments> {
        if self.rows == 0 || self.weight <= 0.0 {
            return None;
        }
        let mean = self.sum / self.weight;
        let variance = (self.squares / self.weight - mean * mean).max(0.0);
        Some(Moments { count: self.weight * self.weight / self.spread, mean, variance })
    }
}

/// Finds the `top` slices of the highest score. `loss` is at least zero for every row (wrong or not, absolute error), and
/// larger is worse; rows count by their `weights`, which are at least zero, or alike. `None` if columns or weights have other lengths or
/// too many codes, a code is out of range, a loss or a weight is negative or NaN, or there is no loss at all.
pub fn worst_slices(
    columns: &[Codes<'_>],
    loss: &[f64],
    weights: Option<&[f64]>,
    search: &Search,
) -> Option<Vec<Slice>> {
    let is_good = |numbers: &[f64]| numbers.iter().all(|x| *x >= 0.0 && x.is_finite());
    if weights.is_some_and(|weights| weights.len() != loss.len() || !is_good(weights)) {
        return None;
    }
    let fits = |column: &Codes<'_>| {
        column.levels <= MOST_LEVELS
            && column.codes.len() == loss.len()
            && column.codes.iter().all(|code| *code < column.levels)
    };
    let mean = match weights {
        None => Moments::of(loss)?.mean,
        Some(weights) => {
            let total: f64 = weights.iter().sum();
            weights.iter().zip(loss).map(|(weight, loss)| weight * loss).sum::<f64>() / total
        }
    };
    // Without any weight the mean is not a number.
    if !columns.iter().all(fits) || !is_good(loss) || mean.is_nan() || mean <= 0.0 {
        return None;
    }
    let mut total = Sums::default();
    for (row, loss) in loss.iter().enumerate() {
        total.add(weights.map_or(1.0, |weights| weights[row]), *loss, mean);
    }
    let lightest = weights.map_or(1.0, |weights| weights.iter().copied().fold(f64::INFINITY, f64::min));
    let found = (Vec::new(), vec![0; columns.len()]);
    let mut state =
        State { columns, loss, weights, search, mean, total, lightest, found: found.0, frequent: found.1 };
    let rows: Vec<u32> = (0..loss.len() as u32).collect();
    state.expand(&rows, &mut Vec::new(), 0);
    Some(state.finish())
}

struct State<'a> {
    columns: &'a [Codes<'a>],
    loss: &'a [f64],
    weights: Option<&'a [f64]>,
    search: &'a Search,
    mean: f64,
    /// Of all rows.
    total: Sums,
    /// The least weight of a row.
    lightest: f64,
    /// Best slices so far, the best first.
    found: Vec<(f64, Vec<(usize, u32)>, Sums)>,
    /// Codes with enough rows, by column.
    frequent: Vec<u64>,
}

impl State<'_> {
    /// Looks at all slices that add one condition on a column from `first` on to those that select `rows`.
    fn expand(&mut self, rows: &[u32], conditions: &mut Vec<(usize, u32)>, first: usize) {
        for column in first..self.columns.len() {
            let Codes { codes, levels } = self.columns[column];
            let mut sums = vec![Sums::default(); levels as usize];
            for &row in rows {
                let row = row as usize;
                let weight = self.weights.map_or(1.0, |weights| weights[row]);
                sums[codes[row] as usize].add(weight, self.loss[row], self.mean);
            }
            let enough = |sums: &Sums| sums.rows >= self.search.support.max(1) && sums.weight > 0.0;
            if conditions.is_empty() {
                self.frequent[column] = sums.iter().filter(|sums| enough(sums)).count() as u64;
            }
            let candidates: Vec<(u32, Sums)> =
                (0..levels).zip(sums).filter(|(_, sums)| enough(sums)).collect();
            for (code, sums) in candidates {
                conditions.push((column, code));
                self.offer(conditions, sums);
                let deeper = conditions.len() < self.search.depth && column + 1 < self.columns.len();
                if deeper && self.bound(&sums) > self.least() {
                    let inside: Vec<u32> =
                        rows.iter().copied().filter(|row| codes[*row as usize] == code).collect();
                    self.expand(&inside, conditions, column + 1);
                }
                conditions.pop();
            }
        }
    }

    /// Of rows of this weight in all with this weighted loss.
    fn score(&self, size: f64, loss: f64) -> f64 {
        let weight = self.search.weight;
        weight * (loss / size / self.mean - 1.0) - (1.0 - weight) * (self.total.weight / size - 1.0)
    }

    /// The score that a slice has to beat.
    fn least(&self) -> f64 {
        let full = self.found.len() >= self.search.top;
        self.found.last().filter(|_| full).map_or(f64::NEG_INFINITY, |last| last.0)
    }

    fn offer(&mut self, conditions: &[(usize, u32)], sums: Sums) {
        let score = self.score(sums.weight, sums.sum + sums.weight * self.mean);
        if score <= self.least() || self.search.top == 0 {
            return;
        }
        let place = self.found.partition_point(|other| other.0 >= score);
        self.found.insert(place, (score, conditions.to_vec(), sums));
        self.found.truncate(self.search.top);
    }

    /// No slice inside of this one has a higher score. Its loss is at most all of the loss here, and at most its size
    /// times the largest loss; the best size is where both meet, or all of it.
    fn bound(&self, sums: &Sums) -> f64 {
        let loss = sums.sum + sums.weight * self.mean;
        if sums.largest <= 0.0 {
            return f64::NEG_INFINITY;
        }
        let least = self.search.support.max(1) as f64 * self.lightest;
        let meeting = (loss / sums.largest).max(least).min(sums.weight);
        let best = |size: f64| self.score(size, loss.min(size * sums.largest));
        // A little more, so that rounding never hides a slice.
        best(meeting).max(best(sums.weight)) + 1e-9
    }

    /// How many conjunctions of frequent codes there are, up to the depth.
    fn conjunctions(&self) -> f64 {
        let mut of_size = vec![0.0; self.search.depth + 1];
        of_size[0] = 1.0;
        for frequent in &self.frequent {
            for size in (1..of_size.len()).rev() {
                of_size[size] += of_size[size - 1] * *frequent as f64;
            }
        }
        of_size[1..].iter().sum()
    }

    fn finish(self) -> Vec<Slice> {
        let mut slices: Vec<Slice> = self
            .found
            .iter()
            .filter_map(|(score, conditions, sums)| {
                let (inside, outside) = (sums.moments()?, self.total.without(sums).moments()?);
                let spread = f64::midpoint(
                    inside.sample_variance().unwrap_or(0.0),
                    outside.sample_variance().unwrap_or(0.0),
                )
                .sqrt();
                let difference = inside.mean - outside.mean;
                Some(Slice {
                    conditions: conditions.clone(),
                    rows: sums.rows,
                    mean: inside.mean + self.mean,
                    others: outside.mean + self.mean,
                    score: *score,
                    effect: if spread > 0.0 { difference / spread } else { 0.0 },
                    p: welch(inside, outside).map_or(1.0, |test| test.p_greater()),
                    p_adjusted: 1.0,
                    flagged: false,
                })
            })
            .collect();
        // Slices that were not returned enter as p = 1, which can only make the others look worse.
        let adjusted = benjamini_hochberg(&slices.iter().map(|slice| slice.p).collect::<Vec<f64>>());
        let more = (self.conjunctions() / slices.len().max(1) as f64).max(1.0);
        for (slice, p) in slices.iter_mut().zip(adjusted) {
            slice.p_adjusted = (p * more).min(1.0);
            slice.flagged =
                slice.p_adjusted < self.search.alpha && slice.mean - slice.others >= self.search.difference;
        }
        slices
    }
}

/// Codes of numbers by the bins (−∞, e₁], …, (e_k, ∞) of ascending `edges`, NaN as a last code of its own; and how
/// many codes there are.
pub fn codes_of(values: &[f64], edges: &[f64]) -> (Vec<u32>, u32) {
    let missing = edges.len() as u32 + 1;
    let code = |x: &f64| if x.is_nan() { missing } else { edges.partition_point(|edge| edge < x) as u32 };
    (values.iter().map(code).collect(), missing + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_bins_with_missing_last() {
        let (codes, levels) = codes_of(&[0.0, 1.0, 1.5, 9.0, f64::NAN], &[1.0, 2.0]);
        assert_eq!((codes, levels), (vec![0, 0, 1, 2, 3], 4));
    }

    #[test]
    fn what_cannot_be_searched_is_refused() {
        let search = Search { support: 1, ..Search::default() };
        let column = |codes| Codes { codes, levels: 2 };
        assert!(worst_slices(&[column(&[0, 2])], &[1.0, 0.0], None, &search).is_none());
        assert!(worst_slices(&[column(&[0])], &[1.0, 0.0], None, &search).is_none());
        let wide = Codes { codes: &[0, 1], levels: MOST_LEVELS + 1 };
        assert!(worst_slices(&[wide], &[1.0, 0.0], None, &search).is_none());
        assert!(worst_slices(&[column(&[0, 1])], &[-1.0, 2.0], None, &search).is_none());
        assert!(worst_slices(&[column(&[0, 1])], &[0.0, 0.0], None, &search).is_none());
        let light =
            |weights: &[f64]| worst_slices(&[column(&[0, 1])], &[1.0, 0.0], Some(weights), &search).is_none();
        assert!(light(&[1.0]) && light(&[-1.0, 1.0]) && light(&[0.0, 0.0]) && !light(&[1.0, 0.5]));
        assert!(worst_slices(&[], &[1.0, 0.0], None, &search).is_some_and(|slices| slices.is_empty()));
    }
}
