//! What tests of models ask, on whole trainings, against Python and against faults that were put there on purpose.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray, UInt64Array,
};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Float64Type, Int64Type, UInt64Type};
use serde_json::json;
use tidemill_core::declare::Metric;
use tidemill_core::{Outcome, Quiet};
use tidemill_stats::random::Random;
use tidemill_stats::slices::Search;
use tidemill_train::probe::{
    Loss, alone, calibrated, coded, compare, groups, losses, overlap, raised, replaced, shuffled, smoke,
    value, values_of, with_missing, with_noise, worst,
};
use tidemill_train::{Error, Fitted, fit, with_answers};

use crate::fit::{declared, flights};
use crate::python::python;

fn train(rows: usize, changes: &serde_json::Value) -> Fitted {
    fit(&flights(rows), &declared(changes), 0, &Quiet).unwrap()
}

/// The rows that a table of predictions is about.
fn held_out(rows: usize, predictions: &RecordBatch) -> RecordBatch {
    let table = flights(rows);
    let whole = concat_batches(&table[0].schema(), &table).unwrap();
    let places = predictions.column_by_name("row").unwrap().as_primitive::<UInt64Type>();
    take_record_batch(&whole, places).unwrap()
}

fn numbers(batch: &RecordBatch, name: &str) -> Vec<f64> {
    batch.column_by_name(name).unwrap().as_primitive::<Float64Type>().values().to_vec()
}

fn texts(batch: &RecordBatch, name: &str) -> Vec<Option<String>> {
    let array = arrow::compute::cast(batch.column_by_name(name).unwrap(), &DataType::Utf8).unwrap();
    array.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
}

#[track_caller]
fn close(found: f64, expected: &serde_json::Value) {
    let expected = expected.as_f64().unwrap();
    assert!((found - expected).abs() < 1e-9, "{found} and {expected}");
}

#[test]
fn figures_of_a_table_are_those_of_python() {
    let fitted = train(4_000, &json!({}));
    let weaker = train(4_000, &json!({"drop": ["id", "delay", "band", "day", "wind"]}));
    let (new, old) = (&fitted.predictions, &weaker.predictions);
    let rows = held_out(4_000, new);
    let expected = python(
        "
import numpy as np
from sklearn import metrics as m
y = np.array([int(v) for v in data['y']]); p, q, w = (np.array(data[k]) for k in 'pqw')
said = np.array([int(v) for v in data['said']]); g = np.array([v or 'missing' for v in data['g']])
order = np.argsort(p, kind='stable')
middle = (np.cumsum(w[order]) - w[order] / 2) / w.sum()
bins = [order[np.minimum(middle * 15, 14).astype(int) == k] for k in range(15)]
mean = lambda v, b: np.average(v[b], weights=w[b])
ece = sum(w[b].sum() / w.sum() * abs(mean(p, b) - mean(y, b)) for b in bins)
def gap(f): v = [f(g == k) for k in np.unique(g)]; return max(v) - min(v)
selected = lambda k: np.average(said[k], weights=w[k])
tpr = lambda k: m.recall_score(y[k], said[k], sample_weight=w[k])
fpr = lambda k: 1 - m.recall_score(1 - y[k], 1 - said[k], sample_weight=w[k])
answer = {'ece': ece, 'brier': m.brier_score_loss(y, p, sample_weight=w), 'dp': gap(selected), 'eo': gap(tpr),
          'odds': max(gap(tpr), gap(fpr)),
          'auc': [m.roc_auc_score(y, v, sample_weight=w) for v in (p, q)],
          'log_loss': [m.log_loss(y, v, sample_weight=w) for v in (p, q)],
          'error': list((said != y).astype(float)), 'll': list(-np.log(np.where(y == 1, p, 1 - p)))}
",
        &json!({"y": texts(new, "target"), "p": numbers(new, "probability"), "q": numbers(old, "probability"),
                "w": numbers(new, "weight"), "said": texts(new, "label"), "g": texts(&rows, "airport")}),
    );
    let found = calibrated(new, None, 15).unwrap().unwrap();
    close(found.figures.ece, &expected["ece"]);
    close(found.figures.brier, &expected["brier"]);
    assert!(found.chance > 0.0 && found.chance < 0.2, "{}", found.chance);

    let fair = groups(new, &rows, "airport", 1, 0.95).unwrap().fairness;
    close(fair.demographic_parity.as_ref().unwrap().difference.estimate, &expected["dp"]);
    close(fair.equal_opportunity.as_ref().unwrap().difference.estimate, &expected["eo"]);
    close(fair.equalized_odds_difference().unwrap().difference.estimate, &expected["odds"]);

    for (metric, name, sign) in [(Metric::RocAuc, "auc", 1.0), (Metric::LogLoss, "log_loss", -1.0)] {
        let found = compare(new, old, metric, 0.9).unwrap();
        close(found.new, &expected[name][0]);
        close(found.old, &expected[name][1]);
        assert!((found.gain.estimate - sign * (found.new - found.old)).abs() < 1e-12);
        // Without the wind it is clearly worse, and each interval contains its estimate.
        assert!(found.gain.low > 0.0 && found.gain.contains(found.gain.estimate), "{found:?}");
        let other = compare(old, new, metric, 0.9).unwrap();
        assert!(other.gain.high < 0.0, "{other:?}");
        let same = compare(new, new, metric, 0.9).unwrap();
        assert_eq!((same.gain.low, same.gain.estimate, same.gain.high), (0.0, 0.0, 0.0));
    }
    for (loss, name) in [(Loss::Error, "error"), (Loss::LogLoss, "ll")] {
        for (found, expected) in losses(new, loss).unwrap().iter().zip(expected[name].as_array().unwrap()) {
            close(*found, expected);
        }
    }
}

#[test]
fn without_weights_the_interval_of_the_area_is_the_bootstraps() {
    let declared = |drop: &[&str]| json!({"drop": drop, "weight": null});
    let new = train(4_000, &declared(&["id", "delay", "band", "day", "weight"])).predictions;
    let old = train(4_000, &declared(&["id", "delay", "band", "day", "weight", "distance"])).predictions;
    let found = compare(&new, &old, Metric::RocAuc, 0.9).unwrap();
    let expected = python(
        "
import numpy as np
from sklearn.metrics import roc_auc_score as auc
y, p, q = np.array([int(v) for v in data['y']]), np.array(data['p']), np.array(data['q'])
rng, d = np.random.default_rng(1), []
for _ in range(1500):
    i = rng.integers(0, len(y), len(y)); d.append(auc(y[i], p[i]) - auc(y[i], q[i]))
answer = [float(np.quantile(d, .05)), float(np.quantile(d, .95))]
",
        &json!({"y": texts(&new, "target"), "p": numbers(&new, "probability"), "q": numbers(&old, "probability")}),
    );
    let width = found.gain.high - found.gain.low;
    for (found, expected) in [(found.gain.low, &expected[0]), (found.gain.high, &expected[1])] {
        let expected = expected.as_f64().unwrap();
        assert!((found - expected).abs() < 0.15 * width, "{found} {expected} {width}");
    }
}

#[test]
fn other_answers_take_the_place_of_a_tables_own() {
    let band =
        json!({"task": {"kind": "classification", "target": "band"}, "drop": ["id", "delay", "late", "day"]});
    let delay = json!({"algorithm": "ridge", "task": {"kind": "regression", "target": "delay"},
                       "drop": ["id", "band", "late", "day"]});
    for (changes, names) in [
        (json!({}), vec!["probability"]),
        (band, vec!["probability_0", "probability_1", "probability_2"]),
        (delay, vec!["prediction"]),
    ] {
        let predictions = train(900, &changes).predictions;
        let columns: Vec<Vec<f64>> = names.iter().map(|name| numbers(&predictions, name)).collect();
        let mut answers: Vec<Vec<f64>> = (0..predictions.num_rows())
            .map(|row| columns.iter().map(|column| column[row]).collect())
            .collect();
        if names.len() == 1 && names[0] == "probability" {
            answers.iter_mut().for_each(|answer| answer.insert(0, 1.0 - answer[0]));
        }
        assert_eq!(with_answers(&predictions, &answers, None).unwrap(), predictions);
        answers.reverse();
        let other = with_answers(&predictions, &answers, None).unwrap();
        assert_ne!(other, predictions);
        assert_eq!(other.schema().fields(), predictions.schema().fields());
        assert!(matches!(with_answers(&predictions, &answers[1..], None), Err(Error::Unpaired(_))));
        answers[0].push(0.0);
        assert!(matches!(with_answers(&predictions, &answers, None), Err(Error::Unfit(_))));
    }
    // Another version decides by its own threshold.
    let predictions = train(900, &json!({})).predictions;
    let answers: Vec<Vec<f64>> =
        numbers(&predictions, "probability").into_iter().map(|p| vec![1.0 - p, p]).collect();
    let never = with_answers(&predictions, &answers, Some(1.1)).unwrap();
    assert!(texts(&never, "label").iter().all(|label| label.as_deref() == Some("0")));
}

/// 4,000 rows of three columns, on which a model is wrong with chance `usual`, and `bad` where color is red and size large.
fn planted(usual: f64, bad: f64, seed: u64) -> (RecordBatch, Vec<f64>) {
    let mut random = Random::new(seed, 0);
    let (mut color, mut size, mut id, mut loss) = (vec![], vec![], vec![], vec![]);
    for row in 0..4_000_i64 {
        let red = random.below(4) == 0;
        let large = random.unit();
        color.push(if red { Some("red") } else { [Some("blue"), None][random.below(2) as usize] });
        size.push(large);
        id.push(row);
        let chance = if red && large > 0.8 { bad } else { usual };
        loss.push(f64::from(u8::from(random.unit() < chance)));
    }
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("color", Arc::new(StringArray::from(color))),
        ("size", Arc::new(Float64Array::from(size))),
        ("id", Arc::new(Int64Array::from(id))),
    ];
    (RecordBatch::try_from_iter(columns).unwrap(), loss)
}

#[test]
fn a_bad_slice_is_found_and_named_and_luck_is_not() {
    let search = Search { top: 50, ..Search::default() };
    let find = |(rows, loss): (RecordBatch, Vec<f64>)| {
        let columns: Vec<_> =
            ["color", "size", "id"].iter().map(|name| coded(&rows, name, 100).unwrap()).collect();
        worst(&columns, &loss, None, &search).unwrap()
    };
    let found = find(planted(0.1, 0.5, 3));
    let first = &found[0];
    assert!(first.is_flagged && first.worse() > 0.25, "{first:?}");
    assert!(first.conditions.starts_with("color = red and size > 0."), "{first:?}");
    // A constant gain of every row changes nothing about who is worse.
    let (rows, loss) = planted(0.1, 0.5, 3);
    let shifted = find((rows, loss.iter().map(|loss| loss - 7.0).collect()));
    assert_eq!(shifted[0].conditions, first.conditions);
    assert!((shifted[0].mean + 7.0 - first.mean).abs() < 1e-9);
    // Where all rows are alike, something is always worst, and hardly ever flagged.
    let flagged = (0..20).filter(|seed| find(planted(0.2, 0.2, *seed)).iter().any(|slice| slice.is_flagged));
    let flagged = flagged.count();
    assert!(flagged <= 3, "{flagged} of 20 searches found something in noise");
    let (rows, _) = planted(0.1, 0.1, 1);
    let columns = [coded(&rows, "color", 100).unwrap()];
    assert!(worst(&columns, &vec![0.0; 4_000], None, &search).unwrap().is_empty());
    assert!(
        worst(&columns, &[1.0], None, &search).is_err()
            && worst(&columns, &vec![f64::NAN; 4_000], None, &search).is_err()
    );
}

#[test]
fn columns_become_conditions_in_words() {
    let table = RecordBatch::try_from_iter([
        ("few", Arc::new(Int64Array::from(vec![Some(1), Some(1), Some(2), None])) as ArrayRef),
        ("text", Arc::new(StringArray::from(vec!["a", "a", "b", "c"])) as ArrayRef),
    ])
    .unwrap();
    let few = coded(&table, "few", 1).unwrap();
    assert_eq!(few.conditions, ["few is missing", "few = 1", "few = 2"]);
    assert_eq!(few.codes, [1, 1, 2, 0]);
    let text = coded(&table, "text", 2).unwrap();
    assert_eq!(
        (text.conditions, text.codes),
        (vec!["text = a".into(), "text is a rare value".into()], vec![0, 0, 1, 1])
    );
    let many: ArrayRef =
        Arc::new((0..101).map(|n| (n < 100).then_some(f64::from(n))).collect::<Float64Array>());
    let many = coded(&RecordBatch::try_from_iter([("x", many)]).unwrap(), "x", 1).unwrap();
    let words =
        ["x ≤ 19.8", "19.8 < x ≤ 39.6", "39.6 < x ≤ 59.4", "59.4 < x ≤ 79.2", "x > 79.2", "x is missing"];
    assert_eq!(many.conditions, words);
    assert_eq!((many.codes[0], many.codes[20], many.codes[99], many.codes[100]), (0, 1, 4, 5));
    assert!(matches!(coded(&table, "fwe", 1), Err(Error::UnknownColumn { .. })));
}

#[test]
fn rows_are_damaged_as_asked_and_keep_their_types() {
    let table = flights(3_000);
    let rows = concat_batches(&table[0].schema(), &table).unwrap();
    let names = |all: &[&str]| all.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let column = |batch: &RecordBatch, name: &str| -> Vec<f64> {
        let array = arrow::compute::cast(batch.column_by_name(name).unwrap(), &DataType::Float64).unwrap();
        array.as_primitive::<Float64Type>().iter().map(|v| v.unwrap_or(f64::NAN)).collect()
    };
    let deviation = |values: &[f64]| {
        let known: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
        let mean = known.iter().sum::<f64>() / known.len() as f64;
        (known.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (known.len() - 1) as f64).sqrt()
    };
    let noisy = with_noise(&rows, &names(&["distance", "wind", "id", "airport"]), 0.1, 7).unwrap();
    for name in ["distance", "wind", "id"] {
        let (before, after) = (column(&rows, name), column(&noisy, name));
        let gaps: Vec<f64> = before.iter().zip(&after).map(|(a, b)| b - a).collect();
        let share = deviation(&gaps) / deviation(&before);
        assert!((share - 0.1).abs() < 0.01, "{name} {share}");
        assert_eq!(
            rows.column_by_name(name).unwrap().data_type(),
            noisy.column_by_name(name).unwrap().data_type()
        );
        // What is missing stays missing, and nothing else goes.
        assert_eq!(
            rows.column_by_name(name).unwrap().null_count(),
            noisy.column_by_name(name).unwrap().null_count()
        );
    }
    assert_eq!(texts(&noisy, "airport"), texts(&rows, "airport"));
    assert_eq!(noisy, with_noise(&rows, &names(&["distance", "wind", "id", "airport"]), 0.1, 7).unwrap());
    assert_ne!(noisy, with_noise(&rows, &names(&["distance", "wind", "id", "airport"]), 0.1, 8).unwrap());

    let missing = with_missing(&rows, &names(&["distance", "airport"]), 0.2, 7).unwrap();
    let gone = missing.column_by_name("distance").unwrap().null_count();
    assert!((540..660).contains(&gone), "{gone}");
    assert!(missing.column_by_name("airport").unwrap().null_count() > 600);

    let mixed = shuffled(&rows, "wind", 7).unwrap();
    let sorted = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values.into_iter().map(f64::to_bits).collect::<Vec<_>>()
    };
    assert_ne!(mixed.column_by_name("wind"), rows.column_by_name("wind"));
    assert_eq!(sorted(column(&mixed, "wind")), sorted(column(&rows, "wind")));
    assert_eq!(mixed.column_by_name("distance"), rows.column_by_name("distance"));

    let (higher, by) = raised(&rows, "distance", Some(12.5)).unwrap();
    assert_eq!(by, 12.5);
    let gaps = column(&rows, "distance").into_iter().zip(column(&higher, "distance"));
    assert!(gaps.into_iter().all(|(before, after)| (after - before - 12.5).abs() < 1e-9));
    let (higher, by) = raised(&rows, "id", None).unwrap();
    let ids = higher.column_by_name("id").unwrap().as_primitive::<Int64Type>();
    assert_eq!((ids.value(5) as f64, by.fract()), (5.0 + by, 0.0));

    let values = values_of(&rows, "airport", 3).unwrap();
    assert_eq!(values.len(), 3);
    for (text, row) in values {
        let all = replaced(&rows, "airport", row).unwrap();
        assert!(texts(&all, "airport").iter().all(|other| other.as_deref() == Some(&text)));
    }
    assert!(matches!(shuffled(&rows, "wnd", 1), Err(Error::UnknownColumn { .. })));
}

#[test]
fn a_column_that_gives_the_answer_away_and_rows_on_both_sides_are_found() {
    let declared = declared(&json!({"drop": ["id", "band", "day"], "weight": null}));
    let columns = ["airport", "constant", "delay", "distance", "wind"].map(str::to_owned);
    let found = alone(&flights(3_000), &declared, &columns).unwrap();
    assert_eq!(found[0].column, "delay");
    assert!(found[0].value.unwrap() > 0.999, "{found:?}");
    assert!(found[1].value.unwrap() < 0.95, "{found:?}");
    assert_eq!((found[4].column.as_str(), found[4].value), ("constant", Some(0.5)));

    let table = flights(300);
    let whole = concat_batches(&table[0].schema(), &table).unwrap();
    // Rows 0 to 29 once more at the end.
    let places: UInt64Array = (0..300).chain(0..30).collect();
    let table = [take_record_batch(&whole, &places).unwrap()];
    let held_out: HashSet<u64> = (280..320).collect();
    let columns = ["airport", "distance", "wind", "late"].map(str::to_owned);
    assert_eq!(overlap(&table, &held_out, &columns).unwrap(), 20);
    let with_id = ["id".to_owned()];
    assert_eq!(overlap(&table[..1], &(0..5).collect::<HashSet<u64>>(), &with_id).unwrap(), 5);
}

#[test]
fn a_training_shows_the_signs_of_life_that_it_has() {
    let outcomes = |changes: &serde_json::Value| -> Vec<Outcome> {
        let signs = smoke(&flights(1_500), &declared(changes)).unwrap();
        assert_eq!(signs.len(), 6);
        signs.into_iter().inspect(|sign| println!("{sign:?}")).map(|sign| sign.outcome).collect()
    };
    use Outcome::{Failed, NotJudged, Passed};
    let gbdt = json!({"algorithm": "gbdt", "split": {"by": "time", "column": "day"}, "drop": ["id", "delay", "band"]});
    assert_eq!(outcomes(&gbdt), [Passed; 6]);
    let classes = json!({"algorithm": "gbdt", "task": {"kind": "classification", "target": "band"},
                         "drop": ["id", "late", "delay", "day"]});
    assert_eq!(outcomes(&classes), [Passed; 6]);
    let number = json!({"algorithm": "gbdt", "task": {"kind": "regression", "target": "delay"},
                        "drop": ["id", "late", "band", "day"]});
    assert_eq!(outcomes(&number), [Passed; 6]);
    assert_eq!(outcomes(&json!({})), [Passed, Passed, NotJudged, Passed, Passed, Passed]);
    let ridge = json!({"algorithm": "ridge", "task": {"kind": "regression", "target": "delay"},
                       "drop": ["id", "late", "band", "day"]});
    assert_eq!(outcomes(&ridge), [Passed, Passed, NotJudged, Passed, Passed, Passed]);
    // There is nothing to learn from a column that never varies.
    let nothing = json!({"algorithm": "gbdt", "columns": ["constant"], "drop": []});
    assert_eq!(outcomes(&nothing), [Passed, Failed, NotJudged, Passed, Passed, Passed]);
    assert!(smoke(&flights(300), &declared(&json!({"drop": ["nothing"]}))).is_err());
}

#[test]
fn a_metric_of_a_table_is_that_of_the_report() {
    let fitted = train(900, &json!({}));
    for metric in [Metric::RocAuc, Metric::LogLoss, Metric::Accuracy] {
        let reported = fitted.report.metric(metric).unwrap().value.unwrap();
        assert!((value(&fitted.predictions, metric).unwrap() - reported).abs() < 1e-12);
    }
    assert!(matches!(value(&fitted.predictions, Metric::Rmse), Err(Error::MetricUnfit { .. })));
}
