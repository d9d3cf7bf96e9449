//! The table of scored rows, and what is asked of it later: costs of each row and the comparison of two models.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, StringArray, UInt64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type, Schema};
use serde::{Deserialize, Serialize};
use tidemill_core::declare::Costs;

use super::outputs::Picker;
use crate::frame::{ClassLabel, Table};
use crate::metric::{Decision, Paired, Scored, Truth, paired_bootstrap};
use crate::report::MetricValue;
use crate::{Error, Result};

/// Key of the metadata in the schema of a table of predictions: classes, threshold and costs as JSON text.
pub const PREDICTIONS_KEY: &str = "tidemill.predictions";

/// A model on a table.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// Each metric with its interval.
    pub metrics: Vec<MetricValue>,
    /// One line a row, in the table's order:
    /// * `row` (`UInt64`): the row's number in the table, from 0;
    /// * `target`: what was true, as text for classes and as `Float64` for regression;
    /// * `label` (`Utf8`, classification): the class that is answered;
    /// * `probability` (`Float64`, two classes): of the positive class;
    /// * `probability_0`, `probability_1`, … (`Float64`, more classes): of each class;
    /// * `prediction` (`Float64`, regression);
    /// * `weight` (`Float64`), where there are weights;
    /// * then every column of the table that does not hold floating-point numbers or nested values (so that rows can
    ///   be joined to outcomes and cut into slices), but for names that are taken by the above.
    ///
    /// The schema's metadata says under `tidemill.predictions` what [`super::by_slice`] needs: classes, threshold, costs.
    pub predictions: RecordBatch,
}

/// What the columns of a table of predictions do not say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct About {
    version: u32,
    /// The classes as text, the positive one of two last; none for regression.
    pub(crate) classes: Vec<String>,
    pub(crate) threshold: f64,
    pub(crate) costs: Option<Costs>,
    /// Seed of the intervals of slices.
    pub(crate) seed: u64,
}

/// Writes the table of predictions for these rows of the source table.
pub(super) fn write(
    table: &Table,
    rows: &[usize],
    scored: &Scored,
    classes: &[ClassLabel],
    decision: &Decision,
    seed: u64,
) -> Result<RecordBatch> {
    let mut fields: Vec<Field> = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    let mut push = |name: String, array: ArrayRef| {
        fields.push(Field::new(name, array.data_type().clone(), array.is_nullable()));
        columns.push(array);
    };
    let numbers = |values: Vec<f64>| Arc::new(Float64Array::from(values)) as ArrayRef;
    push("row".into(), Arc::new(UInt64Array::from_iter_values(rows.iter().map(|row| *row as u64))));
    let names: Vec<String> = classes.iter().map(ToString::to_string).collect();
    let texts = |codes: &[u32]| {
        Arc::new(StringArray::from_iter_values(codes.iter().map(|code| &names[*code as usize]))) as ArrayRef
    };
    match &scored.truth {
        Truth::Numbers(values) => {
            push("target".into(), numbers(values.clone()));
            push("prediction".into(), numbers(scored.answers.clone()));
        }
        Truth::Classes { values, classes } => {
            push("target".into(), texts(values));
            push("label".into(), texts(&scored.labels(decision.threshold)));
            if *classes == 2 {
                push("probability".into(), numbers(scored.answers.clone()));
            } else {
                for class in 0..*classes {
                    let each = scored.answers.iter().skip(class).step_by(*classes).copied().collect();
                    push(format!("probability_{class}"), numbers(each));
                }
            }
        }
    }
    if let Some(weights) = &scored.weights {
        push("weight".into(), numbers(weights.clone()));
    }
    let picker = Picker::new(table, rows);
    for (index, field) in table.schema().fields().iter().enumerate() {
        if !field.data_type().is_floating() && !field.data_type().is_nested() {
            let taken = fields.iter().any(|other| other.name() == field.name());
            if !taken {
                fields.push(field.as_ref().clone());
                columns.push(picker.column(index)?);
            }
        }
    }
    let about = About {
        version: 1,
        classes: names,
        threshold: decision.threshold,
        costs: decision.costs.clone(),
        seed,
    };
    let text = serde_json::to_string(&about).map_err(|error| Error::Stored(error.to_string()))?;
    let schema = Schema::new_with_metadata(fields, HashMap::from([(PREDICTIONS_KEY.to_owned(), text)]));
    Ok(RecordBatch::try_new(Arc::new(schema), columns)?)
}

/// Reads a table of predictions back.
pub(crate) fn read(predictions: &RecordBatch) -> Result<(Scored, About)> {
    let text = predictions.schema_ref().metadata().get(PREDICTIONS_KEY);
    let text = text.ok_or_else(|| {
        Error::Unfit(format!("it has no `{PREDICTIONS_KEY}` in its schema, so it holds no predictions"))
    })?;
    let about: About =
        serde_json::from_str(text).map_err(|error| Error::Unfit(format!("`{PREDICTIONS_KEY}`: {error}")))?;
    let weights = predictions.column_by_name("weight").is_some().then(|| numbers(predictions, "weight"));
    let weights = weights.transpose()?;
    if about.classes.is_empty() {
        let truth = Truth::Numbers(numbers(predictions, "target")?);
        return Ok((Scored { truth, answers: numbers(predictions, "prediction")?, weights }, about));
    }
    let classes = about.classes.len();
    let values = codes(predictions, "target", &about.classes)?;
    let answers = if classes == 2 {
        numbers(predictions, "probability")?
    } else {
        let each = (0..classes).map(|class| numbers(predictions, &format!("probability_{class}")));
        let each = each.collect::<Result<Vec<_>>>()?;
        (0..values.len()).flat_map(|row| each.iter().map(move |column| column[row])).collect()
    };
    Ok((Scored { truth: Truth::Classes { values, classes }, answers, weights }, about))
}

/// A column as text; `None` where missing.
pub(crate) fn texts(predictions: &RecordBatch, column: &str) -> Result<Vec<Option<String>>> {
    let array = find(predictions, column)?;
    let array = cast(array, &DataType::Utf8)?;
    Ok(array.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect())
}

fn find<'a>(predictions: &'a RecordBatch, column: &str) -> Result<&'a ArrayRef> {
    predictions.column_by_name(column).ok_or_else(|| Error::UnknownColumn {
        role: "predictions",
        column: column.into(),
        known: predictions.schema_ref().fields().iter().map(|field| field.name().clone()).collect(),
    })
}

fn numbers(predictions: &RecordBatch, column: &str) -> Result<Vec<f64>> {
    let array = cast(find(predictions, column)?, &DataType::Float64)?;
    if array.null_count() > 0 {
        return Err(Error::Unfit(format!("column `{column}` has missing values")));
    }
    Ok(array.as_primitive::<Float64Type>().values().to_vec())
}

pub(super) fn codes(predictions: &RecordBatch, column: &str, classes: &[String]) -> Result<Vec<u32>> {
    let index: HashMap<&str, u32> = classes.iter().map(String::as_str).zip(0..).collect();
    let code = |text: Option<String>| {
        let text = text.unwrap_or_default();
        index.get(text.as_str()).copied().ok_or_else(|| {
            Error::Unfit(format!("column `{column}` holds `{text}`, which is none of the classes"))
        })
    };
    texts(predictions, column)?.into_iter().map(code).collect()
}

/// The cost of each decision in a table of predictions for two classes.
///
/// # Errors
/// [`Error::Unfit`] for a table that does not hold such predictions.
pub fn row_costs(predictions: &RecordBatch, costs: &Costs) -> Result<Vec<f64>> {
    let (scored, about) = read(predictions)?;
    let Truth::Classes { values, classes: 2 } = &scored.truth else {
        return Err(Error::Unfit("costs are for two classes".into()));
    };
    let labels = codes(predictions, "label", &about.classes)?;
    Ok(values.iter().zip(labels).map(|(class, label)| costs.of(*class == 1, label == 1)).collect())
}

/// Compares the costs of two models' decisions on the same rows, for a test like `cost: {max_regression: 0.0}`.
///
/// # Errors
/// [`Error::Unpaired`] where the two do not hold the same rows with the same targets and classes.
pub fn compare_costs(new: &RecordBatch, old: &RecordBatch, costs: &Costs, seed: u64) -> Result<Paired> {
    same_rows(new, old)?;
    let ((scored, left), (_, right)) = (read(new)?, read(old)?);
    if left.classes != right.classes {
        return Err(Error::Unpaired("they have different classes".into()));
    }
    paired_bootstrap(&row_costs(new, costs)?, &row_costs(old, costs)?, scored.weights.as_deref(), seed)
}

/// Whether two tables of predictions are of the same rows with the same targets.
pub(crate) fn same_rows(new: &RecordBatch, old: &RecordBatch) -> Result<()> {
    if new.num_rows() != old.num_rows() {
        return Err(Error::Unpaired(format!("{} rows against {}", new.num_rows(), old.num_rows())));
    }
    for column in ["row", "target"] {
        let (left, right) = (texts(new, column)?, texts(old, column)?);
        if let Some(at) = (0..left.len()).find(|at| left[*at] != right[*at]) {
            let show = |text: &Option<String>| text.clone().unwrap_or_default();
            let (left, right) = (show(&left[at]), show(&right[at]));
            return Err(Error::Unpaired(format!("`{column}` is `{left}` against `{right}` in line {at}")));
        }
    }
    Ok(())
}
