//! Registered models, versions, aliases and logged models, as MLflow's clients send and read them.

use crate::talk::Talk;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registered_models() {
    let mut talk = Talk::new().await;
    for (method, path, body) in [
        (
            "POST",
            "registered-models/create",
            r#"{"name": "m", "description": "d", "tags": [{"key": "a", "value": "1"}]}"#,
        ),
        ("POST", "registered-models/create", r#"{"name": "m"}"#),
        ("POST", "registered-models/create", r#"{"name": ""}"#),
        ("POST", "registered-models/create", r#"{"name": 5}"#),
        ("POST", "registered-models/create", r#"{"name": "n", "description": ""}"#),
        ("GET", "registered-models/get?name=m", ""),
        ("GET", "registered-models/get?name=x", ""),
        ("POST", "registered-models/rename", r#"{"name": "n", "new_name": "o"}"#),
        ("PATCH", "registered-models/update", r#"{"name": "o", "description": "new"}"#),
        ("POST", "registered-models/set-tag", r#"{"name": "o", "key": "k", "value": "v"}"#),
        ("POST", "registered-models/set-tag", r#"{"name": "o", "key": "k2"}"#),
        ("DELETE", "registered-models/delete-tag", r#"{"name": "o", "key": "k2"}"#),
        ("DELETE", "registered-models/delete-tag", r#"{"name": "o", "key": "gone"}"#),
        ("GET", "registered-models/search", ""),
        ("GET", "registered-models/search?max_results=1&order_by=name+DESC", ""),
        ("GET", "registered-models/search?max_results=1&page_token=eyJvZmZzZXQiOiAxfQ%3D%3D", ""),
        ("GET", "registered-models/search?filter=name+%3D+%27o%27", ""),
        ("GET", "registered-models/search?filter=foo", ""),
        ("GET", "registered-models/search?max_results=1001", ""),
        ("DELETE", "registered-models/delete", r#"{"name": "o"}"#),
        ("DELETE", "registered-models/delete", r#"{"name": "o"}"#),
    ] {
        talk.say(method, path, body).await;
    }
    insta::assert_snapshot!(talk.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_and_aliases() {
    let mut talk = Talk::new().await;
    for (method, path, body) in [
        ("POST", "registered-models/create", r#"{"name": "m"}"#),
        ("POST", "model-versions/create", r#"{"name": "m", "source": "s3://b/1"}"#),
        (
            "POST",
            "model-versions/create",
            r#"{"name": "m", "source": "s3://b/2", "runId": "r", "run_link": "http://l", "description": "d",
                "tags": [{"key": "t", "value": "u"}]}"#,
        ),
        ("POST", "model-versions/create", r#"{"name": "m", "source": ""}"#),
        ("POST", "model-versions/create", r#"{"name": "m", "source": "s3://b/../x"}"#),
        ("GET", "model-versions/get?name=m&version=1", ""),
        ("GET", "model-versions/get?name=m&version=x", ""),
        ("GET", "model-versions/get?name=m&version=9", ""),
        ("GET", "model-versions/get?name=m", ""),
        ("GET", "model-versions/get-download-uri?name=m&version=2", ""),
        ("PATCH", "model-versions/update", r#"{"name": "m", "version": "2", "description": "z"}"#),
        ("PATCH", "model-versions/update", r#"{"name": "m", "version": "2"}"#),
        (
            "POST",
            "model-versions/transition-stage",
            r#"{"name": "m", "version": "1", "stage": "production", "archive_existing_versions": true}"#,
        ),
        ("POST", "model-versions/set-tag", r#"{"name": "m", "version": "1", "key": "k", "value": "v"}"#),
        ("DELETE", "model-versions/delete-tag", r#"{"name": "m", "version": "1", "key": "k"}"#),
        ("POST", "registered-models/alias", r#"{"name": "m", "alias": "champion", "version": "2"}"#),
        ("POST", "registered-models/alias", r#"{"name": "m", "alias": "latest", "version": "2"}"#),
        ("GET", "registered-models/alias?name=m&alias=champion", ""),
        ("GET", "registered-models/alias?name=m&alias=Latest", ""),
        ("GET", "registered-models/alias?name=m&alias=zip", ""),
        ("DELETE", "registered-models/alias", r#"{"name": "m", "alias": "zip"}"#),
        ("POST", "registered-models/get-latest-versions", r#"{"name": "m"}"#),
        ("GET", "registered-models/get-latest-versions?name=m&stages=Production", ""),
        ("GET", "registered-models/get?name=m", ""),
        ("GET", "model-versions/search?filter=name%3D%27m%27&max_results=1", ""),
        ("GET", "model-versions/search?max_results=0", ""),
        ("DELETE", "model-versions/delete", r#"{"name": "m", "version": "2"}"#),
        ("DELETE", "model-versions/delete", r#"{"name": "m", "version": "2"}"#),
        ("GET", "registered-models/alias?name=m&alias=champion", ""),
        ("POST", "model-versions/create", r#"{"name": "m", "source": "models:/m/1"}"#),
    ] {
        talk.say(method, path, body).await;
    }
    insta::assert_snapshot!(talk.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logged_models() {
    let mut talk = Talk::new().await;
    let run = talk.say("POST", "runs/create", r#"{"experiment_id": "0", "run_name": "r"}"#).await;
    let run = talk.call(&run["run"]["info"]["run_id"], "RUN");
    talk.text.clear();
    let body = format!(
        r#"{{"experiment_id": "0", "name": "net", "model_type": "Agent", "source_run_id": "{run}",
            "params": [{{"key": "p", "value": "1"}}], "tags": [{{"key": "t", "value": "x"}}]}}"#
    );
    let model = talk.say("POST", "logged-models", &body).await;
    let id = talk.call(&model["model"]["info"]["model_id"], "MODEL");
    let path = |rest: &str| format!("logged-models/{id}{rest}");
    for (method, path, body) in [
        ("POST", "logged-models".to_owned(), r#"{"name": "a"}"#),
        ("POST", "logged-models".to_owned(), r#"{"experiment_id": "0", "name": "a/b"}"#),
        ("POST", "logged-models".to_owned(), r#"{"experiment_id": "77"}"#),
        ("PATCH", path(""), r#"{"status": "LOGGED_MODEL_READY"}"#),
        ("PATCH", path(""), r#"{"status": 9}"#),
        ("PATCH", path("/tags"), r#"{"tags": [{"key": "a/b", "value": "y"}]}"#),
        ("DELETE", path("/tags/a/b"), ""),
        ("DELETE", path("/tags/a/b"), ""),
        ("POST", path("/params"), r#"{"params": [{"key": "q", "value": "2"}]}"#),
        ("GET", path(""), ""),
        ("GET", "logged-models/m-x".to_owned(), ""),
        ("POST", "logged-models/search".to_owned(), r#"{"experiment_ids": ["0"]}"#),
        ("POST", "logged-models/search".to_owned(), r#"{"experiment_ids": ["0"], "filter": "name = 'x'"}"#),
        ("POST", "logged-models/search".to_owned(), r#"{"experiment_ids": []}"#),
        ("POST", "logged-models/search".to_owned(), "{}"),
        (
            "POST",
            "logged-models/search".to_owned(),
            r#"{"experiment_ids": ["0"], "order_by": [{"field_name": "foo"}]}"#,
        ),
        (
            "POST",
            "logged-models/search".to_owned(),
            r#"{"experiment_ids": ["0"], "datasets": [{"dataset_digest": "d"}]}"#,
        ),
        ("DELETE", path(""), ""),
        ("GET", path(""), ""),
        ("GET", path("?allow_deleted=true"), ""),
    ] {
        talk.say(method, &path, body).await;
    }
    insta::assert_snapshot!(talk.text);
}
