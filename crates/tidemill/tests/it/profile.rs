//! Profiles and drift on the command line: numbers, pages, the cache, exit codes.

use std::fmt::Write as _;

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
