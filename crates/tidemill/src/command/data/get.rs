//! `tidemill data get`: writes a version of a dataset into the file system.

use std::path::Path;

use serde_json::json;
use tidemill_store::Checkout;

use super::{entry, find, reference};
use crate::app::App;
use crate::output::{bytes, plural};

pub(super) fn run(dataset: &str, out: Option<&Path>, force: bool, app: &App<'_>) -> anyhow::Result<()> {
    let (name, version) = reference(dataset)?;
    let version = find(app, &name, version)?;
    let dest = match out {
        Some(path) => path.to_owned(),
        None => app.root.join(&version.source),
    };
    let (store, stat) = (app.store()?, app.stat()?);
    let bar = app.bar();
    let options = Checkout { force, remove_extra: true, stat: Some(stat), ..Checkout::default() };
    store.checkout(&entry(&version), &dest, &options, &bar)?;
    drop(bar);
    stat.save()?;
    if app.console.json() {
        return app.console.value(&json!({
            "dataset": name, "version": version.version, "content": version.content, "path": dest.to_string_lossy(),
            "bytes": version.bytes, "files": version.files,
        }));
    }
    app.console.line(format!(
        "{name}@{} is in `{}`: {} in {}",
        version.version,
        dest.display(),
        bytes(version.bytes),
        plural(version.files, "file")
    ));
    Ok(())
}
