//! What a plain scalar means: YAML 1.2, core schema (section 10.3.2 of the specification).

use serde_json::Number;

use crate::node::Kind;

/// The value of a plain (unquoted) scalar, or why it has none.
pub(crate) fn plain(text: &str) -> Result<Kind, String> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Kind::Null),
        "true" | "True" | "TRUE" => return Ok(Kind::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Kind::Bool(false)),
        _ => {}
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Err(format!("`{text}` is not a finite number"));
    }
    if let Some(number) = integer(text, unsigned) {
        return number.map(Kind::Number);
    }
    if is_float(unsigned) {
        let value: f64 = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
        return Number::from_f64(value)
            .map(Kind::Number)
            .ok_or_else(|| format!("`{text}` is too large a number"));
    }
    Ok(Kind::String(text.to_owned()))
}

fn integer(text: &str, unsigned: &str) -> Option<Result<Number, String>> {
    let too_large = || format!("`{text}` is too large a whole number");
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix)
            && !digits.is_empty()
            && digits.chars().all(|c| c.is_digit(radix))
        {
            return Some(u64::from_str_radix(digits, radix).map(Number::from).map_err(|_| too_large()));
        }
    }
    if unsigned.is_empty() || !unsigned.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let signed = text.parse::<i64>().map(Number::from);
    Some(signed.or_else(|_| text.parse::<u64>().map(Number::from)).map_err(|_| too_large()))
}

/// `( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`
fn is_float(text: &str) -> bool {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    let good_exponent = exponent.is_none_or(|e| {
        let e = e.strip_prefix(['+', '-']).unwrap_or(e);
        !e.is_empty() && digits(e)
    });
    let (whole, part) = mantissa.split_once('.').map_or((mantissa, None), |(w, p)| (w, Some(p)));
    let good_mantissa = digits(whole)
        && part.is_none_or(digits)
        && (!whole.is_empty() || part.is_some_and(|p| !p.is_empty()));
    good_exponent && good_mantissa
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Node;
    use serde_json::{Value, json};

    #[test]
    fn the_core_schema() {
        for (text, value) in [
            ("", Value::Null),
            ("~", Value::Null),
            ("true", json!(true)),
            ("yes", json!("yes")),
            ("on", json!("on")),
            ("12", json!(12)),
            ("-12", json!(-12)),
            ("+12", json!(12)),
            ("007", json!(7)),
            ("0o17", json!(15)),
            ("0xff", json!(255)),
            ("18446744073709551615", json!(u64::MAX)),
            ("1.0e-5", json!(1.0e-5)),
            (".5", json!(0.5)),
            ("1.", json!(1.0)),
            ("1e3", json!(1000.0)),
            (".", json!(".")),
            ("e3", json!("e3")),
            ("1e", json!("1e")),
            ("-", json!("-")),
            ("0x", json!("0x")),
            ("1_000", json!("1_000")),
            ("2013-01-01", json!("2013-01-01")),
            ("5%", json!("5%")),
            ("1.2.3", json!("1.2.3")),
        ] {
            assert_eq!(Node::new(plain(text).unwrap(), 0..0).to_value(), value, "{text}");
        }
        for bad in [".nan", "-.inf", "99999999999999999999", "1e999"] {
            assert!(plain(bad).is_err(), "{bad}");
        }
    }
}
