//! MLflow's scoring protocol, beside what the real server is asked in `python`.

use std::sync::atomic::Ordering;

use axum::http::Method;
use serde_json::json;
use tidemill_runtime::Values;
use tidemill_serve::scoring::{self, ScoringConfig};

use crate::fake::Fake;
use crate::http::{Answer, Server};

fn server(model: Option<&str>) -> Server {
    let fake = Fake::new();
    let config = ScoringConfig { model: model.map(str::to_owned), body: 1 << 16, ..ScoringConfig::default() };
    Server::of(fake.clone(), scoring::router(fake, config))
}

async fn ask(server: &Server, model: &str, kind: &str, body: impl ToString) -> Answer {
    let path = format!("/endpoints/{model}/invocations");
    server.ask(Method::POST, &path, &[("content-type", kind)], body.to_string()).await
}

#[tokio::test]
async fn columns_find_their_place_by_name() {
    let server = server(None);
    let row = json!({"dataframe_split": {"data": [[3, 1, "x", 2], [6, 4, "y", 5]], "columns": ["r", "p", "z", "q"]}});
    let answer = ask(&server, "matrix", "application/json", row).await;
    assert_eq!(answer.json(), json!({"predictions": [[2.0, 4.0, 6.0], [8.0, 10.0, 12.0]]}));
    let input = server.fake.last().inputs.remove(0);
    assert_eq!(input.name, "x");
    assert_eq!(
        (input.tensor.shape(), input.tensor.values()),
        (&[2, 3][..], &Values::F32(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
    );
    assert_eq!(server.fake.last().outputs, ["y"]);

    for body in [
        json!({"dataframe_records": [{"q": 2, "p": 1, "r": 3}]}),
        json!({"dataframe_split": {"data": [[1, 2, 3]]}}),
        json!({"instances": [{"r": 3, "q": 2, "p": 1}]}),
        json!({"inputs": {"p": [1], "q": [2], "r": [3]}}),
        json!({"inputs": {"x": [[1, 2, 3]]}}),
    ] {
        let answer = ask(&server, "matrix", "application/json", &body).await;
        assert_eq!(answer.json(), json!({"predictions": [[2.0, 4.0, 6.0]]}), "{body}");
    }
    let answer = ask(&server, "matrix", "text/csv", "z,r,q,p\nx,3,2,1\n").await;
    assert_eq!(answer.json(), json!({"predictions": [[2.0, 4.0, 6.0]]}));
}

#[tokio::test]
async fn columns_without_names_keep_their_order() {
    let server = server(None);
    for body in [
        json!({"inputs": [[1, 2], [3, 4]]}),
        json!({"dataframe_split": {"columns": ["u", "v"], "data": [[1, 2], [3, 4]]}}),
        json!({"dataframe_records": [{"u": 1, "v": 2}, {"v": 4, "u": 3}]}),
        json!({"inputs": {"x": [[1, 2], [3, 4]]}}),
    ] {
        let answer = ask(&server, "unnamed", "application/json", &body).await;
        assert_eq!(answer.json(), json!({"predictions": [[1.0, 2.0], [3.0, 4.0]]}), "{body}");
    }
    let answer = ask(&server, "unnamed", "text/csv", "u,v\n1,2\n3,4\n").await;
    assert_eq!(answer.json(), json!({"predictions": [[1.0, 2.0], [3.0, 4.0]]}));
    let columns = json!({"inputs": {"u": [1, 3], "v": [2, 4]}});
    assert_eq!(ask(&server, "unnamed", "application/json", columns).await.status.as_u16(), 400);
}

#[tokio::test]
async fn tensors_of_any_shape() {
    let server = server(None);
    let image = json!([[1, 2], [3, 4]]);
    for body in [
        json!({"instances": [{"image": image}, {"image": image}]}),
        json!({"instances": [image, image]}),
        json!({"inputs": {"image": [image, image]}}),
        json!({"dataframe_split": {"columns": ["image"], "data": [[image], [image]]}}),
    ] {
        let answer = ask(&server, "images", "application/json", &body).await;
        assert_eq!(answer.status.as_u16(), 200, "{body}: {:?}", answer.body);
        assert_eq!(server.fake.last().inputs[0].tensor.shape(), [2, 2, 2], "{body}");
        assert_eq!(
            answer.json(),
            json!({"predictions": [[[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.0], [3.0, 4.0]]]})
        );
    }
    let ragged = json!({"instances": [{"image": image}, {"image": [[1, 2]]}]});
    assert_eq!(ask(&server, "images", "application/json", ragged).await.status.as_u16(), 400);
}

/// Every refusal, word by word.
#[tokio::test]
async fn what_is_refused() {
    let server = server(None);
    let mut said = Vec::new();
    for (model, kind, body) in [
        ("table", "application/json", "{}".to_owned()),
        ("table", "application/json", "[]".to_owned()),
        ("table", "application/json", "{\"inputs\":".to_owned()),
        ("table", "application/json", "{\"inputs\":{},\"instances\":[]}".to_owned()),
        (
            "table",
            "application/json",
            json!({"dataframe_split": {"columns": ["a", "c"], "data": [[1, 2]]}}).to_string(),
        ),
        (
            "table",
            "application/json",
            json!({"dataframe_split": {"columns": ["a", "b", "a"], "data": []}}).to_string(),
        ),
        (
            "table",
            "application/json",
            json!({"dataframe_split": {"columns": ["a", "b"], "data": [[1, "x"]]}}).to_string(),
        ),
        (
            "table",
            "application/json",
            json!({"dataframe_split": {"columns": ["a", "b"], "data": [[1]]}}).to_string(),
        ),
        ("table", "application/json", json!({"instances": [{"a": 1, "b": 2}, {"a": 1}]}).to_string()),
        ("table", "application/json", json!({"inputs": {"a": [1], "b": [1, 2]}}).to_string()),
        (
            "typed",
            "application/json",
            json!({"dataframe_records": [{"d": 1, "f": 1, "l": 1.5, "i": 1, "b": true, "s": ""}]})
                .to_string(),
        ),
        (
            "typed",
            "application/json",
            json!({"dataframe_records": [{"d": 1, "f": 1, "l": null, "i": 1, "b": true, "s": ""}]})
                .to_string(),
        ),
        ("matrix", "application/json", json!({"inputs": [[1, 2]]}).to_string()),
        ("matrix", "application/json", json!({"inputs": [1, 2, 3]}).to_string()),
        ("matrix", "text/csv", "p,q\n1,2\n".to_owned()),
        ("matrix", "text/csv", "p,q,r\n1,2,3,4\n".to_owned()),
        ("matrix", "text/csv", String::new()),
        ("table", "application/x-parquet", String::new()),
        ("table", "application/json; charset=latin1", String::new()),
        ("table", "application/json; v=2", String::new()),
        ("table", "application/json", "x".repeat(70_000)),
        ("none", "application/json", "{\"inputs\":[]}".to_owned()),
        ("busy", "application/json", "{\"inputs\":[[1,2,3]]}".to_owned()),
        ("loading", "application/json", json!({"inputs": [[1, 2, 3]]}).to_string()),
    ] {
        let answer = ask(&server, model, kind, &body).await;
        let after = answer.headers.get("retry-after").map_or("", |value| value.to_str().unwrap());
        let shown: String = body.chars().take(80).collect();
        let text = String::from_utf8_lossy(&answer.body);
        said.push(format!(
            "{model} {kind} {shown}\n  {} {text} retry after `{after}`",
            answer.status.as_u16()
        ));
    }
    let answer =
        server.ask(Method::POST, "/invocations", &[("content-type", "application/json")], "{}").await;
    said.push(format!("no model: {} {}", answer.status.as_u16(), answer.json()));
    insta::assert_snapshot!(said.join("\n"));
}

#[tokio::test]
async fn what_stands_beside() {
    let server = server(Some("matrix"));
    let answer = server.ask(Method::GET, "/ping", &[], "").await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (200, &b"\n"[..]));
    assert_eq!(&*server.ask(Method::GET, "/version", &[], "").await.body, b"3.17.2");
    let headers = [("content-type", "application/json"), ("x-cohort", "b"), ("authorization", "x")];
    let answer = server.ask(Method::POST, "/invocations", &headers, "{\"inputs\":[[1,2,3]]}").await;
    assert_eq!(answer.status.as_u16(), 200);
    assert_eq!(answer.headers["x-request-id"], "made-0");
    assert_eq!(answer.headers["x-model-version"], "2");
    assert_eq!(server.fake.last().headers.keys().collect::<Vec<_>>(), ["x-cohort"]);
    let late = [("content-type", "text/csv"), ("x-request-timeout-ms", "0")];
    assert_eq!(server.ask(Method::POST, "/invocations", &late, "p,q,r\n1,2,3\n").await.status.as_u16(), 504);
    server.fake.draining.store(true, Ordering::Relaxed);
    assert_eq!(server.ask(Method::GET, "/health", &[], "").await.status.as_u16(), 503);
}
