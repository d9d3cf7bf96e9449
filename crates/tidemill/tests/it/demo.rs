//! `tidemill demo` from outside, on fewer flights and months. Nothing in here says what the judge will say of a candidate; only that a
//! mis-joined one goes back.

use std::process::Command;

use serde_json::Value;

#[test]
fn a_short_year_ends_as_it_must() {
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path().join("demo");
    let output = Command::new(env!("CARGO_BIN_EXE_tidemill"))
        .args(["demo", "--json", "--share", "25", "--months", "1", "--dir"])
        .arg(&project)
        .env_remove("TIDEMILL_DATABASE")
        .output()
        .unwrap();
    let (said, told) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{said}");
    let told: Value = serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}\n{said}"));
    assert_eq!(told["failed"], 0, "{told}");
    assert!(told["requests"].as_u64().unwrap() > 5_000, "{told}");
    assert!(told["outcomes"].as_u64().unwrap() > told["requests"].as_u64().unwrap() * 9 / 10);

    let rollouts = told["rollouts"].as_array().unwrap();
    assert_eq!(rollouts[0]["phase"], "complete", "the first release has nothing to be compared with");
    let harmful: Vec<&Value> = rollouts.iter().filter(|one| one["is_harmful"] == true).collect();
    assert_eq!(harmful.len(), 1);
    assert_eq!(harmful[0]["phase"], "rolled-back", "{told}");
    assert!(harmful[0]["dearer"].as_f64().unwrap() > 0.0, "{told}");

    let policies = told["policies"].as_array().unwrap();
    let names: Vec<&str> = policies.iter().map(|policy| policy["policy"].as_str().unwrap()).collect();
    assert_eq!(names, ["Tidemill", "never retrain", "retrain monthly, swap blindly"]);
    for policy in policies {
        assert!(
            policy["cost"].as_f64().unwrap() > 0.0 && policy["brier"].as_f64().unwrap() < 0.25,
            "{policy}"
        );
        assert_eq!(policy["months"].as_array().unwrap().len(), 1);
    }

    // Each verdict follows from the log.
    for one in 1..=rollouts.len() {
        let replayed = Command::new(env!("CARGO_BIN_EXE_tidemill"))
            .args(["rollout", "replay", &one.to_string(), "--json", "-C"])
            .arg(&project)
            .output()
            .unwrap();
        let replayed: Value = serde_json::from_slice(&replayed.stdout).unwrap();
        assert_eq!(replayed["identical"], true, "{replayed}");
    }
}
