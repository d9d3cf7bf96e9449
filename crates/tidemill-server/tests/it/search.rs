//! The searches over experiments and runs, as MLflow's clients ask.

use serde_json::{Value, json};

use crate::client::{Reply, Server};

async fn post(server: &Server, path: &str, body: Value) -> Reply {
    server.ask("POST", path, &[], &body.to_string()).await
}

/// An experiment with `runs` runs: `score` is the number of each, `kind` is `even` or `odd`, odd ones read a dataset.
async fn experiment(server: &Server, name: &str, runs: i64) -> String {
    let made = post(server, "/api/2.0/mlflow/experiments/create", json!({"name": name})).await;
    let id = made.json()["experiment_id"].as_str().unwrap().to_owned();
    for number in 0..runs {
        let body =
            json!({"experiment_id": id, "run_name": format!("run {number}"), "start_time": 1000 + number});
        let run = post(server, "/api/2.0/mlflow/runs/create", body).await.json();
        let run = run["run"]["info"]["run_id"].as_str().unwrap().to_owned();
        let kind = if number % 2 == 0 { "even" } else { "odd" };
        let body = json!({
            "run_id": run,
            "metrics": [{"key": "score", "value": number, "timestamp": 1, "step": 0}],
            "params": [{"key": "kind", "value": kind}],
            "tags": [{"key": "team", "value": "tides"}],
        });
        post(server, "/api/2.0/mlflow/runs/log-batch", body).await.is(200, &[]);
        if kind == "odd" {
            let dataset = json!({"name": "flights", "digest": "d1", "source_type": "local", "source": "s"});
            let tags = json!([{"key": "mlflow.data.context", "value": "training"}]);
            let body = json!({"run_id": run, "datasets": [{"dataset": dataset, "tags": tags}]});
            post(server, "/api/2.0/mlflow/runs/log-inputs", body).await.is(200, &[]);
        }
    }
    id
}

fn names(answer: &Value) -> Vec<&str> {
    let none = Vec::new();
    let runs = answer["runs"].as_array().unwrap_or(&none);
    runs.iter().map(|run| run["info"]["run_name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn runs_are_found_ordered_and_paged() {
    let server = Server::start().await;
    let id = experiment(&server, "e", 5).await;
    let other = experiment(&server, "other", 1).await;
    let search = |body: Value| post(&server, "/api/2.0/mlflow/runs/search", body);

    let all = search(json!({"experiment_ids": [id]})).await.json();
    assert_eq!(names(&all), ["run 4", "run 3", "run 2", "run 1", "run 0"]);
    assert_eq!(all.get("next_page_token"), None);
    let both =
        search(json!({"experiment_ids": [other, id], "order_by": ["attributes.start_time ASC"]})).await;
    assert_eq!(names(&both.json())[..2], ["run 0", "run 0"]);

    let filter = "metrics.score >= 1 and params.kind = 'odd' AND tags.team LIKE 'tide_'";
    let mut body =
        json!({"experiment_ids": [id], "filter": filter, "order_by": ["metrics.score"], "max_results": 1});
    let first = search(body.clone()).await.json();
    assert_eq!(names(&first), ["run 1"]);
    body["page_token"] = first["next_page_token"].clone();
    let second = search(body.clone()).await.json();
    assert_eq!(names(&second), ["run 3"]);
    assert_eq!(second.get("next_page_token"), None);
    let data = &second["runs"][0]["data"];
    assert_eq!(data["metrics"][0]["value"], 3.0);
    assert_eq!(second["runs"][0]["inputs"]["dataset_inputs"][0]["dataset"]["name"], "flights");

    body["order_by"] = json!(["metrics.score DESC"]);
    search(body).await.is(400, &["INVALID_PARAMETER_VALUE", "belongs to another search"]);
    assert_eq!(search(json!({})).await.json(), json!({}));
    assert_eq!(search(json!({"experiment_ids": [id], "filter": "metrics.none > 1"})).await.json(), json!({}));
}

#[tokio::test]
async fn deleted_runs_are_found_where_they_are_asked_for() {
    let server = Server::start().await;
    let id = experiment(&server, "e", 3).await;
    let search = |view: Value| {
        post(
            &server,
            "/ajax-api/2.0/mlflow/runs/search",
            json!({"experiment_ids": [id], "run_view_type": view}),
        )
    };
    let run = search(json!("ALL")).await.json()["runs"][1]["info"]["run_id"].clone();
    post(&server, "/api/2.0/mlflow/runs/delete", json!({"run_id": run})).await.is(200, &[]);
    assert_eq!(names(&search(json!("ACTIVE_ONLY")).await.json()), ["run 2", "run 0"]);
    assert_eq!(names(&search(json!("DELETED_ONLY")).await.json()), ["run 1"]);
    assert_eq!(names(&search(json!(3)).await.json()), ["run 2", "run 1", "run 0"]);
    search(json!("NONE")).await.is(400, &["run_view_type"]);
}

#[tokio::test]
async fn experiments_are_found_by_both_methods() {
    let server = Server::start().await;
    for name in ["a", "b", "ab"] {
        experiment(&server, name, 0).await;
    }
    let names = |answer: &Value| -> Vec<String> {
        let found = answer["experiments"].as_array().unwrap().iter();
        found.map(|experiment| experiment["name"].as_str().unwrap().to_owned()).collect()
    };
    let body = json!({"max_results": 10, "filter": "name LIKE 'a%'", "order_by": ["name DESC"]});
    let found = post(&server, "/api/2.0/mlflow/experiments/search", body).await.json();
    assert_eq!(names(&found), ["ab", "a"]);
    let path = "/ajax-api/2.0/mlflow/experiments/search?max_results=2&order_by=name&order_by=experiment_id%20ASC\
                &filter=tags.%60mlflow.experiment.isGateway%60%20IS%20NULL&view_type=ACTIVE_ONLY";
    let first = server.get(path).await.json();
    assert_eq!(names(&first).len(), 2);
    let token: String = url_text(first["next_page_token"].as_str().unwrap());
    let second = server.get(&format!("{path}&page_token={token}")).await.json();
    let mut all = names(&first);
    all.extend(names(&second));
    assert_eq!(all.into_iter().filter(|name| name != "Default").collect::<Vec<_>>(), ["a", "ab", "b"]);
}

fn url_text(text: &str) -> String {
    text.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D")
}

#[tokio::test]
async fn datasets_are_listed_once() {
    let server = Server::start().await;
    let id = experiment(&server, "e", 4).await;
    let path = "/ajax-api/2.0/mlflow/experiments/search-datasets";
    let found = post(&server, path, json!({"experiment_ids": [id]})).await.json();
    let summary = json!({"experiment_id": id, "name": "flights", "digest": "d1", "context": "training"});
    assert_eq!(found, json!({"dataset_summaries": [summary]}));
}

#[tokio::test]
async fn refusals() {
    let server = Server::start().await;
    let (runs, experiments) = ("runs/search", "experiments/search");
    let datasets = "experiments/search-datasets";
    let many: Vec<String> = (0..21).map(|id: i32| id.to_string()).collect();
    let mut shown = String::new();
    for (path, body) in [
        (runs, json!({"filter": "metrics.m > 1 OR metrics.m < 0"})),
        (runs, json!({"filter": "(metrics.m > 1)"})),
        (runs, json!({"filter": "foo.m > 1"})),
        (runs, json!({"filter": "attributes.foo = 'x'"})),
        (runs, json!({"filter": "params.p = 1"})),
        (runs, json!({"filter": "metrics.m = 'x'"})),
        (runs, json!({"filter": "metrics.m LIKE 1"})),
        (runs, json!({"filter": "params.p RLIKE 'x'"})),
        (runs, json!({"filter": "status IN ('FINISHED')"})),
        (runs, json!({"filter": "run_id IN (1)"})),
        (runs, json!({"filter": "metrics.m > 1; metrics.m < 2"})),
        (runs, json!({"filter": "params.p = 'a\u{0}'"})),
        (runs, json!({"filter": 1})),
        (runs, json!({"order_by": ["metrics.m", "metric.m DESC"]})),
        (runs, json!({"order_by": ["metrics.m SIDEWAYS"]})),
        (runs, json!({"order_by": ["foo"]})),
        (runs, json!({"max_results": 0})),
        (runs, json!({"max_results": 50_001})),
        (runs, json!({"max_results": "many"})),
        (runs, json!({"experiment_ids": ["x"]})),
        (runs, json!({"page_token": "*"})),
        (runs, json!({"page_token": "eyJvZmZzZXQiOiA1fQ=="})),
        (experiments, json!({})),
        (experiments, json!({"max_results": 50_001})),
        (experiments, json!({"max_results": 5, "filter": "experiment_id = 'x'"})),
        (experiments, json!({"max_results": 5, "filter": "name IS NULL"})),
        (experiments, json!({"max_results": 5, "order_by": ["tags.t"]})),
        (experiments, json!({"max_results": 5, "view_type": "SOME"})),
        (datasets, json!({})),
        (datasets, json!({"experiment_ids": many})),
    ] {
        let reply = post(&server, &format!("/api/2.0/mlflow/{path}"), body.clone()).await;
        assert_eq!(reply.status, 400, "{path} {body}: {reply:?}");
        let answer = reply.json();
        shown += &format!(
            "{path} {body}\n    {}: {}\n",
            answer["error_code"].as_str().unwrap(),
            answer["message"].as_str().unwrap()
        );
    }
    insta::assert_snapshot!(shown);
}
