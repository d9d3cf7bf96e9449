//! Expectations: every rule, holding and broken.

use serde_json::json;
use tidemill_core::declare::{Expectation, Severity};
use tidemill_data::expect::Limits;
use tidemill_data::{CheckResult, Table, evaluate};

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
