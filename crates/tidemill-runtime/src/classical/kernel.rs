//! What an operator's implementation is.

use std::borrow::Cow;
use std::fmt;

use crate::onnx::Node;
use crate::{ElementType, Tensor, Values, each_values};

/// What running an operator comes to; an error is a sentence for people without the operator's name.
pub(crate) type Outcome<T = ()> = Result<T, String>;

/// An operator with its attributes read, ready to run.
pub(crate) trait Kernel: Send + Sync + fmt::Debug {
    /// Reads arguments of the call and gives its results to it.
    fn run(&self, call: &mut Call<'_>) -> Outcome;

    /// Bytes that it keeps.
    fn memory_bytes(&self) -> u64 {
        0
    }
}

/// Why a node cannot be built.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It is fine and beyond what we have.
    Missing(String),
    /// It does not hold together.
    Malformed(String),
}

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Self::Malformed(why)
    }
}

/// What building a node comes to.
pub(crate) type Built = Result<Box<dyn Kernel>, Refusal>;

/// What a builder may look at besides its node.
pub(crate) struct Surroundings<'a> {
    /// The version of the node's operator set.
    pub(crate) opset: i64,
    /// Whether 64-bit floats occur in the graph.
    pub(crate) doubles: bool,
    /// The node.
    pub(crate) node: &'a Node,
    /// Inputs that are known already, by place.
    pub(crate) known: Vec<Option<&'a Tensor>>,
}

/// An argument of a call.
#[derive(Debug)]
pub(crate) enum Arg<'v> {
    Absent,
    /// Others read it too.
    Shared(&'v Tensor),
    /// Nobody reads it after this operator, so its memory may be used for a result.
    Owned(Tensor),
}

/// One run of one operator.
#[derive(Debug)]
pub(crate) struct Call<'v> {
    pub(crate) args: Vec<Arg<'v>>,
    pub(crate) results: Vec<Tensor>,
    /// The most elements that a result may have.
    pub(crate) limit: usize,
}

impl Call<'_> {
    /// A required argument.
    pub(crate) fn tensor(&self, index: usize) -> Outcome<&Tensor> {
        self.optional(index).ok_or_else(|| format!("input {index} is missing"))
    }

    /// An argument that may be left out.
    pub(crate) fn optional(&self, index: usize) -> Option<&Tensor> {
        match self.args.get(index) {
            None | Some(Arg::Absent) => None,
            Some(Arg::Shared(tensor)) => Some(tensor),
            Some(Arg::Owned(tensor)) => Some(tensor),
        }
    }

    /// A required argument as an own tensor, copied where others read it too.
    pub(crate) fn take(&mut self, index: usize) -> Outcome<Tensor> {
        match self.args.get_mut(index).map(|arg| std::mem::replace(arg, Arg::Absent)) {
            None | Some(Arg::Absent) => Err(format!("input {index} is missing")),
            Some(Arg::Shared(tensor)) => Ok(tensor.clone()),
            Some(Arg::Owned(tensor)) => Ok(tensor),
        }
    }

    /// The next result.
    pub(crate) fn give(&mut self, shape: Vec<usize>, values: Values) -> Outcome {
        self.results.push(Tensor::new(shape, values).map_err(|error| error.to_string())?);
        Ok(())
    }

    /// The number of elements of a result's shape, checked before memory is reserved for it.
    pub(crate) fn bounded(&self, shape: &[usize]) -> Outcome<usize> {
        // An empty tensor may become a full one when an axis goes, so sizes of 0 count as 1.
        let bounded = shape
            .iter()
            .try_fold(1_usize, |product, size| product.checked_mul((*size).max(1)))
            .is_some_and(|count| count <= self.limit);
        if bounded {
            Ok(shape.iter().product())
        } else {
            Err(format!("a result of shape {shape:?} is larger than {} elements", self.limit))
        }
    }
}

/// A matrix as operators of classical models see a tensor: one dimension is one row.
pub(crate) fn rows_and_width(tensor: &Tensor) -> Outcome<(usize, usize)> {
    match tensor.shape() {
        [] => Err("a scalar where rows are expected".to_owned()),
        [width] => Ok((1, *width)),
        [rows, ..] => Ok((*rows, tensor.row_len())),
    }
}

/// Numbers as 32-bit floats, borrowed where they are.
pub(crate) fn floats(tensor: &Tensor) -> Outcome<Cow<'_, [f32]>> {
    Ok(match tensor.values() {
        Values::F32(values) => Cow::Borrowed(values),
        Values::F64(values) => Cow::Owned(values.iter().map(|value| *value as f32).collect()),
        Values::I64(values) => Cow::Owned(values.iter().map(|value| *value as f32).collect()),
        Values::I32(values) => Cow::Owned(values.iter().map(|value| *value as f32).collect()),
        Values::Bool(values) => Cow::Owned(values.iter().map(|value| f32::from(u8::from(*value))).collect()),
        _ => return Err(format!("elements of type {} where numbers are expected", tensor.element())),
    })
}

/// Numbers as 64-bit floats, borrowed where they are.
pub(crate) fn doubles(tensor: &Tensor) -> Outcome<Cow<'_, [f64]>> {
    Ok(match tensor.values() {
        Values::F64(values) => Cow::Borrowed(values),
        Values::F32(values) => Cow::Owned(values.iter().map(|value| f64::from(*value)).collect()),
        Values::I64(values) => Cow::Owned(values.iter().map(|value| *value as f64).collect()),
        Values::I32(values) => Cow::Owned(values.iter().map(|value| f64::from(*value)).collect()),
        _ => return Err(format!("elements of type {} where numbers are expected", tensor.element())),
    })
}

/// Whole numbers, as shapes, axes and places are given.
pub(crate) fn ints(tensor: &Tensor) -> Outcome<Cow<'_, [i64]>> {
    Ok(match tensor.values() {
        Values::I64(values) => Cow::Borrowed(values),
        Values::I32(values) => Cow::Owned(values.iter().map(|value| i64::from(*value)).collect()),
        _ => return Err(format!("elements of type {} where int64 is expected", tensor.element())),
    })
}

/// An axis counted from the front; negative axes count from the back.
pub(crate) fn axis(axis: i64, rank: usize) -> Outcome<usize> {
    let from_front = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
    usize::try_from(from_front)
        .ok()
        .filter(|axis| *axis < rank)
        .ok_or_else(|| format!("axis {axis} of a tensor with {rank} dimensions"))
}

/// Bytes of values in memory.
pub(crate) fn values_bytes(values: &Values) -> u64 {
    match (values, values.element().size()) {
        (Values::Bytes(texts), _) => {
            texts.iter().map(|text| text.len() as u64 + size_of::<Vec<u8>>() as u64).sum()
        }
        (_, size) => each_values!(values, vector => vector.len() as u64) * size.unwrap_or_default() as u64,
    }
}

/// An error about an element type that an operator does not take.
pub(crate) fn wrong_type<T>(element: ElementType) -> Outcome<T> {
    Err(format!("elements of type {element} are not supported here"))
}

/// Applies an expression to the vector of any element type and gives values of the same type.
macro_rules! same_type {
    ($values:expr, $vector:ident => $body:expr) => {
        match $values {
            $crate::Values::Bool($vector) => $crate::Values::Bool($body),
            $crate::Values::U8($vector) => $crate::Values::U8($body),
            $crate::Values::U16($vector) => $crate::Values::U16($body),
            $crate::Values::U32($vector) => $crate::Values::U32($body),
            $crate::Values::U64($vector) => $crate::Values::U64($body),
            $crate::Values::I8($vector) => $crate::Values::I8($body),
            $crate::Values::I16($vector) => $crate::Values::I16($body),
            $crate::Values::I32($vector) => $crate::Values::I32($body),
            $crate::Values::I64($vector) => $crate::Values::I64($body),
            $crate::Values::F16($vector) => $crate::Values::F16($body),
            $crate::Values::Bf16($vector) => $crate::Values::Bf16($body),
            $crate::Values::F32($vector) => $crate::Values::F32($body),
            $crate::Values::F64($vector) => $crate::Values::F64($body),
            $crate::Values::Bytes($vector) => $crate::Values::Bytes($body),
        }
    };
}
pub(crate) use same_type;

/// A float as a whole number, towards zero. What does not fit becomes the smallest one, as x86 processors have it.
pub(crate) fn truncated(value: f64) -> i64 {
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&value) {
        value as i64
    } else {
        i64::MIN
    }
}
