//! What environments run, as commits: the real binary, a real bare repository, hooks that refuse, and kill -9.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::continuous::{other_table, project};
use super::process::Server;
use super::triggers::{Lab, Log, Repository, git, offsets};

const FILE: &str = "environments/prod.yaml";

/// A project with two versions of its model, in a clone of a bare repository.
fn released(git: &str, more: &str) -> (Lab, Repository) {
    let lab = Lab::new(&format!("{}{more}", project(&format!("  git: {git}\n"))));
    lab.write("data.csv", &other_table("red"));
    let repository = Repository::new(&lab);
    lab.run(&["run"]);
    lab.write("data.csv", &other_table("violet"));
    lab.run(&["run"]);
    (lab, repository)
}

fn release(lab: &Lab, version: u32) {
    lab.run(&["release", &format!("late@{version}"), "--to", "prod"]);
}

/// Waits until so many records are written.
#[track_caller]
fn written(lab: &Lab, server: &Server, count: usize) -> Log {
    lab.wait(server, "the record", |log| log.count("environment_recorded") >= count)
}

/// What a file is on a branch.
fn shown(repository: &Path, branch: &str) -> String {
    git(repository, &["show", &format!("{branch}:{FILE}")])
}

/// The titles of a branch's commits, newest first.
fn titles(repository: &Path, branch: &str) -> Vec<String> {
    git(repository, &["log", "--format=%s", branch]).lines().map(str::to_owned).collect()
}

/// Lets the bare repository do something at every push.
fn hook(repository: &Repository, name: &str, script: &str) {
    let path = repository.bare.join("hooks").join(name);
    fs_err::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// What nobody may touch: where the clone is, its index, its files.
fn workspace(clone: &Path) -> (String, String, String) {
    let state = git(clone, &["status", "--porcelain"]);
    (git(clone, &["rev-parse", "HEAD"]), git(clone, &["ls-files", "--stage"]), state)
}

#[test]
fn each_change_is_a_commit_on_the_branch_of_the_remote() {
    let trigger = "triggers: [{when: {git: {branch: main, remote: origin, poll: 1s}}, actions: [check]}]\n";
    let (lab, repository) = released("{branch: main, push: origin}", trigger);
    let before = workspace(&repository.clone);
    let server = lab.place.serve();
    lab.wait(&server, "the watch", |_| offsets(&lab) >= 2);
    release(&lab, 1);
    let log = written(&lab, &server, 1);
    let text = shown(&repository.bare, "main");
    assert!(
        text.contains("environment: prod\nendpoint: late\nruns:\n  model: late\n  version: 1\n"),
        "{text}"
    );
    let recorded = log.of("environment_recorded").next().unwrap();
    assert_eq!(recorded["commit"], git(&repository.bare, &["rev-parse", "main"]).trim());
    assert!(log.has(recorded["cause"].as_u64().unwrap()));
    let author = git(&repository.bare, &["log", "-1", "--format=%an <%ae>", "main"]);
    assert_eq!(author.trim(), "Tidemill <tidemill@localhost>");

    // Somebody else pushes meanwhile, and what they wrote stays.
    let other = repository.colleague();
    fs_err::write(other.join("in.txt"), "by a colleague").unwrap();
    let change = repository.commit(&other);
    release(&lab, 2);
    written(&lab, &server, 2);
    let expected = ["prod runs late@2 at late", "a change", "prod runs late@1 at late", "a change"];
    assert_eq!(titles(&repository.bare, "main"), expected);
    assert_eq!(git(&repository.bare, &["show", "main:in.txt"]), "by a colleague");
    assert!(shown(&repository.bare, "main").contains("version: 2\n"));

    // One that goes back leaves what runs, and says why.
    let declared = fs_err::read_to_string(lab.place.root().join("tidemill.yaml")).unwrap();
    let gated = declared.replace("{prod: {}}", "{prod: {approve: {by: owner, people: [ada]}}}");
    lab.write("tidemill.yaml", &gated);
    release(&lab, 1);
    lab.wait(&server, "the question", |log| log.of("rollout_moved").any(|event| event["to"] == "awaiting"));
    lab.run(&["rollout", "rollback", "3", "--reason", "it was mis-joined"]);
    written(&lab, &server, 3);
    let text = shown(&repository.bare, "main");
    let runs = text.find("runs:\n  model: late\n  version: 2\n").unwrap_or_else(|| panic!("{text}"));
    let back = text.find("rolled_back:\n  model: late\n  version: 1\n").unwrap_or_else(|| panic!("{text}"));
    assert!(runs < back && text.contains("it was mis-joined\"\n"), "{text}");
    assert_eq!(titles(&repository.bare, "main")[0], "prod went back from late@1 at late");

    // It is seen wherever somebody looks.
    let status = lab.run(&["rollout", "status", "2"]);
    assert!(
        status.contains("record in Git: commit ") && status.contains(" on `main` of `origin`"),
        "{status}"
    );
    let status: Value = serde_json::from_str(&lab.run(&["rollout", "status", "3", "--json"])).unwrap();
    assert_eq!(status["record"]["written"], true, "{status}");
    assert!(lab.run(&["why", "late@2"]).contains("rollout 2: record in Git: commit "));
    let api = super::registered::Api::of(&server, None);
    let told = api.call("GET", "/api/v1/rollouts/2", b"");
    assert_eq!(told["data"]["record"]["written"], true, "{told}");

    // The clone is where it was, and of all commits only the colleague's has set off the trigger.
    let (head, index, _) = workspace(&repository.clone);
    assert_eq!((&head, &index), (&before.0, &before.1));
    assert!(!lab.place.root().join(FILE).exists());
    let is_seen =
        |log: &Log| log.of("source_changed").any(|event| event["details"]["commit"] == change.as_str());
    let log = lab.wait(&server, "the colleague's commit", is_seen);
    assert_eq!(log.count("source_changed"), 1, "{log}");
    server.stop();
}

#[test]
fn what_a_remote_refuses_is_said_and_tried_again_while_rollouts_go_on() {
    let (lab, repository) = released("{branch: main, push: origin}", "");
    hook(&repository, "pre-receive", "echo 'main is closed until Monday' >&2; exit 1");
    let server = lab.place.serve();
    release(&lab, 1);
    lab.wait(&server, "the refusal", |log| log.count("environment_unrecorded") == 1);
    let status = lab.run(&["rollout", "status", "1"]);
    assert!(status.contains("in `prod`: complete"), "{status}");
    assert!(
        status.contains("record in Git: not written to `main` of `origin` yet, tried again: "),
        "{status}"
    );
    assert!(status.contains("main is closed until Monday"), "{status}");
    assert!(lab.run(&["why", "late@1"]).contains("main is closed until Monday"));
    release(&lab, 2);
    lab.wait(&server, "the next release", |log| log.count("environment_moved") == 2);

    // Also a server that starts anew knows what is not written, and says the same thing once.
    server.kill();
    let server = lab.place.serve();
    fs_err::remove_file(repository.bare.join("hooks/pre-receive")).unwrap();
    let log = written(&lab, &server, 2);
    let expected = ["prod runs late@2 at late", "prod runs late@1 at late", "a change"];
    assert_eq!(titles(&repository.bare, "main"), expected);
    assert_eq!((log.count("environment_recorded"), log.count("environment_unrecorded")), (2, 1), "{log}");
    server.stop();
}

#[test]
fn killed_between_the_push_and_the_note() {
    let (lab, repository) = released("{branch: main, push: origin}", "");
    let root = lab.place.root().to_owned();
    let wait = "touch \"$LAB/pushed.log\"; while [ ! -e \"$LAB/go.log\" ]; do sleep 0.05; done";
    hook(&repository, "post-receive", &format!("LAB='{}'\n{wait}", root.display()));
    let server = lab.place.serve();
    release(&lab, 1);
    let begin = Instant::now();
    while !root.join("pushed.log").exists() {
        assert!(begin.elapsed() < Duration::from_secs(120), "{}", server.said());
        std::thread::sleep(Duration::from_millis(20));
    }
    server.kill();
    lab.write("go.log", "");
    assert_eq!(lab.log().count("environment_recorded"), 0);
    // Somebody pushes on top before the server is back.
    let other = repository.colleague();
    repository.commit(&other);
    let server = lab.place.serve();
    let log = written(&lab, &server, 1);
    assert_eq!(titles(&repository.bare, "main"), ["a change", "prod runs late@1 at late", "a change"]);
    let recorded = log.of("environment_recorded").next().unwrap();
    assert_eq!(recorded["commit"], git(&repository.bare, &["rev-parse", "main~1"]).trim());
    server.stop();
}

#[test]
fn a_branch_to_be_merged_and_a_branch_of_the_repository_itself() {
    let (lab, repository) = released("{branch: main, push: origin, pull_request: true}", "");
    hook(&repository, "post-receive", "echo 'open a pull request at /lab/new'");
    let main = git(&repository.bare, &["rev-parse", "main"]);
    let server = lab.place.serve();
    release(&lab, 1);
    let log = written(&lab, &server, 1);
    let recorded = log.of("environment_recorded").next().unwrap();
    assert_eq!(recorded["said"], "open a pull request at /lab/new");
    let branch = recorded["branch"].as_str().unwrap();
    assert!(branch.starts_with("tidemill/prod/") && branch.ends_with("-1"), "{branch}");
    assert_eq!(git(&repository.bare, &["rev-parse", &format!("{branch}~1")]), main);
    assert_eq!(git(&repository.bare, &["rev-parse", "main"]), main, "that is for a person");
    assert!(shown(&repository.bare, branch).contains("version: 1\n"));

    // Nobody's checkout is changed below their feet; what the project file says next is used for what waits.
    let declared = fs_err::read_to_string(lab.place.root().join("tidemill.yaml")).unwrap();
    let declare = |git: &str| {
        let old = "{branch: main, push: origin, pull_request: true}";
        lab.write("tidemill.yaml", &declared.replace(old, git));
    };
    declare("{branch: main}");
    release(&lab, 2);
    let log = lab.wait(&server, "the refusal", |log| log.count("environment_unrecorded") == 1);
    let reason = log.of("environment_unrecorded").next().unwrap()["reason"].as_str().unwrap().to_owned();
    assert!(
        reason.starts_with("the branch `main` is checked out, ") && reason.contains("`push`"),
        "{reason}"
    );
    declare("{branch: running, path: 'deployed/{environment}.yaml'}");
    let is_missing = |log: &Log| {
        let mut reasons = log.of("environment_unrecorded").map(|event| event["reason"].as_str().unwrap());
        reasons.any(|reason| reason.starts_with("there is no branch `running`; make it"))
    };
    lab.wait(&server, "the missing branch", is_missing);
    let before = workspace(&repository.clone);
    git(&repository.clone, &["branch", "running", "main"]);
    written(&lab, &server, 2);
    assert!(git(&repository.clone, &["show", "running:deployed/prod.yaml"]).contains("version: 2\n"));
    assert_eq!(titles(&repository.clone, "running"), ["prod runs late@2 at late", "a change"]);
    assert_eq!(workspace(&repository.clone), before);
    server.stop();
}
