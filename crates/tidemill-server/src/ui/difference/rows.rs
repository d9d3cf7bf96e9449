//! The rows of two versions that came, went and changed.

use tidemill_data::{Row, TableDiff, Value};
use tidemill_ui::{Block, Cell, Empty, Section, Table, count};

use super::super::diffs::Compared;
use super::{Two, text};

/// Columns of rows that are shown.
const WIDE: usize = 30;

/// What the rows come to, without the values that are not shown.
pub(super) fn shown_rows(diff: &TableDiff, two: &Two<'_>) -> TableDiff {
    let mut diff = diff.clone();
    let rows = diff.added_sample.iter().chain(&diff.removed_sample);
    let rows = rows.chain(diff.changed_sample.iter().flat_map(|row| [&row.key, &row.old, &row.new]));
    let mut hidden: Vec<String> =
        rows.flat_map(Row::keys).filter(|name| two.is_hidden(name)).cloned().collect();
    hidden.sort();
    hidden.dedup();
    diff.redact(&hidden);
    diff
}

/// Rows that came, went and changed; or why they are not shown, and the command that compares them.
pub(super) fn row_section(two: &Two<'_>, compared: &Compared, rows: Option<&TableDiff>) -> Section {
    let section = |blocks| Section::new("rows-section", "Rows", blocks);
    let empty =
        |title: &str, text: String| section(vec![Block::Empty(Empty::new(title, text).code(two.command()))]);
    let Some(diff) = rows else {
        return match compared {
            Compared::TooLarge(why) => {
                empty("The rows are too many for a page", format!("{why} The command compares all of them:"))
            }
            Compared::TooLong => empty(
                "Comparing the rows took too long for a page",
                "The command takes the time that it needs:".into(),
            ),
            Compared::Busy => empty(
                "Other versions are compared now",
                "The rows appear here in a moment. The command does not wait:".into(),
            ),
            Compared::NoTables(why) => section(vec![Block::Empty(Empty::new(
                "They cannot be compared row by row",
                format!("{why} The files that differ stand below."),
            ))]),
            Compared::Missing | Compared::Rows(_) => section(vec![Block::Empty(
                Empty::new("The content of one of them is not in this store", "Fetch it, then look again:")
                    .code("tidemill data pull --all-versions"),
            )]),
        };
    };
    let mut blocks = Vec::new();
    let samples = [
        ("added", "Rows that came", &diff.added_sample, diff.rows.added),
        ("removed", "Rows that went", &diff.removed_sample, diff.rows.removed),
    ];
    blocks.extend(changed(diff));
    for (id, caption, sample, all) in samples {
        if !sample.is_empty() {
            blocks.push(Block::Text(some_of(caption, sample.len(), all)));
            blocks.push(Block::Table(row_table(id, caption, sample, diff)));
        }
    }
    if blocks.is_empty() {
        let empty = Empty::new("Every row is the same", "In the columns that both versions have.");
        blocks.push(Block::Empty(empty));
    }
    section(blocks).note(matched(two, diff))
}

/// By what rows were matched, in a sentence or two.
fn matched(two: &Two<'_>, diff: &TableDiff) -> String {
    let Some(key) = &diff.key else {
        return if two.key.is_empty() {
            "Rows are compared as a whole, over the columns that both have: a row that changed is one that went and one that came. With a \
             `key:` in the project file they are matched by it."
                .to_owned()
        } else {
            format!(
                "One of the versions lacks a column of the key ({}), so rows are compared as a whole.",
                two.key.join(", ")
            )
        };
    };
    let by = format!("Rows are matched by {}.", key.columns.join(", "));
    match key.duplicates_old + key.duplicates_new {
        0 => by,
        repeated => format!(
            "{by} The key is not unique: {} rows repeat one before them, and are matched in the order in which they stand.",
            count(repeated)
        ),
    }
}

fn some_of(caption: &str, shown: usize, all: u64) -> String {
    if shown as u64 == all {
        return format!("{caption}: {}.", count(all));
    }
    format!("{caption}: the first {shown} of {}.", count(all))
}

/// Rows with the columns of the key first.
fn row_table(id: &str, caption: &str, rows: &[Row], diff: &TableDiff) -> Table {
    let key = diff.key.as_ref().map(|key| key.columns.as_slice()).unwrap_or_default();
    let all: Vec<&String> = rows.first().map(|row| row.keys().collect()).unwrap_or_default();
    let rest = all.into_iter().filter(|name| !key.contains(name));
    let names: Vec<&String> = key.iter().chain(rest).take(WIDE).collect();
    let heads: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    let cells =
        rows.iter().map(|row| names.iter().map(|name| row.get(*name).map_or(Cell::None, cell)).collect());
    Table { pinned: !key.is_empty(), ..Table::new(id, caption, &heads).with(cells) }
}

/// Cells that changed, a row each.
fn changed(diff: &TableDiff) -> Vec<Block> {
    if diff.changed_sample.is_empty() {
        return Vec::new();
    }
    let mut rows = Vec::new();
    for row in &diff.changed_sample {
        let key: Vec<String> = row.key.values().map(text).collect();
        for (name, old) in row.old.iter().take(WIDE) {
            let new = row.new.get(name).map_or(Cell::None, cell);
            rows.push(vec![Cell::text(key.join(" · ")), Cell::text(name.as_str()), cell(old), new]);
        }
    }
    // The values of the key below its columns: with their names in each line they would fill the table.
    let by = diff.key.as_ref().map(|key| key.columns.join(" · ")).unwrap_or_default();
    let mut table = Table::new("changed", "Rows that changed", &[by.as_str(), "column", "before", "after"]);
    "row".clone_into(&mut table.columns[0].key);
    let said = some_of("Rows that changed", diff.changed_sample.len(), diff.rows.changed);
    vec![Block::Text(said), Block::Table(table.with(rows))]
}

/// A value of a row.
fn cell(value: &Value) -> Cell {
    match value {
        Value::Null => Cell::None,
        other => Cell::Text(text(other)),
    }
}
