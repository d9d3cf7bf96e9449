//! One value of a request as a value of its column's type. Only what loses nothing is converted: whole numbers to
//! floats, `1.0` to an integer, the text of a number to the number. A missing value is not-a-number, for floats.

use half::{bf16, f16};
use tidemill_runtime::{ElementType, Values};

use crate::oip::json::{JsonError, Kind, Number, Reader};

/// One value as it stands in a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Cell<'a> {
    Missing,
    Flag(bool),
    Number(Number<'a>),
    Text(&'a str),
    /// A field of CSV, which may be anything.
    Field(&'a str),
}

impl Cell<'_> {
    /// The value in words, shortened.
    fn shown(self) -> String {
        match self {
            Self::Missing => "a missing value".to_owned(),
            Self::Flag(flag) => flag.to_string(),
            Self::Number(Number::Integer(text) | Number::Real(text)) => short(text),
            Self::Number(Number::Special(value)) => value.to_string(),
            Self::Text(text) | Self::Field(text) => format!("`{}`", short(text)),
        }
    }
}

fn short(text: &str) -> String {
    let mut shown: String = text.chars().take(40).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// Appends a cell to a column, or says why it cannot be of the column's type. Where the column `is_nullable`, empty text
/// stands for a missing one.
pub(super) fn push(values: &mut Values, cell: Cell<'_>, is_nullable: bool) -> Result<(), String> {
    let refused = |element: ElementType| {
        if cell == Cell::Missing {
            format!("a value is missing, and {element} has none for that; only floats may be missing")
        } else {
            format!("{} cannot be safely converted to {element}", cell.shown())
        }
    };
    macro_rules! integers {
        ($vector:expr, $element:expr) => {
            $vector
                .push(integer(cell).and_then(|value| value.try_into().ok()).ok_or_else(|| refused($element))?)
        };
    }
    macro_rules! floats {
        ($vector:expr, $element:expr, $from:expr) => {
            $vector.push(float(cell, $from).ok_or_else(|| refused($element))?)
        };
    }
    match values {
        Values::Bool(vector) => vector.push(flag(cell).ok_or_else(|| refused(ElementType::Bool))?),
        Values::U8(vector) => integers!(vector, ElementType::U8),
        Values::U16(vector) => integers!(vector, ElementType::U16),
        Values::U32(vector) => integers!(vector, ElementType::U32),
        Values::U64(vector) => integers!(vector, ElementType::U64),
        Values::I8(vector) => integers!(vector, ElementType::I8),
        Values::I16(vector) => integers!(vector, ElementType::I16),
        Values::I32(vector) => integers!(vector, ElementType::I32),
        Values::I64(vector) => integers!(vector, ElementType::I64),
        Values::F16(vector) => {
            floats!(vector, ElementType::F16, (f16::from_f64, |value: &f16| value.is_infinite()));
        }
        Values::Bf16(vector) => {
            floats!(vector, ElementType::Bf16, (bf16::from_f64, |value: &bf16| value.is_infinite()));
        }
        Values::F32(vector) => {
            floats!(vector, ElementType::F32, (|value| value as f32, |value: &f32| value.is_infinite()));
        }
        Values::F64(vector) => {
            floats!(vector, ElementType::F64, (|value| value, |value: &f64| value.is_infinite()));
        }
        Values::Bytes(vector) => match cell {
            Cell::Text(text) | Cell::Field(text) => vector.push(text.as_bytes().to_vec()),
            Cell::Missing if is_nullable => vector.push(Vec::new()),
            _ => return Err(refused(ElementType::Bytes)),
        },
    }
    Ok(())
}

fn flag(cell: Cell<'_>) -> Option<bool> {
    match cell {
        Cell::Flag(flag) => Some(flag),
        Cell::Number(Number::Integer("0")) => Some(false),
        Cell::Number(Number::Integer("1")) => Some(true),
        Cell::Field("True" | "TRUE" | "true") => Some(true),
        Cell::Field("False" | "FALSE" | "false") => Some(false),
        _ => None,
    }
}

fn integer(cell: Cell<'_>) -> Option<i128> {
    match cell {
        Cell::Flag(flag) => Some(i128::from(flag)),
        Cell::Number(Number::Integer(text)) => text.parse().ok(),
        Cell::Number(Number::Real(text)) => {
            // Beyond 2^53 a float may stand for several integers.
            let value: f64 = text.parse().ok()?;
            (value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0).then_some(value as i128)
        }
        Cell::Text(text) | Cell::Field(text) => text.trim().parse().ok(),
        Cell::Number(Number::Special(_)) | Cell::Missing => None,
    }
}

/// A float by way of the nearest double; finite where the request's is.
fn float<T>(cell: Cell<'_>, (make, is_infinite): (impl Fn(f64) -> T, impl Fn(&T) -> bool)) -> Option<T> {
    let value = match cell {
        Cell::Missing => return Some(make(f64::NAN)),
        Cell::Number(Number::Special(value)) => return Some(make(value)),
        Cell::Flag(flag) => f64::from(u8::from(flag)),
        Cell::Number(Number::Integer(text) | Number::Real(text)) => {
            text.parse().ok().filter(|value: &f64| value.is_finite())?
        }
        Cell::Text(text) | Cell::Field(text) => {
            let value: f64 = text.trim().parse().ok()?;
            if value.is_infinite() && text.bytes().any(|byte| byte.is_ascii_digit()) {
                return None;
            }
            if value.is_infinite() {
                return Some(make(value));
            }
            value
        }
    };
    let made = make(value);
    (!is_infinite(&made)).then_some(made)
}

/// Reads the next value of a request into a column.
pub(super) fn read(reader: &mut Reader<'_>, values: &mut Values, is_nullable: bool) -> Result<(), JsonError> {
    let text;
    let cell = match reader.kind()? {
        Kind::Null => {
            reader.null()?;
            Cell::Missing
        }
        Kind::Flag => Cell::Flag(reader.flag()?),
        Kind::Number => Cell::Number(reader.number()?),
        Kind::Text => {
            text = reader.text()?;
            Cell::Text(&text)
        }
        Kind::Array | Kind::Object => return Err(reader.error("a single value was expected")),
    };
    push(values, cell, is_nullable).map_err(|why| reader.error(why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oip::values::empty;

    fn one(element: ElementType, text: &str) -> Option<Values> {
        let mut values = empty(element);
        read(&mut Reader::new(text.as_bytes()), &mut values, false).ok().map(|()| values)
    }

    #[test]
    fn what_loses_nothing_is_converted() {
        let f64s = |value| Some(Values::F64(vec![value]));
        let i32s = |value| Some(Values::I32(vec![value]));
        for (text, expected) in [
            ("1", 1.0),
            ("1.5", 1.5),
            ("true", 1.0),
            ("\" 2.5\"", 2.5),
            ("-Infinity", f64::NEG_INFINITY),
            ("\"inf\"", f64::INFINITY),
        ] {
            assert_eq!(one(ElementType::F64, text), f64s(expected), "{text}");
        }
        assert!(matches!(one(ElementType::F64, "null"), Some(Values::F64(values)) if values[0].is_nan()));
        for (text, expected) in [("7", 7), ("7.0", 7), ("7e0", 7), ("false", 0), ("\"-7\"", -7)] {
            assert_eq!(one(ElementType::I32, text), i32s(expected), "{text}");
        }
        assert_eq!(one(ElementType::U64, "18446744073709551615"), Some(Values::U64(vec![u64::MAX])));
        assert_eq!(one(ElementType::Bool, "1"), Some(Values::Bool(vec![true])));
        assert_eq!(one(ElementType::Bytes, "\"é\""), Some(Values::Bytes(vec!["é".into()])));
        for (element, text) in [
            (ElementType::F64, "\"x\""),
            (ElementType::F64, "1e999"),
            (ElementType::F64, "\"1e999\""),
            (ElementType::F32, "1e39"),
            (ElementType::I32, "1.5"),
            (ElementType::I32, "2147483648"),
            (ElementType::I64, "1e17"),
            (ElementType::I32, "null"),
            (ElementType::I32, "NaN"),
            (ElementType::U8, "-1"),
            (ElementType::Bool, "2"),
            (ElementType::Bool, "\"true\""),
            (ElementType::Bytes, "1"),
            (ElementType::Bytes, "null"),
            (ElementType::F64, "[1]"),
        ] {
            assert_eq!(one(element, text), None, "{element} {text}");
        }
        let mut texts = empty(ElementType::Bytes);
        read(&mut Reader::new(b"null"), &mut texts, true).unwrap();
        push(&mut texts, Cell::Missing, true).unwrap();
        assert_eq!(texts, Values::Bytes(vec![Vec::new(), Vec::new()]));
        assert!(
            push(&mut empty(ElementType::I64), Cell::Missing, true).is_err(),
            "only text has a text for it"
        );
    }
}
