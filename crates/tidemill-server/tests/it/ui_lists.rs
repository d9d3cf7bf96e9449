//! Lists of the pages: how much there is, groups of runs, keys of an experiment, curves at an address of their own, chains of causes.

use serde_json::{Value, json};
use tidemill_core::{Actor, Clock as _, Digest, EventKind, Name, NewEvent};
use tidemill_db::NewDatasetVersion;
use tidemill_db::tracking::{Batch, KeyValue, NewTrackedRun, RunStatus};

use crate::client::Server;
use crate::ui::{HOSTILE, is_tame, page, part, post};

/// An experiment with so many runs, each with a parameter `kind` of its own and a tag that few share.
async fn experiment(server: &Server, runs: u8) -> String {
    let made = post(server, "/api/2.0/mlflow/experiments/create", &json!({"name": "many"})).await;
    let experiment = made["experiment_id"].as_str().unwrap().to_owned();
    for n in 0..runs {
        let id = tidemill_core::RunId::from_entropy([n + 1; 16]);
        let number = experiment.parse().unwrap();
        let new = NewTrackedRun {
            id,
            experiment: number,
            name: format!("run-{n}"),
            user: String::new(),
            status: RunStatus::Finished,
            started_at: Some(server.clock.now()),
            ended_at: None,
            artifact_uri: None,
        };
        let pair = |key: &str, value: String| KeyValue { key: key.to_owned(), value };
        let batch = Batch {
            params: vec![pair("kind", n.to_string()), pair(&format!("only_{n}"), HOSTILE.to_owned())],
            tags: vec![pair("half", (n % 2).to_string()), pair("long", "x".repeat(2_000))],
            ..Batch::default()
        };
        let kind = EventKind::TrackingRunCreated { run: id, experiment: number, name: new.name.clone() };
        let event = NewEvent { at: server.clock.now(), actor: Actor::user("ada"), kind, cause: None };
        server.db.ingest().create_run(new, batch, event).await.unwrap();
    }
    experiment
}

#[tokio::test]
async fn groups_of_runs_are_cut_into_pages() {
    let server = Server::start().await;
    let experiment = experiment(&server, 120).await;
    let address = format!("/experiments/{experiment}?group=params.kind");
    let get =
        async |address: &str| server.get(&format!("{address}&format=json")).await.json()["data"].clone();
    let first = get(&address).await;
    let groups = &first["groups"];
    // By what numbers are worth, not by their letters.
    let names = |groups: &Value| {
        let rows = groups["rows"].as_array().unwrap().iter();
        rows.map(|row| row["params.kind"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(groups), (0..50).map(|n: u8| n.to_string()).collect::<Vec<_>>());
    assert_eq!(groups["total"], 120);
    let third = get(get(groups["next"].as_str().unwrap()).await["groups"]["next"].as_str().unwrap()).await;
    assert_eq!((names(&third["groups"]).len(), third["groups"].get("next")), (20, None));
    page(&server, &address).await.is(200, &["50 of 120 groups"]);
    let halves = get(&format!("/experiments/{experiment}?group=tags.half")).await;
    assert_eq!(halves["groups"]["rows"][0]["Runs"], 60);
    // Values may be documents: of them the beginning is shown, and no filter says which runs they are of.
    let long = page(&server, &format!("/experiments/{experiment}?group=tags.long")).await;
    long.is(200, &["1 group", "xxx…"]);
    assert!(!long.body.contains(&"x".repeat(300)));
    page(&server, &format!("{address}&page=x")).await.is(200, &["is no page of this list"]);
    page(&server, &format!("{address}&slice=x")).await.is(200, &["filter-error"]);
}

#[tokio::test]
async fn lists_say_how_much_there_is() {
    let server = Server::start().await;
    let experiment = experiment(&server, 120).await;
    let runs = page(&server, &format!("/experiments/{experiment}")).await;
    runs.is(200, &["100 of 120 runs"]);
    let few = format!("/experiments/{experiment}?filter=tags.half%20%3D%20'1'");
    page(&server, &few).await.is(200, &["60 runs"]);
    let json = server.get(&format!("/experiments/{experiment}?format=json")).await.json();
    assert_eq!(json["data"]["runs"]["total"], 120);
    // One for each run, one for the experiment, and those that made the server.
    let size = server.db.log_head().await.unwrap().size;
    page(&server, "/log").await.is(200, &[&format!("100 of {size} events")]);
    page(&server, "/log?kind=tracking.run.created").await.is(200, &["100 of 120 events"]);
    page(&server, "/log?subject=none").await.is(200, &["No event fits"]);
    page(&server, "/experiments").await.is(200, &["2 experiments"]);
    // Of a time, too, with a kind or without.
    page(&server, "/log?since=1970-01-01T00:00:00Z").await.is(200, &[&format!("100 of {size} events")]);
    let long_ago = page(&server, "/log?until=1970-01-01T00:00:00Z").await;
    long_ago.is(200, &["No event fits"]);
    page(&server, "/log?since=1970-01-01T00:00:00Z&kind=tracking.run.created")
        .await
        .is(200, &["100 of 120 events"]);
}

#[tokio::test]
async fn models_and_their_versions_say_how_many_they_are() {
    let server = Server::start().await;
    for n in 0..120 {
        let body = json!({"name": format!("a-{n}")});
        post(&server, "/api/2.0/mlflow/registered-models/create", &body).await;
    }
    page(&server, "/models").await.is(200, &["100 of 120 models"]);
    page(&server, "/models?filter=name%20LIKE%20'a-%25'").await.is(200, &["100 of 120 models"]);
    page(&server, "/models?filter=name%20LIKE%20'a-1%25'").await.is(200, &["31 models"]);
    page(&server, "/models?filter=name%20LIKE").await.is(200, &["filter-error"]);
    let get = async |path: &str| server.get(path).await.json()["data"].clone();
    let next = get("/models?format=json").await["models"]["next"].as_str().unwrap().to_owned();
    let second = get(&format!("{next}&format=json")).await;
    assert_eq!(
        (second["models"]["total"].as_u64(), second["models"]["rows"].as_array().unwrap().len()),
        (Some(120), 20)
    );

    for _ in 0..205 {
        let body = json!({"name": "a-7", "source": "s3://models/a"});
        post(&server, "/api/2.0/mlflow/model-versions/create", &body).await;
    }
    page(&server, "/models/a-7").await.is(200, &["200 of 205 versions"]);
    // A deleted one is none.
    let deleted = r#"{"name": "a-7", "version": "3"}"#;
    assert_eq!(server.ask("DELETE", "/api/2.0/mlflow/model-versions/delete", &[], deleted).await.status, 200);
    page(&server, "/models/a-7").await.is(200, &["200 of 204 versions"]);
    page(&server, "/models/a-8").await.is(200, &["The model has no version yet"]);
    let none = get("/delivery/releases?model=a-7&format=json").await;
    assert_eq!(none["releases"]["total"], 0);
}

#[tokio::test]
async fn datasets_are_cut_into_pages() {
    let server = Server::start().await;
    let mut tx = server.db.begin().await.unwrap();
    let mut events = Vec::new();
    for n in 0..205_u16 {
        let (at, content, dataset) =
            (server.clock.now(), Digest::of(&n.to_be_bytes()), format!("rows-{n:03}"));
        let new = NewDatasetVersion {
            dataset: Name::new(&dataset).unwrap(),
            content,
            kind: "file".into(),
            bytes: 10,
            files: 1,
            rows: None,
            schema: None,
            source: "rows.csv".into(),
            message: None,
            created_at: at,
            actor: Actor::user("ada"),
        };
        let version = tx.put_dataset_version(&new).await.unwrap().version;
        let kind = EventKind::DatasetVersionCreated { dataset, version, content, bytes: 10, rows: None };
        events.push(NewEvent { at, actor: Actor::user("ada"), kind, cause: None });
    }
    tx.commit(events).await.unwrap();
    page(&server, "/data").await.is(200, &["200 of 205 datasets", "rows-000", "rows-199"]);
    let first = server.get("/data?format=json").await.json()["data"]["datasets"].clone();
    assert_eq!((first["rows"].as_array().unwrap().len(), &first["total"]), (200, &json!(205)));
    let next = first["next"].as_str().unwrap();
    let rest = server.get(&format!("{next}&format=json")).await.json()["data"]["datasets"].clone();
    let names: Vec<&str> =
        rest["rows"].as_array().unwrap().iter().map(|row| row["dataset"].as_str().unwrap()).collect();
    assert_eq!(names, ["rows-200", "rows-201", "rows-202", "rows-203", "rows-204"]);
    assert_eq!(rest.get("next"), None);
    page(&server, "/data?page=x").await.is(400, &["is no page of this list"]);
}

#[tokio::test]
async fn what_an_answer_leaves_out_is_said() {
    let server = Server::start().await;
    experiment(&server, 3).await;
    let run = |n: u8| tidemill_core::RunId::from_entropy([n; 16]).to_string();
    // Each is compared once, and what is no run is not passed over.
    let two = format!("/compare?run={}&run={}&run={}&run=x", run(2), run(1), run(2));
    page(&server, &two).await.is(200, &["2 runs. ", "One run that is named is not there."]);
    let alone = format!("/compare?run={}&run={}", run(1), run(9));
    page(&server, &alone).await.is(200, &["Nothing to compare", "One run that is named is not there."]);
    let all = format!("/compare?run={}&run={}", run(2), run(1));
    assert!(!page(&server, &all).await.body.contains("not there"));
    // A time that is none finds nothing rather than everything.
    page(&server, "/log?since=yesterday").await.is(200, &["is not a time", "could not be understood"]);
    let found = server.get("/log?until=yesterday&format=json").await.json()["data"]["events"].clone();
    assert_eq!(found["rows"], json!([]));
    page(&server, "/log?page=x").await.is(400, &["is no page of this list"]);
}

#[tokio::test]
async fn columns_are_chosen_among_the_keys_of_the_whole_experiment() {
    let server = Server::start().await;
    let experiment = experiment(&server, 120).await;
    // It is a parameter of a run that is on the second page.
    let first = page(&server, &format!("/experiments/{experiment}?order=attributes.run_name%20ASC")).await;
    let listed =
        |reply: &crate::client::Reply, key: &str| reply.body.contains(&format!("value=\"params.{key}\""));
    assert!(listed(&first, "only_1") && !listed(&first, "only_99"), "{}", first.body);
    let found =
        page(&server, &format!("/experiments/{experiment}?keys=NLY_99&finding=1&column=params.kind")).await;
    found.is(200, &["1 key of the experiment holds `NLY_99`", "<details class=\"several\" open>"]);
    assert!(listed(&found, "only_99") && listed(&found, "kind") && !listed(&found, "only_1\""));
    let chosen = format!("/experiments/{experiment}?keys=only&column=params.only_99");
    let reply = page(&server, &chosen).await;
    reply.is(200, &["100 of the keys of the experiment", "params.only_99\" checked", "class=\"several\">"]);
    is_tame(&reply);
    page(&server, &format!("/experiments/{experiment}?keys=tags.kind"))
        .await
        .is(200, &["No key of the experiment"]);
    let hostile = part(HOSTILE);
    is_tame(&page(&server, &format!("/experiments/{experiment}?keys={hostile}&finding=1")).await);
}

#[tokio::test]
async fn a_curve_has_an_address_that_says_its_run_and_metric() {
    let server = Server::start().await;
    let run = post(&server, "/api/2.0/mlflow/runs/create", &json!({"experiment_id": "0"})).await;
    let run = run["run"]["info"]["run_id"].as_str().unwrap().to_owned();
    let log = async |key: &str| {
        let points: Vec<Value> =
            (0..20).map(|n| json!({"key": key, "value": f64::from(n), "timestamp": n, "step": n})).collect();
        post(&server, "/api/2.0/mlflow/runs/log-batch", &json!({"run_id": run, "metrics": points})).await;
    };
    log("val/loss: more").await;
    let address = format!("/runs/{run}/curves/val%2Floss%3A%20more");
    page(&server, &address).await.is(200, &["val/loss: more", "among all", &format!("{address}?format=svg")]);
    let svg = server.get(&format!("{address}?format=svg")).await;
    assert_eq!(svg.header("content-type"), Some("image/svg+xml"));
    // A browser asks for a picture in its own words.
    let image = [("accept", "image/avif,image/webp,image/svg+xml,image/*,*/*;q=0.8")];
    assert_eq!(server.ask("GET", &address, &image, "").await.body, svg.body);
    let all = page(&server, &format!("/runs/{run}?tab=metrics")).await;
    all.is(200, &[&format!("href=\"{address}\""), &format!("href=\"{address}?format=svg\"")]);
    // Metrics that come later change neither the address nor what is there; a report names the same.
    log("a metric before it").await;
    assert_eq!(server.get(&format!("{address}?format=svg")).await.body, svg.body);
    let report = server.get(&format!("/runs/{run}?tab=metrics&format=md")).await.body;
    assert!(report.contains(&format!("({address}?format=svg)")), "{report}");
    // How it is drawn goes with it.
    let drawn = page(&server, &format!("{address}?x=3..9&log=1")).await;
    drawn.is(200, &["See all steps", &format!("{address}?x=3..9&#38;log=1&#38;format=svg")]);
    let rows = server.get(&format!("{address}?x=3..9&format=json")).await.json();
    let (_, curve) = rows["data"].as_object().unwrap().iter().next().unwrap();
    assert_eq!(curve["rows"].as_array().unwrap().len(), 7);
    page(&server, &format!("/runs/{run}/curves/none")).await.is(404, &["the run has no metric"]);
}

#[tokio::test]
async fn many_curves_of_a_run_are_cut_into_pages() {
    let server = Server::start().await;
    let run = post(&server, "/api/2.0/mlflow/runs/create", &json!({"experiment_id": "0"})).await;
    let run = run["run"]["info"]["run_id"].as_str().unwrap().to_owned();
    let point = |n: i64| json!({"key": format!("m-{}", n / 2), "value": 0.5, "timestamp": n, "step": n % 2});
    let points: Vec<Value> = (0..122).map(point).collect();
    post(&server, "/api/2.0/mlflow/runs/log-batch", &json!({"run_id": run, "metrics": points})).await;
    let curves = format!("/runs/{run}?tab=metrics");
    page(&server, &curves).await.is(200, &["60 of 61 curves.", "More curves"]);
    page(&server, &format!("{curves}&from=60")).await.is(200, &["1 of 61 curves.", "First curves"]);
    page(&server, &format!("{curves}&name=m-7")).await.is(200, &["m-7"]);
    page(&server, &format!("/runs/{run}")).await.is(200, &["The first 40 curves are drawn here"]);
}

#[tokio::test]
async fn a_chain_of_causes_is_whole_however_long_ago_it_began() {
    let server = Server::start().await;
    let event = |cause| NewEvent {
        at: server.clock.now(),
        actor: Actor::user("ada"),
        kind: EventKind::StorePushed { remote: "far".into(), bytes: 1 },
        cause,
    };
    let append = async |events: Vec<NewEvent>| server.db.begin().await.unwrap().commit(events).await.unwrap();
    let first = append(vec![event(None)]).await[0];
    append(vec![event(None); 2_500]).await;
    let second = append(vec![event(Some(first))]).await[0];
    append(vec![event(None); 2_500]).await;
    let third = append(vec![event(Some(second)), event(Some(first))]).await[0];
    let seqs = |data: &Value, table: &str| {
        let rows = data[table]["rows"].as_array().unwrap().iter();
        rows.map(|row| row["event"].as_str().unwrap().parse().unwrap()).collect::<Vec<u64>>()
    };
    let data = async |seq: u64| server.get(&format!("/log/{seq}?format=json")).await.json()["data"].clone();
    assert_eq!(seqs(&data(third).await, "chain"), [first, second, third]);
    assert_eq!(seqs(&data(first).await, "effects"), [second, third + 1]);
    assert!(seqs(&data(third).await, "effects").is_empty());
    // What has many effects shows them page by page.
    append(vec![event(Some(third)); 130]).await;
    let many = data(third).await;
    assert_eq!((seqs(&many, "effects").len(), &many["effects"]["total"]), (100, &json!(130)));
    let next = many["effects"]["next"].as_str().unwrap();
    let rest = server.get(&format!("{next}&format=json")).await.json()["data"].clone();
    assert_eq!(seqs(&rest, "effects").len(), 30);
    // Of a longer chain the nearest causes are shown, and the way to those before them.
    let mut last = third;
    for _ in 0..101 {
        last = append(vec![event(Some(last))]).await[0];
    }
    let long = page(&server, &format!("/log/{last}")).await;
    long.is(200, &["The 100 nearest causes", "what led to that one"]);
    assert_eq!(seqs(&data(last).await, "chain").len(), 101);
}
