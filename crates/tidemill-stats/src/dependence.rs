//! Whether two columns have to do with each other as they did, told from samples of rows of two sides.
//!
//! The figure is Spearman's correlation; a category counts as a number that is one where the row has it and else zero. A side is ranked by
//! itself, so a column that moves alone changes nothing. The standard error comes from the influence of each row on the figure, the ranks'
//! part included, and needs no assumption on how values are distributed: Fisher's formula is one for normal values, and takes heavy tails and
//! unequal spread for a change.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::special::student_two_sided;

/// The code of a category that is not there.
pub const MISSING: u32 = u32::MAX;
/// Least share of rows, and number of rows, with a category and without it on either side for it to be set beside others.
const LEAST_SHARE: f64 = 0.05;
const LEAST_ROWS: f64 = 20.0;
/// Least number of rows that two categories that have nothing to do with each other have together.
const LEAST_TOGETHER: f64 = 10.0;
/// Categories of a column that are set beside others, the most frequent first.
const MOST_CATEGORIES: usize = 8;

/// The values of a column in sampled rows.
#[derive(Clone, Debug, PartialEq)]
pub enum Cells {
    /// Numbers; NaN where there is none.
    Numbers(Vec<f64>),
    /// Codes of categories, the same for both sides; [`MISSING`] where there is none.
    Categories(Vec<u32>),
}

/// A column of both sides, ready to be set beside others.
#[derive(Clone, Debug)]
pub struct Beside {
    sides: [Cells; 2],
    /// Rows with a number in the order of the numbers; empty for categories.
    orders: [Vec<u32>; 2],
    /// Categories that both sides have often enough.
    categories: Vec<u32>,
}

/// How the association of two columns changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Of either column the category that the figures are of; none of numbers.
    pub categories: (Option<u32>, Option<u32>),
    /// Correlation on the reference side, in [−1, 1].
    pub reference: f64,
    /// Correlation on the current side.
    pub current: f64,
    /// Rows on either side in which both columns have a value.
    pub rows: (f64, f64),
    /// (atanh r_c − atanh r_r) over its standard error.
    pub z: f64,
    /// Two-sided p-value by Student's distribution, times the number of categories that were set beside each other (Bonferroni).
    pub p: f64,
}

impl Beside {
    /// A column of the reference and of the current side; `None` where one side has numbers and the other categories, or no category is
    /// frequent on both.
    pub fn new(reference: Cells, current: Cells) -> Option<Self> {
        let categories = match (&reference, &current) {
            (Cells::Numbers(_), Cells::Numbers(_)) => Vec::new(),
            (Cells::Categories(before), Cells::Categories(after)) => {
                let found = frequent([before, after]);
                if found.is_empty() {
                    return None;
                }
                found
            }
            _ => return None,
        };
        let orders = [order(&reference), order(&current)];
        Some(Self { sides: [reference, current], orders, categories })
    }

    fn has(&self, side: usize, row: usize) -> bool {
        match &self.sides[side] {
            Cells::Numbers(numbers) => numbers.get(row).is_some_and(|number| !number.is_nan()),
            Cells::Categories(codes) => codes.get(row).is_some_and(|code| *code != MISSING),
        }
    }

    fn len(&self, side: usize) -> usize {
        match &self.sides[side] {
            Cells::Numbers(numbers) => numbers.len(),
            Cells::Categories(codes) => codes.len(),
        }
    }

    fn code(&self, side: usize, row: u32) -> u32 {
        match &self.sides[side] {
            Cells::Categories(codes) => codes.get(row as usize).copied().unwrap_or(MISSING),
            Cells::Numbers(_) => MISSING,
        }
    }

    fn number(&self, side: usize, row: u32) -> f64 {
        match &self.sides[side] {
            Cells::Numbers(numbers) => numbers.get(row as usize).copied().unwrap_or(f64::NAN),
            Cells::Categories(_) => f64::NAN,
        }
    }
}

/// The change between two columns of which the rows are the same; `None` with fewer than `min_rows` rows of a side in which both have a value,
/// or where a column does not vary. Of several categories it is the change that is least by chance.
pub fn change(a: &Beside, b: &Beside, min_rows: f64) -> Option<Change> {
    let rows = [0, 1].map(|side| Complete::of(a, b, side));
    let counts = (rows[0].rows.len() as f64, rows[1].rows.len() as f64);
    if counts.0.min(counts.1) < min_rows {
        return None;
    }
    let features = |column: &Beside| -> Vec<(Option<u32>, [Feature; 2])> {
        let of = |category: Option<u32>| {
            let [before, after] = [0, 1].map(|side| Feature::of(column, side, &rows[side], category));
            Some((category, [before?, after?]))
        };
        match column.sides[0] {
            Cells::Numbers(_) => of(None).into_iter().collect(),
            Cells::Categories(_) => {
                let codes = [0, 1].map(|side: usize| -> Vec<u32> {
                    rows[side].rows.iter().map(|row| column.code(side, *row)).collect()
                });
                let kept = frequent([&codes[0], &codes[1]]);
                let both = column.categories.iter().filter(|code| kept.contains(code));
                both.filter_map(|code| of(Some(*code))).collect()
            }
        }
    };
    let (left, right) = (features(a), features(b));
    let (mut tests, mut found) = (0.0, None::<Change>);
    for (of_left, one) in &left {
        for (of_right, other) in &right {
            let together = |side: usize| {
                one[side].share.zip(other[side].share).map(|(p, q)| {
                    let n = rows[side].rows.len() as f64;
                    n * p.min(1.0 - p) * q.min(1.0 - q)
                })
            };
            if [0, 1].into_iter().filter_map(together).any(|expected| expected < LEAST_TOGETHER) {
                continue;
            }
            let (before, after) = (one[0].beside(&other[0]), one[1].beside(&other[1]));
            let z = (after.fisher - before.fisher) / before.error.hypot(after.error);
            let p = student_two_sided(z, degrees(&before, &after));
            tests += 1.0;
            if found.as_ref().is_none_or(|least| p < least.p || p == least.p && z.abs() > least.z.abs()) {
                found = Some(Change {
                    categories: (*of_left, *of_right),
                    reference: before.r,
                    current: after.r,
                    rows: counts,
                    z,
                    p,
                });
            }
        }
    }
    let found = found?;
    Some(Change { p: (found.p * tests).min(1.0), ..found })
}

/// Categories that are often enough there and often enough not on both sides, by their rows on both; of two that are all there is, one
/// says what the other says.
fn frequent(sides: [&[u32]; 2]) -> Vec<u32> {
    let counted = sides.map(|codes| {
        let mut counts: HashMap<u32, f64> = HashMap::new();
        for code in codes.iter().filter(|code| **code != MISSING) {
            *counts.entry(*code).or_default() += 1.0;
        }
        let rows: f64 = counts.values().sum();
        (counts, rows)
    });
    let share = |side: usize, code: u32| {
        let (counts, rows) = &counted[side];
        let count = counts.get(&code).copied().unwrap_or(0.0);
        let least = count.min(rows - count);
        (least >= LEAST_ROWS && least >= LEAST_SHARE * rows).then_some(count / rows)
    };
    let mut found: Vec<(f64, u32)> =
        counted[0].0.keys().filter_map(|code| Some((share(0, *code)? + share(1, *code)?, *code))).collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let all: f64 = found.iter().map(|(shares, _)| shares).sum();
    if found.len() == 2 && all > 2.0 - 1e-9 {
        found.truncate(1);
    }
    found.into_iter().take(MOST_CATEGORIES).map(|(_, code)| code).collect()
}

fn order(cells: &Cells) -> Vec<u32> {
    let Cells::Numbers(numbers) = cells else { return Vec::new() };
    let mut order: Vec<u32> =
        (0..numbers.len() as u32).filter(|row| !numbers[*row as usize].is_nan()).collect();
    order.sort_unstable_by(|a, b| numbers[*a as usize].total_cmp(&numbers[*b as usize]).then(a.cmp(b)));
    order
}

/// The rows of a side in which both columns have a value.
struct Complete {
    rows: Vec<u32>,
    /// The place of each row among them; none of the others.
    places: Vec<Option<u32>>,
}

impl Complete {
    fn of(a: &Beside, b: &Beside, side: usize) -> Self {
        let all = a.len(side).min(b.len(side));
        let rows: Vec<u32> =
            (0..all).filter(|row| a.has(side, *row) && b.has(side, *row)).map(|row| row as u32).collect();
        let mut places = vec![None; all];
        for (place, row) in rows.iter().enumerate() {
            places[*row as usize] = Some(place as u32);
        }
        Self { rows, places }
    }
}

/// A column of one side as numbers with mean 0 and variance 1.
struct Feature {
    values: Vec<f64>,
    /// What a row adds to the variance, in units of it.
    squares: Vec<f64>,
    /// Of numbers, which are their ranks.
    ranks: Option<Ranks>,
    /// Of a category, the share of rows that have it.
    share: Option<f64>,
}

/// Rows in the order of their numbers.
struct Ranks {
    order: Vec<u32>,
    /// Where rows of the same number begin and end in the order.
    ties: Vec<(usize, usize)>,
    /// Standard deviation of the ranks, which go from 0 to 1.
    deviation: f64,
}

/// A correlation with its error on Fisher's scale.
struct Figure {
    r: f64,
    fisher: f64,
    error: f64,
    /// Rows that the error rests on, less one: of a category those with it, or without where these are fewer.
    degrees: f64,
}

/// Degrees of freedom of a difference, by Welch and Satterthwaite.
fn degrees(before: &Figure, after: &Figure) -> f64 {
    let (one, other) = (before.error.powi(2), after.error.powi(2));
    (one + other).powi(2) / (one * one / before.degrees + other * other / after.degrees)
}

impl Feature {
    fn of(column: &Beside, side: usize, complete: &Complete, category: Option<u32>) -> Option<Self> {
        let n = complete.rows.len() as f64;
        let Some(category) = category else { return Self::ranked(column, side, complete) };
        let flags: Vec<f64> = complete
            .rows
            .iter()
            .map(|row| f64::from(u8::from(column.code(side, *row) == category)))
            .collect();
        let share = flags.iter().sum::<f64>() / n;
        let deviation = (share * (1.0 - share)).sqrt();
        if deviation <= 0.0 {
            return None;
        }
        let values: Vec<f64> = flags.into_iter().map(|flag| (flag - share) / deviation).collect();
        let squares = values.iter().map(|value| value * value).collect();
        Some(Self { values, squares, ranks: None, share: Some(share) })
    }

    fn ranked(column: &Beside, side: usize, complete: &Complete) -> Option<Self> {
        let place = |row: &u32| complete.places.get(*row as usize).copied().flatten();
        let kept: Vec<u32> = column.orders[side].iter().copied().filter(|row| place(row).is_some()).collect();
        let n = kept.len() as f64;
        let (mut values, mut ties, mut from) = (vec![0.0; kept.len()], Vec::new(), 0);
        while from < kept.len() {
            let number = column.number(side, kept[from]);
            let same = kept[from..].iter().take_while(|row| column.number(side, **row) == number).count();
            let to = from + same.max(1);
            // The mean rank of those that are the same, from 0 to 1; its mean over rows is one half.
            let rank = (from + to) as f64 / (2.0 * n) - 0.5;
            for row in &kept[from..to] {
                if let Some(at) = place(row) {
                    values[at as usize] = rank;
                }
            }
            ties.push((from, to));
            from = to;
        }
        let deviation = (values.iter().map(|rank| rank * rank).sum::<f64>() / n).sqrt();
        // Of one value alone there is no order.
        if ties.len() < 2 || deviation <= 0.0 {
            return None;
        }
        values.iter_mut().for_each(|rank| *rank /= deviation);
        let order = kept.iter().filter_map(place).collect();
        let ranks = Ranks { order, ties, deviation };
        let squares = values
            .iter()
            .zip(ranks.above(&values))
            .map(|(value, above)| value * value + 2.0 * above)
            .collect();
        Some(Self { values, squares, ranks: Some(ranks), share: None })
    }

    /// The correlation with another column of the same rows.
    fn beside(&self, other: &Self) -> Figure {
        let n = self.values.len() as f64;
        let mut influence: Vec<f64> = self.values.iter().zip(&other.values).map(|(x, y)| x * y).collect();
        let r = influence.iter().sum::<f64>() / n;
        for (one, partner) in [(self, other), (other, self)] {
            if let Some(ranks) = &one.ranks {
                let above = ranks.above(&partner.values);
                influence.iter_mut().zip(above).for_each(|(all, above)| *all += above);
            }
            influence.iter_mut().zip(&one.squares).for_each(|(all, square)| *all -= r / 2.0 * square);
        }
        let mean = influence.iter().sum::<f64>() / n;
        let variance = influence.iter().map(|all| (all - mean).powi(2)).sum::<f64>() / (n - 1.0);
        // A perfect correlation is as sure as the rows allow.
        let inside = r.clamp(-1.0 + 1.0 / n, 1.0 - 1.0 / n);
        let error = ((variance / n).sqrt() / (1.0 - inside * inside)).max(1.0 / n);
        let fewest = |feature: &Self| feature.share.map_or(1.0, |share| share.min(1.0 - share));
        let degrees = (n * fewest(self).min(fewest(other)) - 1.0).max(1.0);
        Figure { r: r.clamp(-1.0, 1.0), fisher: inside.atanh(), error, degrees }
    }
}

impl Ranks {
    /// For each row the sum of `values` of the rows above it and of half of those that are the same, over the number of rows and the ranks'
    /// deviation: by how much a correlation with `values` changes where there is one more row at its place.
    fn above(&self, values: &[f64]) -> Vec<f64> {
        let scale = 1.0 / (values.len() as f64 * self.deviation);
        let mut left: f64 = values.iter().sum();
        let mut above = vec![0.0; values.len()];
        for &(from, to) in &self.ties {
            let tied = &self.order[from..to];
            let same: f64 = tied.iter().map(|at| values[*at as usize]).sum();
            left -= same;
            for at in tied {
                above[*at as usize] = (left + same / 2.0) * scale;
            }
        }
        above
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlation::{pearson, spearman};
    use crate::random::Random;

    fn numbers(rows: usize, seed: u64) -> Vec<f64> {
        let mut random = Random::new(seed, 7);
        (0..rows).map(|_| random.normal()).collect()
    }

    fn beside(before: Vec<f64>, after: Vec<f64>) -> Beside {
        Beside::new(Cells::Numbers(before), Cells::Numbers(after)).unwrap()
    }

    #[test]
    fn the_figures_are_spearmans_and_those_of_a_category_pearsons() {
        let (x, noise) = (numbers(400, 1), numbers(400, 2));
        let y: Vec<f64> = x.iter().zip(&noise).map(|(x, noise)| (2.0 * (x + noise)).round()).collect();
        // Rows without a value on one of both are left out.
        let mut gaps = y.clone();
        gaps.iter_mut().step_by(9).for_each(|value| *value = f64::NAN);
        let found =
            change(&beside(x.clone(), x.clone()), &beside(gaps.clone(), noise.clone()), 100.0).unwrap();
        let expected = [spearman(&x, &gaps).unwrap(), spearman(&x, &noise).unwrap()];
        assert!((found.reference - expected[0].0).abs() < 1e-12, "{found:?} {expected:?}");
        assert!((found.current - expected[1].0).abs() < 1e-12, "{found:?} {expected:?}");
        assert_eq!(found.rows, (expected[0].1, expected[1].1));
        let codes: Vec<u32> = x
            .iter()
            .map(|x| {
                if *x < -0.5 {
                    7
                } else if *x < 0.3 {
                    3
                } else {
                    9
                }
            })
            .collect();
        let categories =
            Beside::new(Cells::Categories(codes.clone()), Cells::Categories(codes.clone())).unwrap();
        let found = change(&categories, &beside(x.clone(), noise.clone()), 100.0).unwrap();
        let flags: Vec<f64> =
            codes.iter().map(|code| f64::from(u8::from(Some(*code) == found.categories.0))).collect();
        let ranks = crate::correlation::mean_ranks(&x);
        assert!((found.reference - pearson(&flags, &ranks).unwrap().0).abs() < 1e-12, "{found:?}");
        assert_eq!(found.categories.1, None);
    }

    #[test]
    fn errors_are_those_of_resamples() {
        let (x, noise) = (numbers(600, 3), numbers(600, 4));
        // Spread that grows with x: Fisher's formula is far off here.
        let y: Vec<f64> =
            x.iter().zip(&noise).map(|(x, noise)| (0.5 * x + noise * x.exp()).floor()).collect();
        let error = |x: &[f64], y: &[f64]| {
            let (a, b) = (beside(x.to_vec(), x.to_vec()), beside(y.to_vec(), y.to_vec()));
            let rows = Complete::of(&a, &b, 0);
            let of = |column: &Beside| Feature::of(column, 0, &rows, None).unwrap();
            of(&a).beside(&of(&b))
        };
        let whole = error(&x, &y);
        let mut random = Random::new(5, 0);
        let mut drawn: Vec<f64> = Vec::new();
        for _ in 0..2_000 {
            let rows: Vec<usize> = (0..600).map(|_| random.below(600) as usize).collect();
            let of = |values: &[f64]| rows.iter().map(|row| values[*row]).collect::<Vec<f64>>();
            drawn.push(spearman(&of(&x), &of(&y)).unwrap().0.atanh());
        }
        let mean = drawn.iter().sum::<f64>() / 2_000.0;
        let deviation = (drawn.iter().map(|z| (z - mean).powi(2)).sum::<f64>() / 1_999.0).sqrt();
        assert!((whole.error / deviation - 1.0).abs() < 0.08, "{} {deviation}", whole.error);
    }

    #[test]
    fn what_cannot_be_set_beside_is_none() {
        let one = || Cells::Numbers(vec![1.0; 300]);
        let many = || Cells::Numbers(numbers(300, 1));
        let still = Beside::new(one(), one()).unwrap();
        let moves = Beside::new(many(), many()).unwrap();
        assert_eq!(change(&still, &moves, 100.0), None);
        assert_eq!(change(&moves, &moves, 301.0), None);
        assert!(Beside::new(many(), Cells::Categories(vec![1; 300])).is_none());
        // Each name once: there is nothing to count.
        let names = || Cells::Categories((0..300).collect());
        assert!(Beside::new(names(), names()).is_none());
        // The same on both sides is no change, whatever it is.
        let found = change(&moves, &moves, 100.0).unwrap();
        assert_eq!((found.z, found.p), (0.0, 1.0));
        assert!((found.reference - 1.0).abs() < 1e-12, "{found:?}");
    }
}
