//! `tidemill data profile`: what a table holds, in numbers, as JSON, or as a page.

use std::path::Path;

use serde_json::json;
use tidemill_data::ColumnType;
use tidemill_data::drift::{DriftOptions, DriftReport, between_profiles};
use tidemill_data::profile::{AssociationKind, ColumnStats, TableStats};
use tidemill_data::report::{Report, html};

use crate::app::{App, reason};
use crate::failure::Failure;
use crate::output::{Align, Console, FAINT, Table, count, number, percent, plural};
use crate::profile::Source;

/// Pairs of columns that are printed.
const PAIRS: usize = 8;

pub(super) fn run(
    dataset: &str,
    against: Option<&str>,
    page: Option<&Path>,
    app: &App<'_>,
) -> anyhow::Result<()> {
    let mut source = Source::find(dataset, app)?;
    let profile = source.profile(app)?;
    let mut stats = profile.stats();
    // What either side hides is hidden: the page and the sentences show values of both.
    let mut hidden = source.redact.clone();
    let compared = match against {
        None => None,
        Some(text) => {
            let mut reference = Source::find(text, app)?;
            let before = reference.profile(app)?;
            let options =
                DriftOptions { skip: source.identifier().into_iter().collect(), ..DriftOptions::default() };
            let mut drift = between_profiles(&before, &profile, &options)?;
            hidden.append(&mut reference.redact);
            drift.redact(&hidden);
            Some((reference.label.clone(), before, drift))
        }
    };
    stats.redact(&hidden);
    if let Some(file) = page {
        let text = html(&Report {
            label: &source.label,
            profile: &profile,
            against: compared.as_ref().map(|(label, before, drift)| (label.as_str(), before, drift)),
            redact: &hidden,
        });
        fs_err::write(file, text).map_err(|error| {
            Failure::new(format!("cannot write `{}`: {}", file.display(), reason(&error)))
                .hint("name a file in a folder that is there")
        })?;
        app.console.note(format!("wrote {}", file.display()));
    }
    let console = app.console;
    if console.json() {
        let drift = compared.as_ref().map(|(label, _, drift)| json!({"reference": label, "report": drift}));
        return console.value(&json!({
            "dataset": source.label, "content": source.digest(), "profile": stats, "drift": drift,
        }));
    }
    if page.is_some() {
        return Ok(());
    }
    print(console, &source.label, &stats);
    if let Some((label, _, drift)) = &compared {
        print_drift(console, label, drift);
    }
    Ok(())
}

fn print(console: &Console, label: &str, stats: &TableStats) {
    let columns = plural(stats.columns.len() as u64, "column");
    console.line(format!("{label}: {}, {columns}", plural(stats.rows, "row")));
    if let Some(duplicates) = &stats.duplicates {
        let about = if duplicates.exact { "" } else { "about " };
        let found = plural(duplicates.rows, "row");
        console.line(format!("{about}{found} repeat the key {}", duplicates.key.join(", ")));
    }
    let mut table = Table::new(&[
        ("column", Align::Left),
        ("type", Align::Left),
        ("missing", Align::Right),
        ("different", Align::Right),
        ("min", Align::Right),
        ("median", Align::Right),
        ("max", Align::Right),
        ("mean", Align::Right),
        ("sd", Align::Right),
        ("most frequent", Align::Left),
    ]);
    for column in &stats.columns {
        let about = if column.distinct.exact { "" } else { "≈" };
        let text = |value: Option<&serde_json::Value>| value.map(shown).unwrap_or_default();
        // The ends of texts say little and take much room.
        let ends = column.column_type != ColumnType::String;
        table.row([
            column.name.clone(),
            console.out(FAINT, column.column_type),
            percent(column.missing_share()),
            format!("{about}{}", count(column.distinct.estimate)),
            text(column.min.as_ref().filter(|_| ends)),
            text(column.median()),
            text(column.max.as_ref().filter(|_| ends)),
            column.mean.map(number).unwrap_or_default(),
            column.std.map(number).unwrap_or_default(),
            top(column),
        ]);
    }
    console.table(&table);
    let strong: Vec<String> = stats
        .correlations
        .iter()
        .take(PAIRS)
        .filter(|pair| pair.r.abs() >= 0.3)
        .map(|pair| format!("{}·{} {:.2}", pair.columns[0], pair.columns[1], pair.r))
        .collect();
    if !strong.is_empty() {
        console.line(format!("correlated: {}", strong.join(", ")));
    }
    let telling: Vec<String> = stats
        .associations
        .iter()
        .take(PAIRS)
        .filter(|found| found.value.abs() >= 0.1)
        .map(|found| format!("{} {:.2} ({})", found.column, found.value, measure(found.kind)))
        .collect();
    if !telling.is_empty() {
        console.line(format!("beside the target: {}", telling.join(", ")));
    }
    let together: Vec<String> = stats
        .missing_together
        .iter()
        .filter(|pair| pair.overlap > 0.5)
        .take(PAIRS)
        .map(|pair| format!("{}·{} {}", pair.columns[0], pair.columns[1], count(pair.rows)))
        .collect();
    if !together.is_empty() {
        console.line(format!("missing together: {}", together.join(", ")));
    }
}

/// What an association is measured by, in short.
fn measure(kind: AssociationKind) -> &'static str {
    match kind {
        AssociationKind::Correlation => "r",
        AssociationKind::CramersV => "Cramér's V",
        AssociationKind::CorrelationRatio => "correlation ratio",
    }
}

/// Up to three frequent values with their shares; of numbers with many values none.
fn top(column: &ColumnStats) -> String {
    let few =
        matches!(column.column_type, ColumnType::String | ColumnType::Bool) || column.distinct.estimate <= 20;
    if !few {
        return String::new();
    }
    let share = |count: u64| percent(count as f64 / column.count.max(1) as f64);
    let found = column.top.iter().take(3);
    found.map(|top| format!("{} {}", shown(&top.value), share(top.count))).collect::<Vec<_>>().join(", ")
}

fn shown(value: &serde_json::Value) -> String {
    let text = match value {
        serde_json::Value::Number(found) if found.is_f64() => {
            found.as_f64().map_or_else(|| found.to_string(), number)
        }
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match text.char_indices().nth(24) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn print_drift(console: &Console, label: &str, drift: &DriftReport) {
    console.line(format!("against {label}: {}", drift.verdict.reason));
    super::drift::table(console, drift);
}
