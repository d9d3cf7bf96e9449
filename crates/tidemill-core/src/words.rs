//! Numbers as people read them, wherever Tidemill prints: in a terminal, a message or a page.

/// A count with thousands separated: `336,776`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A measured number with four significant digits, without a tail of zeros.
pub fn number(x: f64) -> String {
    if !x.is_finite() || x == 0.0 {
        return x.to_string();
    }
    let magnitude = x.abs().log10().floor();
    if !(-4.0..9.0).contains(&magnitude) {
        return format!("{x:.3e}");
    }
    let decimals = (3.0 - magnitude).max(0.0) as usize;
    let text = format!("{x:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        for (n, text) in
            [(0, "0"), (999, "999"), (1000, "1,000"), (336_776, "336,776"), (1_234_567, "1,234,567")]
        {
            assert_eq!(count(n), text);
        }
    }

    #[test]
    fn measured_numbers() {
        for (x, text) in [
            (0.0, "0"),
            (0.712_345, "0.7123"),
            (12.5, "12.5"),
            (1234.56, "1235"),
            (-0.5, "-0.5"),
            (1e-9, "1.000e-9"),
            // Whole numbers keep all their digits.
            (5.0, "5"),
            (-1000.0, "-1000"),
            (999_999.0, "999999"),
        ] {
            assert_eq!(number(x), text);
        }
    }
}
