//! `tidemill data add`: stores a file or folder as the next version of a dataset.

use std::path::Path;

use serde_json::json;
use tidemill_core::{EventKind, Name};
use tidemill_data::{Format, Table};
use tidemill_db::{Db, NewDatasetVersion};
use tidemill_store::AddOptions;

use super::{checked_name, kind_word, names, recorded};
use crate::app::{App, reason};
use crate::failure::Failure;
use crate::output::{bytes, plural};
use crate::profile::{Source, declared_format};

/// Above this size text files are not read a second time to count their rows, and no table is to be profiled.
const READ_AGAIN_UP_TO: u64 = 64 << 20;

pub(super) fn run(name: &str, path: &Path, message: Option<&str>, app: &App<'_>) -> anyhow::Result<()> {
    let name = checked_name(name)?;
    if let Err(error) = fs_err::metadata(path) {
        return Err(Failure::new(format!("cannot read `{}`: {}", path.display(), reason(&error)))
            .hint("the path is relative to the current folder")
            .into());
    }
    let (store, stat) = (app.store()?, app.stat()?);
    // Garbage collection in another process must not take what no version refers to yet.
    let held = store.hold()?;
    let before = store.stats().stored_bytes;
    let bar = app.bar();
    let options = AddOptions { stat: Some(stat), ..AddOptions::default() };
    let entry = store.add_many(&[path.to_owned()], &options, &bar)?.remove(0);
    drop(bar);
    let source = recorded(app, path)?;
    let format = declared_format(name.as_str(), &source, app);
    let described = describe(path, entry.bytes, format);
    let is_table = described.is_some();
    let now = app.clock.now();
    let new = NewDatasetVersion {
        dataset: name.clone(),
        content: entry.digest,
        kind: kind_word(&entry).to_owned(),
        bytes: entry.bytes,
        files: entry.files,
        rows: described.as_ref().map(|(rows, _)| *rows),
        schema: described.map(|(_, schema)| schema),
        source,
        message: message.map(str::to_owned),
        created_at: now,
        actor: app.actor.clone(),
    };
    names::claim(app, &new)?;
    let put = app.block(record(app, app.db()?, &new))?;
    drop(held);
    stat.save()?;
    let stored = store.stats().stored_bytes.saturating_sub(before);
    let profiled = put.created && is_table && profile(app, &name, put.version, entry.bytes);
    report(app, &name, &new, (put, profiled), stored)
}

/// Makes the profile of a new version from what is in the store, and says whether there is one. The version is there whatever comes of it: a
/// profile that is missing is made at its first use.
fn profile(app: &App<'_>, name: &Name, version: u64, size: u64) -> bool {
    let label = format!("{name}@{version}");
    if size > READ_AGAIN_UP_TO {
        let limit = bytes(READ_AGAIN_UP_TO);
        app.console.note(format!(
            "{label} has no profile yet, being larger than {limit}: `tidemill data profile {label}` makes it"
        ));
        return false;
    }
    match Source::find(&label, app).and_then(|mut source| source.profile(app)) {
        Ok(_) => true,
        Err(error) => {
            app.console.note(format!("{label} has no profile yet: {error}"));
            false
        }
    }
}

async fn record(app: &App<'_>, db: &Db, new: &NewDatasetVersion) -> anyhow::Result<tidemill_db::PutVersion> {
    let mut tx = db.begin().await?;
    let put = tx.put_dataset_version(new).await?;
    if put.created {
        let event = app.event(EventKind::DatasetVersionCreated {
            dataset: new.dataset.to_string(),
            version: put.version,
            content: new.content,
            bytes: new.bytes,
            rows: new.rows,
        });
        tx.commit(vec![event]).await?;
    }
    Ok(put)
}

fn report(
    app: &App<'_>,
    name: &Name,
    new: &NewDatasetVersion,
    (put, profiled): (tidemill_db::PutVersion, bool),
    stored: u64,
) -> anyhow::Result<()> {
    let console = app.console;
    if console.json() {
        return console.value(&json!({
            "dataset": name, "version": put.version, "created": put.created, "content": new.content,
            "bytes": new.bytes, "files": new.files, "rows": new.rows, "stored_bytes": stored,
            "profiled": profiled,
        }));
    }
    if !put.created {
        console.line(format!("{name}@{} holds this already", put.version));
        return Ok(());
    }
    let rows = new.rows.map(|rows| format!(", {}", plural(rows, "row"))).unwrap_or_default();
    console.line(format!(
        "{name}@{}: {} in {}{rows}; {} new in the store",
        put.version,
        bytes(new.bytes),
        plural(new.files, "file"),
        bytes(stored)
    ));
    Ok(())
}

/// Rows and schema where the path is a table of one of the known formats; what cannot be read as a table is
/// stored all the same.
fn describe(path: &Path, size: u64, format: Option<Format>) -> Option<(u64, String)> {
    let cheap = match format.clone().or_else(|| Format::of_name(path)) {
        Some(Format::Parquet | Format::Arrow) => true,
        Some(Format::Csv(_) | Format::JsonLines(_)) => size <= READ_AGAIN_UP_TO,
        None => path.is_dir() && holds_parquet_only(path),
    };
    if !cheap {
        return None;
    }
    let table = Table::open(&[path.to_owned()], format).ok()?;
    let fields: Vec<_> = table
        .schema()
        .fields()
        .iter()
        .map(|field| json!({"name": field.name(), "type": field.data_type().to_string()}))
        .collect();
    Some((table.rows(), serde_json::Value::from(fields).to_string()))
}

fn holds_parquet_only(dir: &Path) -> bool {
    let Ok(files) = fs_err::read_dir(dir) else { return false };
    let mut some = false;
    for file in files.flatten() {
        if !matches!(Format::of_name(&file.path()), Some(Format::Parquet)) {
            return false;
        }
        some = true;
    }
    some
}
