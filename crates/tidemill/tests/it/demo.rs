//! `tidemill demo` from outside, on fewer flights and months. Nothing in here says what the judge will say of a candidate; only that a
//! mis-joined one goes back, that a retraining was set off by an alert, and that the server which is kept goes on with its work.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

#[test]
fn a_short_year_ends_as_it_must() {
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path().join("demo");
    let other = dir.path().join("mine.db");
    let [stdout, stderr] = ["told", "said"].map(|name| dir.path().join(name));
    let mut demo = Kept(
        Command::new(env!("CARGO_BIN_EXE_tidemill"))
            .args(["demo", "--keep", "--json", "--share", "14", "--months", "2", "--dir"])
            .arg(&project)
            .env("TIDEMILL_DATABASE", &other)
            .stdout(fs_err::File::create(&stdout).unwrap().into_parts().0)
            .stderr(fs_err::File::create(&stderr).unwrap().into_parts().0)
            .spawn()
            .unwrap(),
    );
    let until = |what: &str, is_so: &mut dyn FnMut() -> bool| {
        let begin = Instant::now();
        while !is_so() {
            assert!(begin.elapsed() < PATIENCE, "{what}: {}", fs_err::read_to_string(&stderr).unwrap());
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    until("the end of the replay", &mut || {
        let is_over = demo.0.try_wait().unwrap().is_some();
        is_over || fs_err::read_to_string(&stderr).unwrap().contains("until it is interrupted")
    });
    let [said, told] = [&stderr, &stdout].map(|file| fs_err::read_to_string(file).unwrap());
    let told: Value = serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}\n{said}"));
    assert!(said.contains("TIDEMILL_DATABASE is not used") && !other.exists(), "{said}");
    assert_eq!(told["failed"], 0, "{told}");
    assert!(told["requests"].as_u64().unwrap() > 5_000, "{told}");
    assert!(told["outcomes"].as_u64().unwrap() > told["requests"].as_u64().unwrap() * 9 / 10);

    let alerts = told["alerts"].as_array().unwrap();
    assert!(!alerts.is_empty(), "the year moves on from what was learned: {told}");
    let rollouts = told["rollouts"].as_array().unwrap();
    assert_eq!(rollouts[0]["phase"], "complete", "the first release has nothing to be compared with");
    let harmful: Vec<&Value> = rollouts.iter().filter(|one| one["is_harmful"] == true).collect();
    assert_eq!(harmful.len(), 1);
    assert_eq!(harmful[0]["phase"], "rolled-back", "{told}");
    assert!(harmful[0]["dearer"].as_f64().unwrap() > 0.0, "{told}");

    let policies = told["policies"].as_array().unwrap();
    let names: Vec<&str> = policies.iter().map(|policy| policy["policy"].as_str().unwrap()).collect();
    let others = ["never retrain", "retrain monthly, swap blindly", "retrain as Tidemill, swap blindly"];
    assert_eq!(names, [&["Tidemill"][..], &others].concat());
    let month = |policy: usize, month: usize| policies[policy]["months"][month].as_f64().unwrap();
    // In the first month the model is new; what the calendar trained then was in time for the second.
    assert!(month(1, 0) == month(2, 0) && month(1, 1) != month(2, 1), "{told}");
    for policy in policies {
        assert!(
            policy["cost"].as_f64().unwrap() > 0.0 && policy["brier"].as_f64().unwrap() < 0.25,
            "{policy}"
        );
        assert_eq!(policy["months"].as_array().unwrap().len(), 2);
    }

    // What a trigger had trained was looked at by the envelope: inside it went by itself, outside it had no request.
    for one in rollouts {
        let envelope = &one["envelope"];
        let is_by_trigger = one["why"].as_str().unwrap().starts_with("alert of ");
        assert_eq!(envelope.is_null(), !is_by_trigger, "{one}");
        let phase = one["phase"].as_str().unwrap();
        if envelope["inside"] == false {
            let had_requests = ["shadow", "complete", "rolled-back"].contains(&phase);
            assert!(!had_requests && one["compared"] == 0, "{one}");
            assert!(envelope["why"].as_str().unwrap().contains("outside the envelope"), "{one}");
        } else {
            assert_ne!(phase, "awaiting", "{one}");
        }
    }

    // What was retrained was so because of an alert: the log has the chain from its windows to the release.
    let retrained = rollouts.iter().find(|one| one["why"].as_str().unwrap().starts_with("alert of "));
    let retrained = retrained.unwrap_or_else(|| panic!("no trigger fired: {told}"));
    assert_eq!(retrained["is_harmful"], false);
    let log = |kind: &str| -> Vec<Value> {
        let output = Command::new(env!("CARGO_BIN_EXE_tidemill"))
            .args(["log", "--json", "-n", "1000", "--kind", kind, "-C"])
            .arg(&project)
            .env_remove("TIDEMILL_DATABASE")
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let caused_by = |kind: &str, causes: &[Value]| -> Vec<Value> {
        let is_caused = |event: &Value| causes.iter().any(|cause| cause["seq"] == event["cause"]);
        let caused: Vec<Value> = log(kind).into_iter().filter(is_caused).collect();
        assert!(!caused.is_empty(), "no `{kind}` is caused by {causes:?}");
        caused
    };
    let fired = caused_by("trigger.fired", &log("alert.firing"));
    let started = caused_by("job.started", &fired);
    let runs = caused_by("run.started", &started);
    let releases = caused_by("rollout.started", &started);
    assert!(!runs.is_empty() && releases.len() >= runs.len());
    // In the time of the year: April and May 2013, in milliseconds.
    let spring = 1_364_774_400_000..=1_370_044_800_000_i64;
    assert!(runs.iter().all(|run| spring.contains(&run["at"].as_i64().unwrap())), "{runs:?}");

    // The champion is what was promoted, in turn.
    let promoted = rollouts.iter().filter(|one| one["phase"] == "complete").map(|one| one["version"].clone());
    let champions = log("alias.moved").into_iter().rev().map(|event| event["to"].clone());
    assert_eq!(champions.collect::<Vec<_>>(), promoted.collect::<Vec<_>>());

    // Each verdict follows from the log.
    for one in 1..=rollouts.len() {
        let replayed = Command::new(env!("CARGO_BIN_EXE_tidemill"))
            .args(["rollout", "replay", &one.to_string(), "--json", "-C"])
            .arg(&project)
            .env_remove("TIDEMILL_DATABASE")
            .output()
            .unwrap();
        let replayed: Value = serde_json::from_slice(&replayed.stdout).unwrap();
        assert_eq!(replayed["identical"], true, "{replayed}");
    }

    // Who explores what was kept finds a server that takes rollouts on.
    let said = |arguments: &[&str]| -> Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
        command.args(arguments).args(["--json", "-C"]).arg(&project).env_remove("TIDEMILL_DATABASE");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let placed = said(&[
        "release",
        "flights-late@1",
        "--to",
        "prod",
        "--threshold",
        "0.9",
        "--concurrent",
        "supersede",
    ]);
    let rollout = placed["rollout"].to_string();
    until("a rollout that is taken on", &mut || said(&["rollout", "status", &rollout])["phase"] == "shadow");
    // What the year came to, as the pages show it.
    let said = fs_err::read_to_string(&stderr).unwrap();
    let url = said.split("the server answers on ").nth(1).and_then(|rest| rest.split(' ').next());
    crate::server::own_pages::in_browser_at(url.unwrap(), "demo_pages.py", "demo");
    let interrupted = Command::new("kill").args(["-INT", &demo.0.id().to_string()]).status().unwrap();
    assert!(interrupted.success() && demo.0.wait().unwrap().success());
}

/// A process that does not outlive the test.
struct Kept(std::process::Child);

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How long anything may take on a machine that does much else.
const PATIENCE: Duration = Duration::from_mins(10);

/// The year of the demo gets into nobody's database.
#[test]
fn a_database_that_is_named_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("mine.db");
    let output = Command::new(env!("CARGO_BIN_EXE_tidemill"))
        .args(["demo", "--months", "1", "--database"])
        .arg(&database)
        .env_remove("TIDEMILL_DATABASE")
        .current_dir(dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("has a database of its own") && said.contains("--dir"), "{said}");
    assert!(!database.exists());
}
