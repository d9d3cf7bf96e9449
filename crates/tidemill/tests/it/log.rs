//! The log: shown, exported, proved.

use crate::fixture::Project;

fn project() -> Project {
    let project = Project::new("{project: x, pipeline: {a: {run: echo 1 > a, outs: [a]}}}");
    project.run(&["run"]).good();
    project
}

#[test]
fn every_change_is_in_the_log() {
    let project = project();
    let shown = project.run(&["log"]).good();
    let shown = shown.says(&["run.started", "step.finished", "`a` ran", "run.finished", "tester"]);
    assert!(!shown.stdout.contains("panicked"));
    let runs = project.run(&["log", "runs"]).good();
    runs.says(&["succeeded"]);
    let lines = project.run(&["log", "export"]).good().stdout;
    let kinds: Vec<String> = lines
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["kind"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(kinds, ["run_started", "step_finished", "run_finished"]);
    let only = project.run(&["log", "--kind", "run.finished", "--json"]).good().json();
    assert_eq!(only.as_array().map(Vec::len), Some(1));
}

#[test]
fn a_tampered_log_is_found() {
    let project = project();
    project.run(&["log", "verify"]).good().says(&["the log is intact: 3 entries"]);
    let head = project.run(&["log", "verify", "--json"]).good().json();
    let noted = format!("{}:{}", head["size"], head["root"].as_str().unwrap());
    project.write("more.txt", "1");
    project.run(&["data", "add", "more", "more.txt"]).good();
    project.run(&["log", "verify", "--against", &noted]).good().says(&["it extends the log"]);
    // Somebody rewrites history.
    let db = project.path(".tidemill/tidemill.db");
    let script = r#"
import sqlite3, sys
c = sqlite3.connect(sys.argv[1])
update = "update event set actor = replace(actor, 'tester', 'nobody') where seq = 2"
try:
    c.execute(update)
    sys.exit('the database let the log be changed')
except sqlite3.IntegrityError:
    pass
for (name,) in c.execute('select name from sqlite_master where type = "trigger"').fetchall():
    c.execute('drop trigger ' + name)
c.execute(update)
c.commit()
"#;
    let status = std::process::Command::new("python3").arg("-c").arg(script).arg(db).status().unwrap();
    assert!(status.success());
    let ran = project.run(&["log", "verify"]);
    assert_eq!(ran.code, Some(1), "{ran}");
    ran.says(&["the log was changed: entry 2"]);
}
