//! Exported models answer in ONNX Runtime as they do here.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, Float32Array, Float64Array, Int64Array, RecordBatch,
    StringArray,
};
use arrow::datatypes::Int32Type;
use serde_json::{Value, json};
use tidemill_core::Quiet;
use tidemill_core::declare::{GbdtParams, LinearParams, TaskKind};
use tidemill_train::frame::{FrameSchema, Selection, Source, Table, Target};
use tidemill_train::gbdt::{Sample, train};
use tidemill_train::model::{Model, TrainedModel};
use tidemill_train::onnx::to_onnx;
use tidemill_train::prior::PriorModel;

use crate::python::python;

const RUN: &str = r"
import base64, numpy as np, onnx, onnxruntime as ort
blob = base64.b16decode(data['model'])
proto = onnx.load_from_string(blob)
onnx.checker.check_model(proto, full_check=False)
options = ort.SessionOptions(); options.log_severity_level = 3; options.intra_op_num_threads = 2
session = ort.InferenceSession(blob, options)
kinds = {'tensor(float)': np.float32, 'tensor(double)': np.float64, 'tensor(int64)': np.int64,
         'tensor(bool)': np.bool_, 'tensor(string)': object}
def feed(name, kind):
    v = data['inputs'][name]
    if kind is object: v = ['' if x is None else x for x in v]
    elif kind in (np.float32, np.float64): v = [np.nan if x is None else x for x in v]
    return np.array(v, dtype=kind).reshape(-1, 1)
feeds = {i.name: feed(i.name, kinds[i.type]) for i in session.get_inputs()}
names = [o.name for o in session.get_outputs()]
outputs = dict(zip(names, session.run(None, feeds)))
small = session.run(None, {k: v[:1] for k, v in feeds.items()})
assert all(len(o) == 1 for o in small), [o.shape for o in small]
answer = dict(names=names, types=[o.type for o in session.get_outputs()],
    inputs=[[i.name, i.type, i.shape] for i in session.get_inputs()],
    meta=session.get_modelmeta().custom_metadata_map, producer=proto.producer_name,
    values={k: np.asarray(v, dtype=float if v.dtype.kind == 'f' else None).tolist() for k, v in outputs.items()})
";

struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 * 2.0_f64.powi(-53)
    }
}

/// Every type of column, with missing values, and every type of target. `fresh` rows have categories and values that
/// others do not.
fn table(rows: usize, seed: u64, fresh: bool) -> Table {
    let mut noise = Noise(seed);
    let mut draw = |rows: usize| -> Vec<f64> { (0..rows).map(|_| noise.next()).collect() };
    let (a, b, c, d, e, f, g, h) =
        (draw(rows), draw(rows), draw(rows), draw(rows), draw(rows), draw(rows), draw(rows), draw(rows));
    let levels = if fresh { 36.0 } else { 30.0 };
    let maybe = |values: &[f64], share: f64, value: &dyn Fn(f64) -> f64| -> Vec<Option<f64>> {
        values.iter().map(|&v| (v > share).then(|| value(v))).collect()
    };
    let text: Vec<Option<String>> = d
        .iter()
        .map(|v| match (v * levels) as u32 {
            0 => None,
            1 => Some(String::new()),
            level => Some(format!("läge \"{level}\"")),
        })
        .collect();
    let dictionary: DictionaryArray<Int32Type> = f
        .iter()
        .map(|v| ["EWR", "JFK", "LGA", "", "NEU"][(v * if fresh { 5.0 } else { 4.0 }) as usize])
        .map(|text| (!text.is_empty()).then_some(text))
        .collect();
    let signal: Vec<f64> = (0..rows)
        .map(|i| {
            (7.0 * a[i]).sin()
                + b[i]
                + (d[i] * 30.0).floor() % 5.0 * 0.4
                + (f[i] * 4.0).floor() * 0.2
                + 0.4 * h[i]
        })
        .collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("number", Arc::new(maybe(&a, 0.1, &|v| v * 1e3).into_iter().collect::<Float64Array>())),
        ("single", Arc::new(b.iter().map(|&v| (v > 0.05).then_some(v as f32)).collect::<Float32Array>())),
        ("whole", Arc::new(c.iter().map(|v| (v * 1000.0) as i64).collect::<Int64Array>())),
        (
            "sparse whole",
            Arc::new(c.iter().map(|&v| (v > 0.2).then_some((v * 9.0) as i64)).collect::<Int64Array>()),
        ),
        ("label", Arc::new(StringArray::from(text))),
        ("flag", Arc::new(e.iter().map(|&v| Some(v > 0.5)).collect::<BooleanArray>())),
        ("origin", Arc::new(dictionary)),
        ("month", Arc::new(g.iter().map(|v| (v * levels / 2.5) as i64).collect::<Int64Array>())),
        (
            "grade",
            Arc::new(
                maybe(&h, 0.1, &|v| (v * levels / 3.0).floor() / 4.0).into_iter().collect::<Float64Array>(),
            ),
        ),
        ("target", Arc::new(Float64Array::from(signal.clone()))),
        ("two", Arc::new(signal.iter().map(|&s| Some(s > 2.0)).collect::<BooleanArray>())),
        (
            "three",
            Arc::new(
                signal
                    .iter()
                    .map(|&s| {
                        Some(if s > 2.4 {
                            "høy"
                        } else if s > 1.5 {
                            "mid"
                        } else {
                            "low"
                        })
                    })
                    .collect::<StringArray>(),
            ),
        ),
        ("four", Arc::new(signal.iter().map(|&s| (s.clamp(0.5, 3.5) as i64) * 10).collect::<Int64Array>())),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    )
    .unwrap();
    Table::new(batch.schema(), vec![batch.slice(0, rows / 3), batch.slice(rows / 3, rows - rows / 3)])
        .unwrap()
}

/// The inputs of the exported model, as JSON, null where missing.
fn inputs(model: &TrainedModel, table: &Table) -> Value {
    let mut inputs = serde_json::Map::new();
    for column in &model.schema.columns {
        let values: Value = if column.source == Source::Text {
            let mut texts = vec![];
            for batch in table.batches() {
                let array = arrow::compute::cast(
                    batch.column_by_name(&column.name).unwrap(),
                    &arrow::datatypes::DataType::Utf8,
                )
                .unwrap();
                let array = array.as_any().downcast_ref::<StringArray>().unwrap();
                texts.extend(array.iter().map(|text| text.map(str::to_owned)));
            }
            json!(texts)
        } else {
            let numbers = table.numbers(&column.name, "feature").unwrap();
            match column.source {
                Source::Int => json!(numbers.iter().map(|n| *n as i64).collect::<Vec<_>>()),
                Source::Bool => json!(numbers.iter().map(|n| *n == 1.0).collect::<Vec<_>>()),
                _ => json!(numbers),
            }
        };
        inputs.insert(column.name.clone(), values);
    }
    Value::Object(inputs)
}

/// Runs the exported model on `table` and compares; returns what Python said about the file.
fn compare(model: &TrainedModel, table: &Table) -> Value {
    let blob = to_onnx(model).unwrap();
    let hex: String = blob.iter().map(|byte| format!("{byte:02X}")).collect();
    let answer = python(RUN, &json!({"model": hex, "inputs": inputs(model, table)}));
    let ours = model.scores(table).unwrap();
    let values = &answer["values"];
    let theirs = if model.classes.is_some() { &values["probabilities"] } else { &values["variable"] };
    let mut largest = 0.0_f64;
    for (row, theirs) in theirs.as_array().unwrap().iter().enumerate() {
        let theirs: Vec<f64> = theirs.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
        assert_eq!(theirs.len(), ours.width);
        for (ours, theirs) in ours.row(row).iter().zip(&theirs) {
            largest = largest.max((ours - theirs).abs() / ours.abs().max(1.0));
        }
    }
    assert_eq!(theirs.as_array().unwrap().len(), table.rows());
    println!("{} bytes, largest difference {largest:e}", blob.len());
    assert!(largest <= 1e-6, "largest difference {largest:e}");
    if let Some(classes) = &model.classes {
        let labels = answer["values"].get("label_").unwrap_or(&answer["values"]["label"]);
        for (row, label) in labels.as_array().unwrap().iter().enumerate() {
            let best =
                (0..ours.width).max_by(|a, b| ours.row(row)[*a].total_cmp(&ours.row(row)[*b])).unwrap();
            let sure = ours.row(row).iter().filter(|p| **p > ours.row(row)[best] - 1e-5).count() == 1;
            assert!(!sure || *label == json!(classes[best]), "row {row}: {label}");
        }
    }
    answer
}

const FEATURES: [&str; 9] =
    ["number", "single", "whole", "sparse whole", "label", "flag", "origin", "month", "grade"];

fn prepared(target: &str, kind: TaskKind) -> (Table, FrameSchema, Target) {
    let table = table(3_000, 11, false);
    let columns = FEATURES.map(str::to_owned);
    let categorical = ["month".to_owned(), "grade".to_owned()];
    let selection = Selection { columns: Some(&columns), without: &[], categorical: &categorical };
    let schema = FrameSchema::learn(&table, None, selection).unwrap();
    let target = table.target(target, kind).unwrap();
    (table, schema, target)
}

const TARGETS: [(&str, TaskKind); 4] = [
    ("target", TaskKind::Regression),
    ("two", TaskKind::Classification),
    ("three", TaskKind::Classification),
    ("four", TaskKind::Classification),
];

fn trained(schema: FrameSchema, name: &str, target: &Target, model: Model) -> TrainedModel {
    TrainedModel { schema, target: name.into(), classes: target.classes().map(<[_]>::to_vec), model }
}

#[test]
fn boosted_trees_answer_alike() {
    for (name, kind) in TARGETS {
        let (table, schema, target) = prepared(name, kind);
        let frame = schema.frame(&table).unwrap();
        for (learning_rate, rounds) in [(0.1, 100), (0.9, 40)] {
            let params = GbdtParams { learning_rate, rounds, ..GbdtParams::default() };
            let sample = Sample { frame: &frame, target: &target, weights: None };
            let fitted = train(sample, None, &params, 1, &Quiet).unwrap();
            let model = trained(schema.clone(), name, &target, Model::Gbdt(fitted.model));
            compare(&model, &table);
            compare(&model, &self::table(2_000, 12, true));
        }
    }
}

#[test]
fn linear_models_answer_alike() {
    for (name, kind) in TARGETS {
        let (table, schema, target) = prepared(name, kind);
        let frame = schema.frame(&table).unwrap();
        let params = LinearParams { max_categories: 12, ..LinearParams::default() };
        let (fitted, _) = tidemill_train::linear::fit(&frame, &target, None, &params).unwrap();
        let model = trained(schema, name, &target, Model::Linear(fitted));
        compare(&model, &table);
        compare(&model, &self::table(2_000, 12, true));
    }
}

#[test]
fn priors_answer_alike_and_files_describe_themselves() {
    for (name, kind) in TARGETS {
        let (table, schema, target) = prepared(name, kind);
        let model = match &target {
            Target::Regression(values) => PriorModel::mean(values, None),
            Target::Classes { codes, classes } => PriorModel::shares(codes, classes.len(), None),
        };
        let model = trained(schema, name, &target, Model::Prior(model));
        let answer = compare(&model, &table);
        let kinds = ["double", "float", "int64", "double", "string", "bool", "string", "int64", "double"];
        let inputs: Vec<Value> = FEATURES
            .iter()
            .zip(kinds)
            .map(|(name, kind)| json!([name, format!("tensor({kind})"), ["rows", 1]]))
            .collect();
        assert_eq!(answer["inputs"], json!(inputs));
        assert_eq!(answer["producer"], "tidemill");
        assert_eq!(answer["meta"]["tidemill.target"], name);
        assert_eq!(answer["meta"]["tidemill.columns"], json!(FEATURES).to_string());
        let classes = answer["meta"].get("tidemill.classes").and_then(Value::as_str);
        let (names, types, expected) = match name {
            "target" => (json!(["variable"]), json!(["tensor(float)"]), None),
            "two" => (
                json!(["label_", "probabilities"]),
                json!(["tensor(bool)", "tensor(float)"]),
                Some("[false,true]"),
            ),
            "three" => (
                json!(["label_", "probabilities"]),
                json!(["tensor(string)", "tensor(float)"]),
                Some(r#"["høy","low","mid"]"#),
            ),
            _ => (
                json!(["label_", "probabilities"]),
                json!(["tensor(int64)", "tensor(float)"]),
                Some("[0,10,20,30]"),
            ),
        };
        assert_eq!((&answer["names"], &answer["types"], classes), (&names, &types, expected));
    }
}

#[test]
fn thresholds_hold_for_the_nearest_doubles() {
    // Values whose 32-bit roundings coincide or are neighbours: both sides must see them alike.
    let base = [0.1, 1.0 / 3.0, 1e-40, 16_777_217.0, 1e300, -0.0, f64::INFINITY, f64::NEG_INFINITY];
    let values: Vec<f64> =
        base.iter().flat_map(|&x| [x, x.next_up(), x.next_down(), x * (1.0 + 6e-8)]).collect();
    let x: Vec<f64> =
        values.iter().copied().cycle().take(values.len() * 20).filter(|x| !x.is_nan()).collect();
    let y: Vec<f64> = (0..x.len()).map(|row| (row % 7) as f64).collect();
    let columns: Vec<(&str, ArrayRef)> =
        vec![("x", Arc::new(Float64Array::from(x))), ("y", Arc::new(Float64Array::from(y)))];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let table = Table::new(batch.schema(), vec![batch]).unwrap();
    let schema =
        FrameSchema::learn(&table, None, Selection { without: &["y"], ..Selection::default() }).unwrap();
    let target = table.target("y", TaskKind::Regression).unwrap();
    let frame = schema.frame(&table).unwrap();
    let params = GbdtParams { min_rows_per_leaf: 1, ..GbdtParams::default() };
    let fitted =
        train(Sample { frame: &frame, target: &target, weights: None }, None, &params, 1, &Quiet).unwrap();
    let model = trained(schema, "y", &target, Model::Gbdt(fitted.model));
    let blob = to_onnx(&model).unwrap();
    let hex: String = blob.iter().map(|byte| format!("{byte:02X}")).collect();
    let texts: Vec<String> =
        table.numbers("x", "feature").unwrap().iter().map(|x| format!("{x:e}")).collect();
    let script = RUN.replace("v = data['inputs'][name]", "v = [float(x) for x in data['inputs'][name]]");
    let answer = python(&script, &json!({"model": hex, "inputs": {"x": texts}}));
    let ours = model.scores(&table).unwrap();
    for (row, theirs) in answer["values"]["variable"].as_array().unwrap().iter().enumerate() {
        assert_eq!(theirs[0].as_f64().unwrap() as f32, ours.values[row] as f32);
    }
}
