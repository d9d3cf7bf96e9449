//! Taking over a store that MLflow itself wrote: its folder, its SQLite database, its server.

use std::process::Command;

use super::process::{Place, Server, script, succeeds};
use crate::fixture::Ran;

/// Fills a store at `address` with MLflow's client.
fn fill(place: &Place, address: &str) {
    let mut command = script(place, "import_source.py", &[address]);
    command.env("MLFLOW_ALLOW_FILE_STORE", "true");
    succeeds(command, &[]);
}

fn import(place: &Place, from: &str) -> Command {
    place.command(&["--json", "import", "mlflow", "--from", from])
}

/// Imports twice and asks for what is there; the second time nothing is new.
fn imported(place: &Place, from: &str) -> Server {
    let first = Ran::of(&import(place, from).output().unwrap()).good().json();
    assert_eq!(
        (&first["runs"], &first["versions"], &first["models"]),
        (&3.into(), &2.into(), &1.into()),
        "{first}"
    );
    assert!(first["points"].as_u64().unwrap() >= 54, "{first}");
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
    imported(&place, store.to_str().unwrap()).stop();
}

#[test]
fn a_database_and_a_server_are_taken_over_once_also_into_postgres() {
    let place = Place::postgres();
    let file = place.root().join("old.db");
    let address = format!("sqlite:///{}", file.display());
    fill(&place, &address);
    let server = imported(&place, &address);

    // What was imported is a server like any other: taken over again, from there, by its interface.
    let next = Place::sqlite();
    imported(&next, &server.url).stop();
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
