//! `tidemill init`: what it writes runs as it is.

use std::fmt::Write as _;

use crate::fixture::{Project, repository};

#[test]
fn an_empty_project_runs() {
    let project = Project::empty();
    project.run(&["init", "--name", "hello"]).good();
    project.run(&["run"]).good();
    assert_eq!(project.read("hello.txt"), "hello, world\n");
    project.run(&["init"]).fails(2, &["exists already", "--force"]);
    assert!(project.read(".gitignore").contains("/.tidemill/"));
}

fn customers() -> String {
    let mut text = String::from("customer_id,since,plan,usage,region,churned\n");
    let mut state = 7_u64;
    for i in 0..1500 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let r = (state >> 33) % 1000;
        let plan = ["basic", "plus", "pro"][(r % 3) as usize];
        let usage = (r * 7 % 500) as f64 / 10.0;
        let churned = u8::from((usage < 15.0) != r.is_multiple_of(11));
        let usage = if r.is_multiple_of(23) { String::new() } else { usage.to_string() };
        writeln!(
            text,
            "C{i:05},20{:02}-{:02}-{:02},{plan},{usage},{},{churned}",
            10 + i / 150,
            1 + i / 13 % 12,
            1 + i % 28,
            ["north", "south"][(r % 2) as usize]
        )
        .unwrap();
    }
    text
}

#[test]
fn a_table_becomes_a_project_that_runs() {
    let project = Project::empty();
    project.write("customers.csv", customers());
    let ran = project.run(&["init", "--data", "customers.csv", "--target", "churned"]).good();
    assert!(ran.stderr.contains("classification"), "{ran}");
    project.run(&["check"]).good().says(&["customers: "]);
    let summary = project.run(&["run", "--json"]).good().json();
    let auc = summary["models"]["train"]["test"]
        .as_array()
        .unwrap()
        .iter()
        .find(|m| m["metric"] == "roc_auc")
        .and_then(|m| m["value"].as_f64())
        .unwrap();
    assert!(auc > 0.8, "{auc}");
    project.run(&["run"]).good().says(&["nothing to do"]);
    project.run(&["reproduce", "last"]).good().says(&["identical"]);
}

#[test]
fn numbers_with_decimal_commas_are_learnt_from() {
    // As a spreadsheet writes them where the comma stands before the fraction.
    let plain = customers();
    let mut lines = plain.lines();
    let mut text = format!("{};turnover\n", lines.next().unwrap().replace(',', ";"));
    for (i, line) in lines.enumerate() {
        let (fields, turnover) = (line.replace(',', ";").replace('.', ","), i * 37 % 5000);
        writeln!(text, "{fields};{}.{:03},{}", 1 + turnover / 1000, turnover % 1000, i % 10).unwrap();
    }
    let project = Project::empty();
    project.write("customers.csv", text);
    let ran = project.run(&["init", "--data", "customers.csv", "--target", "churned"]).good();
    for column in ["usage", "turnover"] {
        let said = format!("`{column}` is text with decimal commas; the features read it as numbers");
        assert!(ran.stderr.contains(&said), "{ran}");
    }
    let sql = project.read("sql/features.sql");
    for line in [
        "  cast(replace(usage, ',', '.') as double) as usage,\n",
        "  cast(replace(replace(turnover, '.', ''), ',', '.') as double) as turnover\n",
    ] {
        assert!(sql.contains(line), "{sql}");
    }
    let summary = project.run(&["run", "--json"]).good().json();
    let test = summary["models"]["train"]["test"].as_array().unwrap().clone();
    let auc = test.iter().find(|m| m["metric"] == "roc_auc").and_then(|m| m["value"].as_f64()).unwrap();
    assert!(auc > 0.8, "{auc}");
    project
        .run(&["init", "--force", "--data", "customers.csv", "--target", "usage"])
        .fails(1, &["its numbers have decimal commas"]);
}

#[test]
fn a_number_becomes_a_regression() {
    let project = Project::empty();
    let data = repository().join("examples/flights/data/planes.parquet");
    project.run(&["init", "--data", data.to_str().unwrap(), "--target", "seats"]).good();
    assert!(project.has("data/planes.parquet"));
    let summary = project.run(&["run", "--json"]).good().json();
    assert_eq!(summary["models"]["train"]["task"]["kind"], "regression");
}

#[test]
fn wrong_names_are_explained() {
    let project = Project::empty();
    project.write("t.csv", "id,price\n1,2\n");
    project
        .run(&["init", "--data", "t.csv", "--target", "prize"])
        .fails(2, &["prize", "did you mean `price`?"]);
    project.run(&["init", "--data", "no.csv", "--target", "x"]).fails(2, &["no.csv"]);
    assert!(!project.has("tidemill.yaml"));
}

const DVC: &str = "\
stages:
  prepare:
    cmd: tr a-z ${case} < raw.txt > clean.txt
    deps: [raw.txt]
    params: [case]
    outs: [clean.txt]
  count:
    foreach: [one, two]
    do:
      cmd: grep -c ${item} clean.txt > ${item}.txt || true
      deps: [clean.txt]
      outs: [\"${item}.txt\"]
plots: [clean.txt]
";

#[test]
fn a_dvc_pipeline_is_taken_over_and_runs() {
    let project = Project::empty();
    project.run(&["init", "--dvc"]).fails(2, &["dvc.yaml", "no such file"]);
    project.write("dvc.yaml", "stages: {a: {deps: [x]}}");
    project.run(&["init", "--dvc"]).fails(2, &["dvc.yaml:1:", "has no `cmd`"]);
    project.write("dvc.yaml", DVC);
    project.write("params.yaml", "case: a-z\n");
    project.write("raw.txt", "one\ntwo\none\n");
    let ran = project.run(&["init", "--dvc", "--name", "moved", "--json"]).good();
    assert!(ran.stderr.contains("not carried over: the section `plots`"), "{ran}");
    assert_eq!(ran.json()["created"][0], "tidemill.yaml");
    assert!(project.read("tidemill.yaml").contains("project: moved\n"));
    project.run(&["run"]).good();
    assert_eq!((project.read("one.txt"), project.read("two.txt")), ("2\n".to_owned(), "1\n".to_owned()));
    project.run(&["run", "--param", "case=A-Z"]).good();
    assert_eq!(project.read("clean.txt"), "ONE\nTWO\nONE\n");
}
