//! Servers of one ONNX model that `cargo xtask bench serve` compares: a bare handler around the evaluator, which is what
//! there is to reach, and the gateway alone, without or with the inference log.
//!
//! ```text
//! bench_server MODEL.onnx bare
//! bench_server MODEL.onnx gateway [FOLDER OF THE LOG]
//! ```
//!
//! Each prints one JSON object with its address and answers `/v2/models/bench/infer` until it is killed.

#![expect(clippy::print_stdout, reason = "it says where it listens")]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tidemill_core::SystemClock;
use tidemill_db::Db;
use tidemill_runtime::{Classical, ElementType, Runtime as _, Session, Tensor, Values};
use tidemill_serve::gateway::endpoint::EndpointSpec;
use tidemill_serve::gateway::folder::FolderSource;
use tidemill_serve::gateway::loader::Runtimes;
use tidemill_serve::gateway::settings::{ServingSettings, Settings};
use tidemill_serve::gateway::{Gateway, Parts};
use tidemill_serve::record::{InferenceLog, LogSettings, Roller, Rules};
use tidemill_serve::{Inference, Recorder, oip};
use tidemill_store::{Store, StoreOptions};
use tokio::net::TcpListener;

/// Two arms, as while a candidate is tried.
const ENDPOINT: &str = r#"{"arms": [{"name": "champion", "model": "model", "version": "1", "weight": 90},
    {"name": "challenger", "model": "model", "version": "1", "weight": 10}]}"#;

#[derive(Deserialize)]
struct Asked {
    inputs: Vec<Input>,
}

#[derive(Deserialize)]
struct Input {
    shape: Vec<usize>,
    data: Vec<f32>,
}

#[derive(Serialize)]
struct Answer {
    model_name: &'static str,
    outputs: Vec<Output>,
}

#[derive(Serialize)]
struct Output {
    name: String,
    datatype: &'static str,
    shape: Vec<usize>,
    data: Data,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Data {
    Floats(Vec<f32>),
    Numbers(Vec<i64>),
}

type Bare = Arc<dyn Session>;
type Refused = (StatusCode, String);

/// As one would write it for one model.
async fn infer(State(session): State<Bare>, Json(asked): Json<Asked>) -> Result<Json<Answer>, Refused> {
    let refused = |why: String| (StatusCode::BAD_REQUEST, why);
    let tensor = |input: Input| Tensor::new(input.shape, Values::F32(input.data));
    let inputs = asked.inputs.into_iter().map(tensor).collect::<Result<Vec<_>, _>>();
    let inputs = inputs.map_err(|error| refused(error.to_string()))?;
    let answers = session.run(&inputs).map_err(|error| refused(error.to_string()))?;
    let mut outputs = Vec::new();
    for (slot, tensor) in session.outputs().iter().zip(answers) {
        let (datatype, data) = match tensor.values() {
            Values::F32(values) => ("FP32", Data::Floats(values.clone())),
            Values::I64(values) => ("INT64", Data::Numbers(values.clone())),
            _ => return Err(refused(format!("output `{}` is of another type", slot.name))),
        };
        outputs.push(Output { name: slot.name.clone(), datatype, shape: tensor.shape().to_vec(), data });
    }
    Ok(Json(Answer { model_name: "bench", outputs }))
}

fn bare(model: &Path) -> Result<Router, Box<dyn Error>> {
    let session: Bare = Arc::from(Classical.load(&fs_err::read(model)?)?);
    if session.inputs().iter().any(|slot| slot.element != ElementType::F32) {
        return Err("a model whose inputs are not all floats".into());
    }
    Ok(Router::new().route("/v2/models/bench/infer", post(infer)).with_state(session))
}

/// A log whose segments become Parquet beside the requests, as in the server.
async fn log(folder: &Path) -> Result<Arc<dyn Recorder>, Box<dyn Error>> {
    let clock = Arc::new(SystemClock);
    let log = InferenceLog::open(LogSettings::new(folder), Rules::default(), clock.clone())?;
    let database = folder.join("bench.db");
    let db = Db::open(&database.to_string_lossy(), clock.clone()).await?;
    let store = Store::open(&folder.join("store"), StoreOptions::default())?;
    let roller = Roller::new(log.clone(), db, store, clock);
    tokio::spawn(async move { roller.run().await });
    Ok(Arc::new(log))
}

async fn gateway(model: &Path, records: Option<&Path>) -> Result<Router, Box<dyn Error>> {
    let clock = Arc::new(SystemClock);
    let recorder = match records {
        Some(folder) => Some(log(folder).await?),
        None => None,
    };
    let models = BTreeMap::from([("model".to_owned(), model.to_owned())]);
    let gateway = Gateway::new(Parts {
        source: Arc::new(FolderSource::new(models, ServingSettings::default())),
        loader: Arc::new(Runtimes { onnx: vec![Arc::new(Classical)], folders: Vec::new() }),
        recorder,
        clock,
        settings: Settings::default(),
    });
    let spec: EndpointSpec = serde_json::from_str(ENDPOINT)?;
    gateway.set_endpoint("bench", 1, spec.settle(None)?)?;
    let inference: Arc<dyn Inference> = Arc::new(gateway);
    Ok(oip::router(inference, oip::Limits::default()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let router = match arguments.as_slice() {
        [model, kind] if kind.as_os_str() == "bare" => bare(model)?,
        [model, kind] if kind.as_os_str() == "gateway" => gateway(model, None).await?,
        [model, kind, records] if kind.as_os_str() == "gateway" => gateway(model, Some(records)).await?,
        _ => return Err("usage: bench_server MODEL.onnx bare|gateway [RECORDS]".into()),
    };
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("{}", serde_json::json!({"url": format!("http://{}", listener.local_addr()?)}));
    axum::serve(listener, router.route("/health", get(async || "OK"))).await?;
    Ok(())
}
