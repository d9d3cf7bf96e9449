//! Versioned datasets, and what is different between two versions.

use std::collections::BTreeMap;

use tidemill_core::Name;
use tidemill_db::DatasetVersion;
use tidemill_registry::Error;
use tidemill_store::{Entry, EntryKind};
use tidemill_ui::chart::spark;
use tidemill_ui::{
    Area, Block, Cell, Choice, Control, Crumb, Empty, Facts, FilterBox, Link, Page, Section, Table, Tone,
    Total, href,
};
use tokio::task::spawn_blocking;

use super::Made;
use super::ask::Ask;
use super::{difference, expectations, profile};

/// Datasets of one page of the list.
const PAGE: usize = 200;
/// Files whose differences are listed.
const FILES: usize = 500;
/// Versions that are listed, and those that can be chosen to be compared.
const VERSIONS: usize = 500;
const CHOICES: usize = 200;

pub(super) async fn list(ask: Ask) -> Made {
    let db = ask.app.registry().db();
    let datasets = db.latest_dataset_versions().await?;
    let from = ask.place(|text| text.parse::<usize>().ok())?.unwrap_or(0).min(datasets.len());
    let to = datasets.len().min(from + PAGE);
    let mut checks = expectations::newest(&ask).await?;
    let mut rows = Vec::with_capacity(to - from);
    for latest in &datasets[from..to] {
        let name = latest.dataset.as_str();
        let checked = checks.get(name);
        rows.push(vec![
            Cell::link(href(&["data", name], &[]), name),
            Cell::Text(format!("v{}", latest.version)),
            latest.rows.map_or(Cell::None, Cell::Count),
            Cell::Bytes(latest.bytes),
            Cell::Count(latest.files),
            checked.map_or(Cell::None, |checked| {
                let link = Cell::link(expectations::place(name), "which");
                Cell::Many(vec![Cell::Badge(checked.badge()), link])
            }),
            Cell::Time(latest.created_at, Some(ask.now)),
        ]);
    }
    for latest in &datasets {
        checks.remove(latest.dataset.as_str());
    }
    let mut table = Table::new(
        "datasets",
        "Datasets",
        &["dataset", "version", "rows", "size", "files", "expectations", "changed"],
    )
    .with(rows)
    .or(Empty::new(
        "No dataset is versioned yet",
        "A version is an immutable snapshot that runs and models can name. Store one in the project's folder:",
    )
    .code("tidemill data add data/flights --name flights"));
    let next = (to < datasets.len()).then(|| to.to_string());
    let total = Some(Total::Exactly(datasets.len() as u64));
    table.pager = Some(ask.pager(next.as_deref(), to - from, total, ["dataset", "datasets"]));
    let mut blocks = vec![Block::Section(Section::new("list", "", vec![Block::Table(table)]))];
    if !checks.is_empty() {
        let rows = checks.iter().map(|(name, checked)| {
            vec![
                Cell::link(expectations::place(name), name.clone()),
                Cell::Badge(checked.badge()),
                Cell::Time(checked.at, Some(ask.now)),
            ]
        });
        let table =
            Table::new("checked", "Datasets of the project file", &["dataset", "expectations", "checked"]);
        blocks.push(Block::Section(
            Section::new("checks", "Datasets of the project file", vec![Block::Table(table.with(rows))])
                .note(
                    "They are read where they lie; their expectations were evaluated when the pipeline ran.",
                ),
        ));
    }
    Ok(Page {
        title: "Data".into(),
        area: Area::Data,
        lead: "Named datasets and their versions. A version never changes and is stored once, however often it is used.".into(),
        blocks,
        live: vec!["dataset.version.created", "data.checked"],
        ..Page::default()
    })
}

pub(super) async fn dataset(ask: Ask) -> Made {
    let missing = || Error::missing(format!("there is no dataset `{}`", ask.part(0)));
    let name = Name::new(ask.part(0)).map_err(|_| missing())?;
    let versions = ask.app.registry().db().dataset_versions(&name).await?;
    let latest = versions.first().ok_or_else(missing)?;
    let sizes: Vec<f64> = versions.iter().take(VERSIONS).rev().map(|version| version.bytes as f64).collect();
    let facts = Facts::new("latest")
        .large()
        .with("Latest version", Cell::Text(format!("v{}", latest.version)))
        .maybe("Rows", latest.rows.map(Cell::Count))
        .with("Size", Cell::Bytes(latest.bytes))
        .with("Files", Cell::Count(latest.files));
    let curve = || spark("small-size", "size in bytes over versions", "#versions-list", &sizes);
    let facts = facts.maybe("Size over versions", (sizes.len() > 1).then(curve));
    let rows = versions.iter().take(VERSIONS).map(|version| {
        let number = version.version.to_string();
        let before = version.version.checked_sub(1).filter(|before| *before > 0);
        vec![
            Cell::Text(format!("v{number}")),
            version.rows.map_or(Cell::None, Cell::Count),
            Cell::Bytes(version.bytes),
            Cell::Count(version.files),
            Cell::text(version.message.clone().unwrap_or_default()),
            Cell::text(version.source.clone()),
            Cell::text(version.actor.to_string()),
            Cell::Time(version.created_at, Some(ask.now)),
            before.map_or(Cell::None, |before| {
                Cell::link(difference::place(name.as_str(), before, version.version), "what changed")
            }),
            Cell::Code(version.content.to_string()),
        ]
    });
    let columns = [
        "version",
        "rows",
        "size",
        "files",
        "message",
        "source",
        "added by",
        "added",
        "difference",
        "content",
    ];
    let table = Table::new("versions", "Versions", &columns).with(rows);
    let mut blocks = vec![Block::Section(Section::new("latest", "", vec![Block::Facts(facts)]))];
    let listed = Section::new("versions-list", "Versions", vec![Block::Table(table)]);
    blocks.push(Block::Section(listed.note(left_out("versions", "the newest", VERSIONS, versions.len()))));
    blocks.extend(expectations::section(&ask, name.as_str()).await?.map(Block::Section));
    if versions.len() > 1 {
        let mut note = left_out("versions", "the newest", CHOICES, versions.len());
        if !note.is_empty() {
            note += " `from` and `to` in the address, and `tidemill data diff`, take all of them.";
        }
        let blocks_of = at_a_glance(&ask, &versions).await?;
        blocks.push(Block::Section(Section::new("difference", "Difference", blocks_of).note(note)));
    }
    blocks.extend(profile::sections(&ask, name.as_str(), &versions).await?);
    if let Some(schema) = schema(latest) {
        blocks.push(Block::Section(Section::new(
            "schema",
            "Columns of the latest version",
            vec![Block::Table(schema)],
        )));
    }
    Ok(Page {
        title: name.to_string(),
        area: Area::Data,
        crumbs: vec![Crumb::new("/data", "Data")],
        blocks,
        live: vec!["dataset.version.created", "data.checked"],
        ..Page::default()
    })
}

/// What is said where a list ends early; nothing where it does not.
pub(super) fn left_out(what: &str, which: &str, most: usize, all: usize) -> String {
    if all <= most {
        return String::new();
    }
    format!("Of {} {what} {which} {most} are listed.", tidemill_ui::count(all as u64))
}

/// The box in which two versions are chosen.
pub(super) fn chooser(
    versions: &[DatasetVersion],
    action: String,
    [from, to]: [Option<&DatasetVersion>; 2],
) -> FilterBox {
    let select = |name: &str, label: &str, chosen: Option<&DatasetVersion>| Control::Select {
        name: name.into(),
        label: label.into(),
        // What was asked for can be chosen again, however old it is.
        choices: versions
            .iter()
            .enumerate()
            .filter(|(at, version)| *at < CHOICES || chosen.is_some_and(|one| one.version == version.version))
            .map(|(_, version)| {
                let is = chosen.is_some_and(|chosen| chosen.version == version.version);
                Choice::new(version.version.to_string(), format!("v{}", version.version), is)
            })
            .collect(),
    };
    FilterBox {
        action,
        label: "Versions to compare".into(),
        controls: vec![select("from", "From", from), select("to", "To", to)],
        button: "Compare".into(),
        ..FilterBox::default()
    }
}

/// Two versions at a glance: sizes, columns and files. Their rows and values are on a page of their own.
async fn at_a_glance(ask: &Ask, versions: &[DatasetVersion]) -> Result<Vec<Block>, Error> {
    let find = |key: &str, other: u64| {
        let wanted = ask.get(key).and_then(|text| text.parse().ok()).unwrap_or(other);
        versions.iter().find(|version| version.version == wanted)
    };
    let (from, to) = (find("from", versions[1].version), find("to", versions[0].version));
    let filter = chooser(versions, href(&["data", ask.part(0), "difference"], &[]), [from, to]);
    let mut blocks = vec![Block::Filter(filter)];
    let (Some(from), Some(to)) = (from, to) else { return Ok(blocks) };
    let change = |from: u64, to: u64| {
        let sign = if to < from { "−" } else { "+" };
        Cell::Text(format!("{sign}{}", tidemill_ui::count(from.abs_diff(to))))
    };
    let mut rows = vec![
        vec![
            Cell::text("bytes"),
            Cell::Bytes(from.bytes),
            Cell::Bytes(to.bytes),
            change(from.bytes, to.bytes),
        ],
        vec![
            Cell::text("files"),
            Cell::Count(from.files),
            Cell::Count(to.files),
            change(from.files, to.files),
        ],
    ];
    if let (Some(a), Some(b)) = (from.rows, to.rows) {
        rows.insert(0, vec![Cell::text("rows"), Cell::Count(a), Cell::Count(b), change(a, b)]);
    }
    let (old, new) = (format!("v{}", from.version), format!("v{}", to.version));
    let sizes = Table::new("sizes", "Sizes", &["what", &old, &new, "change"]).with(rows);
    blocks.push(Block::Table(sizes));
    if let Some(columns) = changed_columns(from, to) {
        blocks.push(Block::Table(columns));
    }
    match (files(ask, from).await, files(ask, to).await) {
        (Some(before), Some(after)) => blocks.extend(changed_files(&before, &after)),
        _ => blocks.push(Block::Text(
            "The content of one of them is not in this store; `tidemill data pull` fetches it.".into(),
        )),
    }
    let address = difference::place(ask.part(0), from.version, to.version);
    let text = format!("What rows and values changed from v{} to v{}", from.version, to.version);
    blocks.push(Block::Links(vec![Link::new(address, text)]));
    Ok(blocks)
}

pub(super) type Files = BTreeMap<String, (String, u64)>;

/// The files of a version with digest and size; nothing where the store does not have them.
pub(super) async fn files(ask: &Ask, version: &DatasetVersion) -> Option<Files> {
    let store = ask.app.registry().store().clone();
    let (digest, bytes, is_file) = (version.content, version.bytes, version.kind == "file");
    let count = version.files;
    spawn_blocking(move || {
        let is_file = is_file || store.tree(&digest).is_err();
        let kind = if is_file { EntryKind::File { executable: false } } else { EntryKind::Tree };
        let entry = Entry { digest, kind, bytes, files: count, sha256: None };
        if !store.has(&entry).ok()? {
            return None;
        }
        let found = store.files(&entry).ok()?;
        let named = found.into_iter().map(|(path, entry)| {
            (path.to_string_lossy().into_owned(), (entry.digest.to_string(), entry.bytes))
        });
        Some(named.collect())
    })
    .await
    .ok()?
}

pub(super) fn changed_files(before: &Files, after: &Files) -> Vec<Block> {
    let mut rows = Vec::new();
    for (path, (digest, bytes)) in after {
        match before.get(path) {
            None => rows.push((Tone::Good, "added", path, None, Some(*bytes))),
            Some((old, size)) if old != digest => {
                rows.push((Tone::Warn, "changed", path, Some(*size), Some(*bytes)));
            }
            Some(_) => {}
        }
    }
    for (path, (_, bytes)) in before.iter().filter(|(path, _)| !after.contains_key(*path)) {
        rows.push((Tone::Bad, "removed", path, Some(*bytes), None));
    }
    let left_out = left_out("files that differ", "the first", FILES, rows.len());
    let size = |bytes: Option<u64>| bytes.map_or(Cell::None, Cell::Bytes);
    let rows = rows.into_iter().take(FILES).map(|(tone, word, path, old, new)| {
        vec![
            Cell::badge(tone, word),
            Cell::text(if path.is_empty() { "(the file itself)" } else { path }),
            size(old),
            size(new),
        ]
    });
    let table = Table::new("files", "Files that differ", &["change", "file", "before", "after"])
        .with(rows)
        .or(Empty::new("Every file is the same", "The two versions hold the same bytes."));
    let said = (!left_out.is_empty()).then_some(Block::Text(left_out));
    std::iter::once(Block::Table(table)).chain(said).collect()
}

/// The names and types of a version's columns, where its schema says them.
fn columns(version: &DatasetVersion) -> Option<Vec<(String, String)>> {
    let value: serde_json::Value = serde_json::from_str(version.schema.as_deref()?).ok()?;
    let fields = value.as_array().or_else(|| value.get("fields")?.as_array())?;
    let text = |field: &serde_json::Value, keys: &[&str]| {
        let found = keys.iter().find_map(|key| field.get(key));
        found
            .map_or_else(String::new, |found| found.as_str().map_or_else(|| found.to_string(), str::to_owned))
    };
    let named = fields.iter().map(|field| (text(field, &["name"]), text(field, &["type", "data_type"])));
    Some(named.collect())
}

fn schema(version: &DatasetVersion) -> Option<Table> {
    let rows = columns(version)?.into_iter().map(|(name, kind)| vec![Cell::text(name), Cell::text(kind)]);
    Some(Table::new("schema", "Columns", &["column", "type"]).with(rows))
}

/// The columns that are not the same in two versions, where both say what they have.
fn changed_columns(from: &DatasetVersion, to: &DatasetVersion) -> Option<Table> {
    let (before, after) = (columns(from)?, columns(to)?);
    let kind = |all: &[(String, String)], name: &str| {
        all.iter().find(|(known, _)| known == name).map(|(_, kind)| kind.clone())
    };
    let mut rows = Vec::new();
    for (name, now) in &after {
        match kind(&before, name) {
            None => rows.push((Tone::Good, "added", name, String::new(), now.clone())),
            Some(then) if then != *now => rows.push((Tone::Warn, "another type", name, then, now.clone())),
            Some(_) => {}
        }
    }
    for (name, then) in before.iter().filter(|(name, _)| kind(&after, name).is_none()) {
        rows.push((Tone::Bad, "removed", name, then.clone(), String::new()));
    }
    let rows = rows.into_iter().map(|(tone, word, name, then, now)| {
        vec![Cell::badge(tone, word), Cell::text(name.as_str()), Cell::text(then), Cell::text(now)]
    });
    let table =
        Table::new("columns", "Columns that differ", &["change", "column", "before", "after"]).with(rows);
    Some(table.or(Empty::new("Every column is the same", "The two versions have the same names and types.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_ends_early_says_so() {
        let named = |count: usize| -> Files {
            (0..count).map(|n| (format!("part-{n:04}"), (String::from("b3:0"), 1))).collect()
        };
        let blocks = changed_files(&Files::new(), &named(FILES + 1));
        let [Block::Table(table), Block::Text(said)] = &blocks[..] else { panic!("{blocks:?}") };
        assert_eq!(
            (table.rows.len(), said.as_str()),
            (FILES, "Of 501 files that differ the first 500 are listed.")
        );
        assert_eq!(changed_files(&Files::new(), &named(FILES)).len(), 1);
        assert_eq!(left_out("versions", "the newest", 500, 500), "");
    }
}
