//! Operators on two or more tensors, element by element, with broadcasting.

use super::super::kernel::{Built, Call, Kernel, Outcome, Surroundings, wrong_type};
use super::view::{broadcast_shape, broadcast_strides, each_run, read};
use crate::{Tensor, Values};

/// Arithmetic of one element type. Whole numbers wrap around, and dividing them by zero gives zero.
trait Arithmetic: Copy + PartialOrd {
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn div(self, other: Self) -> Self;
    fn rem(self, other: Self) -> Self;
    fn larger(self, other: Self) -> Self;
    fn smaller(self, other: Self) -> Self;
}

macro_rules! float_arithmetic {
    ($($number:ty),*) => {
        $(impl Arithmetic for $number {
            fn add(self, other: Self) -> Self {
                self + other
            }
            fn sub(self, other: Self) -> Self {
                self - other
            }
            fn mul(self, other: Self) -> Self {
                self * other
            }
            fn div(self, other: Self) -> Self {
                self / other
            }
            fn rem(self, other: Self) -> Self {
                self % other
            }
            fn larger(self, other: Self) -> Self {
                if self.is_nan() || self > other { self } else { other }
            }
            fn smaller(self, other: Self) -> Self {
                if self.is_nan() || self < other { self } else { other }
            }
        })*
    };
}

macro_rules! whole_arithmetic {
    ($($number:ty),*) => {
        $(impl Arithmetic for $number {
            fn add(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
            fn sub(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }
            fn mul(self, other: Self) -> Self {
                self.wrapping_mul(other)
            }
            fn div(self, other: Self) -> Self {
                if other == 0 { 0 } else { self.wrapping_div(other) }
            }
            fn rem(self, other: Self) -> Self {
                // The result has the sign of the divisor.
                if other == 0 { return 0 }
                let rest = self.wrapping_rem(other);
                if rest != 0 && (rest < 0) != (other < 0) { rest + other } else { rest }
            }
            fn larger(self, other: Self) -> Self {
                self.max(other)
            }
            fn smaller(self, other: Self) -> Self {
                self.min(other)
            }
        })*
    };
}

float_arithmetic!(f32, f64);
whole_arithmetic!(i64, i32);

/// An operator by its effect on two elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Rem,
    Pow,
    Larger,
    Smaller,
    /// The sum of all, divided by their number at the end.
    Mean,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    Equal,
    And,
    Or,
    Xor,
}

/// Builds an operator by its name.
pub(crate) fn binary(around: &Surroundings<'_>) -> Built {
    Ok(Box::new(match around.node.op.as_str() {
        "Add" | "Sum" => Binary::Add,
        "Sub" => Binary::Sub,
        "Mul" => Binary::Mul,
        "Div" => Binary::Div,
        "Mod" => Binary::Rem,
        "Pow" => Binary::Pow,
        "Max" => Binary::Larger,
        "Min" => Binary::Smaller,
        "Mean" => Binary::Mean,
        "Greater" => Binary::Greater,
        "GreaterOrEqual" => Binary::GreaterOrEqual,
        "Less" => Binary::Less,
        "LessOrEqual" => Binary::LessOrEqual,
        "Equal" => Binary::Equal,
        "And" => Binary::And,
        "Or" => Binary::Or,
        "Xor" => Binary::Xor,
        other => return Err(format!("{other} is not an operator on two tensors").into()),
    }))
}

/// Applies a function to all pairs, the shapes' common one first.
fn pairs<A: Copy, B: Copy, R>(
    (left, left_shape): (&[A], &[usize]),
    (right, right_shape): (&[B], &[usize]),
    shape: &[usize],
    f: impl Fn(A, B) -> R,
) -> Vec<R> {
    if left_shape == right_shape {
        return left.iter().zip(right).map(|(a, b)| f(*a, *b)).collect();
    }
    if let ([b], true) = (right, left_shape == shape) {
        return left.iter().map(|a| f(*a, *b)).collect();
    }
    if let ([a], true) = (left, right_shape == shape) {
        return right.iter().map(|b| f(*a, *b)).collect();
    }
    let mut out = Vec::with_capacity(shape.iter().product());
    let mut starts = Vec::new();
    each_run(shape, &broadcast_strides(left_shape, shape), 0, |start, length, step| {
        starts.push((start, length, step));
    });
    let mut runs = starts.into_iter();
    each_run(shape, &broadcast_strides(right_shape, shape), 0, |start, _, step| {
        if let Some((left_start, length, left_step)) = runs.next() {
            let (a, b) = (&left[left_start as usize..], &right[start as usize..]);
            match (left_step, step) {
                (1, 1) => out.extend(a[..length].iter().zip(&b[..length]).map(|(a, b)| f(*a, *b))),
                (1, 0) => out.extend(a[..length].iter().map(|a| f(*a, b[0]))),
                (0, 1) => out.extend(b[..length].iter().map(|b| f(a[0], *b))),
                _ => out.extend(std::iter::repeat_with(|| f(a[0], b[0])).take(length)),
            }
        }
    });
    out
}

impl Kernel for Binary {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let count = call.args.len();
        let mut result = match call.args.get(1) {
            None => call.tensor(0)?.clone(),
            Some(_) => self.two(call, call.tensor(0)?, call.tensor(1)?)?,
        };
        for index in 2..count {
            result = self.two(call, &result, call.tensor(index)?)?;
        }
        if *self == Self::Mean && count > 1 {
            let shape = result.shape().to_vec();
            let values = match result.into_values() {
                Values::F32(mut values) => {
                    values.iter_mut().for_each(|value| *value /= count as f32);
                    Values::F32(values)
                }
                Values::F64(mut values) => {
                    values.iter_mut().for_each(|value| *value /= count as f64);
                    Values::F64(values)
                }
                other => return wrong_type(other.element()),
            };
            return call.give(shape, values);
        }
        call.results.push(result);
        Ok(())
    }
}

impl Binary {
    fn two(self, call: &Call<'_>, left: &Tensor, right: &Tensor) -> Outcome<Tensor> {
        let shape = if left.shape() == right.shape() {
            left.shape().to_vec()
        } else {
            broadcast_shape(left.shape(), right.shape())?
        };
        call.bounded(&shape)?;
        let shapes = (left.shape(), right.shape());
        macro_rules! with {
            ($a:expr, $b:expr, $out:ident, $f:expr) => {
                Values::$out(pairs(($a, shapes.0), ($b, shapes.1), &shape, $f))
            };
        }
        macro_rules! numbers {
            ($a:expr, $b:expr, $kind:ident) => {
                match self {
                    Self::Add | Self::Mean => with!($a, $b, $kind, |a, b| Arithmetic::add(a, b)),
                    Self::Sub => with!($a, $b, $kind, |a, b| Arithmetic::sub(a, b)),
                    Self::Mul => with!($a, $b, $kind, |a, b| Arithmetic::mul(a, b)),
                    Self::Div => with!($a, $b, $kind, |a, b| Arithmetic::div(a, b)),
                    Self::Rem => with!($a, $b, $kind, |a, b| Arithmetic::rem(a, b)),
                    Self::Larger => with!($a, $b, $kind, |a, b| Arithmetic::larger(a, b)),
                    Self::Smaller => with!($a, $b, $kind, |a, b| Arithmetic::smaller(a, b)),
                    Self::Greater => with!($a, $b, Bool, |a, b| a > b),
                    Self::GreaterOrEqual => with!($a, $b, Bool, |a, b| a >= b),
                    Self::Less => with!($a, $b, Bool, |a, b| a < b),
                    Self::LessOrEqual => with!($a, $b, Bool, |a, b| a <= b),
                    Self::Equal => with!($a, $b, Bool, |a, b| a == b),
                    Self::Pow | Self::And | Self::Or | Self::Xor => return wrong_type(left.element()),
                }
            };
        }
        let values = match (left.values(), right.values()) {
            (a, b) if self == Self::Pow => power((a, shapes.0), (b, shapes.1), &shape)?,
            (Values::F32(a), Values::F32(b)) => numbers!(a, b, F32),
            (Values::F64(a), Values::F64(b)) => numbers!(a, b, F64),
            (Values::I64(a), Values::I64(b)) => numbers!(a, b, I64),
            (Values::I32(a), Values::I32(b)) => numbers!(a, b, I32),
            (Values::Bool(a), Values::Bool(b)) => match self {
                Self::And => with!(a, b, Bool, |a, b| a && b),
                Self::Or => with!(a, b, Bool, |a, b| a || b),
                Self::Xor => with!(a, b, Bool, |a, b| a != b),
                Self::Equal => with!(a, b, Bool, |a, b| a == b),
                _ => return wrong_type(left.element()),
            },
            (Values::Bytes(a), Values::Bytes(b)) if self == Self::Equal => {
                let (a, b): (Vec<&[u8]>, Vec<&[u8]>) =
                    (a.iter().map(Vec::as_slice).collect(), b.iter().map(Vec::as_slice).collect());
                with!(&a, &b, Bool, |a, b| a == b)
            }
            (a, b) => return Err(format!("elements of types {} and {}", a.element(), b.element())),
        };
        Tensor::new(shape, values).map_err(|error| error.to_string())
    }
}

/// Powers; the exponents may have another type than the bases.
fn power(
    (base, base_shape): (&Values, &[usize]),
    (exponent, exponent_shape): (&Values, &[usize]),
    shape: &[usize],
) -> Outcome<Values> {
    let exponents: Vec<f64> = match exponent {
        Values::F32(values) => values.iter().map(|value| f64::from(*value)).collect(),
        Values::F64(values) => values.clone(),
        Values::I64(values) => values.iter().map(|value| *value as f64).collect(),
        Values::I32(values) => values.iter().map(|value| f64::from(*value)).collect(),
        other => return wrong_type(other.element()),
    };
    let exponents = (exponents.as_slice(), exponent_shape);
    Ok(match base {
        Values::F32(base) => Values::F32(pairs((base, base_shape), exponents, shape, |x: f32, y| {
            if y == 2.0 {
                x * x
            } else if y == 3.0 {
                x * x * x
            } else {
                x.powf(y as f32)
            }
        })),
        Values::F64(base) => {
            Values::F64(pairs(
                (base, base_shape),
                exponents,
                shape,
                |x: f64, y| {
                    if y == 2.0 { x * x } else { x.powf(y) }
                },
            ))
        }
        Values::I64(base) => {
            Values::I64(pairs((base, base_shape), exponents, shape, |x: i64, y| (x as f64).powf(y) as i64))
        }
        Values::I32(base) => {
            Values::I32(pairs((base, base_shape), exponents, shape, |x: i32, y| f64::from(x).powf(y) as i32))
        }
        other => return wrong_type(other.element()),
    })
}

#[derive(Debug)]
struct Where;

/// Builds `Where`.
pub(crate) fn select(_: &Surroundings<'_>) -> Built {
    Ok(Box::new(Where))
}

impl Kernel for Where {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let (condition, yes, no) = (call.tensor(0)?, call.tensor(1)?, call.tensor(2)?);
        let shape = broadcast_shape(&broadcast_shape(condition.shape(), yes.shape())?, no.shape())?;
        call.bounded(&shape)?;
        let Values::Bool(holds) = condition.values() else { return wrong_type(condition.element()) };
        let of = |own: &[usize]| broadcast_strides(own, &shape);
        let holds = read(holds, &shape, &of(condition.shape()), 0);
        macro_rules! each {
            ($($kind:ident),*) => {
                match (yes.values(), no.values()) {
                    $((Values::$kind(a), Values::$kind(b)) => {
                        let a = read(a, &shape, &of(yes.shape()), 0);
                        let b = read(b, &shape, &of(no.shape()), 0);
                        let chosen = holds.into_iter().zip(a).zip(b);
                        Values::$kind(chosen.map(|((holds, a), b)| if holds { a } else { b }).collect())
                    })*
                    (a, b) => return Err(format!("elements of types {} and {}", a.element(), b.element())),
                }
            };
        }
        let values = each!(F32, F64, I64, I32, Bool, Bytes, U8);
        call.give(shape, values)
    }
}
