//! A model of the flights in production: a known shift fires, names its column and is over, and a killed server changes nothing.

use std::cell::Cell;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::own_pages::in_browser;
use super::process::{Place, Server, script};
use crate::fixture::{Ran, copy, repository};

const PROJECT: &str = "project: flights
objective:
  task: {kind: classification, target: late, positive: 1}
  entity: flight_id
  time: sched_dep
  costs: {currency: EUR, false_negative: 120, false_positive: 15}
  kpi: {name: missed_connection_cost, unit: EUR, better: lower}
data:
  flights: {path: 'data/flights/2013-0[12].parquet', time: time_hour}
  weather: {path: data/weather.parquet}
  planes: {path: data/planes.parquet}
pipeline:
  traffic: {sql: sql/traffic.sql, inputs: [flights], outs: [traffic.parquet]}
  features:
    sql: sql/features.sql
    inputs: [flights, weather, planes, traffic.parquet]
    params: {from: 2013-01-01, to: 2013-02-01}
    outs: [features.parquet]
  later:
    sql: sql/features.sql
    inputs: [flights, weather, planes, traffic.parquet]
    params: {from: 2013-02-01, to: 2013-02-08}
    outs: [later.parquet]
  train:
    train: {algorithm: gbdt, features: features.parquet, drop: [flight_id], split: {by: time, test: 0.2}, gbdt: {rounds: 20}, seed: 7}
    outs: [model]
release:
  model: flights-late
  environments:
    prod: {}
monitors:
  - drift: {window: 1d, columns: [distance, minute, carrier]}
  - prediction_drift: {window: 1d, against: previous}
  - quality: {metric: roc_auc, min: 0.3, outcomes: {delay: 6h}}
  - kpi: {name: missed_connection_cost}
  - inputs: {violations: 0.9, window: 1d}
  - stale: {max_age: 45d}
  - stream: {of: {column: distance}, every: 1s}
triggers:
  - {name: moved, when: {alert: drift}, actions: [check]}
";

/// How long anything may take on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(240);

#[test]
fn a_known_shift_fires_names_its_column_and_is_over_also_when_the_server_is_killed() {
    let place = Place::sqlite();
    for folder in ["data", "sql"] {
        copy(&repository().join("examples/flights").join(folder), &place.root().join(folder));
    }
    let told = Receiver::start();
    let receivers = format!("alerts: [{{webhook: {{url: 'http://{}/told'}}}}]\n", told.address);
    fs_err::write(place.root().join("tidemill.yaml"), format!("{PROJECT}{receivers}")).unwrap();
    Ran::of(&place.command(&["run", "--json"]).output().unwrap()).good();
    let server = place.serve();
    said(&place, &["release", "flights-late", "--to", "prod"]);
    let features = place.root().join("later.parquet");
    let sent = Cell::new(0);
    let traffic =
        |server: &Server, day: &str, (from, to): (&str, &str), (share, times): (&str, &str)| -> Value {
            let arguments = [&server.url, features.to_str().unwrap(), day, from, to, share, times];
            let output = script(&place, "monitoring.py", &arguments).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{said}\n{}", server.said());
            let told: Value = serde_json::from_slice(&output.stdout).unwrap();
            sent.set(sent.get() + told["rows"].as_u64().unwrap());
            told
        };
    let day = |server: &Server, day: &str, hours: (&str, &str), share: &str| {
        traffic(server, day, hours, (share, "1"))
    };
    // The release must answer before it is asked.
    wait(&place, &server, |_| said(&place, &["rollout", "status", "1"])["phase"] == "complete");

    day(&server, "2013-02-01", ("0", "24"), "0");
    let second = day(&server, "2013-02-02", ("0", "24"), "0");
    day(&server, "2013-02-03", ("0", "24"), "0.5");
    // The next day has begun, so the third is over; whatever the server was at when it died, it comes to the same.
    day(&server, "2013-02-04", ("0", "12"), "0");
    server.kill();
    let server = place.serve();
    let firing = wait(&place, &server, |all| {
        let drift = of(all, "drift");
        drift["state"] == "firing" && of(all, "quality:roc_auc")["windows"] == 3
    });
    let drift = of(&firing, "drift");
    assert_eq!(drift["last"]["from"], "2013-02-03T00:00:00Z", "{drift}");
    let moved = &drift["last"]["verdict"]["evidence"]["columns"][0];
    assert_eq!(
        (moved["column"].as_str(), moved["level"].as_str()),
        (Some("carrier"), Some("major")),
        "{drift}"
    );
    assert!(drift["last"]["verdict"]["why"].as_str().unwrap().contains("carrier"), "{drift}");
    // A classifier that learned from the sampled rows of both tells them apart by the same column.
    let apart = &drift["last"]["verdict"]["classifier"];
    assert_eq!(apart["columns"][0], "carrier", "{drift}");
    assert!(apart["lower"].as_f64().unwrap() > 0.55 && apart["p"].as_f64().unwrap() < 1e-6, "{drift}");
    assert!(drift["last"]["verdict"]["at_risk"].as_f64().is_some_and(|money| money > 0.0), "{drift}");
    // One version answered: nothing is said over releases, and that is said.
    let kpi = of(&firing, "kpi:missed_connection_cost");
    assert!(kpi["releases"]["why"].as_str().unwrap().starts_with("too few releases to say"), "{kpi}");
    assert_eq!(kpi["releases"]["releases"][0]["mean"], 3.5, "{kpi}");
    // What decisions cost is set beside the versions, too.
    let quality = of(&firing, "quality:roc_auc");
    assert_eq!(quality["releases"]["kpi"], "cost per decision", "{quality}");
    let priced = &quality["releases"]["releases"][0];
    assert!(
        priced["mean"].as_f64().unwrap() > 0.0 && priced["outcomes"].as_u64().unwrap() > 1_000,
        "{quality}"
    );
    // What fires stands first, and a table shows it.
    assert_eq!(firing["monitors"][0]["state"], "firing");
    Ran::of(&place.command(&["monitor", "status"]).output().unwrap()).good().says(&[
        "drift",
        "firing",
        "carrier",
        "over releases: too few releases to say",
    ]);

    // Every request of the day was one that the model takes, and its answer a number.
    let inputs = get(&format!("{}/api/v1/windows?watch=inputs", server.url));
    let inputs = inputs["data"].as_array().unwrap();
    let of_day = inputs.iter().find(|window| window["from"] == "2013-02-02T00:00:00Z").unwrap();
    let seen = &of_day["verdict"]["evidence"];
    assert_eq!(
        (&seen["rows"], seen["invalid"].as_u64(), seen["not_finite"].as_u64()),
        (&second["rows"], Some(0), Some(0))
    );
    // Answers are compared with those of the day before; where half of the inputs are others, the score is named if anything is.
    let answers = get(&format!("{}/api/v1/windows?watch=prediction_drift", server.url));
    let answers = answers["data"].as_array().unwrap();
    let of_day = answers.iter().find(|window| window["from"] == "2013-02-03T00:00:00Z").unwrap();
    let verdict = &of_day["verdict"];
    assert_ne!(verdict["state"], "no_data", "{verdict}");
    assert!(
        verdict["evidence"]["against"] == "the window before" && verdict["evidence"]["p"].is_number(),
        "{verdict}"
    );
    for column in verdict["evidence"]["columns"].as_array().unwrap() {
        assert!(column["column"].as_str().unwrap().starts_with("prediction."), "{verdict}");
    }

    in_browser(&place, &server, "monitoring_pages.py", "monitoring");

    // Six days later than it learned until, and labels of the second day as scikit-learn sees them.
    let stale = of(&firing, "stale");
    assert_eq!(
        (stale["state"].as_str(), stale["last"]["verdict"]["limit"].as_f64()),
        (Some("ok"), Some(45.0))
    );
    let windows = get(&format!("{}/api/v1/windows?watch=quality:roc_auc", server.url));
    let judged = windows["data"].as_array().unwrap();
    let found = judged.iter().find(|window| window["from"] == "2013-02-02T00:00:00Z").unwrap();
    let (value, expected) =
        (found["verdict"]["value"].as_f64().unwrap(), second["roc_auc"].as_f64().unwrap());
    assert!((value - expected).abs() < 1e-9, "{value}, not {expected}");
    assert_eq!(found["predictions"], second["rows"]);
    let checked = &found["verdict"]["evidence"]["estimate"];
    let error = checked["estimated"].as_f64().unwrap() - value;
    assert!((checked["error"].as_f64().unwrap() - error).abs() < 1e-9, "{found}");

    // The owner reads the sum of what windows say.
    let (mut decisions, mut cost) = (0, 0.0);
    for window in judged {
        let evidence = &window["verdict"]["evidence"];
        if let Some(each) = evidence["cost_per_decision"].as_f64() {
            let labelled = evidence["labelled"].as_u64().unwrap();
            (decisions, cost) = (decisions + labelled, cost + each * labelled as f64);
        }
    }
    let owner = get(&format!("{}/owner?format=json", server.url));
    let earned = &owner["data"]["earned_0"];
    assert_eq!(earned["Decisions whose outcome is known"], decisions, "{owner}");
    // Thousands are set apart by a space.
    let shown = earned["They cost"].as_str().unwrap().strip_suffix(" EUR").unwrap();
    let shown: String = shown.chars().filter(|c| c.is_ascii_digit() || *c == '.').collect();
    let shown: f64 = shown.parse().unwrap();
    assert!(decisions > 1_000 && (shown - cost).abs() < 0.01, "{shown}, not {cost}: {owner}");

    day(&server, "2013-02-04", ("12", "24"), "0");
    day(&server, "2013-02-05", ("0", "4"), "0");
    let over = wait(&place, &server, |all| of(all, "drift")["last"]["from"] == "2013-02-04T00:00:00Z");
    assert_eq!(of(&over, "drift")["state"], "ok", "{over}");
    server.stop();

    // One alert, one time each, and whoever is to be told was told, through a kill, too.
    let server = place.serve();
    told.wait("drift", true, &server);
    told.wait("drift", false, &server);
    let alerts = get(&format!("{}/api/v1/alerts", server.url));
    let drifts: Vec<&Value> =
        alerts["data"].as_array().unwrap().iter().filter(|alert| alert["watch"] == "drift").collect();
    assert_eq!(drifts.len(), 1, "{alerts}");
    assert_eq!(drifts[0]["state"], "resolved");
    assert_eq!(drifts[0]["ended_at"], "2013-02-05T00:00:00Z");
    let all = get(&format!("{}/api/v1/windows?limit=1000", server.url));
    let mut seen: Vec<(String, String)> = all["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|window| (window["watch"].to_string(), window["from"].to_string()))
        .collect();
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), count, "no window was judged twice");
    let metrics = text(&format!("{}/metrics", server.url));
    assert!(
        metrics.contains("tidemill_alerts_firing{endpoint=\"flights-late\",watch=\"drift\"} 0"),
        "{metrics}"
    );
    // The alert set one job off.
    let begin = Instant::now();
    let events = loop {
        let events = said(&place, &["log", "--limit", "500"]);
        if events.to_string().contains("job_finished") {
            break events;
        }
        assert!(begin.elapsed() < PATIENCE, "{events:#}\n{}", server.said());
        std::thread::sleep(Duration::from_millis(200));
    };
    let named = |name: &str| events.to_string().matches(name).count();
    let of_drift = |name: &str| {
        let all = events.as_array().unwrap();
        all.iter()
            .filter(|event| {
                event.to_string().contains(name) && event.to_string().contains("\"watch\":\"drift\"")
            })
            .count()
    };
    assert_eq!((of_drift("alert_firing"), of_drift("alert_resolved")), (1, 1), "{events}");
    assert_eq!((named("trigger_fired"), named("job_finished")), (1, 1), "{events}");

    // The past judged anew comes to the same.
    let tested = said(&place, &["monitor", "backtest"]);
    let fired: Vec<&Value> = tested["windows"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|window| window["watch"] == "drift" && window["alert"] == "firing")
        .collect();
    assert_eq!(fired.len(), 1, "{tested}");
    assert_eq!(
        (fired[0]["watch"].as_str(), fired[0]["from"].as_str()),
        (Some("drift"), Some("2013-02-03T00:00:00Z"))
    );

    // Between windows a stream moves. A server that is killed counts every value once.
    let quiet = wait(&place, &server, |all| has_seen(all, sent.get()));
    assert_eq!(of(&quiet, "stream:column:distance")["state"], "ok", "{quiet}");
    traffic(&server, "2013-02-05", ("4", "12"), ("0", "3"));
    server.kill();
    let server = place.serve();
    traffic(&server, "2013-02-05", ("12", "24"), ("0", "3"));
    let moved = wait(&place, &server, |all| has_seen(all, sent.get()));
    let stream = of(&moved, "stream:column:distance");
    assert_eq!(stream["state"], "firing", "{stream}");
    let verdict = &stream["last"]["verdict"];
    let evidence = &verdict["evidence"];
    let level = |name: &str| evidence[name].as_f64().unwrap();
    let times = level("moved_to") / level("usual");
    assert!((2.5..3.5).contains(&times), "{stream}");
    assert!(verdict["why"].as_str().unwrap().contains("predictions ago"), "{stream}");
    let alerts = get(&format!("{}/api/v1/alerts?watch=stream:column:distance", server.url));
    assert_eq!(alerts["data"].as_array().map(Vec::len), Some(1), "{alerts}");
    // Judged anew it comes to the same, however the values fell into portions.
    let tested = said(&place, &["monitor", "backtest"]);
    let last =
        tested["windows"].as_array().unwrap().iter().rfind(|it| it["watch"] == stream["watch"]).unwrap();
    assert_eq!(last["verdict"], *verdict);
    let page = get(&format!("{}/monitoring/flights-late/stream:column:distance?format=json", server.url));
    assert_eq!(page["data"]["evidence"]["Changes are noticed by"], "ADWIN", "{page}");
    server.stop();
}

/// Somebody who is told of alerts.
struct Receiver {
    address: std::net::SocketAddr,
    messages: Arc<Mutex<Vec<Value>>>,
}

impl Receiver {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, messages) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<Value>>>::default());
        let kept = Arc::clone(&messages);
        // It ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                kept.lock().unwrap().extend(receive(stream));
            }
        });
        Self { address, messages }
    }

    /// Waits for a message that says that a series fires, or is over. The same may come again, with the same identifier.
    fn wait(&self, watch: &str, firing: bool, server: &Server) {
        let begin = Instant::now();
        loop {
            let messages = self.messages.lock().unwrap().clone();
            let mut alerts =
                messages.iter().filter_map(|message| message["data"]["alerts"].as_array()).flatten();
            if alerts.any(|alert| alert["watch"] == watch && alert["firing"] == firing) {
                assert!(messages.iter().all(|message| message["type"] == "tidemill.alerts"), "{messages:#?}");
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "{watch} {firing}: {messages:#?}\n{}", server.said());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// The body of one request, which is answered.
fn receive(stream: TcpStream) -> Option<Value> {
    let mut reader = BufReader::new(stream);
    let (mut length, mut line) = (0, String::new());
    while reader.read_line(&mut line).ok()? > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    reader.get_mut().write_all(answer).ok()?;
    serde_json::from_slice(&body).ok()
}

/// Whether the last portion of the stream came to so many values.
fn has_seen(all: &Value, values: u64) -> bool {
    let seen = &of(all, "stream:column:distance")["last"]["verdict"]["evidence"]["seen"];
    assert!(seen.as_u64().is_none_or(|seen| seen <= values), "counted twice: {seen} of {values}");
    seen == values
}

fn of<'a>(all: &'a Value, watch: &str) -> &'a Value {
    all["monitors"]
        .as_array()
        .and_then(|all| all.iter().find(|monitor| monitor["watch"] == watch))
        .unwrap_or_else(|| panic!("no `{watch}` in {all}"))
}

#[track_caller]
fn said(place: &Place, arguments: &[&str]) -> Value {
    let output = place.command(arguments).arg("--json").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
}

/// Waits until the monitors are as wanted.
#[track_caller]
fn wait(place: &Place, server: &Server, is_so: impl Fn(&Value) -> bool) -> Value {
    let begin = Instant::now();
    loop {
        let status = said(place, &["monitor", "status"]);
        if is_so(&status) {
            return status;
        }
        assert!(begin.elapsed() < PATIENCE, "{status:#}\n{}", server.said());
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn get(url: &str) -> Value {
    let text = text(url);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn text(url: &str) -> String {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut client = super::client::Client::connect(&format!("http://{host}")).unwrap();
    let answer = client.send("GET", &format!("/{path}"), "application/json", b"").unwrap();
    let text = String::from_utf8(answer.body).unwrap();
    assert_eq!(answer.status, 200, "{text}");
    text
}
