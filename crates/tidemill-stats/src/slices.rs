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

/// Sums over the rows of a slice; losses as distances from the overall mean so that squares keep their digits.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    rows: f64,
    sum: f64,
    squares: f64,
    largest: f64,
}

/// Finds the `top` slices of the highest score. `loss` is at least zero for every row (wrong or not, absolute error), and
/// larger is worse. `None` if columns have other lengths or too many codes, a code is out of range, a loss is negative or
/// NaN, or there is no loss at all.
pub fn worst_slices(columns: &[Codes<'_>], loss: &[f64], search: &Search) -> Option<Vec<Slice>> {
    let fits = |column: &Codes<'_>| {
        column.levels <= MOST_LEVELS
            && column.codes.len() == loss.len()
            && column.codes.iter().all(|code| *code < column.levels)
    };
    let mean = Moments::of(loss)?.mean;
    if !columns.iter().all(fits) || !loss.iter().all(|x| *x >= 0.0 && x.is_finite()) || mean <= 0.0 {
        return None;
    }
    let mut state =
        State { columns, loss, search, mean, found: Vec::new(), frequent: vec![0; columns.len()] };
    let rows: Vec<u32> = (0..loss.len() as u32).collect();
    state.expand(&rows, &mut Vec::new(), 0);
    Some(state.finish())
}

struct State<'a> {
    columns: &'a [Codes<'a>],
    loss: &'a [f64],
    search: &'a Search,
    mean: f64,
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
                let (sum, loss) = (&mut sums[codes[row as usize] as usize], self.loss[row as usize]);
                let distance = loss - self.mean;
                sum.rows += 1.0;
                sum.sum += distance;
                sum.squares += distance * distance;
                sum.largest = sum.largest.max(loss);
            }
            let enough = |sums: &Sums| sums.rows >= self.search.support.max(1) as f64;
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

    fn score(&self, rows: f64, loss: f64) -> f64 {
        let all = self.loss.len() as f64;
        let weight = self.search.weight;
        weight * (loss / rows / self.mean - 1.0) - (1.0 - weight) * (all / rows - 1.0)
    }

    /// The score that a slice has to beat.
    fn least(&self) -> f64 {
        let full = self.found.len() >= self.search.top;
        self.found.last().filter(|_| full).map_or(f64::NEG_INFINITY, |last| last.0)
    }

    fn offer(&mut self, conditions: &[(usize, u32)], sums: Sums) {
        let score = self.score(sums.rows, sums.sum + sums.rows * self.mean);
        if score <= self.least() || self.search.top == 0 {
            return;
        }
        let place = self.found.partition_point(|other| other.0 >= score);
        self.found.insert(place, (score, conditions.to_vec(), sums));
        self.found.truncate(self.search.top);
    }

    /// No slice inside of this one has a higher score. Its loss is at most all of the loss here, and at most its rows
    /// times the largest loss; the best size is where both meet, or all rows.
    fn bound(&self, sums: &Sums) -> f64 {
        let loss = sums.sum + sums.rows * self.mean;
        if sums.largest <= 0.0 {
            return f64::NEG_INFINITY;
        }
        let least = self.search.support.max(1) as f64;
        let meeting = (loss / sums.largest).clamp(least, sums.rows);
        let best = |rows: f64| self.score(rows, loss.min(rows * sums.largest));
        // A little more, so that rounding never hides a slice.
        best(meeting).max(best(sums.rows)) + 1e-9
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
        let total = self.loss.iter().fold(Sums::default(), |mut all, loss| {
            let distance = loss - self.mean;
            all.rows += 1.0;
            all.sum += distance;
            all.squares += distance * distance;
            all
        });
        let moments = |sums: &Sums| -> Option<Moments> {
            let mean = sums.sum / sums.rows;
            let variance = (sums.squares / sums.rows - mean * mean).max(0.0);
            (sums.rows > 0.0).then_some(Moments { count: sums.rows, mean, variance })
        };
        let mut slices: Vec<Slice> = self
            .found
            .iter()
            .filter_map(|(score, conditions, sums)| {
                let rest = Sums {
                    rows: total.rows - sums.rows,
                    sum: total.sum - sums.sum,
                    squares: total.squares - sums.squares,
                    largest: 0.0,
                };
                let (inside, outside) = (moments(sums)?, moments(&rest)?);
                let spread = f64::midpoint(
                    inside.sample_variance().unwrap_or(0.0),
                    outside.sample_variance().unwrap_or(0.0),
                )
                .sqrt();
                let difference = inside.mean - outside.mean;
                Some(Slice {
                    conditions: conditions.clone(),
                    rows: sums.rows as u64,
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
        assert!(worst_slices(&[column(&[0, 2])], &[1.0, 0.0], &search).is_none());
        assert!(worst_slices(&[column(&[0])], &[1.0, 0.0], &search).is_none());
        let wide = Codes { codes: &[0, 1], levels: MOST_LEVELS + 1 };
        assert!(worst_slices(&[wide], &[1.0, 0.0], &search).is_none());
        assert!(worst_slices(&[column(&[0, 1])], &[-1.0, 2.0], &search).is_none());
        assert!(worst_slices(&[column(&[0, 1])], &[0.0, 0.0], &search).is_none());
        assert!(worst_slices(&[], &[1.0, 0.0], &search).is_some_and(|slices| slices.is_empty()));
    }
}
