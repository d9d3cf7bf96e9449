//! A dataset that the project declares as outcomes of an endpoint: the server joins each version once, whenever it is killed.

use std::time::{Duration, Instant};

use serde_json::{Value, json as object};

use super::client::Client;
use super::process::{Place, Server};
use super::registered::{Api, MODEL, row};
use super::rollouts::{get, json};
use crate::fixture::Ran;

const PROJECT: &str = "project: served
data:
  labels: {path: labels.csv}
serving:
  endpoints:
    loans:
      outcomes:
        - from: labels
          key: customer
          values: {label: repaid}
";
/// How long a server may take to do what it is to do.
const PATIENCE: Duration = Duration::from_secs(120);

/// An endpoint, and a request of each of these customers.
fn asked(server: &Server, version: &str, customers: &[&str]) {
    let mut client = Client::connect(&server.url).unwrap();
    let spec = object!({
        "arms": [{"name": "a", "model": "late", "version": version, "weight": 1}],
        "entity": {"header": "x-customer"},
    });
    let path = "/api/v1/endpoints/loans";
    let answer = client.send("PUT", path, "application/json", spec.to_string().as_bytes()).unwrap();
    assert!(answer.status < 300, "{}", String::from_utf8_lossy(&answer.body));
    let body = row();
    for customer in customers {
        let headers = [("Content-Type", "application/json"), ("X-Customer", *customer)];
        let answer = client.send_with("POST", "/v2/models/loans/infer", &headers, &body).unwrap();
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    }
}

/// Records a version of the labels.
fn add(place: &Place, header: &str, rows: impl Iterator<Item = String>) {
    let text: String = std::iter::once(header.to_owned()).chain(rows).map(|row| row + "\n").collect();
    fs_err::write(place.root().join("labels.csv"), text).unwrap();
    json(place, &["data", "add", "labels", "labels.csv"]);
}

fn rows(customers: &[&str]) -> impl Iterator<Item = String> {
    customers.iter().map(|customer| format!("{customer},1"))
}

/// The events of a kind, oldest first.
fn events(place: &Place, kind: &str) -> Vec<Value> {
    let log = json(place, &["log", "-n", "10000"]);
    let mut found: Vec<Value> =
        log.as_array().unwrap().iter().filter(|event| event["kind"] == kind).cloned().collect();
    found.sort_by_key(|event| event["seq"].as_u64());
    found
}

/// Waits for so many events of a kind, and gives the last.
#[track_caller]
fn wait(place: &Place, server: &Server, kind: &str, many: usize) -> Value {
    let begin = Instant::now();
    loop {
        let found = events(place, kind);
        if found.len() >= many {
            assert_eq!(found.len(), many, "{found:?}");
            return found[many - 1].clone();
        }
        assert!(begin.elapsed() < PATIENCE, "{found:?}\n{}", server.said());
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn ran(place: &Place, arguments: &[&str]) -> Ran {
    Ran::of(&place.command(arguments).output().unwrap())
}

#[test]
fn a_declaration_that_stands_there_in_two_forms_is_found() {
    let place = Place::sqlite();
    let again = "        - {from: labels, key: {entity: customer}, values: {label: repaid}}\n";
    fs_err::write(place.root().join("tidemill.yaml"), format!("{PROJECT}{again}")).unwrap();
    let both = ["this stands here twice, first at 8:11", "tidemill.yaml:11:11"];
    ran(&place, &["check"]).fails(2, &both);
}

#[test]
fn each_version_is_joined_once_whenever_the_server_is_killed() {
    let place = Place::sqlite();
    fs_err::write(place.root().join("tidemill.yaml"), PROJECT).unwrap();
    let mut server = place.serve();
    let version = Api::of(&server, None).register("late", MODEL);
    asked(&server, &version, &["ana", "bob", "eve", "joe"]);
    ran(&place, &["status"]).good().says(&["outcomes of loans: labels has no version yet"]);

    // One row says nothing yet.
    add(&place, "customer,repaid", rows(&["ana", "bob"]).chain(["eve,".to_owned()]));
    let first = wait(&place, &server, "outcomes_read", 1);
    let figures = |event: &Value| {
        ["version", "rows", "skipped", "known", "rejected", "matched", "late", "duplicate", "unmatched"]
            .map(|name| event[name].as_u64().unwrap())
    };
    assert_eq!(figures(&first), [1, 3, 1, 0, 0, 2, 0, 0, 0], "{first}");
    let recorded = events(&place, "dataset_version_created");
    assert_eq!((&first["cause"], &first["endpoint"]), (&recorded[0]["seq"], &object!("loans")));
    let status = json(&place, &["status"]);
    let read = &status["outcomes"][0]["read"];
    assert_eq!((&read["version"], &read["joined"]), (&object!(1), &object!(2)), "{status}");
    ran(&place, &["monitor", "status"])
        .good()
        .says(&["outcomes of loans: labels@1: 3 rows, 2 joined (0 late)"]);
    ran(&place, &["check"]).good();

    // Whoever waits has no request. The server is killed while it reads them.
    let many = || (0..20_000).map(|number| format!("nobody-{number},0"));
    add(&place, "customer,repaid", rows(&["ana", "bob", "eve"]).chain(many()));
    for kill in 0..5_u64 {
        std::thread::sleep(Duration::from_millis(200 + 350 * kill));
        server.kill();
        server = place.serve();
    }
    let second = wait(&place, &server, "outcomes_read", 2);
    assert_eq!(figures(&second), [2, 20_003, 0, 2, 0, 1, 0, 0, 0], "{second}");
    assert_eq!(second["waiting"], 20_000);
    let standing = &get(&format!("{}/api/v1/endpoints/loans/outcomes", server.url))["data"];
    assert_eq!((&standing["matched"], &standing["waiting"]), (&object!(3), &object!(20_000)), "{standing}");

    // A version without the column is told of, by `check` with the place, and is not read again and again.
    add(&place, "customer,paid", rows(&["joe"]));
    let refused = wait(&place, &server, "outcomes_refused", 1);
    assert_eq!(refused["version"], 3);
    assert!(refused["why"].as_str().unwrap().contains("repaid"), "{refused}");
    ran(&place, &["check"]).fails(2, &["`labels@3` has no column `repaid`", "tidemill.yaml:10:27"]);
    ran(&place, &["status"]).good().says(&["labels@3 cannot be read: "]);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(events(&place, "outcomes_refused").len(), 1);

    // Under another declaration the newest version is another table, without a restart.
    let declared = PROJECT.replace("label: repaid", "label: paid");
    fs_err::write(place.root().join("tidemill.yaml"), declared).unwrap();
    let third = wait(&place, &server, "outcomes_read", 3);
    assert_eq!(figures(&third), [3, 1, 0, 0, 0, 1, 0, 0, 0], "{third}");
    let verified = ran(&place, &["log", "verify"]);
    assert_eq!(verified.code, Some(0), "{verified}");
    server.stop();

    let alone = place.serve_alone(&[]);
    assert!(alone.said().contains("a gateway alone joins no datasets"), "{}", alone.said());
}
