//! Rules on keys: within one table, and against the keys of another.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::buffer::{BooleanBuffer, NullBuffer};

use super::{Refused, Surroundings};
use crate::records::{HEAD, Hashed, Records};
use crate::{Error, Table};

/// The keys of the rows seen, and of another table where there is one.
pub(super) struct Keys {
    mine: Records,
    theirs: Option<(Records, Want)>,
    /// Whether rows with a null in the key are passed over.
    passes_nulls: bool,
}

/// What the other table must do with a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    Has,
    Lacks,
}

impl Keys {
    /// Every key once.
    pub(super) fn once(memory: usize) -> Self {
        Self { mine: Records::new(HEAD, memory), theirs: None, passes_nulls: false }
    }

    /// Keys in columns `places` of `table` against those in columns `key` of `theirs`, the dataset called `other`.
    pub(super) fn against(
        table: &Table,
        places: &[usize],
        (other, theirs): (&str, &Table),
        key: &[String],
        want: Want,
        memory: usize,
        around: &Surroundings<'_>,
    ) -> Result<Self, Refused> {
        let columns = key.iter().map(|name| theirs.column(name)).collect::<Result<Vec<_>, _>>()?;
        for (&mine, &column) in places.iter().zip(&columns) {
            let (a, b) = (table.kind(mine), theirs.kind(column));
            if a != b {
                return Err(Refused::because(format!(
                    "`{}` is {a}, and `{}` of `{other}` is {b}",
                    table.schema().field(mine).name(),
                    theirs.schema().field(column).name()
                )));
            }
        }
        let mut records = Records::new(HEAD, memory);
        let hashed = Hashed::keys(0..columns.len());
        for batch in theirs.batches(Some(&columns))? {
            if around.progress.cancelled() {
                return Err(Error::Cancelled.into());
            }
            records.push(&batch?, &hashed)?;
        }
        Ok(Self {
            mine: Records::new(HEAD, memory),
            theirs: Some((records, want)),
            passes_nulls: want == Want::Has,
        })
    }

    /// Adds the keys of a batch; tells how many.
    pub(super) fn see(
        &mut self,
        batch: &RecordBatch,
        places: &[usize],
        mask: Option<&BooleanArray>,
    ) -> Result<u64, Error> {
        let mut keep: Option<BooleanBuffer> = mask.map(|mask| mask.values().clone());
        if self.passes_nulls {
            for nulls in places.iter().filter_map(|&place| batch.column(place).logical_nulls()) {
                keep = Some(keep.map_or_else(|| nulls.inner().clone(), |keep| &keep & nulls.inner()));
            }
        }
        self.mine.push_where(batch, &Hashed::keys(places.iter().copied()), keep.as_ref())?;
        Ok(keep.map_or(batch.num_rows(), |keep| keep.count_set_bits()) as u64)
    }

    /// How many rows break the rule, and the first `most` of them.
    pub(super) fn finish(self, most: usize) -> Result<(u64, BTreeSet<u64>), Error> {
        let mut found = (0, BTreeSet::new());
        let mut add = |row: u64| {
            found.0 += 1;
            found.1.insert(row);
            if found.1.len() > most {
                found.1.pop_last();
            }
        };
        match self.theirs {
            None => {
                for piece in self.mine.pieces()? {
                    let piece = piece?;
                    piece.repeats().for_each(|again| add(piece.record(again)[2]));
                }
            }
            Some((theirs, want)) => {
                for (mine, theirs) in self.mine.partitions_with(theirs)? {
                    let (mine, theirs) = (mine?, theirs?);
                    let mut other = 0;
                    for place in 0..mine.len() {
                        let record = mine.record(place);
                        let compare = |other: usize| theirs.record(other)[..2].cmp(&record[..2]);
                        while other < theirs.len() && compare(other) == Ordering::Less {
                            other += 1;
                        }
                        let there = other < theirs.len() && compare(other) == Ordering::Equal;
                        if there != (want == Want::Has) {
                            add(record[2]);
                        }
                    }
                }
            }
        }
        Ok(found)
    }
}

/// The rows in which none of the columns is null.
pub(super) fn present(batch: &RecordBatch, places: &[usize]) -> Option<NullBuffer> {
    places
        .iter()
        .map(|&place| batch.column(place).logical_nulls())
        .fold(None, |all, nulls| NullBuffer::union(all.as_ref(), nulls.as_ref()))
}
