//! Trained models as ONNX, with the pre-processing inside the graph.
//!
//! One input for each feature column, named as the column, of shape rows × 1 and of the type that the table had:
//! `bool`, `int64`, `float`, `double` or `string`. A column of booleans or whole numbers with missing values in
//! training is `double`. Missing is NaN, or the empty string. Regression gives `variable`, rows × 1 `float`;
//! classification gives `label`, rows, of the target's type, and `probabilities`, rows × classes `float`. A trailing
//! underscore is added where a column has the output's name.
//!
//! Only operators of opset 17 and of `ai.onnx.ml` 3 that most runtimes have. Answers equal the trainer's to 1e-6,
//! relative where larger than 1: trees compare 32-bit floats there as here, and their leaves are such that 32-bit
//! sums are exact; linear models run in double precision.

mod columns;
mod graph;
mod linear;
mod proto;
mod trees;

use prost::Message;

use crate::frame::ClassLabel;
use crate::model::{Model, TrainedModel};
use crate::{Error, Result};
use graph::{Attribute, Constant, Graph, ML};
use proto::{DataType, ModelProto, OperatorSetIdProto, StringStringEntryProto};

/// Version of the file format: ONNX 1.10 and later read it.
const IR_VERSION: i64 = 8;

/// Versions of the operator sets.
const OPSETS: [(&str, i64); 2] = [("", 17), (ML, 3)];

/// The model as the bytes of an ONNX file.
///
/// The file's metadata holds `tidemill.target`, `tidemill.columns` and `tidemill.classes`, the latter two as JSON
/// lists, the columns in the order in which the model was trained on them.
pub fn to_onnx(model: &TrainedModel) -> Result<Vec<u8>> {
    let mut graph = Graph::new("tidemill");
    for column in &model.schema.columns {
        graph.input(&column.name, columns::data_type(column.source));
    }
    let Some(first) = model.schema.columns.first().map(|column| column.name.clone()) else {
        return Err(Error::Export("it has no columns".into()));
    };
    let answers = answers(&mut graph, model, &first)?;
    match &model.classes {
        None => {
            graph.output("variable", &answers, DataType::Float, &[None, Some(1)]);
        }
        Some(classes) => {
            let attributes = vec![("axis", Attribute::Int(1)), ("keepdims", Attribute::Int(0))];
            let best = graph.node("ArgMax", &[&answers], attributes);
            let (names, kind) = class_names(&mut graph, classes)?;
            let label = graph.node("Gather", &[&names, &best], vec![("axis", Attribute::Int(0))]);
            graph.output("label", &label, kind, &[None]);
            let dims = [None, Some(classes.len() as i64)];
            graph.output("probabilities", &answers, DataType::Float, &dims);
        }
    }
    let opset = |(domain, version): (&str, i64)| OperatorSetIdProto {
        domain: Some(domain.into()),
        version: Some(version),
    };
    let proto = ModelProto {
        ir_version: Some(IR_VERSION),
        producer_name: Some("tidemill".into()),
        producer_version: Some(env!("CARGO_PKG_VERSION").into()),
        doc_string: None,
        graph: Some(graph.finish()),
        opset_import: OPSETS.map(opset).to_vec(),
        metadata_props: metadata(model)?,
    };
    Ok(proto.encode_to_vec())
}

/// The answers, rows × width, 32-bit.
fn answers(graph: &mut Graph, model: &TrainedModel, first: &str) -> Result<String> {
    let (raw, kind, outputs) = match &model.model {
        Model::Gbdt(gbdt) => {
            (trees::raw_scores(graph, &model.schema, gbdt, first)?, DataType::Float, gbdt.outputs())
        }
        Model::Linear(linear) => {
            (linear::raw_scores(graph, &model.schema, linear, first)?, DataType::Double, linear.outputs())
        }
        Model::Prior(prior) => {
            let answer: Vec<f32> = prior.answer().iter().map(|&value| value as f32).collect();
            return Ok(repeat(graph, Constant::Float(&answer), answer.len() as i64, first));
        }
    };
    let answers = match (&model.classes, outputs) {
        (None, _) => raw,
        (Some(_), 1) => {
            let one = match kind {
                DataType::Float => graph.constant(&[1, 1], Constant::Float(&[1.0])),
                _ => graph.constant(&[1, 1], Constant::Double(&[1.0])),
            };
            let positive = graph.node("Sigmoid", &[&raw], vec![]);
            let negative = graph.node("Sub", &[&one, &positive], vec![]);
            graph.node("Concat", &[&negative, &positive], vec![("axis", Attribute::Int(1))])
        }
        (Some(_), _) => graph.node("Softmax", &[&raw], vec![("axis", Attribute::Int(1))]),
    };
    Ok(graph.cast(&answers, kind, DataType::Float))
}

/// A row of constants for each row of the input `first`.
fn repeat(graph: &mut Graph, values: Constant<'_>, width: i64, first: &str) -> String {
    let row = graph.constant(&[1, width], values);
    let shape = graph.node("Shape", &[first], vec![]);
    graph.node("Expand", &[&row, &shape], vec![])
}

fn class_names(graph: &mut Graph, classes: &[ClassLabel]) -> Result<(String, DataType)> {
    let dims = [classes.len() as i64];
    let mixed = || Error::Export("its classes are of several types".into());
    match classes.first() {
        Some(ClassLabel::Bool(_)) => {
            let values: Option<Vec<bool>> =
                classes.iter().map(|c| if let ClassLabel::Bool(b) = c { Some(*b) } else { None }).collect();
            Ok((graph.constant(&dims, Constant::Bool(&values.ok_or_else(mixed)?)), DataType::Bool))
        }
        Some(ClassLabel::Int(_)) => {
            let values: Option<Vec<i64>> =
                classes.iter().map(|c| if let ClassLabel::Int(i) = c { Some(*i) } else { None }).collect();
            Ok((graph.constant(&dims, Constant::Int(&values.ok_or_else(mixed)?)), DataType::Int64))
        }
        _ => {
            let values: Vec<String> = classes.iter().map(ToString::to_string).collect();
            Ok((graph.constant(&dims, Constant::Text(&values)), DataType::String))
        }
    }
}

fn metadata(model: &TrainedModel) -> Result<Vec<StringStringEntryProto>> {
    let json = |value: serde_json::Result<String>| value.map_err(|error| Error::Export(error.to_string()));
    let names: Vec<&str> = model.schema.columns.iter().map(|column| column.name.as_str()).collect();
    let entry = |key: &str, value| StringStringEntryProto {
        key: Some(format!("tidemill.{key}")),
        value: Some(value),
    };
    let mut entries =
        vec![entry("target", model.target.clone()), entry("columns", json(serde_json::to_string(&names))?)];
    if let Some(classes) = &model.classes {
        entries.push(entry("classes", json(serde_json::to_string(classes))?));
    }
    Ok(entries)
}
