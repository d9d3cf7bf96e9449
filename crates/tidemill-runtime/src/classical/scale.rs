//! Operators that change each number by itself or by its row: `Scaler`, `Normalizer`, `Imputer`, `Binarizer`.

use super::kernel::{
    Built, Call, Kernel, Outcome, Refusal, Surroundings, floats, rows_and_width, wrong_type,
};
use crate::{Tensor, Values};

/// One setting for all columns, or one for each.
fn of_column<T: Copy>(settings: &[T], column: usize) -> T {
    settings[if settings.len() == 1 { 0 } else { column }]
}

fn check_width(settings: usize, width: usize) -> Outcome {
    if settings == 1 || settings == width {
        Ok(())
    } else {
        Err(format!("{settings} settings for {width} columns"))
    }
}

#[derive(Debug)]
struct Scaler {
    offset: Vec<f32>,
    scale: Vec<f32>,
}

/// Builds `Scaler`: `(x - offset) * scale`.
pub(crate) fn scaler(around: &Surroundings<'_>) -> Built {
    let attributes = &around.node.attributes;
    let (offset, scale) = (attributes.floats("offset")?.to_vec(), attributes.floats("scale")?.to_vec());
    if offset.len() != scale.len() || offset.is_empty() {
        let why = format!("{} offsets and {} scales", offset.len(), scale.len());
        return Err(Refusal::Malformed(why));
    }
    Ok(Box::new(Scaler { offset, scale }))
}

impl Kernel for Scaler {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let x = call.take(0)?;
        let (_, width) = rows_and_width(&x)?;
        check_width(self.offset.len(), width)?;
        let shape = x.shape().to_vec();
        let values = match x.into_values() {
            Values::F32(mut values) => {
                self.each(&mut values, width, |x, offset, scale| (x - offset) * scale);
                values
            }
            Values::F64(mut values) => {
                self.each(&mut values, width, |x, offset, scale| (x - f64::from(offset)) * f64::from(scale));
                values.into_iter().map(|value| value as f32).collect()
            }
            other => {
                let mut values = floats(&Tensor::vector(other))?.into_owned();
                self.each(&mut values, width, |x, offset, scale| (x - offset) * scale);
                values
            }
        };
        call.give(shape, Values::F32(values))
    }
}

impl Scaler {
    fn each<T: Copy>(&self, values: &mut [T], width: usize, scaled: impl Fn(T, f32, f32) -> T) {
        if let ([offset], [scale]) = (self.offset.as_slice(), self.scale.as_slice()) {
            values.iter_mut().for_each(|value| *value = scaled(*value, *offset, *scale));
        } else if width > 0 {
            for row in values.chunks_exact_mut(width) {
                for ((value, offset), scale) in row.iter_mut().zip(&self.offset).zip(&self.scale) {
                    *value = scaled(*value, *offset, *scale);
                }
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Normalizer {
    Max,
    L1,
    L2,
}

/// Builds `Normalizer`.
pub(crate) fn normalizer(around: &Surroundings<'_>) -> Built {
    Ok(Box::new(match around.node.attributes.text("norm")?.unwrap_or("MAX") {
        "MAX" => Normalizer::Max,
        "L1" => Normalizer::L1,
        "L2" => Normalizer::L2,
        other => return Err(Refusal::Malformed(format!("norm `{other}`"))),
    }))
}

impl Kernel for Normalizer {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let x = call.take(0)?;
        let (_, width) = rows_and_width(&x)?;
        let shape = x.shape().to_vec();
        let mut values = floats(&x)?.into_owned();
        for row in values.chunks_exact_mut(width.max(1)) {
            match self {
                Self::Max => {
                    let largest = row.iter().copied().fold(f32::MIN, f32::max);
                    if largest != 0.0 {
                        row.iter_mut().for_each(|value| *value /= largest);
                    }
                }
                Self::L1 => {
                    let sum: f32 = row.iter().map(|value| value.abs()).sum();
                    if sum != 0.0 {
                        row.iter_mut().for_each(|value| *value /= sum);
                    }
                }
                Self::L2 => {
                    let sum: f32 = row.iter().map(|value| value * value).sum();
                    if sum != 0.0 {
                        for value in row.iter_mut() {
                            let size = (*value * *value / sum).sqrt();
                            *value = if *value < 0.0 { -size } else { size };
                        }
                    }
                }
            }
        }
        call.give(shape, Values::F32(values))
    }
}

#[derive(Debug)]
struct Imputer {
    floats: Vec<f32>,
    replaced_float: f32,
    ints: Vec<i64>,
    replaced_int: i64,
}

/// Builds `Imputer`.
pub(crate) fn imputer(around: &Surroundings<'_>) -> Built {
    let attributes = &around.node.attributes;
    Ok(Box::new(Imputer {
        floats: attributes.floats("imputed_value_floats")?.to_vec(),
        replaced_float: attributes.float("replaced_value_float")?.unwrap_or_default(),
        ints: attributes.ints("imputed_value_int64s")?.to_vec(),
        replaced_int: attributes.int("replaced_value_int64")?.unwrap_or_default(),
    }))
}

impl Kernel for Imputer {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let x = call.take(0)?;
        let (_, width) = rows_and_width(&x)?;
        let shape = x.shape().to_vec();
        let width = width.max(1);
        let values = match x.into_values() {
            Values::F32(mut values) => {
                check_width(self.floats.len(), width)?;
                let replaced = self.replaced_float;
                for (index, value) in values.iter_mut().enumerate() {
                    if *value == replaced || value.is_nan() && replaced.is_nan() {
                        *value = of_column(&self.floats, index % width);
                    }
                }
                Values::F32(values)
            }
            Values::I64(mut values) => {
                check_width(self.ints.len(), width)?;
                for (index, value) in values.iter_mut().enumerate() {
                    if *value == self.replaced_int {
                        *value = of_column(&self.ints, index % width);
                    }
                }
                Values::I64(values)
            }
            other => return wrong_type(other.element()),
        };
        call.give(shape, values)
    }
}

#[derive(Debug)]
struct Binarizer(f32);

/// Builds `Binarizer`.
pub(crate) fn binarizer(around: &Surroundings<'_>) -> Built {
    Ok(Box::new(Binarizer(around.node.attributes.float("threshold")?.unwrap_or_default())))
}

impl Kernel for Binarizer {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let x = call.take(0)?;
        let shape = x.shape().to_vec();
        let Values::F32(mut values) = x.into_values() else {
            return Err("elements that are not float".to_owned());
        };
        values.iter_mut().for_each(|value| *value = if *value > self.0 { 1.0 } else { 0.0 });
        call.give(shape, Values::F32(values))
    }
}
