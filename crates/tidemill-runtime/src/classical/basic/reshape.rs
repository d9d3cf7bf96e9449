//! Operators that change a tensor's shape and keep its values in order, and `Transpose`.

use super::super::kernel::{Built, Call, Kernel, Outcome, Surroundings, axis, ints, same_type};
use super::view::{read, strides};
use crate::{Tensor, Values};

/// Sizes or axes from an input, or in older versions from an attribute.
fn list(call: &Call<'_>, index: usize, attribute: &Option<Vec<i64>>) -> Outcome<Option<Vec<i64>>> {
    match (attribute, call.optional(index)) {
        (Some(list), _) => Ok(Some(list.clone())),
        (None, Some(tensor)) => Ok(Some(ints(tensor)?.into_owned())),
        (None, None) => Ok(None),
    }
}

fn attribute(around: &Surroundings<'_>, name: &str) -> Outcome<Option<Vec<i64>>> {
    let attributes = &around.node.attributes;
    Ok(if attributes.has(name) { Some(attributes.ints(name)?.to_vec()) } else { None })
}

/// Operators of this file that only write another shape.
#[derive(Debug)]
enum Shaped {
    Identity,
    Reshape { shape: Option<Vec<i64>>, allow_zero: bool },
    Flatten(i64),
    Squeeze(Option<Vec<i64>>),
    Unsqueeze(Option<Vec<i64>>),
}

/// Builds an operator by its name.
pub(crate) fn shaped(around: &Surroundings<'_>) -> Built {
    let attributes = &around.node.attributes;
    Ok(Box::new(match around.node.op.as_str() {
        "Reshape" => Shaped::Reshape {
            shape: attribute(around, "shape")?,
            allow_zero: attributes.flag("allowzero", false)?,
        },
        "Flatten" => Shaped::Flatten(attributes.int("axis")?.unwrap_or(1)),
        "Squeeze" => Shaped::Squeeze(attribute(around, "axes")?),
        "Unsqueeze" => Shaped::Unsqueeze(attribute(around, "axes")?),
        _ => Shaped::Identity,
    }))
}

impl Kernel for Shaped {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let old = call.tensor(0)?.shape();
        let shape = match self {
            Self::Identity => {
                let x = call.take(0)?;
                call.results.push(x);
                return Ok(());
            }
            Self::Reshape { shape, allow_zero } => {
                let wanted = list(call, 1, shape)?.ok_or_else(|| "no shape".to_owned())?;
                reshaped(old, &wanted, *allow_zero)?
            }
            Self::Flatten(at) => {
                let rank = old.len() as i64;
                let at = if *at < 0 { at.saturating_add(rank) } else { *at };
                let Some((front, back)) = usize::try_from(at).ok().and_then(|at| old.split_at_checked(at))
                else {
                    return Err(format!("axis {at} of {rank} dimensions"));
                };
                vec![front.iter().product(), back.iter().product()]
            }
            Self::Squeeze(axes) => match list(call, 1, axes)? {
                None => old.iter().copied().filter(|size| *size != 1).collect(),
                Some(axes) => {
                    let axes = axes.iter().map(|at| axis(*at, old.len())).collect::<Outcome<Vec<usize>>>()?;
                    if let Some(at) = axes.iter().find(|at| old[**at] != 1) {
                        return Err(format!("axis {at} of shape {old:?} has more than one place"));
                    }
                    let kept = old.iter().enumerate().filter(|(at, _)| !axes.contains(at));
                    kept.map(|(_, size)| *size).collect()
                }
            },
            Self::Unsqueeze(axes) => {
                let axes = list(call, 1, axes)?.unwrap_or_default();
                let rank = old.len() + axes.len();
                let axes = axes.iter().map(|at| axis(*at, rank)).collect::<Outcome<Vec<usize>>>()?;
                let mut sizes = old.iter();
                let size = |at: usize| {
                    if axes.contains(&at) { Some(1) } else { sizes.next().copied() }
                };
                let shape: Option<Vec<usize>> = (0..rank).map(size).collect();
                shape.ok_or_else(|| "an axis twice".to_owned())?
            }
        };
        call.bounded(&shape)?;
        let x = call.take(0)?;
        call.give(shape, x.into_values())
    }
}

/// 0 keeps a size, and -1 is whatever is left.
fn reshaped(old: &[usize], wanted: &[i64], allow_zero: bool) -> Outcome<Vec<usize>> {
    let total: usize = old.iter().product();
    let mut shape = Vec::with_capacity(wanted.len());
    let mut open = None;
    for (at, size) in wanted.iter().enumerate() {
        shape.push(match *size {
            0 if !allow_zero => *old.get(at).ok_or_else(|| format!("no dimension {at} to keep"))?,
            -1 if open.is_none() => {
                open = Some(at);
                1
            }
            size => usize::try_from(size).map_err(|_| format!("a shape of {wanted:?}"))?,
        });
    }
    if let Some(at) = open {
        let others = shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size));
        let others = others.ok_or_else(|| format!("a shape of {wanted:?}"))?;
        // An empty batch stays empty.
        shape[at] = total.checked_div(others).unwrap_or(0);
    }
    Ok(shape)
}

#[derive(Debug)]
struct Transpose(Option<Vec<i64>>);

/// Builds `Transpose`.
pub(crate) fn transpose(around: &Surroundings<'_>) -> Built {
    Ok(Box::new(Transpose(attribute(around, "perm")?)))
}

impl Kernel for Transpose {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let x = call.tensor(0)?;
        let rank = x.shape().len();
        let order = match &self.0 {
            None => (0..rank).rev().collect(),
            Some(order) => {
                let order = order.iter().map(|at| axis(*at, rank)).collect::<Outcome<Vec<usize>>>()?;
                let mut sorted = order.clone();
                sorted.sort_unstable();
                if !sorted.into_iter().eq(0..rank) {
                    return Err(format!("an order {order:?} of {rank} dimensions"));
                }
                order
            }
        };
        let shape: Vec<usize> = order.iter().map(|at| x.shape()[*at]).collect();
        if rank == 2 && shape.contains(&1) {
            let x = call.take(0)?;
            return call.give(shape, x.into_values());
        }
        let own = strides(x.shape());
        let moved: Vec<isize> = order.iter().map(|at| own[*at]).collect();
        let values = same_type!(x.values(), values => read(values, &shape, &moved, 0));
        call.give(shape, values)
    }
}

#[derive(Debug)]
struct Shape {
    start: i64,
    end: i64,
    size_only: bool,
}

/// Builds `Shape` and `Size`.
pub(crate) fn shape(around: &Surroundings<'_>) -> Built {
    let attributes = &around.node.attributes;
    Ok(Box::new(Shape {
        start: attributes.int("start")?.unwrap_or(0),
        end: attributes.int("end")?.unwrap_or(i64::MAX),
        size_only: around.node.op == "Size",
    }))
}

impl Kernel for Shape {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let x: &Tensor = call.tensor(0)?;
        if self.size_only {
            let count = x.values().len() as i64;
            return call.give(vec![], Values::I64(vec![count]));
        }
        let rank = x.shape().len() as i64;
        let place = |at: i64| (if at < 0 { at.saturating_add(rank) } else { at }).clamp(0, rank) as usize;
        let (start, end) = (place(self.start), place(self.end));
        let sizes: Vec<i64> =
            x.shape().get(start..end).unwrap_or_default().iter().map(|size| *size as i64).collect();
        call.give(vec![sizes.len()], Values::I64(sizes))
    }
}
