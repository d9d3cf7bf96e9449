//! `tidemill data ls`: datasets, or the versions of one.

use serde_json::json;

use super::{checked_name, find};
use crate::app::App;
use crate::output::{Align, FAINT, Table, bytes, count};

pub(super) fn run(name: Option<&str>, app: &App<'_>) -> anyhow::Result<()> {
    match name {
        None => datasets(app),
        Some(name) => versions(name, app),
    }
}

fn datasets(app: &App<'_>) -> anyhow::Result<()> {
    let db = app.db()?;
    let console = app.console;
    let mut table = Table::new(&[
        ("dataset", Align::Left),
        ("version", Align::Right),
        ("size", Align::Right),
        ("rows", Align::Right),
        ("added", Align::Left),
    ]);
    let mut values = Vec::new();
    for dataset in app.block(db.datasets())? {
        let Some(newest) = app.block(db.dataset_version(&dataset.name, None))? else { continue };
        values.push(json!({
            "dataset": dataset.name, "version": newest.version, "bytes": newest.bytes, "files": newest.files,
            "rows": newest.rows, "content": newest.content, "created_at": newest.created_at.to_string(),
        }));
        table.row([
            dataset.name.to_string(),
            newest.version.to_string(),
            bytes(newest.bytes),
            newest.rows.map(count).unwrap_or_default(),
            console.out(FAINT, newest.created_at),
        ]);
    }
    if console.json() {
        return console.value(&values);
    }
    if table.is_empty() {
        console.note("no dataset has been stored yet; `tidemill data add NAME PATH` stores one");
        return Ok(());
    }
    console.table(&table);
    Ok(())
}

fn versions(name: &str, app: &App<'_>) -> anyhow::Result<()> {
    let name = checked_name(name)?;
    let console = app.console;
    let versions = app.block(app.db()?.dataset_versions(&name))?;
    if versions.is_empty() {
        // Says what is close, since the name is not known.
        find(app, &name, None)?;
    }
    if console.json() {
        let values: Vec<_> = versions
            .iter()
            .map(|v| {
                json!({
                    "dataset": v.dataset, "version": v.version, "bytes": v.bytes, "files": v.files, "rows": v.rows,
                    "content": v.content, "created_at": v.created_at.to_string(), "source": v.source,
                    "message": v.message, "actor": v.actor.to_string(),
                })
            })
            .collect();
        return console.value(&values);
    }
    let mut table = Table::new(&[
        ("version", Align::Right),
        ("size", Align::Right),
        ("files", Align::Right),
        ("rows", Align::Right),
        ("content", Align::Left),
        ("added", Align::Left),
        ("who", Align::Left),
        ("message", Align::Left),
    ]);
    for v in versions {
        table.row([
            v.version.to_string(),
            bytes(v.bytes),
            count(v.files),
            v.rows.map(count).unwrap_or_default(),
            v.content.short(),
            console.out(FAINT, v.created_at),
            v.actor.name,
            v.message.unwrap_or_default(),
        ]);
    }
    console.table(&table);
    Ok(())
}
