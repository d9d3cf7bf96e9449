//! Runs of an experiment grouped by a parameter, a tag or a metric. They are read a part at a time, and only what the table shows of
//! them is kept, so memory does not grow with what runs have logged.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

use tidemill_core::Timestamp;
use tidemill_db::tracking::{Run, RunStatus};
use tidemill_registry::{Error, Question};
use tidemill_ui::{Block, Cell, Column, Empty, Link, Table, Total, count};

use super::ask::Ask;
use super::runs::{Key, Shown, chosen, keys, measured, short};

/// Runs that are looked through at once.
const RUNS: i64 = 10_000;
/// Metrics, parameters and tags of these runs that are read; reading ends behind the part with the last of them.
const ENTRIES: usize = 1_000_000;
/// Groups of one page.
const PAGE: usize = 50;
/// Metrics of which each group shows the spread.
const METRICS: usize = 12;
/// Characters of a value by which runs are grouped.
const LONGEST: usize = 500;

/// The runs of one value.
#[derive(Default)]
struct Group {
    runs: u64,
    last: Option<Timestamp>,
    /// Of each metric the values that are numbers.
    values: Vec<Vec<f64>>,
}

/// What was looked through.
struct Found {
    groups: HashMap<String, Group>,
    /// Runs.
    looked_at: u64,
    /// Whether it ended before the last run because of what runs have.
    is_cut: bool,
    /// Where the runs after these begin.
    next: Option<String>,
    is_growing: bool,
    keys: BTreeMap<Key, usize>,
    columns: Vec<Key>,
}

/// The groups of the runs that a question finds.
pub(super) async fn shown(ask: &Ask, group: &Key, question: Question) -> Result<Shown, Error> {
    let found = look(ask, group, question).await?;
    let metrics: Vec<&Key> = found.columns.iter().filter(|key| is_metric(key)).take(METRICS).collect();
    let mut values: Vec<&String> = found.groups.keys().collect();
    values.sort_by(|a, b| natural(a, b));
    let from = ask.place(|text| text.parse::<usize>().ok())?.unwrap_or(0).min(values.len());
    let here = &values[from..values.len().min(from + PAGE)];
    let rows = here.iter().filter_map(|value| {
        let of = found.groups.get(*value)?;
        let mut row = vec![
            name(ask, group, value),
            Cell::Count(of.runs),
            of.last.map_or(Cell::None, |at| Cell::Time(at, Some(ask.now))),
        ];
        row.extend(of.values.iter().take(metrics.len()).flat_map(|values| spread(values)));
        Some(row)
    });
    let next = (from + PAGE < values.len()).then(|| (from + PAGE).to_string());
    let total = Some(Total::Exactly(values.len() as u64));
    let table = Table {
        id: "groups".into(),
        caption: format!("Runs by {}", group.text()),
        columns: heads(group, &metrics),
        rows: rows.collect(),
        pager: Some(ask.pager(next.as_deref(), here.len(), total, ["group", "groups"])),
        empty: Some(Empty::new("No run fits", "Change the filter, or leave it empty.")),
        pinned: true,
    };
    let mut body = vec![Block::Table(table)];
    body.extend(left_out(ask, &found));
    let Found { is_growing, keys, columns, .. } = found;
    Ok(Shown { body, keys, columns, is_growing, error: String::new() })
}

async fn look(ask: &Ask, group: &Key, question: Question) -> Result<Found, Error> {
    let page_token = ask.get("slice").unwrap_or_default().to_owned();
    let question = Question { max_results: RUNS, page_token, ..question };
    let (mut runs, next) = ask.app.registry().find_runs(&question).await?;
    let mut found = Found {
        groups: HashMap::new(),
        looked_at: 0,
        is_cut: false,
        next,
        is_growing: false,
        keys: BTreeMap::new(),
        columns: Vec::new(),
    };
    let (mut entries, mut metrics) = (0, Vec::new());
    loop {
        let part = runs.part().await?;
        if part.is_empty() {
            return Ok(found);
        }
        if entries > ENTRIES {
            found.is_cut = true;
            return Ok(found);
        }
        if found.looked_at == 0 {
            // The first part says which columns there are, as the first page of the runs does.
            found.keys = keys(&part);
            found.columns = chosen(ask, &part, &found.keys);
            metrics = found.columns.iter().filter(|key| is_metric(key)).take(METRICS).cloned().collect();
        }
        for run in &part {
            entries += run.metrics.len() + run.params.len() + run.tags.len();
            found.is_growing |= run.info.status == RunStatus::Running;
            found.take(run, group, &metrics);
        }
    }
}

impl Found {
    fn take(&mut self, run: &Run, by: &Key, metrics: &[Key]) {
        self.looked_at += 1;
        let group = self.groups.entry(beginning(by.value(run))).or_default();
        group.runs += 1;
        group.last = group.last.max(run.info.started_at);
        group.values.resize_with(metrics.len(), Vec::new);
        for (values, key) in group.values.iter_mut().zip(metrics) {
            values.extend(measured(run, key.key()).filter(|value| !value.is_nan()));
        }
    }
}

const fn is_metric(key: &Key) -> bool {
    matches!(key, Key::Metric(_))
}

/// A value, of a very long one the beginning.
fn beginning(value: String) -> String {
    match value.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value,
    }
}

/// Numbers by what they are worth and before other texts.
fn natural(a: &str, b: &str) -> Ordering {
    let number = |text: &str| text.parse::<f64>().ok().filter(|number| !number.is_nan());
    match (number(a), number(b)) {
        (Some(x), Some(y)) => x.total_cmp(&y).then_with(|| a.cmp(b)),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

fn heads(group: &Key, metrics: &[&Key]) -> Vec<Column> {
    let mut heads = vec![Column::new(group.text()), Column::new("Runs"), Column::new("Last began")];
    for key in metrics {
        heads.extend(["least", "median", "greatest"].map(|what| Column {
            label: what.into(),
            key: format!("{} {what}", key.text()),
            group: key.key().to_owned(),
            sort: None,
        }));
    }
    heads
}

/// A value, as a link to the runs that have it where the grammar of filters can say which these are.
fn name(ask: &Ask, group: &Key, value: &str) -> Cell {
    if value.is_empty() {
        return Cell::text("(none)");
    }
    let is_whole = value.chars().count() <= LONGEST;
    let quoted = group.quoted().filter(|_| is_whole && !value.contains('\''));
    let filter = quoted.map(|quoted| {
        let base = ask.get("filter").map(|filter| format!("{filter} AND ")).unwrap_or_default();
        match group {
            Key::Metric(_) => format!("{base}{quoted} = {value}"),
            Key::Param(_) | Key::Tag(_) => format!("{base}{quoted} = '{value}'"),
        }
    });
    match (filter, short(value)) {
        (Some(filter), Cell::Text(text)) => {
            Cell::link(ask.with(&[("group", ""), ("slice", ""), ("filter", &filter)]), text)
        }
        (_, cell) => cell,
    }
}

fn spread(values: &[f64]) -> [Cell; 3] {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let (Some(first), Some(last)) = (values.first(), values.last()) else {
        return [Cell::None, Cell::None, Cell::None];
    };
    let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
    [Cell::Number(*first), Cell::Number(f64::midpoint(low, high)), Cell::Number(*last)]
}

/// Which runs were not looked at, and the way to them; nothing where all were.
fn left_out(ask: &Ask, found: &Found) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut links = Vec::new();
    if ask.has("slice") {
        links.push(Link::new(ask.with(&[("slice", "")]), "The first runs"));
    }
    let runs = count(found.looked_at);
    if found.is_cut {
        blocks.push(Block::Text(format!(
            "Only the first {runs} runs were looked at, since they have so many metrics, parameters and tags: filter for fewer."
        )));
    } else if let Some(next) = &found.next {
        blocks.push(Block::Text(format!(
            "These are groups of {runs} runs, in the order of the table; there are more runs."
        )));
        links.push(Link::new(
            ask.with(&[("slice", next)]),
            format!("Group the next {} →", count(RUNS as u64)),
        ));
    } else if ask.has("slice") {
        blocks.push(Block::Text(format!(
            "These are groups of {runs} runs, the last ones in the order of the table."
        )));
    }
    if !links.is_empty() {
        blocks.push(Block::Links(links));
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_ordered_by_what_they_are_worth() {
        let mut values = ["b", "10", "", "2", "1e1", "a", "NaN", "-3"];
        values.sort_by(|a, b| natural(a, b));
        assert_eq!(values, ["-3", "2", "10", "1e1", "", "NaN", "a", "b"]);
    }

    #[test]
    fn long_values_are_grouped_by_their_beginning() {
        assert_eq!(beginning("x".repeat(LONGEST)).chars().count(), LONGEST);
        assert_eq!(beginning("é".repeat(9_000)), format!("{}…", "é".repeat(LONGEST)));
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(spread(&[4.0, 1.0, 2.0, 3.0]), [Cell::Number(1.0), Cell::Number(2.5), Cell::Number(4.0)]);
        assert_eq!(spread(&[]), [Cell::None, Cell::None, Cell::None]);
    }
}
