//! A segment as tables: which records belong to which hour and have which columns, and their rows in order.
//!
//! The first pass reads only where records stand; the second reads them again in the order of their time, so that
//! memory depends on the number of records in a segment, not on their size.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tidemill_core::Timestamp;

use super::LogError;
use super::batch::BatchBuilder;
use super::columns::{Columns, Form};
use super::segment::SegmentReader;

pub(crate) use tidemill_db::records::HOUR_MS;

/// Rows and bytes after which a batch ends.
const BATCH_ROWS: usize = 8192;
const BATCH_BYTES: usize = 32 << 20;

/// A segment's tables, by hour.
#[derive(Debug)]
pub(crate) struct Plan {
    reader: SegmentReader,
    schemas: Vec<Columns>,
    pub(crate) groups: Vec<Group>,
}

/// Records of one hour with the same columns.
#[derive(Debug)]
pub(crate) struct Group {
    /// Hours since the epoch.
    pub(crate) hour: i64,
    columns: usize,
    entries: Vec<Entry>,
    pub(crate) rows: u64,
    /// The versions of models in it, sorted.
    pub(crate) versions: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    time: Timestamp,
    id: Box<str>,
    is_shadow: bool,
    arm: Option<Arc<str>>,
    /// Where its frame begins.
    at: u64,
}

impl Group {
    pub(crate) fn requests(&self) -> u64 {
        self.entries.len() as u64
    }

    pub(crate) fn first(&self) -> Timestamp {
        self.entries.first().map(|entry| entry.time).unwrap_or_default()
    }

    pub(crate) fn last(&self) -> Timestamp {
        self.entries.last().map(|entry| entry.time).unwrap_or_default()
    }
}

impl Plan {
    /// Reads a segment through. `None` where nothing of it is whole.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, LogError> {
        Ok(SegmentReader::open(path)?.map(Self::of).transpose()?.flatten())
    }

    /// [`read`](Self::read) of a file that is open.
    pub(crate) fn of_file(file: File, path: &Path) -> Result<Option<Self>, LogError> {
        Ok(SegmentReader::from_file(file, path)?.map(Self::of).transpose()?.flatten())
    }

    fn of(mut reader: SegmentReader) -> Result<Option<Self>, LogError> {
        let mut schemas: Vec<Columns> = Vec::new();
        let mut known: HashMap<(usize, Form), usize> = HashMap::new();
        let mut groups: BTreeMap<(i64, usize), Group> = BTreeMap::new();
        while reader.next(|view, layout, at| {
            let form = Form::of(view);
            let columns = *known.entry((view.layout, form)).or_insert_with_key(|(_, form)| {
                match schemas.iter_mut().position(|columns| columns.admit(layout, form)) {
                    Some(found) => found,
                    None => {
                        let mut columns = Columns::default();
                        columns.admit(layout, form);
                        schemas.push(columns);
                        schemas.len() - 1
                    }
                }
            });
            let hour = view.time.millis().div_euclid(HOUR_MS);
            let group = groups.entry((hour, columns)).or_insert_with(|| Group {
                hour,
                columns,
                entries: Vec::new(),
                rows: 0,
                versions: Vec::new(),
            });
            group.rows += view.rows() as u64;
            if let Err(place) = group.versions.binary_search_by(|held| held.as_str().cmp(&layout.version)) {
                group.versions.insert(place, layout.version.to_string());
            }
            group.entries.push(Entry {
                time: view.time,
                id: view.id.into(),
                is_shadow: layout.is_shadow,
                arm: layout.arm.clone(),
                at,
            });
        })? {}
        if groups.is_empty() {
            return Ok(None);
        }
        let mut groups: Vec<Group> = groups.into_values().collect();
        groups.iter_mut().for_each(|group| group.entries.sort_unstable());
        Ok(Some(Self { reader, schemas, groups }))
    }

    pub(crate) fn endpoint(&self) -> Arc<str> {
        self.reader.endpoint.clone()
    }

    /// The columns of a group.
    pub(crate) fn schema(&self, group: &Group) -> SchemaRef {
        self.schemas.get(group.columns).map_or_else(|| Columns::default().schema(), Columns::schema)
    }

    /// The rows of group number `index`, by time.
    pub(crate) fn rows(&mut self, index: usize) -> Option<Rows<'_>> {
        let group = self.groups.get(index)?;
        let columns = self.schemas.get(group.columns)?;
        let builder = BatchBuilder::new(columns, self.reader.endpoint.clone());
        Some(Rows { reader: &mut self.reader, entries: group.entries.iter(), builder })
    }

    /// Splits the plan into one owned source for each of its groups, each with a file of its own.
    pub(crate) fn into_sources(self) -> Result<Vec<OwnedRows>, LogError> {
        let mut sources = Vec::new();
        for group in self.groups {
            let path = self.reader.path();
            let again = self.reader.again()?;
            let columns = self.schemas.get(group.columns).cloned().unwrap_or_default();
            let builder = BatchBuilder::new(&columns, self.reader.endpoint.clone());
            debug_assert!(path == again.path());
            sources.push(OwnedRows {
                hour: group.hour,
                schema: columns.schema(),
                reader: again,
                entries: group.entries.into_iter(),
                builder,
            });
        }
        Ok(sources)
    }
}

/// The rows of a group.
pub(crate) struct Rows<'a> {
    reader: &'a mut SegmentReader,
    entries: std::slice::Iter<'a, Entry>,
    builder: BatchBuilder,
}

impl Iterator for Rows<'_> {
    type Item = Result<RecordBatch, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        next_batch(self.reader, &mut self.entries.by_ref().map(|entry| entry.at), &mut self.builder)
            .transpose()
    }
}

/// The rows of a group, with a reader of its own.
pub(crate) struct OwnedRows {
    pub(crate) hour: i64,
    pub(crate) schema: SchemaRef,
    reader: SegmentReader,
    entries: std::vec::IntoIter<Entry>,
    builder: BatchBuilder,
}

impl Iterator for OwnedRows {
    type Item = Result<RecordBatch, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        next_batch(&mut self.reader, &mut self.entries.by_ref().map(|entry| entry.at), &mut self.builder)
            .transpose()
    }
}

fn next_batch(
    reader: &mut SegmentReader,
    places: &mut dyn Iterator<Item = u64>,
    builder: &mut BatchBuilder,
) -> Result<Option<RecordBatch>, LogError> {
    while builder.rows < BATCH_ROWS && builder.bytes < BATCH_BYTES {
        let Some(at) = places.next() else { break };
        reader.read_at(at, |view, layout| builder.push(view, layout))??;
    }
    if builder.rows == 0 { Ok(None) } else { builder.finish().map(Some) }
}
