//! Hashes of the rows of a table, in memory or in temporary files. What they mean is for `diff` and `expect`.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, Write};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::cast;
use arrow::datatypes::DataType;

use crate::{Error, hash};

/// Words of a record before its cells: two of the key's hash, and the number of the row.
pub(crate) const HEAD: usize = 3;
const PARTITIONS: usize = 64;

/// Which columns of a side are hashed: index, and the type to cast to first.
pub(crate) struct Hashed {
    pub(crate) key: Vec<(usize, Option<DataType>)>,
    pub(crate) cells: Vec<(usize, Option<DataType>)>,
}

impl Hashed {
    /// Keys alone, of columns whose types need no cast.
    pub(crate) fn keys(places: impl IntoIterator<Item = usize>) -> Self {
        Self { key: places.into_iter().map(|place| (place, None)).collect(), cells: Vec::new() }
    }

    /// Words of a record; two cells share one.
    pub(crate) fn width(&self) -> usize {
        HEAD + self.cells.len().div_ceil(2)
    }
}

/// Records of `width` words, one after the other.
pub(crate) struct Records {
    width: usize,
    words: Vec<u64>,
    rows: u64,
    /// Words kept in memory.
    limit: usize,
    spilled: Option<Vec<BufWriter<File>>>,
}

impl Records {
    pub(crate) fn new(width: usize, memory: usize) -> Self {
        Self { width, words: Vec::new(), rows: 0, limit: memory / 8, spilled: None }
    }

    /// Adds the rows of a batch.
    pub(crate) fn push(&mut self, batch: &RecordBatch, hashed: &Hashed) -> Result<(), Error> {
        self.push_where(batch, hashed, None)
    }

    /// Adds those rows of a batch that `keep` has, with the numbers that they have among all rows.
    pub(crate) fn push_where(
        &mut self,
        batch: &RecordBatch,
        hashed: &Hashed,
        keep: Option<&BooleanBuffer>,
    ) -> Result<(), Error> {
        let rows = batch.num_rows();
        let start = self.words.len();
        self.words.resize(start + rows * self.width, 0);
        let records = &mut self.words[start..];
        for (row, record) in records.chunks_exact_mut(self.width).enumerate() {
            record[2] = self.rows + row as u64;
        }
        for (column, kind) in &hashed.key {
            let cells = hash::cells(&array(batch, *column, kind.as_ref())?, 1)?;
            for (record, cell) in records.chunks_exact_mut(self.width).zip(cells) {
                record[0] = hash::mix(record[0].rotate_left(5), cell);
                record[1] = hash::mix(record[1] ^ cell, 0xa076_1d64_78bd_642f);
            }
        }
        for (i, (column, kind)) in hashed.cells.iter().enumerate() {
            let cells = hash::cells(&array(batch, *column, kind.as_ref())?, 2)?;
            for (record, cell) in records.chunks_exact_mut(self.width).zip(cells) {
                record[HEAD + i / 2] |= (cell >> 32) << (i % 2 * 32);
            }
        }
        self.rows += rows as u64;
        if let Some(keep) = keep {
            let mut end = start;
            for row in keep.set_indices() {
                let from = start + row * self.width;
                self.words.copy_within(from..from + self.width, end);
                end += self.width;
            }
            self.words.truncate(end);
        }
        if self.words.len() > self.limit {
            self.spill()?;
        }
        Ok(())
    }

    /// Moves all records to the files of their partitions.
    fn spill(&mut self) -> Result<(), Error> {
        let failed = || Error::io("write", std::env::temp_dir());
        let files = match &mut self.spilled {
            Some(files) => files,
            empty => {
                let file = |_| tempfile::tempfile().map(BufWriter::new);
                empty.insert((0..PARTITIONS).map(file).collect::<Result<_, _>>().map_err(failed())?)
            }
        };
        for record in self.words.chunks_exact(self.width) {
            let file = &mut files[partition(record[0])];
            for word in record {
                file.write_all(&word.to_le_bytes()).map_err(failed())?;
            }
        }
        self.words.clear();
        Ok(())
    }

    /// Pairs of sorted records of both sides: all at once, or partition by partition. Equal keys are in one pair.
    pub(crate) fn partitions_with(mut self, mut other: Self) -> Result<Pairs, Error> {
        if self.spilled.is_some() || other.spilled.is_some() {
            self.spill()?;
            other.spill()?;
        }
        Ok(Pairs { old: self, new: other, next: 0 })
    }

    /// The records in sorted pieces; equal keys are in one piece.
    pub(crate) fn pieces(mut self) -> Result<impl Iterator<Item = Result<Sorted, Error>>, Error> {
        let mut count = 1;
        if self.spilled.is_some() {
            self.spill()?;
            count = PARTITIONS;
        }
        Ok((0..count).map(move |partition| self.take(partition)))
    }

    fn take(&mut self, partition: usize) -> Result<Sorted, Error> {
        let words = match &mut self.spilled {
            None => std::mem::take(&mut self.words),
            Some(files) => read(&mut files[partition]).map_err(Error::io("read", std::env::temp_dir()))?,
        };
        Ok(Sorted::new(words, self.width))
    }
}

fn array(batch: &RecordBatch, column: usize, kind: Option<&DataType>) -> Result<ArrayRef, Error> {
    let array = batch.column(column);
    match kind {
        Some(kind) if kind != array.data_type() => cast(array, kind).map_err(Error::arrow("compare columns")),
        _ => Ok(array.clone()),
    }
}

fn partition(hash: u64) -> usize {
    (hash >> 58) as usize % PARTITIONS
}

fn read(writer: &mut BufWriter<File>) -> std::io::Result<Vec<u64>> {
    writer.flush()?;
    let file = writer.get_mut();
    file.rewind()?;
    let words = usize::try_from(file.metadata()?.len() / 8).unwrap_or(usize::MAX);
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut found = Vec::with_capacity(words);
    let mut word = [0; 8];
    for _ in 0..words {
        reader.read_exact(&mut word)?;
        found.push(u64::from_le_bytes(word));
    }
    Ok(found)
}

/// See [`Records::partitions_with`].
pub(crate) struct Pairs {
    old: Records,
    new: Records,
    next: usize,
}

impl Iterator for Pairs {
    type Item = (Result<Sorted, Error>, Result<Sorted, Error>);

    fn next(&mut self) -> Option<Self::Item> {
        let count = if self.old.spilled.is_some() { PARTITIONS } else { 1 };
        if self.next == count {
            return None;
        }
        self.next += 1;
        Some((self.old.take(self.next - 1), self.new.take(self.next - 1)))
    }
}

/// Records in order of key and then of row.
pub(crate) struct Sorted {
    words: Vec<u64>,
    width: usize,
    order: Vec<u32>,
}

impl Sorted {
    fn new(words: Vec<u64>, width: usize) -> Self {
        let count = words.len() / width;
        let mut order: Vec<u32> = (0..count as u32).collect();
        order.sort_unstable_by_key(|&i| {
            let record = &words[i as usize * width..];
            (record[0], record[1], record[2])
        });
        Self { words, width, order }
    }

    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    pub(crate) fn record(&self, place: usize) -> &[u64] {
        let start = self.order[place] as usize * self.width;
        &self.words[start..start + self.width]
    }

    /// The places of records with the key of the one before them: all of a key's rows but the first.
    pub(crate) fn repeats(&self) -> impl Iterator<Item = usize> {
        let key = |place: usize| &self.record(place)[..2];
        (1..self.len()).filter(move |&place| key(place) == key(place - 1))
    }

    /// The end of the run of records with the key of the one at `start`.
    pub(crate) fn run(&self, start: usize) -> usize {
        let key = &self.record(start)[..2];
        (start..self.len()).find(|&place| &self.record(place)[..2] != key).unwrap_or(self.len())
    }
}
