//! The scoring itself: threads that read and call the model, and one that writes.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use tidemill_core::{Progress, Unit};
use tidemill_runtime::{Session, Tensor};

use super::bind::{Binding, Takes};
use super::input::{Input, Next, Piece, Stream, pick};
use super::order::Order;
use super::output::{OutputFormat, write};
use super::{PredictError, result};
use crate::gateway::plan::Plan;

/// Which columns of the input are in the output, before the model's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// None.
    #[default]
    None,
    /// All.
    All,
    /// These.
    Columns(Vec<String>),
}

/// What is to be scored.
#[derive(Clone)]
pub struct Predict<'a> {
    /// The model.
    pub session: Arc<dyn Session>,
    /// How a table is laid out for it, where its signature is known: columns may have other types than the model then,
    /// optional ones may be absent, and text may be missing where the signature says so.
    pub plan: Option<Plan>,
    /// A table: Parquet, CSV, JSON lines or Arrow, as its name tells.
    pub input: &'a Path,
    /// Where the result goes; replaced as a whole or left as it is. The format follows from its name.
    pub output: &'a Path,
    /// Columns of the input that go along.
    pub keep: Keep,
    /// The columns that a single input of many values in a row is made of, in the model's order; all of the table where
    /// absent.
    pub features: Option<Vec<String>>,
    /// Threads; the number of cores where absent.
    pub threads: Option<usize>,
}

impl Predict<'_> {
    fn takes(&self) -> Takes<'_> {
        match &self.plan {
            // Columns that were named make the model's one matrix, whatever the signature calls them.
            Some(plan) if self.features.is_none() => {
                Takes { slots: &plan.inputs, nullable: &plan.nullable, fills_gaps: true }
            }
            _ => Takes { slots: self.session.inputs(), nullable: &[], fills_gaps: false },
        }
    }
}

/// What was scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Rows.
    pub rows: u64,
    /// Bytes of the output.
    pub bytes: u64,
    /// How long it took.
    pub took: Duration,
}

/// Results that wait for their turn to be written may have so many bytes.
const WAITING_BYTES: usize = 256 << 20;

/// Scores a table.
///
/// # Errors
///
/// What is wrong with table, value or model, with its row and column; nothing is left of the output then.
pub fn predict(task: &Predict<'_>, progress: &dyn Progress) -> Result<Summary, PredictError> {
    let started = Instant::now();
    let format = OutputFormat::of(task.output)?;
    let input = Input::open(task.input)?;
    let schema = input.schema().clone();
    let binding = Binding::new(task.takes(), &schema, task.features.as_deref())?;
    let kept: Vec<&str> = match &task.keep {
        Keep::None => Vec::new(),
        Keep::All => schema.fields().iter().map(|field| field.name().as_str()).collect(),
        Keep::Columns(columns) => {
            for column in columns {
                schema.index_of(column).map_err(|_| {
                    PredictError::Columns(format!(
                        "there is no column `{column}` to keep in `{}`",
                        task.input.display()
                    ))
                })?;
            }
            columns.iter().map(String::as_str).collect()
        }
    };
    let kept_schema = pick(&schema, &kept);
    result::check_names(task.session.outputs(), &kept_schema)?;
    let mut columns = binding.columns();
    kept.iter().for_each(|column| {
        if !columns.contains(column) {
            columns.push(column);
        }
    });
    let streams = input.streams(&columns)?;
    let order = Order::new(streams.len(), WAITING_BYTES);
    let work = Work { task, input: &input, binding: &binding, columns: &columns, kept: &kept, order: &order };
    progress.begin("scoring", Some(input.rows()), Unit::Rows);
    let threads = task.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let is_over = AtomicBool::new(false);
    let (mut rows, streams) = (0, &streams);
    let bytes = std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            let (work, is_over) = (&work, &is_over);
            scope.spawn(move || {
                let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    work.run(streams, progress, is_over)
                }));
                match done {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => work.order.fail(error),
                    Err(panic) => work.order.fail(PredictError::Panicked(message(&panic))),
                }
            });
        }
        let results = std::iter::from_fn(|| order.take()).inspect(|batch| {
            if let Ok(batch) = batch {
                rows += batch.num_rows() as u64;
                progress.advance(batch.num_rows() as u64);
            }
        });
        let mut results = results.peekable();
        // The columns are those of the first results; where there is no row, those that the model declares.
        let written = match results.peek() {
            Some(Ok(first)) => Ok(first.schema()),
            Some(Err(_)) | None => Ok(result::declared(task.session.outputs(), &kept_schema)),
        }
        .and_then(|schema| {
            let mut same = results.map(|batch| batch.and_then(|batch| of_schema(batch, &schema)));
            write(format, &schema, &mut same, task.output)
        });
        is_over.store(true, Ordering::SeqCst);
        // Whoever waits for room is told that there will be none.
        order.fail(PredictError::Cancelled);
        written
    })?;
    Ok(Summary { rows, bytes, took: started.elapsed() })
}

struct Work<'a> {
    task: &'a Predict<'a>,
    input: &'a Input,
    binding: &'a Binding,
    columns: &'a [&'a str],
    kept: &'a [&'a str],
    order: &'a Order,
}

impl Work<'_> {
    /// Reads and scores until nothing is left. Earlier streams first; those that another thread reads are passed over.
    fn run(
        &self,
        streams: &[Stream],
        progress: &dyn Progress,
        is_over: &AtomicBool,
    ) -> Result<(), PredictError> {
        let mut open: Vec<usize> = (0..streams.len()).collect();
        while !open.is_empty() {
            if is_over.load(Ordering::SeqCst) {
                return Ok(());
            }
            if progress.cancelled() {
                return Err(PredictError::Cancelled);
            }
            let mut found = None;
            let mut place = 0;
            while let Some(&index) = open.get(place) {
                let Some(stream) = streams.get(index) else { break };
                match self.input.next(stream, self.columns)? {
                    Next::Piece(piece) => {
                        found = Some((index, piece));
                        break;
                    }
                    Next::Busy => place += 1,
                    Next::Done(length) => {
                        self.order.ended(index, length);
                        open.remove(place);
                    }
                }
            }
            let Some((index, piece)) = found else {
                // Others read what is left; whoever is done first takes the next rows.
                std::thread::sleep(Duration::from_micros(200));
                continue;
            };
            let number = piece.number;
            let scored = self.score(piece)?;
            if !self.order.put(index, number, scored) {
                return Ok(());
            }
        }
        Ok(())
    }

    fn score(&self, piece: Piece) -> Result<RecordBatch, PredictError> {
        let Piece { batch, first, .. } = piece;
        let rows = batch.num_rows();
        let given = self.binding.tensors(&batch, first)?;
        let tensors = match &self.task.plan {
            None => given.into_iter().map(|one| one.tensor).collect(),
            Some(plan) => {
                let prepared = plan.prepare(given).map_err(|error| PredictError::Model {
                    first,
                    last: first + rows.saturating_sub(1) as u64,
                    why: error.to_string(),
                })?;
                prepared.tensors
            }
        };
        let session = &self.task.session;
        let outputs = session.run(&tensors).map_err(|error| {
            // A batch that fails is tried by halves, so that the message names the row.
            let bad = bad_rows(session.as_ref(), &tensors, rows);
            PredictError::Model {
                first: first + bad.0 as u64,
                last: first + bad.1 as u64 - 1,
                why: error.to_string(),
            }
        })?;
        let indices: Vec<usize> =
            self.kept.iter().filter_map(|name| batch.schema_ref().index_of(name).ok()).collect();
        let kept = batch.project(&indices).map_err(|error| PredictError::Columns(error.to_string()))?;
        result::columns(session.outputs(), outputs, &kept, first)
    }
}

/// The smallest range of rows, halving, on which the model fails; all of them where each half works.
fn bad_rows(session: &dyn Session, tensors: &[Tensor], rows: usize) -> (usize, usize) {
    let (mut from, mut to) = (0, rows);
    while to - from > 1 {
        let middle = from + (to - from) / 2;
        let fails = |from, to| {
            let part: Vec<Tensor> = tensors.iter().map(|tensor| tensor.slice(from, to)).collect();
            session.run(&part).is_err()
        };
        if fails(from, middle) {
            to = middle;
        } else if fails(middle, to) {
            from = middle;
        } else {
            break;
        }
    }
    (from, to)
}

/// All results have the columns of the first.
fn of_schema(batch: RecordBatch, schema: &arrow::datatypes::SchemaRef) -> Result<RecordBatch, PredictError> {
    if batch.schema_ref().fields() == schema.fields() {
        return Ok(batch);
    }
    let different = batch.schema_ref().fields().iter().zip(schema.fields()).find(|(a, b)| a != b);
    let (output, why) = match different {
        Some((a, b)) => (
            a.name().clone(),
            format!("it is {} in some rows and {} in others", a.data_type(), b.data_type()),
        ),
        None => (String::new(), "some rows have other outputs".to_owned()),
    };
    Err(PredictError::Output { output, why })
}

fn message(panic: &Box<dyn std::any::Any + Send>) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned())
}
