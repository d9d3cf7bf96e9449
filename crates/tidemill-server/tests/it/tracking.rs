//! Experiments, runs, metrics, parameters, tags and searches over them, as MLflow's clients send and read them.

use crate::talk::Talk;

/// Starts a run with this name, which the texts call `name` too.
async fn run(talk: &mut Talk, name: &'static str, start: i64) -> String {
    let body = format!(
        r#"{{"experiment_id": "0", "run_name": "{name}", "user_id": "ada", "start_time": {start}, "tags": []}}"#
    );
    let made = talk.say("POST", "runs/create", &body).await;
    talk.call(&made["run"]["info"]["run_id"], name)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn experiments() {
    let mut talk = Talk::new().await;
    talk.say_all(&[
        ("POST", "experiments/create", r#"{"name": "tides", "tags": [{"key": "team", "value": "harbour"}]}"#),
        ("POST", "experiments/create", r#"{"name": "tides"}"#),
        ("POST", "experiments/create", r#"{"name": ""}"#),
        ("POST", "experiments/create", "{}"),
        ("POST", "experiments/create", r#"{"name": 7}"#),
        ("POST", "experiments/create", r#"{"name": "waves", "artifactLocation": "s3://bucket/waves"}"#),
        ("POST", "experiments/create", r#"{"name": "x", "artifact_location": "runs:/1/x"}"#),
        ("GET", "experiments/get?experiment_id=1", ""),
        ("GET", "experiments/get?experiment_id=9", ""),
        ("GET", "experiments/get?experiment_id=abc", ""),
        ("GET", "experiments/get", ""),
        ("GET", "experiments/get-by-name?experiment_name=waves", ""),
        ("GET", "experiments/get-by-name?experiment_name=nothing", ""),
        ("POST", "experiments/set-experiment-tag", r#"{"experiment_id": "1", "key": "k", "value": "v"}"#),
        ("POST", "experiments/set-experiment-tag", r#"{"experiment_id": "1", "key": "a$", "value": "v"}"#),
        ("POST", "experiments/delete-experiment-tag", r#"{"experiment_id": "1", "key": "k"}"#),
        ("POST", "experiments/delete-experiment-tag", r#"{"experiment_id": "1", "key": "k"}"#),
        ("POST", "experiments/update", r#"{"experiment_id": "1", "new_name": "waves"}"#),
        ("POST", "experiments/update", r#"{"experiment_id": "1", "new_name": "neap tides"}"#),
        ("POST", "experiments/delete", r#"{"experiment_id": "1"}"#),
        ("POST", "experiments/delete", r#"{"experiment_id": "1"}"#),
        ("POST", "experiments/update", r#"{"experiment_id": "1", "new_name": "gone"}"#),
        ("POST", "experiments/set-experiment-tag", r#"{"experiment_id": "1", "key": "k", "value": "v"}"#),
        ("POST", "runs/create", r#"{"experiment_id": "1"}"#),
        ("GET", "experiments/get?experiment_id=1", ""),
        ("POST", "experiments/restore", r#"{"experiment_id": "1"}"#),
        ("POST", "experiments/restore", r#"{"experiment_id": "1"}"#),
    ])
    .await;
    insta::assert_snapshot!(talk.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn searches_over_experiments() {
    let mut talk = Talk::new().await;
    for name in ["alpha", "beta", "gamma"] {
        let tag = if name == "beta" { r#"[{"key": "kind", "value": "b"}]"# } else { "[]" };
        talk.say("POST", "experiments/create", &format!(r#"{{"name": "{name}", "tags": {tag}}}"#)).await;
    }
    talk.say("POST", "experiments/delete", r#"{"experiment_id": "3"}"#).await;
    talk.text.clear();
    let mut page =
        talk.say("GET", "experiments/search?max_results=2&order_by=name%20ASC&view_type=ALL", "").await;
    let token = page["next_page_token"].take();
    let token = token.as_str().unwrap();
    let next =
        format!("experiments/search?max_results=2&order_by=name%20ASC&view_type=ALL&page_token={token}");
    talk.say("GET", &next, "").await;
    talk.say_all(&[
        ("POST", "experiments/search", r#"{"max_results": 10, "filter": "name LIKE '%a'"}"#),
        ("POST", "experiments/search", r#"{"max_results": 10, "filter": "tags.kind = 'b'"}"#),
        ("POST", "experiments/search", r#"{"max_results": 10, "filter": "tags.kind IS NULL"}"#),
        ("POST", "experiments/search", r#"{"max_results": 10, "view_type": "DELETED_ONLY"}"#),
        ("POST", "experiments/search", r#"{"max_results": 10, "filter": "name = 'nothing'"}"#),
        ("POST", "experiments/search", r#"{"max_results": 10, "filter": "size > 3"}"#),
        ("POST", "experiments/search", r#"{"max_results": 10, "order_by": ["name UP"]}"#),
        ("POST", "experiments/search", r#"{"max_results": 50001}"#),
        ("POST", "experiments/search", r#"{"max_results": 10, "page_token": "?"}"#),
        ("POST", "experiments/search", "{}"),
    ])
    .await;
    insta::assert_snapshot!(talk.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs() {
    let mut talk = Talk::new().await;
    let id = run(&mut talk, "RUN", 5).await;
    let body = |rest: &str| format!(r#"{{"run_id": "{id}"{rest}}}"#);
    for (method, path, body) in [
        ("POST", "runs/create", r#"{"experiment_id": "9"}"#.to_owned()),
        ("POST", "runs/create", r#"{"experiment_id": "0", "start_time": "soon"}"#.to_owned()),
        (
            "POST",
            "runs/create",
            r#"{"experiment_id": "0", "run_name": "a", "tags": [{"key": "mlflow.runName", "value": "b"}]}"#
                .to_owned(),
        ),
        ("GET", "runs/get?run_id=0123", String::new()),
        ("GET", "runs/get", String::new()),
        ("POST", "runs/set-tag", body(r#", "key": "team", "value": "tides""#)),
        ("POST", "runs/set-tag", body(r#", "key": "..", "value": "x""#)),
        ("POST", "runs/set-tag", body(r#", "key": "mlflow.runName", "value": "renamed""#)),
        ("POST", "runs/delete-tag", body(r#", "key": "team""#)),
        ("POST", "runs/delete-tag", body(r#", "key": "team""#)),
        ("POST", "runs/log-parameter", body(r#", "key": "lr", "value": "0.1""#)),
        ("POST", "runs/log-parameter", body(r#", "key": "lr", "value": "0.1""#)),
        ("POST", "runs/log-parameter", body(r#", "key": "lr", "value": "0.2""#)),
        ("POST", "runs/log-parameter", body(r#", "key": "", "value": "1""#)),
        (
            "POST",
            "runs/log-inputs",
            body(
                r#", "datasets": [{"tags": [{"key": "mlflow.data.context", "value": "training"}],
                "dataset": {"name": "log", "digest": "d1", "source_type": "local", "source": "{}"}}]"#,
            ),
        ),
        ("POST", "runs/log-inputs", body(r#", "datasets": [{"dataset": {"name": "log"}}]"#)),
        ("POST", "runs/outputs", body(r#", "models": [{"model_id": "m-1", "step": 4}]"#)),
        ("POST", "runs/update", body(r#", "status": "FINISHED", "end_time": 8, "run_name": "last""#)),
        ("POST", "runs/update", body(r#", "status": "RESTING""#)),
        ("POST", "runs/update", r#"{"run_uuid": "0123", "status": "FAILED"}"#.to_owned()),
        ("POST", "runs/log-model", body(r#", "model_json": "{\"artifact_path\": \"m\"}""#)),
        ("POST", "runs/log-model", body(r#", "model_json": "nonsense""#)),
        ("GET", "runs/get?run_uuid=RUN", String::new()),
        ("POST", "runs/delete", body("")),
        ("POST", "runs/log-parameter", body(r#", "key": "late", "value": "1""#)),
        ("POST", "runs/update", body(r#", "status": "FAILED""#)),
        ("GET", "runs/get?run_id=RUN", String::new()),
        ("POST", "runs/restore", body("")),
        ("POST", "runs/restore", r#"{"run_id": "0123"}"#.to_owned()),
        ("POST", "runs/set-tag", body(r#", "key": "t", "value": "a\u0000b""#)),
        ("POST", "runs/log-batch", body(r#", "params": [{"key": "late", "value": "\u0000"}]"#)),
        ("GET", "runs/get?run_id=a%00b", String::new()),
        ("POST", "runs/delete", "[]".to_owned()),
        ("POST", "runs/delete", "not JSON".to_owned()),
    ] {
        talk.say(method, &path.replace("RUN", &id), &body).await;
    }
    insta::assert_snapshot!(talk.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics() {
    let mut talk = Talk::new().await;
    let id = run(&mut talk, "RUN", 5).await;
    talk.text.clear();
    let metric = |rest: &str| format!(r#"{{"run_id": "{id}", "key": "loss", {rest}}}"#);
    let batch = |rest: &str| format!(r#"{{"run_id": "{id}", {rest}}}"#);
    let history = |rest: &str| format!("metrics/get-history?run_id={id}&metric_key=loss{rest}");
    let bulk = |rest: &str| format!("metrics/get-history-bulk-interval?run_ids={id}&metric_key=loss{rest}");
    for (method, path, body) in [
        // The newest is that of the greatest step, then time, then value, not the one that came last.
        ("POST", "runs/log-metric".to_owned(), metric(r#""value": 1.5, "timestamp": 5, "step": 1"#)),
        ("POST", "runs/log-metric".to_owned(), metric(r#""value": 2, "timestamp": "5", "step": "1""#)),
        ("POST", "runs/log-metric".to_owned(), metric(r#""value": 9, "timestamp": 1"#)),
        ("POST", "runs/log-metric".to_owned(), metric(r#""value": 9, "timestamp": 1"#)),
        ("GET", format!("runs/get?run_id={id}"), String::new()),
        ("POST", "runs/log-metric".to_owned(), metric(r#""value": "NaN", "timestamp": 6, "step": 2"#)),
        ("POST", "runs/log-metric".to_owned(), metric(r#""value": "-Infinity", "timestamp": 7, "step": 3"#)),
        ("POST", "runs/log-metric".to_owned(), metric(r#""value": "high", "timestamp": 7"#)),
        ("POST", "runs/log-metric".to_owned(), metric(r#""value": 1"#)),
        ("POST", "runs/log-metric".to_owned(), metric(r#""timestamp": 1"#)),
        (
            "POST",
            "runs/log-metric".to_owned(),
            r#"{"run_id": "0123", "key": "a", "value": 1, "timestamp": 1}"#.to_owned(),
        ),
        (
            "POST",
            "runs/log-batch".to_owned(),
            batch(
                r#""metrics": [{"key": "acc", "value": 0.5, "timestamp": 1, "step": 0}],
                "params": [{"key": "p", "value": "1"}], "tags": [{"key": "t", "value": "u"}]"#,
            ),
        ),
        (
            "POST",
            "runs/log-batch".to_owned(),
            batch(r#""params": [{"key": "q", "value": "1"}, {"key": "q", "value": "1"}]"#),
        ),
        ("POST", "runs/log-batch".to_owned(), batch(r#""params": [{"key": "p", "value": "2"}]"#)),
        (
            "POST",
            "runs/log-batch".to_owned(),
            batch(r#""metrics": [{"key": "a$b", "value": 1, "timestamp": 1}]"#),
        ),
        ("POST", "runs/log-batch".to_owned(), batch(r#""metrics": 5"#)),
        ("GET", format!("runs/get?run_id={id}"), String::new()),
        ("GET", history(""), String::new()),
        ("GET", history("&max_results=2"), String::new()),
        ("GET", history("&max_results=0"), String::new()),
        ("GET", history("&page_token=broken&max_results=2"), String::new()),
        ("GET", format!("metrics/get-history?run_id={id}&metric_key=nothing"), String::new()),
        ("GET", format!("metrics/get-history?run_id={id}"), String::new()),
        ("GET", bulk("&max_results=320"), String::new()),
        ("GET", bulk("&max_results=2"), String::new()),
        ("GET", bulk("&max_results=320&start_step=1&end_step=2"), String::new()),
        ("GET", bulk("&max_results=320&start_step=1"), String::new()),
        ("GET", bulk("&max_results=2501"), String::new()),
        ("GET", format!("metrics/get-history-bulk?run_id={id}&metric_key=loss"), String::new()),
    ] {
        talk.say(method, &path, &body).await;
    }
    insta::assert_snapshot!(talk.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn searches_over_runs() {
    let mut talk = Talk::new().await;
    for (name, start, loss, kind) in
        [("ONE", 1, "0.5", "x"), ("TWO", 2, "0.25", "y"), ("THREE", 3, "\"NaN\"", "x")]
    {
        let id = run(&mut talk, name, start).await;
        let body = format!(
            r#"{{"run_id": "{id}", "metrics": [{{"key": "loss", "value": {loss}, "timestamp": 1}}],
                "params": [{{"key": "kind", "value": "{kind}"}}]}}"#
        );
        talk.say("POST", "runs/log-batch", &body).await;
    }
    talk.text.clear();
    let search = |rest: &str| format!(r#"{{"experiment_ids": ["0"]{rest}}}"#);
    let first = talk.say("POST", "runs/search", &search(r#", "max_results": 2"#)).await;
    let token = first["next_page_token"].as_str().unwrap().to_owned();
    talk.call(&first["next_page_token"], "TOKEN");
    talk.say("POST", "runs/search", &search(&format!(r#", "max_results": 2, "page_token": "{token}""#)))
        .await;
    // Behind the token of another order there is nothing to go on from.
    let other = format!(r#", "order_by": ["metrics.loss"], "page_token": "{token}""#);
    talk.say("POST", "runs/search", &search(&other)).await;
    for rest in [
        r#", "filter": "metrics.loss < 0.4""#,
        r#", "filter": "params.kind = 'x'", "order_by": ["metrics.loss ASC"]"#,
        r#", "filter": "metrics.loss != 0.5 AND tags.`mlflow.runName` LIKE 'T%'""#,
        r#", "filter": "attributes.run_name IN ('nobody')""#,
        r#", "filter": "params.kind = 'x' OR params.kind = 'y'""#,
        r#", "filter": "params.kind = 1""#,
        r#", "filter": "metrics.loss = 'a'""#,
        r#", "filter": "foo.bar = 'a'""#,
        r#", "filter": "attributes.colour = 'a'""#,
        r#", "filter": "params.kind > 'a'""#,
        r#", "order_by": ["metrics.loss SIDEWAYS"]"#,
        r#", "run_view_type": "DELETED_ONLY""#,
        r#", "run_view_type": "SOME""#,
        r#", "max_results": 50001"#,
        r#", "max_results": 0"#,
        r#", "page_token": "?""#,
    ] {
        talk.say("POST", "runs/search", &search(rest)).await;
    }
    talk.say("POST", "runs/search", "{}").await;
    insta::assert_snapshot!(talk.text);
}
