//! Triggers from outside: the real binary, real files, a real Git repository, signed webhooks, and kill -9.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tidemill_core::Timestamp;

use super::client::Client;
use super::process::{Place, Server};

pub(super) const STEP: &str =
    "pipeline: {copy: {run: cat in.txt > out.txt, deps: [in.txt], outs: [out.txt]}}\n";

/// A project with triggers in a folder of its own.
pub(super) struct Lab {
    pub(super) place: Place,
}

impl Lab {
    pub(super) fn new(rest: &str) -> Self {
        let place = Place::sqlite();
        fs_err::write(place.root().join("tidemill.yaml"), format!("project: lab\n{rest}")).unwrap();
        fs_err::write(place.root().join("in.txt"), "0").unwrap();
        Self { place }
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        let path = self.place.root().join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }

    #[track_caller]
    pub(super) fn run(&self, arguments: &[&str]) -> String {
        let output = self.place.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(super) fn log(&self) -> Log {
        Log::read(&self.run(&["log", "export"]))
    }

    /// Waits until the log is as it should be.
    #[track_caller]
    pub(super) fn wait(&self, server: &Server, what: &str, is: impl Fn(&Log) -> bool) -> Log {
        let begin = Instant::now();
        loop {
            let log = self.log();
            if is(&log) {
                return log;
            }
            assert!(
                begin.elapsed() < Duration::from_secs(120),
                "{what} did not happen:\n{log}\n{}\n{}",
                server.said(),
                self.jobs()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What jobs printed.
    fn jobs(&self) -> String {
        let Ok(files) = fs_err::read_dir(self.place.root().join(".tidemill/jobs")) else {
            return String::new();
        };
        files.flatten().map(|file| fs_err::read_to_string(file.path()).unwrap_or_default()).collect()
    }
}

/// The log of events, oldest first.
pub(super) struct Log(Vec<Value>);

impl Log {
    /// As `tidemill log export` prints it.
    pub(super) fn read(text: &str) -> Self {
        Self(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }

    pub(super) fn of<'l>(&'l self, kind: &'l str) -> impl Iterator<Item = &'l Value> {
        self.0.iter().filter(move |event| event["kind"] == kind)
    }

    pub(super) fn count(&self, kind: &str) -> usize {
        self.of(kind).count()
    }

    /// Whether it has an event of this number.
    pub(super) fn has(&self, seq: u64) -> bool {
        self.0.iter().any(|event| event["seq"] == seq)
    }

    /// Jobs that ended in this state.
    pub(super) fn ended(&self, state: &str) -> usize {
        self.of("job_finished").filter(|event| event["state"] == state).count()
    }

    /// The events that led to the last of this kind, itself first.
    pub(super) fn chain(&self, kind: &str) -> Vec<String> {
        let mut at = self.of(kind).last();
        let mut found = Vec::new();
        while let Some(event) = at {
            found.push(event["kind"].as_str().unwrap().to_owned());
            at = self.0.iter().find(|other| !event["cause"].is_null() && other["seq"] == event["cause"]);
        }
        found
    }

    /// Each source event has led to at most one job of a trigger, and each job to one end.
    #[track_caller]
    pub(super) fn acted_once(&self) {
        let mut causes = BTreeSet::new();
        for event in self.of("trigger_fired").chain(self.of("trigger_suppressed")) {
            assert!(
                causes.insert((event["trigger"].to_string(), event["cause"].to_string())),
                "twice: {event}\n{self}"
            );
        }
        let mut ends = BTreeMap::new();
        for event in self.of("job_finished") {
            *ends.entry(event["job"].to_string()).or_insert(0) += 1;
        }
        assert!(ends.values().all(|count| *count == 1), "{ends:?}\n{self}");
    }
}

impl std::fmt::Display for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|event| writeln!(f, "{event}"))
    }
}

pub(super) fn post(server: &Server, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
    let mut client = Client::connect(&server.url).unwrap();
    let answer = client.send_with("POST", path, headers, body.as_bytes()).unwrap();
    (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
}

/// Milliseconds now, on the clock that the server has too.
fn now() -> i64 {
    tidemill_core::Clock::now(&tidemill_core::SystemClock).millis()
}

fn at(event: &Value) -> i64 {
    event["at"].as_i64().unwrap_or_else(|| Timestamp::parse(event["at"].as_str().unwrap()).unwrap().millis())
}

#[test]
fn a_schedule_of_seconds_survives_kills() {
    let lab = Lab::new(&format!(
        "{STEP}triggers: [{{when: {{schedule: '* * * * * *'}}, actions: [check]}}, \
         {{name: far, when: {{schedule: {{cron: '0 3 * * *', timezone: Europe/Berlin}}}}, actions: [run]}}]\n"
    ));
    for round in 1..=3 {
        let server = lab.place.serve();
        lab.wait(&server, "three times", |log| log.count("trigger_fired") >= 3 * round);
        server.kill();
    }
    let server = lab.place.serve();
    let log = lab.wait(&server, "a job", |log| log.ended("succeeded") >= 3);
    let times: Vec<String> =
        log.of("source_changed").map(|event| event["details"]["time"].as_str().unwrap().to_owned()).collect();
    assert_eq!(times.iter().collect::<BTreeSet<_>>().len(), times.len(), "a time fired twice: {times:?}");
    assert!(log.of("trigger_fired").all(|event| event["trigger"] == "schedule"), "{log}");
    log.acted_once();
    let listed: Value = serde_json::from_str(&lab.run(&["trigger", "list", "--json"])).unwrap();
    assert_eq!((listed[1]["name"].as_str(), listed[1]["kind"].as_str()), (Some("far"), Some("schedule")));
    assert!(listed[1]["next_fire"].as_str().unwrap().contains(":00:00Z"), "{listed}");
    server.stop();
}

/// A server was away from 10:05 to 10:45, and what becomes of 10:10, 10:20, 10:30 and 10:40 is what each schedule says.
#[test]
fn times_at_which_no_server_ran_are_made_up_for_as_declared() {
    let schedule = |name: &str| {
        format!(
            "{{name: {name}, when: {{schedule: {{cron: '*/10 * * * *', missed: {name}}}}}, actions: [check]}}"
        )
    };
    let rules = ["skip", "once", "all"].map(schedule).join(", ");
    let lab = Lab::new(&format!(
        "{STEP}triggers: [{rules}, {{name: now, when: {{schedule: '* * * * * *'}}, actions: [check]}}]\n"
    ));
    let fired = |log: &Log, name: &str| -> Vec<String> {
        let fired = log.of("trigger_fired").filter(|event| event["trigger"] == name);
        let cause =
            |event: &Value| log.of("source_changed").find(|one| one["seq"] == event["cause"]).cloned();
        let time = |event: Value| event["details"]["time"].as_str().unwrap().to_owned();
        fired.filter_map(cause).map(time).collect()
    };
    let server = serve_at(&lab, "2027-03-02 10:05:02");
    lab.wait(&server, "a second", |log| !fired(log, "now").is_empty());
    server.kill();
    let server = serve_at(&lab, "2027-03-02 10:45:30");
    let log = lab.wait(&server, "a later second", |log| {
        fired(log, "now").iter().filter(|time| time.as_str() > "2027-03-02T10:45:31").count() > 2
            && fired(log, "all").len() >= 4
    });
    let times = |minutes: &[&str]| -> Vec<String> {
        minutes.iter().map(|minute| format!("2027-03-02T10:{minute}:00Z")).collect()
    };
    assert_eq!(fired(&log, "all"), times(&["10", "20", "30", "40"]), "{log}");
    assert_eq!(fired(&log, "once"), times(&["40"]), "{log}");
    assert_eq!(fired(&log, "skip"), times(&[]), "{log}");
    log.acted_once();
    server.kill();
    // What was made up for is not made up for again, and what comes on time is not missed.
    let server = serve_at(&lab, "2027-03-02 10:49:58");
    let log = lab.wait(&server, "ten to eleven", |log| {
        ["skip", "once", "all"].iter().all(|name| fired(log, name).contains(&times(&["50"])[0]))
    });
    assert_eq!(fired(&log, "all"), times(&["10", "20", "30", "40", "50"]), "{log}");
    assert_eq!(fired(&log, "once"), times(&["40", "50"]), "{log}");
    assert_eq!(fired(&log, "skip"), times(&["50"]), "{log}");
    server.stop();
}

/// A server for which it is another time, in UTC. Its waits are as long as ever.
fn serve_at(lab: &Lab, time: &str) -> Server {
    let library = fs_err::read_dir("/usr/lib").unwrap().flatten();
    let library =
        library.map(|entry| entry.path().join("faketime/libfaketimeMT.so.1")).find(|file| file.is_file());
    let library = library.expect("`cargo xtask setup` installs `faketime`");
    lab.place.serve_in(&[
        ("LD_PRELOAD", library.to_str().unwrap()),
        ("FAKETIME", &format!("@{time}")),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
        ("TZ", "UTC"),
    ])
}

#[test]
fn files_and_versions_of_a_dataset() {
    let lab = Lab::new(
        "data: {rows: {path: data/*.csv}}\n\
         pipeline: {count: {run: cat data/*.csv > all.txt, deps: [data], outs: [all.txt]}}\n\
         triggers: [{when: {data: rows}, actions: [run]}]\n",
    );
    lab.write("data/a.csv", "x\n1\n");
    let server = lab.place.serve();
    // Where things stand at the first look is no change.
    lab.wait(&server, "the watch", |_| offsets(&lab) == 1);
    let mut latencies = Vec::new();
    for i in 1..=3 {
        let begin = now();
        lab.write("data/b.csv", &format!("x\n{}\n", "7\n".repeat(i)));
        let log =
            lab.wait(&server, "a run", |log| log.count("run_started") >= i && log.ended("succeeded") >= i);
        latencies.push(at(log.of("run_started").last().unwrap()) - begin);
        assert_eq!(
            log.chain("run_started"),
            ["run_started", "job_started", "trigger_fired", "source_changed"]
        );
    }
    println!("files: changed to run started, ms: {latencies:?}");
    lab.write("data/ignored.txt", "x");
    server.kill();
    // What changes while nobody is there is seen at the next start.
    lab.write("data/c.csv", "x\n9\n");
    let server = lab.place.serve();
    let log = lab.wait(&server, "the change during the absence", |log| log.ended("succeeded") >= 4);
    assert_eq!(log.count("source_changed"), 4, "{log}");
    let begin = now();
    lab.run(&["data", "add", "rows", "data"]);
    let log = lab.wait(&server, "the version", |log| log.ended("succeeded") >= 5);
    let fired = log.of("trigger_fired").last().unwrap();
    println!("version of a dataset by another process: begun to fired, ms: {}", at(fired) - begin);
    assert_eq!(log.chain("trigger_fired"), ["trigger_fired", "dataset_version_created"]);
    log.acted_once();
    server.stop();
}

/// How many sources have a place.
pub(super) fn offsets(lab: &Lab) -> usize {
    let script = "import sqlite3,sys\n\
        print(sqlite3.connect(sys.argv[1]).execute('select count(*) from source_offset').fetchone()[0])";
    let file = lab.place.root().join(".tidemill/tidemill.db");
    let output =
        super::process::python(&lab.place, "python").args(["-c", script]).arg(file).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap_or(0)
}

/// A bare repository and a clone that is the project.
pub(super) struct Repository {
    pub(super) bare: PathBuf,
    pub(super) clone: PathBuf,
}

impl Repository {
    pub(super) fn new(lab: &Lab) -> Self {
        let (bare, clone) = (lab.place.root().join("bare.git"), lab.place.root().to_owned());
        git(&clone, &["init", "--quiet", "--bare", "--initial-branch=main", bare.to_str().unwrap()]);
        git(&clone, &["init", "--quiet", "--initial-branch=main"]);
        git(&clone, &["remote", "add", "origin", bare.to_str().unwrap()]);
        fs_err::write(clone.join(".gitignore"), "bare.git\n*.log\nother\nout.txt\nsecret\n").unwrap();
        let repository = Self { bare, clone };
        repository.commit(&repository.clone);
        repository
    }

    /// Commits everything in a clone and pushes it; gives the commit.
    pub(super) fn commit(&self, clone: &Path) -> String {
        git(clone, &["add", "--all"]);
        git(clone, &["commit", "--quiet", "--allow-empty", "--message", "a change"]);
        git(clone, &["push", "--quiet", "origin", "main"]);
        git(clone, &["rev-parse", "HEAD"]).trim().to_owned()
    }

    /// Another clone, as that of a colleague.
    pub(super) fn colleague(&self) -> PathBuf {
        let other = self.clone.join("other");
        git(&self.clone, &["clone", "--quiet", self.bare.to_str().unwrap(), other.to_str().unwrap()]);
        other
    }
}

#[track_caller]
pub(super) fn git(dir: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.arg("-C").arg(dir).args(["-c", "user.name=t", "-c", "user.email=t@example.com"]).args(arguments);
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

pub(super) fn signed(secret: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

fn push_body(commit: &str) -> String {
    json!({
        "ref": "refs/heads/main", "after": commit, "pusher": {"name": "ada"}, "repository": {"full_name": "t/lab"},
    })
    .to_string()
}

#[test]
fn a_push_is_told_by_a_signed_webhook() {
    let lab = Lab::new(&format!(
        "{STEP}triggers: [{{when: {{git: {{branch: main, poll: 0s}}}}, actions: [ci], secret: {{file: secret}}}}]\n"
    ));
    lab.write("secret", "a secret of the hook\n");
    let repository = Repository::new(&lab);
    let server = lab.place.serve();
    let other = repository.colleague();
    fs_err::write(other.join("in.txt"), "by a colleague").unwrap();
    let commit = repository.commit(&other);
    let body = push_body(&commit);
    let push = |signature: &str| {
        post(
            &server,
            "/hooks/git-main",
            &[("X-GitHub-Event", "push"), ("X-Hub-Signature-256", signature)],
            &body,
        )
    };
    for wrong in ["", "sha256=00", &signed("another secret", &body)] {
        let (status, said) = push(wrong);
        assert_eq!(status, 401, "{said}");
    }
    assert_eq!(post(&server, "/hooks/git-main", &[], &body).0, 401, "nothing is signed");
    assert_eq!(lab.log().count("source_changed"), 0);
    let begin = now();
    let (status, said) = push(&signed("a secret of the hook", &body));
    assert_eq!((status, said["data"]["events"].as_array().unwrap().len()), (202, 1), "{said}");
    let log = lab.wait(&server, "the test of the commit", |log| log.ended("succeeded") == 1);
    println!("push to job started, ms: {}", at(log.of("job_started").last().unwrap()) - begin);
    // The commit is of the colleague; the workspace does not have it, and stays as it is.
    assert_eq!(log.of("run_started").last().unwrap()["commit"], commit.as_str());
    assert_eq!(fs_err::read_to_string(lab.place.root().join("in.txt")).unwrap(), "0");
    assert_eq!(
        log.chain("run_started"),
        ["run_started", "ci_started", "job_started", "trigger_fired", "source_changed"]
    );
    // Delivered again it does not act again, whoever delivers it.
    let (status, said) = push(&signed("a secret of the hook", &body));
    assert_eq!((status, said["data"]["repeated"].as_u64()), (200, Some(1)), "{said}");
    let token = [("X-Gitlab-Event", "Push Hook"), ("X-Gitlab-Token", "a secret of the hook")];
    assert_eq!(post(&server, "/hooks/git-main", &token, &body).1["data"]["repeated"], 1);
    let elsewhere = body.replace("heads/main", "heads/elsewhere");
    let (status, said) = post(&server, "/hooks/git-main", &token, &elsewhere);
    assert_eq!((status, said["data"]["ignored"].as_u64()), (200, Some(1)), "{said}");
    let log = lab.log();
    assert_eq!(log.count("trigger_fired"), 1, "{log}");

    // The others prove themselves in ways of their own.
    for (before, sender) in ["gitlab", "gitea"].into_iter().enumerate() {
        fs_err::write(other.join("in.txt"), sender).unwrap();
        let commit = repository.commit(&other);
        let body = push_body(&commit);
        let signature = |secret: &str| signed(secret, &body).replace("sha256=", "");
        let send = |secret: &str| match sender {
            "gitlab" => {
                let headers = [("X-Gitlab-Event", "Push Hook"), ("X-Gitlab-Token", secret)];
                post(&server, "/hooks/git-main", &headers, &body)
            }
            _ => {
                let headers = [("X-Gitea-Event", "push"), ("X-Gitea-Signature", &*signature(secret))];
                post(&server, "/hooks/git-main", &headers, &body)
            }
        };
        assert_eq!(send("another secret").0, 401, "{sender}");
        let (status, said) = send("a secret of the hook");
        assert_eq!((status, said["data"]["events"].as_array().unwrap().len()), (202, 1), "{sender}: {said}");
        let log = lab.wait(&server, sender, |log| log.ended("succeeded") == before + 2);
        assert_eq!(log.of("run_started").last().unwrap()["commit"], commit.as_str(), "{sender}");
    }
    server.stop();
}

#[test]
fn a_branch_is_looked_at() {
    let lab = Lab::new(&format!(
        "{STEP}triggers: [{{when: {{git: {{branch: main, poll: 1s}}}}, actions: [ci]}}]\n"
    ));
    let repository = Repository::new(&lab);
    let server = lab.place.serve();
    lab.wait(&server, "the first look", |_| offsets(&lab) == 1);
    let other = repository.colleague();
    fs_err::write(other.join("in.txt"), "better").unwrap();
    let good = repository.commit(&other);
    let log = lab.wait(&server, "the good commit", |log| log.ended("succeeded") == 1);
    assert_eq!(log.of("source_changed").last().unwrap()["details"]["commit"], good.as_str());
    let text = fs_err::read_to_string(other.join("tidemill.yaml")).unwrap();
    fs_err::write(
        other.join("tidemill.yaml"),
        text.replace("cat in.txt > out.txt", "cat in.txt > out.txt && false"),
    )
    .unwrap();
    let bad = repository.commit(&other);
    let log = lab.wait(&server, "the bad commit", |log| log.ended("failed") == 1);
    assert_eq!(log.of("source_changed").last().unwrap()["details"]["commit"], bad.as_str());
    let why = log.of("job_finished").last().unwrap()["reason"].as_str().unwrap().to_owned();
    assert!(why.starts_with("`ci`: ") && why.contains("copy"), "{why}");
    assert_eq!(log.count("trigger_fired"), 2, "{log}");
    log.acted_once();
    let left: Vec<_> = fs_err::read_dir(lab.place.root().join(".tidemill/tmp")).unwrap().flatten().collect();
    assert!(left.iter().all(|entry| !entry.file_name().to_string_lossy().starts_with("ci-")), "{left:?}");
    server.stop();
}

#[test]
fn webhooks_cloud_events_and_alertmanager() {
    let lab = Lab::new(&format!(
        "{STEP}triggers:\n\
         - {{when: {{webhook: retrain}}, actions: [run]}}\n\
         - {{name: ready, when: {{cloudevent: com.example.ready}}, actions: [check], secret: {{file: secret}}}}\n\
         - {{name: late, when: {{alertmanager: ModelLate}}, actions: [check], secret: {{file: secret}}}}\n\
         - {{name: nats, when: {{message: {{nats: {{address: a.b, server: 'nats://127.0.0.1:1'}}}}}}, actions: [check]}}\n"
    ));
    lab.write("secret", "s3cret-s3cret-s3cret");
    lab.write("token", "the token of the server");
    let token = lab.place.root().join("token");
    let server = lab.place.serve_with(&["--auth-token-file", token.to_str().unwrap()]);
    let bearer = [("Authorization", "Bearer the token of the server")];
    assert_eq!(post(&server, "/hooks/retrain", &[], "").0, 401);
    assert_eq!(post(&server, "/hooks/none", &[], "").0, 401, "who is not known is not told what there is");
    assert_eq!(post(&server, "/hooks/none", &bearer, "").0, 404);
    let mut latencies = Vec::new();
    for i in 1..=5 {
        lab.write("in.txt", &format!("{i}"));
        let begin = now();
        assert_eq!(post(&server, "/hooks/retrain", &bearer, "").0, 202);
        let log = lab.wait(&server, "a run", |log| log.ended("succeeded") == i);
        latencies.push(at(log.of("run_started").last().unwrap()) - begin);
    }
    latencies.sort_unstable();
    println!("webhook to run started, ms: {latencies:?}");

    let event =
        json!({"specversion": "1.0", "id": "e1", "source": "/s", "type": "com.example.ready", "data": {}});
    let structured = |event: &Value, secret: &str| {
        let bearer = format!("Bearer {secret}");
        let headers = [("Content-Type", "application/cloudevents+json"), ("Authorization", bearer.as_str())];
        post(&server, "/hooks/ready", &headers, &event.to_string())
    };
    assert_eq!(
        structured(&event, "the token of the server").0,
        401,
        "a trigger with a secret wants that one"
    );
    assert_eq!(structured(&event, "s3cret-s3cret-s3cret").0, 202);
    assert_eq!(structured(&event, "s3cret-s3cret-s3cret").1["data"]["repeated"], 1);
    let mut other = event.clone();
    other["type"] = "com.example.other".into();
    other["id"] = "e2".into();
    assert_eq!(structured(&other, "s3cret-s3cret-s3cret").1["data"]["ignored"], 1);
    assert_eq!(structured(&json!({"id": "e3"}), "s3cret-s3cret-s3cret").0, 400);
    let binary = [
        ("Content-Type", "application/json"),
        ("Authorization", "Bearer s3cret-s3cret-s3cret"),
        ("ce-specversion", "1.0"),
        ("ce-id", "e4"),
        ("ce-source", "/s"),
        ("ce-type", "com.example.ready"),
    ];
    assert_eq!(post(&server, "/hooks/ready", &binary, "{}").0, 202);

    let alert = |starts: &str| {
        let body = json!({"version": "4", "status": "firing", "alerts": [
            {"status": "firing", "labels": {"alertname": "ModelLate"}, "startsAt": starts, "fingerprint": "f"},
            {"status": "firing", "labels": {"alertname": "Other"}, "startsAt": starts, "fingerprint": "g"},
        ]});
        post(&server, "/hooks/late", &[("Authorization", "Bearer s3cret-s3cret-s3cret")], &body.to_string())
    };
    assert_eq!(alert("2026-11-26T10:00:00Z").1["data"]["events"].as_array().unwrap().len(), 1);
    assert_eq!(alert("2026-11-26T10:00:00Z").1["data"]["repeated"], 1, "Alertmanager repeats itself");
    let log = lab.wait(&server, "all jobs", |log| log.ended("succeeded") == 8);
    // Whatever its own retraining may have set off is limited, and says so.
    for hour in 11..15 {
        alert(&format!("2026-11-26T{hour}:00:00Z"));
    }
    let limited = lab.wait(&server, "the limit", |log| {
        log.count("trigger_suppressed") == 2 && log.ended("succeeded") == 10
    });
    assert!(
        limited
            .of("trigger_suppressed")
            .all(|e| e["reason"].as_str().unwrap().starts_with("loop protection"))
    );
    limited.acted_once();
    assert_eq!(log.of("source_changed").filter(|event| event["source"] == "cloudevent").count(), 2, "{log}");

    let mut client = Client::connect(&server.url).unwrap();
    let listed = client.send_with("GET", "/api/v1/triggers", &bearer, b"").unwrap();
    let listed: Value = serde_json::from_slice(&listed.body).unwrap();
    assert_eq!(listed["data"][0]["webhook"], "/hooks/retrain");
    assert!(listed["data"][3]["problem"].as_str().unwrap().contains("no broker answers"), "{listed}");
    let jobs = client.send_with("GET", "/api/v1/jobs?trigger=late&state=succeeded", &bearer, b"").unwrap();
    let jobs: Value = serde_json::from_slice(&jobs.body).unwrap();
    assert_eq!(jobs["data"].as_array().unwrap().len(), 3, "{jobs}");
    server.stop();
}

#[test]
fn by_hand_one_after_the_other_instead_of_one_another_or_not_at_all() {
    let lab = Lab::new(
        "pipeline: {slow: {run: sleep 600, deps: [in.txt], outs: [out.txt]}}\n\
         triggers:\n\
         - {name: newest, when: {webhook: newest}, actions: [run], concurrency: supersede}\n\
         - {name: only, when: {webhook: only}, actions: [run], concurrency: reject}\n",
    );
    // Fired before there is a server, it waits for one.
    lab.run(&["trigger", "fire", "newest"]);
    let server = lab.place.serve();
    lab.wait(&server, "the first run", |log| log.count("run_started") == 1);
    lab.run(&["trigger", "fire", "newest"]);
    let log = lab.wait(&server, "the second run", |log| log.count("run_started") == 2);
    assert_eq!(log.ended("superseded"), 1, "{log}");
    assert_eq!(post(&server, "/api/v1/triggers/only/fire", &[], "").0, 200);
    assert_eq!(post(&server, "/api/v1/triggers/nobody/fire", &[], "").0, 404);
    lab.run(&["trigger", "fire", "only"]);
    let log = lab.wait(&server, "the refusal", |log| log.count("trigger_suppressed") == 1);
    assert!(
        log.of("trigger_suppressed").last().unwrap()["reason"].as_str().unwrap().contains("`reject`"),
        "{log}"
    );
    // The one that runs is stopped over HTTP, the one that then runs by the command line.
    let job = |log: &Log, index: usize| log.of("trigger_fired").nth(index).unwrap()["job"].as_u64().unwrap();
    let (second, third) = (job(&log, 1), job(&log, 2));
    assert_eq!(post(&server, &format!("/api/v1/jobs/{second}/cancel"), &[], "").0, 200);
    lab.wait(&server, "the third run", |log| log.count("run_started") == 3);
    lab.run(&["trigger", "cancel", &third.to_string()]);
    let log = lab.wait(&server, "the end", |log| log.ended("cancelled") == 2);
    assert_eq!(post(&server, &format!("/api/v1/jobs/{second}/cancel"), &[], "").0, 409);
    log.acted_once();
    let runs = lab.run(&["log", "runs", "--json"]);
    assert_eq!(runs.matches("cancelled").count(), 3, "every run was stopped in order: {runs}");
    let history = lab.run(&["trigger", "history", "--json"]);
    let history: Value = serde_json::from_str(&history).unwrap();
    assert_eq!(history.as_array().unwrap().len(), 4, "{history}");
    server.stop();
}

#[test]
fn what_is_missing_says_so() {
    let lab = Lab::new(
        "release: {model: m, environments: {prod: {}}}\n\
         triggers: [{when: {webhook: out}, actions: [release]}]\n",
    );
    let server = lab.place.serve();
    assert_eq!(post(&server, "/hooks/out", &[], "").0, 202);
    let log = lab.wait(&server, "the refusal", |log| log.ended("failed") == 1);
    let why = log.of("job_finished").last().unwrap()["reason"].as_str().unwrap().to_owned();
    assert!(why.contains("`release`: there is no registered model `m` with a version"), "{why}");
    server.stop();
}

#[test]
fn killed_between_event_and_job() {
    let lab = Lab::new(&format!("{STEP}triggers: [{{when: {{webhook: go}}, actions: [check]}}]\n"));
    let mut acknowledged = 0;
    for round in 0..12_u64 {
        let server = lab.place.serve();
        let mut client = Client::connect(&server.url).unwrap();
        for _ in 0..2 {
            let answer = client.send_with("POST", "/hooks/go", &[], b"").unwrap();
            assert_eq!(answer.status, 202);
            acknowledged += 1;
        }
        // The moment moves through what comes after: reading the log, making the job, taking it, working.
        std::thread::sleep(Duration::from_millis(round * 7 % 60));
        server.kill();
    }
    let server = lab.place.serve();
    let log = lab.wait(&server, "every job", |log| log.count("job_finished") >= acknowledged);
    assert_eq!(log.count("source_changed"), acknowledged);
    assert_eq!(log.count("trigger_fired"), acknowledged, "{log}");
    assert_eq!(log.count("job_finished"), acknowledged, "{log}");
    // The first job may be the one that each of the first kills meets; nobody tries for ever.
    let mut given_up = log.of("job_finished").filter(|event| event["state"] == "failed");
    assert!(given_up.all(|event| event["reason"].as_str().unwrap().starts_with("its worker died")), "{log}");
    log.acted_once();
    lab.run(&["log", "verify"]);
    server.stop();
}

#[test]
fn killed_in_the_middle_of_a_job() {
    let lab = Lab::new(
        "pipeline:\n  \
           first: {run: echo 1 > first.txt, deps: [in.txt], outs: [first.txt]}\n  \
           slow: {run: sleep 3 && cat first.txt > slow.txt, deps: [first.txt], outs: [slow.txt]}\n\
         triggers: [{when: {webhook: go}, actions: [run]}]\n",
    );
    let server = lab.place.serve();
    assert_eq!(post(&server, "/hooks/go", &[], "").0, 202);
    lab.wait(&server, "the first step", |log| log.count("step_finished") == 1);
    server.kill();
    let server = lab.place.serve();
    let log = lab.wait(&server, "the end", |log| log.ended("succeeded") == 1);
    assert_eq!(log.count("trigger_fired"), 1);
    let attempts: Vec<u64> = log.of("job_started").map(|event| event["attempt"].as_u64().unwrap()).collect();
    assert_eq!(attempts, [1, 2]);
    assert_eq!(log.of("run_finished").last().unwrap()["state"], "succeeded");
    // What was finished is not done again.
    let ran =
        log.of("step_finished").filter(|event| event["step"] == "first" && event["state"] == "ran").count();
    assert_eq!(ran, 1, "{log}");
    log.acted_once();
    server.stop();
}
