//! Sums, means and the like along axes.

use super::super::kernel::{Built, Call, Kernel, Outcome, Surroundings, axis, ints, wrong_type};
use super::view::{read, strides};
use crate::Values;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Sum,
    Mean,
    Max,
    Min,
    Product,
    SumSquare,
    L1,
    L2,
    LogSum,
    LogSumExp,
}

#[derive(Debug)]
struct Reduce {
    how: How,
    axes: Option<Vec<i64>>,
    keep: bool,
    nothing_if_no_axes: bool,
}

/// Builds an operator by its name.
pub(crate) fn reduce(around: &Surroundings<'_>) -> Built {
    let attributes = &around.node.attributes;
    let how = match around.node.op.as_str() {
        "ReduceSum" => How::Sum,
        "ReduceMean" => How::Mean,
        "ReduceMax" => How::Max,
        "ReduceMin" => How::Min,
        "ReduceProd" => How::Product,
        "ReduceSumSquare" => How::SumSquare,
        "ReduceL1" => How::L1,
        "ReduceL2" => How::L2,
        "ReduceLogSum" => How::LogSum,
        _ => How::LogSumExp,
    };
    let axes = if attributes.has("axes") { Some(attributes.ints("axes")?.to_vec()) } else { None };
    Ok(Box::new(Reduce {
        how,
        axes,
        keep: attributes.flag("keepdims", true)?,
        nothing_if_no_axes: attributes.flag("noop_with_empty_axes", false)?,
    }))
}

impl Kernel for Reduce {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let x = call.tensor(0)?;
        let rank = x.shape().len();
        let axes = match (&self.axes, call.optional(1)) {
            (Some(axes), _) => axes.clone(),
            (None, Some(axes)) => ints(axes)?.into_owned(),
            (None, None) => Vec::new(),
        };
        let mut reduced = vec![axes.is_empty(); rank];
        for at in &axes {
            reduced[axis(*at, rank)?] = true;
        }
        if axes.is_empty() && self.nothing_if_no_axes {
            reduced.fill(false);
        }
        // The axes that go are read last, so that each result's elements stand together.
        let order = (0..rank).filter(|at| !reduced[*at]).chain((0..rank).filter(|at| reduced[*at]));
        let order: Vec<usize> = order.collect();
        let is_ordered = order.iter().copied().eq(0..rank);
        let length: usize = (0..rank).filter(|at| reduced[*at]).map(|at| x.shape()[at]).product();
        let groups: usize = (0..rank).filter(|at| !reduced[*at]).map(|at| x.shape()[at]).product();
        let own = strides(x.shape());
        let shape: Vec<usize> = order.iter().map(|at| x.shape()[*at]).collect();
        let moves: Vec<isize> = order.iter().map(|at| own[*at]).collect();
        call.bounded(&[groups])?;
        macro_rules! grouped {
            ($kind:ident, $values:expr) => {{
                let ordered;
                let values = if is_ordered {
                    $values.as_slice()
                } else {
                    ordered = read($values, &shape, &moves, 0);
                    ordered.as_slice()
                };
                let group = |index: usize| &values[index * length..(index + 1) * length];
                Values::$kind((0..groups).map(|index| self.how.$kind(group(index))).collect())
            }};
        }
        let values = match x.values() {
            Values::F32(values) => grouped!(F32, values),
            Values::F64(values) => grouped!(F64, values),
            Values::I64(values) => grouped!(I64, values),
            Values::I32(values) => grouped!(I32, values),
            other => return wrong_type(other.element()),
        };
        let sizes = x.shape().iter().zip(&reduced);
        let shape = if self.keep {
            sizes.map(|(size, reduced)| if *reduced { 1 } else { *size }).collect()
        } else {
            sizes.filter(|(_, reduced)| !**reduced).map(|(size, _)| *size).collect()
        };
        call.give(shape, values)
    }
}

macro_rules! floats {
    ($name:ident, $number:ty) => {
        #[expect(non_snake_case, reason = "named as the variant of values that it is for")]
        fn $name(self, group: &[$number]) -> $number {
            let sum = |f: fn($number) -> $number| group.iter().map(|x| f(*x)).sum::<$number>();
            let extreme = |start: $number, better: fn($number, $number) -> bool| {
                group.iter().copied().fold(start, |best, x| if better(x, best) { x } else { best })
            };
            match self {
                Self::Sum => sum(|x| x),
                Self::Mean => sum(|x| x) / group.len() as $number,
                Self::Max => extreme(<$number>::NEG_INFINITY, |x, best| x > best),
                Self::Min => extreme(<$number>::INFINITY, |x, best| x < best),
                Self::Product => group.iter().product(),
                Self::SumSquare => sum(|x| x * x),
                Self::L1 => sum(<$number>::abs),
                Self::L2 => sum(|x| x * x).sqrt(),
                Self::LogSum => sum(|x| x).ln(),
                Self::LogSumExp => {
                    let largest = extreme(<$number>::NEG_INFINITY, |x, best| x > best);
                    // All minus infinity, or plus infinity among them: the largest says it.
                    if largest.is_finite() {
                        group.iter().map(|x| (*x - largest).exp()).sum::<$number>().ln() + largest
                    } else {
                        largest
                    }
                }
            }
        }
    };
}

macro_rules! whole {
    ($name:ident, $number:ty) => {
        #[expect(non_snake_case, reason = "named as the variant of values that it is for")]
        fn $name(self, group: &[$number]) -> $number {
            let sum =
                |f: fn($number) -> $number| group.iter().fold(0, |sum: $number, x| sum.wrapping_add(f(*x)));
            match self {
                Self::Sum => sum(|x| x),
                Self::Mean => sum(|x| x).checked_div(group.len() as $number).unwrap_or(0),
                Self::Max => group.iter().copied().max().unwrap_or(<$number>::MIN),
                Self::Min => group.iter().copied().min().unwrap_or(<$number>::MAX),
                Self::Product => group.iter().fold(1, |product: $number, x| product.wrapping_mul(*x)),
                Self::SumSquare => sum(|x| x.wrapping_mul(x)),
                Self::L1 => sum(<$number>::wrapping_abs),
                Self::L2 => (sum(|x| x.wrapping_mul(x)) as f64).sqrt() as $number,
                Self::LogSum => (sum(|x| x) as f64).ln() as $number,
                Self::LogSumExp => group.iter().map(|x| (*x as f64).exp()).sum::<f64>().ln() as $number,
            }
        }
    };
}

impl How {
    floats!(F32, f32);
    floats!(F64, f64);
    whole!(I64, i64);
    whole!(I32, i32);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_reduced_in_their_own_order() {
        assert_eq!(How::Sum.F32(&[1.0, 2.0, 3.5]), 6.5);
        assert_eq!(How::Max.F32(&[-1.0, 3.0, 2.0]), 3.0);
        assert_eq!(How::LogSumExp.F64(&[f64::NEG_INFINITY]), f64::NEG_INFINITY);
        assert!((How::LogSumExp.F64(&[1000.0, 1000.0]) - 1_000.693_147_180_559_9).abs() < 1e-9);
        assert_eq!(How::Mean.I64(&[]), 0);
    }
}
