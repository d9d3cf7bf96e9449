//! Cutting columns into at most 255 bins.
//!
//! Numbers are compared as 32-bit floats everywhere (training, prediction, exported graph), so that a row cannot
//! fall on different sides of a threshold in different runtimes. Cuts lie between neighbouring distinct values
//! and follow the quantiles of the rows, each row counting once whatever its weight.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::radix::sorted_keys;
use crate::frame::{ColumnData, Frame};

/// The bin of missing values, unknown categories and categories that are too rare for a bin of their own.
pub(super) const MISSING: u8 = 255;

/// Columns per group of the row-wise bin matrix: one group's histograms fit the first-level cache.
pub(super) const GROUP: usize = 8;

/// How one column is cut.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cuts {
    /// Bin `b` holds the values above `cuts[b - 1]` and up to `cuts[b]`; all finite and rising.
    Numeric(Vec<f32>),
    /// The bin of each level of the schema; 255 where it has none.
    Category(Vec<u8>),
}

impl Cuts {
    /// Number of bins, without the one for missing values.
    pub(super) fn bins(&self) -> usize {
        match self {
            Self::Numeric(cuts) => cuts.len() + 1,
            Self::Category(bins) => bins.iter().filter(|&&bin| bin != MISSING).count(),
        }
    }

    fn learn(data: &ColumnData, max_bins: usize) -> Self {
        match data {
            ColumnData::Numeric(values) => Self::Numeric(numeric_cuts(values, max_bins)),
            ColumnData::Category { codes, levels } => {
                Self::Category(category_bins(codes, levels.len(), max_bins))
            }
        }
    }

    fn apply(&self, data: &ColumnData) -> Vec<u8> {
        match (self, data) {
            (Self::Numeric(cuts), ColumnData::Numeric(values)) => {
                let mut padded = [f32::INFINITY; 256];
                padded[..cuts.len()].copy_from_slice(cuts);
                values.iter().map(|&value| bin_of(&padded, value as f32)).collect()
            }
            (Self::Category(bins), ColumnData::Category { codes, .. }) => {
                codes.iter().map(|&code| bins.get(code as usize).copied().unwrap_or(MISSING)).collect()
            }
            _ => vec![MISSING; data.len()],
        }
    }
}

/// Number of cuts below `value`, by a search without branches; the cuts are padded with infinity.
fn bin_of(cuts: &[f32; 256], value: f32) -> u8 {
    let mut bin = 0_usize;
    for step in [128, 64, 32, 16, 8, 4, 2, 1] {
        bin += if cuts[(bin + step - 1) & 255] < value { step } else { 0 };
    }
    if value.is_nan() { MISSING } else { bin as u8 }
}

/// The bins of some rows, twice: by column, for assigning rows to sides, and by row within groups of [`GROUP`]
/// columns, for histograms. Columns with fewer than two bins in use are left out.
pub(super) struct Binned {
    pub(super) rows: usize,
    /// Indices of the frame's columns, in order.
    pub(super) columns: Vec<usize>,
    /// The bins of each of `columns`.
    pub(super) by_column: Vec<Vec<u8>>,
    /// For each group, the bins of each row.
    pub(super) groups: Vec<Vec<[u8; GROUP]>>,
}

/// Learns the cuts of all columns.
pub(super) fn learn(frame: &Frame, max_bins: usize) -> Vec<Cuts> {
    frame.columns().par_iter().map(|column| Cuts::learn(&column.data, max_bins)).collect()
}

impl Binned {
    /// Bins the training rows, with the row-wise groups.
    pub(super) fn for_training(frame: &Frame, cuts: &[Cuts]) -> Self {
        let all: Vec<Vec<u8>> =
            frame.columns().par_iter().zip(cuts).map(|(column, cuts)| cuts.apply(&column.data)).collect();
        let useful: Vec<bool> =
            all.par_iter().map(|bins| bins.iter().any(|bin| Some(bin) != bins.first())).collect();
        let (columns, by_column): (Vec<usize>, Vec<Vec<u8>>) =
            all.into_iter().enumerate().filter(|(column, _)| useful[*column]).unzip();
        let groups = by_column.par_chunks(GROUP).map(interleave).collect();
        Self { rows: frame.rows(), columns, by_column, groups }
    }

    /// Bins other rows for walking down trees grown on `self`.
    pub(super) fn for_walking(&self, frame: &Frame, cuts: &[Cuts]) -> Self {
        let by_column = self
            .columns
            .par_iter()
            .map(|&column| cuts[column].apply(&frame.columns()[column].data))
            .collect();
        Self { rows: frame.rows(), columns: self.columns.clone(), by_column, groups: Vec::new() }
    }
}

fn interleave(columns: &[Vec<u8>]) -> Vec<[u8; GROUP]> {
    let mut group = vec![[0; GROUP]; columns[0].len()];
    for (place, column) in columns.iter().enumerate() {
        for (row, &bin) in group.iter_mut().zip(column) {
            row[place] = bin;
        }
    }
    group
}

/// Cuts that give each bin an equal share of the rows as far as equal values allow.
fn numeric_cuts(values: &[f64], max_bins: usize) -> Vec<f32> {
    let runs = distinct(&sorted_keys(values));
    if runs.len() <= max_bins {
        return runs.windows(2).filter_map(|pair| between(pair[0].0, pair[1].0)).collect();
    }
    // A value more frequent than the mean bin gets a bin of its own; the others share what is left.
    let rows: usize = runs.iter().map(|run| run.1).sum();
    let is_large = |count: usize| count * max_bins >= rows;
    let (mut bins_left, mut rows_left) = (max_bins, rows);
    for run in runs.iter().filter(|run| is_large(run.1)) {
        bins_left -= 1;
        rows_left -= run.1;
    }
    let mut cuts = Vec::with_capacity(max_bins);
    let mut held = 0;
    for pair in runs.windows(2) {
        let (this, next) = (pair[0], pair[1]);
        if !is_large(this.1) {
            held += this.1;
        }
        let full = held * bins_left.max(1) >= rows_left;
        if (is_large(this.1) || is_large(next.1) || full) && cuts.len() + 1 < max_bins {
            cuts.extend(between(this.0, next.0));
            if !is_large(this.1) {
                bins_left = bins_left.saturating_sub(1);
                rows_left -= held;
            }
            held = 0;
        }
    }
    cuts
}

/// Runs of equal keys: value and count.
fn distinct(keys: &[u32]) -> Vec<(f32, usize)> {
    keys.chunk_by(|a, b| a == b).map(|run| (super::radix::value_of(run[0]), run.len())).collect()
}

/// A finite cut with `low <= cut < high`; none where there is no such number.
fn between(low: f32, high: f32) -> Option<f32> {
    if low == f32::NEG_INFINITY {
        let cut = high.next_down();
        return cut.is_finite().then_some(cut);
    }
    let middle = (f64::from(low) + (f64::from(high) - f64::from(low)) / 2.0) as f32;
    Some(if middle < high && middle >= low && middle.is_finite() { middle } else { low })
}

/// A bin for each of the most frequent levels, numbered in the order of the levels.
fn category_bins(codes: &[u32], levels: usize, max_bins: usize) -> Vec<u8> {
    let mut counts = vec![0_usize; levels];
    for &code in codes {
        if let Some(count) = counts.get_mut(code as usize) {
            *count += 1;
        }
    }
    let mut kept: Vec<usize> = (0..levels).filter(|&level| counts[level] > 0).collect();
    if kept.len() > max_bins {
        kept.sort_by_key(|&level| std::cmp::Reverse(counts[level]));
        kept.truncate(max_bins);
        kept.sort_unstable();
    }
    let mut bins = vec![MISSING; levels];
    for (bin, level) in kept.into_iter().enumerate() {
        bins[level] = bin as u8;
    }
    bins
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_values_are_cut_halfway() {
        assert_eq!(numeric_cuts(&[3.0, 1.0, f64::NAN, 1.0, 2.0], 255), [1.5, 2.5]);
        assert_eq!(numeric_cuts(&[f64::NAN], 255), [0.0_f32; 0]);
    }

    #[test]
    fn infinities_keep_cuts_finite() {
        let cuts = numeric_cuts(&[f64::NEG_INFINITY, 0.0, f64::INFINITY], 255);
        assert_eq!(cuts, [0.0_f32.next_down(), 0.0]);
        assert_eq!(
            Cuts::Numeric(cuts).apply(&ColumnData::Numeric(vec![
                f64::NEG_INFINITY,
                0.0,
                f64::INFINITY,
                f64::NAN
            ])),
            [0, 1, 2, MISSING]
        );
    }

    #[test]
    fn many_values_share_bins_evenly() {
        let values: Vec<f64> = (0..10_000).map(|i| f64::from(i * 7919 % 10_000)).collect();
        for max_bins in [2, 16, 255] {
            let cuts = Cuts::Numeric(numeric_cuts(&values, max_bins));
            assert_eq!(cuts.bins(), max_bins);
            let mut counts = vec![0_usize; max_bins];
            for bin in cuts.apply(&ColumnData::Numeric(values.clone())) {
                counts[usize::from(bin)] += 1;
            }
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            assert!(*least > 0 && *most <= 10_000 / max_bins + 1, "{max_bins}: {least}..{most}");
        }
    }

    #[test]
    fn a_frequent_value_has_its_own_bin() {
        let values: Vec<f64> = (0..4_000).map(|i| if i % 2 == 0 { 100.0 } else { f64::from(i) }).collect();
        let Cuts::Numeric(cuts) = Cuts::learn(&ColumnData::Numeric(values), 16) else { panic!() };
        assert!(cuts.iter().any(|cut| (100.0..101.0).contains(cut)), "{cuts:?}");
        assert!(cuts.iter().any(|cut| (99.0..100.0).contains(cut)), "{cuts:?}");
        assert!(cuts.len() < 16);
    }

    #[test]
    fn rare_levels_have_no_bin() {
        assert_eq!(category_bins(&[3, 3, 1, 0, 0, u32::MAX], 4, 2), [0, MISSING, MISSING, 1]);
    }
}
