//! What is different between two versions of a dataset: columns, rows by their key, and what the values of each column look like on both
//! sides. Columns are compared by the profiles that are kept, rows beside requests and within limits.

mod columns;
mod rows;

use std::path::{Path, PathBuf};

use tidemill_core::Name;
use tidemill_data::{Format, SchemaDiff, TableDiff, Value};
use tidemill_db::DatasetVersion;
use tidemill_registry::Error;
use tidemill_store::{Entry, EntryKind};
use tidemill_ui::{Area, Block, Cell, Crumb, Empty, Facts, Page, Section, Table, Tone, count, href};

use self::columns::{column_section, columns, level_badge, without_profiles};
use self::rows::{row_section, shown_rows};
use super::Made;
use super::ask::Ask;
use super::data::{changed_files, chooser, files, left_out};
use super::diffs::{self, Compared, Side, Wanted};

/// Columns that are listed.
const COLUMNS: usize = 500;
/// Characters of a value.
const LONGEST: usize = 120;

/// The address of the page on two versions.
pub(super) fn place(dataset: &str, from: u64, to: u64) -> String {
    href(&["data", dataset, "difference"], &[("from", &from.to_string()), ("to", &to.to_string())])
}

/// The two versions that are compared.
struct Two<'a> {
    name: &'a str,
    from: &'a DatasetVersion,
    to: &'a DatasetVersion,
    /// Columns whose values are not shown; nothing where nobody says which.
    hidden: Option<Vec<String>>,
    /// The columns that the project says identify a row.
    key: Vec<String>,
}

impl Two<'_> {
    fn names(&self) -> [String; 2] {
        [self.from, self.to].map(|version| format!("v{}", version.version))
    }

    fn command(&self) -> String {
        format!("tidemill data diff {0}@{1} {0}@{2}", self.name, self.from.version, self.to.version)
    }

    fn is_hidden(&self, column: &str) -> bool {
        self.hidden.as_ref().is_none_or(|hidden| hidden.iter().any(|name| name == column))
    }
}

pub(super) async fn page(ask: Ask) -> Made {
    let missing = || Error::missing(format!("there is no dataset `{}`", ask.part(0)));
    let name = Name::new(ask.part(0)).map_err(|_| missing())?;
    let versions = ask.app.registry().db().dataset_versions(&name).await?;
    let newest = versions.first().ok_or_else(missing)?;
    let before = versions.get(1).unwrap_or(newest);
    let find = |key: &str, other| match ask.get(key) {
        None => Ok(other),
        Some(text) => {
            let found = text.trim_start_matches('v').parse().ok();
            let found = versions.iter().find(|version| Some(version.version) == found);
            found.ok_or_else(|| Error::missing(format!("`{name}` has no version `{text}`")))
        }
    };
    let (from, to) = (find("from", before)?, find("to", newest)?);
    let about = ask.app.config().about.as_ref();
    let declared = about.and_then(|about| about.data.get(name.as_str()));
    let key = declared.map(|declared| declared.key.clone()).unwrap_or_default();
    let hidden = about.map(|about| about.redact(name.as_str()));
    let two = Two { name: name.as_str(), from, to, hidden, key };
    let side = |version: &DatasetVersion| {
        let format =
            declared.and_then(|declared| Format::meant(declared.format?, &declared.paths, &version.source));
        // The reader knows a format by the file's name.
        let file =
            Path::new(&version.source).file_name().map_or_else(|| PathBuf::from("data"), PathBuf::from);
        Side { entry: entry(version), file, format }
    };
    let wanted = Wanted { from: side(from), to: side(to), key: two.key.clone() };
    let compared = diffs::compare(&ask, wanted).await?;
    let columns = columns(&ask, &two).await?;
    let rows = match &compared {
        Compared::Rows(diff) => Some(shown_rows(diff, &two)),
        _ => None,
    };
    let schema = rows.as_ref().map(|diff| &diff.schema).or(columns.as_ref().map(|columns| &columns.schema));

    let filter =
        chooser(&versions, href(&["data", name.as_str(), "difference"], &[]), [Some(from), Some(to)]);
    let mut blocks = vec![
        Block::Filter(filter),
        Block::Section(Section::new("summary", "", vec![Block::Facts(summary(&two, rows.as_ref()))])),
    ];
    blocks.extend(schema.map(|schema| Block::Section(schema_section(schema))));
    blocks.push(Block::Section(row_section(&two, &compared, rows.as_ref())));
    blocks.push(Block::Section(match &columns {
        Some(columns) => column_section(&two, columns, rows.as_ref()),
        None => without_profiles(&two),
    }));
    let changed = match (files(&ask, from).await, files(&ask, to).await) {
        (Some(before), Some(after)) => changed_files(&before, &after),
        _ => vec![Block::Text(
            "The content of one of them is not in this store; `tidemill data pull` fetches it.".into(),
        )],
    };
    blocks.push(Block::Section(Section::new("files-that-differ", "Files", changed)));
    blocks.push(Block::Section(
        Section::new("command", "The same on the command line", vec![Block::Code(two.command())])
            .note("It compares tables of any size; with `--json` it gives all of it to programs."),
    ));
    let [old, new] = two.names();
    Ok(Page {
        title: format!("{name}: {old} → {new}"),
        area: Area::Data,
        crumbs: vec![
            Crumb::new("/data", "Data"),
            Crumb::new(href(&["data", name.as_str()], &[]), name.to_string()),
        ],
        badges: columns.iter().map(|columns| level_badge(columns.drift.verdict.level)).collect(),
        blocks,
        // Versions stay as they are; what is compared for somebody else now is over in a moment.
        growing: matches!(compared, Compared::Busy),
        ..Page::default()
    })
}

/// A version's content as the store names it.
fn entry(version: &DatasetVersion) -> Entry {
    let kind = match version.kind.as_str() {
        "tree" => EntryKind::Tree,
        _ => EntryKind::File { executable: false },
    };
    Entry { digest: version.content, kind, bytes: version.bytes, files: version.files, sha256: None }
}

fn summary(two: &Two<'_>, rows: Option<&TableDiff>) -> Facts {
    let arrow =
        |old: String, new: String| Cell::Text(if old == new { new } else { format!("{old} → {new}") });
    let (from, to) = (two.from, two.to);
    let known = rows.map(|diff| (diff.rows.old, diff.rows.new)).or(from.rows.zip(to.rows));
    let rows_of = |of: fn(&TableDiff) -> u64| rows.map(|diff| Cell::Count(of(diff)));
    Facts::new("difference")
        .large()
        .maybe("Rows", known.map(|(old, new)| arrow(count(old), count(new))))
        .maybe("Added", rows_of(|diff| diff.rows.added))
        .maybe("Removed", rows_of(|diff| diff.rows.removed))
        .maybe("Changed", rows.filter(|diff| diff.key.is_some()).map(|diff| Cell::Count(diff.rows.changed)))
        .maybe("The same", rows_of(|diff| diff.rows.unchanged))
        .with("Size", arrow(tidemill_ui::bytes(from.bytes), tidemill_ui::bytes(to.bytes)))
        .with("Files", arrow(count(from.files), count(to.files)))
}

fn schema_section(schema: &SchemaDiff) -> Section {
    let mut rows = Vec::new();
    let mut add = |tone, word: &str, name: &str, old: &str, new: &str| {
        rows.push(vec![Cell::badge(tone, word), Cell::text(name), Cell::text(old), Cell::text(new)]);
    };
    for field in &schema.added {
        add(Tone::Good, "added", &field.name, "", &field.data_type);
    }
    for (field, now) in &schema.retyped {
        add(Tone::Warn, "another type", &field.name, &field.data_type, now);
    }
    for field in &schema.removed {
        add(Tone::Bad, "removed", &field.name, &field.data_type, "");
    }
    let note = left_out("columns that differ", "the first", COLUMNS, rows.len());
    let order = if schema.reordered { "The columns of both stand in another order. " } else { "" };
    rows.truncate(COLUMNS);
    let table = Table::new("schema", "Columns that differ", &["change", "column", "before", "after"])
        .with(rows)
        .or(Empty::new("Every column is the same", "The two versions have the same names and types."));
    Section::new("schema-section", "Columns that came, went or changed their type", vec![Block::Table(table)])
        .note(format!("{order}{note}").trim_end().to_owned())
}

fn text(value: &Value) -> String {
    let text = match value {
        Value::Null => return "–".to_owned(),
        Value::String(text) if text.is_empty() => return "(empty)".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.chars().count() > LONGEST { text.chars().take(LONGEST).chain(['…']).collect() } else { text }
}
