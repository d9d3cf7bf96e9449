//! SQL over tables on DataFusion: one query in, one Parquet file with repeatable bytes out.
//!
//! Only this module knows DataFusion. It runs a single `SELECT` or `WITH` query over declared tables and refuses
//! everything else. `order` says why the same input gives the same rows in the same order.

mod fail;
mod order;
mod predicate;
mod query;
mod remote;
mod scan;
mod session;
mod tables;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use futures::StreamExt;
use tidemill_core::{Progress, Quiet, Unit};
use tokio::sync::mpsc;

use self::fail::Text;
use self::session::Session;
use crate::value::cell;
use crate::write::{ParquetWriter, Written};
use crate::{Error, Format, SchemaField, Table};

pub use self::remote::{identify, open as open_remote};
pub(crate) use predicate::Predicate;

/// A table that a query may read.
#[derive(Clone, Debug, PartialEq)]
pub struct SqlTable {
    /// Its name in the query.
    pub name: String,
    /// Files (patterns already expanded), or object-store addresses (`s3://`, `gs://`, `az://`) of objects, folders and
    /// patterns, read in this order.
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
    /// How many threads the caller grants. Today the query is one pipeline whatever is granted, beside an encoder on
    /// rayon's threads; the bytes written never depend on it.
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

/// How often a query that gives no rows yet looks whether it should stop.
const PATIENCE: Duration = Duration::from_millis(100);
/// Batches between the query and the encoder.
const QUEUE: usize = 8;
/// Memory of an assertion.
const ASSERTION_MEMORY: usize = 512 << 20;

/// Runs a query and writes its result.
///
/// # Errors
/// [`Error::Sql`] with the place in the text where the engine tells it; [`Error::Cancelled`]; what reading the tables
/// and writing the file give. The file at `out` is then what it was before.
pub async fn run(job: &SqlJob, progress: &dyn Progress) -> Result<SqlOutcome, Error> {
    let text = Text { source: &job.source, text: &job.text };
    let session = Session::new(job.memory_limit, Some(&job.spill_dir))?;
    let statement = query::parse(&text)?;
    session.register(&job.tables, &job.spill_dir).await?;
    let plan = query::plan(&session, &text, statement, job.partitions).await?;
    let schema = plan.schema();
    let writer = ParquetWriter::create(&schema, &job.out)?;
    let columns: Vec<SchemaField> = writer
        .schema()
        .fields()
        .iter()
        .map(|field| SchemaField { name: field.name().clone(), data_type: field.data_type().to_string() })
        .collect();
    if let Some(name) = crate::read::duplicate(columns.iter().map(|column| column.name.as_str())) {
        return Err(text.error(
            None,
            format!("two columns of the result are called `{name}`"),
            Some(format!("give one of them another name: `… as {name}_2`")),
        ));
    }
    progress.begin("query", None, Unit::Rows);
    let stream = execute(&text, &plan, session.task())?;
    let written = write(&text, stream, writer, progress).await?;
    Ok(SqlOutcome {
        rows: written.rows,
        bytes: written.bytes,
        columns,
        spilled_bytes: spilled(plan.as_ref()),
    })
}

/// Runs a query that must answer with one row and one column of truth values.
///
/// # Errors
/// As [`run`], and a query with another form of answer.
pub async fn assert(text: &str, tables: &[SqlTable]) -> Result<Asserted, Error> {
    let session = Session::new(ASSERTION_MEMORY, None)?;
    let spill = tempfile::tempdir().map_err(Error::io("write", std::env::temp_dir()))?;
    session.register(tables, spill.path()).await?;
    answer(&session, text, &Quiet).await
}

/// As [`assert`], over one open table.
pub(crate) async fn assert_table(
    text: &str,
    name: &str,
    table: &Table,
    memory: usize,
    spill: Option<&Path>,
) -> Result<Asserted, Error> {
    let session = Session::new(memory, spill)?;
    session.register_open(name, table)?;
    answer(&session, text, &Quiet).await
}

async fn answer(session: &Session, text: &str, progress: &dyn Progress) -> Result<Asserted, Error> {
    let text = Text { source: "assertion", text };
    let statement = query::parse(&text)?;
    let plan = query::plan(session, &text, statement, 1).await?;
    let wrong = |found: String| {
        text.error(
            None,
            format!(
                "an assertion must answer with one row and one column holding true or false, not {found}"
            ),
            Some("for example `select count(*) = 0 from t where x < 0`".to_owned()),
        )
    };
    let schema = plan.schema();
    if schema.fields().len() != 1 || *schema.field(0).data_type() != DataType::Boolean {
        let types: Vec<String> = schema.fields().iter().map(|field| field.data_type().to_string()).collect();
        return Err(wrong(format!("with {} of type {}", columns(types.len()), types.join(", "))));
    }
    let mut stream = execute(&text, &plan, session.task())?;
    let mut found: Option<RecordBatch> = None;
    let mut rows = 0;
    while let Some(batch) = next(&text, &mut stream, progress).await? {
        rows += batch.num_rows();
        if found.is_none() && batch.num_rows() > 0 {
            found = Some(batch);
        }
    }
    match found {
        Some(batch) if rows == 1 => {
            let value = batch.column(0);
            let passed = !value.is_null(0) && value.as_boolean().value(0);
            Ok(Asserted { passed, answer: cell(value, 0).to_string() })
        }
        _ => Err(wrong(format!("with {rows} rows"))),
    }
}

fn columns(count: usize) -> String {
    if count == 1 { "one column".to_owned() } else { format!("{count} columns") }
}

fn execute(
    text: &Text<'_>,
    plan: &Arc<dyn ExecutionPlan>,
    task: Arc<TaskContext>,
) -> Result<SendableRecordBatchStream, Error> {
    plan.execute(0, task).map_err(|error| text.engine(&error))
}

/// The next batch, or the end, or a stop on request.
async fn next(
    text: &Text<'_>,
    stream: &mut SendableRecordBatchStream,
    progress: &dyn Progress,
) -> Result<Option<RecordBatch>, Error> {
    loop {
        if progress.cancelled() {
            return Err(Error::Cancelled);
        }
        if let Ok(next) = tokio::time::timeout(PATIENCE, stream.next()).await {
            return next.transpose().map_err(|error| text.engine(&error));
        }
    }
}

/// Moves rows from the query to the encoder, which works on a thread of its own for as long as the call lasts.
async fn write(
    text: &Text<'_>,
    mut stream: SendableRecordBatchStream,
    writer: ParquetWriter,
    progress: &dyn Progress,
) -> Result<Written, Error> {
    let (sender, mut receiver) = mpsc::channel::<RecordBatch>(QUEUE);
    let encoder = tokio::task::spawn_blocking(move || -> Result<ParquetWriter, Error> {
        let mut writer = writer;
        while let Some(batch) = receiver.blocking_recv() {
            writer.push(&batch)?;
        }
        Ok(writer)
    });
    let mut feed = async || -> Result<(), Error> {
        while let Some(batch) = next(text, &mut stream, progress).await? {
            let rows = batch.num_rows() as u64;
            if sender.send(batch).await.is_err() {
                // The encoder failed; its own error is better than any of ours.
                break;
            }
            progress.advance(rows);
        }
        Ok(())
    };
    let fed = feed().await;
    drop(sender);
    let writer = encoder.await.map_err(|_| Error::Unusable("the Parquet encoder stopped".to_owned()))?;
    fed?;
    let writer = writer?;
    let finished = tokio::task::spawn_blocking(move || writer.finish()).await;
    finished.map_err(|_| Error::Unusable("the Parquet encoder stopped".to_owned()))?
}

/// Bytes that the operators of a plan that has run spilled.
fn spilled(plan: &dyn ExecutionPlan) -> u64 {
    let own = plan.metrics().and_then(|metrics| metrics.spilled_bytes()).unwrap_or(0) as u64;
    own + plan.children().into_iter().map(|child| spilled(child.as_ref())).sum::<u64>()
}
