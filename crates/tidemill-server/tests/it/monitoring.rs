//! How monitors stand: in the API, on pages, and the business number over releases.

use serde_json::{Value, json};
use tidemill_core::{Actor, Clock as _, Digest, EventKind, NewEvent, Timestamp};
use tidemill_db::monitoring::{AlertFilter, JudgedFilter, NewAlert, NewJudged};
use tidemill_monitor::Declaration;
use tidemill_server::monitoring::declare;

use crate::client::Server;
use crate::ui::page;

/// Declares what `monitors`, as a project file has them, watch at the endpoint `late`.
async fn watched(server: &Server, monitors: Value) {
    let declaration: Declaration = serde_json::from_value(json!({
        "project": "flights",
        "endpoint": "late",
        "objective": {
            "task": {"kind": "classification", "target": "late", "positive": 1},
            "kpi": {"name": "cost", "better": "lower"},
        },
        "monitors": monitors,
    }))
    .unwrap();
    declare(&server.db, &*server.clock, &Actor::system("test"), &declaration).await.unwrap();
}

fn event(server: &Server) -> Vec<NewEvent> {
    let kind = EventKind::MonitorsDeclared {
        endpoint: "late".to_owned(),
        revision: 9,
        spec: Digest::of(b""),
        monitors: Vec::new(),
    };
    vec![NewEvent { at: server.clock.now(), actor: Actor::system("test"), kind, cause: None }]
}

async fn mlflow(server: &Server, path: &str, body: Value) -> Value {
    let reply = server.ask("POST", &format!("/api/2.0/mlflow/{path}"), &[], &body.to_string()).await;
    assert_eq!(reply.status, 200, "{path}: {reply:?}");
    reply.json()
}

/// A version of `late` whose run measured these.
async fn version(server: &Server, metrics: &[(&str, f64)]) {
    let run = mlflow(server, "runs/create", json!({"experiment_id": "0"})).await;
    let run = run["run"]["info"]["run_id"].as_str().unwrap().to_owned();
    for (key, value) in metrics {
        let metric = json!({"run_id": run, "key": key, "value": value, "timestamp": 1});
        mlflow(server, "runs/log-metric", metric).await;
    }
    mlflow(server, "model-versions/create", json!({"name": "late", "source": "s3://b/m", "run_id": run}))
        .await;
}

#[tokio::test]
async fn the_business_number_over_releases() {
    let server = Server::start().await;
    watched(&server, json!([{"kpi": {"name": "cost"}}])).await;
    mlflow(&server, "registered-models/create", json!({"name": "late"})).await;
    let aucs = [0.61, 0.6, 0.66, 0.7, 0.68, 0.75, 0.8];
    let mut releases = Vec::new();
    for (number, auc) in aucs.iter().enumerate() {
        version(&server, &[("roc_auc", *auc), ("system/cpu", number as f64)]).await;
        let (since, mean) = (number as i64 * 1_000, 9.0 - auc);
        releases.push(json!({
            "since": since, "until": since + 1_000, "model": "late", "version": (number + 1).to_string(),
            "sum": mean * 50.0, "outcomes": 50,
        }));
    }
    // One that is not registered any more, and one with too few outcomes.
    releases.push(
        json!({"since": 9_000, "until": 9_500, "model": "late", "version": "99", "sum": 1.0, "outcomes": 40}),
    );
    releases.push(
        json!({"since": 9_500, "until": 9_600, "model": "late", "version": "1", "sum": 1.0, "outcomes": 3}),
    );
    let mut tx = server.db.begin().await.unwrap();
    let memory = json!({ "releases": releases }).to_string();
    assert!(tx.put_monitor_series("late", "kpi:cost", 0, &memory).await.unwrap());
    tx.commit(event(&server)).await.unwrap();

    let monitors = server.get("/api/v1/monitors").await.json();
    let found = &monitors["data"][0]["releases"];
    assert_eq!(found["releases"].as_array().map(Vec::len), Some(8), "{found}");
    let metrics = found["metrics"].as_array().unwrap();
    assert_eq!(metrics.len(), 1, "what the machine was like is no metric of the model: {found}");
    let relation = &metrics[0];
    assert_eq!((&relation["metric"], &relation["releases"]), (&json!("roc_auc"), &json!(7)));
    assert!((relation["correlation"].as_f64().unwrap() + 1.0).abs() < 1e-12, "{found}");
    assert!(relation["high"].as_f64().unwrap() < 0.0, "{found}");
    assert!(found["why"].as_str().unwrap().starts_with("higher `roc_auc` went with lower `cost`"), "{found}");

    let path = "/monitoring/late/kpi:cost";
    let shown = page(&server, path).await;
    shown.is(200, &["Over releases", "rank correlation", "late v7", "higher `roc_auc` went with lower"]);
    let numbers = server.get(&format!("{path}?format=csv&table=over_releases")).await;
    assert!(numbers.body.contains("roc_auc,7,-"), "{numbers:?}");
}

#[tokio::test]
async fn few_releases_say_nothing() {
    let server = Server::start().await;
    watched(&server, json!([{"kpi": {"name": "cost"}}, {"stream": {"of": "score"}}])).await;
    let monitors = server.get("/api/v1/monitors").await.json();
    let why = monitors["data"][0]["releases"]["why"].as_str().unwrap();
    assert!(why.starts_with("too few releases to say"), "{monitors}");
    assert_eq!(monitors["data"][1]["watch"], "stream:score");
    page(&server, "/monitoring/late/kpi:cost").await.is(200, &["too few releases to say", "Thirty outcomes"]);
}

/// Windows and alerts of one series among many: what a page shows is that series' own, however much others have.
#[tokio::test]
async fn windows_and_alerts_are_found_by_their_series() {
    let server = Server::start().await;
    watched(&server, json!([{"stream": {"of": "score"}}, {"service": {"p99_ms": 5.0}}])).await;
    let at = |millis: i64| Timestamp::from_millis(millis);
    let mut tx = server.db.begin().await.unwrap();
    for number in 0..120 {
        for (watch, count) in [("stream:score", 3), ("service", 120)] {
            if number >= count {
                continue;
            }
            let verdict = json!({"state": "broken", "value": number, "why": format!("{watch} {number}")});
            let window = NewJudged {
                endpoint: "late".to_owned(),
                watch: watch.to_owned(),
                from: at(number * 1_000),
                to: at((number + 1) * 1_000),
                state: "broken".to_owned(),
                model: None,
                version: None,
                predictions: 1,
                verdict: verdict.to_string(),
                profile: None,
                rests_on: None,
            };
            let window = tx.add_judged_window(&window, at(0)).await.unwrap().unwrap();
            let alert = NewAlert {
                fingerprint: Digest::of(format!("{watch} {number}").as_bytes()),
                endpoint: "late".to_owned(),
                watch: watch.to_owned(),
                monitor: watch.split(':').next().unwrap().to_owned(),
                since: at(number),
                why: format!("{watch} {number}"),
                at_risk: None,
                currency: None,
                window,
            };
            tx.add_alert(&alert, "resolved", None).await.unwrap();
        }
    }
    tx.commit(event(&server)).await.unwrap();

    let named = [("late", "stream:score"), ("late", "none"), ("other", "service"), ("late", "service")];
    let last = server.db.last_windows(&named, 5).await.unwrap();
    let begins: Vec<Vec<i64>> = last
        .iter()
        .map(|windows| windows.iter().map(|judged| judged.made.from.millis() / 1_000).collect())
        .collect();
    assert_eq!(begins, [vec![2, 1, 0], vec![], vec![], vec![119, 118, 117, 116, 115]]);
    // More series than one statement reads, and the same as one by one.
    let others: Vec<String> = (0..250).map(|number| format!("other{number}")).collect();
    let mut many: Vec<(&str, &str)> = others.iter().map(|watch| ("late", watch.as_str())).collect();
    many[3] = ("late", "service");
    many[207] = ("late", "stream:score");
    let many = server.db.last_windows(&many, 1).await.unwrap();
    assert!(many.iter().enumerate().all(|(place, one)| one.len() == usize::from([3, 207].contains(&place))));
    let filter = JudgedFilter { watch: Some("service".to_owned()), ..JudgedFilter::default() };
    assert_eq!(many[3], server.db.judged_windows(&filter, 1).await.unwrap());

    let filter = AlertFilter { watch: Some("stream:score".to_owned()), ..AlertFilter::default() };
    assert_eq!(server.db.alerts(&filter, 50).await.unwrap().len(), 3);
    let alerts = server.get("/api/v1/alerts?watch=stream:score").await.json();
    assert_eq!(alerts["data"].as_array().map(Vec::len), Some(3), "{alerts}");
    page(&server, "/monitoring/late/stream:score").await.is(200, &["stream:score 0", "Its alerts"]);
    page(&server, "/monitoring").await.is(200, &["stream:score", "service"]);
}

/// Two drift monitors have their numbers each, and what is not drawn is said.
#[tokio::test]
async fn every_heat_map_has_numbers_of_its_own() {
    let server = Server::start().await;
    let streams = (0..12).map(|n| json!({"stream": {"of": {"column": format!("c{n}")}}}));
    let drifts = [json!({"drift": {"window": "1d"}}), json!({"drift": {"window": "7d"}})];
    watched(&server, drifts.into_iter().chain(streams).collect()).await;
    let stand = server.get("/api/v1/monitors").await.json();
    let watches: Vec<String> = stand["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["watch"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(watches.len(), 14, "{stand}");
    let mut tx = server.db.begin().await.unwrap();
    for watch in &watches {
        let moved = json!({"column": format!("of {watch}"), "level": "major", "importance": 1.0, "shift": 0.3, "p": 0.001,
            "why": "it moved"});
        let evidence = watch.starts_with("drift").then(|| {
            json!({"kind": "drift", "against": "training", "rows_reference": 9, "rows": 9, "major_share": 1.0, "p": 0.001,
                "level": 0.01, "columns": [moved], "skipped": []})
        });
        let verdict = json!({"state": "ok", "value": 1.0, "why": "", "evidence": evidence});
        let window = NewJudged {
            endpoint: "late".to_owned(),
            watch: watch.clone(),
            from: Timestamp::from_millis(0),
            to: Timestamp::from_millis(86_400_000),
            state: "ok".to_owned(),
            model: None,
            version: None,
            predictions: 9,
            verdict: verdict.to_string(),
            profile: None,
            rests_on: None,
        };
        tx.add_judged_window(&window, Timestamp::from_millis(0)).await.unwrap().unwrap();
        assert!(tx.put_monitor_series("late", watch, 0, "{}").await.unwrap());
    }
    tx.commit(event(&server)).await.unwrap();
    let shown = page(&server, "/monitoring").await;
    shown.is(
        200,
        &["Drift of late<", "Drift of late (drift#2)", "Of 14 monitors with windows the first 12 are drawn"],
    );
    let numbers = server.get("/monitoring?format=json").await.json()["data"].take();
    for (table, column) in [("moved-0", "of drift"), ("moved-1", "of drift#2")] {
        assert_eq!(numbers[table]["rows"][0]["feature"], column, "{numbers}");
        server.get(&format!("/monitoring?format=csv&table={table}")).await.is(200, &[column]);
    }
}
