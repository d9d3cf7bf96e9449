//! One streaming pass over a table: decoding on one thread, statistics on the others.

use std::path::Path;
use std::sync::mpsc::sync_channel;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use rayon::prelude::*;
use tidemill_core::{Progress, Unit};

use super::column::ColumnProfile;
use super::numbers::Bins;
use super::relations::Relations;
use super::rows::{Heap, RowSample};
use super::runs::Scratch;
use super::{Profile, ProfileOptions};
use crate::records::{HEAD, Hashed, Records};
use crate::{Error, Format, Table};

/// Batches that are decoded ahead.
const AHEAD: usize = 4;

/// A profile at work: fed with batches in order, then finished.
pub struct ProfileBuilder {
    columns: Vec<ColumnProfile>,
    scratch: Vec<Scratch>,
    relations: Option<Relations>,
    sample: Option<(RowSample, Heap)>,
    keys: Option<(Records, Hashed)>,
    rows: u64,
    only_relations: bool,
}

impl ProfileBuilder {
    /// A profile of no rows yet of a table with this schema.
    ///
    /// # Errors
    /// A key column that is not there.
    pub fn new(schema: &Schema, options: &ProfileOptions) -> Result<Self, Error> {
        let mut columns: Vec<ColumnProfile> =
            schema.fields().iter().map(|field| ColumnProfile::new(field, options)).collect();
        if let Some(reference) = &options.reference {
            for column in &mut columns {
                column.numbers.bins =
                    reference.find(&column.name).and_then(|known| Bins::of(&known.numbers.quantiles));
            }
        }
        let place = |name: &String| {
            schema.index_of(name).map_err(|_| Error::UnknownColumn {
                column: name.clone(),
                table: None,
                known: schema.fields().iter().map(|field| field.name().clone()).collect(),
            })
        };
        let key = options.key.iter().map(place).collect::<Result<Vec<usize>, _>>()?;
        let keys = (options.relations && !key.is_empty())
            .then(|| (Records::new(HEAD, options.key_memory), Hashed::keys(key.iter().copied())));
        let relations = options.relations.then(|| {
            let key = key.into_iter().map(|place| place as u32).collect();
            Relations::new(&columns, options.target.as_deref(), key)
        });
        let sample =
            (options.sample > 0).then(|| (RowSample::new(&columns, options.sample), Heap::default()));
        let scratch = columns.iter().map(|_| Scratch::default()).collect();
        Ok(Self { columns, scratch, relations, sample, keys, rows: 0, only_relations: false })
    }

    /// Leaves the columns themselves out.
    pub(crate) fn only_relations(self) -> Self {
        Self { only_relations: true, ..self }
    }

    /// Adds the rows of a batch with the columns of the schema.
    ///
    /// # Errors
    /// Another number of columns; a column that Arrow cannot read.
    pub fn update(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        if batch.num_columns() != self.columns.len() {
            return Err(Error::Unusable(format!(
                "a batch has {} columns instead of {}",
                batch.num_columns(),
                self.columns.len()
            )));
        }
        if let Some((sample, heap)) = &mut self.sample {
            sample.update(batch, self.rows, heap)?;
        }
        self.rows += batch.num_rows() as u64;
        // Columns side by side: none depends on another, so the result does not depend on threads.
        if !self.only_relations {
            self.columns
                .par_iter_mut()
                .zip(&mut self.scratch)
                .zip(batch.columns())
                .try_for_each(|((column, scratch), array)| column.update(array, scratch))?;
        }
        if let Some(relations) = &mut self.relations {
            relations.update(batch)?;
        }
        if let Some((records, hashed)) = &mut self.keys {
            records.push(batch, hashed)?;
        }
        Ok(())
    }

    /// The profile of all rows.
    ///
    /// # Errors
    /// Temporary files of keys that cannot be read back.
    pub fn finish(mut self) -> Result<Profile, Error> {
        if let (Some((records, _)), Some(relations)) = (self.keys, &mut self.relations)
            && let Some(key) = &mut relations.key
        {
            let mut repeated = 0;
            for piece in records.pieces()? {
                repeated += piece?.repeats().count() as u64;
            }
            key.exact = Some(repeated);
        }
        let sample = self.sample.map(|(sample, _)| sample);
        Ok(Profile { rows: self.rows, columns: self.columns, relations: self.relations, sample })
    }
}

/// Profiles a file. Delimited text is read once where its first rows tell the types of its columns, and twice where they do not.
pub(super) fn of_file(
    path: &Path,
    format: Option<&Format>,
    options: &dyn Fn(&Schema) -> ProfileOptions,
    progress: &dyn Progress,
) -> Result<Profile, Error> {
    if let Some(table) = crate::read::guess(path, format) {
        match build(&table, &options(table.schema()), progress) {
            // The types were others, or the file is not as it should be; its second reading says which.
            Err(error) if !matches!(error, Error::Cancelled) => {}
            done => return done,
        }
    }
    let table = Table::open(&[path.to_owned()], format.cloned())?;
    build(&table, &options(table.schema()), progress)
}

/// Profiles `table`.
pub(super) fn build(
    table: &Table,
    options: &ProfileOptions,
    progress: &dyn Progress,
) -> Result<Profile, Error> {
    let mut builder = ProfileBuilder::new(table.schema(), options)?;
    let batches = table.batches(None)?;
    progress.begin("profiling", table.known_rows(), Unit::Rows);
    let (send, receive) = sync_channel(AHEAD);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for batch in batches {
                // Nobody listens any more once the other side has failed.
                if send.send(batch).is_err() {
                    return;
                }
            }
        });
        for batch in receive {
            let batch = batch?;
            if progress.cancelled() {
                return Err(Error::Cancelled);
            }
            builder.update(&batch)?;
            progress.advance(batch.num_rows() as u64);
        }
        Ok(())
    })?;
    builder.finish()
}
