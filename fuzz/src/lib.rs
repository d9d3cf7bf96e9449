//! Entry points for fuzzing: one function per parser of bytes that we did not write ourselves.
//!
//! Each must return for any input. Most only forward to the crate which owns the parser; the tests of `xtask` include
//! this file and call the same functions with mutated seeds, so that they are exercised without a fuzzer.

use std::io;

use tidemill_core::{Event, canonical_json};

/// `tidemill.yaml`.
pub fn project_file(data: &[u8]) {
    tidemill_project::fuzz_entry(data);
}

/// `dvc.yaml`: what is imported must be a project file.
pub fn dvc_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(imported) = tidemill_project::from_dvc(text)
        && let Err(report) = tidemill_project::parse(&imported, tidemill_project::FILE_NAME)
    {
        unreachable!("imported text refused: {report}\n{imported}");
    }
}

/// Parameter files in all three formats, and templates over what they say.
pub fn parameter_file(data: &[u8]) {
    const PROJECT: &str = "\
project: fuzz
params: [p.yaml, p.json, p.toml]
pipeline:
  a: {run: 'echo ${x} ${y.z} $${HOME}', params: [x, y.z], outs: [a.txt]}
";
    let Ok(text) = std::str::from_utf8(data) else { return };
    for format in ["yaml", "json", "toml"] {
        let project = PROJECT.replace("[p.yaml, p.json, p.toml]", &format!("p.{format}"));
        if let Ok(project) = tidemill_project::parse(&project, tidemill_project::FILE_NAME) {
            let _ = tidemill_project::resolve(&project, &OneFile(text), &[]);
        }
    }
}

struct OneFile<'a>(&'a str);

impl tidemill_project::Files for OneFile<'_> {
    fn read(&self, _path: &str) -> io::Result<String> {
        Ok(self.0.to_owned())
    }
}

/// `tidemill.lock`: what is read must survive being written and read again.
pub fn lock_file(data: &[u8]) {
    if let Err(problem) = tidemill_pipeline::fuzz_lock(data) {
        unreachable!("{problem}");
    }
}

/// An event of the log: its canonical text must mean the same event and be its own canonical text.
pub fn event(data: &[u8]) {
    let Ok(event) = serde_json::from_slice::<Event>(data) else { return };
    let Ok(text) = canonical_json(&event) else { return };
    let again: Event =
        serde_json::from_slice(&text).unwrap_or_else(|error| unreachable!("own text refused: {error}"));
    assert!(canonical_json(&again).is_ok_and(|second| second == text), "canonical text is not stable");
}

/// Delimited text.
pub fn csv(data: &[u8]) {
    tidemill_data::fuzz::fuzz_csv(data);
}

/// JSON lines.
pub fn json_lines(data: &[u8]) {
    tidemill_data::fuzz::fuzz_json_lines(data);
}

/// Parquet files.
pub fn parquet(data: &[u8]) {
    tidemill_data::fuzz::fuzz_parquet(data);
}

/// Arrow IPC files.
pub fn arrow(data: &[u8]) {
    tidemill_data::fuzz::fuzz_arrow(data);
}

/// Stored profiles: with their frame, and as the body that the frame's checksum guards.
pub fn profile(data: &[u8]) {
    tidemill_data::fuzz::fuzz_profile(data);
}

/// Trees of the store.
pub fn tree(data: &[u8]) {
    tidemill_store::fuzz_tree(data);
}

/// Chunk lists of the store.
pub fn chunk_list(data: &[u8]) {
    tidemill_store::fuzz_chunk_list(data);
}

/// Pack indexes of the store.
pub fn pack_index(data: &[u8]) {
    tidemill_store::fuzz_index(data);
}

/// Records in packs of the store.
pub fn pack_record(data: &[u8]) {
    tidemill_store::fuzz_pack_entry(data);
}

/// The cache of file digests.
pub fn stat_cache(data: &[u8]) {
    tidemill_store::fuzz_stat_cache(data);
}

/// Filters and orders of searches, of every kind of thing.
pub fn search_filter(data: &[u8]) {
    tidemill_registry::filter::fuzz_entry(data);
}

/// Requests of OpenTelemetry's protocol for traces.
pub fn otlp(data: &[u8]) {
    tidemill_server::otlp::fuzz_entry(data);
}

/// Inference requests over HTTP: two bytes of the JSON's length, then a body of JSON and tensors.
pub fn infer_http(data: &[u8]) {
    tidemill_serve::oip::fuzz_http(data);
}

/// Inference requests over gRPC.
pub fn infer_grpc(data: &[u8]) {
    tidemill_serve::oip::fuzz_grpc(data);
}

/// MLflow's scoring requests, JSON and CSV.
pub fn scoring(data: &[u8]) {
    tidemill_serve::scoring::fuzz_entry(data);
}

/// ONNX files: read, prepared for calls, and called with rows of zeros.
pub fn onnx_model(data: &[u8]) {
    tidemill_runtime::fuzz_entry(data);
}

/// Answers of a broker that speaks Kafka's protocol, and batches of records.
pub fn kafka(data: &[u8]) {
    tidemill_brokers::fuzz_kafka(data);
}
