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
    let (tracked, own): (Vec<String>, Vec<String>) =
        kinds.into_iter().partition(|kind| kind.starts_with("tracking") || kind.starts_with("experiment"));
    assert_eq!(own, ["run_started", "step_finished", "run_finished"]);
    // The experiment and the default one; a run of the pipeline and one of its step, each of which begins and ends.
    let count = |kind: &str| tracked.iter().filter(|found| *found == kind).count();
    assert_eq!(count("experiment_created"), 2, "{tracked:?}");
    assert_eq!((count("tracking_run_created"), count("tracking_run_moved")), (2, 2), "{tracked:?}");
    let only = project.run(&["log", "--kind", "run.finished", "--json"]).good().json();
    assert_eq!(only.as_array().map(Vec::len), Some(1));
}

#[test]
fn a_tampered_log_is_found() {
    let project = project();
    project.run(&["log", "verify"]).good().says(&["the log is intact: 9 entries"]);
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

/// What a server that shares the database would write.
async fn move_an_alias(path: std::path::PathBuf) {
    use tidemill_core::{Actor, EventKind, NewEvent, SystemClock, Timestamp};
    let clock = std::sync::Arc::new(SystemClock);
    let db = tidemill_db::Db::open(path.to_str().unwrap(), clock).await.unwrap();
    let event = |millis, kind| NewEvent {
        at: Timestamp::from_millis(millis),
        actor: Actor::user("ana"),
        kind,
        cause: None,
    };
    let model = "m".to_owned();
    let mut tx = db.begin().await.unwrap();
    assert!(tx.create_model("m", None, &[], Timestamp::from_millis(1000)).await.unwrap());
    tx.commit(vec![event(1000, EventKind::ModelRegistered { model: model.clone() })]).await.unwrap();
    for (from, to, millis) in [(None, Some(1), 2000), (Some(1), Some(2), 3000), (Some(2), None, 4000)] {
        let kind = EventKind::AliasMoved { model: model.clone(), alias: "champion".to_owned(), from, to };
        db.begin().await.unwrap().commit(vec![event(millis, kind)]).await.unwrap();
    }
    db.close().await.unwrap();
}

#[test]
fn where_an_alias_pointed_is_in_the_log() {
    let project = project();
    let database = project.path(".tidemill/tidemill.db");
    tokio::runtime::Runtime::new().unwrap().block_on(move_an_alias(database));
    let told = project.run(&["log", "alias", "m", "champion"]).good();
    told.says(&["1970-01-01T00:00:03Z", "ana", "m@1", "m@2", "-"]);
    let moves = project.run(&["log", "alias", "m", "champion", "--json"]).good().json();
    let ends: Vec<_> = moves.as_array().unwrap().iter().map(|one| one["to"].as_u64()).collect();
    assert_eq!(ends, [None, Some(2), Some(1)]);
    let second = moves[1]["seq"].as_u64().unwrap().to_string();
    for (at, expected) in [
        ("1970-01-01T00:00:02Z", "m@1\n"),
        ("1970-01-01T00:00:03.5Z", "m@2\n"),
        ("1970-01-02", ""),
        ("1970-01-01T00:00:01Z", ""),
        (second.as_str(), "m@2\n"),
    ] {
        assert_eq!(
            project.run(&["log", "alias", "m", "champion", "--at", at]).good().stdout,
            expected,
            "{at}"
        );
    }
    let one = project.run(&["log", "alias", "m", "champion", "--at", &second, "--json"]).good().json();
    assert_eq!(one["version"], 2);
    let nobody = project.run(&["log", "alias", "m", "nobody"]).good();
    assert!(nobody.stderr.contains("the log knows no alias `nobody` of a model `m`"), "{nobody}");
    let wrong = project.run(&["log", "alias", "m", "champion", "--at", "yesterday"]);
    wrong.fails(2, &["`yesterday` is neither a time nor an entry of the log"]);
}
