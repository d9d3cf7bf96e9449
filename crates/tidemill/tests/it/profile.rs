//! Profiles and drift on the command line: numbers, pages, the cache, exit codes.

use std::fmt::Write as _;

use serde_json::Value;

use crate::fixture::Project;

const PROJECT: &str = "
project: profiles
data:
  orders:
    path: orders.csv
    key: [id]
    redact: [mail]
    expect:
      - {between: {column: amount, min: 0, max: 50}, mostly: 0.99}
      - regex: {column: mail, pattern: '^user[0-9]+@'}
      - {drift_below: {against: orders@1}}
";

/// 500 orders whose amounts begin at `from`; every twentieth has none.
fn orders(from: f64, kinds: [&str; 2]) -> String {
    let mut text = "id,amount,kind,mail\n".to_owned();
    for i in 0..500_u32 {
        let amount = from + f64::from(i * 7919 % 1000) / 25.0;
        let amount = if i % 20 == 0 { String::new() } else { format!("{amount:.2}") };
        let kind = kinds[usize::from(i % 3 == 0)];
        let _ = writeln!(text, "{i},{amount},{kind},user{i}@example.com");
    }
    text
}

fn project() -> Project {
    let project = Project::new(PROJECT);
    project.write("orders.csv", orders(0.0, ["web", "shop"]));
    project.run(&["data", "add", "orders", "orders.csv"]).good();
    project
}

#[test]
fn a_profile_is_printed_and_kept() {
    let project = project();
    let text = project.run(&["data", "profile", "orders"]).good().says(&[
        "orders@1: 500 rows, 4 columns",
        "0 rows repeat the key id",
        "amount",
        "5.0 %",
        "web 66.6 %, shop 33.4 %",
    ]);
    // Values of redacted columns are nowhere.
    assert!(!text.stdout.contains("user7@"), "{text}");
    let first = project.run(&["data", "profile", "orders@1", "--json"]).good().json();
    assert_eq!(first["profile"]["rows"], 500);
    let amount = &first["profile"]["columns"][1];
    assert_eq!((&amount["name"], &amount["nulls"]), (&"amount".into(), &25.into()));
    assert_eq!(first["profile"]["columns"][3]["top"], serde_json::json!([]));
    // The kept one says the same, also when the rows could not be read any more.
    let second = project.run(&["data", "profile", "orders", "--json"]).good().json();
    assert_eq!(first, second);
    project.run(&["gc", "--yes"]).good();
    assert_eq!(project.run(&["data", "profile", "orders", "--json"]).good().json(), first);
    project.run(&["data", "verify"]).good();
}

#[test]
fn a_page_needs_nothing_else() {
    let project = project();
    project.write("orders.csv", orders(12.0, ["web", "phone"]));
    project.run(&["data", "add", "orders", "orders.csv"]).good();
    project.run(&["data", "profile", "orders@2", "--against", "orders@1", "--html", "page.html"]).good();
    let page = project.read("page.html");
    for part in ["<svg", "orders@2 against orders@1", "prefers-color-scheme:dark", "major", "phone"] {
        assert!(page.contains(part), "{part} is not in the page");
    }
    for outside in ["http://", "https://", "<script", "user7@", "NaN\""] {
        assert!(!page.contains(outside), "{outside} is in the page");
    }
    project
        .run(&["data", "profile", "orders", "--html", "nowhere/page.html"])
        .fails(1, &["cannot write `nowhere/page.html`"]);
}

/// Two columns that are distributed as before and are not correlated, as before, but no longer have nothing to do with each other.
#[test]
fn a_shift_that_only_columns_together_show_is_found() {
    let project = Project::new("project: joint\n");
    let mut state = 1_u64;
    let mut draw = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut table = |together: bool| {
        let mut text = "x,y,noise\n".to_owned();
        for _ in 0..3_000 {
            let (x, other, noise) = (draw(4), draw(4), draw(1_000));
            // 0, 1, 2, 3 in an order that has no correlation with them.
            let y = if together && draw(4) > 0 { [1, 3, 0, 2][x as usize] } else { other };
            let _ = writeln!(text, "{x},{y},{noise}");
        }
        text
    };
    for (name, together) in [("before.csv", false), ("again.csv", false), ("after.csv", true)] {
        project.write(name, table(together));
    }
    let same = project.run(&["data", "drift", "before.csv", "again.csv", "--json"]).good().json();
    let classifier = &same["report"]["verdict"]["classifier"];
    let auc = classifier["auc"].as_f64().unwrap();
    assert!((0.45..0.55).contains(&auc) && classifier["lower"].as_f64().unwrap() < 0.5, "{classifier}");
    assert!(classifier["p"].as_f64().unwrap() > 0.005, "{classifier}");
    let said = project.run(&["data", "drift", "before.csv", "after.csv", "--json"]).fails(1, &[]).json();
    let verdict = &said["report"]["verdict"];
    assert_eq!(
        (&verdict["columns_level"], &verdict["joint_level"]),
        (&"none".into(), &"major".into()),
        "{verdict}"
    );
    assert_eq!(verdict["pairs"][0]["level"], "none", "{verdict}");
    // Of a pair in the order x → y three of four are where one of four was: the best area is 0.78.
    let auc = verdict["classifier"]["auc"].as_f64().unwrap();
    assert!((0.7..0.82).contains(&auc), "{verdict}");
    let mut columns: Vec<&str> =
        verdict["classifier"]["columns"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    columns.sort_unstable();
    assert_eq!(columns, ["x", "y"], "{verdict}");
    assert!(verdict["classifier"]["p"].as_f64().unwrap() < 1e-9, "{verdict}");
    project
        .run(&["data", "drift", "before.csv", "after.csv"])
        .fails(1, &[])
        .says(&["a classifier tells the sides apart with an area of 0.7"]);
}

#[test]
fn columns_count_by_how_much_the_model_uses_them() {
    let project = Project::new(
        "project: used\n\
         objective: {task: {kind: classification, target: y, positive: 1}}\n\
         pipeline: {model: {train: {algorithm: gbdt, features: before.csv, gbdt: {rounds: 20}, seed: 7}, outs: [model]}}\n",
    );
    let table = |x: u32, idle: u32| {
        let mut text = "x,idle,y\n".to_owned();
        for row in 0..2_000_u32 {
            let (one, other) = (row * 7919 % 1_000, row * 104_729 % 997);
            let _ = writeln!(text, "{},{},{}", one + x, other + idle, u8::from(one > 500));
        }
        text
    };
    project.write("before.csv", table(0, 0));
    project.write("after.csv", table(200, 500));
    let arguments = ["data", "drift", "before.csv", "after.csv", "--skip", "y"];
    let order = |more: &[&str]| -> Vec<String> {
        let arguments = [&arguments[..], &["--json"], more].concat();
        let said = project.run(&arguments).fails(1, &[]).json();
        let columns = said["report"]["verdict"]["columns"].as_array().unwrap();
        columns.iter().map(|column| column["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(order(&[]), ["idle", "x"], "no model, so what moved most comes first");
    project.run(&["run"]).good();
    assert_eq!(order(&[]), ["x", "idle"], "the model looks at `x` alone");
    assert_eq!(order(&["--model", "model"]), ["x", "idle"]);
    project.run(&arguments).fails(1, &[]).says(&["used"]);
    let wrong = [&arguments[..], &["--model", "before.csv"]].concat();
    project.run(&wrong).fails(2, &["cannot tell what the model uses", "--model"]);
}

#[test]
fn drift_is_told_in_words_and_by_the_exit_code() {
    let project = project();
    project.run(&["data", "drift", "orders@1", "orders.csv"]).good().says(&["none", "left out"]);
    project.write("orders.csv", orders(12.0, ["web", "phone"]));
    project.run(&["data", "add", "orders", "orders.csv"]).good();
    for more in [&[][..], &["--profiles"]] {
        let args = [&["data", "drift", "orders@1", "orders@2"], more].concat();
        project.run(&args).fails(1, &[]).says(&["major", "amount", "kind", "phone"]);
        let json = project.run(&[&args[..], &["--json"]].concat()).fails(1, &[]).json();
        assert_eq!(json["report"]["verdict"]["level"], "major");
    }
    let mail = project.run(&["data", "drift", "orders@1", "orders@2", "--columns", "mail"]).good();
    assert!(!mail.stdout.contains("user") && mail.stdout.contains("not shown"), "{mail}");
    project
        .run(&["data", "drift", "orders@1", "orders@2", "--columns", "amuont"])
        .fails(1, &["there is no column `amuont`", "did you mean `amount`?"]);
    project.write("other.csv", "id,amount\n1,x\n");
    project.run(&["data", "drift", "orders@1", "other.csv"]).fails(1, &[]).says(&["column `kind` is gone"]);
}

#[test]
fn suites_are_checked_and_proposed() {
    let project = project();
    project.run(&["check"]).good().says(&["3 of 3 expectations hold"]);
    let suite = project.run(&["check", "--suggest", "orders@1"]).good().says(&[
        "- row_count: {min: 250}",
        "- {null_share: {column: amount, max: 0.0",
        "- {between: {column: amount",
    ]);
    assert!(!suite.stdout.contains("against"), "{suite}");
    project.write("orders.csv", orders(12.0, ["web", "phone"]));
    // Amounts above 50 are few enough to be allowed no more; what moved is a warning.
    project.run(&["check"]).fails(1, &[]).says(&["broken", "% must", "warning", "columns moved"]);
    let json = project.run(&["check", "--json"]).fails(1, &[]).json();
    let results = json["data"][0]["results"].as_array().unwrap();
    assert_eq!(results[0]["skew"], "value");
    assert_eq!((&results[2]["skew"], &results[2]["severity"]), (&"distribution".into(), &"warn".into()));
    assert!(results[0]["sample"].as_array().unwrap().len() <= 20);
}

#[test]
fn proposed_suites_hold_where_they_come_from() {
    let project = project();
    let suite = project.run(&["check", "--suggest", "orders"]).good().stdout;
    let mut text = "project: p\ndata:\n  orders:\n    path: orders.csv\n    expect:\n".to_owned();
    for line in suite.lines() {
        let _ = writeln!(text, "      {line}");
    }
    project.write("tidemill.yaml", &text);
    project.run(&["check"]).good().says(&["expectations hold"]);
}

#[test]
fn a_version_has_a_profile_from_the_beginning_and_is_read_as_declared() {
    let declared = PROJECT
        .replace("orders.csv", "orders.txt")
        .replace("    key: [id]", "    format: csv\n    key: [id]");
    let project = Project::new(&declared);
    project.write("orders.txt", orders(0.0, ["web", "shop"]));
    let added = project.run(&["data", "add", "orders", "orders.txt", "--json"]).good().json();
    assert_eq!((&added["rows"], &added["profiled"]), (&500.into(), &true.into()), "{added}");
    project.run(&["data", "profile", "orders@1"]).good().says(&["orders@1: 500 rows, 4 columns"]);
    project.run(&["check", "--suggest", "orders@1"]).good();
    project.run(&["data", "drift", "orders@1", "orders.txt"]).good();
    project.run(&["data", "diff", "orders@1", "orders@1"]).good();
    // The rule of the project asks for the stored version.
    project.run(&["check"]).good();
    // What is no table is stored all the same, without a word of it.
    project.write("notes.md", "# Notes\n");
    let added = project.run(&["data", "add", "notes", "notes.md", "--json"]).good();
    assert_eq!(added.json()["profiled"], false, "{added}");
    assert!(!added.stderr.contains("profile"), "{added}");
}

#[test]
fn a_monitor_compares_with_a_version_that_is_there() {
    let project = project();
    let check = |against: &str| {
        let monitors = format!("monitors:\n  - drift: {{window: 1d, against: '{against}'}}\n");
        project.write("tidemill.yaml", format!("{PROJECT}{monitors}"));
        project.run(&["check", "--no-data"])
    };
    check("orders@1").good();
    for (against, texts) in [
        ("orders@9", ["`orders` has no version 9", "its versions are 1 to 1"]),
        ("orders", ["windows cannot be compared with `orders`", "`orders@1` names its first version"]),
        ("trainin", ["windows cannot be compared with `trainin`", "did you mean `training`?"]),
    ] {
        let ran = check(against);
        assert_ne!(ran.code, Some(0), "{ran}");
        assert!(texts.iter().all(|text| ran.stderr.contains(text)), "{texts:?}: {ran}");
    }
}
