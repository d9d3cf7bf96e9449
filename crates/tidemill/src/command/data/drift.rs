//! `tidemill data drift`: whether a table is distributed as another was, column by column, with the reason in words.

use serde_json::json;
use tidemill_data::drift::{DriftOptions, DriftReport, Level, between_profiles, between_tables};

use crate::app::App;
use crate::failure::{Exit, Said};
use crate::output::{Align, BAD, CAUTION, Console, FAINT, GOOD, Table, percent, plural};
use crate::profile::Source;

/// What the command line asks for.
pub(super) struct Asked<'a> {
    pub(super) columns: &'a [String],
    pub(super) skip: &'a [String],
    pub(super) categorical: &'a [String],
    pub(super) profiles: bool,
}

pub(super) fn run(reference: &str, current: &str, asked: &Asked<'_>, app: &App<'_>) -> anyhow::Result<()> {
    let (mut before, mut after) = (Source::find(reference, app)?, Source::find(current, app)?);
    let wanted = |name: &String| !asked.columns.contains(name);
    let keys = before.identifier().into_iter().chain(after.identifier()).filter(wanted);
    let options = DriftOptions {
        columns: (!asked.columns.is_empty()).then(|| asked.columns.to_vec()),
        skip: asked.skip.iter().cloned().chain(keys).collect(),
        categorical: asked.categorical.to_vec(),
        ..DriftOptions::default()
    };
    let mut report = if asked.profiles {
        between_profiles(&before.profile(app)?, &after.profile(app)?, &options)?
    } else {
        let (old, new) = (before.open(app)?, after.open(app)?);
        between_tables(&old, &new, &options, &app.bar())?
    };
    report.redact(&before.redact);
    report.redact(&after.redact);
    let console = app.console;
    if console.json() {
        console.value(&json!({"reference": before.label, "current": after.label, "report": report}))?;
    } else {
        console.line(format!(
            "{} → {}: {} → {}",
            before.label,
            after.label,
            plural(report.rows_reference, "row"),
            plural(report.rows_current, "row")
        ));
        schema(console, &report);
        table(console, &report);
        console.line(format!("{}: {}", word(console, report.verdict.level), report.verdict.reason));
        if !report.exact {
            console.note("from profiles: quantiles are known within the error of their sketches");
        }
    }
    let skewed = !report.schema.removed.is_empty() || !report.schema.retyped.is_empty();
    if report.verdict.level == Level::Major || skewed { Err(Said(Exit::Failed).into()) } else { Ok(()) }
}

fn schema(console: &Console, report: &DriftReport) {
    let schema = &report.schema;
    for field in &schema.removed {
        console.line(format!("  {} column `{}` is gone", console.out(BAD, "schema"), field.name));
    }
    for (field, now) in &schema.retyped {
        let line = format!("column `{}` was {} and is {now}", field.name, field.data_type);
        console.line(format!("  {} {line}", console.out(BAD, "schema")));
    }
    for field in &schema.added {
        console.line(format!("  {} column `{}` is new", console.out(CAUTION, "schema"), field.name));
    }
}

/// The columns, those that moved most first.
pub(super) fn table(console: &Console, report: &DriftReport) {
    let mut table = Table::new(&[
        ("column", Align::Left),
        ("level", Align::Left),
        ("shift", Align::Right),
        ("why", Align::Left),
    ]);
    for column in &report.verdict.columns {
        table.row([
            column.name.clone(),
            word(console, column.level),
            percent(column.shift),
            column.reason.clone(),
        ]);
    }
    for skipped in &report.skipped {
        table.row([
            skipped.column.clone(),
            console.out(FAINT, "left out"),
            String::new(),
            skipped.reason.clone(),
        ]);
    }
    console.table(&table);
    for pair in report.verdict.pairs.iter().filter(|pair| pair.level == Level::Major) {
        console.line(format!(
            "{} correlation of {} and {}: {:.2} → {:.2}",
            word(console, pair.level),
            pair.columns.0,
            pair.columns.1,
            pair.reference,
            pair.current
        ));
    }
}

fn word(console: &Console, level: Level) -> String {
    match level {
        Level::Major => console.out(BAD, "major"),
        Level::Minor => console.out(CAUTION, "minor"),
        Level::None => console.out(GOOD, "none"),
        Level::NotJudged => console.out(FAINT, "not judged"),
    }
}
