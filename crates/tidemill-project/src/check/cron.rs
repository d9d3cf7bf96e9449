//! The shape of a cron text. When it fires is not decided here.

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

struct Field {
    name: &'static str,
    low: u32,
    high: u32,
    /// Names of the values, from `low`.
    words: &'static [&'static str],
}

const FIELDS: [Field; 6] = [
    Field { name: "second", low: 0, high: 59, words: &[] },
    Field { name: "minute", low: 0, high: 59, words: &[] },
    Field { name: "hour", low: 0, high: 23, words: &[] },
    Field { name: "day of month", low: 1, high: 31, words: &[] },
    Field { name: "month", low: 1, high: 12, words: &MONTHS },
    Field { name: "day of week", low: 0, high: 7, words: &DAYS },
];

/// What is wrong with a cron text.
pub(super) fn problem(text: &str) -> Option<String> {
    if text.starts_with('@') {
        let known = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];
        return (!known.contains(&text))
            .then(|| format!("`{text}` is no time; known are {}", known.join(", ")));
    }
    let parts: Vec<&str> = text.split_whitespace().collect();
    // Seconds are there or not.
    let fields = match FIELDS.len().checked_sub(parts.len()) {
        Some(left_out @ 0..=1) => &FIELDS[left_out..],
        _ => return Some(format!("`{text}` has {} fields", parts.len())),
    };
    parts.iter().zip(fields).find_map(|(part, field)| {
        let good = part.split(',').all(|range| is_range(range, field));
        (!good).then(|| {
            let Field { name, low, high, .. } = field;
            format!("`{part}` is no {name}: it is a number from {low} to {high}, `*`, a range `1-5`, a step `*/10`, or a list of them")
        })
    })
}

fn is_range(text: &str, field: &Field) -> bool {
    let (range, step) = text.split_once('/').map_or((text, None), |(r, s)| (r, Some(s)));
    let good_step = step.is_none_or(|s| s.parse::<u32>().is_ok_and(|s| s >= 1 && s <= field.high));
    let good_range = match range.split_once('-') {
        _ if range == "*" => true,
        Some((from, to)) => {
            matches!((value(from, field), value(to, field)), (Some(from), Some(to)) if from <= to)
        }
        None => value(range, field).is_some(),
    };
    good_step && good_range
}

fn value(text: &str, field: &Field) -> Option<u32> {
    let word = field.words.iter().position(|word| text.eq_ignore_ascii_case(word));
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = if digits { text.parse().ok() } else { word.map(|i| field.low + i as u32) };
    number.filter(|n| (field.low..=field.high).contains(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        for good in [
            "0 3 * * *",
            "*/2 * * * * *",
            "*/10 0-6,22 1 jan-mar MON",
            "@daily",
            "59 23 31 12 7",
            "0 0 1-10/2 * *",
        ] {
            assert_eq!(problem(good), None, "{good}");
        }
        for bad in [
            "",
            "* * * *",
            "* * * * * * *",
            "60 * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "*/0 * * * *",
            "a * * * *",
            "5-1 * * * *",
            "@noon",
            "* * * foo *",
            "+1 * * * *",
        ] {
            assert!(problem(bad).is_some(), "{bad}");
        }
    }
}
