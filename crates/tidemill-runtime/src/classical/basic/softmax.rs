//! `Softmax`, `LogSoftmax` and `LpNormalization`.

use super::super::kernel::{Built, Call, Kernel, Outcome, Surroundings, axis, wrong_type};
use super::view::around;
use crate::Values;

#[derive(Debug)]
struct Softmax {
    axis: i64,
    /// Until version 12 everything from the axis on is one group.
    flat: bool,
    log: bool,
}

/// Builds `Softmax` and `LogSoftmax`.
pub(crate) fn softmax(around: &Surroundings<'_>) -> Built {
    let flat = around.opset < 13;
    let axis = around.node.attributes.int("axis")?.unwrap_or(if flat { 1 } else { -1 });
    Ok(Box::new(Softmax { axis, flat, log: around.node.op == "LogSoftmax" }))
}

impl Kernel for Softmax {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let x = call.take(0)?;
        let shape = x.shape().to_vec();
        let at = axis(self.axis, shape.len())?;
        let (_, mut size, mut behind) = around(&shape, at);
        if self.flat {
            (size, behind) = (size * behind, 1);
        }
        macro_rules! groups {
            ($kind:ident, $number:ty, $values:expr) => {{
                let mut values = $values;
                let mut group = vec![0.0 as $number; size];
                for block in values.chunks_exact_mut((size * behind).max(1)) {
                    for inner in 0..behind {
                        group.iter_mut().enumerate().for_each(|(i, x)| *x = block[i * behind + inner]);
                        let largest = group.iter().copied().fold(<$number>::NEG_INFINITY, <$number>::max);
                        let sum: $number = group.iter().map(|x| (*x - largest).exp()).sum();
                        for (i, x) in group.iter().enumerate() {
                            block[i * behind + inner] =
                                if self.log { *x - largest - sum.ln() } else { (*x - largest).exp() / sum };
                        }
                    }
                }
                Values::$kind(values)
            }};
        }
        let values = match x.into_values() {
            Values::F32(values) => groups!(F32, f32, values),
            Values::F64(values) => groups!(F64, f64, values),
            other => return wrong_type(other.element()),
        };
        call.give(shape, values)
    }
}

#[derive(Debug)]
struct LpNormalization {
    axis: i64,
    p: i64,
}

/// Builds `LpNormalization`: groups are divided by their sum of absolute values or by their length.
pub(crate) fn lp_normalization(around: &Surroundings<'_>) -> Built {
    let attributes = &around.node.attributes;
    let p = attributes.int("p")?.unwrap_or(2);
    if !(1..=2).contains(&p) {
        return Err(format!("a norm of order {p}").into());
    }
    Ok(Box::new(LpNormalization { axis: attributes.int("axis")?.unwrap_or(-1), p }))
}

impl Kernel for LpNormalization {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let x = call.take(0)?;
        let shape = x.shape().to_vec();
        let (_, size, behind) = around(&shape, axis(self.axis, shape.len())?);
        macro_rules! groups {
            ($kind:ident, $number:ty, $values:expr) => {{
                let mut values = $values;
                for block in values.chunks_exact_mut((size * behind).max(1)) {
                    for inner in 0..behind {
                        let group = || (0..size).map(|i| i * behind + inner);
                        let norm: $number = if self.p == 1 {
                            group().map(|i| block[i].abs()).sum()
                        } else {
                            group().map(|i| block[i] * block[i]).sum::<$number>().sqrt()
                        };
                        // A group of zeros stays.
                        if norm != 0.0 {
                            group().for_each(|i| block[i] /= norm);
                        }
                    }
                }
                Values::$kind(values)
            }};
        }
        let values = match x.into_values() {
            Values::F32(values) => groups!(F32, f32, values),
            Values::F64(values) => groups!(F64, f64, values),
            other => return wrong_type(other.element()),
        };
        call.give(shape, values)
    }
}
