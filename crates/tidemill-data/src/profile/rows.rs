//! A sample of rows that stays when a profile is all that is left: what columns have to do with each other is in no profile of columns.
//!
//! Each row has a priority that follows from its number alone, and those with the lowest are kept. So the sample of many parts is drawn evenly
//! from all their rows, and the same rows give the same sample. Of a cell it keeps what tells it from others and no value: numbers in single
//! precision, of everything else a hash.

use std::collections::BinaryHeap;

use arrow::array::{Array, RecordBatch, UInt32Array};
use arrow::compute::take;

use super::column::{self, ColumnProfile};
use crate::plain::floats;
use crate::{ColumnType, Error, hash};

/// Columns of a sample; those beyond are not in it.
pub(super) const MOST_COLUMNS: usize = 64;
/// Rows of a sample that is read.
pub(super) const MOST_ROWS: usize = 1 << 16;
const SEED: u64 = 0x726f_7773;
/// The number, and the hash, of a value that is missing.
const NO_NUMBER: u32 = f32::NAN.to_bits();
const NO_HASH: u32 = u32::MAX;

/// Sampled rows, column by column.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RowSample {
    /// Rows at most.
    pub(super) most: usize,
    /// Places of the columns.
    pub(super) columns: Vec<u32>,
    /// Of each column whether its cells are numbers.
    pub(super) numbers: Vec<bool>,
    /// Of each row.
    pub(super) priorities: Vec<u64>,
    /// Of each column the cells in the order of the rows: bits of a number, or a hash.
    pub(super) cells: Vec<Vec<u32>>,
}

/// Where rows are while a sample grows: the one with the highest priority goes first.
#[derive(Debug, Default)]
pub(super) struct Heap(BinaryHeap<(u64, u32)>);

impl RowSample {
    /// An empty sample of the columns that can be set beside each other.
    pub(super) fn new(columns: &[ColumnProfile], most: usize) -> Self {
        let is_number = |column: &ColumnProfile| match column.column_type {
            ColumnType::Int | ColumnType::Float => Some(true),
            ColumnType::String | ColumnType::Bool => Some(false),
            ColumnType::Timestamp | ColumnType::Date | ColumnType::Other => None,
        };
        let kept: Vec<(u32, bool)> = columns
            .iter()
            .enumerate()
            .filter_map(|(place, column)| Some((place as u32, is_number(column)?)))
            .take(MOST_COLUMNS)
            .collect();
        Self {
            most: most.min(MOST_ROWS),
            columns: kept.iter().map(|(place, _)| *place).collect(),
            numbers: kept.iter().map(|(_, number)| *number).collect(),
            priorities: Vec::new(),
            cells: vec![Vec::new(); kept.len()],
        }
    }

    /// Adds the rows of a batch of which the first is the row `first` of all.
    pub(super) fn update(&mut self, batch: &RecordBatch, first: u64, heap: &mut Heap) -> Result<(), Error> {
        // Which rows are kept, and where; a row may take the place of one of the same batch.
        let mut kept: Vec<(u32, usize)> = Vec::new();
        for row in 0..batch.num_rows() as u32 {
            let priority = hash::word(first + u64::from(row), SEED);
            let slot = if self.priorities.len() < self.most {
                self.priorities.push(priority);
                self.priorities.len() - 1
            } else {
                if heap.0.peek().is_none_or(|(highest, _)| priority >= *highest) {
                    continue;
                }
                let Some((_, slot)) = heap.0.pop() else { continue };
                self.priorities[slot as usize] = priority;
                slot as usize
            };
            heap.0.push((priority, slot as u32));
            kept.push((row, slot));
        }
        if kept.is_empty() {
            return Ok(());
        }
        let rows: UInt32Array = kept.iter().map(|(row, _)| *row).collect();
        for (at, place) in self.columns.iter().enumerate() {
            let drawn =
                take(batch.column(*place as usize), &rows, None).map_err(Error::arrow("draw rows"))?;
            let found: Vec<u32> = if self.numbers[at] {
                floats(&drawn)?.iter().map(bits).collect()
            } else {
                let hashes = hash::cells(&drawn, column::SEED)?;
                let missing = drawn.logical_nulls();
                let is_null = |row: usize| missing.as_ref().is_some_and(|nulls| nulls.is_null(row));
                hashes
                    .into_iter()
                    .enumerate()
                    .map(|(row, hash)| if is_null(row) { NO_HASH } else { short(hash) })
                    .collect()
            };
            let cells = &mut self.cells[at];
            cells.resize(self.priorities.len(), 0);
            for ((_, slot), cell) in kept.iter().zip(found) {
                cells[*slot] = cell;
            }
        }
        Ok(())
    }

    /// The rows of both with the lowest priorities.
    pub(super) fn merge(&mut self, other: &Self) {
        self.most = self.most.min(other.most);
        let mine = self.priorities.len();
        let priority = |at: &usize| match self.priorities.get(*at) {
            Some(priority) => *priority,
            None => other.priorities[*at - mine],
        };
        let mut all: Vec<usize> = (0..mine + other.priorities.len()).collect();
        all.sort_by_key(priority);
        all.truncate(self.most);
        let priorities = all.iter().map(priority).collect();
        for (mine, theirs) in self.cells.iter_mut().zip(&other.cells) {
            *mine = all
                .iter()
                .map(|at| mine.get(*at).copied().unwrap_or_else(|| theirs[*at - mine.len()]))
                .collect();
        }
        self.priorities = priorities;
    }

    /// Whether samples are of the same columns.
    pub(super) fn fits(&self, other: &Self) -> bool {
        (&self.columns, &self.numbers) == (&other.columns, &other.numbers)
    }

    /// The numbers of the column at a place, NaN where there is none.
    pub(super) fn numbers_of(&self, place: u32) -> Option<Vec<f64>> {
        let at = self.columns.iter().position(|column| *column == place)?;
        let cells = self.cells.get(at).filter(|_| self.numbers[at])?;
        Some(cells.iter().map(|bits| f64::from(f32::from_bits(*bits))).collect())
    }

    /// Codes of the values of the column at a place, `u32::MAX` where there is none.
    pub(super) fn codes_of(&self, place: u32) -> Option<Vec<u32>> {
        let at = self.columns.iter().position(|column| *column == place)?;
        let cells = self.cells.get(at)?;
        if !self.numbers[at] {
            return Some(cells.clone());
        }
        let code = |bits: &u32| if f32::from_bits(*bits).is_nan() { NO_HASH } else { *bits };
        Some(cells.iter().map(code).collect())
    }
}

/// The code of the value with this hash, as a column's frequent values have it.
pub(super) fn short(hash: u64) -> u32 {
    let code = (hash >> 32) as u32;
    if code == NO_HASH { NO_HASH - 1 } else { code }
}

/// A number in single precision, one zero and one NaN.
pub(super) fn bits(number: Option<f64>) -> u32 {
    match number {
        Some(number) if !number.is_nan() => {
            let most = f64::from(f32::MAX);
            let near = if number.is_finite() { number.clamp(-most, most) } else { number };
            (near as f32 + 0.0).to_bits()
        }
        _ => NO_NUMBER,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, BooleanArray, Float64Array, StringArray};

    use crate::profile::ProfileBuilder;
    use crate::{Profile, ProfileOptions};

    /// Rows whose columns all say the same number.
    fn batch(rows: std::ops::Range<u32>) -> arrow::array::RecordBatch {
        let numbers: Float64Array =
            rows.clone().map(|row| (row % 10 != 3).then_some(f64::from(row))).collect();
        let texts: StringArray =
            rows.clone().map(|row| Some(["low", "high"][usize::from(row >= 5_000)])).collect();
        let flags: BooleanArray = rows.map(|row| Some(row % 2 == 0)).collect();
        arrow::array::RecordBatch::try_from_iter([
            ("text", Arc::new(texts) as ArrayRef),
            ("number", Arc::new(numbers) as ArrayRef),
            ("flag", Arc::new(flags) as ArrayRef),
        ])
        .unwrap()
    }

    fn profile(parts: &[(u32, u32)]) -> Profile {
        let options = ProfileOptions { sample: 500, ..ProfileOptions::columns() };
        let mut builder = ProfileBuilder::new(batch(0..1).schema_ref(), &options).unwrap();
        parts.iter().for_each(|(from, to)| builder.update(&batch(*from..*to)).unwrap());
        builder.finish().unwrap()
    }

    #[test]
    fn rows_stay_together_and_do_not_depend_on_batches() {
        let whole = profile(&[(0, 10_000)]);
        assert_eq!(whole.rows_sampled(), profile(&[(0, 7), (7, 8_000), (8_000, 10_000)]).rows_sampled());
        let sample = whole.rows_sampled().unwrap();
        let numbers = sample.numbers_of(1).unwrap();
        let (texts, flags) = (sample.codes_of(0).unwrap(), sample.codes_of(2).unwrap());
        assert_eq!((numbers.len(), texts.len(), flags.len()), (500, 500, 500));
        for (row, number) in numbers.iter().enumerate().filter(|(_, number)| !number.is_nan()) {
            let label = whole.label_of("text", texts[row]).unwrap();
            assert_eq!(label, if *number >= 5_000.0 { "high" } else { "low" }, "{number}");
            let flag = whole.label_of("flag", flags[row]).unwrap();
            assert_eq!(flag, (*number % 2.0 == 0.0).to_string());
        }
        let missing = numbers.iter().filter(|number| number.is_nan()).count();
        assert!((25..85).contains(&missing), "a tenth has no number: {missing}");
        let low = numbers.iter().filter(|number| **number < 5_000.0).count();
        assert!((180..270).contains(&low), "it is drawn evenly: {low}");
        assert_eq!(Profile::from_bytes(&whole.to_bytes()).unwrap(), whole);
    }

    #[test]
    fn parts_add_up_to_a_sample_of_all() {
        let mut sum = profile(&[(0, 9_000)]);
        sum.merge(&profile(&[(9_000, 10_000)])).unwrap();
        let numbers = sum.rows_sampled().unwrap().numbers_of(1).unwrap();
        assert_eq!(numbers.len(), 500);
        let of_second = numbers.iter().filter(|number| **number >= 9_000.0).count();
        assert!((20..85).contains(&of_second), "{of_second}");
        // Without a sample on one side there is none of both.
        sum.merge(
            &Profile::of(&crate::Table::from_batches(batch(0..9).schema(), vec![batch(0..9)]).unwrap())
                .unwrap(),
        )
        .unwrap();
        assert!(sum.rows_sampled().is_none());
        assert!(profile(&[(0, 9)]).without_sample().rows_sampled().is_none());
    }
}
