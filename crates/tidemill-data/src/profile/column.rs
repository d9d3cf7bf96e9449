//! The mergeable statistics of one column and how a batch goes into them. Turning them into plain numbers is in
//! `describe`.

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::{DataType, Field};
use twox_hash::XxHash3_64;

use super::ProfileOptions;
use super::frequent::{Frequent, KEPT, Sample};
use super::hll::Hll;
use super::mask::mask;
use super::numbers::Numbers;
use super::runs::{Scratch, unordered};
use super::words::{self, Words};
use crate::plain::{Kind, Plain};
use crate::value::shorten;
use crate::{ColumnType, Error, hash};

/// Texts of a column whose words are all looked at; of further ones of every so many.
const ALL_WORDS: u64 = 100_000;
const SOME_WORDS: u64 = 8;

/// Seed of the hashes; all profiles share it, so that they merge.
pub(super) const SEED: u64 = 0x7469_6465_6d69_6c6c;

/// What is kept of a column.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ColumnProfile {
    pub(super) name: String,
    pub(super) column_type: ColumnType,
    /// Arrow's name of the type.
    pub(super) data_type: String,
    pub(super) count: u64,
    pub(super) nulls: u64,
    pub(super) min: Option<Sample>,
    pub(super) max: Option<Sample>,
    /// Numbers, truth values and times; for texts the numbers of their characters.
    pub(super) numbers: Numbers,
    pub(super) frequent: Frequent,
    /// Once `frequent` does not count every value any more.
    pub(super) distinct: Option<Hll>,
    /// Shapes of texts, from then on; before, they follow from `frequent`.
    pub(super) masks: Option<Frequent>,
    /// Words of texts, from then on.
    pub(super) words: Option<Words>,
}

/// The hash of a whole number, as a column keeps it.
fn hash_int(value: i64) -> u64 {
    hash::word(value as u64, SEED)
}

/// The hash of a float other than NaN.
fn hash_float(value: f64) -> u64 {
    hash::word((value + 0.0).to_bits(), SEED)
}

/// The hash of a text.
fn hash_text(text: &str) -> u64 {
    XxHash3_64::oneshot_with_seed(SEED, text.as_bytes())
}

impl ColumnProfile {
    pub(super) fn new(field: &Field, options: &ProfileOptions) -> Self {
        Self {
            name: field.name().clone(),
            column_type: ColumnType::of(field.data_type()),
            data_type: field.data_type().to_string(),
            count: 0,
            nulls: 0,
            min: None,
            max: None,
            numbers: Numbers::new(options),
            frequent: Frequent::new(options.exact_values),
            distinct: None,
            masks: None,
            words: None,
        }
    }

    /// Whether the values are kept as text.
    fn is_text(&self) -> bool {
        matches!(self.column_type, ColumnType::String | ColumnType::Other)
    }

    /// Adds the values of a batch.
    pub(super) fn update(&mut self, array: &ArrayRef, scratch: &mut Scratch) -> Result<(), Error> {
        let nulls = array.logical_null_count() as u64;
        self.nulls += nulls;
        self.count += array.len() as u64 - nulls;
        if nulls == array.len() as u64 {
            return Ok(());
        }
        if *array.data_type() == DataType::Boolean {
            let truths = array.as_boolean();
            let yes = truths.true_count() as u64;
            scratch.truths(array.len() as u64 - nulls - yes, yes);
            self.ints(scratch, Kind::Truth);
            return Ok(());
        }
        match Plain::of(array)? {
            Plain::Int(values, kind) => {
                scratch.ints(&values);
                self.ints(scratch, kind);
            }
            Plain::Float(values) => {
                self.numbers.nan += scratch.floats(&values);
                self.numbers.insert(scratch, true);
                self.range(
                    scratch.values.first().map(|&value| Sample::Float(value)),
                    scratch.values.last().map(|&value| Sample::Float(value)),
                );
                self.count_runs(
                    scratch,
                    |key| hash_float(unordered(key)),
                    |key| Sample::Float(unordered(key)),
                );
            }
            Plain::Text(values) => self.texts(&values, scratch),
        }
        Ok(())
    }

    fn ints(&mut self, scratch: &Scratch, kind: Kind) {
        self.numbers.insert(scratch, kind != Kind::Time);
        self.range(
            scratch.keys.first().map(|&value| Sample::Int(value)),
            scratch.keys.last().map(|&value| Sample::Int(value)),
        );
        self.count_runs(scratch, hash_int, Sample::Int);
    }

    fn count_runs(&mut self, runs: &Scratch, hash: impl Fn(i64) -> u64, sample: impl Fn(i64) -> Sample) {
        for (&key, &count) in runs.keys.iter().zip(&runs.counts) {
            let hash = hash(key);
            let new = self.frequent.add_run(hash, count, key, &sample);
            // What is counted exactly needs no sketch yet, and what is known was put into it before.
            if new && let Some(distinct) = &mut self.distinct {
                distinct.insert(hash);
            }
        }
        self.sketch_distinct();
        self.frequent.settle_runs(sample);
    }

    fn texts(&mut self, values: &StringArray, scratch: &mut Scratch) {
        let (mut shape, mut room) = (String::new(), words::Scratch::default());
        let (mut low, mut high) = (None::<&str>, None::<&str>);
        for (row, text) in values.iter().enumerate() {
            let Some(text) = text else { continue };
            let hash = hash_text(text);
            if self.frequent.add_row(hash, row as u32) {
                // A value that is known was within the range already.
                low = Some(low.map_or(text, |low| low.min(text)));
                high = Some(high.map_or(text, |high| high.max(text)));
                if let Some(distinct) = &mut self.distinct {
                    distinct.insert(hash);
                }
            }
            if let Some(masks) = &mut self.masks {
                mask(text, &mut shape);
                masks.add(hash_text(&shape), 1, || Sample::Text(shape.as_str().into()));
            }
            if let Some(words) = &mut self.words
                && (self.count <= ALL_WORDS || hash.is_multiple_of(SOME_WORDS))
            {
                words.add(text, 1, &mut room);
            }
        }
        if let Some(masks) = &mut self.masks {
            masks.shrink();
        }
        let sample = |text: &str| Sample::Text(shorten(text.to_owned()).into());
        self.range(low.map(sample), high.map(sample));
        let of_row = |row: u32| sample(values.value(row as usize));
        if self.frequent.overflows() {
            self.frequent.resolve(of_row);
            self.sketch_distinct();
            self.masks = Some(self.shapes());
            self.words = Some(self.vocabulary());
        }
        self.frequent.settle(of_row);
        self.lengths(values, scratch);
        self.numbers.insert(scratch, true);
    }

    fn lengths(&mut self, values: &StringArray, scratch: &mut Scratch) {
        let offsets = values.value_offsets();
        let used = match (offsets.first(), offsets.last()) {
            (Some(&start), Some(&end)) => &values.value_data()[start as usize..end as usize],
            _ => &[],
        };
        if !used.is_ascii() {
            scratch.lengths(values.iter().flatten().map(|text| text.chars().count() as i64));
        } else if values.null_count() == 0 {
            scratch.lengths(offsets.windows(2).map(|pair| i64::from(pair[1] - pair[0])));
        } else {
            scratch.lengths(values.iter().flatten().map(|text| text.len() as i64));
        }
    }

    /// Begins the sketch of different values when they are about to be too many to count.
    fn sketch_distinct(&mut self) {
        if self.frequent.overflows() {
            self.distinct = Some(self.hashes());
        }
    }

    fn hashes(&self) -> Hll {
        let mut sketch = Hll::default();
        for hash in self.frequent.hashes() {
            sketch.insert(hash);
        }
        sketch
    }

    /// The shapes of the counted texts.
    pub(super) fn shapes(&self) -> Frequent {
        let mut masks = Frequent::new(KEPT);
        let mut shape = String::new();
        for (value, count) in self.frequent.values() {
            if let Sample::Text(text) = value {
                mask(text, &mut shape);
                masks.add(hash_text(&shape), count, || Sample::Text(shape.as_str().into()));
            }
        }
        masks.shrink();
        masks
    }

    /// The words of the counted texts.
    pub(super) fn vocabulary(&self) -> Words {
        let (mut words, mut room) = (Words::new(self.frequent.limit()), words::Scratch::default());
        for (value, count) in self.frequent.values() {
            if let Sample::Text(text) = value {
                words.add(text, count, &mut room);
            }
        }
        words
    }

    fn range(&mut self, low: Option<Sample>, high: Option<Sample>) {
        let keep = |kept: &mut Option<Sample>, new: Option<Sample>, better: fn(&Sample, &Sample) -> bool| {
            if let Some(new) = new
                && kept.as_ref().is_none_or(|kept| better(&new, kept))
            {
                *kept = Some(new);
            }
        };
        keep(&mut self.min, low, |new, kept| new.order(kept).is_lt());
        keep(&mut self.max, high, |new, kept| new.order(kept).is_gt());
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.nulls += other.nulls;
        self.range(other.min.clone(), other.max.clone());
        self.numbers.merge(&other.numbers);
        if self.distinct.is_some() || other.distinct.is_some() {
            let mut union = self.distinct.take().unwrap_or_else(|| self.hashes());
            match &other.distinct {
                Some(theirs) => union.merge(theirs),
                None => other.frequent.hashes().for_each(|hash| union.insert(hash)),
            }
            self.distinct = Some(union);
        }
        if self.masks.is_some() || other.masks.is_some() {
            let mut union = self.masks.take().unwrap_or_else(|| self.shapes());
            match &other.masks {
                Some(theirs) => union.merge(theirs),
                None => union.merge(&other.shapes()),
            }
            union.shrink();
            self.masks = Some(union);
        }
        // A profile from before words were kept has none, and neither has a sum with one.
        let is_whole = |column: &Self| column.words.is_some() || column.frequent.exact_distinct().is_some();
        if (self.words.is_some() || other.words.is_some()) && is_whole(self) && is_whole(other) {
            let mut union = self.words.take().unwrap_or_else(|| self.vocabulary());
            match &other.words {
                Some(theirs) => union.merge(theirs),
                None => union.merge(&other.vocabulary()),
            }
            self.words = Some(union);
        } else {
            self.words = None;
        }
        self.frequent.merge(&other.frequent);
        if self.frequent.overflows() {
            self.sketch_distinct();
            if self.is_text() {
                self.masks = Some(self.shapes());
                self.words = Some(self.vocabulary());
            }
        }
        self.frequent.shrink();
    }
}
