//! The protocol's names of element types.

use tidemill_runtime::{Dim, ElementType};

/// The name in both transports: `FP32`.
pub(super) fn name(element: ElementType) -> &'static str {
    match element {
        ElementType::Bool => "BOOL",
        ElementType::U8 => "UINT8",
        ElementType::U16 => "UINT16",
        ElementType::U32 => "UINT32",
        ElementType::U64 => "UINT64",
        ElementType::I8 => "INT8",
        ElementType::I16 => "INT16",
        ElementType::I32 => "INT32",
        ElementType::I64 => "INT64",
        ElementType::F16 => "FP16",
        ElementType::Bf16 => "BF16",
        ElementType::F32 => "FP32",
        ElementType::F64 => "FP64",
        ElementType::Bytes => "BYTES",
    }
}

/// The type of a name.
pub(super) fn element(name: &str) -> Option<ElementType> {
    Some(match name {
        "BOOL" => ElementType::Bool,
        "UINT8" => ElementType::U8,
        "UINT16" => ElementType::U16,
        "UINT32" => ElementType::U32,
        "UINT64" => ElementType::U64,
        "INT8" => ElementType::I8,
        "INT16" => ElementType::I16,
        "INT32" => ElementType::I32,
        "INT64" => ElementType::I64,
        "FP16" => ElementType::F16,
        "BF16" => ElementType::Bf16,
        "FP32" => ElementType::F32,
        "FP64" => ElementType::F64,
        "BYTES" => ElementType::Bytes,
        _ => return None,
    })
}

/// Its number and name in Triton's model configuration (`DataType` of `model_config.proto`).
pub(super) fn in_configuration(element: ElementType) -> (i32, &'static str) {
    match element {
        ElementType::Bool => (1, "TYPE_BOOL"),
        ElementType::U8 => (2, "TYPE_UINT8"),
        ElementType::U16 => (3, "TYPE_UINT16"),
        ElementType::U32 => (4, "TYPE_UINT32"),
        ElementType::U64 => (5, "TYPE_UINT64"),
        ElementType::I8 => (6, "TYPE_INT8"),
        ElementType::I16 => (7, "TYPE_INT16"),
        ElementType::I32 => (8, "TYPE_INT32"),
        ElementType::I64 => (9, "TYPE_INT64"),
        ElementType::F16 => (10, "TYPE_FP16"),
        ElementType::F32 => (11, "TYPE_FP32"),
        ElementType::F64 => (12, "TYPE_FP64"),
        ElementType::Bytes => (13, "TYPE_STRING"),
        ElementType::Bf16 => (14, "TYPE_BF16"),
    }
}

/// A slot's shape; any size is -1.
pub(super) fn dims(shape: &[Dim]) -> Vec<i64> {
    shape
        .iter()
        .map(|dim| match dim {
            Dim::Fixed(size) => i64::try_from(*size).unwrap_or(i64::MAX),
            Dim::Any(_) => -1,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back() {
        let names = "BOOL UINT8 UINT16 UINT32 UINT64 INT8 INT16 INT32 INT64 FP16 BF16 FP32 FP64 BYTES";
        let mut numbers = Vec::new();
        for text in names.split(' ') {
            let element = element(text).unwrap();
            assert_eq!(name(element), text);
            numbers.push(in_configuration(element).0);
        }
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=14).collect::<Vec<_>>());
        assert_eq!(element("fp32"), None);
    }
}
