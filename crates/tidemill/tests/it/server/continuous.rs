//! Continuous training by the real binary: what a run registers, and from data that changed to a release without a hand.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::process::{Place, Server};
use super::tracked::table;
use super::triggers::{Lab, Log, offsets};
use crate::fixture::Ran;

/// A training with a test that it passes. What `{}` stands for comes below `release:`.
pub(super) fn project(more: &str) -> String {
    format!(
        "params: {{x: 0}}\n\
         data: {{rows: {{path: data.csv}}}}\n\
         pipeline:\n  \
           train:\n    \
             train: {{algorithm: gbdt, features: data.csv, gbdt: {{rounds: 10}}, seed: 7}}\n    \
             outs: [model]\n  \
           export: {{run: cp model/model.onnx late.onnx, deps: [model], outs: [late.onnx]}}\n  \
           note: {{run: echo 1 > note.txt, outs: [note.txt]}}\n\
         objective: {{task: {{kind: classification, target: y, positive: 1}}}}\n\
         tests: [{{metric: {{name: roc_auc, min: 0.6}}}}]\n\
         release:\n  model: late\n{more}  environments: {{prod: {{}}}}\n"
    )
}

fn run(place: &Place, more: &[&str]) -> Ran {
    let arguments = [&["run"], more].concat();
    Ran::of(&place.command(&arguments).output().unwrap())
}

fn registered(place: &Place, more: &[&str]) -> Value {
    run(place, &[more, &["--json"]].concat()).good().json()["registered"].clone()
}

fn versions(lab: &Lab) -> Vec<u64> {
    lab.log().of("version_created").map(|event| event["version"].as_u64().unwrap()).collect()
}

/// The table with another column, so that its model is another one.
pub(super) fn other_table(color: &str) -> String {
    table().replace(",blue,", &format!(",{color},")).replacen(",0\n", ",1\n", color.len())
}

#[test]
fn a_run_registers_its_model_once() {
    let lab = Lab::new(&project(""));
    let place = &lab.place;
    lab.write("data.csv", &table());
    run(place, &[]).good().says(&["registered late@1"]);
    run(place, &[]).good().says(&["nothing to do", "late@1 is of the same content"]);
    assert_eq!(registered(place, &["--force"]), json!({"state": "known", "model": "late", "version": 1}));
    // What is not about the model says nothing of it.
    assert_eq!(registered(place, &["note"]), Value::Null);
    assert_eq!(registered(place, &["--dry-run"]), Value::Null);

    // Somebody who only tries registers nothing, and the next run makes good for it although it has nothing to do.
    lab.write("data.csv", &other_table("red"));
    assert_eq!(registered(place, &["--no-register"]), Value::Null);
    run(place, &[]).good().says(&["nothing to do", "registered late@2"]);
    run(place, &["--sweep", "x=1,2"]).good();
    // The old data give the old model from the cache; it is the newest again.
    lab.write("data.csv", &table());
    run(place, &[]).good().says(&["restored", "registered late@3"]);
    assert_eq!(versions(&lab), [1, 2, 3]);

    // The version is the run's: the log knows what it was made of, and `why` tells it.
    let log = lab.log();
    let last = log.of("version_created").last().unwrap();
    let facts = &last["facts"];
    assert_eq!(facts["step"], "train");
    assert!(facts["data"]["rows"].is_string() && facts["metrics"]["roc_auc"].is_number(), "{last}");
    assert_eq!(facts["params"]["rounds"], "10", "{last}");
    let why = lab.run(&["why", "late@2"]);
    assert!(
        why.contains("ran the pipeline by hand") && why.contains("tests of the model: 1 passed"),
        "{why}"
    );

    // Trained once more to the same model, whose tests are known: they are this run's, too.
    lab.write("data.csv", &other_table("red"));
    assert_eq!(registered(place, &["--force"]), json!({"state": "new", "model": "late", "version": 4}));
    let why = lab.run(&["why", "late@4"]);
    assert!(why.contains("tests of the model: 1 passed") && !why.contains("was not tested"), "{why}");

    // Tests that fail keep it from the registry, and so does leaving them out.
    let strict = project("").replace("min: 0.6", "min: 1.1");
    lab.write("tidemill.yaml", &format!("project: lab\n{strict}"));
    lab.write("data.csv", &other_table("violet"));
    let refused = run(place, &[]);
    refused.fails(1, &["1 test of the model failed, so `late` gets no new version"]);
    run(place, &["--no-tests"]).good().says(&["no new version of late: its tests were not run"]);
    assert_eq!(versions(&lab), [1, 2, 3, 4]);
}

#[test]
fn the_step_that_is_named_is_registered() {
    let held_out = "held_out: {table: data.csv}\n";
    let lab = Lab::new(&(project("  step: export\n") + held_out));
    lab.write("data.csv", &table());
    run(&lab.place, &[]).good().says(&["tests of export: 1 passed", "registered late@1"]);
    lab.run(&["predict", "--model", "late@1", "--input", "data.csv", "--output", "answers.csv"]);
    let rows = fs_err::read_to_string(lab.place.root().join("answers.csv")).unwrap();
    assert_eq!(rows.lines().count(), 401);

    let check = |more: &str| {
        lab.write("tidemill.yaml", &format!("project: lab\n{}{held_out}", project(more)));
        run(&lab.place, &[])
    };
    check("  step: exprot\n").fails(2, &["there is no step `exprot`", "did you mean `export`?"]);
    check("  step: note\n").fails(1, &["step `note`, which is released, wrote no model"]);
}

fn git(lab: &Lab, arguments: &[&str]) {
    let mut command = Command::new("git");
    command.arg("-C").arg(lab.place.root()).args(arguments);
    let identity = [("GIT_AUTHOR_NAME", "t"), ("GIT_AUTHOR_EMAIL", "t@localhost")];
    let committer = [("GIT_COMMITTER_NAME", "t"), ("GIT_COMMITTER_EMAIL", "t@localhost")];
    let output = command.envs(identity).envs(committer).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

#[test]
fn a_checkout_that_is_tested_registers_nothing() {
    let lab = Lab::new(&project(""));
    lab.write("data.csv", &table());
    git(&lab, &["init", "--quiet"]);
    git(&lab, &["add", "tidemill.yaml", "data.csv"]);
    git(&lab, &["commit", "--quiet", "-m", "one"]);
    lab.run(&["ci", "--no-release"]);
    assert_eq!(versions(&lab), [0; 0]);
    // What was trained there is restored here, and is registered then.
    run(&lab.place, &[]).good().says(&["restored", "registered late@1"]);
}

#[test]
fn killed_between_training_and_registering() {
    let lab = Lab::new(&project(""));
    lab.write("data.csv", &table());
    run(&lab.place, &[]).good();
    let colors = ["red", "violet", "yellow", "green", "orange", "grey"];
    for (round, color) in colors.iter().enumerate() {
        lab.write("data.csv", &other_table(color));
        let mut child = lab.place.command(&["run"]).spawn().unwrap();
        // From the moment in which the training ends on, a little later each time.
        let begin = Instant::now();
        let is_trained = || {
            let log = lab.log();
            log.of("step_finished").filter(|event| event["step"] == "train").count() > round + 1
        };
        while !is_trained() && child.try_wait().unwrap().is_none() {
            assert!(begin.elapsed() < Duration::from_secs(120));
        }
        std::thread::sleep(Duration::from_millis(round as u64 * 15));
        // It may have ended by itself.
        let _ = child.kill();
        child.wait().unwrap();
        run(&lab.place, &[]).good();
        run(&lab.place, &[]).good().says(&[&format!("late@{} is of the same content", round + 2)]);
    }
    let wanted: Vec<u64> = (1..=colors.len() as u64 + 1).collect();
    assert_eq!(versions(&lab), wanted);
    lab.run(&["log", "verify"]);
}

const TRIGGER: &str = "triggers: [{when: {data: rows}, actions: [run, release]}]\n";

/// A project whose trigger releases, with a server that watches its data.
fn watched(more: &str) -> (Lab, Server) {
    let lab = Lab::new(&format!("{}{TRIGGER}", project(more)));
    lab.write("data.csv", &table());
    let server = lab.place.serve();
    lab.wait(&server, "the watch", |_| offsets(&lab) == 1);
    (lab, server)
}

fn finished(log: &Log) -> Vec<Value> {
    log.of("job_finished").cloned().collect()
}

#[test]
fn from_data_that_changed_to_a_release() {
    let (lab, server) = watched("");
    lab.write("data.csv", &other_table("violet"));
    let is_in_production = |log: &Log, version: u64| {
        let moved = log.of("environment_moved").count() as u64;
        moved == version && log.ended("succeeded") as u64 >= version
    };
    let log = lab.wait(&server, "the release", |log| is_in_production(log, 1));
    let job = log.of("job_started").last().unwrap()["seq"].clone();
    for kind in ["run_started", "version_created", "release_created", "rollout_started"] {
        let event = log.of(kind).last().unwrap_or_else(|| panic!("no {kind} in {log}"));
        assert_eq!(event["cause"], job, "{event}");
    }
    let why: Value = serde_json::from_str(&lab.run(&["why", "late@1", "--json"])).unwrap();
    let parts: Vec<&str> =
        why["chain"].as_array().unwrap().iter().map(|link| link["part"].as_str().unwrap()).collect();
    for part in ["cause", "data", "run", "tests", "version", "release", "rollout", "now"] {
        assert!(parts.contains(&part), "no {part} in {why}");
    }

    // Nothing new: the job says so and releases nothing.
    lab.run(&["trigger", "fire", "data-rows"]);
    let log = lab.wait(&server, "the second job", |log| log.ended("succeeded") == 2);
    let nothing = "nothing new to release: the run registered no new version of `late`";
    assert_eq!(finished(&log)[1]["reason"], nothing);
    assert_eq!(log.count("rollout_started"), 1);
    let history = lab.run(&["trigger", "history"]);
    assert!(history.contains("nothing new to release"), "{history}");

    // Another version is released while one is in production.
    lab.write("data.csv", &other_table("yellow"));
    lab.wait(&server, "the next release", |log| is_in_production(log, 2));
    lab.run(&["why", "late@2"]);

    // Tests that fail: no version, no release, and the reason in words.
    let strict = format!("project: lab\n{}{TRIGGER}", project("").replace("min: 0.6", "min: 1.1"));
    lab.write("tidemill.yaml", &strict);
    lab.write("data.csv", &other_table("orange"));
    let log = lab.wait(&server, "the refusal", |log| log.ended("failed") == 1);
    let reason = finished(&log).last().unwrap()["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("1 test of the model failed, so `late` gets no new version"), "{reason}");
    assert_eq!((log.count("rollout_started"), versions(&lab)), (2, vec![1, 2]));
    log.acted_once();
    server.stop();
}

#[test]
fn outside_of_the_envelope_a_person_is_asked() {
    let envelope = |data: &str, least: f64| {
        format!("  envelope: {{data: [{data}], metrics: {{roc_auc: {{min: {least}}}}}}}\n")
    };
    let (lab, server) = watched(&envelope("rows", 0.6));
    lab.write("data.csv", &other_table("violet"));
    let moved = |log: &Log| log.count("environment_moved");
    let log = lab.wait(&server, "the release that is inside", |log| moved(log) == 1);
    let gated = log.of("rollout_gated").last().unwrap();
    assert_eq!((&gated["passed"], &gated["detail"]), (&json!(true), &json!("inside the envelope")));

    // Nothing of what changes may change, and the metric is out of reach.
    let strict = format!("project: lab\n{}{TRIGGER}", project(&envelope("", 1.5)));
    lab.write("tidemill.yaml", &strict);
    lab.write("data.csv", &other_table("yellow"));
    let log = lab.wait(&server, "the next release", |log| log.count("rollout_gated") == 2);
    let why = log.of("rollout_gated").last().unwrap()["detail"].as_str().unwrap().to_owned();
    assert!(why.starts_with("outside the envelope: `rows` is not what the running release"), "{why}");
    assert!(why.contains("; roc_auc ") && why.ends_with(" is below 1.5"), "{why}");
    let begin = Instant::now();
    let status = || lab.run(&["rollout", "status", "2"]);
    while !status().contains("0 of 1 approvals by reviewer") {
        assert!(begin.elapsed() < Duration::from_secs(120), "{}\n{}", status(), server.said());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(status().contains("outside the envelope"), "{}", status());
    let api = super::registered::Api::of(&server, None);
    let told = api.call("GET", "/api/v1/rollouts/2", b"").to_string();
    assert!(told.contains("outside the envelope: `rows`"), "{told}");
    assert!(lab.run(&["why", "late@2"]).contains("outside the envelope"));
    assert_eq!(moved(&lab.log()), 1, "nobody has agreed");
    lab.run(&["rollout", "approve", "2"]);
    lab.wait(&server, "what was agreed to", |log| moved(log) == 2);

    // What a person releases is not bound by it.
    lab.run(&["release", "late@1", "--to", "prod"]);
    let log = lab.wait(&server, "the release by hand", |log| moved(log) == 3);
    assert_eq!(log.count("rollout_gated"), 2);
    server.stop();
}

/// What is trained again on the same data is another version, and as harmful as before.
#[test]
fn a_quarantine_holds_for_the_same_model_whatever_its_version() {
    let gated = project("").replace("{prod: {}}", "{prod: {approve: {by: owner, people: [ada]}}}");
    let lab = Lab::new(&gated);
    for color in ["red", "violet", "red"] {
        lab.write("data.csv", &other_table(color));
        run(&lab.place, &[]).good();
    }
    assert_eq!(versions(&lab), [1, 2, 3]);
    let server = lab.place.serve();
    lab.run(&["release", "late@1", "--to", "prod"]);
    let waits = |log: &Log| log.of("rollout_moved").any(|event| event["to"] == "awaiting");
    lab.wait(&server, "the question", waits);
    // It waits for the first one, and is found out when its turn has come.
    lab.run(&["release", "late@3", "--to", "prod"]);
    lab.run(&["rollout", "rollback", "1", "--reason", "it was mis-joined"]);
    let is_refused = |event: &Value| event["rollout"] == 2 && event["to"] == "refused";
    let log = lab.wait(&server, "the refusal", |log| log.of("rollout_moved").any(is_refused));
    let why =
        log.of("rollout_moved").find(|event| is_refused(event)).unwrap()["why"].as_str().unwrap().to_owned();
    assert!(why.contains("late@3 is the same model as late@1"), "{why}");
    let again = lab.place.command(&["release", "late@3", "--to", "prod"]).output().unwrap();
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert_eq!(again.status.code(), Some(1), "{said}");
    assert!(
        said.contains("in quarantine in `prod`: ") && said.contains("it was mis-joined; release a model"),
        "{said}"
    );
    lab.run(&["release", "late@2", "--to", "prod"]);
    // What a person saw is not of the threshold, which changes no answer.
    let other =
        lab.place.command(&["release", "late@3", "--to", "prod", "--threshold", "0.9"]).output().unwrap();
    assert_eq!(other.status.code(), Some(1), "{other:?}");
    server.stop();
}

/// An envelope that limits flips: what they are measured against is what runs.
#[test]
fn flips_against_the_champion_are_inside_of_the_envelope() {
    let more = "  envelope: {flips: {max: 100%}}\n";
    let text = project(more).replace("min: 0.6}}]", "min: 0.6}}, {flips: {max: 100%}}]");
    let lab = Lab::new(&format!("{text}{TRIGGER}"));
    lab.write("data.csv", &table());
    let server = lab.place.serve();
    lab.wait(&server, "the watch", |_| offsets(&lab) == 1);
    lab.write("data.csv", &other_table("violet"));
    let gated = |log: &Log, at: usize| -> Value {
        log.of("rollout_gated").filter(|event| event["gate"] == "envelope").nth(at).unwrap()["detail"].clone()
    };
    let log = lab.wait(&server, "the first release", |log| log.count("rollout_gated") >= 1);
    assert_eq!(gated(&log, 0), "outside the envelope: nothing runs that decisions could flip against");
    let waits = |log: &Log| log.of("rollout_moved").any(|event| event["to"] == "awaiting");
    lab.wait(&server, "the question", waits);
    lab.run(&["rollout", "approve", "1"]);
    let log = lab.wait(&server, "the champion", |log| log.count("alias_moved") == 1);
    assert_eq!(log.of("alias_moved").next().unwrap()["to"], 1);

    lab.write("data.csv", &other_table("yellow"));
    let log = lab.wait(&server, "the second champion", |log| log.count("alias_moved") == 2);
    assert_eq!(gated(&log, 1), "inside the envelope");
    let facts = &log.of("version_created").last().unwrap()["facts"];
    assert_eq!(facts["flips"]["against"], 1, "{facts}");
    // The next run finds itself the champion, which is no reason to fail.
    run(&lab.place, &[]).good();
    server.stop();
}
