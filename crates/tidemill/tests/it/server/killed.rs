//! kill -9 again and again while releases are on their way: each step happens, and once.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json as object};

use super::client::Client;
use super::process::{Place, Server};
use super::rollouts::{champions, get, json, served_with, share};

/// A request is all that a stage waits for, so every life of a server sees a few steps.
const PROJECT: &str = "project: served
release:
  model: late
  environments:
    prod:
      rollout:
        stages: [{shadow: {samples: 1}}, {canary: 20%}, {canary: 60%}, {full: {settle: 1s}}]
        routes: [{header: X-Preview}]
";

/// Requests to whatever server there is, until it is over.
fn ask(address: &Mutex<Option<String>>, is_over: &AtomicBool) {
    let body =
        object!({"inputs": [{"name": "x", "shape": [1, 1], "datatype": "BYTES", "data": ["7"]}]}).to_string();
    while !is_over.load(Ordering::Relaxed) {
        let url = address.lock().unwrap().clone();
        let Some(mut client) = url.and_then(|url| Client::connect(&url).ok()) else {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        };
        while !is_over.load(Ordering::Relaxed)
            && client.send("POST", "/v2/models/late/infer", "application/json", body.as_bytes()).is_ok()
        {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Kills servers at moments that move through their first second, until the rollout is over; gives the last one and how many were killed.
fn kill_until_over(
    place: &Place,
    address: &Mutex<Option<String>>,
    mut server: Server,
    rollout: u64,
) -> (Server, u64) {
    for kill in 0..200_u64 {
        *address.lock().unwrap() = Some(server.url.clone());
        std::thread::sleep(Duration::from_millis(300 + kill * 173 % 1_100));
        let status = json(place, &["rollout", "status", &rollout.to_string()]);
        if status["over"] == true {
            return (server, kill);
        }
        server.kill();
        server = place.serve();
    }
    panic!("it does not come to its end:\n{}", json(place, &["rollout", "status", &rollout.to_string()]));
}

fn phases(place: &Place, rollout: u64) -> Vec<String> {
    let status = json(place, &["rollout", "status", &rollout.to_string()]);
    let phases = status["phases"].as_array().unwrap().iter();
    phases.map(|phase| format!("{}:{}", phase["to"].as_str().unwrap(), phase["stage"])).collect()
}

#[test]
fn a_rollout_goes_on_where_it_was_whenever_its_server_is_killed() {
    let (place, server) = served_with(PROJECT, &[]);
    let (address, is_over) = (Mutex::new(None), AtomicBool::new(false));
    let (server, kills) = std::thread::scope(|scope| {
        scope.spawn(|| ask(&address, &is_over));
        // A test that fails ends the requests, too.
        struct Ending<'a>(&'a AtomicBool);
        impl Drop for Ending<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _ending = Ending(&is_over);
        json(&place, &["release", "late@1", "--to", "prod"]);
        *address.lock().unwrap() = Some(server.url.clone());
        super::rollouts::wait(&place, 1, &server, |status| status["over"] == true);
        json(&place, &["release", "late@2", "--to", "prod"]);
        let (server, second) = kill_until_over(&place, &address, server, 2);
        // One that goes back.
        json(&place, &["release", "late@3", "--to", "prod"]);
        super::rollouts::wait(&place, 3, &server, |status| status["phase"] == "canary");
        json(&place, &["rollout", "rollback", "3", "--reason", "callers complain"]);
        let (server, third) = kill_until_over(&place, &address, server, 3);
        (server, second + third)
    });
    assert!(kills >= 4, "only {kills} were killed in the middle");
    let wanted =
        ["preflight:0", "shadow:0", "canary:1", "canary:2", "certified:3", "settling:3", "complete:3"];
    assert_eq!(phases(&place, 2), wanted);
    assert_eq!(json(&place, &["rollout", "status", "3"])["phase"], "rolled-back");
    assert_eq!(champions(&place), [1, 2]);
    assert_eq!((share(&server, "2"), share(&server, "3")), (1.0, 0.0));
    let spec = get(&format!("{}/api/v1/endpoints/late", server.url))["data"]["spec"].clone();
    assert!(spec["rules"].is_null(), "{spec}");
    // What an environment runs was written once for each rollout that ended so, and the quarantine once.
    let log = json(&place, &["log", "-n", "10000"]);
    let log = log.as_array().unwrap();
    let count = |kind: &str, rollout: Option<u64>| {
        let is_of = |event: &&Value| rollout.is_none_or(|rollout| event["rollout"] == rollout);
        log.iter().filter(|event| event["kind"] == kind).filter(is_of).count()
    };
    for rollout in [1, 2] {
        assert_eq!(count("environment_moved", Some(rollout)), 1);
    }
    assert_eq!(json(&place, &["quarantine", "list"]).as_array().unwrap().len(), 1);
    for rollout in ["1", "2", "3"] {
        assert_eq!(json(&place, &["rollout", "replay", rollout])["identical"], true);
    }
    let verified = place.command(&["log", "verify"]).output().unwrap();
    assert!(verified.status.success(), "{verified:?}");
    server.stop();
}
