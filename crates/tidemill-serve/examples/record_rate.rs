//! How much the inference log costs: nanoseconds that `record` adds to a caller, records a second that the writer keeps
//! up with, and what rolling takes. With `predict`: rows a second of batch scoring with a session that does nearly
//! nothing.
//!
//! `cargo run --release -p tidemill-serve --example record_rate [-- SECONDS [ROWS]]`

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measuring program fails where something fails, and prints what it finds"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Float32Array, RecordBatch};
use tidemill_core::{Clock as _, Quiet, SystemClock, Timestamp};
use tidemill_db::Db;
use tidemill_runtime::{Dim, ElementType, RunError, Session, Slot, Tensor, Values};
use tidemill_serve::predict::{Keep, Predict, predict};
use tidemill_serve::record::{InferenceLog, LogSettings, Query, Reader, Roller, Rules};
use tidemill_serve::{Named, Record, Recorder as _, Status};
use tidemill_store::{Store, StoreOptions};

const FEATURES: usize = 30;

fn main() {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u64>().unwrap());
    let (seconds, rows) = (args.next().unwrap_or(5), args.next().unwrap_or(10_000_000));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(records(Duration::from_secs(seconds)));
    scoring(rows);
}

async fn records(time: Duration) {
    let dir = tempfile::tempdir_in(".").unwrap();
    let clock = Arc::new(SystemClock);
    let settings = LogSettings::new(dir.path().join("records"));
    let log = InferenceLog::open(settings, Rules::default(), clock.clone()).unwrap();
    // What a caller pays, at a rate that the writer keeps up with: 10,000 a second.
    let templates: Vec<Record> = (0..1024).map(template).collect();
    let mut turn = 0;
    let mut next = || {
        turn += 1;
        templates[turn % templates.len()].clone()
    };
    let mut costs = Vec::new();
    let started = Instant::now();
    while started.elapsed() < time {
        for _ in 0..100 {
            let record = Record { id: "01234567-89ab-cdef".into(), time: clock.now(), ..next() };
            let at = Instant::now();
            log.record(record);
            costs.push(at.elapsed().as_nanos() as u64);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    log.flush().unwrap();
    costs.sort_unstable();
    let at = |share: f64| costs[((costs.len() - 1) as f64 * share) as usize];
    println!(
        "record(): median {} ns, p99 {} ns, largest {} ns, {} calls",
        at(0.5),
        at(0.99),
        at(1.0),
        costs.len()
    );
    // What the writer keeps up with: records are made as fast as they are taken.
    let before = log.counts()["bench"];
    let (started, cpu) = (Instant::now(), cpu());
    let mut made = 0_u64;
    while started.elapsed() < time {
        for _ in 0..256 {
            log.record(Record { time: clock.now(), ..next() });
        }
        made += 256;
        if made.is_multiple_of(16_384) {
            log.flush().unwrap();
        }
    }
    log.flush().unwrap();
    let (took, cpu) = (started.elapsed().as_secs_f64(), self::cpu() - cpu);
    let after = log.counts()["bench"];
    let recorded = after.recorded - before.recorded;
    println!(
        "sustained: {:.0} records/s ({} dropped), {:.2} µs CPU each, making them included",
        recorded as f64 / took,
        after.dropped,
        cpu * 1e6 / recorded as f64
    );
    let records = after.recorded;
    log.close();
    drop(log);
    let bytes: u64 = walk(&dir.path().join("records"));
    println!("segments: {:.0} bytes a record", bytes as f64 / records as f64);
    let log =
        InferenceLog::open(LogSettings::new(dir.path().join("records")), Rules::default(), clock.clone())
            .unwrap();
    let db = Db::open(dir.path().join("bench.db").to_str().unwrap(), clock.clone()).await.unwrap();
    let store = Store::open(&dir.path().join("store"), StoreOptions::default()).unwrap();
    let (started, cpu) = (Instant::now(), self::cpu());
    let rolled = Roller::new(log, db.clone(), store.clone(), clock).roll().await.unwrap();
    let (took, cpu) = (started.elapsed().as_secs_f64(), self::cpu() - cpu);
    println!(
        "rolling: {:.0} rows/s, {:.2} µs CPU each, {:.0} bytes of Parquet a row",
        rolled.rows as f64 / took,
        cpu * 1e6 / rolled.rows as f64,
        walk(&dir.path().join("store")) as f64 / rolled.rows as f64
    );
    let started = Instant::now();
    let found = Reader::new(db, store, dir.path().join("records"))
        .find(&Query::of("bench", None, None))
        .await
        .unwrap();
    let read: usize = found.batches().map(|batch| batch.unwrap().num_rows()).sum();
    println!("reading: {:.0} rows/s", read as f64 / started.elapsed().as_secs_f64());
}

fn template(seed: usize) -> Record {
    let input = |i: usize| Named {
        name: format!("feature_{i}"),
        tensor: Tensor::vector(Values::F32(vec![((seed * 7919 + i * 104_729) % 65_537) as f32 * 0.37])),
    };
    let output = |name: &str, values| Named { name: name.to_owned(), tensor: Tensor::vector(values) };
    Record {
        id: "request".into(),
        time: Timestamp::from_millis(0),
        endpoint: "bench".into(),
        model: "model".into(),
        version: "1".into(),
        release: "b3:0000000000000000000000000000000000000000000000000000000000000000".into(),
        arm: Some("champion".into()),
        is_shadow: false,
        latency: Duration::from_micros(150),
        inputs: (0..FEATURES).map(input).collect(),
        outputs: vec![output("label", Values::I64(vec![1])), output("probability", Values::F32(vec![0.75]))],
        status: Status::Answered,
        warnings: Vec::new(),
        entity: None,
        headers: Vec::new(),
    }
}

/// Adds the first two inputs.
#[derive(Debug)]
struct Trivial(Vec<Slot>, Vec<Slot>);

impl Session for Trivial {
    fn runtime(&self) -> &'static str {
        "trivial"
    }

    fn inputs(&self) -> &[Slot] {
        &self.0
    }

    fn outputs(&self) -> &[Slot] {
        &self.1
    }

    fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, RunError> {
        let (Values::F32(a), Values::F32(b)) = (inputs[0].values(), inputs[1].values()) else {
            return Err(RunError::Model("not the inputs that it takes".to_owned()));
        };
        Ok(vec![Tensor::vector(Values::F32(a.iter().zip(b).map(|(a, b)| a + b).collect()))])
    }

    fn memory_bytes(&self) -> u64 {
        0
    }
}

fn scoring(rows: u64) {
    let dir = tempfile::tempdir_in(".").unwrap();
    let (input, output) = (dir.path().join("input.parquet"), dir.path().join("output.parquet"));
    let slot =
        |name: String| Slot { name, element: ElementType::F32, shape: vec![Dim::Any(None)], optional: false };
    let batch_rows = 65_536_u64;
    let column = |i: usize, from: u64, count: u64| -> ArrayRef {
        let value = |row: u64| {
            ((row.wrapping_mul(2_654_435_761).wrapping_add(i as u64 * 97)) % 100_003) as f32 * 0.01
        };
        Arc::new(Float32Array::from_iter_values((from..from + count).map(value)))
    };
    let batch = |from: u64| {
        let count = batch_rows.min(rows - from);
        RecordBatch::try_from_iter((0..FEATURES).map(|i| (format!("feature_{i}"), column(i, from, count))))
            .unwrap()
    };
    let schema = batch(0).schema();
    let file = fs_err::File::create(&input).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, schema, None).unwrap();
    let mut from = 0;
    while from < rows {
        writer.write(&batch(from)).unwrap();
        from += batch_rows;
    }
    writer.close().unwrap();
    let session = Arc::new(Trivial(
        (0..FEATURES).map(|i| slot(format!("feature_{i}"))).collect(),
        vec![slot("sum".to_owned())],
    ));
    let before = cpu();
    let task = Predict {
        session,
        plan: None,
        input: &input,
        output: &output,
        keep: Keep::None,
        features: None,
        threads: None,
    };
    let summary = predict(&task, &Quiet).unwrap();
    println!(
        "predict: {} rows in {:.2} s, {:.0} rows/s, {:.2} µs CPU each, peak memory {} MB",
        summary.rows,
        summary.took.as_secs_f64(),
        summary.rows as f64 / summary.took.as_secs_f64(),
        (cpu() - before) * 1e6 / summary.rows as f64,
        peak_mb()
    );
}

/// Seconds of CPU that this process has used.
fn cpu() -> f64 {
    let stat = fs_err::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    ticks as f64 / 100.0
}

fn peak_mb() -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

fn walk(dir: &std::path::Path) -> u64 {
    let mut bytes = 0;
    for entry in fs_err::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        bytes += if entry.path().is_dir() { walk(&entry.path()) } else { entry.metadata().unwrap().len() };
    }
    bytes
}
