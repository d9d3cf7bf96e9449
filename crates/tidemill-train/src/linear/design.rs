//! The design matrix: standardised numbers and one-hot categories, and what a fit needs to compute from it.
//!
//! Column 0 is the intercept, then come the numeric columns, then the one-hot columns. Rows are stored as dense numbers
//! plus the one-hot column of each category, so a pass costs as many multiplications as the table has columns.

use rayon::prelude::*;

use super::cholesky::dot;
use super::{LinearModel, Link, Term};
use crate::frame::{Column, ColumnData, Frame, NO_LEVEL};
use crate::{Error, Result};

/// Most columns after one-hot: the normal equations then take half a gigabyte.
const MOST_COLUMNS: usize = 8_192;
/// Memory for the partial sums of one pass, in numbers.
const PART_SUMS: usize = 8 << 20;
/// Blocks of rows whose sums are added up in order, which makes them independent of the number of threads.
const BLOCKS: usize = 64;

pub(super) struct Design {
    pub(super) rows: usize,
    /// Columns, with the intercept.
    pub(super) width: usize,
    /// Intercept and numeric columns, row by row.
    dense: Vec<f64>,
    dense_width: usize,
    /// One-hot column of each category, row by row.
    hot: Vec<u32>,
    hot_width: usize,
    parts: Vec<Part>,
}

/// Where a column of the frame is in the design.
enum Part {
    Numeric { mean: f64, scale: f64, at: usize },
    Categorical { levels: Vec<u32>, first: usize, other: Option<usize>, missing: Option<usize> },
}

impl Design {
    pub(super) fn new(frame: &Frame, weights: &[f64], most_levels: usize) -> Result<Self> {
        let numeric = frame.columns().iter().filter(|c| matches!(c.data, ColumnData::Numeric(_))).count();
        let (mut next_dense, mut next_hot) = (1, 1 + numeric);
        let mut parts = Vec::with_capacity(frame.columns().len());
        for column in frame.columns() {
            parts.push(match &column.data {
                ColumnData::Numeric(values) => {
                    let (mean, scale) = standard(column, values, weights)?;
                    next_dense += 1;
                    Part::Numeric { mean, scale, at: next_dense - 1 }
                }
                ColumnData::Category { codes, levels } => {
                    let part = one_hot(codes, levels.len(), most_levels, &mut next_hot);
                    if next_hot > MOST_COLUMNS {
                        return Err(Error::Parameter {
                            parameter: "max_categories".into(),
                            value: most_levels.to_string(),
                            expected: format!(
                                "with `{}` there are more than {MOST_COLUMNS} columns",
                                column.name
                            ),
                        });
                    }
                    part
                }
            });
        }
        let mut design = Self {
            rows: frame.rows(),
            width: next_hot,
            dense: Vec::new(),
            dense_width: 1 + numeric,
            hot: Vec::new(),
            hot_width: frame.columns().len() - numeric,
            parts,
        };
        design.fill(frame);
        Ok(design)
    }

    fn fill(&mut self, frame: &Frame) {
        let (dense_width, hot_width) = (self.dense_width, self.hot_width);
        self.dense = vec![1.0; self.rows * dense_width];
        self.hot = vec![0; self.rows * hot_width];
        let mut next_hot = 0;
        for (part, column) in self.parts.iter().zip(frame.columns()) {
            match (part, &column.data) {
                (Part::Numeric { mean, scale, at }, ColumnData::Numeric(values)) => {
                    for (row, value) in self.dense.chunks_exact_mut(dense_width).zip(values) {
                        row[*at] = if value.is_nan() { 0.0 } else { (value - mean) / scale };
                    }
                }
                (Part::Categorical { .. }, ColumnData::Category { codes, levels }) => {
                    let known: Vec<u32> = (0..levels.len() as u32).map(|code| part.column_of(code)).collect();
                    let missing = part.column_of(NO_LEVEL);
                    for (row, code) in self.hot.chunks_exact_mut(hot_width).zip(codes) {
                        row[next_hot] = known.get(*code as usize).copied().unwrap_or(missing);
                    }
                    next_hot += 1;
                }
                _ => debug_assert!(false, "parts are made from the same frame"),
            }
        }
    }

    fn dense_row(&self, row: usize) -> &[f64] {
        &self.dense[row * self.dense_width..(row + 1) * self.dense_width]
    }

    fn hot_row(&self, row: usize) -> &[u32] {
        &self.hot[row * self.hot_width..(row + 1) * self.hot_width]
    }

    /// The score of a row under one coefficient for each column of the design.
    pub(super) fn score(&self, row: usize, coefficients: &[f64]) -> f64 {
        let dense = dot(self.dense_row(row), &coefficients[..self.dense_width]);
        self.hot_row(row).iter().fold(dense, |sum, column| sum + coefficients[*column as usize])
    }

    /// Adds `factor` times the row to `sums`, one number for each column.
    pub(super) fn add(&self, row: usize, factor: f64, sums: &mut [f64]) {
        sums.iter_mut().zip(self.dense_row(row)).for_each(|(sum, x)| *sum += factor * x);
        self.hot_row(row).iter().for_each(|column| sums[*column as usize] += factor);
    }

    /// Runs `work` on blocks of rows in parallel and adds up their vectors of `length` in the order of the rows.
    pub(super) fn sum_over_rows(
        &self,
        length: usize,
        work: impl Fn(std::ops::Range<usize>, &mut [f64]) + Sync,
    ) -> Vec<f64> {
        let blocks = (PART_SUMS / length.max(1)).clamp(1, BLOCKS);
        let size = self.rows.div_ceil(blocks).max(1_024);
        sum_blocks(self.rows, size, length, work)
    }

    /// The lower triangle of `X' W X`, row by row.
    pub(super) fn gram(&self, weights: &[f64]) -> Vec<f64> {
        let width = self.width;
        let parts = (PART_SUMS / (width * width)).clamp(1, 16);
        let size = self.rows.div_ceil(parts).max(1_024);
        sum_blocks(self.rows, size, width * width, |rows, gram| {
            for row in rows {
                let (weight, dense, hot) = (weights[row], self.dense_row(row), self.hot_row(row));
                for (a, x) in dense.iter().enumerate() {
                    let factor = weight * x;
                    gram[a * width..=a * width + a].iter_mut().zip(dense).for_each(|(g, x)| *g += factor * x);
                }
                for (at, column) in hot.iter().enumerate() {
                    let line = &mut gram[*column as usize * width..(*column as usize + 1) * width];
                    line.iter_mut().zip(dense).for_each(|(g, x)| *g += weight * x);
                    hot[..=at].iter().for_each(|before| line[*before as usize] += weight);
                }
            }
        })
    }

    /// The model with these coefficients, one vector over the columns of the design for each output.
    pub(super) fn model(&self, link: Link, solution: &[Vec<f64>]) -> LinearModel {
        let at = |column: usize| solution.iter().map(|output| output[column]).collect::<Vec<f64>>();
        let zeros = vec![0.0; solution.len()];
        let or_zeros = |column: Option<usize>| column.map_or_else(|| zeros.clone(), at);
        let term = |part: &Part| match part {
            Part::Numeric { mean, scale, at: column } => {
                Term::Numeric { mean: *mean, scale: *scale, coefficients: at(*column) }
            }
            Part::Categorical { levels, first, other, missing } => Term::Categorical {
                levels: levels.clone(),
                coefficients: (0..levels.len()).map(|level| at(first + level)).collect(),
                missing: or_zeros(*missing),
                other: or_zeros(*other),
            },
        };
        LinearModel { link, terms: self.parts.iter().map(term).collect(), intercepts: at(0) }
    }
}

impl Part {
    /// The design column of a level of a categorical part. A level that no training row has never reaches a fit.
    fn column_of(&self, code: u32) -> u32 {
        match self {
            Self::Numeric { at, .. } => *at as u32,
            Self::Categorical { missing, .. } if code == NO_LEVEL => missing.unwrap_or(0) as u32,
            Self::Categorical { levels, first, other, .. } => {
                levels.binary_search(&code).map_or(other.unwrap_or(0), |at| first + at) as u32
            }
        }
    }
}

/// Adds up the vectors of equal blocks of rows in their order.
fn sum_blocks(
    rows: usize,
    size: usize,
    length: usize,
    work: impl Fn(std::ops::Range<usize>, &mut [f64]) + Sync,
) -> Vec<f64> {
    let blocks: Vec<usize> = (0..rows).step_by(size).collect();
    let part = |first: usize| {
        let mut sums = vec![0.0; length];
        work(first..(first + size).min(rows), &mut sums);
        sums
    };
    let all: Vec<Vec<f64>> = blocks.into_par_iter().map(part).collect();
    let mut all = all.into_iter();
    let mut total = all.next().unwrap_or_else(|| vec![0.0; length]);
    for part in all {
        total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
    }
    total
}

/// Mean and scale of a numeric column.
fn standard(column: &Column, values: &[f64], weights: &[f64]) -> Result<(f64, f64)> {
    if let Some(row) = values.iter().position(|value| value.is_infinite()) {
        return Err(Error::NotFinite {
            role: "feature",
            column: column.name.to_string(),
            value: values[row].to_string(),
            row,
        });
    }
    let known = || values.iter().zip(weights).filter(|(value, _)| !value.is_nan());
    let (mut sum, mut known_weight) = (0.0, 0.0);
    for (value, weight) in known() {
        sum += value * weight;
        known_weight += weight;
    }
    if known_weight <= 0.0 {
        return Ok((0.0, 1.0));
    }
    let mean = sum / known_weight;
    let squares: f64 = known().map(|(value, weight)| weight * (value - mean) * (value - mean)).sum();
    // Missing values sit on the mean and so add weight but no spread.
    let variance = squares / weights.iter().sum::<f64>();
    // What rounding alone can make of a constant column.
    let noise = (values.len() as f64 * mean * f64::EPSILON).powi(2);
    Ok((mean, if variance > noise { variance.sqrt() } else { 1.0 }))
}

/// Gives the most frequent levels columns of their own, the lower code first among equals.
fn one_hot(codes: &[u32], count: usize, most: usize, next: &mut usize) -> Part {
    let mut rows = vec![0_u64; count];
    let mut missing_rows = 0_u64;
    for code in codes {
        match rows.get_mut(*code as usize) {
            Some(rows) => *rows += 1,
            None => missing_rows += 1,
        }
    }
    let mut levels: Vec<u32> = (0..count as u32).filter(|code| rows[*code as usize] > 0).collect();
    let rare = levels.len() > most;
    if rare {
        levels.sort_by_key(|code| std::cmp::Reverse(rows[*code as usize]));
        levels.truncate(most);
        levels.sort_unstable();
    }
    let first = *next;
    *next += levels.len();
    let mut own = |needed: bool| {
        *next += usize::from(needed);
        needed.then(|| *next - 1)
    };
    let other = own(rare);
    let missing = own(missing_rows > 0);
    Part::Categorical { levels, first, other, missing }
}
