//! Times boosting on a table that numpy can make too, and prints time and quality.
//!
//! `cargo run --release -p tidemill-train --example gbdt_bench -- [ROWS] [binary|regression] [THREADS]`. Column `j` of
//! row `i` is the top 53 bits of SplitMix64 (Steele, Lea and Flood 2014) of `i * 0x9E3779B97F4A7C15 + j *
//! 0xD1B54A32D192ED03` as a number below 1; 200,000 test rows use streams from 1000.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests and measuring programs fail where their helpers fail, and print what they find"
)]

use std::time::Instant;

use rayon::prelude::*;
use tidemill_core::Quiet;
use tidemill_core::declare::GbdtParams;
use tidemill_train::frame::{ClassLabel, Column, ColumnData, Frame, Target};
use tidemill_train::gbdt::{Sample, train};
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

fn main() {
    let mut arguments = std::env::args().skip(1);
    let rows = arguments.next().map_or(1_000_000, |text| text.parse().expect("a number of rows"));
    let binary = arguments.next().is_none_or(|kind| kind == "binary");
    let threads = arguments.next().map_or(2, |text| text.parse().expect("a number of threads"));
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
