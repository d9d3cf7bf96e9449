//! Continuous delivery of the pipeline itself: a commit is tested in a checkout of its own and released through the gates that its file and
//! the file before it declare. A real repository, a real push webhook with its signature, and kill -9.

use std::path::Path;

use serde_json::{Value, json};

use super::continuous::{other_table, project};
use super::identity::by_name;
use super::process::Server;
use super::tracked::table;
use super::triggers::{Lab, Log, Repository, git, post, signed};
use crate::fixture::Ran;

const SECRET: &str = "a secret of the hook";
const TRIGGER: &str =
    "triggers: [{when: {git: {branch: main, poll: 0s}}, actions: [ci], secret: {file: secret}}]\n";

/// A project in a repository, whose server hears of pushes; a colleague's clone of it.
fn lab(text: &str) -> (Lab, Repository, std::path::PathBuf) {
    let lab = Lab::new(&format!("{text}{TRIGGER}"));
    lab.write("secret", SECRET);
    lab.write("data.csv", &table());
    let repository = Repository::new(&lab);
    let other = repository.colleague();
    (lab, repository, other)
}

fn push(server: &Server, commit: &str) {
    let body = json!({"ref": "refs/heads/main", "after": commit, "pusher": {"name": "ada"}}).to_string();
    let headers = [("X-GitHub-Event", "push"), ("X-Hub-Signature-256", &*signed(SECRET, &body))];
    assert_eq!(post(server, "/hooks/git-main", &headers, &body).0, 202);
}

/// The file that says what became of a commit.
fn status(lab: &Lab, commit: &str) -> Value {
    let file = lab.place.root().join(format!(".tidemill/ci/{commit}.json"));
    serde_json::from_str(&fs_err::read_to_string(file).unwrap()).unwrap()
}

fn ended(log: &Log, state: &str) -> usize {
    log.of("ci_finished").filter(|event| event["state"] == state).count()
}

fn change(clone: &Path, name: &str, text: &str) {
    fs_err::write(clone.join(name), text).unwrap();
}

fn replace(clone: &Path, from: &str, to: &str) {
    let text = fs_err::read_to_string(clone.join("tidemill.yaml")).unwrap();
    assert!(text.contains(from), "no {from} in {text}");
    change(clone, "tidemill.yaml", &text.replace(from, to));
}

#[track_caller]
fn no_checkout_is_left(lab: &Lab) {
    let left: Vec<_> = fs_err::read_dir(lab.place.root().join(".tidemill/tmp")).unwrap().flatten().collect();
    assert!(left.iter().all(|entry| !entry.file_name().to_string_lossy().starts_with("ci-")), "{left:?}");
}

#[test]
fn a_push_goes_to_production_through_the_gates() {
    let gated = "{prod: {approve: {by: owner, people: [tester, t, ada]}}}";
    let (lab, repository, other) = lab(&project("").replace("{prod: {}}", gated));
    let before = git(&repository.clone, &["for-each-ref"]);
    let server = lab.place.serve();
    change(&other, "data.csv", &other_table("violet"));
    let first = repository.commit(&other);
    push(&server, &first);
    let log = lab.wait(&server, "the release", |log| log.ended("succeeded") == 1);
    assert_eq!(
        log.chain("rollout_started"),
        ["rollout_started", "ci_started", "job_started", "trigger_fired", "source_changed"]
    );
    let version = log.of("version_created").last().unwrap();
    assert_eq!((version["version"].as_u64(), &version["facts"]["commit"]), (Some(1), &json!(first)));
    assert_eq!(log.of("run_started").last().unwrap()["commit"], first.as_str());
    let said = status(&lab, &first);
    assert_eq!((&said["state"], &said["part"]), (&json!("succeeded"), &json!("release")), "{said}");
    assert_eq!((&said["version"], &said["rollout"]), (&json!("late@1"), &json!(1)), "{said}");
    assert_eq!(said["environment"], "prod");

    // Neither who wrote the commit nor who pushed it agrees to it.
    let waits = |log: &Log| log.of("rollout_moved").any(|event| event["to"] == "awaiting");
    lab.wait(&server, "the question", waits);
    for who in ["t", "ada"] {
        by_name(&lab.place, who, &["rollout", "approve", "1"])
            .fails(1, &[&format!("`{who}` made this release or set it off, and cannot approve it")]);
    }
    lab.run(&["rollout", "approve", "1"]);
    lab.wait(&server, "production", |log| log.count("environment_moved") == 1);
    let why = lab.run(&["why", "late@1"]);
    let short = &first[..10];
    for part in [
        format!("git `main`: branch main, commit {first}"),
        format!("ci.started: commit {short} by t"),
        format!("at commit {short}"),
        "tests of the model: 1 passed".to_owned(),
        "approved by tester as owner".to_owned(),
        "`prod` runs it".to_owned(),
    ] {
        assert!(why.contains(&part), "no {part} in {why}");
    }

    // The repository of the project is as it was: its files, its index, its branches, and what it knows of the remote.
    assert_eq!(git(&repository.clone, &["status", "--porcelain"]), "");
    assert_eq!(git(&repository.clone, &["for-each-ref"]), before);
    assert!(!repository.clone.join(".git/FETCH_HEAD").exists());
    assert_eq!(fs_err::read_to_string(repository.clone.join("data.csv")).unwrap(), table());

    // A commit that makes the same model releases nothing.
    change(&other, "README", "words");
    push(&server, &repository.commit(&other));
    let log = lab.wait(&server, "the words", |log| log.ended("succeeded") == 2);
    let what = log.of("ci_finished").last().unwrap()["what"].as_str().unwrap().to_owned();
    assert!(what.contains("there is nothing new to release: its model is late@1"), "{what}");
    assert_eq!(log.count("rollout_started"), 1);

    // One that asks nobody any more, and whose test asks for less, is asked about.
    replace(&other, gated, "{prod: {}}");
    replace(&other, "min: 0.6", "min: 0.55");
    change(&other, "data.csv", &other_table("yellow"));
    let weaker = repository.commit(&other);
    push(&server, &weaker);
    let log = lab.wait(&server, "the weaker plan", |log| log.count("rollout_started") == 2);
    let detail = log.of("rollout_gated").last().unwrap()["detail"].as_str().unwrap().to_owned();
    for why in [
        "asks for less than rollout 1",
        "1 of owner",
        "`min` of the test `metric` of `roc_auc` is 0.55, not 0.6",
    ] {
        assert!(detail.contains(why), "{detail}");
    }
    lab.wait(&server, "its end", |log| log.ended("succeeded") == 3);
    let said = status(&lab, &weaker);
    assert!(said["next"].as_str().unwrap().starts_with("it waits for people: "), "{said}");

    // Tests that fail: no version, no release, and what to do next.
    replace(&other, "min: 0.55", "min: 1.1");
    change(&other, "data.csv", &other_table("orange"));
    let bad = repository.commit(&other);
    push(&server, &bad);
    let log = lab.wait(&server, "the refusal", |log| log.ended("failed") == 1);
    let reason = log.of("job_finished").last().unwrap()["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("1 test of the model failed: "), "{reason}");
    let said = status(&lab, &bad);
    assert_eq!((&said["state"], &said["part"]), (&json!("failed"), &json!("tests")), "{said}");
    assert_eq!(said["next"], "correct the data, the training or the limits and commit again");
    assert_eq!((log.count("rollout_started"), log.count("version_created")), (2, 2));
    log.acted_once();
    lab.run(&["log", "verify"]);
    server.stop();
}

/// Killed in the middle of the pipeline and again when its rollout has just begun, a commit becomes one version and one rollout.
#[test]
fn killed_on_the_way_of_a_commit() {
    let text = project("").replace(
        "pipeline:\n",
        "pipeline:\n  first: {run: echo 1 > first.txt, outs: [first.txt]}\n  \
         slow: {run: sleep 2 && cat first.txt > slow.txt, deps: [first.txt], outs: [slow.txt]}\n",
    );
    let (lab, repository, other) = lab(&text);
    let server = lab.place.serve();
    change(&other, "data.csv", &other_table("violet"));
    push(&server, &repository.commit(&other));
    lab.wait(&server, "the first step", |log| log.of("step_finished").any(|step| step["step"] == "first"));
    server.kill();
    let server = lab.place.serve();
    let log = lab.wait(&server, "the end", |log| log.ended("succeeded") == 1);
    let attempts: Vec<u64> = log.of("job_started").map(|event| event["attempt"].as_u64().unwrap()).collect();
    assert_eq!(attempts, [1, 2]);
    let ran =
        log.of("step_finished").filter(|step| step["step"] == "first" && step["state"] == "ran").count();
    assert_eq!(ran, 1, "what was finished is not done again: {log}");
    assert_eq!(
        (log.count("version_created"), log.count("rollout_started"), ended(&log, "succeeded")),
        (1, 1, 1)
    );

    change(&other, "data.csv", &other_table("yellow"));
    push(&server, &repository.commit(&other));
    lab.wait(&server, "the rollout", |log| log.count("rollout_started") == 2);
    server.kill();
    let server = lab.place.serve();
    let log = lab.wait(&server, "the other end", |log| log.ended("succeeded") == 2);
    assert_eq!((log.count("version_created"), log.count("rollout_started")), (2, 2), "{log}");
    no_checkout_is_left(&lab);
    log.acted_once();
    lab.run(&["log", "verify"]);
    server.stop();
}

#[test]
fn a_newer_commit_takes_the_place_of_one_that_is_tested() {
    let lab_text = "pipeline: {slow: {run: cat in.txt && sleep 600, deps: [in.txt], outs: [out.txt]}}\n\
         triggers: [{when: {git: {branch: main, poll: 0s}}, actions: [test], secret: {file: secret}, concurrency: supersede}]\n";
    let lab = Lab::new(lab_text);
    lab.write("secret", SECRET);
    let repository = Repository::new(&lab);
    let other = repository.colleague();
    let server = lab.place.serve();
    let commit = |text: &str| {
        change(&other, "in.txt", text);
        repository.commit(&other)
    };
    let first = commit("1");
    push(&server, &first);
    lab.wait(&server, "the first run", |log| log.count("run_started") == 1);
    let second = commit("2");
    push(&server, &second);
    let log = lab.wait(&server, "the second run", |log| log.count("run_started") == 2);
    assert_eq!(log.ended("superseded"), 1, "{log}");
    assert_eq!((ended(&log, "cancelled"), &status(&lab, &first)["state"]), (1, &json!("cancelled")));
    assert_eq!(status(&lab, &second)["state"], "running");
    let job = log.of("trigger_fired").last().unwrap()["job"].to_string();
    lab.run(&["trigger", "cancel", &job]);
    let log = lab.wait(&server, "the end", |log| log.ended("cancelled") == 1);
    // Only tested, it is for no environment.
    assert!(log.of("ci_finished").all(|event| event["environment"].is_null()), "{log}");
    no_checkout_is_left(&lab);
    server.stop();
}

/// The same by hand, without a server.
#[test]
fn a_commit_by_hand() {
    let (lab, _, other) = lab(&project(""));
    let ci =
        |arguments: &[&str]| Ran::of(&lab.place.command(&[&["ci"], arguments].concat()).output().unwrap());
    // A branch that only the remote has.
    git(&other, &["checkout", "--quiet", "-b", "feature"]);
    change(&other, "data.csv", &other_table("violet"));
    git(&other, &["commit", "--quiet", "--all", "--message", "a feature"]);
    git(&other, &["push", "--quiet", "origin", "feature"]);
    let feature = git(&other, &["rev-parse", "HEAD"]).trim().to_owned();
    let told = ci(&["--commit", "feature", "--no-release", "--json"]).good().json();
    assert_eq!((&told["commit"], &told["status"]["state"]), (&json!(feature), &json!("succeeded")), "{told}");
    assert_eq!(
        (&told["pipeline"]["registered"], &told["status"]["environment"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(lab.log().count("version_created"), 0);

    let told = ci(&["--commit", &feature, "--json"]).good().json();
    assert_eq!(
        (&told["release"]["rollout"], &told["status"]["version"]),
        (&json!(1), &json!("late@1")),
        "{told}"
    );
    let log = lab.log();
    assert_eq!(log.chain("rollout_started"), ["rollout_started", "ci_started"]);
    assert_eq!(log.of("ci_started").last().unwrap()["actor"]["name"], "tester");
    ci(&["--commit", &feature]).good().says(&["there is nothing new to release: its model is late@1"]);
    // By its own name or by its branch's, and what is checked out where nothing is named.
    ci(&[]).good().says(&["late@2"]);

    ci(&["none"]).fails(2, &["there is no commit `none` here or at `origin`"]);
    ci(&["--to", "nowhere"]).fails(2, &["there is no environment `nowhere`"]);
    ci(&["--commit", &"1".repeat(40)])
        .fails(1, &["the commit 111111111111 cannot be fetched: `origin` says: "]);
    assert_eq!(status(&lab, &"1".repeat(40))["part"], "checkout");
    replace(&other, "algorithm: gbdt", "algorithm: gbtd");
    git(&other, &["commit", "--quiet", "--all", "--message", "a mistake"]);
    git(&other, &["push", "--quiet", "origin", "feature"]);
    ci(&["feature"]).fails(2, &["gbtd"]);
    let log = lab.log();
    let last = log.of("ci_finished").last().unwrap();
    assert_eq!((&last["state"], &last["part"]), (&json!("failed"), &json!("check")), "{last}");
    assert!(last["what"].as_str().unwrap().contains("gbtd"), "{last}");
}
