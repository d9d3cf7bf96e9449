//! One text as a number, truth value, date or time: what type it looks like, and its value. No columns here.

use super::decimal;

/// What a text looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Bool,
    Int,
    Float,
    Date,
    /// A date and time without a zone.
    Local,
    /// A date and time with `Z` or an offset.
    Instant,
    Text,
}

impl Class {
    pub(crate) const COUNT: usize = 7;
}

/// The narrowest class of a text that is not null. Whole numbers with leading zeros (codes) and those beyond 64
/// bits are text, because as numbers they would lose digits.
pub(crate) fn classify(text: &str) -> Class {
    let text = text.trim_ascii();
    let Some(first) = text.bytes().next() else { return Class::Text };
    match first {
        b'0'..=b'9' | b'+' | b'-' | b'.' => {
            if let Some(class) = plain_number(text.as_bytes()) {
                class
            } else if !text.bytes().all(may_be_of_number) {
                Class::Text
            } else if parse_int(text).is_some() {
                Class::Int
            } else if looks_whole(text) {
                Class::Text
            } else if parse_float(text).is_some() {
                Class::Float
            } else if parse_date(text).is_some() {
                Class::Date
            } else {
                match parse_time(text) {
                    Some((_, false)) => Class::Local,
                    Some((_, true)) => Class::Instant,
                    None => Class::Text,
                }
            }
        }
        b't' | b'T' | b'f' | b'F' if parse_bool(text).is_some() => Class::Bool,
        b'i' | b'I' if parse_float(text).is_some() => Class::Float,
        _ => Class::Text,
    }
}

/// The class of the usual numbers, told by their form alone: up to 18 digits without a leading zero, or digits with
/// one point between them and perhaps an exponent.
fn plain_number(text: &[u8]) -> Option<Class> {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let whole = digits(text);
    let rest = &text[whole..];
    match rest {
        [] => ((1..=18).contains(&whole) && (whole == 1 || text[0] != b'0')).then_some(Class::Int),
        [b'.', rest @ ..] if whole > 0 => {
            let places = digits(rest);
            let end = match &rest[places..] {
                [b'e' | b'E', b'-' | b'+', exponent @ ..] | [b'e' | b'E', exponent @ ..]
                    if !exponent.is_empty() =>
                {
                    &exponent[digits(exponent)..]
                }
                end => end,
            };
            (places > 0 && end.is_empty()).then_some(Class::Float)
        }
        _ => None,
    }
}

/// Whether a byte may be in a number, a date or a time. Codes such as `4F2D` most often have one that may not.
fn may_be_of_number(byte: u8) -> bool {
    const KNOWN: [bool; 256] = {
        let (bytes, mut table, mut at) = (b"0123456789+-.:eEtTzZ infayINFAY", [false; 256], 0);
        while at < bytes.len() {
            table[bytes[at] as usize] = true;
            at += 1;
        }
        table
    };
    KNOWN[usize::from(byte)]
}

fn looks_whole(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    let text = text.trim_ascii();
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// Digits with an optional sign, without leading zeros, within 64 bits.
pub(crate) fn parse_int(text: &str) -> Option<i64> {
    if let Some(value) = plain_int(text.as_bytes()) {
        return Some(value);
    }
    let text = text.trim_ascii();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !looks_whole(text) || (digits.len() > 1 && digits.starts_with('0')) {
        return None;
    }
    text.parse().ok()
}

/// The usual whole numbers: up to 18 digits without a leading zero, perhaps after a minus.
#[inline]
fn plain_int(text: &[u8]) -> Option<i64> {
    let (digits, is_negative) = match text {
        [b'-', digits @ ..] => (digits, true),
        digits => (digits, false),
    };
    if digits.is_empty() || digits.len() > 18 || (digits[0] == b'0' && digits.len() > 1) {
        return None;
    }
    let mut value = 0_i64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + i64::from(digit);
    }
    Some(if is_negative { -value } else { value })
}

/// A text of [`Class::Int`] or [`Class::Float`] as a float. Unlike [`parse_float`] it takes no whole numbers of other classes, such as codes with
/// leading zeros.
pub(crate) fn parse_number(text: &str) -> Option<f64> {
    if let Some(value) = decimal::parse(text.as_bytes()) {
        return Some(value);
    }
    // With a point it is no whole number.
    if text.bytes().take(4).any(|byte| byte == b'.') || matches!(classify(text), Class::Int | Class::Float) {
        return parse_unusual(text);
    }
    None
}

/// Decimal or scientific notation, `inf` and `infinity`; not `nan`, which is a null text.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    decimal::parse(text.as_bytes()).or_else(|| parse_unusual(text))
}

/// As [`parse_float`], for texts that are no usual decimals.
fn parse_unusual(text: &str) -> Option<f64> {
    let text = text.trim_ascii();
    let value: f64 = text.parse().ok()?;
    (!value.is_nan()).then_some(value)
}

/// `2013-01-31` as days since 1970-01-01, in the proleptic Gregorian calendar.
pub(crate) fn parse_date(text: &str) -> Option<i32> {
    let text = text.trim_ascii().as_bytes();
    (text.len() == 10).then(|| date(text)).flatten()
}

fn date(text: &[u8]) -> Option<i32> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *text else { return None };
    let year = i32::from(two(y1, y2)?) * 100 + i32::from(two(y3, y4)?);
    let (month, day) = (i32::from(two(m1, m2)?), i32::from(two(d1, d2)?));
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    if !(1..=longest).contains(&day) {
        return None;
    }
    // Days of whole years, counted from 1 March so that the leap day comes last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    Some(days + (153 * month + 2) / 5 + day - 1 - 719_468)
}

/// A time, or the beginning of a date: microseconds since the epoch.
pub(crate) fn parse_moment(text: &str) -> Option<i64> {
    let at = parse_time(text).map(|(at, _)| at);
    at.or_else(|| parse_date(text).map(|days| i64::from(days) * 86_400_000_000))
}

/// `2013-01-31 12:00[:00[.000000]]`, with `T` or a space, and optionally `Z` or an offset: microseconds since
/// the epoch (UTC where a zone is given), and whether one is given. Digits below microseconds are cut.
pub(crate) fn parse_time(text: &str) -> Option<(i64, bool)> {
    let text = text.trim_ascii().as_bytes();
    if text.len() < 16 || !matches!(text[10], b'T' | b't' | b' ') || text[13] != b':' {
        return None;
    }
    let days = i64::from(date(&text[..10])?);
    let (hour, minute) = (i64::from(two(text[11], text[12])?), i64::from(two(text[14], text[15])?));
    let mut rest = &text[16..];
    let (mut second, mut micros) = (0, 0);
    if let [b':', s1, s2, more @ ..] = rest {
        second = i64::from(two(*s1, *s2)?);
        rest = more;
        if let [b'.', more @ ..] = rest {
            let digits = more.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits == 0 || digits > 9 {
                return None;
            }
            let places = more[..digits].iter().chain(std::iter::repeat(&b'0')).take(6);
            micros = places.fold(0, |micros, digit| micros * 10 + i64::from(digit - b'0'));
            rest = &more[digits..];
        }
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let offset = zone(rest)?;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second - offset.unwrap_or(0);
    Some((seconds * 1_000_000 + micros, offset.is_some()))
}

/// Seconds east of UTC; `Some(None)` where there is no zone.
#[expect(clippy::option_option, reason = "outer: well formed; inner: present")]
fn zone(text: &[u8]) -> Option<Option<i64>> {
    let (sign, hours, minutes) = match *text {
        [] => return Some(None),
        [b'Z' | b'z'] => return Some(Some(0)),
        [sign, h1, h2] => (sign, two(h1, h2)?, 0),
        [sign, h1, h2, m1, m2] | [sign, h1, h2, b':', m1, m2] => (sign, two(h1, h2)?, two(m1, m2)?),
        _ => return None,
    };
    let seconds = i64::from(hours) * 3600 + i64::from(minutes) * 60;
    match sign {
        b'+' if hours < 24 && minutes < 60 => Some(Some(seconds)),
        b'-' if hours < 24 && minutes < 60 => Some(Some(-seconds)),
        _ => None,
    }
}

fn two(tens: u8, ones: u8) -> Option<u8> {
    (tens.is_ascii_digit() && ones.is_ascii_digit()).then(|| (tens - b'0') * 10 + (ones - b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes() {
        for (text, class) in [
            ("0", Class::Int),
            ("-12", Class::Int),
            ("+7", Class::Int),
            (" 42 ", Class::Int),
            ("9223372036854775807", Class::Int),
            ("9223372036854775808", Class::Text),
            ("007", Class::Text),
            ("1.5", Class::Float),
            ("1e-3", Class::Float),
            (".5", Class::Float),
            ("-inf", Class::Float),
            ("-", Class::Text),
            ("1.2.3", Class::Text),
            ("TRUE", Class::Bool),
            ("f", Class::Text),
            ("2013-02-28", Class::Date),
            ("2013-02-29", Class::Text),
            ("2012-02-29", Class::Date),
            ("2013-01-01 05:15", Class::Local),
            ("2013-01-01T05:15:00.25", Class::Local),
            ("2013-01-01T05:15:00Z", Class::Instant),
            ("2013-01-01T05:15:00+02:00", Class::Instant),
            ("2013-01-01T25:15:00Z", Class::Text),
            ("", Class::Text),
            ("é", Class::Text),
            ("2013-01-01é05:15", Class::Text),
        ] {
            assert_eq!(classify(text), class, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn the_form_of_a_number_is_its_class(text in "[-+]?[0-9]{0,20}(\\.[0-9]{0,4})?([eE][-+]?[0-9]{0,3})?") {
            let class = plain_number(text.as_bytes());
            let parsed = if parse_int(&text).is_some() {
                Some(Class::Int)
            } else if !looks_whole(&text) && parse_float(&text).is_some() {
                Some(Class::Float)
            } else {
                None
            };
            proptest::prop_assert!(class.is_none() || class == parsed, "{class:?} {parsed:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn numbers_are_the_classes_of_numbers(text in " ?[-+]?([0-9]{0,20}|[0-9]{0,5}\\.[0-9]{0,4}|inf|nan|0x1)([eE][-+]?[0-9]{0,3})? ?") {
            let class = classify(&text);
            proptest::prop_assert_eq!(parse_number(&text).is_some(), matches!(class, Class::Int | Class::Float));
            proptest::prop_assert_eq!(parse_int(&text).is_some(), class == Class::Int);
            let slow = (class == Class::Int).then(|| text.trim_ascii().parse().unwrap());
            proptest::prop_assert_eq!(parse_int(&text), slow);
        }
    }

    #[test]
    fn times_are_microseconds() {
        // Seconds from GNU date: `date -u -d TEXT +%s`.
        for (text, seconds, micros) in [
            ("1970-01-01 00:00", 0, 0),
            ("2013-01-01T12:00:00Z", 1_357_041_600, 0),
            ("2013-01-01T12:00:00+02:30", 1_357_032_600, 0),
            ("1969-12-31 23:59:59.999", -1, 999_000),
            ("1600-02-29 00:00:00.1234567", -11_670_998_400, 123_456),
        ] {
            assert_eq!(parse_time(text).map(|(at, _)| at), Some(seconds * 1_000_000 + micros), "{text}");
        }
        assert_eq!(parse_date("2013-01-01"), Some(15_706));
    }
}
