//! What the gateway adds to a call: microseconds per request in process, over a model that does nothing.
//!
//! `cargo run --release -p tidemill-serve --example gateway_rate [SECONDS]`

#![expect(clippy::print_stdout, reason = "it prints a table")]
#![expect(clippy::expect_used, reason = "a benchmark may stop where something is wrong")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tidemill_core::SystemClock;
use tidemill_runtime::{Dim, ElementType, RunError, Session, Slot, Tensor, Values};
use tidemill_serve::gateway::endpoint::EndpointSpec;
use tidemill_serve::gateway::folder::FolderSource;
use tidemill_serve::gateway::loader::Loader;
use tidemill_serve::gateway::settings::{ServingSettings, Settings};
use tidemill_serve::gateway::source::ModelBundle;
use tidemill_serve::gateway::{Gateway, Parts};
use tidemill_serve::{Inference as _, Named, Record, Recorder, Request};

/// Columns of the model.
const WIDTH: usize = 30;

/// Gives the first column back.
#[derive(Debug)]
struct First(Vec<Slot>, Vec<Slot>);

impl First {
    fn new() -> Self {
        let slot = |name: &str, width| Slot {
            name: name.to_owned(),
            element: ElementType::F32,
            shape: vec![Dim::Any(None), Dim::Fixed(width)],
            optional: false,
        };
        Self(vec![slot("x", WIDTH)], vec![slot("y", 1)])
    }
}

impl Session for First {
    fn runtime(&self) -> &'static str {
        "first"
    }

    fn inputs(&self) -> &[Slot] {
        &self.0
    }

    fn outputs(&self) -> &[Slot] {
        &self.1
    }

    fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, RunError> {
        let Some(Values::F32(values)) = inputs.first().map(Tensor::values) else {
            return Err(RunError::Model("no floats".to_owned()));
        };
        let first: Vec<f32> = values.iter().step_by(WIDTH).copied().collect();
        Ok(vec![Tensor::new(vec![first.len(), 1], Values::F32(first))?])
    }

    fn memory_bytes(&self) -> u64 {
        1
    }

    fn is_quick(&self) -> bool {
        true
    }
}

struct Always;

impl Loader for Always {
    fn load(&self, _: &ModelBundle) -> Result<Arc<dyn Session>, String> {
        Ok(Arc::new(First::new()))
    }
}

/// Counts records, as one does whose queue always has room.
#[derive(Default)]
struct Counts(AtomicU64);

impl Recorder for Counts {
    fn record(&self, record: Record) {
        self.0.fetch_add(record.inputs.len() as u64, Ordering::Relaxed);
    }
}

fn request(model: &str) -> Request {
    let tensor = Tensor::new(vec![1, WIDTH], Values::F32(vec![0.5; WIDTH])).expect("a matrix of one row");
    Request {
        model: model.to_owned(),
        inputs: vec![Named { name: "x".to_owned(), tensor }],
        headers: BTreeMap::from([("x-user".to_owned(), "ada".to_owned())]),
        ..Request::default()
    }
}

/// Mean microseconds of a request per processor that works, and requests per second.
async fn measure(gateway: &Gateway, model: &'static str, tasks: usize, time: Duration) -> (f64, f64) {
    let begun = Instant::now();
    let clients = (0..tasks).map(|_| {
        let gateway = gateway.clone();
        tokio::spawn(async move {
            let mut answered = 0_u64;
            while begun.elapsed() < time {
                for _ in 0..64 {
                    gateway.infer(request(model)).await.expect("an answer");
                }
                answered += 64;
                // Answers come without waiting; the other clients must have their turn.
                tokio::task::yield_now().await;
            }
            answered
        })
    });
    let mut answered = 0;
    for client in clients.collect::<Vec<_>>() {
        answered += client.await.expect("a client ends");
    }
    let (took, answered) = (begun.elapsed().as_secs_f64(), answered as f64);
    let workers = tasks.min(tokio::runtime::Handle::current().metrics().num_workers()) as f64;
    (took * workers / answered * 1e6, answered / took)
}

fn gateway(path: PathBuf, recorder: Option<Arc<dyn Recorder>>) -> Gateway {
    let models = BTreeMap::from([("m".to_owned(), path)]);
    Gateway::new(Parts {
        source: Arc::new(FolderSource::new(models, ServingSettings::default())),
        loader: Arc::new(Always),
        recorder,
        clock: Arc::new(SystemClock),
        settings: Settings::default(),
    })
}

fn endpoint(text: &str) -> EndpointSpec {
    let spec: EndpointSpec = serde_json::from_str(text).expect("a declaration");
    spec.settle(None).expect("a declaration that can be")
}

#[tokio::main]
async fn main() {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(2.0);
    let time = Duration::from_secs_f64(seconds);
    let file = std::env::temp_dir().join(format!("gateway-rate-{}.onnx", std::process::id()));
    fs_err::write(&file, b"any").expect("a file for the model");
    let split = r#"{"arms": [{"name": "a", "model": "m", "version": "1", "weight": 90},
        {"name": "b", "model": "m", "version": "1", "weight": 10}],
        "rules": [{"key": {"header": "x-tier"}, "one_of": ["gold"], "arm": "b"}], "sticky": {"header": "x-user"}}"#;
    let shadow = r#"{"arms": [{"name": "a", "model": "m", "version": "1", "weight": 100},
        {"name": "s", "model": "m", "version": "1", "weight": 100, "shadow": true}]}"#;
    let plain = gateway(file.clone(), None);
    let recorded = gateway(file.clone(), Some(Arc::new(Counts::default())));
    for gateway in [&plain, &recorded] {
        gateway.set_endpoint("split", 1, endpoint(split)).expect("an endpoint");
        gateway.set_endpoint("shadow", 1, endpoint(shadow)).expect("an endpoint");
        gateway.infer(request("m")).await.expect("the model loads");
        gateway.infer(request("split")).await.expect("the model loads");
    }
    println!("µs per request (requests per second), {WIDTH} columns, a model that does nothing");
    println!("{:<44} {:>20} {:>20} {:>20}", "", "1 task", "8 tasks", "64 tasks");
    for (what, gateway, model) in [
        ("model asked directly", &plain, "m"),
        ("endpoint: rule, sticky split of two arms", &plain, "split"),
        ("endpoint, every request recorded", &recorded, "split"),
        ("endpoint with a shadow of all requests", &plain, "shadow"),
        ("the same, everything recorded", &recorded, "shadow"),
    ] {
        let mut row = format!("{what:<44}");
        for tasks in [1, 8, 64] {
            let (micros, rate) = measure(gateway, model, tasks, time).await;
            row += &format!(" {:>20}", format!("{micros:.2} ({rate:.0})"));
        }
        println!("{row}");
    }
    fs_err::remove_file(&file).expect("the file goes");
}
