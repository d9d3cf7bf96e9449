//! Every kind of model test, passed and failed by one project, as somebody at the command line sees it.

use std::fmt::Write as _;

use serde_json::Value;

use super::own_pages::in_browser;
use super::process::Place;
use super::registered::Api;
use super::tracked::{make_champion, register_newest};
use crate::fixture::{Project, Ran};

/// 3,000 rows, of which 300 come twice. The target follows from `a` and `sex` but for `red` rows, where it is luck.
fn table() -> String {
    let mut state = 7_u64;
    let mut unit = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let mut rows = Vec::new();
    for row in 0..2_700 {
        let (a, b, luck) = (unit(), unit(), unit());
        let (color, sex) = (["red", "green", "blue"][row % 3], ["f", "m"][row / 3 % 2]);
        let line = if sex == "m" { 0.35 } else { 0.65 };
        let y = if color == "red" { luck < 0.5 } else { a + 0.2 * (b - 0.5) + 0.2 * (luck - 0.5) > line };
        rows.push(format!("{a:.6},{b:.6},{color},{sex},{}", u8::from(y)));
    }
    let mut text = "a,b,color,sex,y\n".to_owned();
    for row in rows.iter().chain(&rows[..300]) {
        writeln!(text, "{row}").unwrap();
    }
    text
}

fn project(training: &str, tests: &str) -> String {
    format!(
        "project: judged\n\
         objective:\n  \
           task: {{kind: classification, target: y, positive: 1}}\n  \
           costs: {{currency: EUR, false_negative: 5, false_positive: 1}}\n\
         pipeline:\n  \
           model:\n    \
             train: {{algorithm: gbdt, features: data.csv, split: {{test: 0.4}}, seed: 7{training}}}\n    \
             outs: [model]\n\
         tests:\n{tests}\
         release: {{model: judged, environments: {{prod: {{approve: auto}}}}}}\n"
    )
}

/// The results of a run by the text of their test.
fn results(ran: &Ran) -> Vec<(String, String, String, Value)> {
    let value = ran.json();
    let all = value["tests"]["results"].as_array().unwrap_or_else(|| panic!("no tests in {ran}"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    all.iter()
        .map(|one| (text(&one["test"]), text(&one["outcome"]), text(&one["message"]), one["figures"].clone()))
        .collect()
}

/// Each kind twice: with a limit that holds and with one that does not.
const TESTS: &str = "  \
  - worst_slice: {max_worse: 0.9}
  - worst_slice: {max_worse: 0.1, columns: [color, sex]}
  - worst_slice: {max_worse: 0.1, columns: [color, sex], loss: cost}
  - calibration: {max_error: 0.5, min_slope: 0.01}
  - calibration: {max_error: 0.01, min_slope: 0.9, by: color}
  - fairness: {attributes: sex, demographic_parity: 0.9, equal_opportunity: 0.9, equalized_odds: 0.9, parity_ratio: 0.01}
  - fairness: {attributes: sex, demographic_parity: 0.05, equalized_odds: 0.05, parity_ratio: 0.95}
  - robustness: {metric: roc_auc, max_loss: 0.3, noise: 0.05, missing: 5%, shuffle: b}
  - robustness: {metric: roc_auc, max_loss: 0.001, noise: 2, missing: 60%, shuffle: a}
  - invariance: {column: color, max_change: 1}
  - invariance: {column: sex, max_change: 0.001}
  - direction: {column: a, must_not: fall, raise: 0.3, share: 60%}
  - direction: {column: a, must_not: rise, raise: 0.3}
  - leakage: {max_overlap: 50%}
  - leakage: {max_alone: 0.55, max_overlap: 0%}
  - size: {max_mb: 10}
  - size: {max_mb: 0.0001}
  - latency: {p99_ms: 5000}
  - latency: {p99_ms: 0.0000001, rows: 10}
  - smoke: {}
";

#[test]
fn every_kind_passes_where_its_limit_holds_and_fails_where_it_does_not() {
    // Trees that learn luck by heart, so that they are too sure of it.
    let training = ", gbdt: {rounds: 200, min_rows_per_leaf: 1, learning_rate: 0.3}";
    let project = Project::new(&project(training, TESTS));
    project.write("data.csv", table());
    let ran = project.run(&["run", "--json"]);
    assert_eq!(ran.code, Some(1), "{ran}");
    let found = results(&ran);
    let listed: Vec<String> =
        found.iter().map(|(test, outcome, message, _)| format!("{outcome} {test}: {message}")).collect();
    let listed = listed.join("\n");
    let expected = [
        ("passed", "error in every slice at most 0.9 above the rest"),
        ("failed", "error in every slice at most 0.1 above the rest"),
        ("failed", "cost in every slice at most 0.1 above the rest"),
        ("passed", "calibration error at most 0.5"),
        ("passed", "calibration slope at least 0.01"),
        ("failed", "calibration error at most 0.01"),
        ("failed", "calibration slope at least 0.9"),
        ("failed", "calibration error at most 0.01 where color = red"),
        ("passed", "demographic parity over sex at most 0.9"),
        ("passed", "equal opportunity over sex at most 0.9"),
        ("passed", "equalized odds over sex at most 0.9"),
        ("passed", "parity ratio over sex at least 0.01"),
        ("failed", "demographic parity over sex at most 0.05"),
        ("not_judged", "equalized odds over sex at most 0.05"),
        ("failed", "parity ratio over sex at least 0.95"),
        ("passed", "roc_auc loses at most 0.3 under noise of 0.05 deviations"),
        ("passed", "roc_auc loses at most 0.3 with 5.0 % of the values missing"),
        ("passed", "roc_auc loses at most 0.3 with b shuffled"),
        ("failed", "roc_auc loses at most 0.001 under noise of 2 deviations"),
        ("failed", "roc_auc loses at most 0.001 with 60.0 % of the values missing"),
        ("failed", "roc_auc loses at most 0.001 with a shuffled"),
        ("passed", "color changes the prediction by at most 1"),
        ("failed", "sex changes the prediction by at most 0.001"),
        ("passed", "more a must not lower the prediction"),
        ("failed", "more a must not raise the prediction"),
        ("passed", "roc_auc of any input alone at most 0.98"),
        ("passed", "at most 50.0 % of the held-out rows are training rows too"),
        ("failed", "roc_auc of any input alone at most 0.55"),
        ("failed", "at most 0.0 % of the held-out rows are training rows too"),
        ("passed", "exported model at most 10 MB"),
        ("failed", "exported model at most 0.0001 MB"),
        ("passed", "99 of 100 calls of 1 row within 5000 ms"),
        ("failed", "99 of 100 calls of 10 rows within"),
        ("passed", "smoke: one step on random valid rows"),
        ("passed", "smoke: the loss falls"),
        ("passed", "smoke: 32 rows are learnt by heart"),
        ("passed", "smoke: answers are numbers"),
        ("passed", "smoke: the same seed gives the same model"),
        ("passed", "smoke: shuffled labels give chance level"),
    ];
    for (outcome, test) in expected {
        assert!(listed.contains(&format!("{outcome} {test}")), "`{outcome} {test}` is not in:\n{listed}");
    }
    let of = |test: &str, outcome: &str| {
        let one = found.iter().find(|(name, other, ..)| name.starts_with(test) && other == outcome);
        one.unwrap_or_else(|| panic!("{test} {outcome} is not in:\n{listed}"))
    };
    // The slice that was made bad is the one that is named.
    assert!(of("error in every slice", "failed").2.contains("color = red"), "{listed}");
    let parity = &of("demographic parity", "failed").3;
    assert!(
        parity["difference"].as_f64().unwrap() > 0.1 && parity["low"].as_f64().unwrap() > 0.05,
        "{listed}"
    );
    // A second look makes the same of it, from what is kept.
    let again = project.run(&["run", "--json"]);
    assert_eq!(results(&again), found);
    // And people see marks.
    project.run(&["run"]).says(&["✗ exported model at most 0.0001 MB", "✓ exported model at most 10 MB"]);
}

#[test]
fn floors_baselines_slices_and_parity_hold_and_fail() {
    let tests = "  \
      - metric: {name: roc_auc, min: 0.5}\n  \
      - metric: {name: roc_auc, min: 0.9999}\n  \
      - metric: {name: log_loss, max: 0.0001}\n  \
      - baseline: {beats: prior, metric: log_loss}\n  \
      - slice: {metric: roc_auc, by: sex, min: 0.5}\n  \
      - slice: {metric: roc_auc, by: color, min: 0.9}\n  \
      - parity: {max_abs: 1.0e-4}\n  \
      - parity: {max_abs: 1.0e-15}\n  \
      - metric: {name: roc_auc, min: 0.5, by: interval, confidence: 0.99}\n  \
      - metric: {name: roc_auc, min: 0.9999, by: interval}\n  \
      - baseline: {beats: prior, metric: log_loss, by: estimate}\n  \
      - robustness: {metric: roc_auc, max_loss: 0.001, shuffle: a, by: interval}\n";
    let outcomes = |training: &str| {
        let project = Project::new(&project(training, tests));
        project.write("data.csv", table());
        let ran = project.run(&["run", "--json"]);
        assert_eq!(ran.code, Some(1), "{ran}");
        let found = results(&ran);
        let outcomes: Vec<String> = found.iter().map(|result| result.1.clone()).collect();
        (found, outcomes.join(" "), ran)
    };
    let (found, said, ran) = outcomes(", gbdt: {rounds: 20}");
    let wanted = "passed failed failed passed passed failed passed failed passed failed passed failed";
    assert_eq!(said, wanted, "{ran}");
    assert!(found[3].2.starts_with("better: "), "{ran}");
    let figures = &found[8].3;
    assert!(figures["low"].as_f64().unwrap() > 0.5 && figures["high"].as_f64().unwrap() < 1.0, "{ran}");
    assert!(found[11].3["loss_low"].as_f64().unwrap() > 0.001, "{ran}");
    // The slice in which it is luck is the one that is named, and the row that differs most.
    assert!(found[5].2.contains("red"), "{ran}");
    assert!(found[7].2.contains("held-out row"), "{ran}");
    // What learned luck by heart is worse than a guess.
    let heart = ", columns: [b], gbdt: {rounds: 200, min_rows_per_leaf: 1, learning_rate: 0.3}";
    let (found, _, ran) = outcomes(heart);
    assert_eq!(found[3].1, "failed", "{ran}");
    assert!(found[3].2.starts_with("worse: "), "{ran}");
    // Whether it orders rows better than a guess, so many rows do not tell: it is said, and is no pass.
    assert_eq!(found[8].1, "not_judged", "{ran}");
    assert!(found[8].2.starts_with("no evidence either way: 0."), "{ran}");
    assert!(found[8].2.ends_with("and the limit is within the 99.0 % interval"), "{ran}");
}

#[test]
fn what_cannot_be_judged_says_why() {
    let tests = "  \
      - fairness: {attributes: a, demographic_parity: 0.1}\n  \
      - fairness: {attributes: color, demographic_parity: 0.1, min_rows: 100000}\n  \
      - direction: {column: color, must_not: fall}\n  \
      - direction: {column: b, must_not: fall}\n  \
      - invariance: {column: b, max_change: 0}\n  \
      - champion: {metric: roc_auc}\n  \
      - flips: {max: 1%}\n  \
      - staleness: {metric: roc_auc, max_age: 30d, max_loss: 0.1}\n  \
      - smoke: {}\n";
    let project = Project::new(&project(", columns: [sex], gbdt: {rounds: 5}", tests));
    // A column that never varies: there is nothing to learn.
    let constant: String = table().replace(",m,", ",f,");
    project.write("data.csv", constant);
    let ran = project.run(&["run"]);
    assert_eq!(ran.code, Some(1), "{ran}");
    let ran = ran.says(&[
        "at most 100 make groups: cut it into groups in a step before",
        "? demographic parity over color at most 0.1: fewer than two groups have enough rows",
        "✗ more color must not lower the prediction: column `color` holds no numbers",
        "? more b must not lower the prediction: the model does not take it",
        "✓ b changes the prediction by at most 0: the model does not take it",
        "? roc_auc no worse than the champion (margin 0.005): model `judged` has no alias `champion` yet",
        "? at most 1.0 % right before and wrong now: model `judged` has no alias `champion` yet",
        "model `judged` has no versions yet",
        "✗ smoke: the loss falls",
        "✓ smoke: the same seed gives the same model",
    ]);
    assert!(!ran.stderr.contains("panicked"), "{ran}");
}

#[test]
fn columns_that_the_table_does_not_have_are_refused_before_anything_runs() {
    let tests = "  \
      - worst_slice: {max_worse: 0.1, columns: [colour, sex]}\n  \
      - flips: {max: 1%, by: sx}\n  \
      - robustness: {metric: roc_auc, max_loss: 0.1, shuffle: [a, bb]}\n";
    let text = project("", tests);
    let project = Project::new(&text);
    project.write("data.csv", table());
    for arguments in [&["check"][..], &["run"]] {
        let texts = [
            "`data.csv` has no column `colour`",
            "did you mean `color`?",
            "`data.csv` has no column `sx`",
            "did you mean `sex`?",
            "`data.csv` has no column `bb`",
            "tidemill.yaml:11:",
        ];
        project.run(arguments).fails(2, &texts);
        assert!(!project.has("model"));
    }
    project.run(&["run", "--no-tests"]).good();
    // A table that a step writes is known once it has.
    let (before, after) = text.split_once("  model:\n").unwrap();
    let step = "  copy: {run: cp data.csv rows.csv, deps: [data.csv], outs: [rows.csv]}\n  model:\n";
    project.write("tidemill.yaml", format!("{before}{step}{}", after.replace("data.csv", "rows.csv")));
    project.run(&["check"]).good();
    project.run(&["run", "--no-tests"]).good();
    project.run(&["check"]).fails(2, &["`rows.csv` has no column `colour`"]);
    // No slices to name are no test.
    let empty = text.replace("by: sx", "by: []").replace("colour", "color").replace("bb", "b");
    project.write("tidemill.yaml", empty);
    project.run(&["check"]).fails(2, &["no columns are named"]);
}

#[test]
fn versions_are_set_beside_the_model() {
    let place = Place::sqlite();
    let tests = "  \
      - champion: {metric: roc_auc}\n  \
      - champion: {metric: log_loss, margin: 0.01}\n  \
      - flips: {max: 0%, by: [color, sex]}\n  \
      - flips: {max: 60%}\n  \
      - staleness: {metric: roc_auc, max_age: 30d, max_loss: 0.01}\n  \
      - staleness: {metric: roc_auc, max_age: 30d, max_loss: 0.9}\n  \
      - cost: {max_regression: 0}\n  \
      - champion: {metric: roc_auc, margin: 0.0001}\n";
    let write = |training: &str| {
        fs_err::write(place.root().join("tidemill.yaml"), project(training, tests)).unwrap();
    };
    let run = || Ran::of(&place.command(&["run", "--json"]).output().unwrap());
    let outcomes = |ran: &Ran| results(ran).into_iter().map(|result| result.1).collect::<Vec<_>>();
    fs_err::write(place.root().join("data.csv"), table()).unwrap();
    // A weak model is the champion.
    write(", drop: [a], gbdt: {rounds: 20}");
    let first = run();
    assert_eq!(outcomes(&first), ["not_judged"; 8], "{first}");
    let server = place.serve();
    let api = Api::of(&server, None);
    make_champion(&api, "judged");
    server.stop();

    // A model beside itself is no worse; the only version is the model itself, which has lost nothing.
    let same = run();
    assert_eq!(outcomes(&same), ["passed"; 8], "{same}");

    // A better one is better, flips rows all the same, and shows how far the old one fell behind.
    write(", gbdt: {rounds: 20}");
    let better = run();
    let wanted = ["passed", "passed", "failed", "passed", "failed", "passed", "passed", "passed"];
    assert_eq!(outcomes(&better), wanted, "{better}");
    let found = results(&better);
    assert!(found[6].2.starts_with("cheaper: ") && found[6].2.contains(" EUR per decision of judged@1, "));
    assert!(found[0].2.starts_with("better: ") && found[0].2.contains("of judged@1, gain "), "{better}");
    let figures = &found[0].3;
    let figure = |name: &str| figures[name].as_f64().unwrap();
    assert!((figure("new") - figure("old") - figure("gain")).abs() < 1e-12);
    assert!(figure("gain_low") > 0.05 && figure("gain_low") < figure("gain"), "{better}");
    assert!(found[4].2.contains("@1 (0.0 d) "), "{better}");
    let flips = &found[2].3;
    let rows: f64 = ["lost", "gained", "both_right", "both_wrong"]
        .iter()
        .map(|name| flips[*name].as_f64().unwrap())
        .sum();
    assert_eq!(rows, 1_200.0);

    // The model's page draws how versions age, one curve a metric, and has the numbers.
    let server = place.serve();
    register_newest(&Api::of(&server, None), "judged");
    in_browser(&place, &server, "ageing_pages.py", "ageing");
    server.stop();

    // Nearly the same one is within a wide margin and not within a narrow one, of which twelve hundred rows say nothing.
    write(", drop: [a], gbdt: {rounds: 21}");
    let near = run();
    let found = results(&near);
    assert_eq!((found[0].1.as_str(), found[7].1.as_str()), ("passed", "failed"), "{near}");
    assert!(found[7].2.starts_with("no evidence that it is no worse: "), "{near}");
    // Money is noisier still.
    assert!(found[6].1 == "failed" && found[6].2.starts_with("no evidence that it is no dearer: "), "{near}");

    // A worse one is worse, and what it gets wrong that was right is where the champion had looked at `b` and `sex`.
    write(", columns: [color], gbdt: {rounds: 1}");
    let worse = run();
    let found = results(&worse);
    assert_eq!(found[0].1, "failed", "{worse}");
    assert!(found[0].2.starts_with("worse: "), "{worse}");
    // Where it errs costs little, so of money nothing is proven.
    assert!(found[6].2.starts_with("no evidence that it is no dearer: "), "{worse}");
    assert!(found[2].2.contains("; most in color = blue and sex = f ("), "{worse}");
}

#[test]
fn values_of_columns_that_are_not_shown_are_in_no_result() {
    let tests = "  \
      - slice: {metric: roc_auc, by: color, min: 0.9}\n  \
      - worst_slice: {max_worse: 0.1, columns: [color, sex]}\n  \
      - calibration: {max_error: 0.01, by: color}\n  \
      - fairness: {attributes: color, demographic_parity: 0.05}\n";
    let hidden = "data: {rows: {path: data.csv, redact: [color]}}\n";
    let project = Project::new(&(project(", gbdt: {rounds: 20}", tests) + hidden));
    project.write("data.csv", table());
    let ran = project.run(&["run", "--json"]);
    let all = results(&ran)
        .into_iter()
        .map(|(test, _, message, _)| format!("{test}: {message}\n"))
        .collect::<String>();
    for value in ["red", "green", "blue"] {
        let shown = all.split(|c: char| !c.is_alphanumeric()).any(|word| word == value);
        assert!(!shown, "{value} in:\n{all}");
    }
    // It is still told which one it is, and by how much.
    assert!(all.contains("a value that is not shown with 0."), "{all}");
    assert!(all.contains("color has value 3 (not shown)") && all.contains("(not shown) "), "{all}");
}
