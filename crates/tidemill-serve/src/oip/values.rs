//! Values of tensors in JSON: read from flat or nested arrays into typed vectors, and written flat.

use std::io;

use half::{bf16, f16};
use serde_json::ser::{CompactFormatter, Formatter};
use tidemill_runtime::{ElementType, Values, each_values};

use super::json::{JsonError, Kind, Number, Reader};

/// How many dimensions a tensor may have.
pub(crate) const MOST_DIMENSIONS: usize = 32;

/// Something that can be an element of a tensor.
pub(crate) trait Element: Sized {
    /// Reads one.
    fn read(reader: &mut Reader<'_>) -> Result<Self, JsonError>;
    /// Writes one.
    fn write(&self, out: &mut Vec<u8>) -> Result<(), NotText>;
}

/// A byte string that is no text and so cannot stand in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotText;

macro_rules! integers {
    ($($kind:ty, $name:literal, $write:ident;)*) => {
        $(impl Element for $kind {
            fn read(reader: &mut Reader<'_>) -> Result<Self, JsonError> {
                match reader.number()? {
                    Number::Integer(text) => text
                        .parse()
                        .map_err(|_| reader.error(concat!("a number that ", $name, " does not have"))),
                    Number::Real(_) | Number::Special(_) => {
                        Err(reader.error(concat!("a number that is not an integer, for ", $name)))
                    }
                }
            }

            fn write(&self, out: &mut Vec<u8>) -> Result<(), NotText> {
                never_fails(CompactFormatter.$write(out, *self));
                Ok(())
            }
        })*
    };
}

integers! {
    u8, "UINT8", write_u8;
    u16, "UINT16", write_u16;
    u32, "UINT32", write_u32;
    u64, "UINT64", write_u64;
    i8, "INT8", write_i8;
    i16, "INT16", write_i16;
    i32, "INT32", write_i32;
    i64, "INT64", write_i64;
}

/// A number of few digits. Digits and power of ten are both exact, so one division gives the nearest number (Clinger 1990, "How to read
/// floating point numbers accurately"), as reading the text would.
fn short_f32(reader: &mut Reader<'_>) -> Option<f32> {
    const POWERS: [f32; 11] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10];
    let (negative, digits, places) = reader.decimal(1 << f32::MANTISSA_DIGITS, POWERS.len() - 1)?;
    let value = digits as f32 / POWERS.get(places)?;
    Some(if negative { -value } else { value })
}

/// As [`short_f32`].
fn short_f64(reader: &mut Reader<'_>) -> Option<f64> {
    const POWERS: [f64; 19] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17,
        1e18,
    ];
    let (negative, digits, places) = reader.decimal(1 << f64::MANTISSA_DIGITS, POWERS.len() - 1)?;
    let value = digits as f64 / POWERS.get(places)?;
    Some(if negative { -value } else { value })
}

macro_rules! floats {
    ($($kind:ty, $name:literal, $short:expr, $text:ident => $parse:expr, $value:ident => $finite:expr, $write:expr;)*) => {
        $(impl Element for $kind {
            /// `null` is how JSON without extensions says "not a number".
            fn read(reader: &mut Reader<'_>) -> Result<Self, JsonError> {
                if let Some(value) = $short(reader) {
                    return Ok(value);
                }
                if reader.kind()? == Kind::Null {
                    reader.null()?;
                    return Ok(<$kind>::NAN);
                }
                match reader.number()? {
                    Number::Integer($text) | Number::Real($text) => {
                        let $value: $kind = $parse;
                        if $finite {
                            Ok($value)
                        } else {
                            Err(reader.error(concat!("a number that is too large for ", $name)))
                        }
                    }
                    Number::Special(value) if value.is_nan() => Ok(<$kind>::NAN),
                    Number::Special(value) if value > 0.0 => Ok(<$kind>::INFINITY),
                    Number::Special(_) => Ok(<$kind>::NEG_INFINITY),
                }
            }

            fn write(&self, out: &mut Vec<u8>) -> Result<(), NotText> {
                let $value = *self;
                if $finite {
                    never_fails($write(out, $value));
                } else if $value.is_nan() {
                    out.extend_from_slice(b"NaN");
                } else {
                    out.extend_from_slice(if $value > <$kind>::NEG_INFINITY { b"Infinity" } else { b"-Infinity" });
                }
                Ok(())
            }
        })*
    };
}

floats! {
    f32, "FP32", short_f32, text => text.parse().unwrap_or(f32::INFINITY), value => value.is_finite(), |out, value| CompactFormatter.write_f32(out, value);
    f64, "FP64", short_f64, text => text.parse().unwrap_or(f64::INFINITY), value => value.is_finite(), |out, value| CompactFormatter.write_f64(out, value);
    f16, "FP16", |_: &mut Reader<'_>| None, text => f16::from_f64(text.parse().unwrap_or(f64::INFINITY)), value => value.is_finite(), |out, value: f16| CompactFormatter.write_f32(out, value.to_f32());
    bf16, "BF16", |_: &mut Reader<'_>| None, text => bf16::from_f64(text.parse().unwrap_or(f64::INFINITY)), value => value.is_finite(), |out, value: bf16| CompactFormatter.write_f32(out, value.to_f32());
}

impl Element for bool {
    fn read(reader: &mut Reader<'_>) -> Result<Self, JsonError> {
        reader.flag()
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), NotText> {
        out.extend_from_slice(if *self { b"true" } else { b"false" });
        Ok(())
    }
}

impl Element for Vec<u8> {
    fn read(reader: &mut Reader<'_>) -> Result<Self, JsonError> {
        Ok(reader.text()?.into_owned().into_bytes())
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), NotText> {
        let text = std::str::from_utf8(self).map_err(|_| NotText)?;
        never_fails(serde_json::to_writer(out, text).map_err(io::Error::from));
        Ok(())
    }
}

/// Writing into a vector cannot fail.
fn never_fails(result: io::Result<()>) {
    debug_assert!(result.is_ok());
}

/// Reads an array of any depth, or a single value. Gives the values and the length of each level, outermost first;
/// none for a single value. At most `most` values are taken.
pub(crate) fn read(
    reader: &mut Reader<'_>,
    element: ElementType,
    most: usize,
) -> Result<(Values, Vec<usize>), JsonError> {
    let mut values = empty(element);
    let levels = append(reader, &mut values, most)?;
    Ok((values, levels))
}

/// No values of a type.
pub(crate) fn empty(element: ElementType) -> Values {
    match element {
        ElementType::Bool => Values::Bool(Vec::new()),
        ElementType::U8 => Values::U8(Vec::new()),
        ElementType::U16 => Values::U16(Vec::new()),
        ElementType::U32 => Values::U32(Vec::new()),
        ElementType::U64 => Values::U64(Vec::new()),
        ElementType::I8 => Values::I8(Vec::new()),
        ElementType::I16 => Values::I16(Vec::new()),
        ElementType::I32 => Values::I32(Vec::new()),
        ElementType::I64 => Values::I64(Vec::new()),
        ElementType::F16 => Values::F16(Vec::new()),
        ElementType::Bf16 => Values::Bf16(Vec::new()),
        ElementType::F32 => Values::F32(Vec::new()),
        ElementType::F64 => Values::F64(Vec::new()),
        ElementType::Bytes => Values::Bytes(Vec::new()),
    }
}

/// As [`read`], after values that are there already.
pub(crate) fn append(
    reader: &mut Reader<'_>,
    values: &mut Values,
    most: usize,
) -> Result<Vec<usize>, JsonError> {
    each_values!(values, vector => append_typed(reader, vector, most))
}

fn append_typed<T: Element>(
    reader: &mut Reader<'_>,
    out: &mut Vec<T>,
    most: usize,
) -> Result<Vec<usize>, JsonError> {
    // A value takes at least two bytes of text, so a declared size alone reserves nothing.
    out.reserve(most.min(reader.left() / 2));
    walk(reader, most, |reader| {
        out.push(T::read(reader)?);
        Ok(())
    })
}

/// Passes an array of any depth, or a single value: `read` is called where each value stands and must pass it. Gives
/// the length of each level, outermost first; none for a single value. At most `most` values are passed.
pub(crate) fn walk(
    reader: &mut Reader<'_>,
    most: usize,
    mut read: impl FnMut(&mut Reader<'_>) -> Result<(), JsonError>,
) -> Result<Vec<usize>, JsonError> {
    if reader.kind()? != Kind::Array {
        read(reader)?;
        return Ok(Vec::new());
    }
    let mut nest = Nest { levels: Vec::new(), leaves: None, left: most };
    nest.level(reader, 0, &mut read)?;
    Ok(nest.levels.into_iter().map(|length| length.unwrap_or(0)).collect())
}

/// The lengths of the levels that were seen so far.
struct Nest {
    /// By level; `None` while its first array is being read.
    levels: Vec<Option<usize>>,
    /// The level whose arrays hold values.
    leaves: Option<usize>,
    /// How many values may come.
    left: usize,
}

impl Nest {
    fn level(
        &mut self,
        reader: &mut Reader<'_>,
        level: usize,
        read: &mut impl FnMut(&mut Reader<'_>) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        if level >= MOST_DIMENSIONS {
            return Err(reader.error(format!("data of more than {MOST_DIMENSIONS} dimensions")));
        }
        if level == self.levels.len() {
            self.levels.push(None);
        }
        let mut more = reader.array()?;
        let mut length = 0_usize;
        if more && reader.kind()? == Kind::Array {
            if self.leaves.is_some_and(|leaves| leaves <= level) {
                return Err(reader.error("arrays and values are mixed"));
            }
            while more {
                self.level(reader, level + 1, read)?;
                length += 1;
                more = reader.next()?;
            }
        } else {
            if *self.leaves.get_or_insert(level) != level {
                return Err(reader.error("arrays and values are mixed"));
            }
            while more {
                if length == self.left {
                    return Err(reader.error("more values than the shape has"));
                }
                read(reader)?;
                length += 1;
                more = reader.next()?;
            }
            self.left -= length;
        }
        match self.levels.get_mut(level) {
            Some(Some(known)) if *known != length => {
                Err(reader.error(format!("an array of {length} beside one of {known}")))
            }
            Some(known) => {
                *known = Some(length);
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// Writes values as one flat array.
pub(crate) fn write(values: &Values, out: &mut Vec<u8>) -> Result<(), NotText> {
    each_values!(values, vector => write_typed(vector, out))
}

/// Writes values of a type as one flat array.
pub(crate) fn write_typed<T: Element>(values: &[T], out: &mut Vec<u8>) -> Result<(), NotText> {
    out.push(b'[');
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        value.write(out)?;
    }
    out.push(b']');
    Ok(())
}

/// Writes a shape.
pub(crate) fn write_sizes(sizes: &[usize], out: &mut Vec<u8>) {
    out.push(b'[');
    for (index, size) in sizes.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        never_fails(CompactFormatter.write_u64(out, *size as u64));
    }
    out.push(b']');
}

/// Writes a text.
pub(crate) fn write_text(text: &str, out: &mut Vec<u8>) {
    never_fails(serde_json::to_writer(out, text).map_err(io::Error::from));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, element: ElementType) -> Result<(Values, Vec<usize>), String> {
        let mut reader = Reader::new(text.as_bytes());
        let read = read(&mut reader, element, 100).map_err(|error| error.to_string())?;
        reader.end().map_err(|error| error.to_string())?;
        Ok(read)
    }

    #[test]
    fn arrays_are_flattened_and_their_levels_known() {
        let floats = |values: &[f32]| Values::F32(values.to_vec());
        for (text, values, levels) in [
            ("3", &[3.0][..], &[][..]),
            ("[]", &[], &[0]),
            ("[1, 2.5]", &[1.0, 2.5], &[2]),
            ("[[1,2],[3,4],[5,6]]", &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[3, 2]),
            ("[[[1]],[[2]]]", &[1.0, 2.0], &[2, 1, 1]),
            ("[[],[]]", &[], &[2, 0]),
        ] {
            assert_eq!(of(text, ElementType::F32), Ok((floats(values), levels.to_vec())), "{text}");
        }
        for (text, wrong) in [
            ("[[1,2],[3]]", "an array of 1 beside one of 2 at byte 10"),
            ("[1,[2]]", "a number was expected at byte 3"),
            ("[[1],2]", "an array was expected at byte 5"),
            ("[[1],[[2]]]", "arrays and values are mixed at byte 6"),
            ("[[[1]],[2]]", "arrays and values are mixed at byte 8"),
            ("[true]", "a number was expected at byte 1"),
            ("[1e39]", "a number that is too large for FP32 at byte 5"),
        ] {
            assert_eq!(of(text, ElementType::F32), Err(wrong.to_owned()), "{text}");
        }
        let deep = format!("{}1{}", "[".repeat(33), "]".repeat(33));
        assert!(of(&deep, ElementType::F32).is_err());
    }

    #[test]
    fn values_are_written_as_they_were_read() {
        for (element, text) in [
            (ElementType::Bool, "[true,false]"),
            (ElementType::U8, "[0,255]"),
            (ElementType::U64, "[18446744073709551615]"),
            (ElementType::I8, "[-128,127]"),
            (ElementType::I64, "[-9223372036854775808,9223372036854775807]"),
            (ElementType::F16, "[0.5,65504.0,-2.0]"),
            (ElementType::Bf16, "[1.0,-0.0]"),
            (ElementType::F32, "[0.1,3.4028235e+38,1e-45,NaN,Infinity,-Infinity]"),
            (ElementType::F64, "[0.1,1.7976931348623157e+308,5e-324,123456789.12345679]"),
            (ElementType::Bytes, r#"["","é\"\n","x"]"#),
        ] {
            let (values, _) = of(text, element).unwrap();
            let mut out = Vec::new();
            write(&values, &mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
        assert_eq!(write(&Values::Bytes(vec![vec![0xff]]), &mut Vec::new()), Err(NotText));
    }

    #[test]
    fn integers_are_taken_only_as_integers_of_their_type() {
        for (element, text) in [
            (ElementType::U8, "256"),
            (ElementType::U8, "-1"),
            (ElementType::I64, "9223372036854775808"),
            (ElementType::I32, "1.0"),
            (ElementType::I32, "NaN"),
            (ElementType::I32, "null"),
            (ElementType::I32, "\"1\""),
            (ElementType::Bool, "1"),
            (ElementType::Bytes, "1"),
        ] {
            assert!(of(text, element).is_err(), "{element} {text}");
        }
        assert!(matches!(of("null", ElementType::F64), Ok((Values::F64(values), _)) if values[0].is_nan()));
    }

    /// Numbers of few digits are not read as text, and must be what the text says.
    #[test]
    fn short_numbers_are_read_exactly() {
        let mut bits = 20_261_128_u64;
        for turn in 0..40_000_u32 {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let digits = (bits >> 8) % 10_u64.pow(turn % 18 + 1);
            let places = (bits >> 3) as usize % 13;
            let mut text = format!("{digits:0>width$}", width = places + 1);
            if places > 0 {
                text.insert(text.len() - places, '.');
            }
            if bits.is_multiple_of(2) {
                text.insert(0, '-');
            }
            let list = format!("[{text} , {text}]");
            let (single, double): (f32, f64) = (text.parse().unwrap(), text.parse().unwrap());
            let Ok((Values::F32(read), _)) = of(&list, ElementType::F32) else { panic!("{text}") };
            assert_eq!(
                read.iter().map(|one| one.to_bits()).collect::<Vec<_>>(),
                [single.to_bits(); 2],
                "{text}"
            );
            let Ok((Values::F64(read), _)) = of(&list, ElementType::F64) else { panic!("{text}") };
            assert_eq!(
                read.iter().map(|one| one.to_bits()).collect::<Vec<_>>(),
                [double.to_bits(); 2],
                "{text}"
            );
        }
        for wrong in ["[01]", "[1.]", "[.5]", "[-]", "[--1]", "[1.2.3]", "[00.5]", "[-.5]", "[1 2]"] {
            assert!(of(wrong, ElementType::F32).is_err() && of(wrong, ElementType::F64).is_err(), "{wrong}");
        }
        let Ok((Values::F32(read), _)) = of("[-0, -0.00, 0]", ElementType::F32) else { panic!("zeros") };
        assert_eq!(read.iter().map(|zero| zero.is_sign_negative()).collect::<Vec<_>>(), [true, true, false]);
    }

    /// Doubles next to each other, whose decimal texts are hard to read right.
    #[test]
    fn every_double_is_read_exactly() {
        let mut bits = 0x3fb9_9999_9999_999a_u64;
        for _ in 0..20_000 {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let value = f64::from_bits(bits);
            if value.is_finite() {
                let (read, _) = of(&format!("{value:e}"), ElementType::F64).unwrap();
                assert_eq!(read, Values::F64(vec![value]));
            }
        }
    }
}
