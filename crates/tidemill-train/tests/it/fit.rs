//! Whole trainings on small tables.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde_json::{Value, json};
use tidemill_core::declare::{Costs, Metric, Training};
use tidemill_core::{Cancel, Hint, Quiet};
use tidemill_train::fit::{EvaluateOptions, row_costs};
use tidemill_train::frame::Table;
use tidemill_train::metric::{Decision, measure};
use tidemill_train::report::{ChosenOn, Report};
use tidemill_train::{Error, Fitted, by_slice, compare_costs, evaluate_on, fit};

/// Flights in three batches: `id`, `day`, `airport` (text, some missing), `distance`, `wind` (some missing), `constant`,
/// `weight`, and the targets `late` (0 or 1), `delay` (a number) and `band` (text, three classes).
pub(crate) fn flights(rows: usize) -> Vec<RecordBatch> {
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let mut unit = || (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    let airports = ["EWR", "JFK", "LGA", "ORD"];
    let (mut airport, mut distance, mut wind, mut weight) = (vec![], vec![], vec![], vec![]);
    let (mut late, mut delay, mut band) = (vec![], vec![], vec![]);
    for _ in 0..rows {
        let at = (unit() * 4.0) as usize;
        let far = 100.0 + 2_000.0 * unit();
        let gust = 30.0 * unit();
        let minutes = gust * 1.5 + 8.0 * at as f64 - far / 200.0 + 40.0 * (unit() - 0.5);
        airport.push((unit() > 0.05).then_some(airports[at]));
        distance.push(far);
        wind.push((unit() > 0.08).then_some(gust));
        weight.push(0.5 + unit());
        late.push(i64::from(minutes > 40.0));
        delay.push(minutes);
        band.push(if minutes > 40.0 {
            "late"
        } else if minutes > 15.0 {
            "soon"
        } else {
            "early"
        });
    }
    let batch = |from: usize, to: usize| {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("id", Arc::new(Int64Array::from_iter_values((from..to).map(|row| row as i64)))),
            ("day", Arc::new(Date32Array::from_iter_values((from..to).map(|row| row as i32 / 7)))),
            ("airport", Arc::new(StringArray::from(airport[from..to].to_vec()))),
            ("distance", Arc::new(Float64Array::from(distance[from..to].to_vec()))),
            ("wind", Arc::new(Float64Array::from(wind[from..to].to_vec()))),
            ("constant", Arc::new(BooleanArray::from(vec![true; to - from]))),
            ("weight", Arc::new(Float64Array::from(weight[from..to].to_vec()))),
            ("late", Arc::new(Int64Array::from(late[from..to].to_vec()))),
            ("delay", Arc::new(Float64Array::from(delay[from..to].to_vec()))),
            ("band", Arc::new(StringArray::from(band[from..to].to_vec()))),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))
            .unwrap()
    };
    let (first, second) = (rows / 3, rows / 2);
    vec![batch(0, first), batch(first, second), batch(second, rows)]
}

/// A declaration with changes to the usual one.
pub(crate) fn declared(changes: &Value) -> Training {
    let mut base = json!({
        "algorithm": "logistic",
        "features": "flights.parquet",
        "task": {"kind": "classification", "target": "late", "positive": 1},
        "drop": ["id", "delay", "band", "day"],
        "weight": "weight",
        "seed": 7,
    });
    for (key, value) in changes.as_object().unwrap() {
        base[key] = value.clone();
    }
    serde_json::from_value(base).unwrap()
}

fn train(changes: &Value) -> Fitted {
    fit(&flights(900), &declared(changes), 20, &Quiet).unwrap()
}

fn text(batch: &RecordBatch, column: &str) -> Vec<String> {
    let array =
        arrow::compute::cast(batch.column_by_name(column).unwrap(), &arrow::datatypes::DataType::Utf8);
    let array = array.unwrap();
    let array = array.as_any().downcast_ref::<StringArray>().unwrap();
    array.iter().map(|value| value.unwrap_or("-").to_owned()).collect()
}

/// The report with six significant digits, which do not depend on the machine's mathematics library.
fn rounded(report: &Report) -> Value {
    fn round(value: &mut Value) {
        match value {
            Value::Array(all) => all.iter_mut().for_each(round),
            Value::Object(all) => all.values_mut().for_each(round),
            Value::Number(number) if number.is_f64() => {
                *value = format!("{:.5e}", number.as_f64().unwrap()).parse::<f64>().unwrap().into();
            }
            _ => {}
        }
    }
    let mut value = serde_json::from_str(&report.to_json()).unwrap();
    round(&mut value);
    value
}

const COSTS: &str = r#"{"currency": "EUR", "false_negative": 120, "false_positive": 15}"#;

fn costs() -> Value {
    serde_json::from_str(COSTS).unwrap()
}

#[test]
fn a_report_in_full() {
    let fitted = train(&json!({
        "split": {"by": "time", "test": 0.25, "column": "day"}, "drop": ["id", "delay", "band"],
        "cv": {"folds": 3, "by": "time"}, "costs": costs(),
    }));
    insta::assert_json_snapshot!(rounded(&fitted.report));
    let again: Report = serde_json::from_str(&fitted.report.to_json()).unwrap();
    assert_eq!(again, fitted.report);
}

#[test]
fn the_same_bytes_for_any_number_of_threads() {
    for changes in [
        json!({"algorithm": "logistic", "cv": {"folds": 3}, "costs": costs()}),
        json!({"algorithm": "ridge", "task": {"kind": "regression", "target": "delay"},
               "drop": ["id", "late", "band", "day"]}),
        json!({"algorithm": "gbdt", "gbdt": {"rounds": 15, "row_share": 0.7, "column_share": 0.6, "early_stopping": 4},
               "costs": costs()}),
        json!({"algorithm": "gbdt", "gbdt": {"rounds": 6}, "task": {"kind": "classification", "target": "band"},
               "drop": ["id", "late", "delay", "day"],
               "search": {"method": "random", "trials": 2, "metric": "log_loss",
                          "space": {"max_leaves": [4, 8], "learning_rate": [0.1, 0.3]}}}),
    ] {
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let fitted = pool.install(|| train(&changes));
            (fitted.report.to_json(), serde_json::to_string(&fitted.model).unwrap(), fitted.predictions)
        };
        let one = with(1);
        assert!(one == with(2), "{changes}");
        assert!(one == with(5), "{changes}");
    }
}

#[test]
fn test_rows_decide_nothing() {
    let changes = json!({"split": {"by": "time", "column": "day"}, "drop": ["id", "delay", "band"],
                         "cv": {"folds": 3}, "costs": costs()});
    let whole = flights(900);
    let before = fit(&whole, &declared(&changes), 5, &Quiet).unwrap();
    // The same table with other answers in the test rows, the last fifth.
    let all = concat_batches(&whole[0].schema(), &whole).unwrap();
    let late = text(&all, "late");
    let first_test: usize = text(&before.predictions, "row")[0].parse().unwrap();
    let turned = (0..900).map(|row| i64::from((late[row] == "1") != (row >= first_test && row % 2 == 0)));
    let index = all.schema().index_of("late").unwrap();
    let mut columns = all.columns().to_vec();
    columns[index] = Arc::new(Int64Array::from_iter_values(turned));
    let other = RecordBatch::try_new(all.schema(), columns).unwrap();
    let after = fit(&[other], &declared(&changes), 5, &Quiet).unwrap();
    assert_eq!(before.model, after.model);
    let (before, after) = (before.report, after.report);
    assert_eq!(before.decision.as_ref().unwrap().threshold, after.decision.as_ref().unwrap().threshold);
    assert_eq!((before.cv, before.train), (after.cv, after.train));
    assert_ne!(before.test, after.test);
}

#[test]
fn the_threshold_is_chosen_where_the_model_had_not_looked() {
    let on = |changes: Value| train(&changes).report.decision.unwrap();
    assert_eq!(on(json!({"costs": costs(), "cv": {"folds": 3}})).chosen_on, ChosenOn::OutOfFold);
    assert_eq!(on(json!({"costs": costs()})).chosen_on, ChosenOn::Validation);
    let stopped = json!({"costs": costs(), "algorithm": "gbdt", "gbdt": {"rounds": 20, "early_stopping": 3}});
    assert_eq!(on(stopped).chosen_on, ChosenOn::Validation);
    let fixed = on(json!({}));
    assert_eq!((fixed.chosen_on, fixed.threshold), (ChosenOn::Fixed, 0.5));
    // Misses are dear, so acting pays well below one half, and the model beats both baselines.
    let dear = on(json!({"costs": costs()}));
    let cost = dear.cost.unwrap();
    assert!(dear.threshold < 0.35, "{}", dear.threshold);
    assert!(cost.model < cost.never && cost.model < cost.always, "{cost:?}");
    assert!((cost.saving - (cost.never.min(cost.always) - cost.model)).abs() < 1e-9);
    assert_eq!(cost.calibrated_threshold, Some(15.0 / 135.0));
}

#[test]
fn either_class_can_be_the_positive_one() {
    let report = |positive: Value| {
        let task = json!({"kind": "classification", "target": "late", "positive": positive});
        train(&json!({ "task": task })).report
    };
    let (one, zero) = (report(json!(1)), report(json!(0)));
    let auc = |report: &Report| report.metric(Metric::RocAuc).unwrap().value.unwrap();
    assert!((auc(&one) - auc(&zero)).abs() < 1e-6);
    assert_eq!(serde_json::to_value(&zero.decision.unwrap().positive).unwrap(), json!(0));
    assert_eq!(one.task.classes[1].test_rows, zero.task.classes[0].test_rows);
}

#[test]
fn predictions_say_what_the_report_says() {
    let fitted = train(
        &json!({"costs": costs(), "split": {"by": "time", "column": "day"}, "drop": ["id", "delay", "band"]}),
    );
    let days: Vec<String> = text(&fitted.predictions, "day");
    assert!(days.is_sorted() && fitted.predictions.column_by_name("airport").is_some());
    assert!(fitted.predictions.column_by_name("wind").is_none());
    // Scoring the same rows as a further table gives the same figures and answers.
    let all = concat_batches(&flights(900)[0].schema(), &flights(900)).unwrap();
    let first: usize = text(&fitted.predictions, "row")[0].parse().unwrap();
    let test = all.slice(first, 900 - first);
    let decision = fitted.report.decision.as_ref().unwrap();
    let cost = decision.cost.as_ref().unwrap();
    let decision = Decision { threshold: decision.threshold, costs: Some(cost.costs.clone()) };
    let options = EvaluateOptions { weight: Some("weight"), decision, seed: 7, ..EvaluateOptions::default() };
    let again = evaluate_on(&fitted.model, &[test], &options).unwrap();
    assert_eq!(again.metrics, fitted.report.test);
    for column in ["target", "label", "probability", "weight", "airport"] {
        assert_eq!(
            again.predictions.column_by_name(column),
            fitted.predictions.column_by_name(column),
            "{column}"
        );
    }
    let mean = row_costs(&fitted.predictions, &cost.costs).unwrap();
    let weights: Vec<f64> = text(&fitted.predictions, "weight").iter().map(|w| w.parse().unwrap()).collect();
    let mean = mean.iter().zip(&weights).map(|(c, w)| c * w).sum::<f64>() / weights.iter().sum::<f64>();
    assert!((mean - cost.model).abs() < 1e-9);
}

#[test]
fn golden_rows_hold_what_the_model_answers() {
    let fitted = train(
        &json!({"task": {"kind": "classification", "target": "band"}, "drop": ["id", "delay", "late", "day"]}),
    );
    assert_eq!(fitted.golden.num_rows(), 20);
    let inputs: Vec<&str> = fitted.signature.inputs.iter().map(|input| input.name.as_str()).collect();
    assert_eq!(inputs, ["airport", "distance", "wind", "constant"]);
    let table = Table::new(fitted.golden.schema(), vec![fitted.golden.clone()]).unwrap();
    let scores = fitted.model.scores(&table).unwrap();
    for class in 0..3 {
        assert_eq!(table.numbers(&format!("answer_{class}"), "answer").unwrap(), scores.column(class));
    }
    assert_eq!(fitted.report.task.classes.len(), 3);
    assert!(fitted.report.decision.is_none());
}

#[test]
fn slices_of_the_test_rows() {
    let fitted = train(&json!({"costs": costs()}));
    let slices = by_slice(&fitted.predictions, "airport", Metric::Cost, 5).unwrap();
    assert_eq!(slices.len(), 5);
    assert!(slices.iter().any(|slice| slice.value.is_none()));
    assert!(slices.is_sorted_by(|a, b| a.rows >= b.rows));
    // Weighted by their weights the slices add up to the whole.
    let weights = text(&fitted.predictions, "weight");
    let airports = text(&fitted.predictions, "airport");
    let (mut sum, mut total) = (0.0, 0.0);
    for slice in &slices {
        let name = slice.value.as_deref().unwrap_or("-");
        let weight: f64 = airports
            .iter()
            .zip(&weights)
            .filter(|(a, _)| *a == name)
            .map(|(_, w)| w.parse::<f64>().unwrap())
            .sum();
        sum += weight * slice.metric.unwrap();
        total += weight;
        let interval = slice.interval.unwrap();
        assert!(interval.lower <= slice.metric.unwrap() && slice.metric.unwrap() <= interval.upper);
    }
    let whole = fitted.report.metric(Metric::Cost).unwrap().value.unwrap();
    assert!((sum / total - whole).abs() < 1e-9);
    assert!(by_slice(&fitted.predictions, "airport", Metric::RocAuc, 10_000).unwrap().is_empty());
    let unknown = by_slice(&fitted.predictions, "airprt", Metric::RocAuc, 1).unwrap_err();
    assert_eq!(unknown.hint().unwrap(), "did you mean `airport`?");
}

#[test]
fn two_models_compared_by_cost() {
    let logistic = train(&json!({"costs": costs()}));
    let prior = train(&json!({"costs": costs(), "algorithm": "prior"}));
    let costs: Costs = serde_json::from_value(costs()).unwrap();
    let paired = compare_costs(&logistic.predictions, &prior.predictions, &costs, 1).unwrap();
    assert!(paired.upper < 0.0 && paired.lower < paired.difference, "{paired:?}");
    let cost = |fitted: &Fitted| fitted.report.metric(Metric::Cost).unwrap().value.unwrap();
    assert!((paired.new - cost(&logistic)).abs() < 1e-9 && (paired.old - cost(&prior)).abs() < 1e-9);
    let other = train(&json!({"seed": 8}));
    let error = compare_costs(&logistic.predictions, &other.predictions, &costs, 1).unwrap_err();
    assert!(matches!(error, Error::Unpaired(_)), "{error}");
}

#[test]
fn a_search_keeps_the_best_trial() {
    let fitted = train(&json!({
        "cv": {"folds": 3, "by": "stratified"},
        "search": {"method": "grid", "metric": "log_loss", "space": {"l2": [1e4, 1.0, 1e6], "max_categories": [2, 4]}},
    }));
    let search = fitted.report.search.unwrap();
    assert_eq!((search.trials.len(), search.folds), (6, 3));
    let best = &search.trials[search.best as usize];
    assert!(search.trials.iter().all(|trial| trial.value.unwrap() >= best.value.unwrap()));
    assert_eq!(best.parameters["l2"], json!(1.0));
    assert_eq!(fitted.report.parameters["l2"], json!(1.0));
    assert_eq!(fitted.report.parameters["max_categories"], best.parameters["max_categories"]);
    // The cross-validation of the report is that of the best trial.
    let cv = fitted.report.cv.unwrap();
    let loss = cv.metrics.iter().find(|metric| metric.metric == Metric::LogLoss).unwrap();
    assert_eq!(loss.mean, best.value);
}

#[test]
fn importance_finds_what_matters() {
    let fitted = train(&json!({"algorithm": "ridge", "task": {"kind": "regression", "target": "delay"},
                              "drop": ["id", "late", "band", "day"], "metrics": ["rmse", "r2"]}));
    let names: Vec<&str> = fitted.report.importance.iter().map(|column| column.column.as_str()).collect();
    assert_eq!(names, ["wind", "airport", "distance", "constant"]);
    assert_eq!(fitted.report.importance[3].mean, 0.0);
    assert_eq!(fitted.report.importance_metric, Metric::Rmse);
}

#[test]
fn what_somebody_should_look_at() {
    let leaking = train(&json!({"drop": ["delay"], "split": {"by": "time", "column": "day"}}));
    for part in [
        "column `constant` has one value only in the training rows",
        "column `band` alone predicts the target perfectly",
    ] {
        // `band` has three values, of which one is exactly the late flights.
        let found = leaking.report.warnings.iter().any(|warning| warning.contains(part));
        assert!(found, "{part}: {:?}", leaking.report.warnings);
    }
    let useless = train(&json!({"algorithm": "prior", "costs": costs(), "split": {"test": 0.03}}));
    assert!(useless.report.warnings.iter().any(|warning| warning.contains("it does not pay")));
    assert!(useless.report.warnings.iter().any(|warning| warning.contains("figures about it are vague")));
}

#[test]
fn metrics_that_are_asked_for() {
    let fitted = train(&json!({"metrics": ["brier", "accuracy", "brier"]}));
    let metrics: Vec<Metric> = fitted.report.test.iter().map(|value| value.metric).collect();
    assert_eq!(metrics, [Metric::Brier, Metric::Accuracy]);
    let value = &fitted.report.test[0];
    let interval = value.interval.unwrap();
    assert!(interval.lower < value.value.unwrap() && value.value.unwrap() < interval.upper);
    // The plain function says the same.
    let (truth, p) = (text(&fitted.predictions, "target"), text(&fitted.predictions, "probability"));
    let scored = tidemill_train::metric::Scored {
        truth: tidemill_train::metric::Truth::Classes {
            values: truth.iter().map(|t| t.parse().unwrap()).collect(),
            classes: 2,
        },
        answers: p.iter().map(|p| p.parse().unwrap()).collect(),
        weights: Some(text(&fitted.predictions, "weight").iter().map(|w| w.parse().unwrap()).collect()),
    };
    let plain = measure(&scored, Metric::Brier, &Decision::default()).unwrap();
    assert!((plain - value.value.unwrap()).abs() < 1e-12);
}

#[test]
fn declarations_and_tables_that_cannot_be_used() {
    let check = |changes: Value, message: &str, hint: &str| {
        let error = fit(&flights(120), &declared(&changes), 0, &Quiet).unwrap_err();
        assert_eq!(error.to_string(), message, "{changes}");
        assert_eq!(error.hint().unwrap_or_default(), hint, "{changes}");
    };
    let task = |target: &str| json!({"kind": "classification", "target": target});
    check(json!({"task": task("lat")}), "target column `lat` is not in the table", "did you mean `late`?");
    check(
        json!({"task": null}),
        "the training does not say what is predicted",
        "add `task: {kind: classification, target: COLUMN}` to the training or to the objective",
    );
    check(
        json!({"task": {"kind": "classification", "target": "band", "positive": "latte"}}),
        "positive value `latte` does not occur in target column `band`",
        "did you mean `late`?",
    );
    check(
        json!({"task": {"kind": "classification", "target": "band", "positive": "late"}}),
        "parameter `positive` is late: it is for two classes, and `band` has 3",
        "",
    );
    check(
        json!({"task": task("constant")}),
        "target column `constant` has one value only, `true`, in the table rows",
        "there is nothing to learn; look at the rows that were selected and at the split",
    );
    check(
        json!({"task": task("airport")}),
        &airport_message(),
        "leave such rows out in the step that makes the table, for example `where airport is not null`",
    );
    check(
        json!({"algorithm": "ridge"}),
        "parameter `algorithm` is ridge: it is for regression; use `logistic`",
        "",
    );
    check(
        json!({"weight": "wieght"}),
        "weight column `wieght` is not in the table",
        "did you mean `weight`?",
    );
    check(json!({"drop": ["bandd"]}), "drop column `bandd` is not in the table", "did you mean `band`?");
    check(
        json!({"columns": ["late", "wind"]}),
        "column `late` is named twice: as a feature and as the target",
        "leave it in one place",
    );
    check(
        json!({"split": {"by": "time"}}),
        "split by `time` needs a column",
        "add `column:` to the split, or `time:` to the objective",
    );
    check(
        json!({"split": {"by": "group", "column": "airport"}}),
        &format!("split column `airport` is missing in row {}", first_missing()),
        "leave such rows out, for example `where airport is not null`",
    );
    check(json!({"split": {"test": 1.5}}), "parameter `test` is 1.5: it must be above 0 and below 1", "");
    check(
        json!({"drop": ["id", "delay", "band"]}),
        "feature column `day` has type Date32, which cannot be used: a number, a boolean or text is needed",
        "cast it in the step that makes the table, or add `day` to `drop`",
    );
    check(json!({"metrics": ["rmse"]}), "metric `rmse` cannot be used: it is for regression", "");
    check(json!({"cv": {"folds": 1}}), "parameter `folds` is 1: it must be at least 2", "");
    check(
        json!({"search": {"method": "grid", "metric": "roc_auc", "space": {"l22": [1]}}}),
        "`l22` is not a parameter of `logistic`",
        "did you mean `l2`?",
    );
    check(
        json!({"weight": "delay", "drop": ["id", "band", "day"]}),
        &negative_message(),
        "use weights of 0 or more",
    );
    let error = fit(&[], &declared(&json!({})), 0, &Quiet).unwrap_err().to_string();
    assert_eq!(error, "0 rows are too few for a training: at least 1 are needed");
}

fn first_missing() -> usize {
    let all = concat_batches(&flights(120)[0].schema(), &flights(120)).unwrap();
    text(&all, "airport").iter().position(|airport| airport == "-").unwrap()
}

fn airport_message() -> String {
    let all = concat_batches(&flights(120)[0].schema(), &flights(120)).unwrap();
    let count = text(&all, "airport").iter().filter(|airport| *airport == "-").count();
    format!("target column `airport` is missing in {count} of 120 rows, first in row {}", first_missing())
}

fn negative_message() -> String {
    let all = concat_batches(&flights(120)[0].schema(), &flights(120)).unwrap();
    let delays: Vec<f64> = text(&all, "delay").iter().map(|delay| delay.parse().unwrap()).collect();
    let row = delays.iter().position(|delay| *delay < 0.0).unwrap();
    format!("weight column `delay` holds {} in row {row}: weights must not be negative", delays[row])
}

#[test]
fn a_cancelled_training_ends() {
    let cancel = Cancel::new();
    cancel.cancel();
    let error = fit(&flights(300), &declared(&json!({"cv": {"folds": 3}})), 0, &cancel).unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error}");
}
