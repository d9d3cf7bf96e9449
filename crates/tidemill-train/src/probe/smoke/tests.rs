//! Each sign with a training that lacks it, and what luck may do.

use std::cell::Cell;

use arrow::array::{ArrayRef, Float64Array, Int64Array};
use serde_json::json;

use super::*;

#[test]
fn what_is_better_than_chance_on_random_labels_is_told() {
    let constant: Vec<f64> = (0..200).map(|row| 0.6 + 0.1 * f64::from(row % 5)).collect();
    let wobble = |row: usize| if row.is_multiple_of(2) { 0.05 } else { -0.05 };
    let with = |gain: f64| -> Vec<f64> {
        constant.iter().enumerate().map(|(row, loss)| loss - gain + wobble(row)).collect()
    };
    assert_eq!(told("x", &with(0.0), &constant, "log_loss").outcome, Outcome::Passed);
    assert_eq!(told("x", &with(-0.2), &constant, "log_loss").outcome, Outcome::Passed);
    assert_eq!(told("x", &with(0.1), &constant, "log_loss").outcome, Outcome::Failed);
    assert_eq!(told("x", &[0.1], &[0.2], "log_loss").outcome, Outcome::NotJudged);
}

/// 600 rows whose class mostly follows from two numbers.
fn rows() -> RecordBatch {
    let mut random = Random::new(5, 0);
    let (mut a, mut b, mut y) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..600 {
        let (one, two) = (random.unit(), random.unit());
        y.push(i64::from(one + 0.3 * two + 0.3 * random.unit() > 0.8));
        a.push(one);
        b.push(two);
    }
    let columns: [(&str, ArrayRef); 3] = [
        ("a", Arc::new(Float64Array::from(a))),
        ("b", Arc::new(Float64Array::from(b))),
        ("y", Arc::new(Int64Array::from(y))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn training() -> Training {
    serde_json::from_value(json!({
        "algorithm": "gbdt", "features": "rows.parquet", "seed": 7, "gbdt": {"rounds": 20},
        "task": {"kind": "classification", "target": "y", "positive": 1},
    }))
    .unwrap()
}

/// What a training of this crate makes of rows and a declaration that were tampered with.
fn honest(rows: &[RecordBatch], training: &Training) -> Result<Fitted> {
    fit::fit(rows, training, 0, &Quiet)
}

/// How the sign of this name comes out of a training, and what is said.
fn sign_of(fit: Fit<'_>, name: &str) -> (Outcome, String) {
    let signs = smoke_by(fit, &[rows()], &training()).unwrap();
    let found = signs.into_iter().find(|sign| sign.name == name).unwrap();
    (found.outcome, found.message)
}

/// The training of this crate has the sign, and the one that is given has not; what is said of it.
fn lacks(fit: Fit<'_>, name: &str) -> String {
    let (outcome, message) = sign_of(&honest, name);
    assert_eq!(outcome, Outcome::Passed, "{name}: {message}");
    let (outcome, message) = sign_of(fit, name);
    assert_eq!(outcome, Outcome::Failed, "{name}: {message}");
    message
}

/// Whether rows are the few that are to be learnt by heart.
fn are_few(rows: &[RecordBatch]) -> bool {
    rows[0].num_rows() == FEW * COPIES
}

#[test]
fn a_training_that_cannot_take_every_valid_row_ends_with_an_error() {
    // It holds for true that rows come in the order in which they were sampled.
    let first = Cell::new(None::<u64>);
    let fit = |rows: &[RecordBatch], training: &Training| {
        let a = rows[0].column_by_name("a").unwrap().as_primitive::<Float64Type>().value(0).to_bits();
        if first.replace(Some(first.get().unwrap_or(a))).is_some_and(|first| first != a) {
            return Err(Error::Unpaired("rows are not as they were".into()));
        }
        honest(rows, training)
    };
    let message = lacks(&fit, "one step on random valid rows");
    assert!(message.starts_with("it ends with an error: "), "{message}");
    // Nor one whose single step is nothing.
    let fit = |rows: &[RecordBatch], training: &Training| {
        let fitted = honest(rows, training)?;
        let is_one = training.gbdt.as_ref().is_some_and(|params| params.rounds == 1);
        if is_one { with_nan(fitted) } else { Ok(fitted) }
    };
    let message = lacks(&fit, "one step on random valid rows");
    assert!(message.starts_with("1 of ") && message.ends_with(" answers are not numbers"), "{message}");
}

/// One answer of the held-out rows is not a number.
fn with_nan(mut fitted: Fitted) -> Result<Fitted> {
    let schema = fitted.predictions.schema();
    let mut columns = fitted.predictions.columns().to_vec();
    let place = schema.fields().iter().position(|field| field.name().starts_with("probability")).unwrap();
    let mut values = columns[place].as_primitive::<Float64Type>().values().to_vec();
    values[0] = f64::NAN;
    columns[place] = Arc::new(Float64Array::from(values));
    fitted.predictions = RecordBatch::try_new(schema, columns)?;
    Ok(fitted)
}

#[test]
fn a_training_whose_steps_go_nowhere_does_not_lower_the_loss() {
    let fit = |rows: &[RecordBatch], training: &Training| {
        let gbdt = training.gbdt.clone().map(|params| GbdtParams { learning_rate: 1e-300, ..params });
        honest(rows, &Training { gbdt, ..training.clone() })
    };
    let message = lacks(&fit, "the loss falls");
    assert!(message.starts_with("log_loss on the training rows from 0."), "{message}");
}

#[test]
fn a_training_that_is_held_back_learns_nothing_by_heart() {
    // It does not let go of what holds it back, whatever is declared.
    let fit = |rows: &[RecordBatch], training: &Training| {
        let held = |params| GbdtParams { min_rows_per_leaf: 10_000, ..params };
        let gbdt = training.gbdt.clone().map(|params| if are_few(rows) { held(params) } else { params });
        honest(rows, &Training { gbdt, ..training.clone() })
    };
    let message = lacks(&fit, "32 rows are learnt by heart");
    assert!(message.starts_with("accuracy 0."), "{message}");
}

#[test]
fn a_training_that_answers_with_nan_is_told() {
    let fit = |rows: &[RecordBatch], training: &Training| with_nan(honest(rows, training)?);
    let message = lacks(&fit, "answers are numbers");
    assert!(message.starts_with("1 of "), "{message}");
}

#[test]
fn a_training_with_a_seed_of_its_own_gives_another_model_each_time() {
    let times = Cell::new(0);
    let fit = |rows: &[RecordBatch], training: &Training| {
        times.set(times.get() + 1);
        honest(rows, &Training { seed: times.get(), ..training.clone() })
    };
    let message = lacks(&fit, "the same seed gives the same model");
    assert!(message.contains(" and "), "{message}");
}

#[test]
fn a_training_that_sees_the_labels_is_better_than_chance_on_random_ones() {
    // A column is made of the labels before rows are held out, as encodings of a category by its target often are.
    let fit = |rows: &[RecordBatch], training: &Training| {
        let labels = rows[0].column_by_name("y").unwrap().as_primitive::<arrow::datatypes::Int64Type>();
        let leak: Float64Array = labels.iter().map(|label| label.map(|label| label as f64)).collect();
        let schema = rows[0].schema();
        let mut columns: Vec<(String, ArrayRef)> = schema
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .zip(rows[0].columns().iter().cloned())
            .collect();
        columns.push(("encoded".to_owned(), Arc::new(leak)));
        honest(&[RecordBatch::try_from_iter(columns)?], training)
    };
    let of = |fit: Fit<'_>| chance_level(fit, &rows(), &small(&training())).unwrap();
    assert_eq!(of(&honest).outcome, Outcome::Passed);
    let found = of(&fit);
    assert_eq!(found.outcome, Outcome::Failed, "{}", found.message);
    assert!(found.message.contains(" lower than a constant's by "), "{}", found.message);
}
