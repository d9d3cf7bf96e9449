//! Expectations: every rule, holding and broken.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use serde_json::json;
use tidemill_core::Timestamp;
use tidemill_core::declare::{Expectation, Severity};
use tidemill_data::expect::{Limits, Others, Surroundings, evaluate_in};
use tidemill_data::{CheckResult, Error, Table, evaluate};

use crate::python::months;
use crate::read::generated;

fn rules(json: serde_json::Value) -> Vec<Expectation> {
    serde_json::from_value(json).unwrap()
}

fn check(table: &Table, json: serde_json::Value) -> Vec<CheckResult> {
    evaluate(table, "flights", &rules(json), &Limits::default()).unwrap()
}

#[test]
fn the_example_projects_rules_hold() {
    let table = Table::open(&months(12), None).unwrap();
    let results = check(
        &table,
        json!([
            {"not_null": ["carrier", "origin", "dest", "sched_dep_time"]},
            {"between": {"column": "distance", "min": 0, "max": 6000}},
            {"in_set": {"column": "origin", "values": ["EWR", "JFK", "LGA"]}},
            {"unique": ["year", "month", "day", "carrier", "flight", "origin", "sched_dep_time"]},
            {"row_count": {"min": 1000}},
            {"between": {"column": "time_hour", "min": "2013-01-01", "max": "2014-01-01T05:00:00Z"}},
            {"regex": {"column": "carrier", "pattern": "^[A-Z0-9]{2}$"}},
            {"schema": {"year": "int", "carrier": "string", "time_hour": "timestamp"}},
        ]),
    );
    for result in &results {
        assert!(result.passed, "{result:?}");
        assert_eq!((result.failed, result.sample.len()), (0, 0));
    }
    assert_eq!(results[0].checked, 336_776);
    assert_eq!(results[0].rule, "not_null: [carrier, origin, dest, sched_dep_time]");
    assert_eq!(results[4].message, "336776 rows");
}

#[test]
fn broken_rules_say_which_rows() {
    let table = generated(
        vec![1, 2, 2, 4, 2],
        vec![Some("a".to_owned()), None, Some("b1".to_owned()), Some("c".to_owned()), None],
        vec![Some(1.0), Some(-1.0), None, Some(f64::NAN), Some(9.5)],
    );
    let results = check(
        &table,
        json!([
            {"not_null": ["name", "id"]},
            {"unique": ["id"]},
            {"in_set": {"column": "name", "values": ["a", "c"]}, "severity": "warn"},
            {"between": {"column": "value", "min": 0, "max": 9.5}},
            {"regex": {"column": "name", "pattern": "^[a-z]$"}},
            {"row_count": {"min": 6, "max": 10}},
            {"schema": {"id": "float", "name": "strnig"}},
            {"in_set": {"column": "id", "values": [1, 2]}},
        ]),
    );
    let found: Vec<(bool, u64, Vec<u64>)> = results
        .iter()
        .map(|result| (result.passed, result.failed, result.sample.iter().map(|row| row.row).collect()))
        .collect();
    assert_eq!(
        found,
        [
            (false, 2, vec![2, 5]),
            (false, 2, vec![3, 5]),
            (false, 1, vec![3]),
            (false, 2, vec![2, 4]),
            (false, 1, vec![3]),
            (false, 1, vec![]),
            (false, 2, vec![]),
            (false, 1, vec![4]),
        ]
    );
    assert_eq!(results[0].message, "2 of 5 rows have a null in `name`, `id`");
    assert_eq!(results[1].message, "2 of 5 rows repeat the `id` of an earlier row");
    assert_eq!(results[1].sample[0].cells["id"], json!(2));
    assert_eq!(results[2].severity, Severity::Warn);
    assert_eq!(results[5].message, "5 rows, fewer than 6");
    assert_eq!(results[6].message, "`id` is int, not float; there is no type `strnig`");
    assert_eq!(results[6].hint.as_deref(), Some("did you mean `string`?"));
}

#[test]
fn rules_that_cannot_be_judged_fail_with_the_reason() {
    let table = generated(vec![1], vec![None], vec![None]);
    let results = check(
        &table,
        json!([
            {"not_null": ["nmae"]},
            {"between": {"column": "id", "min": "a"}},
            {"regex": {"column": "name", "pattern": "("}},
            {"regex": {"column": "id", "pattern": "a"}},
            {"unique": []},
        ]),
    );
    let messages: Vec<&str> = results.iter().map(|result| result.message.as_str()).collect();
    assert_eq!(messages[0], "there is no column `nmae`");
    assert_eq!(results[0].hint.as_deref(), Some("did you mean `name`?"));
    assert_eq!(messages[1], "\"a\" cannot be compared with a column of type int");
    assert!(messages[2].starts_with("`(` is not a regular expression: unclosed group"), "{}", messages[2]);
    assert_eq!(messages[3], "column `id` is int, not text");
    assert!(results.iter().all(|result| !result.passed));
}

#[test]
fn samples_are_bounded() {
    let table = generated(vec![7; 1000], vec![None; 1000], vec![None; 1000]);
    let limits = Limits { sample_rows: 3, memory: 4096, ..Limits::default() };
    let results =
        evaluate(&table, "t", &rules(json!([{"not_null": ["name"]}, {"unique": ["id"]}])), &limits).unwrap();
    assert_eq!((results[0].failed, results[0].sample.len()), (1000, 3));
    // The memory is too small for the keys, which go to files on the way.
    assert_eq!((results[1].failed, results[1].sample.len()), (999, 3));
    assert_eq!(results[1].sample[0].row, 2);
}

#[cfg(feature = "sql")]
#[test]
fn sql_rules() {
    let table = Table::open(&months(1), None).unwrap();
    let results = check(
        &table,
        json!([
            {"sql": {"assert": "select count(*) = 0 from flights where air_time < 0"}},
            {"sql": {"assert": "select count(*) = 0 from flights where air_time < 100"}},
            {"sql": {"assert": "select count(*) from flights"}},
            {"sql": {"assert": "select count(*) = 0 from flihgts"}},
        ]),
    );
    assert!(results[0].passed);
    assert_eq!((results[1].passed, results[1].message.as_str()), (false, "the query answers false"));
    assert!(results[2].message.contains("must answer with one row and one column holding true or false"));
    assert!(results[3].message.contains("there is no table `flihgts`"), "{}", results[3].message);
    assert!(results[3].hint.as_ref().unwrap().contains("did you mean `flights`?"));
}

#[cfg(feature = "sql")]
#[tokio::test]
async fn sql_rules_from_async_code() {
    let table = generated(vec![1], vec![None], vec![None]);
    let results = evaluate(
        &table,
        "t",
        &rules(json!([{"sql": {"assert": "select max(id) = 1 from t"}}])),
        &Limits::default(),
    );
    assert!(results.unwrap()[0].passed);
}

/// Two tables by name, for rules that look at others.
struct Two(Table, Table);

impl Others for Two {
    fn table(&self, name: &str) -> Result<Table, Error> {
        match name {
            "first" => Ok(self.0.clone()),
            "second@2" => Ok(self.1.clone()),
            _ => Err(Error::Unusable(format!("there is no dataset `{name}`"))),
        }
    }
}

fn check_in(table: &Table, others: &dyn Others, json: serde_json::Value) -> Vec<CheckResult> {
    let now = Timestamp::from_millis(1_357_171_200_000);
    let around = Surroundings { now: Some(now), others, ..Surroundings::default() };
    let limits = Limits { redact: vec!["name".to_owned()], ..Limits::default() };
    evaluate_in(table, "flights", &rules(json), &limits, &around).unwrap()
}

fn outcome(results: &[CheckResult]) -> Vec<(bool, u64, Vec<u64>)> {
    let rows = |result: &CheckResult| result.sample.iter().map(|row| row.row).collect();
    results.iter().map(|result| (result.passed, result.failed, rows(result))).collect()
}

fn people() -> Table {
    generated(
        vec![1, 2, 2, 4, 3],
        ["ann", "bo", "", "bo", "dora"].map(|name| Some(name.to_owned())).to_vec(),
        vec![Some(1.0), Some(2.0), None, Some(3.5), Some(9.5)],
    )
}

#[test]
fn rules_on_rows() {
    let table = people();
    let results = check_in(
        &table,
        &Two(people(), people()),
        json!([
            {"not_in_set": {"column": "name", "values": ["bo"]}},
            {"not_regex": {"column": "name", "pattern": "^b"}},
            {"length": {"column": "name", "min": 1, "max": 3}},
            {"monotonic": {"column": "id"}},
            {"monotonic": {"column": "id", "strict": true}},
            {"monotonic": {"column": "value"}},
            {"monotonic": {"column": "value", "order": "decreasing"}},
            {"compare": {"left": "id", "is": "<=", "right": "value"}},
            {"compare": {"left": "id", "is": "<", "right": "name"}},
        ]),
    );
    assert_eq!(
        outcome(&results),
        [
            (false, 2, vec![2, 4]),
            (false, 2, vec![2, 4]),
            (false, 2, vec![3, 5]),
            (false, 1, vec![5]),
            (false, 2, vec![3, 5]),
            (true, 0, vec![]),
            (false, 3, vec![2, 4, 5]),
            (false, 1, vec![4]),
            (false, 1, vec![]),
        ]
    );
    assert_eq!(results[0].sample[0].cells["name"], "(redacted)");
    assert_eq!(results[8].message, "`id` is int and `name` is string, which do not compare");
}

#[test]
fn rules_on_figures() {
    let results = check_in(
        &people(),
        &Two(people(), people()),
        json!([
            {"mean_between": {"column": "value", "min": 4, "max": 4}},
            {"std_between": {"column": "value", "min": 3.8, "max": 3.81}},
            {"sum_between": {"column": "value", "min": 16, "max": 16}},
            {"quantile_between": {"column": "value", "quantile": 0.5, "min": 2, "max": 2}},
            {"distinct_count": {"column": "id", "min": 4, "max": 4}},
            {"null_share": {"column": "value", "max": 0.1}},
            {"column_count": {"min": 3, "max": 3}},
            {"mean_between": {"column": "name", "min": 4}},
            {"freshness": {"column": "id", "max_age": "1d"}},
        ]),
    );
    let passed: Vec<bool> = results.iter().map(|result| result.passed).collect();
    assert_eq!(passed, [true, true, true, true, true, false, true, false, false], "{results:#?}");
    assert_eq!(results[5].message, "the share of nulls of `value` is 0.2, more than 0.1");
    assert_eq!(results[5].observed, Some(0.2));
    assert_eq!(results[7].message, "column `name` is string, not a number");
}

/// A sketch of many values forgets the ends; a rule on them does not.
#[test]
fn the_least_and_the_largest_value_are_exact() {
    let values: Int64Array = (0..200_000_i64).map(|row| Some((row * 7_919) % 200_000 - 3)).collect();
    let batch = RecordBatch::try_from_iter([("x", Arc::new(values) as ArrayRef)]).unwrap();
    let results = check_in(
        &Table::from_batches(batch.schema(), vec![batch]).unwrap(),
        &Two(people(), people()),
        json!([
            {"quantile_between": {"column": "x", "quantile": 0, "min": -3, "max": -3}},
            {"quantile_between": {"column": "x", "quantile": 1, "min": 199_996, "max": 199_996}},
            {"quantile_between": {"column": "x", "quantile": 0, "min": 0}},
            {"quantile_between": {"column": "x", "quantile": 0.5, "min": 98_000, "max": 102_000}},
        ]),
    );
    let passed: Vec<bool> = results.iter().map(|result| result.passed).collect();
    assert_eq!(passed, [true, true, false, true], "{results:#?}");
    assert_eq!(results[2].message, "the least value of `x` is -3, less than 0");
    assert!(results[3].message.starts_with("the median of `x` is "), "{}", results[3].message);
}

#[test]
fn fresh_data_are_told_from_old() {
    let table = Table::open(&months(1), None).unwrap();
    let old = check_in(
        &table,
        &Two(people(), people()),
        json!([
            {"freshness": {"column": "time_hour", "max_age": "1h"}},
            {"freshness": {"column": "time_hour", "max_age": "nonsense"}},
        ]),
    );
    // The clock stands at 2013-01-03, before the month's end: nothing is too old then.
    assert!(old[0].passed, "{:?}", old[0]);
    assert!(!old[1].passed && old[1].message.contains("no age"));
    // The newest row is of noon on 2013-01-01, 36 hours before the clock.
    let noon = 1_357_041_600_000_000;
    let times = TimestampMicrosecondArray::from(vec![Some(noon - 3_600_000_000), None, Some(noon)]);
    let batch = RecordBatch::try_from_iter([("at", Arc::new(times) as ArrayRef)]).unwrap();
    let table = Table::from_batches(batch.schema(), vec![batch]).unwrap();
    let ages = check_in(
        &table,
        &Two(people(), people()),
        json!([
            {"freshness": {"column": "at", "max_age": "37h"}},
            {"freshness": {"column": "at", "max_age": "35h"}},
        ]),
    );
    assert!(ages[0].passed && !ages[1].passed, "{ages:?}");
    assert!(ages[1].message.contains("36"), "{}", ages[1].message);
    // Of a column whose values are not shown, neither the time nor the age, which tells it.
    let limits = Limits { redact: vec!["at".to_owned()], ..Limits::default() };
    let now = Timestamp::from_millis(1_357_171_200_000);
    let around = Surroundings { now: Some(now), ..Surroundings::default() };
    let rule = rules(json!([{"freshness": {"column": "at", "max_age": "35h"}}]));
    let hidden = evaluate_in(&table, "flights", &rule, &limits, &around).unwrap();
    assert_eq!((hidden[0].passed, hidden[0].observed), (false, None));
    assert_eq!(hidden[0].message, "the newest `at` is older than 35h; its values are not shown");
}

#[test]
fn some_rows_may_break_a_rule() {
    let results = check(
        &people(),
        json!([
            {"between": {"column": "value", "max": 9}, "mostly": 0.75},
            {"between": {"column": "value", "max": 3}, "mostly": 0.75},
            {"not_null": ["value"], "mostly": 0.8},
            {"not_null": ["value"], "mostly": 0.81},
        ]),
    );
    let passed: Vec<bool> = results.iter().map(|result| result.passed).collect();
    assert_eq!(passed, [true, false, true, false], "{results:#?}");
    assert_eq!(
        results[1].message,
        "2 of 4 rows have a `value` outside of the bounds; 50.00 % hold, and 75 % must"
    );
}

#[cfg(feature = "sql")]
#[test]
fn conditions_choose_the_rows() {
    let results = check(
        &people(),
        json!([
            {"between": {"column": "value", "max": 3}, "where": "id < 4 and name <> 'dora'"},
            {"between": {"column": "value", "max": 3}, "where": "id >= 3"},
            {"unique": ["id"], "where": "value is not null"},
            {"mean_between": {"column": "value", "min": 1.5, "max": 1.5}, "where": "id <= 2"},
            {"not_null": ["value"], "where": "length(name) = 0"},
            {"not_null": ["value"], "where": "id + 1"},
            {"not_null": ["value"], "where": "nothing = 1"},
            {"row_count": {"min": 1}, "where": "id = 1"},
        ]),
    );
    assert_eq!(
        outcome(&results)[..5],
        [
            (true, 0, vec![]),
            (false, 2, vec![4, 5]),
            (true, 0, vec![]),
            (true, 0, vec![]),
            (false, 1, vec![3]),
        ],
        "{results:#?}"
    );
    assert!(results[5].message.contains("not true or false"), "{}", results[5].message);
    assert!(!results[6].passed && !results[7].passed);
    assert_eq!((results[0].checked, results[4].checked), (3, 1));
}

#[test]
fn other_datasets_are_looked_at() {
    let others = Two(
        generated(
            vec![1, 2, 3],
            vec![Some("ann".to_owned()), Some("bo".to_owned()), None],
            vec![Some(1.0), None, None],
        ),
        people(),
    );
    let results = check_in(
        &people(),
        &others,
        json!([
            {"foreign_key": {"columns": ["id"], "to": "first"}},
            {"foreign_key": {"columns": ["name"], "to": "first"}, "mostly": 0.5},
            {"foreign_key": {"columns": ["value"], "to": "first", "key": ["id"]}},
            {"no_leakage": {"from": "second@2"}},
            {"no_leakage": {"from": "first", "columns": ["id", "name"]}},
            {"no_new_categories": {"columns": ["name"], "against": "first"}},
            {"no_new_categories": {"columns": ["name"], "against": "second@2"}},
            {"foreign_key": {"columns": ["id"], "to": "third"}},
        ]),
    );
    assert_eq!(
        outcome(&results),
        [
            (false, 1, vec![4]),
            (true, 2, vec![3, 5]),
            (false, 1, vec![]),
            (false, 5, vec![1, 2, 3, 4, 5]),
            (false, 2, vec![1, 2]),
            (false, 2, vec![]),
            (true, 0, vec![]),
            (false, 1, vec![]),
        ],
        "{results:#?}"
    );
    assert_eq!(results[5].severity, Severity::Warn);
    // The values of a redacted column are not named.
    assert_eq!(results[5].message, "2 rows have values that were not there: `name` has 2");
    assert_eq!(results[7].message, "there is no dataset `third`");
}

#[test]
fn shifted_months_break_drift_below() {
    let files = months(7);
    let table = |month: usize| Table::open(std::slice::from_ref(&files[month]), None).unwrap();
    let others = Two(table(0), table(6));
    let results = check_in(
        &table(6),
        &others,
        json!([
            {"drift_below": {"against": "first", "columns": ["dep_delay", "carrier"]}},
            {"drift_below": {"against": "second@2", "columns": ["dep_delay", "carrier"]}},
            {"drift_below": {"against": "second@2"}, "severity": "error"},
        ]),
    );
    assert_eq!(
        results.iter().map(|result| result.passed).collect::<Vec<_>>(),
        [false, true, true],
        "{results:#?}"
    );
    assert!(results[0].message.contains("columns moved"), "{}", results[0].message);
    assert_eq!(results[2].severity, Severity::Error);
}
