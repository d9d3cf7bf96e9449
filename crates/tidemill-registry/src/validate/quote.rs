//! Values inside of messages, quoted as MLflow's own messages have them: clients and their tests compare them.

use std::fmt::Write as _;

/// As JSON with everything beyond ASCII escaped.
pub(crate) fn json_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(c),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
    out
}

/// As Python shows text inside of lists: in single quotes, unless it holds one and no double one.
pub(crate) fn python_text(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

/// As Python shows a list of texts.
pub(crate) fn python_list<'a>(items: impl Iterator<Item = &'a str>) -> String {
    format!("[{}]", items.map(python_text).collect::<Vec<_>>().join(", "))
}

/// As Python shows a floating-point number.
pub(crate) fn python_number(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    let shown = format!("{value:?}");
    match shown.split_once('e') {
        Some((digits, exponent)) => {
            let digits = digits.strip_suffix(".0").unwrap_or(digits);
            match exponent.strip_prefix('-') {
                Some(exponent) => format!("{digits}e-{exponent:0>2}"),
                None => format!("{digits}e+{exponent:0>2}"),
            }
        }
        None => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        for (text, json, python) in [
            ("a b", r#""a b""#, "'a b'"),
            ("it's", r#""it's""#, r#""it's""#),
            (r#"'"\"#, r#""'\"\\""#, r#"'\'"\\'"#),
            ("é\n\t\u{1}", r#""\u00e9\n\t\u0001""#, r"'é\n\t\x01'"),
            ("😀", r#""\ud83d\ude00""#, "'😀'"),
        ] {
            assert_eq!(json_text(text), json);
            assert_eq!(python_text(text), python);
        }
        assert_eq!(python_list(["q", "r's"].into_iter()), r#"['q', "r's"]"#);
    }

    #[test]
    fn numbers() {
        for (number, shown) in [
            (1.0, "1.0"),
            (-0.5, "-0.5"),
            (1e16, "1e+16"),
            (1.5e300, "1.5e+300"),
            (1e-7, "1e-07"),
            (f64::INFINITY, "inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(python_number(number), shown);
        }
    }
}
