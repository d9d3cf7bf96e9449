//! Reading the log: Parquet parts in the store and segments that are not rolled yet, as one table in the order of
//! time. Each record is seen exactly once, also while segments are being rolled.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array as _, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowPredicateFn, ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowFilter,
};
use parquet::file::reader::ChunkReader;
use tidemill_core::{Digest, Timestamp};
use tidemill_db::Db;
use tidemill_db::records::{RecordFilter, RecordPart};
use tidemill_store::Store;

use super::columns::{INPUT, fixed};
use super::merge::{Merge, Rows};
use super::plan::{HOUR_MS, OwnedRows, Plan};
use super::segment::{OPEN, SEALED, folder_name, list, segment_name};
use super::unify::{conform, unify};
use super::whereabouts::Whereabouts;
use super::{LogError, Query, stored};

/// Reads the log of a database, its store, and the folders of segments where there are some.
#[derive(Clone)]
pub struct Reader {
    db: Db,
    store: Store,
    dirs: Vec<PathBuf>,
    schemas: Arc<Schemas>,
}

/// The columns of parts, which never change: a part's footer is read once.
#[derive(Default)]
struct Schemas(Mutex<HashMap<Digest, SchemaRef>>);

/// Parts whose columns are remembered, about 100 bytes each; beyond that all are forgotten and read again.
const REMEMBERED: usize = 65_536;

/// Records that were found: what can be read of them does not change any more.
pub struct Found {
    query: Query,
    store: Store,
    schema: SchemaRef,
    hours: BTreeMap<i64, Vec<Place>>,
    /// The newest part that was looked at.
    newest_part: i64,
}

enum Place {
    Part { digest: Digest, bytes: u64 },
    Segment(Box<OwnedRows>),
}

/// How often a listing that changes under our eyes is read again.
const TRIES: usize = 20;
/// Of so many known parts it is looked whether they have the same columns.
const LOOKED_AT: usize = 16;

impl Reader {
    /// Segments are read from `dir`, which need not be there.
    pub fn new(db: Db, store: Store, dir: impl Into<PathBuf>) -> Self {
        Self { db, store, dirs: vec![dir.into()], schemas: Arc::default() }
    }

    /// Only of what is in the store: records that are in segments still are not seen.
    pub fn of_parts(db: Db, store: Store) -> Self {
        Self { db, store, dirs: Vec::new(), schemas: Arc::default() }
    }

    /// The folders of every server that keeps its things in `home`: `records`, `records-2` and so on.
    #[must_use]
    pub fn of_home(db: Db, store: Store, home: &Path) -> Self {
        let is_ours = |name: &str| {
            name.strip_prefix("records").is_some_and(|rest| {
                rest.is_empty() || rest.strip_prefix('-').is_some_and(|n| n.parse::<u32>().is_ok())
            })
        };
        let mut dirs: Vec<PathBuf> = fs_err::read_dir(home)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.file_name().to_str().is_some_and(is_ours))
            .map(|entry| entry.path())
            .collect();
        dirs.sort();
        Self { db, store, dirs, schemas: Arc::default() }
    }

    /// Every segment with its endpoint's folder.
    fn segments(&self) -> Result<Vec<(PathBuf, String)>, LogError> {
        let mut all = Vec::new();
        for dir in &self.dirs {
            all.extend(list(dir)?);
        }
        Ok(all)
    }

    /// Endpoints that have records, by name.
    ///
    /// # Errors
    ///
    /// What database or disk refuse.
    pub async fn endpoints(&self) -> Result<Vec<String>, LogError> {
        let mut names: std::collections::BTreeSet<String> =
            self.db.record_endpoints().await?.into_iter().collect();
        for (path, _) in self.segments()? {
            if let Ok(Some(segment)) = super::segment::SegmentReader::open(&path) {
                names.insert(segment.endpoint.to_string());
            }
        }
        Ok(names.into_iter().collect())
    }

    /// Finds records, on a thread that may block.
    ///
    /// # Errors
    ///
    /// What database, store or disk refuse, and damage.
    pub async fn find(&self, query: &Query) -> Result<Found, LogError> {
        let opened = self.open(query)?;
        let filter = RecordFilter {
            endpoint: query.endpoint.clone(),
            from: query.from,
            to: query.to,
            after: query.after_part,
        };
        let (parts, listed) = self.db.record_parts(&filter, &opened.names).await?;
        let newest_part = newest(&parts).max(query.after_part);
        self.gather(query, parts, opened.without(&listed), newest_part).await
    }

    /// [`find`](Self::find) for a query of one endpoint that restricts nothing but `after_part`, of which only the records of the requests
    /// `names` are wanted. Parts that hold none of them are not read; records of other requests may come along. `places` is
    /// what this gave before, and takes up what is new.
    pub(crate) async fn find_requests(
        &self,
        query: &Query,
        names: &HashSet<&str>,
        places: &mut Whereabouts,
    ) -> Result<Found, LogError> {
        let opened = self.open(query)?;
        let after =
            |after| RecordFilter { endpoint: query.endpoint.clone(), after, ..RecordFilter::default() };
        let (new, listed) = self.db.record_parts(&after(places.known()), &opened.names).await?;
        let newest_part = places.known().max(newest(&new)).max(query.after_part);
        // Where reading fails, all is read again the next time.
        let (mut learned, store) = (std::mem::take(places), self.store.clone());
        *places = blocking(READING, move || {
            learned.learn(&new, &store)?;
            Ok(learned)
        })
        .await?;
        let mut wanted = places.holding(names);
        wanted.retain(|part| *part > query.after_part);
        let parts = if places.forgotten() > query.after_part {
            let (mut parts, _) = self.db.record_parts(&after(query.after_part), &[]).await?;
            parts.retain(|part| part.id <= places.forgotten() || wanted.contains(&part.id));
            parts
        } else {
            self.db.record_parts_by_number(&wanted.into_iter().collect::<Vec<_>>()).await?
        };
        self.gather(query, parts, opened.without(&listed), newest_part).await
    }

    /// First the files, then the table: a segment that is rolled in between is in both, and its file is left out; one that is gone
    /// from the folder when it is opened is in the table by then.
    fn open(&self, query: &Query) -> Result<Opened, LogError> {
        for _ in 0..TRIES {
            if let Some(segments) = self.open_segments(query)? {
                let names = segments.iter().map(|(path, _)| segment_name(path)).collect();
                return Ok(Opened { segments, names });
            }
        }
        Err(LogError::Moving(query.endpoint.clone().unwrap_or_else(|| "all endpoints".to_owned())))
    }

    async fn gather(
        &self,
        query: &Query,
        parts: Vec<RecordPart>,
        segments: Vec<(PathBuf, File)>,
        newest_part: i64,
    ) -> Result<Found, LogError> {
        // Footers and whole segments are read: nothing for a thread that also answers requests.
        let (reader, wanted) = (self.clone(), query.clone());
        let (schema, hours) = blocking(READING, move || gather(&parts, segments, &wanted, &reader)).await?;
        Ok(Found { query: query.clone(), store: self.store.clone(), schema, hours, newest_part })
    }

    fn schema(&self, part: &RecordPart) -> Result<SchemaRef, LogError> {
        let held = || self.schemas.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = held().get(&part.digest) {
            return Ok(Arc::clone(known));
        }
        let read = part_schema(&self.store, part)?;
        let mut held = held();
        // Most have the same columns, and share them.
        let same = held.values().take(LOOKED_AT).find(|known| **known == read).cloned();
        let schema = same.unwrap_or(read);
        if held.len() >= REMEMBERED {
            held.clear();
        }
        held.insert(part.digest, Arc::clone(&schema));
        Ok(schema)
    }

    /// Writes the records of an endpoint in `from..to` as Parquet files into `dir`, one for each hour that has some, and
    /// gives their paths. The bytes depend on the records alone, not on how they are spread over parts.
    ///
    /// # Errors
    ///
    /// As [`find`](Self::find), and what writing refuses.
    pub async fn materialise(
        &self,
        endpoint: &str,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
        dir: &Path,
    ) -> Result<Vec<PathBuf>, LogError> {
        let found = self.find(&Query::of(endpoint, from, to)).await?;
        let schema = found.schema();
        fs_err::create_dir_all(dir).map_err(LogError::io("make", dir))?;
        let mut paths = Vec::new();
        for (hour, rows) in found.by_hour() {
            let mut rows = rows.peekable();
            if rows.peek().is_none() {
                continue;
            }
            let start = Timestamp::from_millis(hour.saturating_mul(HOUR_MS)).to_string();
            let path =
                dir.join(format!("{}-{}.parquet", folder_name(endpoint), start.get(..13).unwrap_or(&start)));
            stored::write_table(&schema, rows, &path)?;
            paths.push(path);
        }
        Ok(paths)
    }

    /// Every segment that may hold what is asked for, opened. `None` where one is gone: the listing is stale.
    fn open_segments(&self, query: &Query) -> Result<Option<Vec<(PathBuf, File)>>, LogError> {
        let folder = query.endpoint.as_deref().map(folder_name);
        let mut opened = Vec::new();
        for (path, of) in self.segments()? {
            if folder.as_ref().is_some_and(|folder| *folder != of) {
                continue;
            }
            match fs_err::File::open(&path) {
                Ok(file) => opened.push((path, file.into_parts().0)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    // Closed meanwhile; or rolled, and then the table has it.
                    let sealed = path.with_extension(SEALED);
                    if path.extension().is_some_and(|kind| kind == OPEN)
                        && let Ok(file) = fs_err::File::open(&sealed)
                    {
                        opened.push((sealed, file.into_parts().0));
                    } else {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(LogError::io("read", &path)(error)),
            }
        }
        Ok(Some(opened))
    }
}

/// Segments that were opened, and their names.
struct Opened {
    segments: Vec<(PathBuf, File)>,
    names: Vec<String>,
}

impl Opened {
    /// Without those that have become parts.
    fn without(self, listed: &HashSet<String>) -> Vec<(PathBuf, File)> {
        let segments = self.segments.into_iter().zip(self.names);
        segments.filter(|(_, name)| !listed.contains(name)).map(|(segment, _)| segment).collect()
    }
}

fn newest(parts: &[RecordPart]) -> i64 {
    parts.iter().map(|part| part.id).max().unwrap_or_default()
}

/// What is said to have failed where a thread that reads the log panics.
const READING: &str = "reading the log";

/// Does work with the log on a thread that may block; `doing` says what, for where it panics.
pub(super) async fn blocking<T: Send + 'static>(
    doing: &str,
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| LogError::Damaged(format!("{doing} failed: {error}")))?
}

/// The columns and places of records, by hour.
type Gathered = (SchemaRef, BTreeMap<i64, Vec<Place>>);

fn gather(
    parts: &[RecordPart],
    segments: Vec<(PathBuf, File)>,
    query: &Query,
    reader: &Reader,
) -> Result<Gathered, LogError> {
    let mut hours: BTreeMap<i64, Vec<Place>> = BTreeMap::new();
    let mut schemas: Vec<SchemaRef> = Vec::new();
    for part in parts.iter().filter(|part| may_hold(part, query)) {
        let schema = reader.schema(part)?;
        if !schemas.iter().any(|known| Arc::ptr_eq(known, &schema)) {
            schemas.push(schema);
        }
        hours.entry(part.hour).or_default().push(Place::Part { digest: part.digest, bytes: part.bytes });
    }
    for (path, file) in segments {
        let Some(plan) = Plan::of_file(file, &path)? else { continue };
        if query.endpoint.as_ref().is_some_and(|endpoint| *endpoint != *plan.endpoint()) {
            continue;
        }
        for rows in plan.into_sources()?.into_iter().filter(|rows| query.overlaps(rows.hour)) {
            schemas.push(rows.schema.clone());
            hours.entry(rows.hour).or_default().push(Place::Segment(Box::new(rows)));
        }
    }
    Ok((unify(&schemas), hours))
}

fn part_schema(store: &Store, part: &RecordPart) -> Result<SchemaRef, LogError> {
    let footer = stored::StoredFile::new(store, part.digest, part.bytes);
    let metadata =
        ArrowReaderMetadata::load(&footer, ArrowReaderOptions::new().with_skip_arrow_metadata(true))?;
    Ok(metadata.schema().clone())
}

/// Whether a part may hold rows that fit, by what the table says of it.
fn may_hold(part: &RecordPart, query: &Query) -> bool {
    let Some(version) = &query.version else { return true };
    serde_json::from_str::<Vec<String>>(&part.versions).map_or(true, |versions| versions.contains(version))
}

impl Found {
    /// The columns of the rows.
    pub fn schema(&self) -> SchemaRef {
        match &self.query.columns {
            None => self.schema.clone(),
            Some(columns) => {
                let kept =
                    self.schema.fields().iter().filter(|field| columns.contains(field.name())).cloned();
                Arc::new(arrow::datatypes::Schema::new(kept.collect::<Vec<_>>()))
            }
        }
    }

    /// The newest part of the log that was looked at.
    pub fn newest_part(&self) -> i64 {
        self.newest_part
    }

    /// The same without the columns of inputs, which are the most of a record, but for those of these names.
    #[must_use]
    pub fn with_inputs(mut self, kept: &[String]) -> Self {
        let is_kept = |name: &String| match name.strip_prefix(INPUT) {
            Some(input) => kept.iter().any(|kept| kept == input),
            None => true,
        };
        let names = self.schema.fields().iter().map(|field| field.name().clone());
        self.query.columns = Some(names.filter(is_kept).collect());
        self
    }

    /// The rows, oldest first.
    pub fn batches(self) -> impl Iterator<Item = Result<RecordBatch, LogError>> + Send {
        let (query, schema) = (self.query.clone(), self.schema());
        self.by_hour().flat_map(|(_, rows)| rows).map(move |batch| project(&batch?, &query, &schema))
    }

    /// The newest `limit` rows, oldest first. Hours before are not read.
    ///
    /// # Errors
    ///
    /// As reading.
    pub fn last(mut self, limit: usize) -> Result<Vec<RecordBatch>, LogError> {
        let (query, schema) = (self.query.clone(), self.schema());
        let mut newest_first: Vec<RecordBatch> = Vec::new();
        let mut left = limit;
        while left > 0 {
            let Some((_, places)) = self.hours.pop_last() else { break };
            let mut held: std::collections::VecDeque<RecordBatch> = std::collections::VecDeque::new();
            let mut rows = 0;
            for batch in merged(places, &self.store, &self.query, &self.schema) {
                let batch = project(&batch?, &query, &schema)?;
                rows += batch.num_rows();
                held.push_back(batch);
                while let Some(first) = held.front()
                    && rows - first.num_rows() >= left
                {
                    rows -= first.num_rows();
                    held.pop_front();
                }
            }
            if let Some(first) = held.front_mut()
                && rows > left
            {
                let surplus = rows - left;
                *first = first.slice(surplus, first.num_rows() - surplus);
                rows = left;
            }
            left -= rows;
            newest_first.extend(held.into_iter().rev());
        }
        newest_first.reverse();
        Ok(newest_first)
    }

    /// The rows of each hour.
    fn by_hour(self) -> impl Iterator<Item = (i64, Rows)> + Send {
        let Self { query, store, schema, hours, .. } = self;
        hours.into_iter().map(move |(hour, places)| (hour, merged(places, &store, &query, &schema)))
    }
}

fn merged(places: Vec<Place>, store: &Store, query: &Query, schema: &SchemaRef) -> Rows {
    let sources = places.into_iter().map(|place| rows_of(place, store, query, schema)).collect();
    Box::new(Merge::new(sources))
}

/// The rows of one place that fit, with the columns of `schema`.
fn rows_of(place: Place, store: &Store, query: &Query, schema: &SchemaRef) -> Rows {
    let (query, schema, store) = (query.clone(), schema.clone(), store.clone());
    match place {
        Place::Segment(rows) => Box::new(rows.map(move |batch| {
            let batch = batch?;
            conform(&filter_record_batch(&batch, &query.mask(&batch)?)?, &schema)
        })),
        // Opened when its hour is reached, so that a long range does not open everything at once.
        Place::Part { digest, bytes } => {
            let open = move || match part_rows(&store, digest, bytes, &query, &schema) {
                Ok(rows) => rows,
                Err(error) => Box::new(std::iter::once(Err(error))) as Rows,
            };
            Box::new(std::iter::once_with(open).flatten())
        }
    }
}

fn part_rows(
    store: &Store,
    digest: Digest,
    bytes: u64,
    query: &Query,
    schema: &SchemaRef,
) -> Result<Rows, LogError> {
    match stored::content(store, digest, bytes)? {
        stored::Content::Small(bytes) => parquet_rows(bytes, query, schema),
        stored::Content::Large(file) => parquet_rows(file, query, schema),
    }
}

fn parquet_rows<R: ChunkReader + 'static>(
    file: R,
    query: &Query,
    schema: &SchemaRef,
) -> Result<Rows, LogError> {
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let mut builder = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options)?;
    let leaves = builder.parquet_schema();
    if let Some(columns) = &query.columns {
        let order = [fixed::TIME, fixed::REQUEST_ID, fixed::SHADOW, fixed::ARM, fixed::ROW];
        let wanted = columns.iter().map(String::as_str).chain(order);
        let mask = ProjectionMask::columns(leaves, wanted);
        builder = builder.with_projection(mask);
    }
    let deciding = query.deciding();
    if !deciding.is_empty() {
        let mask = ProjectionMask::columns(builder.parquet_schema(), deciding);
        let query = query.clone();
        let predicate = ArrowPredicateFn::new(mask, move |batch| query.mask(&batch));
        builder = builder.with_row_filter(RowFilter::new(vec![Box::new(predicate)]));
    }
    let reader = builder.with_batch_size(8192).build()?;
    let schema = schema.clone();
    Ok(Box::new(reader.map(move |batch| conform(&batch?, &schema))))
}

fn project(batch: &RecordBatch, query: &Query, schema: &SchemaRef) -> Result<RecordBatch, LogError> {
    if query.columns.is_none() {
        return Ok(batch.clone());
    }
    let column = |field: &Arc<arrow::datatypes::Field>| batch.column_by_name(field.name()).cloned();
    let columns: Vec<ArrayRef> = schema.fields().iter().filter_map(column).collect();
    debug_assert!(columns.iter().all(|column| column.len() == batch.num_rows()));
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
}
