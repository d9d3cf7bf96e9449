//! A table of predictions with the answers of somebody else: another version, or the same model on changed rows.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::Schema;

use super::predictions::{PREDICTIONS_KEY, read};
use crate::{Error, Result};

/// Puts other answers, one number for regression and one a class otherwise, in the place of those of a table of
/// predictions. Labels follow from `threshold` where it is given (another model has its own), else from the table's.
///
/// # Errors
/// [`Error::Unfit`] for a table that does not hold predictions or answers of another width, [`Error::Unpaired`] for
/// another number of rows.
pub fn with_answers(
    predictions: &RecordBatch,
    answers: &[Vec<f64>],
    threshold: Option<f64>,
) -> Result<RecordBatch> {
    let (mut scored, mut about) = read(predictions)?;
    let (rows, classes) = (predictions.num_rows(), about.classes.len());
    if answers.len() != rows {
        return Err(Error::Unpaired(format!("{} answers to {rows} rows", answers.len())));
    }
    if let Some(other) = answers.iter().find(|answer| answer.len() != classes.max(1)) {
        return Err(Error::Unfit(format!("an answer has {} numbers, not {}", other.len(), classes.max(1))));
    }
    about.threshold = threshold.unwrap_or(about.threshold);
    let column = |at: usize| answers.iter().map(|answer| answer[at]).collect::<Vec<f64>>();
    scored.answers = match classes {
        0 => column(0),
        2 => column(1),
        _ => answers.iter().flatten().copied().collect(),
    };
    let labels = scored.labels(about.threshold);
    let numbers = |values: Vec<f64>| Arc::new(Float64Array::from(values)) as ArrayRef;
    let schema = predictions.schema();
    let columns = schema.fields().iter().zip(predictions.columns()).map(|(field, old)| -> ArrayRef {
        let class = field.name().strip_prefix("probability_").and_then(|class| class.parse().ok());
        match (field.name().as_str(), class) {
            ("prediction", _) if classes == 0 => numbers(column(0)),
            ("probability", _) if classes == 2 => numbers(column(1)),
            ("label", _) if classes > 0 => {
                let names = labels.iter().map(|label| about.classes[*label as usize].as_str());
                Arc::new(StringArray::from_iter_values(names))
            }
            (_, Some(class)) if classes > 2 && class < classes => numbers(column(class)),
            _ => Arc::clone(old),
        }
    });
    let columns = columns.collect();
    let text = serde_json::to_string(&about).map_err(|error| Error::Stored(error.to_string()))?;
    let metadata = HashMap::from([(PREDICTIONS_KEY.to_owned(), text)]);
    let schema = Schema::new_with_metadata(schema.fields().clone(), metadata);
    Ok(RecordBatch::try_new(Arc::new(schema), columns)?)
}
