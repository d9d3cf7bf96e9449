//! Several tables of records, each in order, as one in order.

use std::cmp::Ordering;

use arrow::array::TimestampMillisecondArray;
use arrow::array::{Array as _, AsArray as _, BooleanArray, Int32Array, RecordBatch, StringArray};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::{Int32Type, TimestampMillisecondType};

use super::LogError;
use super::columns::fixed;

/// Rows in order.
pub(crate) type Rows = Box<dyn Iterator<Item = Result<RecordBatch, LogError>> + Send>;

/// Rows of a batch from [`Merge`].
const BATCH_ROWS: usize = 8192;

/// The rows of all sources, by time, request, shadow, arm and row. All sources have one schema.
pub(crate) struct Merge {
    sources: Vec<Source>,
    /// Batches that rows are taken from.
    held: Vec<RecordBatch>,
    has_begun: bool,
}

struct Source {
    rows: Rows,
    keys: Option<Keys>,
    /// The next row, and which of the held batches it is in.
    row: usize,
    batch: usize,
}

/// The columns that rows are ordered by.
struct Keys {
    time: TimestampMillisecondArray,
    id: StringArray,
    shadow: BooleanArray,
    arm: StringArray,
    row: Int32Array,
}

impl Keys {
    fn of(batch: &RecordBatch) -> Result<Self, LogError> {
        let column = |name: &str| {
            batch
                .column_by_name(name)
                .ok_or_else(|| LogError::Damaged(format!("records have no column `{name}`")))
        };
        Ok(Self {
            time: column(fixed::TIME)?.as_primitive::<TimestampMillisecondType>().clone(),
            id: column(fixed::REQUEST_ID)?.as_string().clone(),
            shadow: column(fixed::SHADOW)?.as_boolean().clone(),
            arm: column(fixed::ARM)?.as_string().clone(),
            row: column(fixed::ROW)?.as_primitive::<Int32Type>().clone(),
        })
    }

    fn compare(&self, at: usize, other: &Self, there: usize) -> Ordering {
        let arm = |keys: &Self, at: usize| keys.arm.is_valid(at).then(|| keys.arm.value(at).to_owned());
        self.time
            .value(at)
            .cmp(&other.time.value(there))
            .then_with(|| self.id.value(at).cmp(other.id.value(there)))
            .then_with(|| self.shadow.value(at).cmp(&other.shadow.value(there)))
            .then_with(|| arm(self, at).cmp(&arm(other, there)))
            .then_with(|| self.row.value(at).cmp(&other.row.value(there)))
    }
}

impl Merge {
    pub(crate) fn new(sources: Vec<Rows>) -> Self {
        let source = |rows| Source { rows, keys: None, row: 0, batch: 0 };
        Self { sources: sources.into_iter().map(source).collect(), held: Vec::new(), has_begun: false }
    }

    fn step(&mut self) -> Result<Option<RecordBatch>, LogError> {
        if !self.has_begun {
            self.has_begun = true;
            for source in &mut self.sources {
                source.refill(&mut self.held)?;
            }
            self.sources.retain(|source| source.keys.is_some());
        }
        // A single source passes its batches through.
        if let [source] = self.sources.as_mut_slice() {
            let batch = self
                .held
                .get(source.batch)
                .map(|batch| batch.slice(source.row, batch.num_rows() - source.row));
            self.held.clear();
            source.refill(&mut self.held)?;
            self.sources.retain(|source| source.keys.is_some());
            return Ok(batch);
        }
        let mut places: Vec<(usize, usize)> = Vec::with_capacity(BATCH_ROWS);
        while places.len() < BATCH_ROWS && !self.sources.is_empty() {
            let (first, second) = self.leading();
            // Taken from the first until the second comes before it.
            while let Some(source) = self.sources.get(first) {
                let is_next = second
                    .and_then(|second| self.sources.get(second))
                    .is_none_or(|second| source.precedes(second));
                if !is_next || places.len() >= BATCH_ROWS {
                    break;
                }
                places.push((source.batch, source.row));
                let Some(source) = self.sources.get_mut(first) else { break };
                source.row += 1;
                if source.keys.as_ref().is_none_or(|keys| source.row >= keys.time.len()) {
                    source.refill(&mut self.held)?;
                    if source.keys.is_none() {
                        self.sources.swap_remove(first);
                        break;
                    }
                }
            }
        }
        if places.is_empty() {
            return Ok(None);
        }
        let batches: Vec<&RecordBatch> = self.held.iter().collect();
        let batch = interleave_record_batch(&batches, &places)?;
        let kept = self.sources.iter().filter_map(|source| self.held.get(source.batch).cloned()).collect();
        self.sources.iter_mut().enumerate().for_each(|(i, source)| source.batch = i);
        self.held = kept;
        Ok(Some(batch))
    }

    /// The source with the first row, and the one with the first row of the others.
    fn leading(&self) -> (usize, Option<usize>) {
        let (mut first, mut second) = (0, None::<usize>);
        for (i, source) in self.sources.iter().enumerate().skip(1) {
            let before = |other: usize| self.sources.get(other).is_some_and(|other| !other.precedes(source));
            if before(first) {
                (second, first) = (Some(first), i);
            } else if second.is_none_or(before) {
                second = Some(i);
            }
        }
        (first, second)
    }
}

impl Source {
    /// Whether its next row comes before the other's, or is equal.
    fn precedes(&self, other: &Self) -> bool {
        match (&self.keys, &other.keys) {
            (Some(mine), Some(theirs)) => mine.compare(self.row, theirs, other.row).is_le(),
            (mine, _) => mine.is_some(),
        }
    }

    fn refill(&mut self, held: &mut Vec<RecordBatch>) -> Result<(), LogError> {
        self.keys = None;
        for batch in self.rows.by_ref() {
            let batch = batch?;
            if batch.num_rows() > 0 {
                (self.keys, self.row, self.batch) = (Some(Keys::of(&batch)?), 0, held.len());
                held.push(batch);
                break;
            }
        }
        Ok(())
    }
}

impl Iterator for Merge {
    type Item = Result<RecordBatch, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.step().transpose();
        if matches!(next, Some(Err(_))) {
            self.sources.clear();
        }
        next
    }
}
