//! `tidemill data get`: writes a version of a dataset, or anything else that is stored, into the file system.

use std::path::{Component, Path, PathBuf};

use serde_json::json;
use tidemill_core::Digest;
use tidemill_db::DatasetVersion;
use tidemill_store::{Checkout, Entry};

use super::{entry, find, reference};
use crate::app::App;
use crate::failure::Failure;
use crate::output::{bytes, plural};

pub(super) fn run(dataset: &str, out: Option<&Path>, force: bool, app: &App<'_>) -> anyhow::Result<()> {
    if let Ok(digest) = dataset.parse::<Digest>() {
        let Some(dest) = out else {
            return Err(Failure::usage("a digest says nothing about where its content belongs")
                .hint(format!("`tidemill data get {dataset} --out PATH`"))
                .into());
        };
        let entry = app.store()?.entry(&digest)?;
        check_out(&entry, dest, force, app)?;
        if app.console.json() {
            return app.console.value(&json!({
                "content": digest, "path": dest.to_string_lossy(), "bytes": entry.bytes, "files": entry.files,
            }));
        }
        told(app, &digest.short(), dest, &entry);
        return Ok(());
    }
    let (name, version) = reference(dataset)?;
    let version = find(app, &name, version)?;
    let dest = match out {
        Some(path) => path.to_owned(),
        None => place(&app.root, &version)?,
    };
    let entry = entry(&version);
    check_out(&entry, &dest, force, app)?;
    if app.console.json() {
        return app.console.value(&json!({
            "dataset": name, "version": version.version, "content": version.content, "path": dest.to_string_lossy(),
            "bytes": version.bytes, "files": version.files,
        }));
    }
    told(app, &format!("{name}@{}", version.version), &dest, &entry);
    Ok(())
}

fn check_out(entry: &Entry, dest: &Path, force: bool, app: &App<'_>) -> anyhow::Result<()> {
    let (store, stat) = (app.store()?, app.stat()?);
    let bar = app.bar();
    let options = Checkout { force, remove_extra: true, stat: Some(stat), ..Checkout::default() };
    store.checkout(entry, dest, &options, &bar)?;
    drop(bar);
    Ok(stat.save()?)
}

fn told(app: &App<'_>, what: &str, dest: &Path, entry: &Entry) {
    let (size, files) = (bytes(entry.bytes), plural(entry.files, "file"));
    app.console.line(format!("{what} is in `{}`: {size} in {files}", dest.display()));
}

/// Where a version was added from, if that is in the project. The record may come from a remote, and a remote does not
/// say where in the file system something is written.
fn place(root: &Path, version: &DatasetVersion) -> anyhow::Result<PathBuf> {
    let source = Path::new(&version.source);
    let parts: Vec<Component<'_>> = source.components().collect();
    let plain = !parts.is_empty()
        && parts
            .iter()
            .all(|part| matches!(part, Component::Normal(name) if *name != ".tidemill" && *name != ".git"));
    let dest = root.join(source);
    // What is there already may be a link that leads out.
    let there = dest.ancestors().find_map(|path| fs_err::canonicalize(path).ok());
    if plain && there.is_some_and(|there| there.starts_with(root)) {
        return Ok(dest);
    }
    let reference = format!("{}@{}", version.dataset, version.version);
    Err(Failure::new(format!(
        "{reference} was added from `{}`, which is no place for data in this project",
        version.source
    ))
    .hint(format!("say where it goes: `tidemill data get {reference} --out PATH`"))
    .into())
}

#[cfg(test)]
mod tests {
    use tidemill_core::{Actor, Name, Timestamp};

    use super::*;

    #[test]
    fn only_places_in_the_project() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs_err::canonicalize(folder.path()).unwrap().join("project");
        fs_err::create_dir_all(root.join("data")).unwrap();
        std::os::unix::fs::symlink("/tmp", root.join("out")).unwrap();
        std::os::unix::fs::symlink("data", root.join("in")).unwrap();
        let place = |source: &str| {
            let version = DatasetVersion {
                dataset: Name::new("x").unwrap(),
                version: 1,
                content: Digest::of(b""),
                kind: "file".to_owned(),
                bytes: 0,
                files: 1,
                rows: None,
                schema: None,
                source: source.to_owned(),
                message: None,
                created_at: Timestamp::from_millis(0),
                actor: Actor::user("me"),
            };
            place(&root, &version)
        };
        for good in ["a.csv", "data/a.csv", "new/a/b.csv", "in/a.csv"] {
            assert_eq!(place(good).unwrap(), root.join(good));
        }
        for bad in [
            "",
            ".",
            "/etc/passwd",
            "../a.csv",
            "data/../../a",
            "out/a.csv",
            "out",
            ".git/hooks/x",
            ".tidemill/x",
        ] {
            let error = place(bad).unwrap_err();
            assert!(error.to_string().contains("no place for data"), "{bad}: {error}");
            assert!(crate::failure::hint_of(&error).unwrap().contains("data get x@1 --out PATH"));
        }
    }
}
