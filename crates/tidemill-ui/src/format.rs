//! Numbers, sizes and times as people read them.

use tidemill_core::Timestamp;
use time::OffsetDateTime;
use time::macros::format_description;

/// A number with up to six significant digits; very large and very small ones with an exponent.
pub fn number(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "∞" } else { "−∞" }.to_owned();
    }
    let size = value.abs();
    if size == 0.0 {
        return "0".to_owned();
    }
    if !(1e-4..1e9).contains(&size) {
        let text = format!("{value:.4e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        return minus(&format!("{}e{exponent}", trimmed(digits)));
    }
    let places = (5 - size.log10().floor() as i32).clamp(0, 9) as usize;
    let text = format!("{value:.places$}");
    let (whole, rest) = text.split_once('.').map_or((text.as_str(), ""), |(whole, rest)| (whole, rest));
    let rest = rest.trim_end_matches('0');
    let whole = thousands(whole);
    minus(&if rest.is_empty() { whole } else { format!("{whole}.{rest}") })
}

fn trimmed(digits: &str) -> &str {
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits }
}

fn minus(text: &str) -> String {
    text.replacen('-', "−", 1)
}

/// Whole digits in groups of three from five digits on, with a thin space: it cannot be taken for a decimal point.
fn thousands(digits: &str) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |rest| ("-", rest));
    if digits.len() < 5 {
        return format!("{sign}{digits}");
    }
    let mut out = String::from(sign);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push('\u{202F}');
        }
        out.push(digit);
    }
    out
}

/// A whole number.
pub fn count(value: u64) -> String {
    thousands(&value.to_string())
}

/// A size, in powers of 1024.
pub fn bytes(value: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if value < 1024 {
        return format!("{value} B");
    }
    let mut size = value as f64;
    let mut unit = "B";
    for next in UNITS {
        size /= 1024.0;
        unit = next;
        if size < 1023.95 {
            break;
        }
    }
    if size < 10.0 { format!("{size:.1} {unit}") } else { format!("{size:.0} {unit}") }
}

/// A length of time, in milliseconds, with two units at most.
pub fn duration(millis: u64) -> String {
    let seconds = millis / 1000;
    match seconds {
        0 if millis < 1000 => format!("{millis} ms"),
        0..10 => format!("{:.1} s", millis as f64 / 1000.0),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// A point in time to the second, UTC; what no calendar has is given in milliseconds.
pub fn moment(at: Timestamp) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    OffsetDateTime::from_unix_timestamp(at.millis().div_euclid(1000))
        .ok()
        .and_then(|time| time.format(format).ok())
        .unwrap_or_else(|| format!("{} ms", at.millis()))
}

/// How long before `now` something was, in one unit.
pub fn ago(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.millis().saturating_sub(at.millis()).div_euclid(1000);
    match seconds {
        i64::MIN..0 => "in the future".to_owned(),
        0..10 => "just now".to_owned(),
        10..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86_400 => format!("{} h ago", seconds / 3600),
        86_400..5_184_000 => format!("{} d ago", seconds / 86_400),
        _ => format!("{} months ago", seconds / 2_592_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (value, expect) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (0.123_456_789, "0.123457"),
            (-2.5, "−2.5"),
            (1234.5, "1234.5"),
            (12_345.678, "12\u{202F}345.7"),
            (1_234_567.0, "1\u{202F}234\u{202F}567"),
            (1e12, "1e12"),
            (1.5e-7, "1.5e−7"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "−∞"),
        ] {
            assert_eq!(number(value), expect, "{value}");
        }
    }

    #[test]
    fn sizes_and_times() {
        assert_eq!(
            [bytes(0), bytes(1023), bytes(1536), bytes(5 << 30)],
            ["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]
        );
        assert_eq!(
            [duration(12), duration(1500), duration(61_000), duration(3_700_000), duration(90_000_000)],
            ["12 ms", "1.5 s", "1 min 01 s", "1 h 01 min", "1 d 1 h"]
        );
        assert_eq!(moment(Timestamp::from_millis(1_700_000_000_123)), "2023-11-14 22:13:20");
        assert_eq!(moment(Timestamp::from_millis(i64::MAX)), format!("{} ms", i64::MAX));
        let now = Timestamp::from_millis(10_000_000);
        assert_eq!(ago(Timestamp::from_millis(9_880_000), now), "2 min ago");
        assert_eq!(ago(Timestamp::from_millis(i64::MAX), now), "in the future");
    }
}
