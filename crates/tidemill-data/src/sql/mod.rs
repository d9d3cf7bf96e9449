//! SQL over tables on DataFusion: one query in, one Parquet file with repeatable bytes out.
//!
//! Only this module knows DataFusion. It runs a single `SELECT` or `WITH` query over declared tables and refuses
//! everything else.

use std::path::PathBuf;

use tidemill_core::Progress;

use crate::{Error, Format, SchemaField};

/// A table that a query may read.
#[derive(Clone, Debug, PartialEq)]
pub struct SqlTable {
    /// Its name in the query.
    pub name: String,
    /// Files (patterns already expanded) or object-store addresses (`s3://`, `gs://`, `az://`), read in this order.
    pub paths: Vec<String>,
    /// The format; told by each file's name where not given.
    pub format: Option<Format>,
}

/// One query to run.
#[derive(Clone, Debug, PartialEq)]
pub struct SqlJob {
    /// The query.
    pub text: String,
    /// Where the text is from, for messages, for example `sql/features.sql`.
    pub source: String,
    /// What it may read.
    pub tables: Vec<SqlTable>,
    /// The Parquet file to write.
    pub out: PathBuf,
    /// Bytes that the query may use before it spills to files or fails.
    pub memory_limit: usize,
    /// Where it spills; made if it is not there, and left empty.
    pub spill_dir: PathBuf,
    /// How many threads may work on it. The bytes written do not depend on it.
    pub partitions: usize,
}

/// What a query gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlOutcome {
    /// Rows written.
    pub rows: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// The columns.
    pub columns: Vec<SchemaField>,
    /// Bytes spilled to disk on the way.
    pub spilled_bytes: u64,
}

/// How an assertion came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asserted {
    /// Whether the query answered true.
    pub passed: bool,
    /// What it answered, for people.
    pub answer: String,
}

/// Runs a query and writes its result.
///
/// # Errors
/// [`Error::Sql`] with the place in the text where the engine tells it; [`Error::Cancelled`]; what reading the tables
/// and writing the file give. The file at `out` is then what it was before.
pub async fn run(job: &SqlJob, progress: &dyn Progress) -> Result<SqlOutcome, Error> {
    let _ = (job, progress);
    Err(Error::Unusable("not there yet".to_owned()))
}

/// Runs a query that must answer with one row and one column of truth values.
///
/// # Errors
/// As [`run`], and a query with another form of answer.
pub async fn assert(text: &str, tables: &[SqlTable]) -> Result<Asserted, Error> {
    let _ = (text, tables);
    Err(Error::Unusable("not there yet".to_owned()))
}
