//! Names and texts of the registry and of monitoring that would be markup if anybody let them.

use serde_json::json;
use tidemill_core::{Actor, Clock as _, Digest, EventKind, NewEvent, Timestamp};
use tidemill_db::monitoring::{NewAlert, NewJudged};
use tidemill_monitor::{Declaration, Evidence, Level, Memory, Moved, Parted, State, Verdict};
use tidemill_server::monitoring::declare;

use crate::client::{Reply, Server};
use crate::ui::{HOSTILE, is_tame, page, part, post};

/// Names of models have no slash.
const NAME: &str = "\"><img src=x onerror=alert(1)>";

/// Each page says it, and none lets it be more than text; as Markdown and as a picture, too.
async fn say_it(server: &Server, paths: &[String]) {
    for path in paths {
        let reply = page(server, path).await;
        reply.is(200, &["onerror"]);
        is_tame(&reply);
        let mark = if path.contains('?') { '&' } else { '?' };
        let written = page(server, &format!("{path}{mark}format=md")).await;
        assert_eq!(written.status, 200, "{path}: {written:?}");
        // What stands between fences is text whatever it is.
        let body = written.body.split("\n```").step_by(2).collect();
        is_tame(&Reply { body, ..written });
    }
}

#[tokio::test]
async fn nothing_of_the_registry_becomes_markup() {
    let server = Server::start().await;
    let tags = json!([{"key": "team", "value": HOSTILE}]);
    let described = format!("A **model** {HOSTILE} [x](javascript:alert(1))");
    let model = json!({"name": NAME, "description": described, "tags": tags});
    post(&server, "/api/2.0/mlflow/registered-models/create", &model).await;
    let run =
        post(&server, "/api/2.0/mlflow/runs/create", &json!({"experiment_id": "0", "run_name": HOSTILE}))
            .await;
    let run = run["run"]["info"]["run_id"].as_str().unwrap().to_owned();
    for _ in 0..2 {
        let version = json!({"name": NAME, "source": "s3://models/x", "description": described,
            "run_id": run, "tags": tags});
        post(&server, "/api/2.0/mlflow/model-versions/create", &version).await;
    }
    let alias = json!({"name": NAME, "alias": "champion", "version": "1"});
    post(&server, "/api/2.0/mlflow/registered-models/alias", &alias).await;
    let of = format!("/models/{}", part(NAME));
    let event = server.db.newest_event("alias.moved", None, None).await.unwrap().unwrap();
    let paths = [
        "/models".to_owned(),
        of.clone(),
        format!("{of}/1"),
        format!("{of}/2"),
        format!("{of}/2/card"),
        "/".to_owned(),
        "/log?kind=version.created".to_owned(),
        format!("/log/{}", event.seq),
        format!("/runs/{run}"),
    ];
    say_it(&server, &paths).await;
    // A link that runs something is none.
    assert!(!page(&server, &of).await.body.contains("href=\"javascript"));
}

#[tokio::test]
async fn nothing_that_is_watched_becomes_markup() {
    let server = Server::start().await;
    let declaration: Declaration = serde_json::from_value(json!({
        "project": HOSTILE, "endpoint": HOSTILE, "monitors": [{"drift": {"window": "1d"}}],
    }))
    .unwrap();
    declare(&server.db, &*server.clock, &Actor::user(HOSTILE), &declaration).await.unwrap();
    let at = server.clock.now();
    let day = |number: i64| Timestamp::from_millis(at.millis() + (number - 3) * 86_400_000);
    let moved = Moved {
        column: HOSTILE.to_owned(),
        level: Level::Major,
        importance: 0.5,
        shift: 0.4,
        p: Some(0.001),
        why: HOSTILE.to_owned(),
    };
    let parted = Parted {
        columns: [HOSTILE.to_owned(), HOSTILE.to_owned()],
        level: Level::Minor,
        reference: 0.5,
        current: 0.4,
        p: 0.001,
        why: HOSTILE.to_owned(),
    };
    let evidence = Evidence::Drift {
        against: HOSTILE.to_owned(),
        rows_reference: 10,
        rows: 10,
        major_share: 0.5,
        p: Some(0.001),
        level: 0.05,
        columns: vec![moved],
        pairs: vec![parted],
        skipped: vec![HOSTILE.to_owned()],
    };
    let verdict = Verdict {
        state: State::Broken,
        value: Some(0.5),
        limit: Some(0.3),
        evidence: Some(evidence),
        ..Verdict::no_data(HOSTILE)
    };
    let mut tx = server.db.begin().await.unwrap();
    let mut windows = Vec::new();
    for (number, version) in [(0, "1"), (1, HOSTILE)] {
        let window = NewJudged {
            endpoint: HOSTILE.to_owned(),
            watch: "drift".to_owned(),
            from: day(number),
            to: day(number + 1),
            state: "broken".to_owned(),
            model: Some(HOSTILE.to_owned()),
            version: Some(version.to_owned()),
            predictions: 10,
            verdict: serde_json::to_string(&verdict).unwrap(),
            profile: None,
            rests_on: None,
        };
        windows.push(tx.add_judged_window(&window, at).await.unwrap().unwrap());
    }
    let memory = serde_json::to_string(&Memory::default()).unwrap();
    assert!(tx.put_monitor_series(HOSTILE, "drift", 0, &memory).await.unwrap());
    let made = NewAlert {
        fingerprint: Digest::of(b"drift"),
        endpoint: HOSTILE.to_owned(),
        watch: "drift".to_owned(),
        monitor: "drift".to_owned(),
        since: day(0),
        why: HOSTILE.to_owned(),
        at_risk: Some(12.5),
        currency: Some(HOSTILE.to_owned()),
        window: windows[1],
    };
    tx.add_alert(&made, "firing", Some(at)).await.unwrap();
    let kind = EventKind::StorePushed { remote: HOSTILE.to_owned(), bytes: 1 };
    tx.commit(vec![NewEvent { at, actor: Actor::user(HOSTILE), kind, cause: None }]).await.unwrap();
    let series = format!("/monitoring/{}/drift", part(HOSTILE));
    let paths = [
        "/monitoring".to_owned(),
        series.clone(),
        format!("{series}?window={}", windows[0]),
        "/".to_owned(),
        "/owner".to_owned(),
        "/log".to_owned(),
    ];
    say_it(&server, &paths).await;
    // The heat map and the curve are files as well.
    for (path, figure) in [("/monitoring", "moved-0"), ("/monitoring", "trend-0"), (series.as_str(), "trend")]
    {
        let svg = server.get(&format!("{path}?format=svg&figure={figure}")).await;
        assert_eq!(
            (svg.status, svg.header("content-type")),
            (200, Some("image/svg+xml")),
            "{figure}: {svg:?}"
        );
        assert!(!svg.body.contains("<script") && !svg.body.contains("<img"), "{svg:?}");
    }
    let svg = server.get("/monitoring?format=svg&figure=moved-0").await.body;
    assert!(svg.contains(">0.4 !<") && svg.contains("▲ v"), "{svg}");
}
