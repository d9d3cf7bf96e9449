//! Outcomes from datasets: what may be written, and what makes no sense.

use tidemill_project::{OutcomeColumns, check_outcome_columns, print};

use crate::{bad, good};

fn project(table: &str) -> String {
    format!(
        "project: p
data: {{labels: {{path: labels.parquet}}}}
serving:
  endpoints:
    loans:
      outcomes:
        - {table}
"
    )
}

fn columns(table: &str) -> OutcomeColumns {
    let project = good(&project(table));
    assert_eq!(good(&print(&project).unwrap()), project);
    project.serving.unwrap().endpoints["loans"].outcomes[0].columns()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(field, column)| ((*field).to_owned(), (*column).to_owned())).collect()
}

#[test]
fn keys_and_values_have_short_and_long_forms() {
    let short = columns("{from: labels, key: customer, values: repaid}");
    assert_eq!(short.keys, pairs(&[("entity", "customer")]));
    assert_eq!((short.values, short.time), (pairs(&[("repaid", "repaid")]), None));
    let long = columns(
        "{from: labels, key: {request_id: id, row: line}, time: decided_at, values: {label: repaid, amount: eur}}",
    );
    assert_eq!(long.keys, pairs(&[("request_id", "id"), ("row", "line")]));
    assert_eq!(long.time.as_deref(), Some("decided_at"));
    assert_eq!(long.values, pairs(&[("label", "repaid"), ("amount", "eur")]));
    let several = columns("{from: labels, key: {entity: customer}, values: [repaid, amount]}");
    assert_eq!(several.values, pairs(&[("repaid", "repaid"), ("amount", "amount")]));
}

#[test]
fn what_makes_no_sense_is_named_with_its_place() {
    for (table, texts) in [
        (
            "{from: lables, key: customer, values: repaid}",
            &["there is no dataset `lables`", "did you mean `labels`?", "7:18"][..],
        ),
        (
            "{from: labels, key: {row: line}, values: repaid}",
            &["the number of a row alone finds no request", "7:31"],
        ),
        ("{from: labels, key: {}, values: repaid}", &["no column finds a request", "`request_id`"]),
        ("{from: labels, key: {client: id}, values: repaid}", &["client"]),
        ("{from: labels, key: customer, values: []}", &["nothing says what became known"]),
        (
            "{from: labels, key: customer, values: {time: decided}}",
            &["`time` cannot be the name of an outcome", "values: {label: decided}", "7:50"],
        ),
        ("{from: labels, key: customer, values: [a, a]}", &["`a` stands here twice"]),
        ("{from: labels, key: '', values: a}", &["the name of the column is empty"]),
        ("{from: labels, values: a}", &["key"]),
        ("{from: labels, key: customer}", &["values"]),
        ("{from: labels, key: customer, value: a}", &["value"]),
    ] {
        let text = bad(&project(table));
        for wanted in texts {
            assert!(text.contains(wanted), "`{wanted}` is not in:\n{text}");
        }
    }
}

#[test]
fn one_declaration_in_two_forms_is_one_too_many() {
    let first = "{from: labels, key: customer, values: {a: a, label: b}, time: at}";
    for (second, is_same) in [
        ("{from: labels, key: customer, values: {a: a, label: b}, time: at}", true),
        ("{from: labels, key: {entity: customer}, values: {label: b, a: a}, time: at}", true),
        ("{from: labels, key: {request_id: customer}, values: {a: a, label: b}, time: at}", false),
        ("{from: labels, key: customer, values: {a: a, label: b}}", false),
        ("{from: labels, key: customer, values: {a: b, label: a}, time: at}", false),
        ("{from: labels, key: customer, values: a, time: at}", false),
    ] {
        let text = project(&format!("{first}\n        - {second}"));
        if is_same {
            let said = bad(&text);
            assert!(said.contains("this stands here twice, first at 7:11"), "{said}");
            assert!(said.contains("tidemill.yaml:8:11") && said.contains("remove one"), "{said}");
        } else {
            good(&text);
        }
    }
    let short = project(
        "{from: labels, key: customer, values: a}\n        - from: labels\n          key: customer\n          values: [a]",
    );
    assert!(bad(&short).contains("this stands here twice, first at 7:11"));
}

#[test]
fn columns_are_held_against_a_version() {
    let project =
        good(&project("{from: labels, key: {entity: customer}, time: at, values: {label: repaid, x: tags}}"));
    let of = ("loans", 0);
    let all =
        [("customer", None), ("at", None), ("repaid", None), ("tags", None), ("more", Some("List(Int64)"))];
    check_outcome_columns(&project, of, "labels@3", &all).unwrap();
    let some = [("custmer", None), ("at", None), ("repaid", None), ("tags", Some("List(Utf8)"))];
    let report = check_outcome_columns(&project, of, "labels@3", &some).unwrap_err();
    let text = report.render(false);
    for wanted in [
        "`labels@3` has no column `customer`",
        "did you mean `custmer`?",
        "7:40",
        "the column `tags` of `labels@3` holds List(Utf8), which is neither number, text nor time",
    ] {
        assert!(text.contains(wanted), "`{wanted}` is not in:\n{text}");
    }
    assert_eq!(report.diagnostics.len(), 2);
}
