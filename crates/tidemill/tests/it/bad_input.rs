//! Tables that are not what they should be.

use crate::fixture::{Project, repository};

const SQL: &str = "
project: bad
data: {t: {path: t.csv}}
pipeline:
  q: {sql: 'select count(*) as n, sum(x) as s from t', inputs: [t], outs: [q.parquet]}
";

fn csv(rows: usize, change: impl Fn(usize) -> Option<String>) -> String {
    let mut text = String::from("id,x\n");
    for i in 1..=rows {
        text.push_str(&change(i).unwrap_or_else(|| format!("{i},{}", i % 10)));
        text.push('\n');
    }
    text
}

#[test]
fn a_wrong_type_far_down_is_named_with_its_row() {
    let project = Project::new(SQL);
    project.write("t.csv", csv(80_000, |i| (i == 70_000).then(|| format!("{i},oops"))));
    project.run(&["run"]).fails(1, &["t.csv", "70000", "`x`", "oops"]);
    assert!(!project.has("q.parquet"));
}

#[test]
fn ragged_rows_are_named_with_their_line() {
    let project = Project::new(SQL);
    project.write("t.csv", csv(100, |i| (i == 50).then(|| "50,1,2".to_owned())));
    project.run(&["run"]).fails(1, &["t.csv", "51"]);
    assert!(!project.has("q.parquet"));
}

#[test]
fn a_truncated_parquet_file_is_named() {
    let project = Project::new(&SQL.replace("t.csv", "t.parquet"));
    let whole = fs_err::read(repository().join("examples/flights/data/planes.parquet")).unwrap();
    for length in [0, 3, 100, whole.len() / 2, whole.len() - 1] {
        project.write("t.parquet", &whole[..length]);
        project.run(&["run"]).fails(1, &["t.parquet"]);
        assert!(!project.has("q.parquet"), "{length}");
    }
}

#[test]
fn queries_say_what_is_wrong_and_where() {
    let project = Project::new(SQL);
    project.write("t.csv", csv(10, |_| None));
    for (query, texts) in [
        ("select idd from t", &["idd", "did you mean `id`?"][..]),
        ("select id from tt", &["tt", "did you mean `t`?"][..]),
        ("select id frm t", &["q"][..]),
        ("drop table t", &["select"][..]),
        ("select random() as r from t", &["random"][..]),
        ("select * from '/etc/passwd'", &["/etc/passwd"][..]),
    ] {
        project.write(
            "tidemill.yaml",
            SQL.replace("select count(*) as n, sum(x) as s from t", &query.replace('\'', "''")),
        );
        let ran = project.run(&["run"]);
        assert_eq!(ran.code, Some(1), "{query}: {ran}");
        let lower = ran.stderr.to_lowercase();
        for text in texts {
            assert!(lower.contains(&text.to_lowercase()), "{query}: `{text}` is not in {ran}");
        }
        assert!(!project.has("q.parquet"), "{query}");
    }
}

#[test]
fn broken_expectations_stop_before_anything_runs() {
    let project = Project::new(
        "
project: expect
data:
  t:
    path: t.csv
    expect:
      - not_null: [id]
      - between: {column: x, min: 0, max: 5}
      - unique: [id]
        severity: warn
pipeline:
  q: {sql: 'select * from t', inputs: [t], outs: [q.parquet]}
",
    );
    project.write("t.csv", "id,x\n1,3\n1,9\n,2\n");
    let ran = project.run(&["run"]).fails(1, &["not_null", "between", "x=9", "unique", "nothing was run"]);
    assert!(!project.has("q.parquet"), "{ran}");
    project.run(&["check"]).fails(1, &[]).says(&["broken", "between"]);
    project.write("t.csv", "id,x\n1,3\n1,5\n2,2\n");
    let ran = project.run(&["run"]).good();
    assert!(ran.stderr.contains("unique"), "{ran}");
    assert!(project.has("q.parquet"));
}

#[test]
fn trainings_say_what_is_wrong() {
    let training = "
project: bad
objective: {task: {kind: classification, target: y}}
pipeline:
  train:
    train: {algorithm: logistic, features: t.csv, seed: 1}
    outs: [model]
";
    let project = Project::new(training);
    for (table, texts) in [
        ("a,b\n1,2\n3,4\n", &["`y`"][..]),
        ("a,y\n1,1\n2,1\n3,1\n4,1\n5,1\n6,1\n7,1\n8,1\n9,1\n10,1\n", &["one value only"][..]),
        ("a,y\n1,1\n2,0\n", &["row"][..]),
    ] {
        project.write("t.csv", table);
        let ran = project.run(&["run"]).fails(1, texts);
        assert!(!project.has("model"), "{ran}");
    }
}
