//! Times linear fits and bootstrap intervals on made-up rows.
//!
//! `cargo run --release -p tidemill-train --example linear_bench -- [ROWS]`: ridge and logistic regression on ROWS × 30
//! numbers (SplitMix64 of row and column), and the intervals of seven metrics on a fifth as many rows.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "measuring programs fail where their helpers fail, and print what they find"
)]

use std::time::Instant;

use tidemill_core::declare::LinearParams;
use tidemill_train::frame::{ClassLabel, Column, ColumnData, Frame, Target};
use tidemill_train::linear::fit;
use tidemill_train::metric::{Decision, Measure, Scored, Truth, defaults, intervals};
use tidemill_train::model::Predictor;

const COLUMNS: usize = 30;

fn uniform(row: usize, stream: usize) -> f64 {
    let mut z = (row as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = z
        .wrapping_add((stream as u64).wrapping_mul(0xD1B5_4A32_D192_ED03))
        .wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 * 2.0_f64.powi(-53)
}

fn main() {
    let rows = std::env::args().nth(1).map_or(1_000_000, |rows| rows.parse().unwrap());
    let column = |at: usize| Column {
        name: format!("x{at}").into(),
        data: ColumnData::Numeric((0..rows).map(|row| uniform(row, at)).collect()),
    };
    let frame = Frame::new((0..COLUMNS).map(column).collect(), rows).unwrap();
    let signal = |row: usize| (0..8).map(|at| (uniform(row, at) - 0.5) * (at as f64 - 3.0)).sum::<f64>();
    let numbers = Target::Regression((0..rows).map(|row| signal(row) + uniform(row, 99)).collect());
    let hit = |row: usize| u32::from(uniform(row, 99) < 1.0 / (1.0 + (-signal(row)).exp()));
    let classes = vec![ClassLabel::Int(0), ClassLabel::Int(1)];
    let codes: Vec<u32> = (0..rows).map(hit).collect();
    for (name, target) in
        [("ridge", &numbers), ("logistic", &Target::Classes { codes: codes.clone(), classes })]
    {
        let start = Instant::now();
        let (model, convergence) = fit(&frame, target, None, &LinearParams::default()).unwrap();
        println!("{name} {rows} rows: {:.3} s, {convergence:?}", start.elapsed().as_secs_f64());
        if name == "logistic" {
            let held: Vec<usize> = (0..rows / 5).collect();
            let truth = Truth::Classes { values: codes[..held.len()].to_vec(), classes: 2 };
            let answers = model.scores(&frame.take(&held)).column(1);
            let scored = Scored { truth, answers, weights: None };
            let metrics = defaults(&scored.truth, false);
            let start = Instant::now();
            let measures = Measure::prepare(&scored, &metrics, &Decision::default()).unwrap();
            let found = intervals(&measures, &scored.weights(), 1);
            println!("intervals {} rows: {:.3} s, {:?}", held.len(), start.elapsed().as_secs_f64(), found[0]);
        }
    }
}
