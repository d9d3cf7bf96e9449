//! `tidemill data drift`: whether a table is distributed as another was, column by column, with the reason in words.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;
use tidemill_data::drift::{DriftOptions, DriftReport, Level, between_profiles, between_tables};

use super::joint::classifier;
use crate::app::App;
use crate::failure::{Exit, Failure, Said};
use crate::model_test::{report as trained_report, subject};
use crate::output::{Align, BAD, CAUTION, Console, FAINT, GOOD, Table, percent, plural};
use crate::profile::Source;

/// What the command line asks for.
pub(super) struct Asked<'a> {
    pub(super) columns: &'a [String],
    pub(super) skip: &'a [String],
    pub(super) categorical: &'a [String],
    pub(super) profiles: bool,
    pub(super) model: Option<&'a Path>,
}

pub(super) fn run(reference: &str, current: &str, asked: &Asked<'_>, app: &App<'_>) -> anyhow::Result<()> {
    let (mut before, mut after) = (Source::find(reference, app)?, Source::find(current, app)?);
    let wanted = |name: &String| !asked.columns.contains(name);
    let keys = before.identifier().into_iter().chain(after.identifier()).filter(wanted);
    let mut options = DriftOptions {
        columns: (!asked.columns.is_empty()).then(|| asked.columns.to_vec()),
        skip: asked.skip.iter().cloned().chain(keys).collect(),
        categorical: asked.categorical.to_vec(),
        ..DriftOptions::default()
    };
    let used = importance(asked.model, app)?;
    let mut report = if asked.profiles {
        let (old, new) = (before.profile(app)?, after.profile(app)?);
        let is_there = |name: &String| new.columns().any(|column| column == name);
        options.importance = known(used, asked, is_there);
        between_profiles(&old, &new, &options)?
    } else {
        let (old, new) = (before.open(app)?, after.open(app)?);
        options.importance = known(used, asked, |name| new.column(name).is_ok());
        options.classifier = classifier(&old, &new, &options, &app.bar())?;
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

/// How much a trained model uses each column: that of the folder that is named, or else of the project's training. Nothing where there is none.
fn importance(folder: Option<&Path>, app: &App<'_>) -> anyhow::Result<BTreeMap<String, f64>> {
    let own = || {
        let resolved = app.resolve(&[]).ok()?;
        let found = subject(&app.project, &resolved)?;
        Some(app.root.join(&found.step.outs.first()?.path))
    };
    let Some(place) = folder.map(Path::to_owned).or_else(own) else { return Ok(BTreeMap::new()) };
    match trained_report(&place) {
        Ok(trained) => Ok(trained.importance.into_iter().map(|it| (it.column, it.mean.max(0.0))).collect()),
        Err(error) if folder.is_some() => {
            Err(Failure::usage(format!("cannot tell what the model uses: {error:#}"))
                .hint("`--model` names the folder that a training of Tidemill wrote")
                .into())
        }
        Err(_) => Ok(BTreeMap::new()),
    }
}

/// What counts of it for a table. Where nobody named the model, and the table is not one that it would take, all columns count the same.
fn known(
    used: BTreeMap<String, f64>,
    asked: &Asked<'_>,
    is_there: impl Fn(&String) -> bool,
) -> BTreeMap<String, f64> {
    if asked.model.is_none() && !used.keys().all(&is_there) {
        return BTreeMap::new();
    }
    used.into_iter().filter(|(name, _)| is_there(name)).collect()
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
    let columns = &report.verdict.columns;
    // Where all count the same, that says nothing.
    let differs = columns.windows(2).any(|pair| pair[0].importance != pair[1].importance);
    let is_used = differs && columns.iter().any(|column| column.importance > 0.0);
    let mut heads = vec![("column", Align::Left), ("level", Align::Left), ("shift", Align::Right)];
    heads.extend(is_used.then_some(("used", Align::Right)));
    heads.push(("why", Align::Left));
    let mut table = Table::new(&heads);
    for column in columns {
        let mut row = vec![column.name.clone(), word(console, column.level), percent(column.shift)];
        row.extend(is_used.then(|| percent(column.importance)));
        row.push(column.reason.clone());
        table.row(row);
    }
    for skipped in &report.skipped {
        let mut row = vec![skipped.column.clone(), console.out(FAINT, "left out"), String::new()];
        row.extend(is_used.then(String::new));
        row.push(skipped.reason.clone());
        table.row(row);
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
