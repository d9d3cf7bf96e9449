//! How long calls take: what is built in against ONNX Runtime in this process and in Python.
//!
//! ```text
//! python crates/tidemill-runtime/tests/python/suite.py FOLDER
//! cargo run --release -p tidemill-runtime --features ort --example latency -- FOLDER PYTHON LIBRARY
//! ```
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::panic, reason = "a program that prints a table")]

#[path = "../tests/it/files.rs"]
mod files;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tidemill_runtime::{Choice, Runtime, Runtimes, Session, Tensor, Values};

/// How long one model is measured with one batch size.
const TIME: Duration = Duration::from_millis(250);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = Path::new(&arguments[0]);
    let listing: Value =
        serde_json::from_str(&fs_err::read_to_string(folder.join("suite.json")).unwrap()).unwrap();
    let python = arguments.get(1).map(|python| measured_in_python(python, folder)).unwrap_or_default();
    let onnxruntime = arguments.get(2).map(|library| onnxruntime(library));
    println!(
        "| model | runtime | built in 1 / 64 | ort 1 / 64 | Python 1 / 64 |\n| --- | --- | --- | --- | --- |"
    );
    for model in listing["models"].as_array().unwrap() {
        let name = model["name"].as_str().unwrap();
        let bytes = fs_err::read(folder.join(model["file"].as_str().unwrap())).unwrap();
        let Ok(session) = Runtimes::new(Choice::Embedded).load(&bytes) else { continue };
        let Some(call) = model["calls"].get(0) else { continue };
        let inputs: Vec<Tensor> =
            session.inputs().iter().map(|slot| files::decode(&call["inputs"][&slot.name])).collect();
        if inputs.first().is_none_or(|input| input.rows() < 2) {
            continue;
        }
        same(name, &session.run(&inputs).unwrap(), &call["outputs"]);
        let own = [1, 64].map(|rows| microseconds(session.as_ref(), &inputs, rows));
        let other = onnxruntime.as_ref().map(|runtime| {
            let session = runtime.load(&bytes).unwrap();
            [1, 64].map(|rows| microseconds(session.as_ref(), &inputs, rows))
        });
        let pair =
            |pair: Option<[f64; 2]>| pair.map_or("–".to_owned(), |[a, b]| format!("{a:.1} / {b:.1}"));
        let in_python = python[name].as_array().map(|pair| [0, 1].map(|i| pair[i].as_f64().unwrap()));
        println!(
            "| {name} | {} | {} | {} | {} |",
            session.runtime(),
            pair(Some(own)),
            pair(other),
            pair(in_python)
        );
    }
}

#[cfg(feature = "ort")]
fn onnxruntime(library: &str) -> Box<dyn Runtime> {
    let options = tidemill_runtime::OrtOptions { candidates: vec![library.into()], ..Default::default() };
    Box::new(tidemill_runtime::OnnxRuntime::new(options).unwrap())
}

#[cfg(not(feature = "ort"))]
fn onnxruntime(_: &str) -> Box<dyn Runtime> {
    Box::new(Runtimes::new(Choice::OnnxRuntime))
}

/// What answers wrongly is not timed: numbers must be ONNX Runtime's, within what single precision allows.
fn same(name: &str, ours: &[Tensor], theirs: &Value) {
    for (ours, theirs) in ours.iter().zip(theirs.as_array().unwrap()) {
        let (Values::F32(a), Values::F32(b)) = (ours.values(), files::decode(theirs).values().clone()) else {
            continue;
        };
        let close =
            |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-4 * b.abs().max(1.0) || a.is_nan() && b.is_nan();
        assert!(
            a.len() == b.len() && a.iter().zip(&b).all(close),
            "{name} has other answers than ONNX Runtime"
        );
    }
}

/// The median of calls with so many rows, in microseconds.
fn microseconds(session: &dyn Session, inputs: &[Tensor], rows: usize) -> f64 {
    let inputs: Vec<Tensor> = inputs
        .iter()
        .map(|input| {
            let row: Vec<Tensor> =
                (0..rows).map(|i| input.slice(i % input.rows(), i % input.rows() + 1)).collect();
            Tensor::join(&row.iter().collect::<Vec<_>>()).unwrap()
        })
        .collect();
    let mut times = Vec::new();
    let start = Instant::now();
    while start.elapsed() < TIME {
        let before = Instant::now();
        std::hint::black_box(session.run(&inputs).unwrap());
        times.push(before.elapsed());
    }
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e6
}

fn measured_in_python(python: &str, folder: &Path) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/latency.py");
    let output = Command::new(python).arg(script).arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
