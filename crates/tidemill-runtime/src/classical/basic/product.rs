//! `MatMul`, `Gemm` and the distances of `com.microsoft.CDist`.

use super::super::kernel::{Built, Call, Kernel, Outcome, Refusal, Surroundings, wrong_type};
use super::super::matrix::{Number, Packed};
use super::super::svm::squared_distance;
use super::view::{broadcast_shape, broadcast_strides, each_run, read};
use crate::{Tensor, Values};

/// A right factor that is known when the model is loaded.
#[derive(Debug)]
enum Known {
    Single(Packed<f32>),
    Double(Packed<f64>),
}

impl Known {
    /// A matrix, transposed if asked for; `None` where it is none or of another type.
    fn new(tensor: &Tensor, transposed: bool) -> Option<Self> {
        let [first, second] = *tensor.shape() else { return None };
        let (depth, columns) = if transposed { (second, first) } else { (first, second) };
        let at = |k: usize, n: usize| if transposed { n * second + k } else { k * second + n };
        match tensor.values() {
            Values::F32(values) => Some(Self::Single(Packed::new(depth, columns, |k, n| values[at(k, n)]))),
            Values::F64(values) => Some(Self::Double(Packed::new(depth, columns, |k, n| values[at(k, n)]))),
            _ => None,
        }
    }

    fn memory_bytes(&self) -> u64 {
        match self {
            Self::Single(packed) => packed.memory_bytes(),
            Self::Double(packed) => packed.memory_bytes(),
        }
    }
}

#[derive(Debug)]
struct MatMul(Option<Known>);

/// Builds `MatMul`.
pub(crate) fn mat_mul(around: &Surroundings<'_>) -> Built {
    let known = around.known.get(1).copied().flatten().and_then(|tensor| Known::new(tensor, false));
    Ok(Box::new(MatMul(known)))
}

/// A product with a known right matrix: all leading dimensions of the left are rows.
fn times_known<T: Number>(
    call: &Call<'_>,
    left: &Tensor,
    values: &[T],
    right: &Packed<T>,
) -> Outcome<(Vec<usize>, Vec<T>)> {
    let mut shape = left.shape().to_vec();
    let depth = shape.pop();
    if depth != Some(right.depth()) {
        return Err(format!("a matrix of shape {:?} times one of {} rows", left.shape(), right.depth()));
    }
    shape.push(right.columns());
    let mut out = vec![T::default(); call.bounded(&shape)?];
    right.multiply(values, &mut out);
    Ok((shape, out))
}

impl Kernel for MatMul {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let (left, right) = (call.tensor(0)?, call.tensor(1)?);
        let (shape, values) = match (left.values(), right.values(), &self.0) {
            (Values::F32(values), _, Some(Known::Single(known))) => {
                let (shape, out) = times_known(call, left, values, known)?;
                (shape, Values::F32(out))
            }
            (Values::F64(values), _, Some(Known::Double(known))) => {
                let (shape, out) = times_known(call, left, values, known)?;
                (shape, Values::F64(out))
            }
            (Values::F32(a), Values::F32(b), _) => {
                let (shape, out) = batched(call, (a, left.shape()), (b, right.shape()))?;
                (shape, Values::F32(out))
            }
            (Values::F64(a), Values::F64(b), _) => {
                let (shape, out) = batched(call, (a, left.shape()), (b, right.shape()))?;
                (shape, Values::F64(out))
            }
            (a, _, _) => return wrong_type(a.element()),
        };
        call.give(shape, values)
    }

    fn memory_bytes(&self) -> u64 {
        self.0.as_ref().map_or(0, Known::memory_bytes)
    }
}

/// Products of the last two dimensions, the others broadcast. A vector is a matrix of one row or column.
fn batched<T: Number>(
    call: &Call<'_>,
    (left, left_shape): (&[T], &[usize]),
    (right, right_shape): (&[T], &[usize]),
) -> Outcome<(Vec<usize>, Vec<T>)> {
    let (left_rows, left_full) = match left_shape {
        [] => return Err("a scalar as a matrix".to_owned()),
        [only] => (1, vec![1, *only]),
        [.., rows, _] => (*rows, left_shape.to_vec()),
    };
    let (columns, right_full) = match right_shape {
        [] => return Err("a scalar as a matrix".to_owned()),
        [only] => (1, vec![*only, 1]),
        [.., columns] => (*columns, right_shape.to_vec()),
    };
    let depth = left_full[left_full.len() - 1];
    if depth != right_full[right_full.len() - 2] {
        return Err(format!("matrices of shapes {left_shape:?} and {right_shape:?}"));
    }
    let (left_outer, right_outer) = (&left_full[..left_full.len() - 2], &right_full[..right_full.len() - 2]);
    let outer = broadcast_shape(left_outer, right_outer)?;
    let mut full = outer.clone();
    full.extend([left_rows, columns]);
    let total = call.bounded(&full)?;
    let places = |own: &[usize]| {
        let mut places = Vec::new();
        each_run(&outer, &broadcast_strides(own, &outer), 0, |start, length, step| {
            places.extend((0..length as isize).map(|index| (start + index * step) as usize));
        });
        places
    };
    let mut out = vec![T::default(); total];
    let (left_size, right_size, size) = (left_rows * depth, depth * columns, left_rows * columns);
    if size > 0 {
        let products =
            places(left_outer).into_iter().zip(places(right_outer)).zip(out.chunks_exact_mut(size));
        for ((a, b), out) in products {
            let b = &right[b * right_size..(b + 1) * right_size];
            let packed = Packed::new(depth, columns, |k, n| b[k * columns + n]);
            packed.multiply(&left[a * left_size..(a + 1) * left_size], out);
        }
    }
    let mut shape = outer;
    if left_shape.len() > 1 {
        shape.push(left_rows);
    }
    if right_shape.len() > 1 {
        shape.push(columns);
    }
    Ok((shape, out))
}

#[derive(Debug)]
struct Gemm {
    known: Option<Known>,
    alpha: f32,
    beta: f32,
    transpose_left: bool,
    transpose_right: bool,
}

/// Builds `Gemm`.
pub(crate) fn gemm(around: &Surroundings<'_>) -> Built {
    let attributes = &around.node.attributes;
    let transpose_right = attributes.flag("transB", false)?;
    let known = around.known.get(1).copied().flatten();
    Ok(Box::new(Gemm {
        known: known.and_then(|tensor| Known::new(tensor, transpose_right)),
        alpha: attributes.float("alpha")?.unwrap_or(1.0),
        beta: attributes.float("beta")?.unwrap_or(1.0),
        transpose_left: attributes.flag("transA", false)?,
        transpose_right,
    }))
}

impl Kernel for Gemm {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let left = call.tensor(0)?;
        let [rows, depth] = *left.shape() else {
            return Err(format!("a matrix of shape {:?}", left.shape()));
        };
        let (rows, depth) = if self.transpose_left { (depth, rows) } else { (rows, depth) };
        macro_rules! product {
            ($kind:ident, $known:ident, $number:ty, $values:expr) => {{
                let transposed;
                let values: &[$number] = if self.transpose_left {
                    transposed = read($values, &[rows, depth], &[1, rows as isize], 0);
                    &transposed
                } else {
                    $values
                };
                let packed;
                let right = if let Some(Known::$known(known)) = &self.known {
                    known
                } else {
                    let fresh = Known::new(call.tensor(1)?, self.transpose_right);
                    let Some(Known::$known(fresh)) = fresh else {
                        return Err("a second matrix that does not fit".to_owned());
                    };
                    packed = fresh;
                    &packed
                };
                if right.depth() != depth {
                    return Err(format!("a matrix of {depth} columns times one of {} rows", right.depth()));
                }
                let shape = [rows, right.columns()];
                let mut out = vec![0.0; call.bounded(&shape)?];
                right.multiply(values, &mut out);
                let alpha = <$number>::from(self.alpha);
                if alpha != 1.0 {
                    out.iter_mut().for_each(|x| *x *= alpha);
                }
                if let Some(bias) = call.optional(2) {
                    let Values::$kind(values) = bias.values() else { return wrong_type(bias.element()) };
                    if broadcast_shape(bias.shape(), &shape)? != shape {
                        return Err(format!("a bias of shape {:?} for {shape:?}", bias.shape()));
                    }
                    let beta = <$number>::from(self.beta);
                    let mut at = 0;
                    each_run(&shape, &broadcast_strides(bias.shape(), &shape), 0, |start, length, step| {
                        for (index, x) in out[at..at + length].iter_mut().enumerate() {
                            *x += beta * values[(start + index as isize * step) as usize];
                        }
                        at += length;
                    });
                }
                (shape, Values::$kind(out))
            }};
        }
        let (shape, values) = match left.values() {
            Values::F32(values) => product!(F32, Single, f32, values),
            Values::F64(values) => product!(F64, Double, f64, values),
            other => return wrong_type(other.element()),
        };
        call.give(shape.to_vec(), values)
    }

    fn memory_bytes(&self) -> u64 {
        self.known.as_ref().map_or(0, Known::memory_bytes)
    }
}

#[derive(Debug)]
struct Distances {
    squared: bool,
}

/// Builds `com.microsoft.CDist`: distances of all rows of two matrices.
pub(crate) fn distances(around: &Surroundings<'_>) -> Built {
    match around.node.attributes.text("metric")?.unwrap_or("sqeuclidean") {
        "sqeuclidean" => Ok(Box::new(Distances { squared: true })),
        "euclidean" => Ok(Box::new(Distances { squared: false })),
        other => Err(Refusal::Missing(format!("metric `{other}`"))),
    }
}

impl Kernel for Distances {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let (left, right) = (call.tensor(0)?, call.tensor(1)?);
        let ([rows, width], [columns, other]) = (left.shape(), right.shape()) else {
            return Err("no matrices".to_owned());
        };
        if width != other || *width == 0 {
            return Err(format!("rows of {width} and {other} numbers"));
        }
        let shape = vec![*rows, *columns];
        let mut out = Vec::with_capacity(call.bounded(&shape)?);
        let values = match (left.values(), right.values()) {
            (Values::F32(a), Values::F32(b)) => {
                for row in a.chunks_exact(*width) {
                    out.extend(b.chunks_exact(*width).map(|other| {
                        let squared = squared_distance(row, other);
                        if self.squared { squared } else { squared.sqrt() }
                    }));
                }
                Values::F32(out)
            }
            (Values::F64(a), Values::F64(b)) => {
                let mut out = Vec::with_capacity(rows * columns);
                for row in a.chunks_exact(*width) {
                    out.extend(b.chunks_exact(*width).map(|other| {
                        let squared: f64 = row.iter().zip(other).map(|(x, y)| (x - y) * (x - y)).sum();
                        if self.squared { squared } else { squared.sqrt() }
                    }));
                }
                Values::F64(out)
            }
            (a, _) => return wrong_type(a.element()),
        };
        call.give(shape, values)
    }
}
