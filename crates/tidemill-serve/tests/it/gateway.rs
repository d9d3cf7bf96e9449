//! Requests that are almost right, and shapes that no body can fill, through the gateway to a model that is built in, and into the log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use axum::Router;
use axum::http::Method;
use serde_json::{Value, json};
use tidemill_core::{Digest, FixedClock, Timestamp};
use tidemill_db::Db;
use tidemill_runtime::Classical;
use tidemill_serve::gateway::endpoint::EndpointSpec;
use tidemill_serve::gateway::loader::Runtimes;
use tidemill_serve::gateway::settings::{ServingSettings, Settings};
use tidemill_serve::gateway::signature::Signature;
use tidemill_serve::gateway::source::{Listed, ModelBundle, ModelFiles, ModelSource, SourceError, Which};
use tidemill_serve::gateway::{Gateway, Parts};
use tidemill_serve::oip::{self, Limits};
use tidemill_serve::record::{InferenceLog, LogSettings, Query, Reader, Roller, Rules};
use tidemill_serve::scoring::{self, ScoringConfig};
use tidemill_store::{Store, StoreOptions};
use tidemill_testkit::Random;

use crate::fake::Fake;
use crate::grpc::{call, field, framed, input, number};
use crate::http::Server;
use crate::mutate::{JSON, WIRE, bounded, mutate, resident};

/// How many requests of each kind.
const EACH: usize = 600;

/// An ONNX model that doubles the three numbers of each row, written out byte by byte.
fn model() -> Vec<u8> {
    let floats = |name: &str, value: f32| {
        let values = [value; 3].map(f32::to_le_bytes).concat();
        field(5, &[field(1, name.as_bytes()), field(7, &values), number(20, 6)].concat())
    };
    let value = |name: &str| {
        let dims = [field(1, &field(2, b"rows")), field(1, &number(1, 3))].concat();
        let tensor = [number(1, 1), field(2, &dims)].concat();
        [field(1, name.as_bytes()), field(2, &field(1, &tensor))].concat()
    };
    let node = [
        field(1, b"x"),
        field(2, b"y"),
        field(4, b"Scaler"),
        floats("offset", 0.0),
        floats("scale", 2.0),
        field(7, b"ai.onnx.ml"),
    ]
    .concat();
    let graph = [field(1, &node), field(2, b"g"), field(11, &value("x")), field(12, &value("y"))].concat();
    let opset = |domain: &[u8], version| field(8, &[field(1, domain), number(2, version)].concat());
    [number(1, 8), opset(b"", 17), opset(b"ai.onnx.ml", 3), field(7, &graph)].concat()
}

/// One model, with the signature of three columns or without any.
struct One;

#[async_trait]
impl ModelSource for One {
    async fn list(&self) -> Result<Vec<Listed>, SourceError> {
        let listed = |model: &str| Listed { model: model.to_owned(), versions: vec!["1".to_owned()] };
        Ok(["table", "matrix"].map(listed).to_vec())
    }

    async fn resolve(&self, model: &str, _: &Which) -> Result<String, SourceError> {
        self.versions(model).await.map(|_| "1".to_owned())
    }

    async fn versions(&self, model: &str) -> Result<Vec<String>, SourceError> {
        match model {
            "table" | "matrix" => Ok(vec!["1".to_owned()]),
            _ => Err(SourceError::NotFound(format!("there is no model `{model}`"))),
        }
    }

    async fn fetch(&self, name: &str, version: &str) -> Result<ModelBundle, SourceError> {
        let bytes = model();
        let column = |name: &str| json!({"name": name, "type": "double", "required": false});
        let columns = json!(["a", "b", "c"].map(column)).to_string();
        Ok(ModelBundle {
            model: name.to_owned(),
            version: version.to_owned(),
            digest: Digest::of(&bytes),
            expected: None,
            files: ModelFiles::Onnx(bytes),
            signature: (name == "table").then(|| Signature::from_mlflow(&columns, None).unwrap()),
            golden: None,
            serving: ServingSettings::default(),
            properties: BTreeMap::new(),
        })
    }
}

fn tensor(name: &str, shape: &[u64], data: Value) -> Value {
    json!({"inputs": [{"name": name, "shape": shape, "datatype": "FP32", "data": data}]})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_almost_right_reach_a_model_and_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(FixedClock::new(Timestamp::from_millis(36_000_000)));
    let settings = LogSettings::new(dir.path().join("records"));
    let log = InferenceLog::open(settings.clone(), Rules::default(), clock.clone()).unwrap();
    let gateway = Gateway::new(Parts {
        source: Arc::new(One),
        loader: Arc::new(Runtimes { onnx: vec![Arc::new(Classical)], folders: Vec::new() }),
        recorder: Some(Arc::new(log.clone())),
        clock: clock.clone(),
        settings: Settings::default(),
    });
    for (name, model) in [("falls", "matrix"), ("columns", "table")] {
        let spec: EndpointSpec = serde_json::from_value(json!({
            "arms": [{"name": "a", "model": model, "weight": 1},
                     {"name": "s", "model": "table", "weight": 50, "shadow": true}],
            "fallback": {"outputs": {"y": [0.5, 0.5, 0.5]}, "on": ["invalid", "model"]},
        }))
        .unwrap();
        gateway.set_endpoint(name, 1, spec.settle(None).unwrap()).unwrap();
    }
    let inference: Arc<Gateway> = Arc::new(gateway.clone());
    let router: Router = oip::router(inference.clone(), Limits::default())
        .merge(scoring::routes(inference.clone(), ScoringConfig::default()));
    let http = Server::of(Fake::new(), router);
    let grpc = oip::grpc_service(inference, Limits::default());
    let names = ["table", "matrix", "falls", "columns"];
    let infer = async |name: &str, body: Vec<u8>| {
        let answer = http.ask(Method::POST, &format!("/v2/models/{name}/infer"), &[], body).await;
        answer.status.as_u16()
    };
    let good = tensor("x", &[2, 3], json!([1, 2, 3, 4, 5, 6]));
    for name in names {
        assert_eq!(infer(name, good.to_string().into_bytes()).await, 200, "{name}");
    }
    let before = resident();

    // Shapes that only count, for a column, the last column and the matrix, while its model is loaded and not.
    let begun = Instant::now();
    for shape in [
        &[1_000_000_000_000, 0][..],
        &[0],
        &[0, 3],
        &[65_537, 0],
        &[1, 2_000_000_000, 0],
        &[u64::MAX, 0],
        &[3, 0],
    ] {
        for input_name in ["a", "c", "x"] {
            for name in names.iter().chain(&["nobody"]) {
                let status = infer(name, tensor(input_name, shape, json!([])).to_string().into_bytes()).await;
                assert!(status < 500, "{name} {input_name} {shape:?}: {status}");
                let sizes: Vec<i64> = shape.iter().map(|size| size.cast_signed()).collect();
                let message = [field(1, name.as_bytes()), input(input_name, "FP32", &sizes, None)].concat();
                let called = call(&grpc, "ModelInfer", &[], framed(&message)).await;
                assert!(!matches!(called.code, 2 | 13 | 15), "{} {}", called.code, called.message);
            }
        }
        bounded(before, "shapes", 0);
    }
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());

    let mut random = Random::new(7);
    let mut answered = [0_usize; 3];
    let seeds = [
        good,
        json!({"id": "", "inputs": [{"name": "a", "shape": [2], "datatype": "FP64", "data": [1, 2]},
            {"name": "c", "shape": [2, 1], "datatype": "UINT8", "data": [3, 4]}]}),
        tensor("x", &[0, 3], json!([])),
    ];
    for at in 0..EACH {
        let mut body = seeds[random.below(seeds.len())].to_string().into_bytes();
        mutate(&mut random, &mut body, &JSON);
        let shown = body.escape_ascii().to_string();
        let status = infer(names[random.below(names.len())], body).await;
        assert!(status < 500 || status == 504, "{status} {shown}");
        answered[0] += usize::from(status == 200);
        bounded(before, "json", at);
    }
    for at in 0..EACH {
        let name = names[random.below(names.len())];
        let mut message =
            [field(1, name.as_bytes()), input("x", "FP32", &[1, 3], None), field(7, &[0; 12])].concat();
        mutate(&mut random, &mut message, &WIRE);
        let called = call(&grpc, "ModelInfer", &[], framed(&message)).await;
        assert!(!matches!(called.code, 2 | 13 | 15), "{} {}", called.code, called.message);
        answered[1] += usize::from(called.code == 0);
        bounded(before, "grpc", at);
    }
    for at in 0..EACH {
        let mut body =
            br#"{"dataframe_split":{"columns":["a","b","c"],"data":[[1,2.5,3],[3,4.5,5]]}}"#.to_vec();
        mutate(&mut random, &mut body, &JSON);
        let path = format!("/endpoints/{}/invocations", names[random.below(names.len())]);
        let answer = http.ask(Method::POST, &path, &[("content-type", "application/json")], body).await;
        assert!(answer.status.as_u16() < 500, "{}", answer.status);
        answered[2] += usize::from(answer.status.is_success());
        bounded(before, "scoring", at);
    }
    println!("answered {answered:?} of {EACH} each");
    assert!(answered.iter().all(|count| *count > EACH / 50), "{answered:?}");

    // Whatever was recorded becomes Parquet and is read.
    drop(gateway);
    log.close();
    let db = Db::open(dir.path().join("t.db").to_str().unwrap(), clock.clone()).await.unwrap();
    let store = Store::open(&dir.path().join("store"), StoreOptions::default()).unwrap();
    let rolled = Roller::new(log, db.clone(), store.clone(), clock).roll().await.unwrap();
    assert!(rolled.segments >= 4 && rolled.rows > 0, "{rolled:?}");
    let reader = Reader::new(db, store, settings.dir);
    for name in names {
        let rows: usize = reader
            .find(&Query::of(name, None, None))
            .await
            .unwrap()
            .batches()
            .map(|batch| batch.unwrap().num_rows())
            .sum();
        assert!(rows > 0, "{name}");
    }
}
