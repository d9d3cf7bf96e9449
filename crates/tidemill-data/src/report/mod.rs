//! A profile as one HTML page that needs nothing else: no network, no script.
//!
//! Readable on a light and a dark screen. With a reference every chart shows both sides, and the columns come by how much
//! they moved. The page has no times in it, so equal data give equal bytes.

mod chart;
mod shape;
mod style;

use std::fmt::Write as _;

use tidemill_core::escape_html as escape;
use tidemill_core::words::{count, number};

use self::chart::{Chart, chart};
pub use self::shape::{Bins, Shape, Share, shape};
use crate::drift::{ColumnDrift, DriftReport, Level};
use crate::profile::{ColumnStats, TableStats};
use crate::value::cut;
use crate::{ColumnType, Profile, Value};

/// Most pairs of columns that are listed.
const PAIRS: usize = 15;

/// What the page is about.
#[derive(Clone, Copy)]
pub struct Report<'a> {
    /// What the table is called, for example `flights@3`.
    pub label: &'a str,
    /// Its profile.
    pub profile: &'a Profile,
    /// What it is compared with: label, profile, and what came of it.
    pub against: Option<(&'a str, &'a Profile, &'a DriftReport)>,
    /// Columns whose values are not shown.
    pub redact: &'a [String],
}

/// The page.
pub fn html(report: &Report<'_>) -> String {
    let redacted = report.against.map(|(label, profile, drift)| {
        let mut drift = drift.clone();
        drift.redact(report.redact);
        (label, profile, drift)
    });
    let against = redacted.as_ref().map(|(label, profile, drift)| (*label, *profile, drift));
    page(&Report { against, ..*report })
}

fn page(report: &Report<'_>) -> String {
    let mut stats = report.profile.stats();
    stats.redact(report.redact);
    let mut page = String::with_capacity(1 << 16);
    let title = match report.against {
        Some((reference, _, _)) => format!("{} against {reference}", report.label),
        None => report.label.to_owned(),
    };
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{0}</title><style>{1}</style></head><body><main><header><h1>{0}</h1>",
        escape(&title),
        style::CSS
    );
    if let Some((reference, _, drift)) = report.against {
        let _ = write!(
            page,
            "<p class=\"verdict\">{} {}.</p><p class=\"key\"><span class=\"swatch ref\"></span>{} \
             <span class=\"swatch cur\"></span>{}</p>",
            badge(drift.verdict.level),
            escape(&drift.verdict.reason),
            escape(reference),
            escape(report.label),
        );
    }
    page.push_str("</header>");
    tiles(&mut page, report, &stats);
    columns(&mut page, report, &stats);
    pairs(&mut page, report, &stats);
    page.push_str("<footer>Made by tidemill.</footer></main></body></html>\n");
    page
}

fn tiles(page: &mut String, report: &Report<'_>, stats: &TableStats) {
    let cells: u64 = stats.columns.iter().map(|column| column.count + column.nulls).sum();
    let missing: u64 = stats.columns.iter().map(|column| column.nulls + column.nan).sum();
    let before = report.against.map(|(_, profile, _)| (profile.rows(), profile.columns().count()));
    let was = |value: Option<String>| value.map(|value| format!("was {value}")).unwrap_or_default();
    let mut tiles = vec![
        (count(stats.rows), "rows", was(before.map(|(rows, _)| count(rows)))),
        (stats.columns.len().to_string(), "columns", was(before.map(|(_, columns)| columns.to_string()))),
        (percent(missing as f64 / cells.max(1) as f64), "of cells missing", String::new()),
    ];
    if let Some(duplicates) = &stats.duplicates {
        let about = if duplicates.exact { "" } else { "about " };
        let found = format!("{about}{}", count(duplicates.rows));
        tiles.push((found, "rows repeat the key", duplicates.key.join(", ")));
    }
    page.push_str("<section class=\"tiles\">");
    for (value, name, note) in tiles {
        let (value, note) = (escape(&value), escape(&note));
        let _ = write!(page, "<div class=\"tile\"><b>{value}</b><span>{name}</span><i>{note}</i></div>");
    }
    page.push_str("</section>");
}

fn columns(page: &mut String, report: &Report<'_>, stats: &TableStats) {
    let found = |name: &str| -> Option<&ColumnDrift> {
        let (_, _, drift) = report.against?;
        drift.verdict.columns.iter().find(|column| column.name == name)
    };
    let mut order: Vec<&ColumnStats> = stats.columns.iter().collect();
    if let Some((_, _, drift)) = report.against {
        let place = |stats: &ColumnStats| {
            let columns = &drift.verdict.columns;
            columns.iter().position(|column| column.name == stats.name).unwrap_or(columns.len())
        };
        order.sort_by_key(|stats| place(stats));
    }
    page.push_str(
        "<section><h2>Columns</h2><div class=\"scroll\"><table><thead><tr><th>column</th><th>values</th>",
    );
    page.push_str("<th class=\"n\">missing</th><th class=\"n\">different</th><th>figures</th>");
    if report.against.is_some() {
        page.push_str("<th>shift</th>");
    }
    page.push_str("</tr></thead><tbody>");
    for stats in order {
        let redacted = report.redact.contains(&stats.name);
        let picture = if redacted {
            "<span class=\"faint\">not shown</span>".to_owned()
        } else {
            let before = report.against.map(|(_, profile, _)| profile);
            chart(&Chart { stats, current: report.profile, reference: before })
        };
        let about = if stats.distinct.exact { "" } else { "≈ " };
        let _ = write!(
            page,
            "<tr><td><b>{}</b><br><span class=\"faint\">{}</span></td><td>{picture}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{about}{}</td><td class=\"figures\">{}</td>",
            escape(&stats.name),
            stats.column_type,
            percent(stats.missing_share()),
            count(stats.distinct.estimate),
            figures(stats),
        );
        if report.against.is_some() {
            page.push_str("<td class=\"reason\">");
            match (found(&stats.name), skipped(report, &stats.name)) {
                (Some(drift), _) => {
                    let _ = write!(page, "{} {}", badge(drift.level), escape(&drift.reason));
                }
                (None, Some(reason)) => {
                    let _ = write!(page, "<span class=\"faint\">not compared: {}</span>", escape(reason));
                }
                (None, None) => page.push_str("<span class=\"faint\">new column</span>"),
            }
            page.push_str("</td>");
        }
        page.push_str("</tr>");
    }
    page.push_str("</tbody></table></div></section>");
}

fn skipped<'a>(report: &Report<'a>, name: &str) -> Option<&'a str> {
    let (_, _, drift) = report.against?;
    drift.skipped.iter().find(|skipped| skipped.column == name).map(|skipped| skipped.reason.as_str())
}

fn figures(stats: &ColumnStats) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut add = |name: &str, value: String| {
        parts.push(format!("<span class=\"pair\"><i>{name}</i> {}</span>", escape(&value)));
    };
    if let (Some(mean), Some(std)) = (stats.mean, stats.std)
        && stats.column_type != ColumnType::Bool
    {
        add("mean", number(mean));
        add("sd", number(std));
    }
    if let Some(yes) = stats.true_count {
        add("true", percent(yes as f64 / stats.count.max(1) as f64));
    }
    if let Some(median) = stats.median() {
        add("median", shown(median));
    }
    if let (Some(min), Some(max)) = (&stats.min, &stats.max)
        && !matches!(stats.column_type, ColumnType::Bool | ColumnType::String)
    {
        add("from", shown(min));
        add("to", shown(max));
    }
    if let (Some(min), Some(mean), Some(max)) = (stats.min_length, stats.mean_length, stats.max_length) {
        add("characters", format!("{min} to {max}, mean {}", number(mean)));
    }
    if let Some(pattern) = stats.patterns.first() {
        add("shape", shown(&pattern.value));
    }
    for (name, number) in [("zero", stats.zero), ("negative", stats.negative)] {
        if let Some(found) = number.filter(|found| *found > 0) {
            add(name, percent(found as f64 / stats.count.max(1) as f64));
        }
    }
    let infinite = stats.positive_infinite + stats.negative_infinite;
    for (name, found) in [("NaN", stats.nan), ("infinite", infinite)] {
        if found > 0 {
            add(name, count(found));
        }
    }
    parts.join(" ")
}

fn pairs(page: &mut String, report: &Report<'_>, stats: &TableStats) {
    let moved = report.against.map(|(_, _, drift)| &drift.verdict.pairs);
    let strong: Vec<_> = stats.correlations.iter().take(PAIRS).collect();
    if !strong.is_empty() {
        page.push_str(
            "<section><h2>Correlations</h2><div class=\"scroll\"><table><thead><tr><th>columns</th>",
        );
        page.push_str("<th class=\"n\">r</th>");
        if moved.is_some() {
            page.push_str("<th class=\"n\">was</th>");
        }
        page.push_str("<th class=\"n\">rows</th></tr></thead><tbody>");
        for pair in strong {
            let [a, b] = &pair.columns;
            let _ =
                write!(page, "<tr><td>{} · {}</td><td class=\"n\">{:.3}</td>", escape(a), escape(b), pair.r);
            if let Some(moved) = moved {
                let same = |columns: &(String, String)| {
                    (columns.0 == *a && columns.1 == *b) || (columns.0 == *b && columns.1 == *a)
                };
                let was = moved.iter().find(|found| same(&found.columns));
                let was = was.map_or_else(|| "–".to_owned(), |found| format!("{:.3}", found.reference));
                let _ = write!(page, "<td class=\"n\">{was}</td>");
            }
            let _ = write!(page, "<td class=\"n\">{}</td></tr>", count(pair.rows));
        }
        page.push_str("</tbody></table></div></section>");
    }
    if !stats.missing_together.is_empty() {
        page.push_str(
            "<section><h2>Missing together</h2><div class=\"scroll\"><table><thead><tr><th>columns</th>",
        );
        page.push_str("<th class=\"n\">rows</th><th class=\"n\">overlap</th></tr></thead><tbody>");
        for pair in stats.missing_together.iter().take(PAIRS) {
            let _ = write!(
                page,
                "<tr><td>{} · {}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
                escape(&pair.columns[0]),
                escape(&pair.columns[1]),
                count(pair.rows),
                percent(pair.overlap)
            );
        }
        page.push_str("</tbody></table></div></section>");
    }
}

fn badge(level: Level) -> String {
    let (class, word) = match level {
        Level::Major => ("major", "major"),
        Level::Minor => ("minor", "minor"),
        Level::None => ("none", "none"),
        Level::NotJudged => ("none", "not judged"),
    };
    format!("<span class=\"badge {class}\">{word}</span>")
}

/// A value as text; long ones are cut.
fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(found) => found.as_f64().map_or_else(|| found.to_string(), number),
        other => other.to_string(),
    };
    cut(text, 40)
}

fn percent(share: f64) -> String {
    match share {
        0.0 => "0 %".to_owned(),
        s if s < 0.001 => "< 0.1 %".to_owned(),
        s => format!("{:.1} %", s * 100.0),
    }
}
