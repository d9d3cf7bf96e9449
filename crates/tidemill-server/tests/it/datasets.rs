//! Evaluation datasets on the wire.

use serde_json::{Value, json};

use crate::traces::{post, server};

#[tokio::test]
async fn a_dataset_from_start_to_end() {
    let server = server().await;
    let create =
        json!({"name": "ds1", "experiment_ids": ["2"], "tags": "{\"k\": \"v\", \"mlflow.user\": \"root\"}"});
    let made = post(&server, "/api/3.0/mlflow/datasets/create", create).await.json()["dataset"].take();
    let id = made["dataset_id"].as_str().unwrap();
    assert_eq!(
        made,
        json!({"dataset_id": id, "name": "ds1", "tags": "{\"k\":\"v\",\"mlflow.user\":\"root\"}",
            "digest": made["digest"], "created_time": 1_700_000_000_000_i64, "last_update_time": 1_700_000_000_000_i64,
            "created_by": "root", "last_updated_by": "root", "experiment_ids": ["2"]})
    );
    assert_eq!(made["digest"].as_str().unwrap().len(), 8);
    let path = format!("/api/3.0/mlflow/datasets/{id}");
    let records = json!([
        {"inputs": {"q": "a"}, "expectations": {"e": 1}, "tags": {"t": "u", "mlflow.user": "root"},
            "source": {"source_type": "TRACE", "source_data": {"trace_id": "tr-1"}}},
        {"inputs": {"q": "b"}, "outputs": {"o": 1.5}},
    ]);
    let put = post(&server, &format!("{path}/records"), json!({"records": records.to_string()})).await;
    assert_eq!(put.json(), json!({"inserted_count": 2, "updated_count": 0}));
    let again = json!([{"inputs": {"q": "a"}, "expectations": {"e": 2}}]).to_string();
    let put = post(&server, &format!("{path}/records"), json!({"records": again})).await;
    assert_eq!(put.json(), json!({"inserted_count": 0, "updated_count": 1}));

    let first = server.get(&format!("{path}/records?max_results=1")).await.json();
    let token = first["next_page_token"].as_str().unwrap();
    let second = server.get(&format!("{path}/records?max_results=1&page_token={token}")).await.json();
    assert_eq!(second.get("next_page_token"), None);
    let mut read: Vec<Value> = [first, second]
        .iter()
        .flat_map(|page| serde_json::from_str::<Vec<Value>>(page["records"].as_str().unwrap()).unwrap())
        .collect();
    read.sort_by_key(|record| record["inputs"].to_string());
    assert_eq!(
        read[0],
        json!({"dataset_record_id": read[0]["dataset_record_id"], "dataset_id": id, "inputs": {"q": "a"},
            "expectations": {"e": 2}, "tags": {"t": "u", "mlflow.user": "root"},
            "source": {"source_type": "TRACE", "source_data": {"trace_id": "tr-1"}}, "source_id": "tr-1",
            "source_type": "TRACE", "created_time": 1_700_000_000_000_i64, "last_update_time": 1_700_000_000_000_i64,
            "created_by": "root", "last_updated_by": "root", "outputs": {}})
    );
    let dataset = server.get(&path).await.json()["dataset"].take();
    assert_eq!(dataset["profile"], "{\"num_records\": 2}");
    let schema: Value = serde_json::from_str(dataset["schema"].as_str().unwrap()).unwrap();
    assert_eq!(schema["outputs"], json!({"o": "float"}));

    let gone = json!({"dataset_record_ids": [read[0]["dataset_record_id"]]}).to_string();
    let deleted = server.ask("DELETE", &format!("{path}/records"), &[], &gone).await.json();
    assert_eq!(deleted, json!({"deleted_count": 1}));
    let tags = json!({"tags": "{\"k2\": \"v2\"}"}).to_string();
    server.ask("PATCH", &format!("{path}/tags"), &[], &tags).await.is(200, &["{}"]);
    server.ask("DELETE", &format!("{path}/tags/k"), &[], "").await.is(200, &["{}"]);
    let dataset = server.get(&path).await.json()["dataset"].take();
    assert_eq!(
        (&dataset["profile"], &dataset["tags"]),
        (&json!("{\"num_records\": 1}"), &json!("{\"k2\":\"v2\",\"mlflow.user\":\"root\"}"))
    );
    post(&server, &format!("{path}/add-experiments"), json!({"experiment_ids": ["1"]}))
        .await
        .is(200, &["ds1"]);
    let linked = server.get(&format!("{path}/experiment-ids")).await.json();
    assert_eq!(linked, json!({"experiment_ids": ["1", "2"]}));
    post(&server, &format!("{path}/remove-experiments"), json!({"experiment_ids": ["2"]}))
        .await
        .is(200, &["ds1"]);
    post(&server, &format!("{path}/add-experiments"), json!({"experiment_ids": ["77"]}))
        .await
        .is(404, &["No Experiment with id=77"]);
    server.ask("DELETE", &path, &[], "").await.is(200, &["{}"]);
    server.get(&path).await.is(404, &["Evaluation dataset with id '", "' not found"]);
    server.ask("DELETE", &path, &[], "").await.is(200, &["{}"]);
}

#[tokio::test]
async fn searches_and_refusals() {
    let server = server().await;
    for name in ["b", "a", "c"] {
        post(&server, "/api/3.0/mlflow/datasets/create", json!({"name": name, "experiment_ids": ["1"]}))
            .await
            .is(200, &[]);
    }
    let search = async |body: Value| post(&server, "/api/3.0/mlflow/datasets/search", body).await;
    let names = |page: &Value| -> Vec<String> {
        let datasets = page["datasets"].as_array().cloned().unwrap_or_default();
        datasets.iter().map(|dataset| dataset["name"].as_str().unwrap().to_owned()).collect()
    };
    let mut ask = json!({"experiment_ids": ["1"], "order_by": ["name ASC"], "max_results": 2});
    let first = search(ask.clone()).await.json();
    assert_eq!(names(&first), ["a", "b"]);
    ask["page_token"] = first["next_page_token"].clone();
    assert_eq!(names(&search(ask).await.json()), ["c"]);
    assert_eq!(names(&search(json!({"filter_string": "name IN ('a', 'x')"})).await.json()), ["a"]);
    search(json!({"experiment_ids": ["2"]})).await.is(200, &["{}"]);
    search(json!({"filter_string": "foo = 'a'"})).await.is(400, &["Invalid attribute key 'foo' specified."]);
    search(json!({"order_by": ["bad"]})).await.is(400, &["Invalid attribute key 'bad' specified."]);
    search(json!({"page_token": "%"})).await.is(400, &["Invalid page token"]);
    let create = "/api/3.0/mlflow/datasets/create";
    post(&server, create, json!({})).await.is(400, &["Missing value for required parameter 'name'"]);
    post(&server, create, json!({"name": "x", "tags": "no"})).await.is(400, &["The field `tags` must be"]);
    post(&server, create, json!({"name": "x", "experiment_ids": ["77"]}))
        .await
        .is(404, &["No Experiment with id=77"]);
    let records = "/api/3.0/mlflow/datasets/d-x/records";
    post(&server, records, json!({"records": "[]"}))
        .await
        .is(404, &["Evaluation dataset with id 'd-x' not found"]);
    post(&server, records, json!({"records": "[1]"})).await.is(400, &["The field `records` must be"]);
}
