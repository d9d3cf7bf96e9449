//! What a model answered, as monitors and the judge of rollouts read it: a score and a class for each row, or a number.

use arrow::array::{Array, ArrayRef, AsArray as _, Float64Array, RecordBatch};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use serde_json::Value;

use super::columns::OUTPUT;

/// Names under which scores are known; built-in trainings, MLflow's flavors and scikit-learn's exports use them.
const SCORES: [&str; 8] = [
    "probabilities",
    "probability",
    "score",
    "scores",
    "output_probability",
    "variable",
    "prediction",
    "predictions",
];
/// Names of classes.
const LABELS: [&str; 4] = ["label", "output_label", "class", "predicted_class"];

/// The answers of the rows of a batch.
#[derive(Debug, Default)]
pub struct Answers {
    /// The score of the positive class, or the number that is predicted.
    pub scores: Option<Vec<Option<f64>>>,
    /// The class that was answered, as text.
    pub labels: Option<Vec<Option<String>>>,
    /// Rows with an output that is NaN or infinite.
    pub not_finite: Vec<bool>,
}

impl Answers {
    /// Of a batch of records. The score is in a column of fractions with a known name, else in one that is called a probability, else in
    /// the only one; the class is in a column with a known name, else in the first of whole numbers, texts or truth values.
    pub fn of(batch: &RecordBatch) -> Self {
        let outputs: Vec<(&str, &ArrayRef)> = batch
            .schema_ref()
            .fields()
            .iter()
            .zip(batch.columns())
            .filter_map(|(field, column)| Some((field.name().strip_prefix(OUTPUT)?, column)))
            .collect();
        let of_kind = |fits: fn(&DataType) -> bool| -> Vec<(&str, &ArrayRef)> {
            outputs.iter().filter(|(_, column)| fits(column.data_type())).copied().collect()
        };
        let named = |outputs: &[(&str, &'_ ArrayRef)], names: &[&str]| {
            names.iter().find_map(|name| outputs.iter().position(|(output, _)| output == name))
        };
        let fractions = of_kind(is_fraction);
        let score = named(&fractions, &SCORES)
            .or_else(|| fractions.iter().position(|(name, _)| name.to_ascii_lowercase().contains("prob")))
            .or_else(|| (fractions.len() == 1).then_some(0));
        let classes = of_kind(is_class);
        let label = named(&classes, &LABELS).unwrap_or(0);
        let mut not_finite = vec![false; batch.num_rows()];
        for numbers in outputs.iter().filter_map(|(_, column)| Numbers::of(column)) {
            for (row, is_bad) in not_finite.iter_mut().enumerate() {
                *is_bad |= numbers.of_row(row).any(|number| !number.is_finite());
            }
        }
        Self {
            scores: score.map(|at| scores(fractions[at].1)),
            labels: classes.get(label).map(|(_, column)| texts(column)),
            not_finite,
        }
    }
}

impl Answers {
    /// The score of a row.
    pub fn score(&self, row: usize) -> Option<f64> {
        *self.scores.as_ref()?.get(row)?
    }

    /// The class that was answered to a row.
    pub fn label(&self, row: usize) -> Option<&str> {
        self.labels.as_ref()?.get(row)?.as_deref()
    }
}

/// Fractions, or lists of them.
fn is_fraction(kind: &DataType) -> bool {
    let is_real = |kind: &DataType| matches!(kind, DataType::Float32 | DataType::Float64);
    match kind {
        DataType::List(item) => is_real(item.data_type()),
        kind => is_real(kind),
    }
}

fn is_class(kind: &DataType) -> bool {
    kind.is_integer() || matches!(kind, DataType::Utf8 | DataType::Boolean)
}

/// One number a row: the last of a list, which is the positive class of two.
fn scores(column: &ArrayRef) -> Vec<Option<f64>> {
    let Some(numbers) = Numbers::of(column) else { return vec![None; column.len()] };
    (0..column.len()).map(|row| numbers.of_row(row).last()).collect()
}

/// The numbers of a column of floats, or of lists of them.
struct Numbers {
    values: Float64Array,
    /// Of lists, between which values those of each row are.
    offsets: Option<OffsetBuffer<i32>>,
    /// Rows without any.
    nulls: Option<NullBuffer>,
}

impl Numbers {
    fn of(column: &ArrayRef) -> Option<Self> {
        let (values, offsets) = match column.data_type() {
            DataType::List(_) => {
                let lists = column.as_list::<i32>();
                (lists.values(), Some(lists.offsets().clone()))
            }
            DataType::Float32 | DataType::Float64 => (column, None),
            _ => return None,
        };
        let values = cast(values, &DataType::Float64).ok()?;
        let values = values.as_primitive_opt::<Float64Type>()?.clone();
        Some(Self { values, offsets, nulls: column.nulls().cloned() })
    }

    fn of_row(&self, row: usize) -> impl Iterator<Item = f64> + '_ {
        let is_null = self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
        let places = match &self.offsets {
            _ if is_null => 0..0,
            Some(offsets) => offsets[row] as usize..offsets[row + 1] as usize,
            None => row..row + 1,
        };
        places.filter(move |at| self.values.is_valid(*at)).map(move |at| self.values.value(at))
    }
}

/// Values as text: whole numbers without a point, so that `1`, `1.0` and `"1"` are the same class.
pub fn texts(column: &ArrayRef) -> Vec<Option<String>> {
    let Ok(column) = cast(column, &DataType::Utf8) else { return vec![None; column.len()] };
    column.as_string::<i32>().iter().map(|text| text.map(plain)).collect()
}

/// A number as text, and text as it is.
pub fn plain(text: &str) -> String {
    text.strip_suffix(".0").unwrap_or(text).to_owned()
}

/// The positive class of an objective, as text.
pub fn positive(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => plain(text),
        Some(other) => plain(&other.to_string()),
        None => "1".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float32Array, Int64Array, ListArray, StringArray};
    use arrow::datatypes::Float32Type;

    use super::*;

    #[test]
    fn scores_and_classes_of_different_exports() {
        let pairs = ListArray::from_iter_primitive::<Float32Type, _, _>([
            Some(vec![Some(0.75), Some(0.25)]),
            Some(vec![Some(f32::NAN), Some(0.5)]),
            None,
        ]);
        let ours = RecordBatch::try_from_iter([
            ("input_x", Arc::new(Float64Array::from(vec![1.0, 2.0, 3.0])) as ArrayRef),
            ("output_label", Arc::new(Int64Array::from(vec![Some(0), Some(1), None]))),
            ("output_probabilities", Arc::new(pairs)),
        ])
        .unwrap();
        let found = Answers::of(&ours);
        assert_eq!(found.scores, Some(vec![Some(0.25), Some(0.5), None]));
        assert_eq!(found.labels, Some(vec![Some("0".to_owned()), Some("1".to_owned()), None]));
        assert_eq!(found.not_finite, [false, true, false]);
        let other = RecordBatch::try_from_iter([
            ("output_y", Arc::new(Float32Array::from(vec![1.5, f32::INFINITY])) as ArrayRef),
            ("output_kind", Arc::new(StringArray::from(vec!["a", "1.0"]))),
        ])
        .unwrap();
        let two = |one: &str, other: &str| {
            let column = |value: f32| Arc::new(Float32Array::from(vec![value])) as ArrayRef;
            Answers::of(&RecordBatch::try_from_iter([(one, column(0.5)), (other, column(0.25))]).unwrap())
                .scores
        };
        assert_eq!(two("output_y", "output_z"), None, "nobody knows which of them it is");
        assert_eq!(two("output_y", "output_Prob"), Some(vec![Some(0.25)]));
        assert_eq!(two("output_my_prob", "output_score"), Some(vec![Some(0.25)]));
        let found = Answers::of(&other);
        assert_eq!(found.scores, Some(vec![Some(1.5), Some(f64::INFINITY)]));
        assert_eq!(found.labels, Some(vec![Some("a".to_owned()), Some("1".to_owned())]));
        assert_eq!(found.not_finite, [false, true]);
        assert_eq!(
            (positive(Some(&Value::from(1))), positive(Some(&Value::from("yes")))),
            ("1".into(), "yes".into())
        );
    }
}
