//! Proposals for tables of known kinds.

use serde_json::json;
use tidemill_core::declare::{SplitBy, TaskKind};
use tidemill_data::expect::Limits;
use tidemill_data::infer::Role;
use tidemill_data::{Table, evaluate, propose};

use crate::python::months;
use crate::read::{Files, generated, open};

#[test]
fn flights() {
    let table = Table::open(&months(12), None).unwrap();
    let proposal = propose(&table, "arr_delay").unwrap();
    assert_eq!(proposal.task.kind, TaskKind::Regression);
    let role = |name: &str| proposal.columns.iter().find(|column| column.name == name).unwrap().role;
    for (name, expected) in [
        ("year", Role::Constant),
        ("carrier", Role::Categorical),
        ("tailnum", Role::Id),
        ("time_hour", Role::Time),
        ("distance", Role::Numeric),
        ("arr_delay", Role::Target),
    ] {
        assert_eq!(role(name), expected, "{name}");
    }
    assert_eq!(proposal.time.as_deref(), Some("time_hour"));
    assert_eq!((proposal.split.by, proposal.split.column.as_deref()), (SplitBy::Time, Some("time_hour")));
    assert_eq!(proposal.drop, ["year", "tailnum"]);
    assert!(proposal.notes.iter().any(|note| note.contains("`arr_delay` is null in 9430")));
    // What is proposed holds on the table it was taken from.
    for result in evaluate(&table, "flights", &proposal.expect, &Limits::default()).unwrap() {
        assert!(result.passed, "{}: {}", result.rule, result.message);
    }
}

#[test]
fn two_classes() {
    let files = Files::new();
    let mut text = "customerId,plan,age,zip_code,note,churned\n".to_owned();
    for i in 0..400 {
        let churned = if i % 5 == 0 { "yes" } else { "no" };
        text += &format!(
            "C{i:05},{},{},{},n/a,{churned}\n",
            ["basic", "pro"][i % 2],
            20 + i % 50,
            80_000 + i % 30
        );
    }
    let table = open(&files.write("churn.csv", text)).unwrap();
    let proposal = propose(&table, "churned").unwrap();
    assert_eq!(
        (proposal.task.kind, proposal.task.positive.clone()),
        (TaskKind::Classification, Some(json!("yes")))
    );
    assert_eq!(proposal.split.by, SplitBy::Stratified);
    assert_eq!(proposal.key, ["customerId"]);
    assert_eq!(proposal.drop, ["customerId", "note"]);
    assert_eq!(proposal.categorical, ["zip_code"]);
    let written = serde_json::to_value(&proposal.expect).unwrap();
    assert!(
        written.as_array().unwrap().contains(
            &json!({"in_set": {"column": "churned", "values": ["no", "yes"]}, "severity": "error"})
        ),
        "{written}"
    );
    assert!(
        written
            .as_array()
            .unwrap()
            .contains(&json!({"between": {"column": "age", "min": 0, "max": 94}, "severity": "warn"})),
        "{written}"
    );
}

#[test]
fn targets_that_cannot_be() {
    let table = generated(vec![1, 1, 1], vec![None, None, None], vec![Some(1.0), Some(2.0), Some(3.0)]);
    for (target, why) in [
        ("id", "`id` cannot be the target: it is the same in every row"),
        ("name", "`name` cannot be the target: it is always null"),
        ("nmae", "there is no column `nmae`"),
    ] {
        assert_eq!(propose(&table, target).unwrap_err().to_string(), why);
    }
}
