//! `tidemill rollout judge` between other programs: a router that waits for the answer to each look before it sends the next.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::fixture::tidemill;

/// A look of a run whose metric counts failures of the two arms.
fn look(run: &str, seq: u64, baseline: u64, canary: u64) -> String {
    let arm = |failures: u64| json!({"n": 100, "sum": failures, "sumsq": failures});
    json!({
        "run": run,
        "seq": seq,
        "metric": {
            "name": "accuracy", "direction": "lower_is_better", "type": "binary", "alpha": 0.05,
            "effect_scale": 0.02, "effect_relative": false,
        },
        "baseline": arm(baseline),
        "canary": arm(canary),
    })
    .to_string()
}

#[test]
fn each_look_is_answered_before_the_next_one_comes() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = tidemill()
        .current_dir(dir.path())
        .args(["rollout", "judge"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut output = BufReader::new(output);
    let mut asked = |line: &str| -> Value {
        writeln!(input, "{line}").unwrap();
        let mut answer = String::new();
        output.read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"))
    };
    let runs = [("worse", 10, 16, "rollback"), ("better", 16, 10, "promote"), ("same", 10, 10, "continue")];
    let mut last = Vec::new();
    for seq in 0..60 {
        last.clear();
        for (run, baseline, canary, _) in runs {
            let answer = asked(&look(run, seq, baseline, canary));
            assert_eq!((&answer["run"], &answer["seq"]), (&json!(run), &json!(seq)), "{answer}");
            last.push(answer["decision"].clone());
        }
    }
    assert_eq!(last, runs.map(|(.., decision)| json!(decision)));
    // What is wrong is answered, too, and stops nothing.
    let wrong = asked(&look("worse", 60, 10, 101));
    assert!(wrong["error"].as_str().unwrap().contains("`canary.sum` is 101"), "{wrong}");
    assert_eq!(asked(&look("worse", 60, 10, 10))["decision"], "rollback", "a decision is final");
    drop(input);
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(!dir.path().join(".tidemill").exists(), "it needs no project");
}
