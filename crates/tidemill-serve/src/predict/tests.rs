//! Scoring with sessions that can be checked by hand.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{AsArray as _, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use tidemill_core::{Cancel, Progress, Quiet, Unit};
use tidemill_data::Table;
use tidemill_runtime::{Dim, ElementType, RunError, Session, Slot, Tensor, Values};

use super::*;
use crate::gateway::plan::Plan;
use crate::gateway::signature::Signature;

/// `sum = a + b` for inputs `a` and `b`; `pair` is both side by side. Fails on a negative `a`.
#[derive(Debug)]
struct Adds {
    inputs: Vec<Slot>,
    outputs: Vec<Slot>,
}

fn slot(name: &str, element: ElementType, shape: Vec<Dim>) -> Slot {
    Slot { name: name.to_owned(), element, shape, optional: false }
}

fn adds() -> Arc<dyn Session> {
    let number = |name| slot(name, ElementType::F64, vec![Dim::Any(None)]);
    Arc::new(Adds {
        inputs: vec![number("a"), number("b")],
        outputs: vec![number("sum"), slot("pair", ElementType::F64, vec![Dim::Any(None), Dim::Fixed(2)])],
    })
}

impl Session for Adds {
    fn runtime(&self) -> &'static str {
        "adds"
    }

    fn inputs(&self) -> &[Slot] {
        &self.inputs
    }

    fn outputs(&self) -> &[Slot] {
        &self.outputs
    }

    fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, RunError> {
        let values = |i: usize| match inputs[i].values() {
            Values::F64(values) => values.clone(),
            other => panic!("{other:?}"),
        };
        let (a, b) = (values(0), values(1));
        if let Some(bad) = a.iter().find(|a| **a < 0.0) {
            return Err(RunError::Model(format!("{bad} is negative")));
        }
        let sum = a.iter().zip(&b).map(|(a, b)| a + b).collect();
        let pair = a.iter().zip(&b).flat_map(|(a, b)| [*a, *b]).collect();
        Ok(vec![Tensor::vector(Values::F64(sum)), Tensor::new(vec![a.len(), 2], Values::F64(pair)).unwrap()])
    }

    fn memory_bytes(&self) -> u64 {
        0
    }
}

struct Lab {
    dir: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Rows `id = 0, 1, …`, `b = id / 2`, `a = 10 * id` but for the changes, in row groups of `group`.
    fn parquet(&self, rows: i64, group: usize, changed: &[(usize, Option<f64>)]) -> PathBuf {
        let mut a: Vec<Option<f64>> = (0..rows).map(|id| Some(id as f64 * 10.0)).collect();
        changed.iter().for_each(|(row, value)| a[*row] = *value);
        let schema = Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("b", DataType::Float64, true),
            Field::new("a", DataType::Float64, true),
        ]));
        let batch = RecordBatch::try_new(
            schema.clone(),
            vec![
                Arc::new(Int64Array::from_iter_values(0..rows)),
                Arc::new(Float64Array::from_iter_values((0..rows).map(|id| id as f64 / 2.0))),
                Arc::new(Float64Array::from(a)),
            ],
        )
        .unwrap();
        let path = self.path("input.parquet");
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group)).build();
        let file = fs_err::File::create(&path).unwrap();
        let mut writer = ArrowWriter::try_new(file, schema, Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        path
    }

    fn left(&self) -> Vec<String> {
        let mut names: Vec<String> = fs_err::read_dir(self.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn task<'a>(input: &'a PathBuf, output: &'a PathBuf) -> Predict<'a> {
    Predict { session: adds(), plan: None, input, output, keep: Keep::None, features: None, threads: Some(4) }
}

fn table(path: &PathBuf) -> RecordBatch {
    let table = Table::open(std::slice::from_ref(path), None).unwrap();
    let batches: Vec<RecordBatch> = table.batches(None).unwrap().map(Result::unwrap).collect();
    arrow::compute::concat_batches(table.schema(), &batches).unwrap()
}

#[test]
fn rows_keep_their_order_whatever_the_row_groups_are() {
    for (rows, group) in [(1, 1), (100_000, 1_000), (100_000, 100_000), (30_001, 9_999), (20_000, 8_192)] {
        let lab = Lab::new();
        let (input, output) = (lab.parquet(rows, group, &[]), lab.path("out.parquet"));
        let counted = AtomicU64::new(0);
        struct Counts<'a>(&'a AtomicU64);
        impl Progress for Counts<'_> {
            fn begin(&self, _: &str, _: Option<u64>, _: Unit) {}
            fn advance(&self, n: u64) {
                self.0.fetch_add(n, Ordering::SeqCst);
            }
        }
        let keep = Keep::Columns(vec!["id".to_owned()]);
        let summary = predict(&Predict { keep, ..task(&input, &output) }, &Counts(&counted)).unwrap();
        assert_eq!(summary.rows, rows as u64);
        assert_eq!(counted.load(Ordering::SeqCst), rows as u64);
        assert_eq!(summary.bytes, fs_err::metadata(&output).unwrap().len());
        let result = table(&output);
        let names: Vec<&str> =
            result.schema_ref().fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["id", "sum", "pair"]);
        let ids = result.column(0).as_primitive::<Int64Type>();
        let sums = result.column(1).as_primitive::<Float64Type>();
        assert!(ids.values().iter().copied().eq(0..rows), "{rows} in groups of {group}");
        assert!(sums.values().iter().enumerate().all(|(i, sum)| *sum == i as f64 * 10.5));
        let pairs = result.column(2).as_fixed_size_list();
        let last = pairs.value(rows as usize - 1);
        assert_eq!(
            last.as_primitive::<Float64Type>().values().to_vec(),
            [(rows - 1) as f64 * 10.0, (rows - 1) as f64 / 2.0]
        );
        assert_eq!(lab.left(), ["input.parquet", "out.parquet"]);
    }
}

#[test]
fn the_same_rows_give_the_same_bytes() {
    let lab = Lab::new();
    let input = lab.parquet(50_000, 5_000, &[]);
    let bytes: Vec<Vec<u8>> = (1..4)
        .map(|threads| {
            let output = lab.path("out.parquet");
            predict(&Predict { threads: Some(threads), ..task(&input, &output) }, &Quiet).unwrap();
            fs_err::read(&output).unwrap()
        })
        .collect();
    assert!(bytes.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn a_failing_row_is_named_and_nothing_is_left() {
    let lab = Lab::new();
    let (input, output) = (lab.parquet(30_000, 7_000, &[(20_123, Some(-1.5))]), lab.path("out.parquet"));
    fs_err::write(&output, "what was there").unwrap();
    let error = predict(&task(&input, &output), &Quiet).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the model failed on rows 20124 to 20124: the model failed: -1.5 is negative"
    );
    assert_eq!(fs_err::read(&output).unwrap(), b"what was there");
    assert_eq!(lab.left(), ["input.parquet", "out.parquet"]);
}

#[test]
fn missing_numbers_are_nan_and_other_values_are_refused_with_their_place() {
    let lab = Lab::new();
    let (input, output) = (lab.parquet(10, 4, &[(7, None)]), lab.path("out.csv"));
    predict(&task(&input, &output), &Quiet).unwrap();
    let text = fs_err::read_to_string(&output).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..3], ["sum,pair_0,pair_1", "0.0,0.0,0.0", "10.5,10.0,0.5"]);
    assert_eq!(lines[8], "NaN,NaN,3.5");
    let csv = lab.path("input.csv");
    fs_err::write(&csv, "a,b\n1,2\n3,four\n5,six\n").unwrap();
    let error = predict(&task(&csv, &output), &Quiet).unwrap_err();
    assert!(error.to_string().contains("row 2, column `b`: `four` is no Float64"), "{error}");
    fs_err::write(&csv, "a,c\n1,2\n").unwrap();
    let error = predict(&task(&csv, &output), &Quiet).unwrap_err().to_string();
    assert!(error.contains("no column `b`"), "{error}");
}

#[test]
fn csv_and_json_lines_are_read_and_written() {
    let lab = Lab::new();
    let (input, output) = (lab.path("input.csv"), lab.path("out.jsonl"));
    fs_err::write(&input, "name,a,b\n\"x, \"\"y\"\"\",1,2\nz,3,4\n").unwrap();
    predict(&Predict { keep: Keep::All, ..task(&input, &output) }, &Quiet).unwrap();
    let text = fs_err::read_to_string(&output).unwrap();
    let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(
        first,
        serde_json::json!({"name": "x, \"y\"", "a": 1, "b": 2, "sum": 3.0, "pair": [1.0, 2.0]})
    );
    let csv = lab.path("out.csv");
    let keep = Keep::Columns(vec!["name".to_owned()]);
    predict(&Predict { keep, ..task(&input, &csv) }, &Quiet).unwrap();
    assert_eq!(
        fs_err::read_to_string(&csv).unwrap(),
        "name,sum,pair_0,pair_1\n\"x, \"\"y\"\"\",3.0,1.0,2.0\nz,7.0,3.0,4.0\n"
    );
    // What was written reads back.
    let names = table(&csv).column(0).as_string::<i32>().clone();
    assert_eq!(names, StringArray::from(vec!["x, \"y\"", "z"]));
}

/// One input of many values in a row; gives their sum.
#[derive(Debug)]
struct Sums(Vec<Slot>, Vec<Slot>);

impl Session for Sums {
    fn runtime(&self) -> &'static str {
        "sums"
    }

    fn inputs(&self) -> &[Slot] {
        &self.0
    }

    fn outputs(&self) -> &[Slot] {
        &self.1
    }

    fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, RunError> {
        let Values::F32(values) = inputs[0].values() else { panic!("{inputs:?}") };
        let sums = values.chunks(inputs[0].row_len()).map(|row| row.iter().sum()).collect();
        Ok(vec![Tensor::vector(Values::F32(sums))])
    }

    fn memory_bytes(&self) -> u64 {
        0
    }
}

#[test]
fn columns_side_by_side_make_one_input() {
    let session = |width| -> Arc<dyn Session> {
        Arc::new(Sums(
            vec![slot("x", ElementType::F32, vec![Dim::Any(None), width])],
            vec![slot("sum", ElementType::F32, vec![Dim::Any(None)])],
        ))
    };
    let lab = Lab::new();
    let (input, output) = (lab.parquet(9_000, 4_000, &[]), lab.path("out.csv"));
    let base = Predict { session: session(Dim::Fixed(3)), ..task(&input, &output) };
    predict(&base, &Quiet).unwrap();
    let text = fs_err::read_to_string(&output).unwrap();
    assert_eq!(text.lines().nth(3), Some("23.0"));
    let features = Some(vec!["a".to_owned(), "b".to_owned()]);
    predict(
        &Predict { session: session(Dim::Any(None)), features: features.clone(), ..base.clone() },
        &Quiet,
    )
    .unwrap();
    assert_eq!(fs_err::read_to_string(&output).unwrap().lines().nth(3), Some("21.0"));
    let error = predict(&Predict { features, ..base.clone() }, &Quiet).unwrap_err().to_string();
    assert!(error.contains("takes 3 columns side by side and 2 were named"), "{error}");
    let error =
        predict(&Predict { session: session(Dim::Fixed(2)), ..base }, &Quiet).unwrap_err().to_string();
    assert!(error.contains("takes 2 columns side by side and 3 are in the table"), "{error}");
}

/// Takes two texts; gives their lengths.
#[derive(Debug)]
struct Lengths(Vec<Slot>, Vec<Slot>);

impl Session for Lengths {
    fn runtime(&self) -> &'static str {
        "lengths"
    }

    fn inputs(&self) -> &[Slot] {
        &self.0
    }

    fn outputs(&self) -> &[Slot] {
        &self.1
    }

    fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, RunError> {
        let (Values::Bytes(a), Values::Bytes(b)) = (inputs[0].values(), inputs[1].values()) else {
            panic!("{inputs:?}")
        };
        let lengths = a.iter().zip(b).map(|(a, b)| (a.len() + 10 * b.len()) as i64).collect();
        Ok(vec![Tensor::vector(Values::I64(lengths))])
    }

    fn memory_bytes(&self) -> u64 {
        0
    }
}

#[test]
fn a_signature_says_which_texts_may_be_missing_and_which_columns_absent() {
    let lab = Lab::new();
    let (input, output) = (lab.path("in.jsonl"), lab.path("out.csv"));
    fs_err::write(&input, "{\"a\":\"xyz\"}\n{\"a\":null}\n").unwrap();
    let text = |name| slot(name, ElementType::Bytes, vec![Dim::Any(None), Dim::Fixed(1)]);
    let outputs = vec![slot("length", ElementType::I64, vec![Dim::Any(None)])];
    let session: Arc<dyn Session> = Arc::new(Lengths(vec![text("a"), text("b")], outputs));
    let plan = |a: bool| {
        let inputs = format!(
            r#"[{{"type":"string","name":"a","required":{a}}},{{"type":"string","name":"b","required":false}}]"#
        );
        let signature = Signature::from_mlflow(&inputs, None).unwrap();
        Some(Plan::new(&*session, Some(&signature)).unwrap())
    };
    let base = Predict { session: session.clone(), plan: plan(false), ..task(&input, &output) };
    predict(&base, &Quiet).unwrap();
    assert_eq!(fs_err::read_to_string(&output).unwrap(), "length\n3\n0\n");
    let why = predict(&Predict { plan: plan(true), ..base.clone() }, &Quiet).unwrap_err().to_string();
    assert!(why.contains("row 2, column `a`: the value is missing"), "{why}");
    let why = predict(&Predict { plan: None, ..base }, &Quiet).unwrap_err().to_string();
    assert!(why.contains("no column `b`"), "{why}");
}

#[test]
fn names_formats_and_stops_are_told() {
    let lab = Lab::new();
    let (input, output) = (lab.parquet(10, 5, &[]), lab.path("out.xlsx"));
    assert!(matches!(predict(&task(&input, &output), &Quiet), Err(PredictError::Format(_))));
    let output = lab.path("out.parquet");
    let keep = Keep::Columns(vec!["nothing".to_owned()]);
    let error = predict(&Predict { keep, ..task(&input, &output) }, &Quiet).unwrap_err().to_string();
    assert!(error.contains("no column `nothing` to keep"), "{error}");
    let stop = Cancel::new();
    stop.cancel();
    assert!(matches!(predict(&task(&input, &output), &stop), Err(PredictError::Cancelled)));
    assert_eq!(lab.left(), ["input.parquet"]);
    // A table without rows has the columns that the model declares.
    let empty = lab.parquet(0, 5, &[]);
    predict(&task(&empty, &output), &Quiet).unwrap();
    let names: Vec<String> =
        table(&output).schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["sum", "pair"]);
}
