//! The mergeable statistics of one column and how a batch goes into them. Turning them into plain numbers is in
//! `describe`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array};
use arrow::compute::{max, max_string, min, min_string};
use arrow::datatypes::{Field, Float64Type};
use serde::{Deserialize, Serialize};

use super::frequent::{Frequent, Sample};
use super::hll::Hll;
use super::kll::Kll;
use crate::plain::{Kind, Plain, cast_to};
use crate::value::shorten;
use crate::{ColumnType, Error, hash};

/// Seed of the hashes; all summaries share it, so that they merge.
const SEED: u64 = 0x7469_6465_6d69_6c6c;

/// What is kept of a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ColumnSummary {
    pub(super) name: String,
    pub(super) column_type: ColumnType,
    /// Arrow's name of the type.
    pub(super) data_type: String,
    pub(super) count: u64,
    pub(super) nulls: u64,
    pub(super) min: Option<Sample>,
    pub(super) max: Option<Sample>,
    pub(super) moments: Moments,
    /// Characters of all texts.
    pub(super) characters: u64,
    pub(super) quantiles: Kll,
    pub(super) distinct: Hll,
    pub(super) frequent: Frequent,
}

/// Count, mean and sum of squared deviations of finite numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Moments {
    pub(super) count: u64,
    pub(super) mean: f64,
    pub(super) squares: f64,
}

impl Moments {
    fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        if values.is_empty() {
            return Self::default();
        }
        let mean = values.iter().sum::<f64>() / count;
        let squares = values.iter().map(|value| (value - mean) * (value - mean)).sum();
        Self { count: values.len() as u64, mean, squares }
    }

    /// Chan, Golub and LeVeque's pairwise update (1979).
    fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        let (n, m) = (self.count as f64, other.count as f64);
        let delta = other.mean - self.mean;
        self.mean += delta * m / (n + m);
        self.squares += other.squares + delta * delta * n * m / (n + m);
        self.count += other.count;
    }
}

impl ColumnSummary {
    pub(super) fn new(field: &Field) -> Self {
        Self {
            name: field.name().clone(),
            column_type: ColumnType::of(field.data_type()),
            data_type: field.data_type().to_string(),
            count: 0,
            nulls: 0,
            min: None,
            max: None,
            moments: Moments::default(),
            characters: 0,
            quantiles: Kll::default(),
            distinct: Hll::default(),
            frequent: Frequent::default(),
        }
    }

    /// Adds the values of a batch.
    pub(super) fn update(&mut self, array: &ArrayRef) -> Result<(), Error> {
        let nulls = array.logical_null_count() as u64;
        self.nulls += nulls;
        self.count += array.len() as u64 - nulls;
        if nulls == array.len() as u64 {
            return Ok(());
        }
        match Plain::of(array)? {
            Plain::Int(values, kind) => {
                self.range(min(&values).map(Sample::Int), max(&values).map(Sample::Int));
                self.numbers(&cast_to::<Float64Type>(&(Arc::new(values.clone()) as ArrayRef))?, kind);
                self.count_values(&(Arc::new(values.clone()) as ArrayRef), |row| {
                    Sample::Int(values.value(row))
                })
            }
            Plain::Float(values) => {
                let real = values.iter().flatten().filter(|value| !value.is_nan());
                let (low, high) =
                    real.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
                if low <= high {
                    self.range(Some(Sample::Float(low)), Some(Sample::Float(high)));
                }
                self.numbers(&values, Kind::Number);
                self.count_values(&(Arc::new(values.clone()) as ArrayRef), |row| {
                    Sample::Float(values.value(row))
                })
            }
            Plain::Text(values) => {
                let text =
                    |text: Option<&str>| text.map(|text| Sample::Text(shorten(text.to_owned()).into()));
                self.range(text(min_string(&values)), text(max_string(&values)));
                self.characters +=
                    values.iter().flatten().map(|text| text.chars().count() as u64).sum::<u64>();
                let sample = |row: usize| Sample::Text(shorten(values.value(row).to_owned()).into());
                self.count_values(&(Arc::new(values.clone()) as ArrayRef), sample)
            }
        }
    }

    fn numbers(&mut self, values: &Float64Array, kind: Kind) {
        let finite: Vec<f64> = values.iter().flatten().filter(|value| value.is_finite()).collect();
        if kind != Kind::Time {
            self.moments.merge(&Moments::of(&finite));
        }
        if kind != Kind::Truth {
            self.quantiles.extend(values.iter().flatten().filter(|value| !value.is_nan()));
        }
    }

    fn count_values(&mut self, array: &ArrayRef, sample: impl Fn(usize) -> Sample) -> Result<(), Error> {
        for (row, hash) in hash::cells(array, SEED)?.into_iter().enumerate() {
            if array.is_valid(row) {
                self.distinct.insert(hash);
                self.frequent.add(hash, || sample(row));
            }
        }
        Ok(())
    }

    fn range(&mut self, low: Option<Sample>, high: Option<Sample>) {
        let keep = |kept: &mut Option<Sample>, new: Option<Sample>, better: fn(&Sample, &Sample) -> bool| {
            if let Some(new) = new
                && kept.as_ref().is_none_or(|kept| better(&new, kept))
            {
                *kept = Some(new);
            }
        };
        keep(&mut self.min, low, below);
        keep(&mut self.max, high, |new, kept| below(kept, new));
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.nulls += other.nulls;
        self.range(other.min.clone(), other.max.clone());
        self.moments.merge(&other.moments);
        self.characters += other.characters;
        self.quantiles.merge(&other.quantiles);
        self.distinct.merge(&other.distinct);
        self.frequent.merge(&other.frequent);
    }
}

fn below(a: &Sample, b: &Sample) -> bool {
    match (a, b) {
        (Sample::Int(a), Sample::Int(b)) => a < b,
        (Sample::Float(a), Sample::Float(b)) => a < b,
        (Sample::Text(a), Sample::Text(b)) => a < b,
        _ => false,
    }
}
