//! Times profiles: of a generated table of 2,000,000 rows and 30 columns or of a file, and the merge of 1,000 hours.
//!
//! `cargo run --release -p tidemill-data --no-default-features --example profile_bench [FILE]` prints seconds of the wall
//! clock and of the processor, and the size of what is stored. With `merge` in place of a file it only merges, and prints
//! `{"tool": …, "wall": …, "cpu": …}` of five rounds of merging, and of reading and merging.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests and measuring programs fail where their helpers fail, and print what they find"
)]

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use tidemill_core::Quiet;
use tidemill_data::{Profile, ProfileOptions, Table};

const ROWS: usize = 2_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let file = match std::env::args().nth(1) {
        Some(word) if word == "merge" => return merge(),
        file => file.map(PathBuf::from),
    };
    let table = memory(0, if file.is_some() { 0 } else { ROWS })?;
    for round in 0..3 {
        let (start, used) = (Instant::now(), processor());
        let profile = match &file {
            Some(file) => Profile::of_file(file, None, &|_| ProfileOptions::dataset(), &Quiet)?,
            None => Profile::build(&table, &ProfileOptions::dataset(), &Quiet)?,
        };
        let (wall, used) = (start.elapsed().as_secs_f64(), processor() - used);
        let bytes = profile.to_bytes().len();
        println!(
            "profile {round}: {wall:.2} s, {used:.2} s of processor, {bytes} bytes, {} rows",
            profile.rows()
        );
    }
    if file.is_some() {
        return Ok(());
    }
    let hours = hours()?;
    let stored: Vec<Vec<u8>> = hours.iter().map(Profile::to_bytes).collect();
    let (start, used) = (Instant::now(), processor());
    let mut all = hours[0].clone();
    all.merge_all(&hours[1..])?;
    let (wall, used) = (start.elapsed().as_secs_f64() * 1e3, (processor() - used) * 1e3);
    println!("merge of {} hours: {wall:.1} ms, {used:.0} ms of processor", hours.len());
    let start = Instant::now();
    let all = Profile::of_stored(&stored)?.expect("a thousand profiles");
    assert_eq!(all.rows(), 2_000_000, "rows of all hours");
    let size: usize = stored.iter().map(Vec::len).sum::<usize>() / stored.len();
    println!("read and merged: {:.1} ms, {size} bytes an hour", start.elapsed().as_secs_f64() * 1e3);
    Ok(())
}

/// Profiles of a thousand hours.
fn hours() -> Result<Vec<Profile>, tidemill_data::Error> {
    (0..1000)
        .map(|hour| Profile::build(&memory(hour * 2000, 2000)?, &ProfileOptions::window(), &Quiet))
        .collect()
}

/// Merges the profiles of a thousand hours, and reads them from what is stored before it.
fn merge() -> Result<(), Box<dyn Error>> {
    let hours = hours()?;
    let stored: Vec<Vec<u8>> = hours.iter().map(Profile::to_bytes).collect();
    for _ in 0..5 {
        let mut all = hours[0].clone();
        timed("merged", || Ok(all.merge_all(&hours[1..])?))?;
        let read =
            timed("read and merged", || Ok(Profile::of_stored(&stored)?))?.expect("a thousand profiles");
        assert_eq!((all.rows(), read.rows()), (2_000_000, 2_000_000), "rows of all hours");
    }
    Ok(())
}

/// Does it, and prints how long it took as a line of JSON.
fn timed<T>(tool: &str, work: impl FnOnce() -> Result<T, Box<dyn Error>>) -> Result<T, Box<dyn Error>> {
    let (start, used) = (Instant::now(), processor());
    let made = work()?;
    let (wall, used) = (start.elapsed().as_secs_f64(), processor() - used);
    println!("{{\"tool\": \"{tool}\", \"wall\": {wall}, \"cpu\": {used}}}");
    Ok(made)
}

/// Ten columns of each: reals, whole numbers of few and of many values, texts of few and of many values, truth values.
fn memory(from: usize, rows: usize) -> Result<Table, tidemill_data::Error> {
    let mut state = from as u64 + 1;
    let mut draw = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let mut columns: Vec<(String, ArrayRef)> = Vec::new();
    for i in 0..10 {
        let real = (0..rows).map(|_| {
            let x = draw();
            (x % 20 > 0).then_some((x >> 11) as f64 / (1_u64 << 53) as f64)
        });
        columns.push((format!("real{i}"), Arc::new(real.collect::<Float64Array>())));
    }
    for i in 0..5 {
        let few = (0..rows).map(|_| Some((draw() % 50) as i64));
        columns.push((format!("few{i}"), Arc::new(few.collect::<Int64Array>())));
        let many = (0..rows).map(|_| Some((draw() >> 20) as i64));
        columns.push((format!("many{i}"), Arc::new(many.collect::<Int64Array>())));
    }
    for i in 0..4 {
        let kinds = (0..rows).map(|_| Some(format!("kind {}", draw() % 30)));
        columns.push((format!("kind{i}"), Arc::new(kinds.collect::<StringArray>())));
    }
    for i in 0..2 {
        let names = (0..rows).map(|_| Some(format!("{:012x}", draw() >> 16)));
        columns.push((format!("name{i}"), Arc::new(names.collect::<StringArray>())));
    }
    for i in 0..4 {
        let truths = (0..rows).map(|_| Some(draw() % 3 == 0));
        columns.push((format!("truth{i}"), Arc::new(truths.collect::<BooleanArray>())));
    }
    let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
    Table::from_batches(batch.schema(), vec![batch])
}

/// Seconds of processor time of this process, from `/proc`; 0 where there is none.
fn processor() -> f64 {
    let Ok(text) = fs_err::read_to_string("/proc/self/stat") else { return 0.0 };
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |place: usize| fields.get(place).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}
