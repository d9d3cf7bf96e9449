//! What columns have to do with each other: missing together, correlated, rows that repeat a key.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::buffer::BooleanBuffer;
use rayon::prelude::*;

use super::association::Associations;
use super::column::ColumnProfile;
use super::hll::Hll;
use super::moments::CoMoments;
use crate::plain::floats;
use crate::{ColumnType, Error, hash};

/// Most columns whose pairs are correlated.
pub(super) const MOST_CORRELATED: usize = 50;
/// Only nulls of the first so many columns are counted together.
const MOST_NULLABLE: usize = 128;
/// A difference that is a smaller part of what it was taken from has too few digits left.
const LITTLE: f64 = 1e-3;
const KEY_SEED: u64 = 0x6b65_7973;

/// Statistics of pairs of columns and of rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Relations {
    /// Rows in which both columns are null, by the places of the columns; only where there are any.
    pub(super) null_together: BTreeMap<(u32, u32), u64>,
    /// Places of the correlated columns; the target first.
    pub(super) numeric: Vec<u32>,
    /// Their pairs (i, j) with i < j, row by row.
    pub(super) pairs: Vec<CoMoments>,
    pub(super) key: Option<Key>,
    /// Columns beside the target, where there is one.
    pub(super) associations: Option<Associations>,
}

/// How well the declared key tells rows apart.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Key {
    /// Places of the key's columns.
    pub(super) columns: Vec<u32>,
    pub(super) rows: u64,
    /// Rows whose key a row before them has, where all rows were seen in one pass.
    pub(super) exact: Option<u64>,
    /// At least so many, from the parts.
    pub(super) least: u64,
    /// Different keys.
    pub(super) distinct: Hll,
}

impl Relations {
    pub(super) fn new(columns: &[ColumnProfile], target: Option<&str>, key: Vec<u32>) -> Self {
        let of = |name: Option<&str>| columns.iter().position(|column| Some(column.name.as_str()) == name);
        let goal = of(target);
        let target = goal.filter(|&place| {
            matches!(columns[place].column_type, ColumnType::Int | ColumnType::Float | ColumnType::Bool)
        });
        let numbers = (0..columns.len()).filter(|&place| {
            Some(place) != target && matches!(columns[place].column_type, ColumnType::Int | ColumnType::Float)
        });
        let numeric: Vec<u32> =
            target.into_iter().chain(numbers).take(MOST_CORRELATED).map(|place| place as u32).collect();
        let pairs = numeric.len() * numeric.len().saturating_sub(1) / 2;
        let known = if target.is_some() { numeric.as_slice() } else { &[] };
        Self {
            associations: goal.and_then(|goal| Associations::new(columns, goal, known)),
            null_together: BTreeMap::new(),
            pairs: vec![CoMoments::default(); pairs],
            numeric,
            key: (!key.is_empty()).then(|| Key {
                columns: key,
                rows: 0,
                exact: None,
                least: 0,
                distinct: Hll::default(),
            }),
        }
    }

    pub(super) fn update(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        self.nulls(batch);
        self.correlate(batch)?;
        if let Some(associations) = &mut self.associations {
            associations.update(batch)?;
        }
        if let Some(key) = &mut self.key {
            key.update(batch)?;
        }
        Ok(())
    }

    fn nulls(&mut self, batch: &RecordBatch) {
        let missing: Vec<(u32, BooleanBuffer)> = batch
            .columns()
            .iter()
            .take(MOST_NULLABLE)
            .enumerate()
            .filter_map(|(place, array)| {
                let nulls = array.logical_nulls().filter(|nulls| nulls.null_count() > 0)?;
                Some((place as u32, !nulls.inner()))
            })
            .collect();
        for (i, (left, a)) in missing.iter().enumerate() {
            for (right, b) in &missing[i + 1..] {
                let both = (a & b).count_set_bits() as u64;
                if both > 0 {
                    *self.null_together.entry((*left, *right)).or_default() += both;
                }
            }
        }
    }

    fn correlate(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        if self.pairs.is_empty() {
            return Ok(());
        }
        let centred: Vec<Centred> = self
            .numeric
            .par_iter()
            .map(|&place| Centred::of(batch.column(place as usize)))
            .collect::<Result<_, _>>()?;
        let rows = batch.num_rows();
        let count = centred.len();
        let places: Vec<(usize, usize)> =
            (0..count).flat_map(|i| (i + 1..count).map(move |j| (i, j))).collect();
        self.pairs.par_iter_mut().zip(places).with_min_len(32).for_each(|(pair, (i, j))| {
            pair.merge(&centred[i].with(&centred[j], rows));
        });
        Ok(())
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (pair, rows) in &other.null_together {
            *self.null_together.entry(*pair).or_default() += rows;
        }
        if self.numeric == other.numeric {
            for (mine, theirs) in self.pairs.iter_mut().zip(&other.pairs) {
                mine.merge(theirs);
            }
        } else {
            self.numeric.clear();
            self.pairs.clear();
        }
        match (&mut self.associations, &other.associations) {
            (Some(mine), Some(theirs)) => mine.merge(theirs),
            (mine, _) => *mine = None,
        }
        self.key = match (self.key.take(), &other.key) {
            (Some(mut mine), Some(theirs)) if mine.columns == theirs.columns => {
                mine.merge(theirs);
                Some(mine)
            }
            _ => None,
        };
    }
}

impl Key {
    fn update(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        let mut hashes = vec![KEY_SEED; batch.num_rows()];
        for &place in &self.columns {
            let cells = hash::cells(batch.column(place as usize), KEY_SEED)?;
            for (hash, cell) in hashes.iter_mut().zip(cells) {
                *hash = hash::mix(hash.rotate_left(5), cell);
            }
        }
        for hash in hashes {
            self.distinct.insert(hash);
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    fn merge(&mut self, other: &Self) {
        self.least = self.exact.unwrap_or(self.least) + other.exact.unwrap_or(other.least);
        // A row may repeat one of the other part, which only the sketch knows of.
        self.exact = if self.rows == 0 || other.rows == 0 { Some(self.least) } else { None };
        self.rows += other.rows;
        self.distinct.merge(&other.distinct);
    }
}

/// A column of a batch with its mean taken off, and zeros where it is not a finite number.
pub(super) struct Centred {
    values: Vec<f64>,
    mean: f64,
    squares: f64,
    count: u64,
    /// `None` where there is a number in every row.
    gaps: Option<Gaps>,
}

/// Rows without a number.
struct Gaps {
    /// Their numbers, ascending.
    rows: Vec<u32>,
    is_gap: BooleanBuffer,
}

impl Centred {
    pub(super) fn of(array: &ArrayRef) -> Result<Self, Error> {
        let values = floats(array)?;
        let complete = values.null_count() == 0 && values.values().iter().all(|value| value.is_finite());
        if complete {
            let count = values.len() as f64;
            let mean = values.values().iter().sum::<f64>() / count;
            let centred: Vec<f64> = values.values().iter().map(|value| value - mean).collect();
            let squares = dot(&centred, &centred);
            return Ok(Self { mean, squares, count: values.len() as u64, values: centred, gaps: None });
        }
        let is_gap = match values.nulls() {
            None => BooleanBuffer::collect_bool(values.len(), |row| !values.value(row).is_finite()),
            Some(nulls) => BooleanBuffer::collect_bool(values.len(), |row| {
                nulls.is_null(row) || !values.value(row).is_finite()
            }),
        };
        let rows: Vec<u32> = is_gap.set_indices().map(|row| row as u32).collect();
        let count = (values.len() - rows.len()) as u64;
        let mut centred = values.values().to_vec();
        rows.iter().for_each(|&row| centred[row as usize] = 0.0);
        let mean = if count > 0 { centred.iter().sum::<f64>() / count as f64 } else { 0.0 };
        centred.iter_mut().for_each(|value| *value -= mean);
        rows.iter().for_each(|&row| centred[row as usize] = 0.0);
        let squares = dot(&centred, &centred);
        Ok(Self { values: centred, mean, squares, count, gaps: Some(Gaps { rows, is_gap }) })
    }

    /// Σ x and Σ x² of the rows without `gaps`.
    fn outside(&self, gaps: &Gaps) -> [f64; 2] {
        let inside = gaps.rows.iter().map(|&row| self.values[row as usize]);
        let [sum, squares] = inside.fold([0.0; 2], |[sum, squares], x| [sum + x, squares + x * x]);
        let left = self.squares - squares;
        if left > LITTLE * self.squares {
            // All values sum to zero.
            return [-sum, left];
        }
        let outside = self.values.iter().zip(&gaps.is_gap).filter(|(_, is_gap)| !is_gap);
        outside.fold([0.0; 2], |[sum, squares], (x, _)| [sum + x, squares + x * x])
    }

    /// The co-moments of the rows in which both have a number.
    pub(super) fn with(&self, other: &Self, rows: usize) -> CoMoments {
        match (&self.gaps, &other.gaps) {
            (None, None) => CoMoments {
                count: rows as u64,
                means: [self.mean, other.mean],
                squares: [self.squares, other.squares],
                product: dot(&self.values, &other.values),
            },
            (None, Some(gaps)) => {
                let [sum, square] = self.outside(gaps);
                let product = dot(&self.values, &other.values);
                shifted(self, other, other.count as f64, [sum, 0.0], [square, other.squares], product)
            }
            (Some(_), None) => {
                let swapped = other.with(self, rows);
                CoMoments {
                    means: [swapped.means[1], swapped.means[0]],
                    squares: [swapped.squares[1], swapped.squares[0]],
                    ..swapped
                }
            }
            (Some(mine), Some(theirs)) => {
                let [left, left_square] = self.outside(theirs);
                let [right, right_square] = other.outside(mine);
                let product = dot(&self.values, &other.values);
                let both = (&mine.is_gap & &theirs.is_gap).count_set_bits();
                let shared = (rows + both - mine.rows.len() - theirs.rows.len()) as f64;
                shifted(self, other, shared, [left, right], [left_square, right_square], product)
            }
        }
    }
}

/// From sums about the columns' own means to sums about the means of the shared rows.
fn shifted(a: &Centred, b: &Centred, n: f64, sums: [f64; 2], squares: [f64; 2], product: f64) -> CoMoments {
    if n < 1.0 {
        return CoMoments::default();
    }
    let means = [sums[0] / n, sums[1] / n];
    CoMoments {
        count: n as u64,
        means: [a.mean + means[0], b.mean + means[1]],
        squares: [(squares[0] - sums[0] * means[0]).max(0.0), (squares[1] - sums[1] * means[1]).max(0.0)],
        product: product - sums[0] * means[1],
    }
}

/// Σ aᵢ bᵢ, in lanes that the compiler turns into vector instructions.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; 8];
    let (left, right) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = left.remainder().iter().zip(right.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in left.zip(right) {
        for lane in 0..8 {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    lanes.iter().sum::<f64>() + rest
}
