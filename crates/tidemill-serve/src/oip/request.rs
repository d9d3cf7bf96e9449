//! An inference request over HTTP: JSON, and the bytes of tensors behind it.

use std::collections::HashSet;

use tidemill_runtime::{Dim, ElementType, Tensor};

use super::json::{JsonError, Kind, Number, Reader};
use super::values::{self, MOST_DIMENSIONS};
use super::{binary, datatype};
use crate::{InferError, ModelMetadata, Named, Request};

/// How many inputs, and how many requested outputs, a request may name.
pub(super) const MOST_TENSORS: usize = 4_096;

/// What a request says about itself rather than to the model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    /// Whether outputs come as bytes where the request does not say otherwise.
    pub(super) binary: bool,
    /// What the request says of single outputs.
    pub(super) outputs: Vec<(String, Option<bool>)>,
    /// How long the caller waits, µs.
    pub(super) timeout_us: Option<u64>,
    /// When what the request is about happened, as RFC 3339.
    pub(super) event_time: Option<String>,
}

impl Wishes {
    /// Whether an output goes out as bytes.
    pub(super) fn is_binary(&self, output: &str) -> bool {
        let said = self.outputs.iter().find(|(name, _)| name == output).and_then(|(_, binary)| *binary);
        said.unwrap_or(self.binary)
    }
}

impl From<JsonError> for InferError {
    fn from(error: JsonError) -> Self {
        Self::Invalid(format!("the request cannot be read: {error}"))
    }
}

fn invalid(message: impl Into<String>) -> InferError {
    InferError::Invalid(message.into())
}

/// Reads a request. The JSON takes `json_length` bytes, the whole body where that is not said.
pub(super) fn decode(body: &[u8], json_length: Option<usize>) -> Result<(Request, Wishes), InferError> {
    let length = json_length.unwrap_or(body.len());
    let Some((json, bytes)) = body.split_at_checked(length) else {
        let has = body.len();
        return Err(invalid(format!(
            "`Inference-Header-Content-Length` says {length} and the body has {has} bytes"
        )));
    };
    let mut reader = Reader::new(json);
    let mut request = Request::default();
    let mut wishes = Wishes::default();
    let mut parts = Vec::new();
    let mut has_inputs = false;
    reader.object(|reader, key| {
        match key {
            // An empty one names no request.
            "id" => request.id = Some(id(reader)?).filter(|id| !id.is_empty()),
            "parameters" => parameters(reader, |name, value| {
                match name {
                    "binary_data_output" => wishes.binary = value.flag(name)?,
                    "event_time" => wishes.event_time = Some(value.time(name)?),
                    "timeout" => wishes.timeout_us = value.whole(name)?.filter(|timeout| *timeout > 0),
                    _ => {}
                }
                Ok(())
            })?,
            "inputs" => {
                has_inputs = true;
                parts = list(reader, "inputs", part)?;
            }
            "outputs" => wishes.outputs = list(reader, "outputs", requested)?,
            _ => reader.pass()?,
        }
        Ok::<_, InferError>(())
    })?;
    reader.end()?;
    if !has_inputs {
        return Err(invalid("the request has no `inputs`"));
    }
    request.inputs = tensors(parts, bytes)?;
    request.outputs = wishes.outputs.iter().map(|(name, _)| name.clone()).collect();
    Ok((request, wishes))
}

fn id(reader: &mut Reader<'_>) -> Result<String, InferError> {
    // Numbers are not what the protocol says, and some clients send them.
    match reader.kind()? {
        Kind::Number => match reader.number()? {
            Number::Integer(digits) => Ok(digits.to_owned()),
            Number::Real(_) | Number::Special(_) => Err(invalid("`id` must be a string")),
        },
        _ => Ok(reader.text()?.into_owned()),
    }
}

fn list<T>(
    reader: &mut Reader<'_>,
    what: &str,
    item: fn(&mut Reader<'_>) -> Result<T, InferError>,
) -> Result<Vec<T>, InferError> {
    let mut items = Vec::new();
    let mut more = reader.array()?;
    while more {
        if items.len() >= MOST_TENSORS {
            return Err(invalid(format!("`{what}` has more than {MOST_TENSORS} tensors")));
        }
        items.push(item(reader)?);
        more = reader.next()?;
    }
    Ok(items)
}

/// The value of a parameter, as far as one is looked at.
enum Parameter {
    Flag(bool),
    Whole(u64),
    Text(String),
    Other,
}

/// The longest text of a parameter that is looked at.
const LONGEST_TEXT: usize = 64;

impl Parameter {
    fn read(reader: &mut Reader<'_>) -> Result<Self, JsonError> {
        Ok(match reader.kind()? {
            Kind::Flag => Self::Flag(reader.flag()?),
            Kind::Number => match reader.number()? {
                Number::Integer(text) => text.parse().map_or(Self::Other, Self::Whole),
                Number::Real(_) | Number::Special(_) => Self::Other,
            },
            Kind::Text => {
                let text = reader.text()?;
                if text.len() <= LONGEST_TEXT { Self::Text(text.into_owned()) } else { Self::Other }
            }
            _ => {
                reader.skip()?;
                Self::Other
            }
        })
    }

    fn time(self, name: &str) -> Result<String, InferError> {
        match self {
            Self::Text(text) if tidemill_core::Timestamp::parse(&text).is_some() => Ok(text),
            _ => Err(invalid(format!("parameter `{name}` must be a time as in `2026-11-26T04:30:00Z`"))),
        }
    }

    fn flag(&self, name: &str) -> Result<bool, InferError> {
        match self {
            Self::Flag(flag) => Ok(*flag),
            _ => Err(invalid(format!("parameter `{name}` must be true or false"))),
        }
    }

    fn whole(&self, name: &str) -> Result<Option<u64>, InferError> {
        match self {
            Self::Whole(number) => Ok(Some(*number)),
            _ => Err(invalid(format!("parameter `{name}` must be a whole number"))),
        }
    }
}

fn parameters(
    reader: &mut Reader<'_>,
    mut each: impl FnMut(&str, Parameter) -> Result<(), InferError>,
) -> Result<(), InferError> {
    reader.object(|reader, name| {
        let value = Parameter::read(reader)?;
        each(name, value)
    })
}

/// What both transports answer to a region of shared memory.
pub(super) fn no_shared_memory(what: &str, name: &str) -> InferError {
    invalid(format!(
        "{what} `{name}` lies in shared memory, which this server does not have; send the values with the request"
    ))
}

/// What both transports answer to the classification extension.
pub(super) fn no_classification(name: &str) -> InferError {
    invalid(format!(
        "output `{name}`: the classification extension is not available; ask for the output itself and rank its values"
    ))
}

/// One of the requested outputs.
fn requested(reader: &mut Reader<'_>) -> Result<(String, Option<bool>), InferError> {
    let mut name = None;
    let mut binary = None;
    let (mut classes, mut shared) = (false, false);
    reader.object(|reader, key| {
        match key {
            "name" => name = Some(reader.text()?.into_owned()),
            "parameters" => parameters(reader, |name, value| {
                match name {
                    "binary_data" => binary = Some(value.flag(name)?),
                    "classification" => classes = !matches!(value, Parameter::Whole(0)),
                    "shared_memory_region" => shared = true,
                    _ => {}
                }
                Ok(())
            })?,
            _ => reader.pass()?,
        }
        Ok::<_, InferError>(())
    })?;
    let name = name.ok_or_else(|| invalid("an output of the request has no `name`"))?;
    if shared {
        return Err(no_shared_memory("output", &name));
    }
    if classes {
        return Err(no_classification(&name));
    }
    Ok((name, binary))
}

/// An input as far as its JSON says it.
struct Part {
    name: String,
    shape: Vec<usize>,
    element: ElementType,
    given: Given,
}

/// Where an input's values are.
enum Given {
    /// In the JSON.
    Here(Tensor),
    /// Behind it, so many bytes.
    Behind(usize),
}

fn part(reader: &mut Reader<'_>) -> Result<Part, InferError> {
    let mut name = None;
    let mut shape: Option<Vec<usize>> = None;
    let mut element = None;
    let mut data = None;
    let mut later = None;
    let mut behind = None;
    let mut shared = false;
    reader.object(|reader, key| {
        match key {
            "name" => name = Some(reader.text()?.into_owned()),
            "shape" => shape = Some(sizes(reader)?),
            "datatype" => {
                let text = reader.text()?;
                let known = datatype::element(&text).ok_or_else(|| unknown_type(&text))?;
                element = Some(known);
            }
            "parameters" => parameters(reader, |name, value| {
                match name {
                    "binary_data_size" => behind = value.whole(name)?,
                    "shared_memory_region" => shared = true,
                    _ => {}
                }
                Ok(())
            })?,
            // The usual order of the fields lets the values be read as they are passed.
            "data" => match (element, &shape) {
                (Some(element), Some(shape)) => {
                    let read = values::read(reader, element, product(shape)?);
                    data = Some(read.map_err(|error| unreadable(name.as_deref(), &error))?);
                }
                _ => later = Some(reader.skip()?),
            },
            _ => reader.pass()?,
        }
        Ok::<_, InferError>(())
    })?;
    let name = name.ok_or_else(|| invalid("an input of the request has no `name`"))?;
    if shared {
        return Err(no_shared_memory("input", &name));
    }
    let mut shape = shape.ok_or_else(|| invalid(format!("input `{name}` has no `shape`")))?;
    let element = element.ok_or_else(|| invalid(format!("input `{name}` has no `datatype`")))?;
    if let Some(place) = later {
        let read = values::read(&mut reader.at(place), element, product(&shape)?);
        data = Some(read.map_err(|error| unreadable(Some(&name), &error))?);
    }
    let given = match (data, behind) {
        (Some((values, levels)), None) => {
            // A flat list, or one array a dimension. Anything else is a mistake that would move values around.
            if levels.len() != 1 && levels != shape {
                return Err(invalid(format!(
                    "input `{name}` has the shape {shape:?} and its `data` {levels:?}"
                )));
            }
            // Only bytes behind the JSON still need the shape.
            let tensor = Tensor::new(std::mem::take(&mut shape), values);
            Given::Here(tensor.map_err(|error| invalid(format!("input `{name}`: {error}")))?)
        }
        (None, Some(size)) => Given::Behind(usize::try_from(size).unwrap_or(usize::MAX)),
        (Some(_), Some(_)) => {
            return Err(invalid(format!("input `{name}` has both `data` and `binary_data_size`")));
        }
        (None, None) => {
            return Err(invalid(format!("input `{name}` has neither `data` nor `binary_data_size`")));
        }
    };
    Ok(Part { name, shape, element, given })
}

fn unreadable(input: Option<&str>, error: &JsonError) -> InferError {
    match input {
        Some(input) => invalid(format!("input `{input}`: {error}")),
        None => invalid(format!("an input of the request: {error}")),
    }
}

/// What both transports answer to a type that there is not.
pub(super) fn unknown_type(name: &str) -> InferError {
    let shown: String = name.chars().take(40).collect();
    invalid(format!(
        "there is no datatype `{shown}`; there are BOOL, UINT8 to UINT64, INT8 to INT64, FP16, BF16, FP32, FP64 and BYTES"
    ))
}

fn sizes(reader: &mut Reader<'_>) -> Result<Vec<usize>, InferError> {
    let mut sizes = Vec::new();
    let mut more = reader.array()?;
    while more {
        let size = match reader.number()? {
            Number::Integer(text) => text.parse::<usize>().ok(),
            Number::Real(_) | Number::Special(_) => None,
        };
        sizes
            .push(size.ok_or_else(|| reader.error("a size of a shape must be a whole number of 0 or more"))?);
        if sizes.len() > MOST_DIMENSIONS {
            return Err(invalid(format!("a shape may have {MOST_DIMENSIONS} dimensions")));
        }
        more = reader.next()?;
    }
    Ok(sizes)
}

/// How many values a shape has.
pub(super) fn product(shape: &[usize]) -> Result<usize, InferError> {
    let product = shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size));
    product.ok_or_else(|| invalid(format!("the shape {shape:?} is too large")))
}

fn tensors(parts: Vec<Part>, mut bytes: &[u8]) -> Result<Vec<Named>, InferError> {
    let mut inputs = Vec::with_capacity(parts.len());
    for Part { name, shape, element, given } in parts {
        let tensor = match given {
            Given::Here(tensor) => tensor,
            Given::Behind(size) => {
                let Some((own, rest)) = bytes.split_at_checked(size) else {
                    let left = bytes.len();
                    return Err(invalid(format!(
                        "input `{name}` takes {size} bytes and {left} are left in the body"
                    )));
                };
                bytes = rest;
                raw(&name, shape, element, own)?
            }
        };
        inputs.push(Named { name, tensor });
    }
    if !bytes.is_empty() {
        return Err(invalid(format!("{} bytes of the body belong to no input", bytes.len())));
    }
    distinct(&inputs)?;
    Ok(inputs)
}

/// A tensor of raw bytes.
pub(super) fn raw(
    name: &str,
    shape: Vec<usize>,
    element: ElementType,
    bytes: &[u8],
) -> Result<Tensor, InferError> {
    let values = binary::read(bytes, element, product(&shape)?)
        .map_err(|why| invalid(format!("input `{name}` with the shape {shape:?}: {why}")))?;
    Tensor::new(shape, values).map_err(|error| invalid(format!("input `{name}`: {error}")))
}

/// Refuses two inputs of one name.
pub(super) fn distinct(inputs: &[Named]) -> Result<(), InferError> {
    let twice = |name: &str| invalid(format!("input `{name}` is given twice"));
    if inputs.len() <= 8 {
        for (index, input) in inputs.iter().enumerate() {
            if inputs.iter().take(index).any(|earlier| earlier.name == input.name) {
                return Err(twice(&input.name));
            }
        }
        return Ok(());
    }
    let mut names = HashSet::with_capacity(inputs.len());
    match inputs.iter().find(|input| !names.insert(input.name.as_str())) {
        Some(input) => Err(twice(&input.name)),
        None => Ok(()),
    }
}

/// A body that is the bytes of a model's one input and nothing else ("raw binary request"). One dimension may be
/// open; it follows from the number of bytes.
pub(super) fn bare(body: &[u8], metadata: &ModelMetadata) -> Result<Vec<Named>, InferError> {
    let [slot] = metadata.inputs.as_slice() else {
        return Err(invalid(format!(
            "a body without JSON needs a model of one input, and `{}` has {}",
            metadata.name,
            metadata.inputs.len()
        )));
    };
    let unclear = || {
        invalid(format!(
            "the shape of input `{}` does not follow from {} bytes; send JSON with its `shape`",
            slot.name,
            body.len()
        ))
    };
    let size = slot.element.size().ok_or_else(unclear)?;
    let mut known = size;
    let mut open = 0;
    for dim in &slot.shape {
        match dim {
            Dim::Fixed(size) => known = known.checked_mul(*size).ok_or_else(unclear)?,
            Dim::Any(_) => open += 1,
        }
    }
    if open > 1 || known == 0 || !body.len().is_multiple_of(known) {
        return Err(unclear());
    }
    let shape = slot.shape.iter().map(|dim| match dim {
        Dim::Fixed(size) => *size,
        Dim::Any(_) => body.len() / known,
    });
    let shape: Vec<usize> = shape.collect();
    let tensor = raw(&slot.name, shape, slot.element, body)?;
    Ok(vec![Named { name: slot.name.clone(), tensor }])
}
