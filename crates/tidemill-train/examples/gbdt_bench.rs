//! Times boosting on a table that numpy can make too, and prints time and quality.
//!
//! `cargo run --release -p tidemill-train --example gbdt_bench -- [ROWS] [binary|regression] [THREADS]`. Column `j` of
//! row `i` is the top 53 bits of SplitMix64 (Steele, Lea and Flood 2014) of `i * 0x9E3779B97F4A7C15 + j *
//! 0xD1B54A32D192ED03` as a number below 1; 200,000 test rows use streams from 1000.
//!
//! `… -- FILE ROWS [THREADS]` learns the column `y` from the others that begin with `x` on the first rows of a Parquet file, as
//! `xtask/bench/make_boosting.py` writes it, and prints the ROC AUC of the rest.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests and measuring programs fail where their helpers fail, and print what they find"
)]

use std::time::Instant;

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rayon::prelude::*;
use tidemill_core::Quiet;
use tidemill_core::declare::{GbdtParams, Metric};
use tidemill_train::frame::{ClassLabel, Column, ColumnData, Frame, Table, Target};
use tidemill_train::gbdt::{Sample, train};
use tidemill_train::metric::{Decision, Scored, Truth, measure};
use tidemill_train::model::{Model, Predictor};

const COLUMNS: usize = 30;

fn uniform(rows: usize, stream: u64) -> Vec<f64> {
    let one = |row: usize| {
        let mut z = (row as u64)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .wrapping_add(stream.wrapping_mul(0xD1B5_4A32_D192_ED03))
            .wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 * 2.0_f64.powi(-53)
    };
    (0..rows).into_par_iter().map(one).collect()
}

fn table(rows: usize, stream: u64, binary: bool) -> (Frame, Target) {
    let x: Vec<Vec<f64>> = (0..COLUMNS).map(|column| uniform(rows, stream + column as u64)).collect();
    let z = |i: usize| {
        2.0 * (6.0 * x[0][i]).sin()
            + 8.0 * (x[1][i] - 0.5) * (x[2][i] - 0.5)
            + f64::from(u8::from(x[3][i] > 0.7))
            + 2.0 * x[4][i] * x[4][i]
            + x[5][i] * x[6][i] * x[7][i]
            - (x[8][i] - 0.5).abs() * 3.0
            + 0.5 * x[9][i]
            - 1.5
    };
    let u = uniform(rows, stream + 100);
    let target = if binary {
        let codes = (0..rows).map(|i| u32::from(u[i] < 1.0 / (1.0 + (-z(i)).exp()))).collect();
        Target::Classes { codes, classes: vec![ClassLabel::Int(0), ClassLabel::Int(1)] }
    } else {
        Target::Regression((0..rows).map(|i| z(i) + (u[i] - 0.5) * 2.0).collect())
    };
    let columns = x
        .into_iter()
        .enumerate()
        .map(|(j, values)| Column { name: format!("x{j}").into(), data: ColumnData::Numeric(values) })
        .collect();
    (Frame::new(columns, rows).expect("columns of one length"), target)
}

fn threads(word: Option<String>) -> usize {
    word.map_or(2, |text| text.parse().expect("a number of threads"))
}

/// Learns from the first rows of a file and looks at the others.
fn on_file(path: &str, rows: usize, threads: usize) {
    let file = fs_err::File::open(path).expect("a file").into_file();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("a Parquet file");
    let schema = reader.schema().clone();
    let batches = reader.build().expect("rows").collect::<Result<_, _>>().expect("rows");
    let table = Table::new(schema.clone(), batches).expect("a table");
    let column = |name: &str| table.numbers(name, "column").expect("a column of numbers");
    let truth: Vec<u32> = column("y").iter().map(|y| *y as u32).collect();
    let names = schema.fields().iter().map(|field| field.name()).filter(|name| name.starts_with('x'));
    let (mut learnt, mut held) = (Vec::new(), Vec::new());
    for name in names {
        let mut values = column(name);
        let rest = values.split_off(rows);
        let named = |values| Column { name: name.as_str().into(), data: ColumnData::Numeric(values) };
        learnt.push(named(values));
        held.push(named(rest));
    }
    let frame = Frame::new(learnt, rows).expect("columns of one length");
    let test = Frame::new(held, truth.len() - rows).expect("columns of one length");
    let classes = vec![ClassLabel::Int(0), ClassLabel::Int(1)];
    let target = Target::Classes { codes: truth[..rows].to_vec(), classes };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
    let start = Instant::now();
    let sample = Sample { frame: &frame, target: &target, weights: None };
    let fitted = pool.install(|| train(sample, None, &GbdtParams::default(), 1, &Quiet)).expect("a model");
    let trained = start.elapsed().as_secs_f64();
    let scores = pool.install(|| fitted.model.scores(&test));
    let scored = Scored {
        answers: (0..test.rows()).map(|row| scores.row(row)[1]).collect(),
        truth: Truth::Classes { values: truth[rows..].to_vec(), classes: 2 },
        weights: None,
    };
    let auc = measure(&scored, Metric::RocAuc, &Decision::default()).expect("both classes");
    println!(
        "{rows} rows, {threads} threads: train {trained:.2} s, ROC AUC {auc:.5} of {} rows",
        test.rows()
    );
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next();
    if let Some(file) = first.as_ref().filter(|text| text.parse::<usize>().is_err()) {
        let rows = arguments.next().expect("a number of rows").parse().expect("a number of rows");
        return on_file(file, rows, threads(arguments.next()));
    }
    let rows = first.map_or(1_000_000, |text| text.parse().expect("a number of rows"));
    let binary = arguments.next().is_none_or(|kind| kind == "binary");
    let threads = threads(arguments.next());
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
    pool.install(|| {
        let (frame, target) = table(rows, 0, binary);
        let (test, truth) = table(200_000, 1000, binary);
        let start = Instant::now();
        let sample = Sample { frame: &frame, target: &target, weights: None };
        let fitted = train(sample, None, &GbdtParams::default(), 1, &Quiet).expect("a model");
        let trained = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let scores = fitted.model.scores(&test);
        let scored = start.elapsed().as_secs_f64();
        let nodes: usize = fitted.model.trees.iter().map(|tree| tree.nodes.len()).sum();
        let quality = match &truth {
            Target::Classes { codes, .. } => {
                let loss: f64 =
                    codes.iter().enumerate().map(|(row, &y)| -scores.row(row)[y as usize].ln()).sum();
                format!("log loss {:.6}", loss / codes.len() as f64)
            }
            Target::Regression(values) => {
                let error: f64 = values.iter().zip(&scores.values).map(|(y, s)| (y - s) * (y - s)).sum();
                format!("rmse {:.6}", (error / values.len() as f64).sqrt())
            }
        };
        let digest = tidemill_core::Digest::of(
            &serde_json::to_vec(&Model::Gbdt(fitted.model)).expect("a serialisable model"),
        );
        println!(
            "{rows} rows, {threads} threads: train {trained:.2} s, score 200,000 rows {scored:.3} s, {nodes} nodes, \
             {quality}, {digest}"
        );
    });
}
