//! Held-out rows through an exported model again: what tests of models compare with the trainer's own answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Array as _, ArrayRef, AsArray as _, Float64Array, RecordBatch, UInt64Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Float64Type, Schema, UInt64Type};
use tidemill_core::declare::{Step, Training};
use tidemill_runtime::Session;
use tidemill_serve::gateway::golden::{Golden, rows_of};
use tidemill_serve::gateway::plan::Plan;

use crate::app::App;

/// Rows of one call.
const ROWS: usize = 8_192;

/// Answers to some rows; none where the exported form has no way to take one.
pub(crate) type Answers = Vec<Option<Vec<f64>>>;

/// A model that can be asked.
pub(crate) struct Model {
    pub(crate) session: Arc<dyn Session>,
    pub(crate) plan: Plan,
}

/// Where the rows that predictions are about are in the training's table.
pub(crate) fn places(predictions: &RecordBatch) -> anyhow::Result<&UInt64Array> {
    let rows = predictions.column_by_name("row").and_then(|rows| rows.as_primitive_opt::<UInt64Type>());
    rows.ok_or_else(|| anyhow::anyhow!("the predictions do not say which rows they are of"))
}

/// The rows of the training's table that predictions are about, in their order.
pub(crate) fn held_out(
    app: &App<'_>,
    step: &Step,
    training: &Training,
    predictions: &RecordBatch,
) -> anyhow::Result<RecordBatch> {
    let table = crate::table::learned_from(&app.root, app.runtime().handle(), step, training)?;
    let whole = crate::table::whole(&table)?;
    let rows = places(predictions)?;
    let most = rows.iter().flatten().max().unwrap_or(0);
    anyhow::ensure!(
        rows.is_empty() || (most as usize) < whole.num_rows(),
        "the table that the model learned from has other rows by now"
    );
    Ok(take_record_batch(&whole, &rows.iter().collect::<UInt64Array>())?)
}

/// The trainer's own answers to these rows, as its table of predictions holds them.
pub(crate) fn trained(predictions: &RecordBatch) -> anyhow::Result<Vec<Vec<f64>>> {
    let numbers = |name: &str| {
        let column = predictions.column_by_name(name)?.as_primitive_opt::<Float64Type>()?;
        Some(column.values().to_vec())
    };
    if let Some(values) = numbers("prediction") {
        return Ok(values.into_iter().map(|value| vec![value]).collect());
    }
    if let Some(positive) = numbers("probability") {
        return Ok(positive.into_iter().map(|p| vec![1.0 - p, p]).collect());
    }
    let classes: Vec<Vec<f64>> = (0..).map_while(|class| numbers(&format!("probability_{class}"))).collect();
    anyhow::ensure!(!classes.is_empty(), "the predictions hold no answers");
    Ok((0..predictions.num_rows()).map(|row| classes.iter().map(|class| class[row]).collect()).collect())
}

impl Model {
    /// Asks the model about rows whose answers have `width` numbers; none where a value is missing that the exported
    /// form has no way to take.
    pub(crate) fn answers(&self, rows: &RecordBatch, width: usize) -> Result<Answers, String> {
        let inputs = self.columns(rows)?;
        let count = rows.num_rows();
        let mut answers: Answers = Vec::with_capacity(count);
        let mut from = 0;
        while from < count {
            let to = (from + ROWS).min(count);
            match self.ask(&inputs, from, to, width)? {
                Some(part) => answers.extend(part.into_iter().map(Some)),
                // A value is missing somewhere; the other rows can be asked all the same.
                None => {
                    for row in from..to {
                        let one = self.ask(&inputs, row, row + 1, width)?;
                        answers.push(one.and_then(|mut rows| rows.pop()));
                    }
                }
            }
            from = to;
        }
        Ok(answers)
    }

    /// How long calls of `each` rows take, in milliseconds, sorted; at most `most` calls and about `limit` in all. The
    /// first calls, in which memory is found and caches are filled, are left out.
    pub(crate) fn latencies(
        &self,
        rows: &RecordBatch,
        each: usize,
        (most, limit): (usize, Duration),
    ) -> Result<Vec<f64>, String> {
        const WARM_UP: usize = 20;
        let inputs = self.columns(rows)?;
        let places = (rows.num_rows() / each.max(1)).max(1);
        let started = Instant::now();
        let mut times = Vec::with_capacity(most);
        for call in 0..most + WARM_UP {
            let from = call % places * each;
            let part = inputs.slice(from, (from + each).min(rows.num_rows()));
            let begun = Instant::now();
            // What a request goes through, too: laying out is part of the answer's time.
            let Ok(prepared) = self.plan.prepare(part) else { continue };
            self.session.run(&prepared.tensors).map_err(|error| format!("it fails: {error}"))?;
            let took = begun.elapsed();
            if call >= WARM_UP {
                times.push(took.as_secs_f64() * 1e3);
            }
            if started.elapsed() > limit {
                break;
            }
        }
        times.sort_unstable_by(f64::total_cmp);
        Ok(times)
    }

    /// The columns that it takes, as tensors.
    fn columns(&self, rows: &RecordBatch) -> Result<Golden, String> {
        let mut columns: Vec<(Field, ArrayRef)> = Vec::new();
        for input in &self.plan.inputs {
            let column = rows.column_by_name(&input.name).ok_or_else(|| {
                format!("the held-out rows have no column `{}`, which it takes", input.name)
            })?;
            columns.push((Field::new(&input.name, column.data_type().clone(), true), Arc::clone(column)));
        }
        let zero: ArrayRef = Arc::new(Float64Array::from(vec![0.0; rows.num_rows()]));
        columns.push((Field::new("answer_0", DataType::Float64, false), zero));
        let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
        let table =
            RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(|error| error.to_string())?;
        Golden::from_table(&table)
    }

    /// Answers to some rows; none where they cannot be laid out for the model.
    fn ask(
        &self,
        inputs: &Golden,
        from: usize,
        to: usize,
        width: usize,
    ) -> Result<Option<Vec<Vec<f64>>>, String> {
        let Ok(prepared) = self.plan.prepare(inputs.slice(from, to)) else { return Ok(None) };
        let outputs = self
            .session
            .run(&prepared.tensors)
            .map_err(|error| format!("it fails on held-out rows: {error}"))?;
        let at =
            Golden::find(&outputs, width).ok_or_else(|| format!("no output has {width} numbers in a row"))?;
        Ok(outputs.get(at).map(rows_of))
    }
}
