//! The columns of two versions by their kept profiles: figures, drift, and what the values look like on both sides.

use tidemill_data::diff::ColumnDiff;
use tidemill_data::drift::{ColumnDrift, DriftOptions, DriftReport, Level, between_profiles};
use tidemill_data::profile::ColumnStats;
use tidemill_data::report::{Shape, shape};
use tidemill_data::{Profile, SchemaDiff, TableDiff, Value, diff_profiles};
use tidemill_registry::{Code, Error};
use tidemill_ui::chart::{Pair, Pairs};
use tidemill_ui::{Badge, Block, Cell, Empty, Figure, Section, Table, Tone, count, number};
use tokio::task::spawn_blocking;

use super::super::ask::Ask;
use super::super::data::left_out;
use super::super::profile;
use super::{COLUMNS, Two, text};

/// Columns that are drawn, those that moved most.
const DRAWN: usize = 24;

/// What the profiles of both sides say.
pub(super) struct Columns {
    pub(super) schema: SchemaDiff,
    columns: Vec<ColumnDiff>,
    pub(super) drift: DriftReport,
    shapes: Vec<(String, Shape)>,
}

/// The columns by the kept profiles of both; nothing where one of them has none.
pub(super) async fn columns(ask: &Ask, two: &Two<'_>) -> Result<Option<Columns>, Error> {
    let [Some(from), Some(to)] = profile::kept(ask, [two.from, two.to]).await? else { return Ok(None) };
    // A key of one column is different in every row, and says nothing of what values look like.
    let skip = two.key.iter().filter(|_| two.key.len() == 1).cloned().collect();
    let hidden: Vec<String> =
        from.columns().chain(to.columns()).filter(|name| two.is_hidden(name)).map(str::to_owned).collect();
    let done = spawn_blocking(move || side_by_side(&from, &to, skip, &hidden)).await;
    let done = done.map_err(|error| Error::new(Code::InternalError, error.to_string()))?;
    done.map(Some).map_err(|error| Error::new(Code::InternalError, error.to_string()))
}

fn side_by_side(
    from: &Profile,
    to: &Profile,
    skip: Vec<String>,
    hidden: &[String],
) -> Result<Columns, tidemill_data::Error> {
    let options = DriftOptions { skip, pairs: false, ..DriftOptions::default() };
    let mut drift = between_profiles(from, to, &options)?;
    drift.redact(hidden);
    let (schema, mut columns) = diff_profiles(from, to);
    let place = |name: &str| {
        let moved = &drift.verdict.columns;
        moved.iter().position(|column| column.name == name).unwrap_or(moved.len())
    };
    // Those that moved most stand first.
    columns.sort_by_cached_key(|column| place(&column.name));
    let drawn = columns.iter().filter(|column| !hidden.contains(&column.name));
    let shapes = drawn.filter_map(|column| {
        let stats = column.new.as_ref().filter(|_| column.old.is_some())?;
        Some((column.name.clone(), shape(stats, to, Some(from))?))
    });
    let shapes = shapes.take(DRAWN).collect();
    for column in columns.iter_mut().filter(|column| hidden.contains(&column.name)) {
        column.old.iter_mut().chain(&mut column.new).for_each(ColumnStats::redact);
    }
    Ok(Columns { schema, columns, drift, shapes })
}

pub(super) fn level_badge(level: Level) -> Badge {
    let (tone, word) = match level {
        Level::Major => (Tone::Bad, "moved much"),
        Level::Minor => (Tone::Warn, "moved a little"),
        Level::None => (Tone::Good, "as before"),
        Level::NotJudged => (Tone::Plain, "too few rows"),
    };
    Badge::new(tone, word)
}

pub(super) fn column_section(two: &Two<'_>, columns: &Columns, rows: Option<&TableDiff>) -> Section {
    let moved = |name: &str| columns.drift.verdict.columns.iter().find(|column| column.name == name);
    let skipped = |name: &str| columns.drift.skipped.iter().find(|skipped| skipped.column == name);
    let lines = columns.columns.iter().take(COLUMNS).map(|column| {
        let name = column.name.as_str();
        let stats = column.new.as_ref().or(column.old.as_ref());
        let cells = rows.and_then(|diff| diff.changed_cells.get(name)).copied();
        let drift: Option<&ColumnDrift> = moved(name);
        let level = match (&column.old, &column.new, drift) {
            (None, _, _) => Cell::badge(Tone::Plain, "new"),
            (_, None, _) => Cell::badge(Tone::Plain, "gone"),
            (_, _, Some(drift)) => Cell::Badge(level_badge(drift.level)),
            (_, _, None) => Cell::badge(Tone::Plain, "not compared"),
        };
        let skipped = skipped(name).filter(|_| column.new.is_some());
        let why = drift.map(|drift| drift.reason.clone()).or(skipped.map(|skipped| skipped.reason.clone()));
        vec![
            Cell::text(name),
            Cell::text(stats.map(|stats| stats.column_type.to_string()).unwrap_or_default()),
            level,
            drift.map_or(Cell::None, |drift| Cell::text(percent(drift.shift))),
            both(column, |stats| Some(percent(stats.missing_share()))),
            both(column, |stats| Some(count(stats.distinct.estimate))),
            both(column, |stats| stats.min.as_ref().map(figure_text)),
            both(column, |stats| stats.mean.map(number)),
            both(column, |stats| stats.max.as_ref().map(figure_text)),
            both(column, |stats| stats.std.map(number)),
            cells.map_or(Cell::None, Cell::Count),
            why.map_or(Cell::None, Cell::text),
        ]
    });
    let heads = [
        "column",
        "type",
        "drift",
        "moved",
        "missing",
        "different values",
        "least",
        "mean",
        "greatest",
        "deviation",
        "cells changed",
        "why",
    ];
    let table = Table { pinned: true, ..Table::new("columns", "Figures of the columns", &heads) }.with(lines);
    let mut blocks = vec![Block::Table(table)];
    let figures: Vec<Figure> =
        columns.shapes.iter().enumerate().map(|(at, (name, shape))| figure(at, name, shape, two)).collect();
    if !figures.is_empty() {
        blocks.push(Block::Figures(figures));
    }
    let [old, new] = two.names();
    let exact =
        if columns.drift.exact { "" } else { " Quantiles are known within the error of their sketches." };
    let left_out = left_out("columns", "the first", COLUMNS, columns.columns.len());
    let reason = sentence(&columns.drift.verdict.reason);
    Section::new("columns-section", "What the columns look like", blocks).note(
        format!(
            "{reason} `Moved` is the share of rows that would have to change for a column of {new} to be as in {old}; columns that moved \
             most stand first. Pictures show the most frequent values, and of numbers all but the outermost half percent at each \
             end.{exact} {left_out}"
        )
        .trim_end()
        .to_owned(),
    )
}

pub(super) fn without_profiles(two: &Two<'_>) -> Section {
    let commands =
        [two.from, two.to].map(|version| format!("tidemill data profile {}@{}", two.name, version.version));
    let empty = Empty::new(
        "One of the versions has no profile yet",
        "Columns are compared by profiles, which are made at their first use and kept with the content:",
    );
    let blocks = vec![Block::Empty(empty.code(commands.join("\n")))];
    Section::new("columns-section", "What the columns look like", blocks)
}

/// A figure of both sides, as one where they agree.
fn both(column: &ColumnDiff, of: impl Fn(&ColumnStats) -> Option<String>) -> Cell {
    let [old, new] = [&column.old, &column.new].map(|stats| stats.as_ref().and_then(&of));
    match (old, new) {
        (None, None) => Cell::None,
        (old, new) if old == new => Cell::text(new.unwrap_or_default()),
        (old, new) => {
            let side = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
            Cell::Text(format!("{} → {}", side(old), side(new)))
        }
    }
}

fn figure_text(value: &Value) -> String {
    match value {
        Value::Number(found) if found.is_f64() => found.as_f64().map_or_else(|| found.to_string(), number),
        other => text(other),
    }
}

/// A reason as a sentence.
fn sentence(reason: &str) -> String {
    let reason = reason.trim_end_matches('.');
    let mut letters = reason.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}.", letters.as_str())
}

fn percent(share: f64) -> String {
    if share > 0.0 && share < 0.0001 {
        return "< 0.01 %".to_owned();
    }
    format!("{} %", number((share * 10_000.0).round() / 100.0))
}

/// The shares of a column's values on both sides.
fn figure(at: usize, name: &str, shape: &Shape, two: &Two<'_>) -> Figure {
    let [old, new] = two.names();
    let pairs: Vec<Pair> = match shape {
        Shape::Bins(bins) => {
            let share = |side: &Option<Vec<f64>>, place: usize| {
                side.as_ref().and_then(|side| side.get(place)).copied().unwrap_or(0.0)
            };
            let places = 0..bins.edges.len().saturating_sub(1);
            places
                .map(|place| Pair {
                    name: bins.name(place),
                    before: share(&bins.reference, place),
                    after: share(&bins.current, place),
                })
                .collect()
        }
        Shape::Values(shares) => shares
            .iter()
            .map(|one| Pair { name: text(&one.value), before: one.reference, after: one.current })
            .collect(),
    };
    let range = match shape {
        Shape::Bins(bins) if bins.is_single => {
            pairs.first().zip(pairs.last()).map(|(first, last)| (first.name.clone(), last.name.clone()))
        }
        Shape::Bins(bins) => bins.names.first().cloned().zip(bins.names.last().cloned()),
        Shape::Values(_) => None,
    };
    let rows = pairs
        .iter()
        .map(|pair| vec![Cell::text(pair.name.clone()), Cell::Number(pair.before), Cell::Number(pair.after)]);
    let heads = ["value".to_owned(), format!("share in {old}"), format!("share in {new}")];
    let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
    let table = Table::new(format!("shape_{at}"), format!("Values of {name}"), &heads).with(rows);
    let picture = Pairs { title: name.to_owned(), sides: (old, new), pairs, range }.draw();
    Figure { id: format!("shape-{at}"), title: name.to_owned(), picture, table, ..Figure::default() }
}
