//! Tensors to and from `tract`.

use half::f16;
use tract_onnx::prelude as tract;
use tract_onnx::prelude::{DatumType, TractError, TractResult};

use crate::{ElementType, RunError, Tensor, Values};

/// Its type for ours; texts and bfloat16 have none.
pub(super) fn datum(element: ElementType) -> Option<DatumType> {
    Some(match element {
        ElementType::Bool => DatumType::Bool,
        ElementType::U8 => DatumType::U8,
        ElementType::U16 => DatumType::U16,
        ElementType::U32 => DatumType::U32,
        ElementType::U64 => DatumType::U64,
        ElementType::I8 => DatumType::I8,
        ElementType::I16 => DatumType::I16,
        ElementType::I32 => DatumType::I32,
        ElementType::I64 => DatumType::I64,
        ElementType::F16 => DatumType::F16,
        ElementType::F32 => DatumType::F32,
        ElementType::F64 => DatumType::F64,
        ElementType::Bf16 | ElementType::Bytes => return None,
    })
}

pub(super) fn into_tract(tensor: &Tensor) -> TractResult<tract::Tensor> {
    macro_rules! each {
        ($($kind:ident),*) => {
            match tensor.values() {
                $(Values::$kind(values) => tract::Tensor::from_shape(tensor.shape(), values),)*
                other => Err(TractError::msg(format!("elements of type {}", other.element()))),
            }
        };
    }
    each!(Bool, U8, U16, U32, U64, I8, I16, I32, I64, F16, F32, F64)
}

pub(super) fn from_tract(tensor: &tract::Tensor) -> Result<Tensor, RunError> {
    macro_rules! each {
        ($($kind:ident $number:ty;)*) => {
            match tensor.datum_type() {
                $(DatumType::$kind => tensor
                    .try_as_plain_ram()
                    .and_then(|view| view.as_slice::<$number>().map(<[$number]>::to_vec))
                    .map(Values::$kind),)*
                DatumType::TDim => tensor.cast_to::<i64>().and_then(|cast| {
                    cast.try_as_plain_ram().and_then(|view| view.as_slice::<i64>().map(<[i64]>::to_vec))
                }).map(Values::I64),
                other => return Err(RunError::Model(format!("an output of type {other:?}"))),
            }
        };
    }
    let values = each!(
        Bool bool; U8 u8; U16 u16; U32 u32; U64 u64; I8 i8; I16 i16; I32 i32; I64 i64; F16 f16; F32 f32; F64 f64;
    );
    let values = values.map_err(|error| RunError::Model(format!("{error:#}")))?;
    Ok(Tensor::new(tensor.shape().to_vec(), values)?)
}
