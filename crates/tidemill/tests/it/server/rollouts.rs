//! Releases under real traffic: `tests/python/rollouts.py`. Nothing here says what the judge will say.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tidemill_core::{Clock as _, SystemClock};

use super::process::{Place, Server, script, succeeds};

const PROJECT: &str = "project: served
release:
  model: late
  environments:
    prod:
      rollout:
        stages: [{canary: 20%}, {canary: 50%}, {full: {}}]
        holdout: 2%
        judge: {error_budget: 0.05, metrics: [errors]}
";

/// The same, all at once.
const BLUE_GREEN: &str = "project: served
release:
  model: late
  environments: {prod: {}}
";

/// The same, judged by what mistakes cost.
const COSTLY: &str = "project: served
objective:
  task: {kind: classification, target: big, positive: 1}
  costs: {currency: EUR, false_negative: 120, false_positive: 15}
release:
  model: late
  environments:
    prod:
      rollout:
        stages: [{canary: 50%}, {full: {}}]
        judge: {error_budget: 0.02, outcomes: {delay: 1s}, metrics: [errors, cost]}
";

/// How long anything may take on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(240);

#[test]
fn harm_goes_back_health_gets_everything_and_kill_9_changes_nothing() {
    let (place, server) = served(PROJECT);

    let first = json(&place, &["release", "late@1", "--to", "prod"]);
    assert_eq!((first["rollout"].as_u64(), &first["incumbent"]), (Some(1), &Value::Null));
    wait(&place, 1, &server, |status| status["over"] == true);
    assert_eq!(champions(&place), [1]);
    // The release names what callers must know of the model, and what runs it.
    let digest = first["release"].as_str().unwrap_or_else(|| panic!("{first}"));
    let page = get(&format!("{}/delivery/releases/{digest}?format=json", server.url));
    let facts = &page["data"]["release"];
    assert_eq!(facts["Runtime"], "onnx", "{page}");
    assert!(facts["Signature"].as_str().is_some_and(|digest| digest.starts_with("b3:")), "{page}");

    let traffic = Traffic::start(&place, &server, "one");
    json(&place, &["release", "late@3", "--to", "prod"]);
    let harmful = wait(&place, 2, &server, |status| status["over"] == true);
    assert_eq!(harmful["phase"], "rolled-back", "{harmful}");
    let phases: Vec<&str> =
        harmful["phases"].as_array().unwrap().iter().map(|phase| phase["to"].as_str().unwrap()).collect();
    assert_eq!(phases, ["preflight", "canary", "rolling-back", "rolled-back"]);
    assert_eq!(share(&server, "3"), 0.0);
    let again = place.command(&["release", "late@3", "--to", "prod"]).output().unwrap();
    assert!(String::from_utf8_lossy(&again.stderr).contains("quarantine"), "{again:?}");
    assert_eq!(champions(&place), [1], "what goes back never was the champion");

    json(&place, &["release", "late@2", "--to", "prod"]);
    wait(&place, 3, &server, |status| status["phase"] == "canary" && status["requests"] != 0);
    server.kill();
    traffic.stop();
    let server = place.serve();
    let traffic = Traffic::start(&place, &server, "two");
    let healthy = wait(&place, 3, &server, |status| status["over"] == true);
    assert_eq!(healthy["phase"], "complete", "{healthy}");
    assert_eq!(share(&server, "2"), 1.0);
    let said = traffic.stop();
    assert_eq!(said["lost"], 0, "the healthy release and its rollout lost no request");
    // Each request was counted under the shares by which it was drawn, also while they changed.
    let page = get(&format!("{}/delivery/rollouts/3?format=json", server.url));
    let split = page["data"]["split"]["rows"].as_array().unwrap_or_else(|| panic!("{page}"));
    assert!(!split.is_empty() && split.len() <= 2, "{split:?}");
    for row in split {
        let of = |name: &str| row[name].as_f64().unwrap();
        let (n, share) = (of("candidate") + of("incumbent"), of("planned share"));
        let apart = (of("candidate") - n * share).abs() / (n * share * (1.0 - share)).sqrt();
        assert!(apart < 4.5, "{apart} deviations: {split:?}");
    }
    assert_eq!(champions(&place), [1, 2]);

    // Back to the release before: the champion is what runs, whichever way it went there.
    fs_err::write(place.root().join("tidemill.yaml"), BLUE_GREEN).unwrap();
    let unjudged = json(&place, &["release", "late@1", "--to", "prod"]);
    // Nothing judges it any more, so somebody else agrees.
    assert!(unjudged["held"].to_string().contains("there is no judge any more"), "{unjudged}");
    wait(&place, 4, &server, |status| status["phase"] == "awaiting");
    let agreed = place.command(&["rollout", "approve", "4"]).env("USER", "reviewer").output().unwrap();
    assert!(agreed.status.success(), "{agreed:?}");
    wait(&place, 4, &server, |status| status["over"] == true);
    assert_eq!(champions(&place), [1, 2, 1]);
    // Each move is a consequence of its rollout.
    let log = json(&place, &["log", "-n", "10000"]);
    let log = log.as_array().unwrap();
    let find = |seq: &Value| log.iter().find(|event| event["seq"] == *seq).unwrap();
    for (moved, rollout) in log.iter().filter(|event| event["kind"] == "alias_moved").zip([4, 3, 1]) {
        let environment = find(&moved["cause"]);
        assert_eq!(
            (&environment["kind"], &environment["rollout"]),
            (&"environment_moved".into(), &rollout.into())
        );
        assert_eq!(find(&environment["cause"])["kind"], "rollout_started", "{environment}");
    }
    // An alias that people keep for themselves stays where it is.
    let own = BLUE_GREEN.replace("  model: late\n", "  model: late\n  champion: false\n");
    fs_err::write(place.root().join("tidemill.yaml"), own).unwrap();
    json(&place, &["release", "late@2", "--to", "prod"]);
    wait(&place, 5, &server, |status| status["over"] == true);
    assert_eq!(champions(&place), [1, 2, 1]);

    for rollout in ["1", "2", "3", "4", "5"] {
        let replayed = json(&place, &["rollout", "replay", rollout]);
        assert_eq!(replayed["identical"], true, "{replayed}");
    }
    server.stop();
}

#[test]
fn what_costs_more_goes_back_on_outcomes_and_each_is_taken_once() {
    let (place, server) = served(COSTLY);
    json(&place, &["release", "late@1", "--to", "prod", "--threshold", "5"]);
    wait(&place, 1, &server, |status| status["phase"] == "complete");

    // It answers as fast and as surely, but nobody ever acts on what it says.
    json(&place, &["release", "late@2", "--to", "prod", "--threshold", "100"]);
    let traffic = Traffic::start_as(&place, &server, "judged", "one");
    wait(&place, 2, &server, |status| status["phase"] == "canary" && status["requests"] != 0);
    server.kill();
    traffic.stop();
    let server = place.serve();
    let traffic = Traffic::start_as(&place, &server, "judged", "two");
    let harmful = wait(&place, 2, &server, |status| status["over"] == true);
    assert_eq!(traffic.stop()["lost"], 0, "it never failed");
    assert_eq!(harmful["phase"], "rolled-back", "{harmful}");
    let why = harmful["phases"].as_array().unwrap().iter().rev().nth(1).unwrap()["why"].as_str().unwrap();
    assert_eq!(why, "`cost` is proven to be harmed");

    let judged = harmful["outcomes"]["judged"].as_u64().unwrap();
    let metrics = harmful["metrics"].as_array().unwrap();
    let cost = metrics.iter().find(|metric| metric["metric"] == "cost").unwrap();
    let seen = cost["candidate"].as_u64().unwrap() + cost["baseline"].as_u64().unwrap();
    assert!(seen > 0 && seen <= judged, "no outcome was seen twice: {harmful}");
    // Half of the requests are missed, at 120 each.
    let harm = cost["harm"].as_f64().unwrap();
    assert!((30.0..90.0).contains(&harm), "{harmful}");
    let replayed = json(&place, &["rollout", "replay", "2"]);
    assert_eq!(replayed["identical"], true, "{replayed}");

    // Version 1 is the same model, and would do the same harm with the same threshold.
    let refused =
        place.command(&["release", "late@1", "--to", "prod", "--threshold", "100"]).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        said.contains("late@1 is the same model with the same threshold as late@2, whose release"),
        "{said}"
    );
    assert!(
        said.contains("in quarantine in `prod`: `cost` is proven") && said.contains("`--threshold`"),
        "{said}"
    );

    // One person's word is not enough against a judge's.
    let lift = ["quarantine", "lift", "late@2", "--environment", "prod", "--reason", "outcomes were late"];
    let says = |person: &str| place.command(&lift).env("USER", person).output().unwrap();
    let first = says("ada");
    assert!(first.status.success(), "{first:?}");
    let again = says("ada");
    assert!(String::from_utf8_lossy(&again.stderr).contains("ada has said so already"), "{again:?}");
    let listed = json(&place, &["quarantine", "list"]);
    assert_eq!((&listed[0]["model"], &listed[0]["version"]), (&"late".into(), &2.into()), "{listed}");
    assert_eq!(listed[0]["words"][0]["by"], "ada", "{listed}");
    let refused = place.command(&["release", "late@1", "--to", "prod", "--threshold", "100"]).output();
    assert!(!refused.unwrap().status.success(), "it waits for a second person");
    let second = says("bob");
    let said = String::from_utf8_lossy(&second.stdout);
    assert_eq!(said, "late@2 may run in `prod` again: ada and bob said so\n", "{second:?}");
    assert_eq!(json(&place, &["quarantine", "list"]), Value::Array(Vec::new()));
    let placed = json(&place, &["release", "late@1", "--to", "prod", "--threshold", "100"]);
    assert_eq!(placed["rollout"], 3, "{placed}");
    server.stop();
}

/// The incumbent acts on everything and the candidate on nothing. That is far cheaper on average, and dearer wherever somebody should
/// have acted.
#[test]
fn a_candidate_that_is_better_on_average_goes_back_for_a_slice() {
    let sliced = COSTLY
        .replace("false_negative: 120, false_positive: 15", "false_negative: 15, false_positive: 120")
        .replace("[{canary: 50%}", "[{canary: {share: 50%, samples: 1000000}}")
        .replace("metrics: [errors, cost]", "slices: {by: [x], min_samples: 30}, metrics: [errors, cost]");
    let (place, server) = served(&sliced);
    json(&place, &["release", "late@1", "--to", "prod", "--threshold", "0"]);
    wait(&place, 1, &server, |status| status["phase"] == "complete");
    json(&place, &["release", "late@2", "--to", "prod", "--threshold", "100"]);
    let traffic = Traffic::start_as(&place, &server, "judged", "one");
    let harmful = wait(&place, 2, &server, |status| status["over"] == true);
    traffic.stop();
    assert_eq!(harmful["phase"], "rolled-back", "{harmful}");
    let why = harmful["phases"].as_array().unwrap().iter().rev().nth(1).unwrap()["why"].as_str().unwrap();
    let is_bad =
        |reason: &str| (5..10).any(|x| reason == format!("`cost in x = {x}` is proven to be harmed"));
    assert!(why.split("; ").all(is_bad), "{why}");

    let metrics = harmful["metrics"].as_array().unwrap();
    let of = |metric: &'static str| metrics.iter().filter(move |one| one["metric"] == metric);
    assert!(of("cost").next().unwrap()["harm"].as_f64().unwrap() < -20.0, "{harmful}");
    // What the gateway counted while requests were answered falls to the same groups as what the log says of outcomes.
    let slices: std::collections::BTreeSet<&str> =
        of("errors").filter_map(|one| one["slice"]["value"].as_str()).collect();
    assert!(slices.len() >= 5 && slices.iter().all(|x| x.parse::<u64>().unwrap() < 10), "{harmful}");
    let shown = place.command(&["rollout", "status", "2"]).output().unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("cost in x = "), "{shown}");
    let page = get(&format!("{}/api/v1/rollouts/2", server.url));
    assert_eq!(page["data"]["metrics"], harmful["metrics"]);
    let replayed = json(&place, &["rollout", "replay", "2"]);
    assert_eq!(replayed["identical"], true, "{replayed}");

    // A simulation spreads requests over the groups as the log has them: each of ten numbers is a tenth.
    let play = [
        "rollout",
        "simulate",
        "--since",
        "1h",
        "--horizon",
        "1h",
        "--repetitions",
        "20",
        "--harm",
        "errors=2x",
    ];
    let played = json(&place, &play);
    let spread = &played["slices_played"][0];
    let shares: Vec<f64> =
        spread["values"].as_array().unwrap().iter().map(|value| value[1].as_f64().unwrap()).collect();
    assert_eq!((spread["name"].as_str(), shares.len()), (Some("x"), 10), "{spread}");
    assert!(shares.iter().all(|share| (0.08..0.12).contains(share)), "{spread}");

    let unknown = sliced.replace("by: [x]", "by: [x, y]");
    fs_err::write(place.root().join("tidemill.yaml"), unknown).unwrap();
    json(&place, &["release", "late@2", "--to", "prod", "--threshold", "99"]);
    let refused = wait(&place, 3, &server, |status| status["over"] == true);
    assert_eq!(refused["phase"], "refused", "{refused}");
    let detail = refused["gates"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("slices by `y`, which is no input of it; it has x"), "{detail}");
    server.stop();
}

/// The plan is played on what was asked and on the outcomes of it, by the server as a gate and by the command.
#[test]
fn a_plan_that_cannot_decide_in_time_is_refused_or_warned_of() {
    let slow = COSTLY.replace(
        "[errors, cost]}\n",
        "[errors, latency, cost]}\n        power: {decide_within: 1s, else: refuse}\n",
    );
    let (place, server) = served(&slow);
    let declare = |text: &str| fs_err::write(place.root().join("tidemill.yaml"), text).unwrap();
    // Of the first release there is nothing to compare with, so nothing can be late.
    json(&place, &["release", "late@1", "--to", "prod", "--threshold", "5"]);
    let first = wait(&place, 1, &server, |status| status["phase"] == "complete");
    assert_eq!(first["gates"].as_array().unwrap().len(), 1, "{first}");

    let traffic = Traffic::start_as(&place, &server, "judged", "one");
    let begin = Instant::now();
    let played = loop {
        let arguments = ["rollout", "simulate", "--json", "--repetitions", "20", "--harm", "errors=2x"];
        let output = place.command(&arguments).output().unwrap();
        let found: Option<Value> = serde_json::from_slice(&output.stdout).ok();
        if let Some(found) = found.filter(|found| found["recent"]["rows_with_outcomes"].as_u64() >= Some(100))
        {
            break found;
        }
        assert!(begin.elapsed() < PATIENCE, "{output:?}\n{}", server.said());
        std::thread::sleep(Duration::from_millis(500));
    };
    let recent = &played["recent"];
    assert!(recent["requests"].as_u64().unwrap() >= 100 && recent["failed"] == 0, "{recent}");
    assert!(played["requests_an_hour"].as_f64().unwrap() > 100.0, "{played}");
    let cost =
        played["metrics"].as_array().unwrap().iter().find(|one| one["metric"]["name"] == "cost").unwrap();
    // Version 1 with a threshold of 5 is always right, and outcomes are of nearly every request.
    assert_eq!(cost["seen"]["level"], 0.0, "{cost}");
    assert!(cost["seen"]["per_request"].as_f64().unwrap() > 0.5, "{cost}");

    json(&place, &["release", "late@2", "--to", "prod", "--threshold", "5"]);
    let refused = wait(&place, 2, &server, |status| status["over"] == true);
    assert_eq!((&refused["phase"], refused["share"].as_f64()), (&"refused".into(), Some(0.0)), "{refused}");
    let gate = |status: &Value| {
        let gates = status["gates"].as_array().unwrap().clone();
        gates.into_iter().find(|gate| gate["gate"] == "power").unwrap_or_else(|| panic!("{status}"))
    };
    let said = gate(&refused);
    assert_eq!(said["passed"], false, "{said}");
    let detail = said["detail"].as_str().unwrap();
    assert!(detail.starts_with("at ") && detail.contains("requests an hour this plan needs"), "{detail}");
    assert!(detail.contains("raise the shares"), "{detail}");
    assert_eq!(get(&format!("{}/api/v1/rollouts/2", server.url))["data"]["gates"][1]["gate"], "power");
    let told = place.command(&["rollout", "status", "2"]).output().unwrap();
    assert!(String::from_utf8_lossy(&told.stdout).contains("gate power did not pass: at "), "{told:?}");

    declare(&slow.replace("else: refuse", "else: warn"));
    json(&place, &["release", "late@2", "--to", "prod", "--threshold", "5"]);
    let warned = wait(&place, 3, &server, |status| {
        !["pending", "preflight"].contains(&status["phase"].as_str().unwrap())
    });
    let said = gate(&warned);
    assert_eq!(said["passed"], true, "{said}");
    assert!(said["detail"].as_str().unwrap().starts_with("warning: at "), "{said}");

    declare(&slow.replace("decide_within: 1s", "decide_within: 90d"));
    json(&place, &["release", "late@2", "--to", "prod", "--threshold", "6", "--concurrent", "supersede"]);
    let passed = wait(&place, 4, &server, |status| {
        !["pending", "preflight"].contains(&status["phase"].as_str().unwrap())
    });
    let said = gate(&passed);
    assert_eq!(said["passed"], true, "{said}");
    assert!(said["detail"].as_str().unwrap().contains("this plan decides in"), "{said}");
    traffic.stop();
    server.stop();
}

/// What answers side by side has to be in memory side by side.
#[test]
fn models_for_which_there_is_no_room_are_refused_before_the_first_request() {
    let (place, server) = served(PROJECT);
    json(&place, &["release", "late@1", "--to", "prod"]);
    wait(&place, 1, &server, |status| status["phase"] == "complete");
    let models = get(&format!("{}/api/v1/serving/models", server.url));
    let memory = models.pointer("/data/0/memory").or(models.pointer("/data/0/memory_bytes"));
    let memory = memory.and_then(Value::as_u64).unwrap_or_else(|| panic!("{models}"));
    server.stop();
    for (room, why) in [
        (memory + memory / 2, "2 models have to be in memory at once"),
        (memory / 2, "models together may occupy"),
    ] {
        let server = place.serve_with(&["--model-memory", &room.to_string()]);
        let placed = json(&place, &["release", "late@2", "--to", "prod"]);
        let rollout = placed["rollout"].as_u64().unwrap();
        let refused = wait(&place, rollout, &server, |status| status["over"] == true);
        let detail = refused["gates"][0]["detail"].as_str().unwrap();
        assert!(refused["phase"] == "refused" && detail.contains(why), "{refused}");
        server.stop();
    }
    let wrong = place.command(&["up", "--model-memory", "much"]).output().unwrap();
    let said = String::from_utf8_lossy(&wrong.stderr);
    assert!(wrong.status.code() == Some(2) && said.contains("a size such as `512MiB`"), "{said}");
}

#[test]
fn outside_of_its_windows_a_release_waits_and_says_until_when() {
    let today = SystemClock.now().millis() / 86_400_000;
    // Neither today nor tomorrow; the first day of the epoch was a Thursday.
    let day = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"][((today + 3 + 3) % 7) as usize];
    let windows = format!("        windows: {{allow: ['{day} 00:00-24:00']}}\n");
    let (place, server) = served(&format!("{PROJECT}{windows}"));
    json(&place, &["release", "late@1", "--to", "prod"]);
    let waiting = wait(&place, 1, &server, |status| status["held"]["held_by"] == "window");
    assert_eq!(
        (waiting["phase"].as_str(), waiting["share"].as_f64()),
        (Some("preflight"), Some(0.0)),
        "{waiting}"
    );
    let opens = waiting["held"]["opens"].as_i64().unwrap();
    assert_eq!(opens / 86_400_000, today + 3);
    let shown = place.command(&["rollout", "status", "1"]).output().unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("held by its windows; the next one opens at "), "{shown}");
    json(&place, &["rollout", "abort", "1", "--reason", "it cannot wait"]);
    fs_err::write(place.root().join("tidemill.yaml"), PROJECT).unwrap();
    json(&place, &["release", "late@1", "--to", "prod"]);
    // Whoever takes the windows away needs somebody who agrees.
    let less = "the project file asks for less than rollout 1";
    let waiting = wait(&place, 2, &server, |status| status["held"]["held_by"] == "approvals");
    assert!(waiting["gates"].to_string().contains(less), "{waiting}");
    let approved = place.command(&["rollout", "approve", "2"]).env("USER", "ada").output().unwrap();
    assert!(approved.status.success(), "{approved:?}");
    wait(&place, 2, &server, |status| status["phase"] == "complete");
    server.stop();
}

/// A server of this project that knows the versions of its model.
#[track_caller]
fn served(project: &str) -> (Place, Server) {
    served_with(project, &[])
}

/// The same with versions of these kinds beside the usual three.
#[track_caller]
pub(super) fn served_with(project: &str, more: &[&str]) -> (Place, Server) {
    let place = Place::sqlite();
    fs_err::write(place.root().join("tidemill.yaml"), project).unwrap();
    let server = place.serve();
    let arguments = [&[server.url.as_str(), "register"], more].concat();
    succeeds(script(&place, "rollouts.py", &arguments), &[&server]);
    (place, server)
}

/// What a command prints with `--json`.
#[track_caller]
pub(super) fn json(place: &Place, arguments: &[&str]) -> Value {
    let output = place.command(arguments).arg("--json").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
}

/// Waits until a rollout is as wanted.
#[track_caller]
pub(super) fn wait(place: &Place, rollout: u64, server: &Server, is_so: impl Fn(&Value) -> bool) -> Value {
    let begin = Instant::now();
    loop {
        let status = json(place, &["rollout", "status", &rollout.to_string()]);
        if is_so(&status) {
            return status;
        }
        assert!(begin.elapsed() < PATIENCE, "{status}\n{}", server.said());
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The versions that were the champion, in turn.
#[track_caller]
pub(super) fn champions(place: &Place) -> Vec<u64> {
    let moves = json(place, &["log", "alias", "late", "champion"]);
    moves.as_array().unwrap().iter().rev().map(|one| one["to"].as_u64().unwrap()).collect()
}

/// The share of requests that a version of the model gets.
pub(super) fn share(server: &Server, version: &str) -> f64 {
    let answer = get(&format!("{}/api/v1/endpoints/late", server.url));
    let spec = &answer["data"]["spec"];
    let arm = spec["arms"].as_array().unwrap().iter().find(|arm| arm["version"] == version);
    let name = arm.map(|arm| arm["name"].clone());
    let slots: u64 = spec["allotment"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|stretch| Some(&stretch["arm"]) == name.as_ref())
        .map(|stretch| stretch["slots"].as_u64().unwrap())
        .sum();
    slots as f64 / 10_000.0
}

/// A GET without a client library.
pub(super) fn get(url: &str) -> Value {
    use std::io::{Read as _, Write as _};
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let body = text.split_once("\r\n\r\n").unwrap().1;
    let (start, end) = (body.find('{').unwrap(), body.rfind('}').unwrap());
    serde_json::from_str(&body[start..=end]).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Requests in the background until they are stopped.
pub(super) struct Traffic {
    child: Option<Child>,
    until: std::path::PathBuf,
}

impl Traffic {
    pub(super) fn start(place: &Place, server: &Server, name: &str) -> Self {
        Self::start_as(place, server, "traffic", name)
    }

    pub(super) fn start_as(place: &Place, server: &Server, what: &str, name: &str) -> Self {
        let until = place.root().join(format!("stop-{name}"));
        let mut command = script(place, "rollouts.py", &[&server.url, what, until.to_str().unwrap()]);
        let child = command.stdout(Stdio::piped()).spawn().unwrap();
        Self { child: Some(child), until }
    }

    pub(super) fn stop(mut self) -> Value {
        fs_err::write(&self.until, "").unwrap();
        let output = self.child.take().unwrap().wait_with_output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
