//! Tensors as `tests/python/suite.py` writes them.

use serde_json::Value;
use tidemill_runtime::{Tensor, Values};

/// Reads a tensor: texts, or the hexadecimal digits of the numbers' bytes.
pub(crate) fn decode(value: &Value) -> Tensor {
    let shape: Vec<usize> =
        value["shape"].as_array().unwrap().iter().map(|size| size.as_u64().unwrap() as usize).collect();
    let kind = value["type"].as_str().unwrap();
    if kind == "string" {
        let texts = value["texts"].as_array().unwrap();
        let texts = texts.iter().map(|text| text.as_str().unwrap().as_bytes().to_vec()).collect();
        return Tensor::new(shape, Values::Bytes(texts)).unwrap();
    }
    let hex = value["hex"].as_str().unwrap().as_bytes();
    let digit = |digit: u8| (digit as char).to_digit(16).unwrap() as u8;
    let bytes: Vec<u8> = hex.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect();
    macro_rules! numbers {
        ($number:ty) => {
            bytes
                .chunks(size_of::<$number>())
                .map(|bytes| <$number>::from_le_bytes(bytes.try_into().unwrap()))
                .collect()
        };
    }
    let values = match kind {
        "float32" => Values::F32(numbers!(f32)),
        "float64" => Values::F64(numbers!(f64)),
        "int64" => Values::I64(numbers!(i64)),
        "int32" => Values::I32(numbers!(i32)),
        "uint8" => Values::U8(bytes),
        "bool" => Values::Bool(bytes.iter().map(|byte| *byte != 0).collect()),
        other => panic!("type {other}"),
    };
    Tensor::new(shape, values).unwrap()
}
