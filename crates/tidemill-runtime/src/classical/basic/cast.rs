//! `Cast`: from every element type to every other.

use half::{bf16, f16};

use super::super::kernel::{Built, Call, Kernel, Outcome, Refusal, Surroundings, truncated};
use crate::onnx::constant::element_type;
use crate::{ElementType, Tensor, Values};

/// The most bytes that a cast may give: a tensor of bytes becomes one of texts that is fifty times as large.
const MOST_BYTES: usize = 256 << 20;
/// What a text of a number takes: where it is, and the least that is reserved for it.
const TEXT: usize = size_of::<Vec<u8>>() + 24;

#[derive(Debug)]
struct Cast(ElementType);

/// Builds `Cast`.
pub(crate) fn cast(around: &Surroundings<'_>) -> Built {
    let to = around.node.attributes.int("to")?.unwrap_or_default();
    match i32::try_from(to).ok().and_then(element_type) {
        Some(element) => Ok(Box::new(Cast(element))),
        None => Err(Refusal::Missing(format!("a cast to type {to}"))),
    }
}

#[derive(Debug)]
struct CastLike;

/// Builds `CastLike`.
pub(crate) fn cast_like(_: &Surroundings<'_>) -> Built {
    Ok(Box::new(CastLike))
}

impl Kernel for Cast {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let x = call.take(0)?;
        let cast = converted(x, self.0, MOST_BYTES)?;
        call.results.push(cast);
        Ok(())
    }
}

impl Kernel for CastLike {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let to = call.tensor(1)?.element();
        let cast = converted(call.take(0)?, to, MOST_BYTES)?;
        call.results.push(cast);
        Ok(())
    }
}

/// `x` with another type of elements, which may take as many bytes.
fn converted(x: Tensor, to: ElementType, most: usize) -> Outcome<Tensor> {
    if x.element() == to {
        return Ok(x);
    }
    let shape = x.shape().to_vec();
    // Known before anything is reserved.
    let bytes = shape.iter().product::<usize>().saturating_mul(to.size().unwrap_or(TEXT));
    if bytes > most {
        let from = x.element();
        return Err(format!(
            "a cast of shape {shape:?} from {from} to {to} takes {bytes} bytes; at most {most}"
        ));
    }
    let values = match x.into_values() {
        Values::F32(values) => from_floats(values.iter().map(|x| f64::from(*x)), to, 8),
        Values::F64(values) => from_floats(values.iter().copied(), to, 17),
        Values::F16(values) => from_floats(values.iter().map(|x| x.to_f64()), to, 8),
        Values::Bf16(values) => from_floats(values.iter().map(|x| x.to_f64()), to, 8),
        Values::Bool(values) => from_whole(values.iter().map(|x| i128::from(*x)), to),
        Values::U8(values) => from_whole(values.iter().map(|x| i128::from(*x)), to),
        Values::U16(values) => from_whole(values.iter().map(|x| i128::from(*x)), to),
        Values::U32(values) => from_whole(values.iter().map(|x| i128::from(*x)), to),
        Values::U64(values) => from_whole(values.iter().map(|x| i128::from(*x)), to),
        Values::I8(values) => from_whole(values.iter().map(|x| i128::from(*x)), to),
        Values::I16(values) => from_whole(values.iter().map(|x| i128::from(*x)), to),
        Values::I32(values) => from_whole(values.iter().map(|x| i128::from(*x)), to),
        Values::I64(values) => from_whole(values.iter().map(|x| i128::from(*x)), to),
        Values::Bytes(values) => from_texts(&values, to)?,
    };
    Tensor::new(shape, values).map_err(|error| error.to_string())
}

/// From floats; `digits` are what a text of them has.
fn from_floats(values: impl Iterator<Item = f64>, to: ElementType, digits: usize) -> Values {
    match to {
        ElementType::Bool => Values::Bool(values.map(|x| x != 0.0).collect()),
        ElementType::U8 => Values::U8(values.map(|x| truncated(x) as u8).collect()),
        ElementType::U16 => Values::U16(values.map(|x| truncated(x) as u16).collect()),
        ElementType::U32 => Values::U32(values.map(|x| truncated(x) as u32).collect()),
        ElementType::U64 => Values::U64(values.map(|x| x as u64).collect()),
        ElementType::I8 => Values::I8(values.map(|x| truncated(x) as i8).collect()),
        ElementType::I16 => Values::I16(values.map(|x| truncated(x) as i16).collect()),
        ElementType::I32 => {
            Values::I32(values.map(|x| i32::try_from(truncated(x)).unwrap_or(i32::MIN)).collect())
        }
        ElementType::I64 => Values::I64(values.map(truncated).collect()),
        ElementType::F16 => Values::F16(values.map(f16::from_f64).collect()),
        ElementType::Bf16 => Values::Bf16(values.map(bf16::from_f64).collect()),
        ElementType::F32 => Values::F32(values.map(|x| x as f32).collect()),
        ElementType::F64 => Values::F64(values.collect()),
        ElementType::Bytes => Values::Bytes(values.map(|x| text(x, digits).into_bytes()).collect()),
    }
}

fn from_whole(values: impl Iterator<Item = i128>, to: ElementType) -> Values {
    match to {
        ElementType::Bool => Values::Bool(values.map(|x| x != 0).collect()),
        ElementType::U8 => Values::U8(values.map(|x| x as u8).collect()),
        ElementType::U16 => Values::U16(values.map(|x| x as u16).collect()),
        ElementType::U32 => Values::U32(values.map(|x| x as u32).collect()),
        ElementType::U64 => Values::U64(values.map(|x| x as u64).collect()),
        ElementType::I8 => Values::I8(values.map(|x| x as i8).collect()),
        ElementType::I16 => Values::I16(values.map(|x| x as i16).collect()),
        ElementType::I32 => Values::I32(values.map(|x| x as i32).collect()),
        ElementType::I64 => Values::I64(values.map(|x| x as i64).collect()),
        ElementType::F16 => Values::F16(values.map(|x| f16::from_f64(x as f64)).collect()),
        ElementType::Bf16 => Values::Bf16(values.map(|x| bf16::from_f64(x as f64)).collect()),
        ElementType::F32 => Values::F32(values.map(|x| x as f32).collect()),
        ElementType::F64 => Values::F64(values.map(|x| x as f64).collect()),
        ElementType::Bytes => Values::Bytes(values.map(|x| x.to_string().into_bytes()).collect()),
    }
}

fn from_texts(values: &[Vec<u8>], to: ElementType) -> Outcome<Values> {
    let whole = !matches!(to, ElementType::F16 | ElementType::Bf16 | ElementType::F32 | ElementType::F64);
    let texts = values.iter().map(|text| {
        let text = String::from_utf8_lossy(text);
        (text.trim().to_ascii_lowercase(), text.into_owned())
    });
    if whole {
        let numbers = texts
            .map(|(text, original)| {
                text.parse::<i64>().map_err(|_| format!("`{original}` is no whole number"))
            })
            .collect::<Outcome<Vec<i64>>>()?;
        return Ok(from_whole(numbers.into_iter().map(i128::from), to));
    }
    let numbers = texts
        .map(|(text, original)| text.parse::<f64>().map_err(|_| format!("`{original}` is no number")))
        .collect::<Outcome<Vec<f64>>>()?;
    Ok(from_floats(numbers.into_iter(), to, 17))
}

/// A float as C's `%.{digits}g` writes it, which is what ONNX Runtime does.
fn text(x: f64, digits: usize) -> String {
    if x.is_nan() {
        return "NaN".to_owned();
    }
    if x.is_infinite() {
        return if x > 0.0 { "INF" } else { "-INF" }.to_owned();
    }
    let scientific = format!("{x:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let trimmed = |text: &str| {
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text.to_owned()
        }
    };
    if exponent < -4 || exponent >= digits as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trimmed(mantissa), exponent.abs());
    }
    trimmed(&format!("{x:.*}", (digits as i32 - 1 - exponent).max(0) as usize))
}

#[cfg(test)]
mod tests {
    use super::{Tensor, Values, converted, text};
    use crate::ElementType;

    #[test]
    fn a_small_type_does_not_grow_without_bound() {
        let pixels = || Tensor::new(vec![2, 3], Values::U8(vec![0, 1, 2, 3, 4, 255])).unwrap();
        let cast = converted(pixels(), ElementType::F32, 24).unwrap();
        assert_eq!(*cast.values(), Values::F32(vec![0.0, 1.0, 2.0, 3.0, 4.0, 255.0]));
        let why = converted(pixels(), ElementType::F64, 24).unwrap_err();
        assert!(why.contains("[2, 3]") && why.contains("48 bytes; at most 24"), "{why}");
        assert!(converted(pixels(), ElementType::Bytes, 48).is_err(), "texts are the largest of all");
        assert!(converted(pixels(), ElementType::U8, 0).is_ok(), "the same type takes nothing");
    }

    #[test]
    fn floats_are_written_as_c_does() {
        let cases = [
            (1.0, "1"),
            (-0.0, "-0"),
            (0.1_f32.into(), "0.1"),
            (1234.5, "1234.5"),
            (1e10, "1e+10"),
            (12_345_678.0, "12345678"),
            (0.000_012_3, "1.23e-05"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-INF"),
        ];
        for (x, wanted) in cases {
            assert_eq!(text(x, 8), wanted);
        }
    }
}
