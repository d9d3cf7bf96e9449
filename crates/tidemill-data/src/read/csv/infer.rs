//! Types of columns from every value of every file. Only counts and the first value of each kind are kept.

use std::path::{Path, PathBuf};

use arrow::datatypes::{DataType, TimeUnit};
use indexmap::IndexMap;

use super::declared;
use super::nulls::Nulls;
use super::record::Records;
use crate::read::scalar::{Class, classify};
use crate::value::shorten;
use crate::{ColumnType, Error};

/// From so many values on, rare others are mistakes rather than a sign that the column is text.
const ENOUGH: u64 = 1000;
/// Others are rare when they are at most one in so many.
const RARE: u64 = 100;

/// What was seen in the columns.
pub(super) struct Inference {
    columns: IndexMap<String, Seen>,
    rows: u64,
}

#[derive(Default)]
struct Seen {
    declared: Option<ColumnType>,
    counts: [u64; Class::COUNT],
    first: [Option<Place>; Class::COUNT],
}

struct Place {
    file: usize,
    /// Over all files, to find the first of all.
    global: u64,
    row: u64,
    line: u64,
    value: String,
}

impl Inference {
    pub(super) fn new(columns: &[String], types: &IndexMap<String, ColumnType>) -> Result<Self, Error> {
        if let Some(unknown) = types.keys().find(|name| !columns.contains(name)) {
            return Err(Error::UnknownColumn {
                column: unknown.clone(),
                table: None,
                known: columns.to_vec(),
            });
        }
        let seen =
            |name: &String| (name.clone(), Seen { declared: types.get(name).copied(), ..Seen::default() });
        Ok(Self { columns: columns.iter().map(seen).collect(), rows: 0 })
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// An error unless `columns` of `path` are those seen in `first`, in any order.
    pub(super) fn same_columns(&self, path: &Path, first: &Path, columns: &[String]) -> Result<(), Error> {
        let missing = self.columns.keys().filter(|name| !columns.contains(name));
        let extra = columns.iter().filter(|name| !self.columns.contains_key(*name));
        let differences: Vec<String> = missing
            .map(|name| format!("`{name}` is missing"))
            .chain(extra.map(|name| format!("`{name}` is extra")))
            .collect();
        if differences.is_empty() {
            return Ok(());
        }
        Err(Error::SchemaMismatch { path: path.to_owned(), first: first.to_owned(), differences })
    }

    /// Looks at every value of the first `most` rows of a file; tells whether these are all.
    pub(super) fn scan(
        &mut self,
        file: usize,
        records: &mut Records,
        columns: &[String],
        nulls: &Nulls,
        most: u64,
    ) -> Result<bool, Error> {
        let path = records.path.clone();
        let places: Vec<usize> = columns.iter().filter_map(|name| self.columns.get_index_of(name)).collect();
        let mut row = 0;
        while let Some(record) = records.next()? {
            if row == most {
                self.rows += row;
                return Ok(false);
            }
            record.check_len(&path, columns.len())?;
            row += 1;
            for (i, &place) in places.iter().enumerate() {
                let text = record.text(&path, i)?;
                let seen = &mut self.columns[place];
                if seen.declared.is_some() || nulls.contains(text) {
                    continue;
                }
                let class = classify(text) as usize;
                seen.counts[class] += 1;
                if seen.first[class].is_none() {
                    let value = shorten(text.to_owned());
                    seen.first[class] =
                        Some(Place { file, global: self.rows + row, row, line: record.line, value });
                }
            }
        }
        self.rows += row;
        Ok(true)
    }

    /// The columns with their types.
    ///
    /// # Errors
    /// [`Error::WrongType`] for a column where all but a few values are of one type.
    pub(super) fn finish(self, path: impl Fn(usize) -> PathBuf) -> Result<Vec<(String, DataType)>, Error> {
        let mut found = Vec::with_capacity(self.columns.len());
        for (column, seen) in self.columns {
            let kind = seen.decide().map_err(|(place, expected, values)| Error::WrongType {
                path: path(place.file),
                row: place.row,
                line: place.line,
                column: column.clone(),
                value: place.value,
                expected,
                inferred_from: Some(values),
            })?;
            found.push((column, kind));
        }
        Ok(found)
    }
}

/// The type of a column with so many values of each class; none where that is an error.
pub(super) fn decided(counts: [u64; Class::COUNT]) -> Option<DataType> {
    Seen { counts, ..Seen::default() }.decide().ok()
}

impl Seen {
    fn count(&self, classes: &[Class]) -> u64 {
        classes.iter().map(|&class| self.counts[class as usize]).sum()
    }

    fn decide(self) -> Result<DataType, (Place, ColumnType, u64)> {
        if let Some(kind) = self.declared {
            return Ok(declared(kind));
        }
        let total: u64 = self.counts.iter().sum();
        let float = if self.counts[Class::Float as usize] > 0 { ColumnType::Float } else { ColumnType::Int };
        let time =
            if self.counts[Class::Local as usize] > 0 { ColumnType::Timestamp } else { ColumnType::Date };
        let instants = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let candidates: [(&[Class], ColumnType, DataType); 4] = [
            (&[Class::Bool], ColumnType::Bool, ColumnType::Bool.arrow()),
            (&[Class::Int, Class::Float], float, float.arrow()),
            (&[Class::Date, Class::Local], time, time.arrow()),
            (&[Class::Instant], ColumnType::Timestamp, instants),
        ];
        let Some((classes, kind, arrow)) =
            candidates.into_iter().max_by_key(|(classes, _, _)| self.count(classes)).filter(|_| total > 0)
        else {
            return Ok(DataType::Utf8);
        };
        let fitting = self.count(classes);
        if fitting == total {
            return Ok(arrow);
        }
        let rare = fitting >= ENOUGH && (total - fitting) * RARE <= total;
        if !rare {
            return Ok(DataType::Utf8);
        }
        let fits: Vec<usize> = classes.iter().map(|&class| class as usize).collect();
        let others = self.first.into_iter().enumerate().filter(|(class, _)| !fits.contains(class));
        match others.filter_map(|(_, place)| place).min_by_key(|place| place.global) {
            Some(place) => Err((place, kind, fitting)),
            None => Ok(arrow),
        }
    }
}
