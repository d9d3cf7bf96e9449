//! Operators that pick elements by their places or put them there.

use super::super::kernel::{
    Built, Call, Kernel, Outcome, Refusal, Surroundings, axis, ints, same_type, wrong_type,
};
use super::view::{around, read, strides};
use crate::{Tensor, Values};

#[derive(Debug)]
struct Concat(i64);

/// Builds `Concat`.
pub(crate) fn concat(around: &Surroundings<'_>) -> Built {
    Ok(Box::new(Concat(around.node.attributes.int("axis")?.unwrap_or(1))))
}

impl Kernel for Concat {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let parts =
            (0..call.args.len()).map(|index| call.tensor(index)).collect::<Outcome<Vec<&Tensor>>>()?;
        let Some(first) = parts.first() else { return Err("no input".to_owned()) };
        let at = axis(self.0, first.shape().len())?;
        let fits = |part: &&Tensor| {
            part.shape().len() == first.shape().len()
                && part.shape().iter().zip(first.shape()).enumerate().all(|(dim, (a, b))| dim == at || a == b)
        };
        if let Some(other) = parts.iter().find(|part| !fits(part)) {
            return Err(format!("shapes {:?} and {:?} along axis {at}", first.shape(), other.shape()));
        }
        let mut shape = first.shape().to_vec();
        shape[at] = parts.iter().map(|part| part.shape()[at]).sum();
        let total = call.bounded(&shape)?;
        let (before, _, behind) = around(&shape, at);
        macro_rules! each {
            ($($kind:ident),*) => {
                match first.values() {
                    $(Values::$kind(_) => {
                        let mut slices = Vec::with_capacity(parts.len());
                        for part in &parts {
                            let Values::$kind(values) = part.values() else {
                                return Err(format!("elements of types {} and {}", first.element(), part.element()));
                            };
                            slices.push((values.as_slice(), part.shape()[at] * behind));
                        }
                        let mut out = Vec::with_capacity(total);
                        for index in 0..before {
                            for (values, length) in &slices {
                                out.extend_from_slice(&values[index * length..(index + 1) * length]);
                            }
                        }
                        Values::$kind(out)
                    })*
                    other => return wrong_type(other.element()),
                }
            };
        }
        let values = each!(F32, F64, I64, I32, Bool, Bytes, U8);
        call.give(shape, values)
    }
}

/// A part along one axis.
fn part(x: &Tensor, at: usize, start: usize, size: usize) -> Outcome<Tensor> {
    let mut shape = x.shape().to_vec();
    shape[at] = size;
    let own = strides(x.shape());
    let offset = own[at].saturating_mul(start as isize);
    let values = same_type!(x.values(), values => read(values, &shape, &own, offset));
    Tensor::new(shape, values).map_err(|error| error.to_string())
}

#[derive(Debug)]
struct Split {
    axis: i64,
    sizes: Option<Vec<i64>>,
    outputs: usize,
}

/// Builds `Split`.
pub(crate) fn split(around: &Surroundings<'_>) -> Built {
    let attributes = &around.node.attributes;
    let sizes = if attributes.has("split") { Some(attributes.ints("split")?.to_vec()) } else { None };
    let axis = attributes.int("axis")?.unwrap_or(0);
    Ok(Box::new(Split { axis, sizes, outputs: around.node.outputs.len().max(1) }))
}

impl Kernel for Split {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let x = call.tensor(0)?;
        let at = axis(self.axis, x.shape().len())?;
        let size = x.shape()[at];
        let sizes = match (&self.sizes, call.optional(1)) {
            (Some(sizes), _) => sizes.clone(),
            (None, Some(sizes)) => ints(sizes)?.into_owned(),
            (None, None) => {
                // The last part may be smaller.
                let chunk = size.div_ceil(self.outputs);
                (0..self.outputs).map(|index| chunk.min(size.saturating_sub(index * chunk)) as i64).collect()
            }
        };
        let mut start = 0_usize;
        let mut parts = Vec::with_capacity(sizes.len());
        for own in sizes {
            let own = usize::try_from(own)
                .ok()
                .filter(|own| start.checked_add(*own).is_some_and(|end| end <= size));
            let own = own.ok_or_else(|| format!("parts beyond the {size} places of axis {at}"))?;
            parts.push(part(x, at, start, own)?);
            start += own;
        }
        if start != size {
            return Err(format!("parts of {start} places in all, of {size}"));
        }
        call.results.extend(parts);
        Ok(())
    }
}

#[derive(Debug)]
struct Slice {
    starts: Vec<i64>,
    ends: Vec<i64>,
    axes: Vec<i64>,
    by_attributes: bool,
}

/// Builds `Slice`, whose bounds are attributes at first and inputs since version 10.
pub(crate) fn slice(around: &Surroundings<'_>) -> Built {
    let attributes = &around.node.attributes;
    Ok(Box::new(Slice {
        starts: attributes.ints("starts")?.to_vec(),
        ends: attributes.ints("ends")?.to_vec(),
        axes: attributes.ints("axes")?.to_vec(),
        by_attributes: attributes.has("starts"),
    }))
}

impl Kernel for Slice {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let x = call.tensor(0)?;
        let rank = x.shape().len();
        let optional = |index: usize| -> Outcome<Vec<i64>> {
            call.optional(index).map_or(Ok(Vec::new()), |tensor| Ok(ints(tensor)?.into_owned()))
        };
        let (starts, ends, axes, steps) = if self.by_attributes {
            (self.starts.clone(), self.ends.clone(), self.axes.clone(), Vec::new())
        } else {
            (optional(1)?, optional(2)?, optional(3)?, optional(4)?)
        };
        if starts.len() != ends.len() || !axes.is_empty() && axes.len() != starts.len() {
            return Err("bounds of different lengths".to_owned());
        }
        let mut shape = x.shape().to_vec();
        let mut moves = strides(&shape);
        let mut offset = 0_isize;
        for (index, (start, end)) in starts.iter().zip(&ends).enumerate() {
            let at = axis(axes.get(index).copied().unwrap_or(index as i64), rank)?;
            let step = steps.get(index).copied().unwrap_or(1);
            let size = x.shape()[at] as i64;
            if size == 0 {
                continue;
            }
            let place = |at: i64, low: i64, high: i64| {
                (if at < 0 { at.saturating_add(size) } else { at }).clamp(low, high)
            };
            let (first, count) = match step {
                0 => return Err("a step of 0".to_owned()),
                1.. => {
                    let (first, end) = (place(*start, 0, size), place(*end, 0, size));
                    (
                        first,
                        (end - first).max(0).div_euclid(step) + i64::from((end - first).max(0) % step != 0),
                    )
                }
                _ => {
                    let (first, end) = (place(*start, 0, size - 1), place(*end, -1, size - 1));
                    let (span, step) = ((first - end).max(0), step.saturating_neg());
                    (first, span / step + i64::from(span % step != 0))
                }
            };
            shape[at] = usize::try_from(count).unwrap_or(0);
            if shape[at] > 0 {
                offset += first as isize * moves[at];
            }
            moves[at] = moves[at].saturating_mul(step as isize);
        }
        let values = same_type!(x.values(), values => read(values, &shape, &moves, offset));
        call.give(shape, values)
    }
}

/// Places along an axis of `size`; negative ones count from the end.
fn places(indices: &Tensor, size: usize) -> Outcome<Vec<usize>> {
    ints(indices)?
        .iter()
        .map(|index| {
            let place = if *index < 0 { index.saturating_add(size as i64) } else { *index };
            usize::try_from(place).ok().filter(|place| *place < size)
        })
        .collect::<Option<Vec<usize>>>()
        .ok_or_else(|| format!("a place beyond an axis of {size}"))
}

#[derive(Debug)]
struct Gather(i64);

/// Builds `Gather`.
pub(crate) fn gather(around: &Surroundings<'_>) -> Built {
    Ok(Box::new(Gather(around.node.attributes.int("axis")?.unwrap_or(0))))
}

impl Kernel for Gather {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let (x, indices) = (call.tensor(0)?, call.tensor(1)?);
        let at = axis(self.0, x.shape().len())?;
        let (before, size, behind) = around(x.shape(), at);
        let wanted = places(indices, size)?;
        let mut shape = x.shape()[..at].to_vec();
        shape.extend_from_slice(indices.shape());
        shape.extend_from_slice(&x.shape()[at + 1..]);
        let total = call.bounded(&shape)?;
        let values = same_type!(x.values(), values => {
            let mut out = Vec::with_capacity(total);
            for outer in 0..before {
                for place in &wanted {
                    let start = (outer * size + place) * behind;
                    out.extend_from_slice(&values[start..start + behind]);
                }
            }
            out
        });
        call.give(shape, values)
    }
}

/// For each element of `indices` the place in a tensor of `shape` which it means along `at`.
fn element_places(indices: &Tensor, shape: &[usize], at: usize) -> Outcome<Vec<usize>> {
    let fits = indices.shape().len() == shape.len()
        && indices.shape().iter().zip(shape).enumerate().all(|(dim, (a, b))| dim == at || a <= b);
    if !fits {
        return Err(format!("places of shape {:?} in a tensor of shape {shape:?}", indices.shape()));
    }
    let along = places(indices, shape[at])?;
    let mut own = strides(shape);
    let stride = own[at] as usize;
    own[at] = 0;
    let mut out = Vec::with_capacity(along.len());
    super::view::each_run(indices.shape(), &own, 0, |start, length, step| {
        for index in 0..length as isize {
            out.push((start + index * step) as usize);
        }
    });
    out.iter_mut().zip(along).for_each(|(place, along)| *place += along * stride);
    Ok(out)
}

#[derive(Debug)]
struct GatherElements(i64);

/// Builds `GatherElements`.
pub(crate) fn gather_elements(around: &Surroundings<'_>) -> Built {
    Ok(Box::new(GatherElements(around.node.attributes.int("axis")?.unwrap_or(0))))
}

impl Kernel for GatherElements {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let (x, indices) = (call.tensor(0)?, call.tensor(1)?);
        let at = axis(self.0, x.shape().len())?;
        let wanted = element_places(indices, x.shape(), at)?;
        let shape = indices.shape().to_vec();
        let values = same_type!(x.values(), values => {
            wanted.iter().map(|place| values[*place].clone()).collect()
        });
        call.give(shape, values)
    }
}

#[derive(Debug)]
struct ScatterElements {
    axis: i64,
    add: bool,
}

/// Builds `ScatterElements` and its older name `Scatter`.
pub(crate) fn scatter_elements(around: &Surroundings<'_>) -> Built {
    let attributes = &around.node.attributes;
    let add = match attributes.text("reduction")?.unwrap_or("none") {
        "none" => false,
        "add" => true,
        other => return Err(Refusal::Missing(format!("reduction `{other}`"))),
    };
    Ok(Box::new(ScatterElements { axis: attributes.int("axis")?.unwrap_or(0), add }))
}

impl Kernel for ScatterElements {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let x = call.take(0)?;
        let (indices, updates) = (call.tensor(1)?, call.tensor(2)?);
        let at = axis(self.axis, x.shape().len())?;
        let wanted = element_places(indices, x.shape(), at)?;
        let shape = x.shape().to_vec();
        macro_rules! each {
            ($($kind:ident $add:expr;)*) => {
                match (x.into_values(), updates.values()) {
                    $((Values::$kind(mut values), Values::$kind(updates)) => {
                        let add = $add;
                        for (place, update) in wanted.iter().zip(updates) {
                            if self.add {
                                values[*place] = add(values[*place], *update);
                            } else {
                                values[*place] = *update;
                            }
                        }
                        Values::$kind(values)
                    })*
                    (values, _) => return wrong_type(values.element()),
                }
            };
        }
        let values = each!(
            F32 |a: f32, b: f32| a + b;
            F64 |a: f64, b: f64| a + b;
            I64 |a: i64, b: i64| a.wrapping_add(b);
            I32 |a: i32, b: i32| a.wrapping_add(b);
            Bool |a: bool, b: bool| a || b;
        );
        call.give(shape, values)
    }
}
