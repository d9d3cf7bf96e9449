//! `ModelInferRequest`, read from its bytes straight into typed tensors. Field numbers are those of
//! <https://github.com/triton-inference-server/common/blob/main/protobuf/grpc_service.proto>, which extends the
//! open protocol's.

use tidemill_runtime::{ElementType, Tensor, Values};

use super::wire::{Field, Fields, malformed, varints};
use crate::oip::datatype;
use crate::oip::request::{
    MOST_TENSORS, distinct, no_classification, no_shared_memory, product, raw, unknown_type,
};
use crate::oip::values::{MOST_DIMENSIONS, empty};
use crate::{InferError, Named, Request};

/// A request, and what it says about itself rather than to the model.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    pub(super) request: Request,
    /// How long the caller waits, µs.
    pub(super) timeout_us: Option<u64>,
    /// Whether an answer in a stream is marked as the last of its request.
    pub(super) marks_final: bool,
}

fn invalid(message: String) -> InferError {
    InferError::Invalid(message)
}

/// An input before its values are read.
struct Part<'a> {
    name: String,
    element: ElementType,
    shape: Vec<usize>,
    contents: Vec<&'a [u8]>,
}

pub(super) fn decode(message: &[u8]) -> Result<Decoded, InferError> {
    let mut decoded = Decoded::default();
    let mut parts = Vec::new();
    let mut raws = Vec::new();
    let mut fields = Fields::of(message);
    while let Some((number, field)) = fields.next()? {
        let request = &mut decoded.request;
        match number {
            1 => field.text()?.clone_into(&mut request.model),
            2 => request.version = Some(field.text()?.to_owned()).filter(|version| !version.is_empty()),
            3 => request.id = Some(field.text()?.to_owned()).filter(|id| !id.is_empty()),
            4 => match parameter(field)? {
                ("timeout", Parameter::Whole(timeout)) => {
                    decoded.timeout_us = Some(timeout).filter(|timeout| *timeout > 0);
                }
                ("triton_enable_empty_final_response", Parameter::Flag(flag)) => decoded.marks_final = flag,
                ("timeout", _) => {
                    return Err(invalid("parameter `timeout` must be a whole number".to_owned()));
                }
                _ => {}
            },
            5 => parts.push(part(field.bytes()?)?),
            6 => request.outputs.push(requested(field.bytes()?)?),
            7 => raws.push(field.bytes()?),
            _ => {}
        }
        if parts.len().max(raws.len()).max(decoded.request.outputs.len()) > MOST_TENSORS {
            return Err(invalid(format!("the request has more than {MOST_TENSORS} tensors")));
        }
    }
    decoded.request.inputs = tensors(parts, &raws)?;
    Ok(decoded)
}

/// The value of a parameter, as far as one is looked at.
enum Parameter {
    Flag(bool),
    Whole(u64),
    Other,
}

/// An entry of a map of parameters.
fn parameter(field: Field<'_>) -> Result<(&str, Parameter), InferError> {
    let mut name = "";
    let mut value = Parameter::Other;
    let mut entry = Fields::of(field.bytes()?);
    while let Some((number, field)) = entry.next()? {
        match number {
            1 => name = field.text()?,
            2 => {
                let mut choice = Fields::of(field.bytes()?);
                while let Some((number, field)) = choice.next()? {
                    value = match number {
                        1 => Parameter::Flag(field.number()? != 0),
                        // Negative ones are beyond what is signed.
                        2 => u64::try_from(field.number()?.cast_signed())
                            .map_or(Parameter::Other, Parameter::Whole),
                        5 => Parameter::Whole(field.number()?),
                        _ => Parameter::Other,
                    };
                }
            }
            _ => {}
        }
    }
    Ok((name, value))
}

fn requested(message: &[u8]) -> Result<String, InferError> {
    let mut name = "";
    let (mut classes, mut shared) = (false, false);
    let mut fields = Fields::of(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => name = field.text()?,
            2 => match parameter(field)? {
                ("classification", value) => classes = !matches!(value, Parameter::Whole(0)),
                ("shared_memory_region", _) => shared = true,
                _ => {}
            },
            _ => {}
        }
    }
    if shared {
        return Err(no_shared_memory("output", name));
    }
    if classes {
        return Err(no_classification(name));
    }
    Ok(name.to_owned())
}

fn part(message: &[u8]) -> Result<Part<'_>, InferError> {
    let mut name = "";
    let mut datatype = "";
    let mut shape = Vec::new();
    let mut contents = Vec::new();
    let mut shared = false;
    let mut fields = Fields::of(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => name = field.text()?,
            2 => datatype = field.text()?,
            3 => varints(field, |size| {
                let size = usize::try_from(size.cast_signed());
                shape.push(size.map_err(|_| invalid("a size of a shape must be 0 or more".to_owned()))?);
                if shape.len() > MOST_DIMENSIONS {
                    return Err(invalid(format!("a shape may have {MOST_DIMENSIONS} dimensions")));
                }
                Ok(())
            })?,
            4 => shared |= parameter(field)?.0 == "shared_memory_region",
            5 => contents.push(field.bytes()?),
            _ => {}
        }
    }
    if shared {
        return Err(no_shared_memory("input", name));
    }
    let element = datatype::element(datatype).ok_or_else(|| unknown_type(datatype))?;
    Ok(Part { name: name.to_owned(), element, shape, contents })
}

fn tensors(parts: Vec<Part<'_>>, raws: &[&[u8]]) -> Result<Vec<Named>, InferError> {
    if !raws.is_empty() && raws.len() != parts.len() {
        return Err(invalid(format!(
            "the request has {} inputs and {} `raw_input_contents`; there must be one for each, or none",
            parts.len(),
            raws.len()
        )));
    }
    let mut inputs = Vec::with_capacity(parts.len());
    for (index, part) in parts.into_iter().enumerate() {
        let tensor = match raws.get(index) {
            Some(_) if !part.contents.iter().all(|contents| contents.is_empty()) => {
                return Err(invalid(format!(
                    "input `{}` has `contents`, and the request `raw_input_contents`; only one may be there",
                    part.name
                )));
            }
            Some(bytes) => raw(&part.name, part.shape, part.element, bytes)?,
            None => typed(&part)?,
        };
        inputs.push(Named { name: part.name, tensor });
    }
    distinct(&inputs)?;
    Ok(inputs)
}

/// A tensor of `InferTensorContents`.
fn typed(part: &Part<'_>) -> Result<Tensor, InferError> {
    let most = product(&part.shape)?;
    let mut values = empty(part.element);
    for contents in &part.contents {
        let mut fields = Fields::of(contents);
        while let Some((number, field)) = fields.next()? {
            append(&mut values, part, number, field)?;
            if values.len() > most {
                break;
            }
        }
    }
    Tensor::new(part.shape.clone(), values)
        .map_err(|error| invalid(format!("input `{}`: {error}", part.name)))
}

/// Appends the values of one field of `InferTensorContents`, which must be the one of the input's type.
fn append(values: &mut Values, part: &Part<'_>, number: u32, field: Field<'_>) -> Result<(), InferError> {
    let beyond = || {
        let kind = datatype::name(part.element);
        invalid(format!("input `{}` has a value that {kind} does not have", part.name))
    };
    macro_rules! narrow {
        ($vector:expr, $signed:ty) => {
            varints(field, |value| {
                // 32-bit fields are written sign-extended and cut when they are read.
                let value = value as $signed;
                $vector.push(value.try_into().map_err(|_| beyond())?);
                Ok(())
            })
        };
    }
    match (values, number) {
        (Values::Bool(vector), 1) => varints(field, |value| {
            vector.push(value != 0);
            Ok(())
        }),
        (Values::I8(vector), 2) => narrow!(vector, i32),
        (Values::I16(vector), 2) => narrow!(vector, i32),
        (Values::I32(vector), 2) => narrow!(vector, i32),
        (Values::I64(vector), 3) => narrow!(vector, i64),
        (Values::U8(vector), 4) => narrow!(vector, u32),
        (Values::U16(vector), 4) => narrow!(vector, u32),
        (Values::U32(vector), 4) => narrow!(vector, u32),
        (Values::U64(vector), 5) => narrow!(vector, u64),
        (Values::F32(vector), 6) => match field {
            Field::Fixed32(bytes) => {
                vector.push(f32::from_le_bytes(bytes));
                Ok(())
            }
            packed => {
                let (chunks, rest) = packed.bytes()?.as_chunks::<4>();
                vector.extend(chunks.iter().map(|bytes| f32::from_le_bytes(*bytes)));
                if rest.is_empty() { Ok(()) } else { Err(malformed("a number is cut off")) }
            }
        },
        (Values::F64(vector), 7) => match field {
            Field::Fixed64(bytes) => {
                vector.push(f64::from_le_bytes(bytes));
                Ok(())
            }
            packed => {
                let (chunks, rest) = packed.bytes()?.as_chunks::<8>();
                vector.extend(chunks.iter().map(|bytes| f64::from_le_bytes(*bytes)));
                if rest.is_empty() { Ok(()) } else { Err(malformed("a number is cut off")) }
            }
        },
        (Values::Bytes(vector), 8) => {
            vector.push(field.bytes()?.to_vec());
            Ok(())
        }
        (_, 1..=8) => Err(invalid(format!(
            "input `{}` is {} and its `contents` are in another type's field{}",
            part.name,
            datatype::name(part.element),
            if matches!(part.element, ElementType::F16 | ElementType::Bf16) {
                "; this type goes into `raw_input_contents`"
            } else {
                ""
            }
        ))),
        _ => Ok(()),
    }
}
