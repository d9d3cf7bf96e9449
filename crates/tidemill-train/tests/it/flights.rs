//! A month of the example project's flights as a frame.

use std::path::Path;

use tidemill_core::declare::TaskKind;
use tidemill_train::frame::{ClassLabel, Frame, FrameSchema, Selection, Table, Target};

/// All flights of January 2013 that arrived, and whether they were more than 30 minutes late.
pub(crate) fn january() -> (Frame, Target) {
    let table = table();
    let columns =
        ["day", "sched_dep_time", "sched_arr_time", "flight", "distance", "carrier", "origin", "dest"];
    let columns = columns.map(str::to_owned);
    let selection = Selection { columns: Some(&columns), ..Selection::default() };
    let frame = FrameSchema::learn(&table, None, selection).unwrap().frame(&table).unwrap();
    let delay = table.numbers("arr_delay", "target").unwrap();
    let arrived: Vec<usize> = (0..table.rows()).filter(|&row| !delay[row].is_nan()).collect();
    let codes = arrived.iter().map(|&row| u32::from(delay[row] > 30.0)).collect();
    let classes = vec![ClassLabel::Bool(false), ClassLabel::Bool(true)];
    (frame.take(&arrived), Target::Classes { codes, classes })
}

fn table() -> Table {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/flights/data/flights/2013-01.parquet");
    let file = fs_err::File::open(path).unwrap().into_file();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let schema = reader.schema().clone();
    let batches = reader.build().unwrap().map(Result::unwrap).collect();
    Table::new(schema, batches).unwrap()
}

#[test]
fn a_month_of_flights_becomes_a_frame() {
    let (frame, target) = january();
    assert_eq!((frame.rows(), target.len()), (26_398, 26_398));
    // 14.2 % of January's arrivals were late by more than 30 minutes.
    let Target::Classes { codes, .. } = &target else { panic!("classes expected") };
    let share = f64::from(codes.iter().sum::<u32>()) / codes.len() as f64;
    assert!((share - 0.142).abs() < 0.0005, "{share}");
    let Err(error) = FrameSchema::learn(&table(), None, Selection::default()) else { panic!("no error") };
    assert_eq!(
        error.to_string(),
        "feature column `time_hour` has type Timestamp(µs, \"UTC\"), which cannot be used: a number, a boolean \
         or text is needed"
    );
    assert!(matches!(
        table().target("arr_delay", TaskKind::Regression),
        Err(tidemill_train::Error::TargetMissing { .. })
    ));
}
