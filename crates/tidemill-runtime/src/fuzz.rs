//! The entry point for fuzzing.

use crate::{Classical, Dim, ElementType, Runtime, Slot, Tensor, Values};

/// Loads bytes as a model and, where that works, calls it with two rows and with none. Must return for any bytes.
pub fn fuzz_entry(data: &[u8]) {
    let Ok(session) = Classical.load(data) else { return };
    for rows in [2, 0] {
        let inputs: Option<Vec<Tensor>> = session.inputs().iter().map(|slot| zeros(slot, rows)).collect();
        if let Some(inputs) = inputs {
            let _ = session.run(&inputs);
        }
    }
}

/// A small input that fits; none where the declared shape is large.
fn zeros(slot: &Slot, rows: usize) -> Option<Tensor> {
    let size = |dim: &Dim| if let Dim::Fixed(size) = dim { *size } else { rows };
    let shape: Vec<usize> = slot.shape.iter().map(size).collect();
    let count = shape.iter().try_fold(1_usize, |count, size| count.checked_mul(*size));
    let count = count.filter(|count| *count <= 1 << 16)?;
    let values = match slot.element {
        ElementType::F32 => Values::F32(vec![0.5; count]),
        ElementType::F64 => Values::F64(vec![f64::NAN; count]),
        ElementType::I64 => Values::I64(vec![1; count]),
        ElementType::I32 => Values::I32(vec![1; count]),
        ElementType::Bool => Values::Bool(vec![true; count]),
        ElementType::Bytes => Values::Bytes(vec![b"a word".to_vec(); count]),
        ElementType::U8 => Values::U8(vec![1; count]),
        ElementType::U16
        | ElementType::U32
        | ElementType::U64
        | ElementType::I8
        | ElementType::I16
        | ElementType::F16
        | ElementType::Bf16 => return None,
    };
    Tensor::new(shape, values).ok()
}
