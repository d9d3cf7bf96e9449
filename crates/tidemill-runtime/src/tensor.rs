//! Tensors: a shape, an element type and the values in row-major order.

use std::fmt;

use half::{bf16, f16};

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ElementType {
    /// `bool`.
    Bool,
    /// `u8`.
    U8,
    /// `u16`.
    U16,
    /// `u32`.
    U32,
    /// `u64`.
    U64,
    /// `i8`.
    I8,
    /// `i16`.
    I16,
    /// `i32`.
    I32,
    /// `i64`.
    I64,
    /// IEEE 754 binary16.
    F16,
    /// bfloat16.
    Bf16,
    /// `f32`.
    F32,
    /// `f64`.
    F64,
    /// Byte strings; UTF-8 where a model takes them for text.
    Bytes,
}

impl ElementType {
    /// Bytes of one element; `None` for byte strings.
    pub fn size(self) -> Option<usize> {
        Some(match self {
            Self::Bool | Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 | Self::F16 | Self::Bf16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
            Self::Bytes => return None,
        })
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "bool",
            Self::U8 => "uint8",
            Self::U16 => "uint16",
            Self::U32 => "uint32",
            Self::U64 => "uint64",
            Self::I8 => "int8",
            Self::I16 => "int16",
            Self::I32 => "int32",
            Self::I64 => "int64",
            Self::F16 => "float16",
            Self::Bf16 => "bfloat16",
            Self::F32 => "float32",
            Self::F64 => "float64",
            Self::Bytes => "string",
        })
    }
}

/// The values of a tensor, row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Booleans.
    Bool(Vec<bool>),
    /// Unsigned 8 bit.
    U8(Vec<u8>),
    /// Unsigned 16 bit.
    U16(Vec<u16>),
    /// Unsigned 32 bit.
    U32(Vec<u32>),
    /// Unsigned 64 bit.
    U64(Vec<u64>),
    /// Signed 8 bit.
    I8(Vec<i8>),
    /// Signed 16 bit.
    I16(Vec<i16>),
    /// Signed 32 bit.
    I32(Vec<i32>),
    /// Signed 64 bit.
    I64(Vec<i64>),
    /// IEEE 754 binary16.
    F16(Vec<f16>),
    /// bfloat16.
    Bf16(Vec<bf16>),
    /// 32 bit floating point.
    F32(Vec<f32>),
    /// 64 bit floating point.
    F64(Vec<f64>),
    /// Byte strings.
    Bytes(Vec<Vec<u8>>),
}

/// Runs an expression on the vector inside, whatever its type.
#[macro_export]
macro_rules! each_values {
    ($values:expr, $vector:ident => $body:expr) => {
        match $values {
            $crate::Values::Bool($vector) => $body,
            $crate::Values::U8($vector) => $body,
            $crate::Values::U16($vector) => $body,
            $crate::Values::U32($vector) => $body,
            $crate::Values::U64($vector) => $body,
            $crate::Values::I8($vector) => $body,
            $crate::Values::I16($vector) => $body,
            $crate::Values::I32($vector) => $body,
            $crate::Values::I64($vector) => $body,
            $crate::Values::F16($vector) => $body,
            $crate::Values::Bf16($vector) => $body,
            $crate::Values::F32($vector) => $body,
            $crate::Values::F64($vector) => $body,
            $crate::Values::Bytes($vector) => $body,
        }
    };
}

impl Values {
    /// How many elements there are.
    pub fn len(&self) -> usize {
        each_values!(self, vector => vector.len())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Their type.
    pub fn element(&self) -> ElementType {
        match self {
            Self::Bool(_) => ElementType::Bool,
            Self::U8(_) => ElementType::U8,
            Self::U16(_) => ElementType::U16,
            Self::U32(_) => ElementType::U32,
            Self::U64(_) => ElementType::U64,
            Self::I8(_) => ElementType::I8,
            Self::I16(_) => ElementType::I16,
            Self::I32(_) => ElementType::I32,
            Self::I64(_) => ElementType::I64,
            Self::F16(_) => ElementType::F16,
            Self::Bf16(_) => ElementType::Bf16,
            Self::F32(_) => ElementType::F32,
            Self::F64(_) => ElementType::F64,
            Self::Bytes(_) => ElementType::Bytes,
        }
    }
}

/// A tensor: as many values as the product of its shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    values: Values,
}

/// Why a tensor does not hold together.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TensorError {
    /// The shape asks for another number of values.
    #[error("shape {shape:?} takes {expected} values and {given} were given")]
    Length {
        /// The shape.
        shape: Vec<usize>,
        /// Its product.
        expected: usize,
        /// How many values there are.
        given: usize,
    },
    /// The product of the shape is beyond what a machine can address, or the shape counts lists that hold no value.
    #[error("shape {0:?} is too large")]
    TooLarge(Vec<usize>),
    /// Tensors that are joined have different element types or row shapes.
    #[error("tensors of {first} and {other} cannot be joined along their rows")]
    Join {
        /// Type and shape of the first.
        first: String,
        /// Type and shape of the one that does not fit.
        other: String,
    },
}

impl Tensor {
    /// A tensor of this shape.
    ///
    /// # Errors
    ///
    /// Where the number of values is not the product of the shape, or more than [`MOST_HOLLOW`] rows or lists hold no value.
    pub fn new(shape: Vec<usize>, values: Values) -> Result<Self, TensorError> {
        let expected = count(&shape).ok_or_else(|| TensorError::TooLarge(shape.clone()))?;
        if expected == 0 && is_hollow(&shape) {
            return Err(TensorError::TooLarge(shape));
        }
        let given = values.len();
        if expected != given {
            return Err(TensorError::Length { shape, expected, given });
        }
        Ok(Self { shape, values })
    }

    /// A tensor of one dimension.
    pub fn vector(values: Values) -> Self {
        Self { shape: vec![values.len()], values }
    }

    /// The size of each dimension; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The values, row-major.
    pub fn values(&self) -> &Values {
        &self.values
    }

    /// The values alone.
    pub fn into_values(self) -> Values {
        self.values
    }

    /// The type of the elements.
    pub fn element(&self) -> ElementType {
        self.values.element()
    }

    /// The first dimension; 1 for a scalar.
    pub fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// Elements of one row.
    pub fn row_len(&self) -> usize {
        self.shape.iter().skip(1).product()
    }

    /// The rows of several tensors, one after another: how calls become a batch.
    ///
    /// # Errors
    ///
    /// Where element types or row shapes differ, and for no tensor or scalars.
    pub fn join(parts: &[&Self]) -> Result<Self, TensorError> {
        let describe = |tensor: &Self| format!("{} {:?}", tensor.element(), tensor.shape);
        let Some(first) = parts.first() else {
            return Err(TensorError::Join { first: "nothing".to_owned(), other: "nothing".to_owned() });
        };
        let fits = |other: &Self| {
            !other.shape.is_empty()
                && other.shape.get(1..) == first.shape.get(1..)
                && other.element() == first.element()
        };
        if let Some(other) = parts.iter().find(|other| !fits(other)) {
            return Err(TensorError::Join { first: describe(first), other: describe(other) });
        }
        let rows = parts.iter().map(|part| part.rows()).sum();
        let mut shape = first.shape.clone();
        if let Some(size) = shape.first_mut() {
            *size = rows;
        }
        let mut values = first.values.clone();
        for part in parts.iter().skip(1) {
            values.extend(&part.values);
        }
        Self::new(shape, values)
    }

    /// Rows `from..to` of a tensor: how a batch becomes calls again. Bounds beyond the rows are cut.
    #[must_use]
    pub fn slice(&self, from: usize, to: usize) -> Self {
        let to = to.min(self.rows());
        let from = from.min(to);
        let row = self.row_len();
        let values = self.values.slice(from * row, to * row);
        let mut shape = self.shape.clone();
        match shape.first_mut() {
            Some(size) => *size = to - from,
            None => return self.clone(),
        }
        Self { shape, values }
    }
}

impl Values {
    /// Appends the values of another tensor of the same type; values of another type are left out, which
    /// [`Tensor::new`] then reports as a wrong length.
    fn extend(&mut self, other: &Self) {
        macro_rules! same {
            ($($kind:ident),*) => {
                match (self, other) {
                    $((Self::$kind(mine), Self::$kind(theirs)) => mine.extend_from_slice(theirs),)*
                    _ => {}
                }
            };
        }
        same!(Bool, U8, U16, U32, U64, I8, I16, I32, I64, F16, Bf16, F32, F64, Bytes);
    }

    fn slice(&self, from: usize, to: usize) -> Self {
        macro_rules! each {
            ($($kind:ident),*) => {
                match self {
                    $(Self::$kind(values) => Self::$kind(values.get(from..to).unwrap_or_default().to_vec()),)*
                }
            };
        }
        each!(Bool, U8, U16, U32, U64, I8, I16, I32, I64, F16, Bf16, F32, F64, Bytes)
    }
}

/// The most rows, or lists within rows, that hold no value, as in the shape `[1000, 0]`. Only the shape says how many there are, so
/// without a bound a few bytes could ask for any amount of memory.
pub const MOST_HOLLOW: usize = 1 << 16;

/// Whether a shape counts more lists without a value than may be.
pub fn is_hollow(shape: &[usize]) -> bool {
    let mut lists = Some(1_usize);
    for size in shape {
        if *size == 0 {
            return lists.is_none_or(|lists| lists > MOST_HOLLOW);
        }
        lists = lists.and_then(|lists| lists.checked_mul(*size));
    }
    false
}

/// The number of values of a shape; `None` where it overflows.
fn count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(shape: &[usize], values: &[f32]) -> Tensor {
        Tensor::new(shape.to_vec(), Values::F32(values.to_vec())).unwrap()
    }

    #[test]
    fn a_tensor_has_as_many_values_as_its_shape_says() {
        assert_eq!(
            Tensor::new(vec![2, 3], Values::F32(vec![0.0; 5])),
            Err(TensorError::Length { shape: vec![2, 3], expected: 6, given: 5 })
        );
        assert_eq!(
            Tensor::new(vec![usize::MAX, 2], Values::F32(vec![])),
            Err(TensorError::TooLarge(vec![usize::MAX, 2]))
        );
        let hollow = |shape: &[usize]| Tensor::new(shape.to_vec(), Values::F32(vec![])).is_ok();
        assert!(hollow(&[0]) && hollow(&[0, usize::MAX]) && hollow(&[2, 0, 5]) && hollow(&[MOST_HOLLOW, 0]));
        for shape in
            [&[MOST_HOLLOW + 1, 0][..], &[1_000_000_000_000, 0], &[1, 2_000_000_000, 0], &[usize::MAX, 0]]
        {
            assert!(!hollow(shape), "{shape:?} holds nothing and counts too much");
        }
        let scalar = Tensor::new(vec![], Values::I64(vec![7])).unwrap();
        assert_eq!((scalar.rows(), scalar.row_len()), (1, 1));
    }

    #[test]
    fn rows_are_joined_and_cut_again() {
        let first = floats(&[1, 2], &[1.0, 2.0]);
        let second = floats(&[2, 2], &[3.0, 4.0, 5.0, 6.0]);
        let batch = Tensor::join(&[&first, &second]).unwrap();
        assert_eq!(batch, floats(&[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
        assert_eq!(batch.slice(0, 1), first);
        assert_eq!(batch.slice(1, 3), second);
        assert_eq!(batch.slice(2, 9), floats(&[1, 2], &[5.0, 6.0]));
        assert!(Tensor::join(&[&first, &floats(&[1, 3], &[0.0; 3])]).is_err());
        assert!(Tensor::join(&[]).is_err());
    }
}
