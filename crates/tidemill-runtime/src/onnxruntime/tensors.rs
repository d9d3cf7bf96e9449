//! Tensors to and from ONNX Runtime.

use ort::session::SessionInputValue;

use ort::value::{DynValue, Tensor as OrtTensor, TensorElementType, ValueType};

use crate::{RunError, Tensor, Values};

fn failed(error: ort::Error) -> RunError {
    RunError::Model(error.to_string())
}

/// A copy for ONNX Runtime.
pub(super) fn into_ort(tensor: &Tensor) -> Result<SessionInputValue<'static>, RunError> {
    let shape: Vec<i64> = tensor.shape().iter().map(|size| *size as i64).collect();
    macro_rules! each {
        ($($kind:ident),*) => {
            match tensor.values() {
                $(Values::$kind(values) => {
                    OrtTensor::from_array((shape, values.clone())).map_err(failed)?.into_dyn()
                })*
                Values::Bytes(texts) => {
                    let texts = texts
                        .iter()
                        .map(|text| String::from_utf8(text.clone()))
                        .collect::<Result<Vec<String>, _>>()
                        .map_err(|_| RunError::Model("a text that is not UTF-8".to_owned()))?;
                    OrtTensor::from_string_array((shape, texts.as_slice())).map_err(failed)?.into_dyn()
                }
            }
        };
    }
    let value = each!(Bool, U8, U16, U32, U64, I8, I16, I32, I64, F16, Bf16, F32, F64);
    Ok(value.into())
}

/// A copy of ONNX Runtime's.
pub(super) fn from_ort(value: &DynValue) -> Result<Tensor, RunError> {
    let ValueType::Tensor { ty, .. } = value.dtype() else {
        return Err(RunError::Model(format!("an output that is no tensor but {:?}", value.dtype())));
    };
    macro_rules! numbers {
        ($kind:ident, $number:ty) => {{
            let (shape, values) = value.try_extract_tensor::<$number>().map_err(failed)?;
            (shape, Values::$kind(values.to_vec()))
        }};
    }
    let (shape, values) = match ty {
        TensorElementType::Float32 => numbers!(F32, f32),
        TensorElementType::Float64 => numbers!(F64, f64),
        TensorElementType::Float16 => numbers!(F16, half::f16),
        TensorElementType::Bfloat16 => numbers!(Bf16, half::bf16),
        TensorElementType::Int8 => numbers!(I8, i8),
        TensorElementType::Int16 => numbers!(I16, i16),
        TensorElementType::Int32 => numbers!(I32, i32),
        TensorElementType::Int64 => numbers!(I64, i64),
        TensorElementType::Uint8 => numbers!(U8, u8),
        TensorElementType::Uint16 => numbers!(U16, u16),
        TensorElementType::Uint32 => numbers!(U32, u32),
        TensorElementType::Uint64 => numbers!(U64, u64),
        TensorElementType::Bool => numbers!(Bool, bool),
        TensorElementType::String => {
            let (shape, texts) = value.try_extract_strings().map_err(failed)?;
            (shape, Values::Bytes(texts.into_iter().map(String::into_bytes).collect()))
        }
        other => return Err(RunError::Model(format!("an output of type {other}"))),
    };
    let shape = shape.iter().map(|size| *size as usize).collect();
    Ok(Tensor::new(shape, values)?)
}
