//! Tensors that stand in a file.

use half::{bf16, f16};

use super::proto::TensorProto;
use crate::{ElementType, Tensor, Values};

/// `TensorProto.DataLocation.EXTERNAL`.
const EXTERNAL: i32 = 1;
/// The largest product of a shape's sizes, zeros left out: an empty tensor must not become a huge one.
const MAX_SPAN: usize = 1 << 31;

/// Our type for a number of `TensorProto.DataType`.
pub(crate) fn element_type(number: i32) -> Option<ElementType> {
    Some(match number {
        1 => ElementType::F32,
        2 => ElementType::U8,
        3 => ElementType::I8,
        4 => ElementType::U16,
        5 => ElementType::I16,
        6 => ElementType::I32,
        7 => ElementType::I64,
        8 => ElementType::Bytes,
        9 => ElementType::Bool,
        10 => ElementType::F16,
        11 => ElementType::F64,
        12 => ElementType::U32,
        13 => ElementType::U64,
        16 => ElementType::Bf16,
        _ => return None,
    })
}

/// Reads a tensor. What it takes is bounded by the bytes of the file: a shape without its values is refused before
/// anything is reserved for it.
pub(crate) fn tensor(proto: TensorProto) -> Result<Tensor, String> {
    if !proto.external_data.is_empty() || proto.data_location == Some(EXTERNAL) {
        return Err("its values are in another file; save the model as one file".to_owned());
    }
    let number = proto.data_type.unwrap_or_default();
    let Some(element) = element_type(number) else {
        return Err(format!("elements of ONNX type {number} are not supported"));
    };
    let shape = proto
        .dims
        .iter()
        .map(|dim| usize::try_from(*dim).map_err(|_| format!("a dimension of {dim}")))
        .collect::<Result<Vec<usize>, String>>()?;
    let values = match proto.raw_data {
        Some(raw) if !raw.is_empty() => raw_values(element, &raw)?,
        _ => typed_values(
            element,
            proto.float_data,
            proto.int32_data,
            proto.int64_data,
            proto.double_data,
            proto.uint64_data,
            proto.string_data,
        ),
    };
    if shape
        .iter()
        .try_fold(1_usize, |product, size| product.checked_mul((*size).max(1)))
        .is_none_or(|n| n > MAX_SPAN)
    {
        return Err(format!("shape {shape:?} is too large"));
    }
    Tensor::new(shape, values).map_err(|error| error.to_string())
}

/// Little-endian values one after another.
fn raw_values(element: ElementType, raw: &[u8]) -> Result<Values, String> {
    macro_rules! numbers {
        ($kind:ident, $number:ty) => {{
            const SIZE: usize = size_of::<$number>();
            let (chunks, rest) = raw.as_chunks::<SIZE>();
            if !rest.is_empty() {
                return Err(format!("{} bytes are no whole number of {element} values", raw.len()));
            }
            Values::$kind(chunks.iter().map(|bytes| <$number>::from_le_bytes(*bytes)).collect())
        }};
    }
    Ok(match element {
        ElementType::Bool => Values::Bool(raw.iter().map(|byte| *byte != 0).collect()),
        ElementType::U8 => Values::U8(raw.to_vec()),
        ElementType::U16 => numbers!(U16, u16),
        ElementType::U32 => numbers!(U32, u32),
        ElementType::U64 => numbers!(U64, u64),
        ElementType::I8 => numbers!(I8, i8),
        ElementType::I16 => numbers!(I16, i16),
        ElementType::I32 => numbers!(I32, i32),
        ElementType::I64 => numbers!(I64, i64),
        ElementType::F16 => numbers!(F16, f16),
        ElementType::Bf16 => numbers!(Bf16, bf16),
        ElementType::F32 => numbers!(F32, f32),
        ElementType::F64 => numbers!(F64, f64),
        ElementType::Bytes => return Err("strings as raw data".to_owned()),
    })
}

/// Values in the fields that protobuf types: small types travel as 32-bit integers.
fn typed_values(
    element: ElementType,
    floats: Vec<f32>,
    ints: Vec<i32>,
    longs: Vec<i64>,
    doubles: Vec<f64>,
    unsigned: Vec<u64>,
    strings: Vec<Vec<u8>>,
) -> Values {
    match element {
        ElementType::Bool => Values::Bool(ints.into_iter().map(|value| value != 0).collect()),
        ElementType::U8 => Values::U8(ints.into_iter().map(|value| value as u8).collect()),
        ElementType::U16 => Values::U16(ints.into_iter().map(|value| value as u16).collect()),
        ElementType::I8 => Values::I8(ints.into_iter().map(|value| value as i8).collect()),
        ElementType::I16 => Values::I16(ints.into_iter().map(|value| value as i16).collect()),
        ElementType::I32 => Values::I32(ints),
        ElementType::F16 => Values::F16(ints.into_iter().map(|bits| f16::from_bits(bits as u16)).collect()),
        ElementType::Bf16 => {
            Values::Bf16(ints.into_iter().map(|bits| bf16::from_bits(bits as u16)).collect())
        }
        ElementType::U32 => Values::U32(unsigned.into_iter().map(|value| value as u32).collect()),
        ElementType::U64 => Values::U64(unsigned),
        ElementType::I64 => Values::I64(longs),
        ElementType::F32 => Values::F32(floats),
        ElementType::F64 => Values::F64(doubles),
        ElementType::Bytes => Values::Bytes(strings),
    }
}
