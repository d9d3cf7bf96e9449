//! Operators that compare or add up along an axis: `ArgMax`, `ArgMin`, `TopK`, `CumSum`.

use std::cmp::Ordering;

use super::super::kernel::{Built, Call, Kernel, Outcome, Surroundings, axis, ints, wrong_type};
use super::view::around;
use crate::Values;

#[derive(Debug)]
struct ArgExtreme {
    axis: i64,
    keep: bool,
    last: bool,
    largest: bool,
}

/// Builds `ArgMax` and `ArgMin`.
pub(crate) fn arg_extreme(around: &Surroundings<'_>) -> Built {
    let attributes = &around.node.attributes;
    Ok(Box::new(ArgExtreme {
        axis: attributes.int("axis")?.unwrap_or(0),
        keep: attributes.flag("keepdims", true)?,
        last: attributes.flag("select_last_index", false)?,
        largest: around.node.op == "ArgMax",
    }))
}

impl Kernel for ArgExtreme {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let x = call.tensor(0)?;
        let at = axis(self.axis, x.shape().len())?;
        let (before, size, behind) = around(x.shape(), at);
        if size == 0 {
            return Err("the largest of nothing".to_owned());
        }
        macro_rules! places {
            ($values:expr) => {{
                let values = $values;
                let mut places = Vec::with_capacity(before * behind);
                for outer in 0..before {
                    for inner in 0..behind {
                        let at = |place: usize| values[(outer * size + place) * behind + inner];
                        let mut best = 0;
                        for place in 1..size {
                            let (new, old) = (at(place), at(best));
                            let better = if self.largest { new > old } else { new < old };
                            if better || self.last && new == old {
                                best = place;
                            }
                        }
                        places.push(best as i64);
                    }
                }
                places
            }};
        }
        let places = match x.values() {
            Values::F32(values) => places!(values),
            Values::F64(values) => places!(values),
            Values::I64(values) => places!(values),
            Values::I32(values) => places!(values),
            other => return wrong_type(other.element()),
        };
        let mut shape = x.shape().to_vec();
        if self.keep {
            shape[at] = 1;
        } else {
            shape.remove(at);
        }
        call.give(shape, Values::I64(places))
    }
}

#[derive(Debug)]
struct TopK {
    axis: i64,
    k: Option<i64>,
    largest: bool,
}

/// Builds `TopK`. Results are sorted whatever `sorted` says.
pub(crate) fn top_k(around: &Surroundings<'_>) -> Built {
    let attributes = &around.node.attributes;
    Ok(Box::new(TopK {
        axis: attributes.int("axis")?.unwrap_or(-1),
        k: attributes.int("k")?,
        largest: attributes.flag("largest", true)?,
    }))
}

impl Kernel for TopK {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let x = call.tensor(0)?;
        let at = axis(self.axis, x.shape().len())?;
        let k = match self.k {
            Some(k) => k,
            None => ints(call.tensor(1)?)?.first().copied().unwrap_or_default(),
        };
        let (before, size, behind) = around(x.shape(), at);
        let k = usize::try_from(k).ok().filter(|k| *k <= size);
        let k = k.ok_or_else(|| format!("more than the {size} places of axis {at}"))?;
        let mut shape = x.shape().to_vec();
        shape[at] = k;
        macro_rules! chosen {
            ($kind:ident, $values:expr) => {{
                let values = $values;
                let mut best = vec![Default::default(); before * k * behind];
                let mut places = vec![0_i64; before * k * behind];
                let mut order: Vec<usize> = Vec::with_capacity(size);
                for outer in 0..before {
                    for inner in 0..behind {
                        let of = |place: usize| values[(outer * size + place) * behind + inner];
                        order.clear();
                        order.extend(0..size);
                        let compare = |a: &usize, b: &usize| {
                            let order = of(*a).partial_cmp(&of(*b)).unwrap_or(Ordering::Equal);
                            (if self.largest { order.reverse() } else { order }).then(a.cmp(b))
                        };
                        if k > 0 && k < size {
                            order.select_nth_unstable_by(k - 1, compare);
                            order.truncate(k);
                        }
                        order.sort_unstable_by(compare);
                        for (rank, place) in order.iter().take(k).enumerate() {
                            let to = (outer * k + rank) * behind + inner;
                            best[to] = of(*place);
                            places[to] = *place as i64;
                        }
                    }
                }
                (Values::$kind(best), places)
            }};
        }
        let (values, places) = match x.values() {
            Values::F32(values) if !values.iter().any(|x| x.is_nan()) => chosen!(F32, values),
            Values::F64(values) if !values.iter().any(|x| x.is_nan()) => chosen!(F64, values),
            Values::F32(_) | Values::F64(_) => return Err("NaN has no order".to_owned()),
            Values::I64(values) => chosen!(I64, values),
            Values::I32(values) => chosen!(I32, values),
            other => return wrong_type(other.element()),
        };
        call.give(shape.clone(), values)?;
        call.give(shape, Values::I64(places))
    }
}

#[derive(Debug)]
struct CumSum {
    exclusive: bool,
    reverse: bool,
}

/// Builds `CumSum`.
pub(crate) fn cum_sum(around: &Surroundings<'_>) -> Built {
    let attributes = &around.node.attributes;
    Ok(Box::new(CumSum {
        exclusive: attributes.flag("exclusive", false)?,
        reverse: attributes.flag("reverse", false)?,
    }))
}

impl Kernel for CumSum {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let at = ints(call.tensor(1)?)?.first().copied().unwrap_or_default();
        let x = call.take(0)?;
        let shape = x.shape().to_vec();
        let (before, size, behind) = around(&shape, axis(at, shape.len())?);
        macro_rules! sums {
            ($kind:ident, $values:expr, $zero:expr, $add:expr) => {{
                let mut values = $values;
                for outer in 0..before {
                    for inner in 0..behind {
                        let mut sum = $zero;
                        for step in 0..size {
                            let place = if self.reverse { size - 1 - step } else { step };
                            let value = &mut values[(outer * size + place) * behind + inner];
                            let next = $add(sum, *value);
                            *value = if self.exclusive { sum } else { next };
                            sum = next;
                        }
                    }
                }
                Values::$kind(values)
            }};
        }
        let values = match x.into_values() {
            Values::F32(values) => sums!(F32, values, 0.0_f32, |a: f32, b: f32| a + b),
            Values::F64(values) => sums!(F64, values, 0.0_f64, |a: f64, b: f64| a + b),
            Values::I64(values) => sums!(I64, values, 0_i64, i64::wrapping_add),
            Values::I32(values) => sums!(I32, values, 0_i32, i32::wrapping_add),
            other => return wrong_type(other.element()),
        };
        call.give(shape, values)
    }
}
