//! The reasons of verdicts in words.

use crate::categorical::DomainKind;
use crate::drift::{Level, Measured, PairDrift, Rules, Test, TestKind, Verdict};

/// Why a column has its level.
pub(super) fn of_column(measured: &Measured, level: Level, adjusted: Option<f64>, columns: usize) -> String {
    if level == Level::NotJudged {
        return format!(
            "too few rows to judge: {} against {}",
            count(measured.figures.rows_reference),
            count(measured.figures.rows_current)
        );
    }
    if let Some(sentence) = domain(measured) {
        return sentence;
    }
    let corrected = match (adjusted, columns) {
        (None, _) => String::new(),
        (Some(p), 1) => format!("p = {}", figure(p)),
        (Some(p), _) => format!("p = {} over {columns} columns", figure(p)),
    };
    // What is furthest above its floor explains the level.
    let leading = measured
        .tests
        .iter()
        .filter(|test| test.significant)
        .max_by(|a, b| (a.effect / a.floor).total_cmp(&(b.effect / b.floor)));
    match leading {
        None => format!("no test is significant ({corrected})"),
        Some(test) if level == Level::Minor => {
            format!(
                "{}, which is less than the floor of {} ({corrected})",
                what(measured, test),
                figure(test.floor)
            )
        }
        Some(test) => format!("{} ({corrected})", what(measured, test)),
    }
}

/// Why a table has its level.
pub(super) fn of_table(verdict: &Verdict, rules: &Rules) -> String {
    let count = |level| verdict.columns.iter().filter(|column| column.level == level).count();
    let (major, minor) = (count(Level::Major), count(Level::Minor));
    let judged = verdict.columns.len() - count(Level::NotJudged);
    let mut parts = Vec::new();
    if let Some(first) = verdict.columns.first().filter(|column| column.level == Level::Major) {
        parts.push(format!(
            "{major} of {} drifted, which carry {} of the importance, first `{}`: {}",
            plural(judged, "column"),
            percent(verdict.major_share),
            first.name,
            first.reason
        ));
    } else if minor > 0 {
        parts.push(format!(
            "{minor} of {} changed a little, none as far as its floor",
            plural(judged, "column")
        ));
    }
    if let Some(pair) = verdict.pairs.first().filter(|pair| pair.level >= Level::Minor) {
        parts.push(of_pair(pair));
    }
    if let Some(found) = verdict.classifier.as_ref().filter(|found| found.level(rules) > Level::None) {
        parts.push(format!(
            "a classifier tells the sides apart with an area of {} ({} to {}) under its curve{}",
            figure(found.auc),
            figure(found.lower),
            figure(found.upper),
            told_by(&found.columns)
        ));
    }
    if !parts.is_empty() {
        return parts.join("; ");
    }
    if verdict.level == Level::NotJudged {
        return "no column has enough rows to be judged".to_owned();
    }
    format!("no drift in {}", plural(judged, "column"))
}

/// Columns that are named one by one.
const NAMED: usize = 4;

/// The columns that a classifier tells the sides apart by.
fn told_by(columns: &[String]) -> String {
    let named: Vec<String> = columns.iter().take(NAMED).map(|name| format!("`{name}`")).collect();
    match (named.split_last(), columns.len().saturating_sub(NAMED)) {
        (None, _) => String::new(),
        (Some(_), more @ 1..) => format!(", by {} and {more} more", named.join(", ")),
        (Some((last, [])), 0) => format!(", by {last}"),
        (Some((last, others)), 0) => format!(", by {} and {last}", others.join(", ")),
    }
}

/// What became of a pair of columns.
pub(super) fn of_pair(pair: &PairDrift) -> String {
    let named = |name: &str, category: &Option<String>| match category {
        None => format!("`{name}`"),
        Some(category) => format!("`{name}` = `{category}`"),
    };
    format!(
        "the correlation of {} and {} went from {} to {}",
        named(&pair.columns.0, &pair.of.0),
        named(&pair.columns.1, &pair.of.1),
        figure(pair.reference),
        figure(pair.current)
    )
}

fn domain(measured: &Measured) -> Option<String> {
    let changes = &measured.figures.categorical.as_ref()?.domain;
    let first = changes.first()?;
    let label = measured.labels.get(1).map_or("", String::as_str);
    let others = match changes.len() {
        1 => String::new(),
        more => format!(", and {} more appeared or vanished", more - 1),
    };
    let share = percent(first.share);
    Some(match first.kind {
        DomainKind::New => format!("category `{label}` is new, with {share} of the rows{others}"),
        DomainKind::Gone => format!("category `{label}` is gone, which had {share} of the rows{others}"),
    })
}

fn what(measured: &Measured, test: &Test) -> String {
    let shares = |change: Option<crate::categorical::ProportionChange>| {
        change.map_or_else(String::new, |change| {
            format!(" went from {} to {}", percent(change.share_reference), percent(change.share_current))
        })
    };
    let (numeric, categorical) = (measured.figures.numeric.as_ref(), measured.figures.categorical.as_ref());
    match test.kind {
        TestKind::Ks => {
            let moved = numeric.map_or_else(String::new, |figures| {
                let (old, new) = (figure(figures.medians.0), figure(figures.medians.1));
                if old == new {
                    format!(" with the median still {old}")
                } else {
                    format!(" with the median from {old} to {new}")
                }
            });
            format!("the distribution moved by a KS distance of {}{moved}", figure(test.effect))
        }
        TestKind::ChiSquare => {
            let moved = categorical.map_or_else(String::new, |figures| {
                let label = measured.labels.first().map_or("", String::as_str);
                let largest = &figures.largest;
                let (old, new) = (percent(largest.share_reference), percent(largest.share_current));
                format!(", most in `{label}` from {old} to {new}")
            });
            format!("the shares of categories moved by a Cramér's V of {}{moved}", figure(test.effect))
        }
        TestKind::Length => {
            let medians = measured.figures.text.as_ref().map_or_else(String::new, |text| {
                format!(" with the median from {} to {}", figure(text.medians.0), figure(text.medians.1))
            });
            format!("the lengths of texts moved by a KS distance of {}{medians}", figure(test.effect))
        }
        TestKind::Shape => {
            format!("the shapes of texts moved by a Cramér's V of {}", figure(test.effect))
        }
        TestKind::NewWords => {
            let words = measured.figures.text.as_ref().and_then(|text| text.new_words);
            let figures = words.map_or_else(String::new, |words| {
                let (expected, found) = (percent(words.share_reference), percent(words.share_current));
                format!(": {found} of all, where {expected} were to be expected")
            });
            format!("there are words that the reference never saw{figures}")
        }
        TestKind::Missing => format!("missing values{}", shares(measured.figures.missing)),
        TestKind::Tail => {
            let tail = numeric.and_then(|figures| figures.tail);
            let range = tail.map_or_else(String::new, |tail| {
                format!(" outside of {} to {}", figure(tail.low), figure(tail.high))
            });
            format!("values{range}{}", shares(tail.map(|tail| tail.change)))
        }
    }
}

/// A share in percent with as many digits as are of use.
fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    if percent != 0.0 && percent < 0.1 { format!("{percent:.3} %") } else { format!("{percent:.1} %") }
}

/// Three significant digits.
pub(super) fn figure(x: f64) -> String {
    if x == 0.0 || !x.is_finite() {
        return format!("{x}");
    }
    let magnitude = x.abs().log10().floor();
    if !(-4.0..6.0).contains(&magnitude) {
        return format!("{x:.1e}");
    }
    let digits = (2.0 - magnitude).max(0.0) as usize;
    let text = format!("{x:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn count(rows: f64) -> String {
    format!("{rows:.0}")
}

fn plural(count: usize, word: &str) -> String {
    if count == 1 { format!("{count} {word}") } else { format!("{count} {word}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_named_in_a_sentence() {
        let names = ["a", "b", "c", "d", "e", "f"].map(str::to_owned);
        for (count, expected) in [
            (0, ""),
            (1, ", by `a`"),
            (2, ", by `a` and `b`"),
            (4, ", by `a`, `b`, `c` and `d`"),
            (6, ", by `a`, `b`, `c`, `d` and 2 more"),
        ] {
            assert_eq!(told_by(&names[..count]), expected);
        }
    }

    #[test]
    fn numbers_are_short() {
        let table = [
            (0.0, "0"),
            (1.0, "1"),
            (0.05, "0.05"),
            (0.21449, "0.214"),
            (1234.5, "1234"),
            (12.345, "12.3"),
            (-3.5, "-3.5"),
            (1.234e-9, "1.2e-9"),
            (2.5e7, "2.5e7"),
            (100.0, "100"),
        ];
        for (x, expected) in table {
            assert_eq!(figure(x), expected);
        }
        assert_eq!([0.0, 0.0005, 0.012, 1.0].map(percent), ["0.0 %", "0.050 %", "1.2 %", "100.0 %"]);
    }
}
