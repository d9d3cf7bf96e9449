//! Many profiles in one.

use rayon::prelude::*;

use super::Profile;
use super::column::ColumnProfile;
use crate::Error;

/// Stored profiles that are read before they are merged: what is in memory at once.
const AT_ONCE: usize = 64;

impl Profile {
    /// Adds what `other` saw, as if its rows had come after these. Counters, ranges, histograms and moments are those
    /// of one pass over both (moments up to rounding); quantiles and frequent values stay within the errors that they
    /// tell. Of profiles of different fineness the coarser one remains.
    ///
    /// # Errors
    /// Other columns or types.
    pub fn merge(&mut self, other: &Self) -> Result<(), Error> {
        self.merge_all(std::slice::from_ref(other))
    }

    /// As [`Profile::merge`] with each of them, in their order: a column goes through all of them at once.
    ///
    /// # Errors
    /// Other columns or types; then nothing is added.
    pub fn merge_all(&mut self, others: &[Self]) -> Result<(), Error> {
        let same = |a: &ColumnProfile, b: &ColumnProfile| a.name == b.name && a.data_type == b.data_type;
        let fits = others.iter().all(|other| {
            self.columns.len() == other.columns.len()
                && self.columns.iter().zip(&other.columns).all(|(a, b)| same(a, b))
        });
        if !fits {
            return Err(Error::Unusable("profiles of tables with other columns cannot be merged".to_owned()));
        }
        let (columns, relations) = (&mut self.columns, &mut self.relations);
        let merge_columns = || {
            columns
                .par_iter_mut()
                .enumerate()
                .with_min_len(if others.len() < 8 { 8 } else { 1 })
                .for_each(|(place, mine)| others.iter().for_each(|other| mine.merge(&other.columns[place])));
        };
        let merge_relations = || {
            for other in others {
                match (&mut *relations, &other.relations) {
                    (Some(mine), Some(theirs)) => mine.merge(theirs),
                    (mine, _) => *mine = None,
                }
            }
        };
        rayon::join(merge_columns, merge_relations);
        for other in others {
            match (&mut self.sample, &other.sample) {
                (Some(mine), Some(theirs)) if mine.fits(theirs) => mine.merge(theirs),
                (mine, _) => *mine = None,
            }
        }
        self.rows += others.iter().map(|other| other.rows).sum::<u64>();
        Ok(())
    }

    /// The sum of what [`Profile::to_bytes`] wrote, in this order; `None` of nothing.
    ///
    /// # Errors
    /// As [`Profile::from_bytes`] and [`Profile::merge`].
    pub fn of_stored<B: AsRef<[u8]> + Sync>(stored: &[B]) -> Result<Option<Self>, Error> {
        let mut sum: Option<Self> = None;
        for part in stored.chunks(AT_ONCE) {
            let read: Vec<Self> =
                part.par_iter().map(|bytes| Self::from_bytes(bytes.as_ref())).collect::<Result<_, _>>()?;
            let mut read = read.into_iter();
            if sum.is_none() {
                sum = read.next();
            }
            if let Some(sum) = &mut sum {
                sum.merge_all(read.as_slice())?;
            }
        }
        Ok(sum)
    }
}
