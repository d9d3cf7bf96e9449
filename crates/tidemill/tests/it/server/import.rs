//! Taking over a store that MLflow itself wrote: its folder, its SQLite database, its server.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use super::client::Client;
use super::process::{Place, Server, script, succeeds};
use crate::fixture::{Ran, wait_for};

/// Fills a store at `address` with MLflow's client.
fn fill(place: &Place, address: &str) {
    let mut command = script(place, "import_source.py", &[address]);
    command.env("MLFLOW_ALLOW_FILE_STORE", "true");
    succeeds(command, &[]);
}

fn import(place: &Place, from: &str) -> Command {
    place.command(&["--json", "import", "mlflow", "--from", from])
}

/// Imports twice and asks for what is there; the second time nothing is new. So many traces and datasets of evaluations
/// stay behind.
fn imported(place: &Place, from: &str, behind: (u64, u64)) -> Server {
    let first = Ran::of(&import(place, from).output().unwrap()).good().json();
    assert_eq!(
        (&first["runs"], &first["versions"], &first["models"]),
        (&3.into(), &3.into(), &2.into()),
        "{first}"
    );
    assert!(first["points"].as_u64().unwrap() >= 54, "{first}");
    let (traces, datasets) = behind;
    assert_eq!(
        (&first["traces_left"], &first["evaluation_datasets_left"]),
        (&traces.into(), &datasets.into()),
        "{first}"
    );
    let second = Ran::of(&import(place, from).output().unwrap()).good().json();
    for nothing in ["experiments", "runs", "points", "files", "logged_models", "models", "versions"] {
        assert_eq!(second[nothing], 0, "{nothing}: {second}");
    }
    assert_eq!(second["known_runs"], 3, "{second}");
    let server = place.serve();
    succeeds(script(place, "import_source.py", &["--check", &server.url]), &[&server]);
    server
}

#[test]
fn a_folder_is_taken_over_once() {
    let place = Place::sqlite();
    let store = place.root().join("mlruns");
    fill(&place, store.to_str().unwrap());
    imported(&place, store.to_str().unwrap(), (1, 0)).stop();
}

#[test]
fn a_database_and_a_server_are_taken_over_once_also_into_postgres() {
    let place = Place::postgres();
    let file = place.root().join("old.db");
    let address = format!("sqlite:///{}", file.display());
    fill(&place, &address);
    let server = imported(&place, &address, (1, 1));

    // What was imported is a server like any other: taken over again, from there, by its interface.
    let next = Place::sqlite();
    imported(&next, &server.url, (0, 0)).stop();
    server.stop();
}

/// A file store with one experiment of `count` runs, written as MLflow writes it.
fn many_runs(store: &Path, count: usize) {
    let write = |path: String, text: String| {
        let path = store.join("1").join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    };
    write(
        "meta.yaml".to_owned(),
        "experiment_id: '1'\nname: many\nlifecycle_stage: active\ncreation_time: 1\nlast_update_time: 1\n"
            .to_owned(),
    );
    for run in 0..count {
        let id = format!("f{run:031x}");
        let artifacts = store.join("1").join(&id).join("artifacts");
        write(
            format!("{id}/meta.yaml"),
            format!(
                "run_id: {id}\nrun_name: run-{run}\nexperiment_id: '1'\nuser_id: ada\nstatus: 3\nlifecycle_stage: active\n\
                 start_time: {run}\nend_time: {}\nartifact_uri: {}\n",
                run + 1,
                artifacts.display()
            ),
        );
        let points = (0..20).map(|step| format!("{step} {run}.5 {step}\n")).collect();
        write(format!("{id}/metrics/loss"), points);
        write(format!("{id}/params/number"), run.to_string());
        write(format!("{id}/tags/mlflow.runName"), format!("run-{run}"));
        write(format!("{id}/artifacts/note.txt"), format!("note {run}"));
    }
}

#[test]
fn an_import_that_is_killed_in_the_middle_goes_on() {
    const RUNS: usize = 300;
    let place = Place::sqlite();
    let store = place.root().join("mlruns");
    many_runs(&store, RUNS);
    let log = place.root().join(".tidemill/tidemill.db-wal");
    let written = || fs_err::metadata(&log).and_then(|file| file.modified()).ok();
    let mut killed = 0;
    for _ in 0..4 {
        let mut command = import(&place, store.to_str().unwrap());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let (mut last, mut writes) = (written(), 0);
        // In the middle: the database was written to again and again.
        wait_for("the import writes", || {
            let now = written();
            writes += usize::from(now != last);
            last = now;
            writes >= 40 || child.try_wait().unwrap().is_some()
        });
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            killed += 1;
        }
        child.wait().unwrap();
    }
    assert!(killed > 0, "no import was under way long enough to be killed");

    let last = Ran::of(&import(&place, store.to_str().unwrap()).output().unwrap()).good().json();
    let all = last["runs"].as_u64().unwrap() + last["known_runs"].as_u64().unwrap();
    assert_eq!((all, &last["problems"]), (RUNS as u64, &json!([])), "{last}");
    let server = place.serve();
    let mut client = Client::connect(&server.url).unwrap();
    let experiment = client.call("GET", "experiments/get-by-name?experiment_name=many", &json!({})).unwrap()
        ["experiment"]
        .take();
    let search = json!({"experiment_ids": [experiment["experiment_id"]], "max_results": 1000});
    let found = client.call("POST", "runs/search", &search).unwrap();
    assert_eq!(found["runs"].as_array().unwrap().len(), RUNS);
    for run in found["runs"].as_array().unwrap() {
        let id = run["info"]["run_id"].as_str().unwrap();
        let number = usize::from_str_radix(&id[1..], 16).unwrap();
        assert_eq!(run["info"]["status"], "FINISHED", "{run}");
        assert_eq!(run["data"]["params"], json!([{"key": "number", "value": number.to_string()}]), "{run}");
        let history = format!("metrics/get-history?run_id={id}&metric_key=loss");
        let history = client.call("GET", &history, &json!({})).unwrap();
        assert_eq!(history["metrics"].as_array().unwrap().len(), 20, "{id}");
        let files = client.call("GET", &format!("artifacts/list?run_id={id}"), &json!({})).unwrap();
        assert_eq!(files["files"][0]["path"], "note.txt", "{id}: {files}");
    }
    server.stop();
}

#[test]
fn a_wrong_address_says_so_and_leaves_nothing() {
    let place = Place::sqlite();
    let folder = place.root().join("empty");
    fs_err::create_dir_all(&folder).unwrap();
    for (from, text) in [
        (folder.to_str().unwrap(), "holds no MLflow file store"),
        ("sqlite:///nowhere.db", "there is no file `nowhere.db`"),
        ("mysql://host/db", "`mysql:` cannot be read"),
        ("http://127.0.0.1:9/", "no answer from `http://127.0.0.1:9`"),
    ] {
        Ran::of(&place.command(&["import", "mlflow", "--from", from]).output().unwrap()).fails(1, &[text]);
    }
    assert!(!place.root().join(".tidemill/tidemill.db").exists());
}
