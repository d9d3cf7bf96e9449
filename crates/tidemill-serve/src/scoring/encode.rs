//! Predictions as MLflow's scoring server gives them: a list of values or of lists, or a list of records.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tidemill_runtime::{Tensor, Values};

use super::{LAYOUT_PROPERTY, PREDICTION_PROPERTY};
use crate::gateway::decision::DECISION;
use crate::oip::values::{Element as _, NotText, write_text};
use crate::{InferError, ModelMetadata, Named, Response};

/// Writes an answer.
pub(super) fn encode(response: &Response, metadata: &ModelMetadata) -> Result<Vec<u8>, InferError> {
    let wanted = metadata.properties.get(PREDICTION_PROPERTY);
    // The decision of the release is no output of the model; it is here where the endpoint declares that it is told.
    let is_decision =
        |output: &Named| output.name == DECISION && metadata.outputs.iter().all(|slot| slot.name != DECISION);
    let is_wanted =
        |output: &&Named| is_decision(output) || wanted.is_none_or(|wanted| *wanted == output.name);
    let outputs: Vec<&Named> = response.outputs.iter().filter(is_wanted).collect();
    if outputs.is_empty() {
        return Err(InferError::Internal("the model gave no prediction".to_owned()));
    }
    let layout = metadata.properties.get(LAYOUT_PROPERTY).map(String::as_str);
    let records = layout.map_or(outputs.len() > 1, |layout| layout == "records")
        || outputs.iter().any(|output| is_decision(output));
    let mut out = b"{\"predictions\":".to_vec();
    match outputs.as_slice() {
        [output] if !records => nested(&output.tensor, &mut out),
        outputs => rows(outputs, &mut out)?,
    }
    out.push(b'}');
    Ok(out)
}

/// One object for each row.
fn rows(outputs: &[&Named], out: &mut Vec<u8>) -> Result<(), InferError> {
    let count = outputs.first().map_or(0, |output| output.tensor.rows());
    if let Some(other) = outputs.iter().find(|output| output.tensor.rows() != count) {
        return Err(InferError::Internal(format!(
            "output `{}` has {} rows and another {count}, so they are no records",
            other.name,
            other.tensor.rows()
        )));
    }
    out.push(b'[');
    for row in 0..count {
        if row > 0 {
            out.push(b',');
        }
        for (index, output) in outputs.iter().enumerate() {
            out.push(if index == 0 { b'{' } else { b',' });
            write_text(&output.name, out);
            out.push(b':');
            let length = output.tensor.row_len();
            let shape = output.tensor.shape().get(1..).unwrap_or_default();
            level(shape, output.tensor.values(), row * length, out);
        }
        out.push(b'}');
    }
    out.push(b']');
    Ok(())
}

/// A tensor as arrays of arrays; a scalar as itself.
fn nested(tensor: &Tensor, out: &mut Vec<u8>) {
    level(tensor.shape(), tensor.values(), 0, out);
}

/// The values from `begin` on in a shape.
fn level(shape: &[usize], values: &Values, begin: usize, out: &mut Vec<u8>) {
    let Some((size, inner)) = shape.split_first() else {
        value(values, begin, out);
        return;
    };
    let step: usize = inner.iter().product();
    out.push(b'[');
    for index in 0..*size {
        if index > 0 {
            out.push(b',');
        }
        level(inner, values, begin + index * step, out);
    }
    out.push(b']');
}

/// One value. Short floats are written as the double they are, as Python does.
fn value(values: &Values, at: usize, out: &mut Vec<u8>) {
    macro_rules! write {
        ($vector:expr) => {
            $vector.get(at).map_or(Ok(()), |value| value.write(out))
        };
        ($vector:expr, $wide:expr) => {
            $vector.get(at).map_or(Ok(()), |value| $wide(*value).write(out))
        };
    }
    let written = match values {
        Values::Bool(vector) => write!(vector),
        Values::U8(vector) => write!(vector),
        Values::U16(vector) => write!(vector),
        Values::U32(vector) => write!(vector),
        Values::U64(vector) => write!(vector),
        Values::I8(vector) => write!(vector),
        Values::I16(vector) => write!(vector),
        Values::I32(vector) => write!(vector),
        Values::I64(vector) => write!(vector),
        Values::F16(vector) => write!(vector, |value: half::f16| value.to_f64()),
        Values::Bf16(vector) => write!(vector, |value: half::bf16| value.to_f64()),
        Values::F32(vector) => write!(vector, |value: f32| f64::from(value)),
        Values::F64(vector) => write!(vector),
        Values::Bytes(vector) => write!(vector),
    };
    if let (Err(NotText), Values::Bytes(vector)) = (written, values) {
        // Bytes that are no text go out as MLflow encodes them.
        write_text(&STANDARD.encode(vector.get(at).map(Vec::as_slice).unwrap_or_default()), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_stands_beside_the_prediction_where_it_is_told() {
        let output = |name: &str, values| Named { name: name.to_owned(), tensor: Tensor::vector(values) };
        let of = |outputs: Vec<Named>| {
            let response = Response {
                model: "late".to_owned(),
                version: "1".to_owned(),
                id: "r".to_owned(),
                outputs,
                arm: None,
                warnings: Vec::new(),
            };
            let [metadata, ..] = crate::scoring::target::examples();
            let properties = [(PREDICTION_PROPERTY.to_owned(), "score".to_owned())].into();
            let body = encode(&response, &ModelMetadata { properties, ..metadata }).unwrap();
            String::from_utf8(body).unwrap()
        };
        let score = || output("score", Values::F64(vec![0.25, 0.75]));
        let label = || output("label", Values::I64(vec![0, 1]));
        assert_eq!(of(vec![score(), label()]), r#"{"predictions":[0.25,0.75]}"#);
        let decision = output(DECISION, Values::Bool(vec![false, true]));
        assert_eq!(
            of(vec![score(), label(), decision]),
            r#"{"predictions":[{"score":0.25,"decision":false},{"score":0.75,"decision":true}]}"#
        );
    }
}
