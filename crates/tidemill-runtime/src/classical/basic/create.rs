//! Operators that make tensors: `Constant`, `ConstantOfShape`, `Range`, `Expand`, `Tile`.

use super::super::kernel::{
    Built, Call, Kernel, Outcome, Refusal, Surroundings, ints, same_type, wrong_type,
};
use super::view::{broadcast_shape, broadcast_strides, read, strides};
use crate::{Tensor, Values};

#[derive(Debug)]
struct Constant(Tensor);

/// Builds `Constant`.
pub(crate) fn constant(around: &Surroundings<'_>) -> Built {
    let attributes = &around.node.attributes;
    let tensor = if let Some(tensor) = attributes.tensor("value")? {
        tensor.clone()
    } else if let Some(value) = attributes.float("value_float")? {
        scalar(Values::F32(vec![value]))?
    } else if let Some(value) = attributes.int("value_int")? {
        scalar(Values::I64(vec![value]))?
    } else if let Some(value) = attributes.bytes("value_string")? {
        scalar(Values::Bytes(vec![value.to_vec()]))?
    } else if attributes.has("value_floats") {
        Tensor::vector(Values::F32(attributes.floats("value_floats")?.to_vec()))
    } else if attributes.has("value_ints") {
        Tensor::vector(Values::I64(attributes.ints("value_ints")?.to_vec()))
    } else if attributes.has("value_strings") {
        Tensor::vector(Values::Bytes(attributes.texts("value_strings")?.to_vec()))
    } else {
        return Err(Refusal::Missing("sparse constants".to_owned()));
    };
    Ok(Box::new(Constant(tensor)))
}

fn scalar(values: Values) -> Outcome<Tensor> {
    Tensor::new(vec![], values).map_err(|error| error.to_string())
}

impl Kernel for Constant {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        call.results.push(self.0.clone());
        Ok(())
    }
}

fn sizes(tensor: &Tensor) -> Outcome<Vec<usize>> {
    ints(tensor)?.iter().map(|size| usize::try_from(*size).map_err(|_| format!("a size of {size}"))).collect()
}

#[derive(Debug)]
struct ConstantOfShape(Values);

/// Builds `ConstantOfShape`.
pub(crate) fn constant_of_shape(around: &Surroundings<'_>) -> Built {
    let value = around.node.attributes.tensor("value")?.map(|tensor| tensor.values().clone());
    let value = value.unwrap_or_else(|| Values::F32(vec![0.0]));
    if value.len() != 1 {
        return Err(Refusal::Malformed(format!("{} values", value.len())));
    }
    Ok(Box::new(ConstantOfShape(value)))
}

impl Kernel for ConstantOfShape {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let shape = sizes(call.tensor(0)?)?;
        let count = call.bounded(&shape)?;
        let values = same_type!(&self.0, value => {
            value.iter().cycle().take(count).cloned().collect()
        });
        call.give(shape, values)
    }
}

#[derive(Debug)]
struct Expand;

/// Builds `Expand`.
pub(crate) fn expand(_: &Surroundings<'_>) -> Built {
    Ok(Box::new(Expand))
}

impl Kernel for Expand {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let x = call.tensor(0)?;
        let shape = broadcast_shape(x.shape(), &sizes(call.tensor(1)?)?)?;
        call.bounded(&shape)?;
        let own = broadcast_strides(x.shape(), &shape);
        let values = same_type!(x.values(), values => read(values, &shape, &own, 0));
        call.give(shape, values)
    }
}

#[derive(Debug)]
struct Tile;

/// Builds `Tile`.
pub(crate) fn tile(_: &Surroundings<'_>) -> Built {
    Ok(Box::new(Tile))
}

impl Kernel for Tile {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let x = call.tensor(0)?;
        let repeats = sizes(call.tensor(1)?)?;
        if repeats.len() != x.shape().len() {
            return Err(format!("{} repeats of {} dimensions", repeats.len(), x.shape().len()));
        }
        // Each dimension becomes two: how often, which does not move, and the dimension itself.
        let split: Vec<usize> = repeats.iter().zip(x.shape()).flat_map(|(r, size)| [*r, *size]).collect();
        call.bounded(&split)?;
        let own: Vec<isize> = strides(x.shape()).into_iter().flat_map(|stride| [0, stride]).collect();
        let values = same_type!(x.values(), values => read(values, &split, &own, 0));
        let shape = repeats.iter().zip(x.shape()).map(|(r, size)| r * size).collect();
        call.give(shape, values)
    }
}

#[derive(Debug)]
struct Range;

/// Builds `Range`.
pub(crate) fn range(_: &Surroundings<'_>) -> Built {
    Ok(Box::new(Range))
}

impl Kernel for Range {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let parts = [call.tensor(0)?.values(), call.tensor(1)?.values(), call.tensor(2)?.values()];
        macro_rules! numbers {
            ($kind:ident, $number:ty, $nth:expr) => {
                if let [Values::$kind(start), Values::$kind(end), Values::$kind(step)] = parts
                    && let ([start], [end], [step]) = (start.as_slice(), end.as_slice(), step.as_slice())
                {
                    let count = ((*end as f64 - *start as f64) / *step as f64).ceil().max(0.0);
                    let count =
                        call.bounded(&[if count.is_finite() { count as usize } else { usize::MAX }])?;
                    let values = (0..count).map(|index| $nth(*start, *step, index as $number)).collect();
                    return call.give(vec![count], Values::$kind(values));
                }
            };
        }
        numbers!(I64, i64, |start: i64, step: i64, n: i64| start.wrapping_add(step.wrapping_mul(n)));
        numbers!(I32, i32, |start: i32, step: i32, n: i32| start.wrapping_add(step.wrapping_mul(n)));
        numbers!(F32, f32, |start: f32, step: f32, n: f32| start + step * n);
        numbers!(F64, f64, |start: f64, step: f64, n: f64| start + step * n);
        wrong_type(parts[0].element())
    }
}
