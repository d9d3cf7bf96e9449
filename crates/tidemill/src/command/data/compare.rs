//! `tidemill data diff`: two versions of a table side by side; of anything else, the files that differ.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;
use tidemill_core::Digest;
use tidemill_data::diff::ColumnDiff;
use tidemill_data::{Table, TableDiff, Value};

use super::reference;
use crate::app::App;
use crate::failure::Failure;
use crate::output::{
    Align, BAD, CAUTION, Console, FAINT, GOOD, Table as Sheet, bytes, count, number, plural,
};
use crate::profile::Source;

pub(super) fn run(from: &str, to: Option<&str>, key: &[String], app: &App<'_>) -> anyhow::Result<()> {
    let mut old = Source::find(from, app)?;
    let mut new = if let Some(to) = to {
        Source::find(to, app)?
    } else {
        let (name, _) = reference(from)?;
        Source::find(name.as_str(), app)?
    };
    let (old_path, new_path) = (old.path(app)?.to_owned(), new.path(app)?.to_owned());
    let key = match key {
        [] if new.key.is_empty() => None,
        [] => Some(new.key.as_slice()),
        given => Some(given),
    };
    let tables = match (
        Table::open(std::slice::from_ref(&old_path), old.format.clone()),
        Table::open(std::slice::from_ref(&new_path), new.format.clone()),
    ) {
        (Ok(a), Ok(b)) => Some((a, b)),
        // One side is a table and the other one cannot be read: that is worth an error, not a list of files.
        (Ok(_), Err(error)) | (Err(error), Ok(_)) if !new.entry.is_tree() => return Err(error.into()),
        _ => None,
    };
    let files = files(app, (&old, &old_path), (&new, &new_path))?;
    let Some((a, b)) = tables else {
        if key.is_some() {
            return Err(Failure::usage("--key needs two tables, and these are not").into());
        }
        return print_files(app, &old, &new, &files);
    };
    let mut diff = tidemill_data::diff(&a, &b, key)?;
    // What either side hides is hidden.
    diff.redact(&[old.redact.as_slice(), new.redact.as_slice()].concat());
    if app.console.json() {
        return app
            .console
            .value(&json!({"from": old.label, "to": new.label, "files": files, "table": diff}));
    }
    app.console.line(format!("{} → {}", old.label, new.label));
    print_diff(app.console, &diff);
    Ok(())
}

/// What became of one file.
#[derive(serde::Serialize)]
struct FileChange {
    path: String,
    change: &'static str,
    old_bytes: Option<u64>,
    new_bytes: Option<u64>,
}

fn files(app: &App<'_>, old: (&Source, &Path), new: (&Source, &Path)) -> anyhow::Result<Vec<FileChange>> {
    let list = |(side, path): (&Source, &Path)| -> anyhow::Result<BTreeMap<String, (Digest, u64)>> {
        if !side.entry.is_tree() {
            return Ok(BTreeMap::from([(String::new(), (side.entry.digest, side.entry.bytes))]));
        }
        if !side.stored {
            // A folder in the workspace is listed by storing its tree, which costs only what is new.
            app.store()?.add(path, Some(app.stat()?), &app.bar())?;
        }
        let files = app.store()?.files(&side.entry)?;
        Ok(files.into_iter().map(|(p, e)| (p.to_string_lossy().into_owned(), (e.digest, e.bytes))).collect())
    };
    let (a, b) = (list(old)?, list(new)?);
    let mut changes = Vec::new();
    for (path, (digest, size)) in &b {
        match a.get(path) {
            None => changes.push(FileChange {
                path: path.clone(),
                change: "added",
                old_bytes: None,
                new_bytes: Some(*size),
            }),
            Some((before, old_size)) if before != digest => changes.push(FileChange {
                path: path.clone(),
                change: "changed",
                old_bytes: Some(*old_size),
                new_bytes: Some(*size),
            }),
            Some(_) => {}
        }
    }
    changes.extend(a.iter().filter(|(path, _)| !b.contains_key(*path)).map(|(path, (_, size))| FileChange {
        path: path.clone(),
        change: "removed",
        old_bytes: Some(*size),
        new_bytes: None,
    }));
    changes.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(changes)
}

fn print_files(app: &App<'_>, old: &Source, new: &Source, files: &[FileChange]) -> anyhow::Result<()> {
    let console = app.console;
    if console.json() {
        return console.value(&json!({"from": old.label, "to": new.label, "files": files, "table": null}));
    }
    console.line(format!("{} → {}", old.label, new.label));
    if files.is_empty() {
        console.line("the same content");
    }
    for file in files {
        let style = match file.change {
            "added" => GOOD,
            "removed" => BAD,
            _ => CAUTION,
        };
        let sizes = match (file.old_bytes, file.new_bytes) {
            (Some(a), Some(b)) => format!("{} → {}", bytes(a), bytes(b)),
            (a, b) => bytes(a.or(b).unwrap_or(0)),
        };
        let path = if file.path.is_empty() { "content" } else { &file.path };
        console.line(format!("  {} {path}  {}", console.out(style, file.change), console.out(FAINT, sizes)));
    }
    Ok(())
}

/// The differences of two tables, for people.
fn print_diff(console: &Console, diff: &TableDiff) {
    let rows = &diff.rows;
    console.line(format!("rows     {} → {}", count(rows.old), count(rows.new)));
    let mut parts = vec![
        console.out(GOOD, format!("{} added", count(rows.added))),
        console.out(BAD, format!("{} removed", count(rows.removed))),
    ];
    if let Some(key) = &diff.key {
        parts.push(console.out(CAUTION, format!("{} changed", count(rows.changed))));
        parts.push(format!("by key {}", key.columns.join(", ")));
    }
    parts
        .insert(parts.len() - usize::from(diff.key.is_some()), format!("{} the same", count(rows.unchanged)));
    console.line(format!("         {}", parts.join(", ")));
    if let Some(key) = diff.key.as_ref().filter(|key| key.duplicates_old + key.duplicates_new > 0) {
        console.warn(format!(
            "the key is not unique: {} in the old table, {} in the new one",
            plural(key.duplicates_old, "repeated row"),
            plural(key.duplicates_new, "repeated row")
        ));
    }
    for field in &diff.schema.added {
        console.line(format!("column   {} {} {}", console.out(GOOD, "added"), field.name, field.data_type));
    }
    for field in &diff.schema.removed {
        console.line(format!("column   {} {} {}", console.out(BAD, "removed"), field.name, field.data_type));
    }
    for (field, now) in &diff.schema.retyped {
        let change = console.out(CAUTION, "retyped");
        console.line(format!("column   {change} {} {} → {now}", field.name, field.data_type));
    }
    let mut sheet = Sheet::new(&[
        ("column", Align::Left),
        ("cells changed", Align::Right),
        ("nulls", Align::Right),
        ("distinct", Align::Right),
        ("mean", Align::Right),
        ("min", Align::Right),
        ("max", Align::Right),
    ]);
    for column in diff.columns.iter().filter(|column| differs(column, diff)) {
        let cells = diff.changed_cells.get(&column.name).copied().unwrap_or(0);
        sheet.row([
            column.name.clone(),
            if cells == 0 { String::new() } else { count(cells) },
            both(column, |c| Some(count(c.nulls))),
            both(column, |c| Some(count(c.distinct.estimate))),
            both(column, |c| c.mean.map(number)),
            both(column, |c| c.min.as_ref().map(plain)),
            both(column, |c| c.max.as_ref().map(plain)),
        ]);
    }
    if sheet.is_empty() {
        console.line("statistics of all columns are the same");
    } else {
        console.table(&sheet);
    }
}

fn differs(column: &ColumnDiff, diff: &TableDiff) -> bool {
    diff.changed_cells.contains_key(&column.name) || column.old != column.new
}

/// `old → new`, or one value where they agree.
fn both(column: &ColumnDiff, of: impl Fn(&tidemill_data::profile::ColumnStats) -> Option<String>) -> String {
    let side = |stats: &Option<_>| stats.as_ref().and_then(&of).unwrap_or_else(|| "–".to_owned());
    let (old, new) = (side(&column.old), side(&column.new));
    if old == new { new } else { format!("{old} → {new}") }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(n) => n.as_f64().filter(|_| n.is_f64()).map_or_else(|| n.to_string(), number),
        other => other.to_string(),
    }
}
