//! What was not tested, or failed, is not released: the gate of tests from outside, with versions of runs and of MLflow's clients.

use super::process::{Place, Server};
use super::registered::{Api, MODEL};
use super::rollouts::get;
use super::tracked::{register_newest, table};
use super::triggers::Lab;
use crate::fixture::Ran;

/// A pipeline whose data and model can be tested.
pub(super) const PIPELINE: &str = "
data: {rows: {path: data.csv, expect: [{not_null: [y]}]}}
pipeline:
  model:
    train: {algorithm: gbdt, features: data.csv, gbdt: {rounds: 20}, seed: 7}
    outs: [model]
objective: {task: {kind: classification, target: y, positive: 1}}
";
/// A test that its model passes.
pub(super) const PASSES: &str = "tests: [{parity: {max_abs: 1.0e-5}}]\n";
const FAILS: &str = "tests: [{metric: {name: log_loss, max: 0.0}}]\n";

fn release(require: &str) -> String {
    format!("release: {{model: late{require}, environments: {{prod: {{approve: auto}}}}}}\n")
}

fn declare(place: &Place, rest: &str, require: &str) {
    let text = format!("project: lab\n{PIPELINE}{rest}{}", release(require));
    fs_err::write(place.root().join("tidemill.yaml"), text).unwrap();
}

/// What is said where a version cannot be released.
#[track_caller]
fn refused(place: &Place, version: &str) -> String {
    let output = place.command(&["release", version, "--to", "prod"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.code() == Some(1) && said.contains(&format!("{version} cannot be released")),
        "{said}"
    );
    said
}

#[test]
fn a_version_goes_out_with_the_tests_that_it_passed_and_not_without() {
    let lab = Lab::new(&format!("{PIPELINE}{PASSES}{}", release("")));
    lab.write("data.csv", &table());
    lab.run(&["run"]);
    let server: Server = lab.place.serve();
    let api = Api::of(&server, None);

    // What a client registers has passed nothing that the project declares.
    assert_eq!(api.register("late", MODEL), "2");
    let said = refused(&lab.place, "late@2");
    assert!(said.contains("its model was not tested"), "{said}");
    declare(&lab.place, PASSES, ", require: [data_tests]");
    let said = refused(&lab.place, "late@2");
    assert!(said.contains("nothing says what data it was made of"), "{said}");

    // A run whose tests fail registers nothing, and what somebody else registers of it does not go out either.
    declare(&lab.place, FAILS, "");
    assert_eq!(lab.place.command(&["run"]).output().unwrap().status.code(), Some(1));
    register_newest(&api, "late");
    let said = refused(&lab.place, "late@3");
    assert!(
        said.contains("1 of 1 tests of its model failed") && said.contains("tidemill why late@3"),
        "{said}"
    );
    let log = lab.log();
    assert_eq!((log.count("release_created"), log.count("rollout_created")), (0, 0), "{log}");

    // So does what was registered before, until its model passes what is asked for now.
    let said = refused(&lab.place, "late@1");
    assert!(said.contains("1 of 1 tests of its model failed"), "{said}");
    declare(&lab.place, PASSES, "");
    lab.run(&["run"]);
    // Whoever registers files of a run that passed may have put others in their place.
    register_newest(&api, "late");
    let said = refused(&lab.place, "late@4");
    assert!(said.contains("nothing says that its files are those that were tested"), "{said}");
    // With what it passed, it goes, and the release names the results.
    lab.run(&["release", "late@1", "--to", "prod"]);
    let log = lab.log();
    let release = log.of("release_created").last().unwrap()["release"].as_str().unwrap().to_owned();
    let page = get(&format!("{}/delivery/releases/{release}?format=json", server.url)).to_string();
    lab.run(&["run"]);
    assert_eq!(
        lab.log().count("model_tested"),
        3,
        "passed, failed, passed again, and nothing new after that"
    );
    for (kind, name) in [("model_tested", "model tests"), ("data_checked", "expectations of rows")] {
        let evidence = log.of(kind).next().unwrap()["evidence"].as_str().unwrap();
        assert!(page.contains(name) && page.contains(evidence), "{name} {evidence}: {page}");
    }
    // Whoever wants none of this says so where others see it.
    declare(&lab.place, PASSES, ", require: []");
    lab.run(&["release", "late@2", "--to", "prod"]);
    server.stop();
}

#[test]
fn data_that_broke_expectations_are_the_model_s_too() {
    let lab = Lab::new(&format!("{PIPELINE}{}", release("")));
    let column = table().replacen(",blue,", ",,", 40);
    lab.write("data.csv", &column);
    lab.run(&["run", "--no-tests"]);
    let said = refused(&lab.place, "late@1");
    assert!(said.contains("its data `rows` were not tested"), "{said}");

    let text = fs_err::read_to_string(lab.place.root().join("tidemill.yaml")).unwrap();
    fs_err::write(lab.place.root().join("tidemill.yaml"), text.replace("not_null: [y]", "not_null: [c]"))
        .unwrap();
    assert_eq!(lab.place.command(&["check"]).output().unwrap().status.code(), Some(1));
    lab.write("data.csv", &column.replace("red", "rose"));
    lab.run(&["run", "--no-tests"]);
    let said = refused(&lab.place, "late@2");
    assert!(said.contains("1 expectations on its data `rows` did not hold"), "{said}");

    // The page shows the rules, and the rows that broke them.
    let server = lab.place.serve();
    let page = get(&format!("{}/data/rows/expectations?format=json", server.url)).to_string();
    assert!(page.contains("not_null: [c]") && page.contains(r#"{"c":"null","row":3}"#), "{page}");
    server.stop();
}

/// A good model, one that sees nothing but the color, and a command that exports one of them.
fn exporting(which: &str, tests: &str) -> String {
    format!(
        "project: lab
pipeline:
  train: {{train: {{algorithm: gbdt, features: data.csv, gbdt: {{rounds: 20}}, seed: 7}}, outs: [good]}}
  weak: {{train: {{algorithm: gbdt, features: data.csv, columns: [c], gbdt: {{rounds: 1}}, seed: 7}}, outs: [weak]}}
  export: {{run: cp {which}/model.onnx late.onnx, deps: [{which}], outs: [late.onnx]}}
objective:
  task: {{kind: classification, target: y, positive: 1}}
  costs: {{currency: EUR, false_negative: 5, false_positive: 1}}
held_out: {{table: data.csv, threshold: 0.4}}
tests: {tests}
release: {{model: late, step: export, environments: {{prod: {{approve: auto}}}}}}
"
    )
}

#[test]
fn what_a_command_made_is_tested_itself_and_not_what_it_was_made_of() {
    let lab = Lab::new("");
    lab.write("data.csv", &table());
    let run = || Ran::of(&lab.place.command(&["run", "--json"]).output().unwrap());
    // The training is good; what is exported is not, and nobody vouches for it.
    lab.write("tidemill.yaml", &exporting("weak", "[{metric: {name: roc_auc, min: 0.9}}]"));
    let ran = run();
    assert_eq!(ran.code, Some(1), "{ran}");
    let value = ran.json();
    assert_eq!(
        (&value["tests"]["step"], &value["registered"]["state"]),
        (&"export".into(), &"refused".into())
    );

    let tests = "
  - metric: {name: roc_auc, min: 0.9}
  - metric: {name: cost, max: 1}
  - slice: {by: c, metric: accuracy, min: 0.5}
  - worst_slice: {max_worse: 0.9}
  - calibration: {max_error: 0.9}
  - fairness: {attributes: c, demographic_parity: 0.9}
  - robustness: {metric: roc_auc, max_loss: 0.9, noise: 0.1}
  - invariance: {column: c, max_change: 1}
  - direction: {column: a, must_not: fall, raise: 0.3, share: 50%}
  - size: {max_mb: 10}
  - latency: {p99_ms: 5000}
  - champion: {metric: roc_auc}";
    lab.write("tidemill.yaml", &exporting("good", tests));
    let first = run();
    assert_eq!(first.code, Some(0), "{first}");
    let outcomes = |ran: &Ran| -> Vec<String> {
        let value = ran.json();
        let all = value["tests"]["results"].as_array().unwrap();
        all.iter().map(|one| one["outcome"].as_str().unwrap().to_owned()).collect()
    };
    let mut wanted = vec!["passed"; 12];
    wanted[11] = "not_judged";
    assert_eq!(outcomes(&first), wanted, "{first}");
    // What was tested is what is registered, and so it goes out.
    let server = lab.place.serve();
    lab.run(&["release", "late@1", "--to", "prod"]);
    let log = lab.log();
    let created = log.of("version_created").last().unwrap()["facts"]["content"].clone();
    assert_eq!(log.of("model_tested").last().unwrap()["content"], created);
    server.stop();
    // Other rows are other tests.
    lab.write("data.csv", &table().replace(",blue,", ",grey,"));
    assert_ne!(run().json()["tests"]["key"], first.json()["tests"]["key"]);
}

#[test]
fn only_the_first_version_goes_out_with_nothing_but_tests_that_wait() {
    let waits = "tests: [{champion: {metric: roc_auc}}]\n";
    let lab = Lab::new(&format!("{PIPELINE}{waits}{}", release("")));
    lab.write("data.csv", &table());
    lab.run(&["run"]);
    let server: Server = lab.place.serve();
    // There is no champion yet, and the first one must get out to become one.
    lab.run(&["release", "late@1", "--to", "prod"]);
    // Too few rows are another matter.
    let few = "tests: [{slice: {by: c, metric: accuracy, min: 0.5, min_rows: 100000}}]\n";
    declare(&lab.place, few, "");
    lab.write("data.csv", &table().replace(",blue,", ",grey,"));
    lab.run(&["run"]);
    let said = refused(&lab.place, "late@2");
    assert!(said.contains("none of 1 tests of its model passed"), "{said}");
    server.stop();
}
