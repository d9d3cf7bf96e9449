//! What a model answered, as monitors and the judge of rollouts read it: a score and a class for each row, or a number.

use arrow::array::{Array, ArrayRef, AsArray as _, BooleanArray, Float64Array, RecordBatch, StringArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use serde_json::Value;

use super::columns::OUTPUT;
use crate::gateway::decision::DECISION;

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
    /// All outputs that are numbers.
    numbers: Vec<Numbers>,
    /// Which of them is the score.
    score: Option<usize>,
    label: Option<StringArray>,
    /// What the release decided, where it has a threshold.
    decision: Option<BooleanArray>,
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
        let (mut numbers, mut fractions, mut classes) = (Vec::new(), Vec::new(), Vec::new());
        let mut decision = None;
        for (name, column) in outputs {
            if let Some(found) = Numbers::of(column) {
                if is_fraction(column.data_type()) {
                    fractions.push((name, numbers.len()));
                }
                numbers.push(found);
            }
            if name == DECISION && column.data_type() == &DataType::Boolean {
                decision = Some(column.as_boolean().clone());
            } else if is_class(column.data_type()) {
                classes.push((name, column));
            }
        }
        let score = which_score(&fractions);
        let label = named(&classes, &LABELS).or_else(|| classes.first());
        let label = label.and_then(|(_, column)| cast(column, &DataType::Utf8).ok());
        Self { numbers, score, label: label.map(|texts| texts.as_string::<i32>().clone()), decision }
    }

    /// Whether rows have a score: that of the positive class, or the number that is predicted.
    pub fn has_scores(&self) -> bool {
        self.score.is_some()
    }

    /// Whether rows have a class.
    pub fn has_labels(&self) -> bool {
        self.label.is_some()
    }

    /// The score of a row: of a list the last number, which is the positive class of two.
    pub fn score(&self, row: usize) -> Option<f64> {
        self.numbers.get(self.score?)?.of_row(row).last()
    }

    /// The class that was answered to a row, as text.
    pub fn label(&self, row: usize) -> Option<&str> {
        let texts = self.label.as_ref().filter(|texts| texts.is_valid(row))?;
        Some(bare(texts.value(row)))
    }

    /// Whether somebody acts on a row by the release that answered; none where it had no threshold.
    pub fn decision(&self, row: usize) -> Option<bool> {
        self.decision.as_ref().filter(|decision| decision.is_valid(row)).map(|decision| decision.value(row))
    }

    /// Whether no output of a row is NaN or infinite.
    pub fn is_finite(&self, row: usize) -> bool {
        self.numbers.iter().flat_map(|numbers| numbers.of_row(row)).all(f64::is_finite)
    }
}

/// The output that is a score: one with a known name, else one that is called a probability, else the only one.
pub(crate) fn which_score<T: Copy>(fractions: &[(&str, T)]) -> Option<T> {
    named(fractions, &SCORES)
        .or_else(|| fractions.iter().find(|(name, _)| name.to_ascii_lowercase().contains("prob")))
        .or_else(|| fractions.first().filter(|_| fractions.len() == 1))
        .map(|(_, score)| *score)
}

/// The one with the first of these names that any has.
fn named<'a, T>(outputs: &'a [(&str, T)], names: &[&str]) -> Option<&'a (&'a str, T)> {
    names.iter().find_map(|name| outputs.iter().find(|(output, _)| output == name))
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

/// The numbers of a column of floats, or of lists of them.
#[derive(Debug)]
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
    bare(text).to_owned()
}

fn bare(text: &str) -> &str {
    text.strip_suffix(".0").unwrap_or(text)
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

    use arrow::array::{Float32Array, Int64Array, ListArray};
    use arrow::datatypes::Float32Type;

    use super::*;

    fn scores(found: &Answers, rows: usize) -> Option<Vec<Option<f64>>> {
        found.has_scores().then(|| (0..rows).map(|row| found.score(row)).collect())
    }

    fn labels(found: &Answers, rows: usize) -> Option<Vec<Option<String>>> {
        let label = |row| found.label(row).map(str::to_owned);
        found.has_labels().then(|| (0..rows).map(label).collect())
    }

    fn not_finite(found: &Answers, rows: usize) -> Vec<bool> {
        (0..rows).map(|row| !found.is_finite(row)).collect()
    }

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
        assert_eq!(scores(&found, 3), Some(vec![Some(0.25), Some(0.5), None]));
        assert_eq!(labels(&found, 3), Some(vec![Some("0".to_owned()), Some("1".to_owned()), None]));
        assert_eq!(not_finite(&found, 3), [false, true, false]);
        let other = RecordBatch::try_from_iter([
            ("output_y", Arc::new(Float32Array::from(vec![1.5, f32::INFINITY])) as ArrayRef),
            ("output_kind", Arc::new(StringArray::from(vec!["a", "1.0"]))),
        ])
        .unwrap();
        let two = |one: &str, other: &str| {
            let column = |value: f32| Arc::new(Float32Array::from(vec![value])) as ArrayRef;
            let batch = RecordBatch::try_from_iter([(one, column(0.5)), (other, column(0.25))]).unwrap();
            scores(&Answers::of(&batch), 1)
        };
        assert_eq!(two("output_y", "output_z"), None, "nobody knows which of them it is");
        assert_eq!(two("output_y", "output_Prob"), Some(vec![Some(0.25)]));
        assert_eq!(two("output_my_prob", "output_score"), Some(vec![Some(0.25)]));
        let found = Answers::of(&other);
        assert_eq!(scores(&found, 2), Some(vec![Some(1.5), Some(f64::INFINITY)]));
        assert_eq!(labels(&found, 2), Some(vec![Some("a".to_owned()), Some("1".to_owned())]));
        assert_eq!(not_finite(&found, 2), [false, true]);
        // What the release decided is no class of the model's.
        let decided = RecordBatch::try_from_iter([
            ("output_score", Arc::new(Float32Array::from(vec![0.3, 0.1])) as ArrayRef),
            ("output_decision", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ])
        .unwrap();
        let found = Answers::of(&decided);
        assert_eq!((found.decision(0), found.decision(1), found.has_labels()), (Some(true), None, false));
        assert_eq!(
            (positive(Some(&Value::from(1))), positive(Some(&Value::from("yes")))),
            ("1".into(), "yes".into())
        );
    }
}
