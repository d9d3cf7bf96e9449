//! An answer over HTTP: JSON, and the bytes of the outputs that were asked for as bytes.

use super::request::Wishes;
use super::{binary, datatype, values};
use crate::{InferError, Response};

/// A body and, where bytes follow it, the length of its JSON.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) body: Vec<u8>,
    pub(super) json_length: Option<usize>,
}

/// Writes an answer as the request wishes it.
pub(super) fn encode(response: &Response, wishes: &Wishes) -> Result<Encoded, InferError> {
    let mut out = Vec::with_capacity(256 + response.outputs.len() * 64);
    let mut bytes = Vec::new();
    let mut any_binary = false;
    field(&mut out, b'{', "model_name", &response.model);
    field(&mut out, b',', "model_version", &response.version);
    field(&mut out, b',', "id", &response.id);
    notes(response, &mut out);
    out.extend_from_slice(b",\"outputs\":[");
    for (index, output) in response.outputs.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        field(&mut out, b'{', "name", &output.name);
        field(&mut out, b',', "datatype", datatype::name(output.tensor.element()));
        out.extend_from_slice(b",\"shape\":");
        values::write_sizes(output.tensor.shape(), &mut out);
        if wishes.is_binary(&output.name) {
            any_binary = true;
            let size = binary::size(output.tensor.values());
            out.extend_from_slice(format!(",\"parameters\":{{\"binary_data_size\":{size}}}}}").as_bytes());
            binary::write(output.tensor.values(), &mut bytes);
        } else {
            out.extend_from_slice(b",\"data\":");
            values::write(output.tensor.values(), &mut out).map_err(|values::NotText| {
                InferError::Invalid(format!(
                    "output `{}` has bytes that are not UTF-8, which JSON cannot carry; ask for it with `binary_data`",
                    output.name
                ))
            })?;
            out.push(b'}');
        }
    }
    out.extend_from_slice(b"]}");
    let json_length = any_binary.then_some(out.len());
    out.append(&mut bytes);
    Ok(Encoded { body: out, json_length })
}

/// What is said beside the outputs: which arm answered, and warnings in one text, since parameters are no lists.
fn notes(response: &Response, out: &mut Vec<u8>) {
    let mut open = b'{';
    if response.arm.is_some() || !response.warnings.is_empty() {
        out.extend_from_slice(b",\"parameters\":");
        if let Some(arm) = &response.arm {
            field(out, open, "arm", arm);
            open = b',';
        }
        if !response.warnings.is_empty() {
            field(out, open, "warnings", &response.warnings.join("; "));
        }
        out.push(b'}');
    }
}

fn field(out: &mut Vec<u8>, before: u8, name: &str, value: &str) {
    out.push(before);
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    values::write_text(value, out);
}
