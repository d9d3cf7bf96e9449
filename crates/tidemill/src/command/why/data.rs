//! The data that a run has read, as its lock file names them.

use std::collections::{BTreeMap, BTreeSet};

use tidemill_core::{Digest, EventKind, Name};
use tidemill_pipeline::Lock;

use super::{Chain, Link, Part};
use crate::app::App;
use crate::output::{bytes, plural};

/// Names of files that are shown.
const SHOWN: usize = 3;

/// A dataset, or the other files, that a run has read.
pub(crate) struct Source {
    /// The dataset's name.
    pub(crate) name: String,
    /// Whether it is a dataset of the project.
    pub(crate) is_dataset: bool,
    /// Content and size of each, by path.
    pub(crate) files: BTreeMap<String, (Digest, u64)>,
}

/// What a run has read that none of its steps has written.
pub(super) fn sources(app: &App<'_>, lock: Option<Digest>) -> anyhow::Result<Vec<Source>> {
    // What garbage collection removed is not known any more, and says nothing.
    let Some(text) = lock.and_then(|lock| app.store().ok()?.get(&lock).ok()) else { return Ok(Vec::new()) };
    Ok(read(app, &Lock::parse("the lock file of the run", &text)?))
}

/// What these steps have read that none of them has written.
pub(crate) fn read(app: &App<'_>, lock: &Lock) -> Vec<Source> {
    let written: BTreeSet<&String> = lock.steps.values().flat_map(|step| step.outs.keys()).collect();
    let is_written = |path: &str| {
        written
            .iter()
            .any(|out| path == *out || path.strip_prefix(*out).is_some_and(|rest| rest.starts_with('/')))
    };
    let mut found: BTreeMap<(bool, String), Source> = BTreeMap::new();
    for (path, content) in lock.steps.values().flat_map(|step| &step.record.deps) {
        if is_written(path) {
            continue;
        }
        let dataset = app
            .project
            .data
            .iter()
            .find(|(_, dataset)| dataset.path.as_slice().iter().any(|declared| belongs(path, declared)));
        let (name, is_dataset) = dataset.map_or((String::new(), false), |(name, _)| (name.to_string(), true));
        found
            .entry((!is_dataset, name.clone()))
            .or_insert_with(|| Source { name, is_dataset, files: BTreeMap::new() })
            .files
            .insert(path.clone(), (content.digest, content.bytes));
    }
    found.into_values().collect()
}

/// Whether a file is one of those at a declared path: the path itself, below it, or where its pattern begins.
fn belongs(path: &str, declared: &str) -> bool {
    match declared.find(['*', '?', '[', '{']) {
        Some(at) => path.starts_with(&declared[..at]),
        None => path.strip_prefix(declared).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
    }
}

/// The link of a source: the version of the dataset where one has these bytes, and else the files themselves.
pub(super) fn link(chain: &Chain<'_, '_>, source: &Source) -> anyhow::Result<Link> {
    let app = chain.app;
    if source.is_dataset
        && let Ok(name) = source.name.parse::<Name>()
    {
        let versions = app.block(app.db()?.dataset_versions(&name))?;
        let same = versions
            .iter()
            .rev()
            .find(|version| source.files.values().any(|(digest, _)| *digest == version.content));
        if let Some(same) = same {
            let created = chain.events(&format!("dataset:{name}"), Some("dataset.version.created"))?;
            let event = created.into_iter().find(|event| {
                matches!(&event.kind, EventKind::DatasetVersionCreated { version, .. } if *version == same.version)
            });
            let rows = same.rows.map(|rows| format!(", {}", plural(rows, "row"))).unwrap_or_default();
            return Ok(Link {
                part: Part::Data,
                at: same.created_at.to_string(),
                event: event.map(|event| event.seq),
                what: format!(
                    "{name}@{}: {}{rows}, {}",
                    same.version,
                    bytes(same.bytes),
                    same.content.short()
                ),
            });
        }
    }
    let size: u64 = source.files.values().map(|(_, size)| size).sum();
    let mut names: Vec<String> = source
        .files
        .iter()
        .take(SHOWN)
        .map(|(path, (digest, _))| format!("{path} {}", digest.short()))
        .collect();
    if source.files.len() > SHOWN {
        names.push("…".to_owned());
    }
    let what = if source.is_dataset {
        format!("{}, no version of it: ", source.name)
    } else {
        "other files: ".to_owned()
    };
    let files = plural(source.files.len() as u64, "file");
    Ok(Link {
        part: Part::Data,
        at: String::new(),
        event: None,
        what: format!("{what}{files}, {}: {}", bytes(size), names.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::belongs;

    #[test]
    fn files_of_a_dataset() {
        for (path, declared, expected) in [
            ("data/a.csv", "data/a.csv", true),
            ("data/a.csv", "data", true),
            ("data2/a.csv", "data", false),
            ("data/a.csv", "data/*.csv", true),
            ("src/a.py", "data/*.csv", false),
        ] {
            assert_eq!(belongs(path, declared), expected, "{path} {declared}");
        }
    }
}
