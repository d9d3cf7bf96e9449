//! The types of tensors' elements in the words of others: Arrow's and NumPy's.

use arrow::datatypes::DataType;
use tidemill_runtime::ElementType;

/// The type of a column of single values. Half-width floats become 32-bit ones, which hold them exactly and are
/// known everywhere.
pub(crate) const fn arrow_type(element: ElementType) -> DataType {
    match element {
        ElementType::Bool => DataType::Boolean,
        ElementType::U8 => DataType::UInt8,
        ElementType::U16 => DataType::UInt16,
        ElementType::U32 => DataType::UInt32,
        ElementType::U64 => DataType::UInt64,
        ElementType::I8 => DataType::Int8,
        ElementType::I16 => DataType::Int16,
        ElementType::I32 => DataType::Int32,
        ElementType::I64 => DataType::Int64,
        ElementType::F16 | ElementType::Bf16 | ElementType::F32 => DataType::Float32,
        ElementType::F64 => DataType::Float64,
        ElementType::Bytes => DataType::Utf8,
    }
}

/// What NumPy calls a type of numbers or booleans; none for its types of texts, which each protocol has its own of.
pub(crate) fn of_numpy(name: &str) -> Option<ElementType> {
    Some(match name {
        "bool" => ElementType::Bool,
        "uint8" => ElementType::U8,
        "uint16" => ElementType::U16,
        "uint32" => ElementType::U32,
        "uint64" => ElementType::U64,
        "int8" => ElementType::I8,
        "int16" => ElementType::I16,
        "int32" => ElementType::I32,
        "int64" => ElementType::I64,
        "float16" => ElementType::F16,
        "float32" => ElementType::F32,
        "float64" => ElementType::F64,
        _ => return None,
    })
}
