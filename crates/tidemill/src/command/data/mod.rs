//! `tidemill data`: versions of named data.

mod add;
mod compare;
mod drift;
mod get;
mod joint;
mod list;
mod names;
mod profile;
pub(super) mod remote;
mod transfer;
mod verify;

use anyhow::Context as _;
use tidemill_core::Name;
use tidemill_db::DatasetVersion;
use tidemill_store::{Entry, EntryKind};

use crate::app::App;
use crate::cli::Data;
use crate::failure::Failure;

pub(crate) fn run(args: &Data, app: &App<'_>) -> anyhow::Result<()> {
    if !matches!(args, Data::Add { .. } | Data::Push(_) | Data::Pull { .. } | Data::Verify { .. }) {
        names::learn(app)?;
    }
    match args {
        Data::Add { name, path, message } => add::run(name, path, message.as_deref(), app),
        Data::Ls { name } => list::run(name.as_deref(), app),
        Data::Get { dataset, out, force } => get::run(dataset, out.as_deref(), *force, app),
        Data::Diff { from, to, key } => compare::run(from, to.as_deref(), key, app),
        Data::Profile { dataset, against, html } => {
            profile::run(dataset, against.as_deref(), html.as_deref(), app)
        }
        Data::Drift { reference, current, columns, skip, categorical, profiles, model } => {
            let model = model.as_deref();
            let asked = drift::Asked { columns, skip, categorical, profiles: *profiles, model };
            drift::run(reference, current, &asked, app)
        }
        Data::Push(args) => transfer::push(args, app),
        Data::Pull { transfer, all_versions } => transfer::pull(transfer, *all_versions, app),
        Data::Verify { repair, remote: None } => verify::run(*repair, app),
        Data::Verify { repair, remote: Some(name) } => verify::elsewhere(name, *repair, app),
    }
}

/// `NAME` or `NAME@VERSION`.
pub(crate) fn reference(text: &str) -> anyhow::Result<(Name, Option<u64>)> {
    let (name, version) = match text.split_once('@') {
        None => (text, None),
        Some((name, version)) => {
            let number =
                version.trim_start_matches('v').parse().ok().filter(|n| *n > 0).ok_or_else(|| {
                    Failure::usage(format!("`{version}` is not a version number"))
                        .hint(format!("`tidemill data ls {name}` lists the versions"))
                })?;
            (name, Some(number))
        }
    };
    Ok((checked_name(name)?, version))
}

/// A dataset's name.
pub(crate) fn checked_name(name: &str) -> anyhow::Result<Name> {
    Name::new(name).map_err(|error| Failure::usage(format!("`{name}` cannot name a dataset: {error}")).into())
}

/// The version that a reference names.
pub(crate) fn find(app: &App<'_>, name: &Name, version: Option<u64>) -> anyhow::Result<DatasetVersion> {
    let db = app.db()?;
    if let Some(found) = app.block(db.dataset_version(name, version))? {
        return Ok(found);
    }
    let known = app.block(db.datasets())?;
    if let Some(dataset) = known.iter().find(|dataset| dataset.name == *name) {
        return Err(Failure::new(format!("`{name}` has no version {}", version.unwrap_or_default()))
            .hint(format!(
                "its versions are 1 to {}; `tidemill data pull` fetches newer ones",
                dataset.latest
            ))
            .into());
    }
    let meant = tidemill_core::did_you_mean(name.as_str(), known.iter().map(|dataset| dataset.name.as_str()));
    Err(Failure::new(format!("there is no dataset `{name}`"))
        .hint(meant.unwrap_or_else(|| format!("store one with `tidemill data add {name} PATH`")))
        .into())
}

/// A version's content as the store names it.
pub(crate) fn entry(version: &DatasetVersion) -> Entry {
    let kind = match version.kind.as_str() {
        "tree" => EntryKind::Tree,
        "executable" => EntryKind::File { executable: true },
        _ => EntryKind::File { executable: false },
    };
    Entry { digest: version.content, kind, bytes: version.bytes, files: version.files, sha256: None }
}

/// The word that the database keeps for a content's kind; read by [`entry`].
pub(crate) fn kind_word(entry: &Entry) -> &'static str {
    match entry.kind {
        EntryKind::Tree => "tree",
        EntryKind::File { executable: true } => "executable",
        EntryKind::File { executable: false } => "file",
    }
}

/// A path for records: relative to the project where it lies inside it.
fn recorded(app: &App<'_>, path: &std::path::Path) -> anyhow::Result<String> {
    let absolute = std::path::absolute(path).context("cannot tell the current folder")?;
    let shown = absolute.strip_prefix(&app.root).unwrap_or(&absolute);
    Ok(if shown.as_os_str().is_empty() { ".".to_owned() } else { shown.to_string_lossy().into_owned() })
}
