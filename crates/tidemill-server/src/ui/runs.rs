//! The table of an experiment's runs: searched, sorted and cut into pages by the database.

use std::collections::{BTreeMap, BTreeSet};

use tidemill_core::Timestamp;
use tidemill_db::tracking::{Experiment, Run, RunStatus, Stage};
use tidemill_registry::{Answers, Question, View};
use tidemill_ui::{
    Area, Block, Cell, Choice, Column, Control, Crumb, Empty, FilterBox, Page, Pager, Section, Table,
    markdown,
};

use super::Made;
use super::ask::Ask;
use super::experiments::{first_run, is_question, not_understood, sort, sorted};
use super::words::{find, run_badge, run_link, took};

const PAGE: i64 = 100;
/// As many columns of each kind are shown unless others are chosen.
const SHOWN: usize = 5;
/// Runs that are looked through where they are grouped.
const GROUPED: usize = 10_000;
/// Keys that can be chosen as columns.
const KEYS: usize = 300;

const HELP: &str = "metrics.loss < 0.5 AND params.depth = '3' AND tags.team LIKE 'tide%'\nattributes.status = 'FINISHED', \
    attributes.run_name LIKE '%late%', attributes.start_time > 1700000000000, dataset.name = 'flights'\nComparisons are \
    joined with AND. Keys with other characters than letters stand in backticks: metrics.`val loss`. The grammar is MLflow's.";

/// What a column shows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Metric(String),
    Param(String),
    Tag(String),
}

impl Key {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (kind, key) = text.split_once('.')?;
        let key = key.to_owned();
        match kind {
            "metrics" => Some(Self::Metric(key)),
            "params" => Some(Self::Param(key)),
            "tags" => Some(Self::Tag(key)),
            _ => None,
        }
    }

    const fn kind(&self) -> &'static str {
        match self {
            Self::Metric(_) => "metrics",
            Self::Param(_) => "params",
            Self::Tag(_) => "tags",
        }
    }

    pub(super) fn key(&self) -> &str {
        match self {
            Self::Metric(key) | Self::Param(key) | Self::Tag(key) => key,
        }
    }

    pub(super) fn text(&self) -> String {
        format!("{}.{}", self.kind(), self.key())
    }

    /// As filters and orders name it; nothing where the grammar has no way to.
    fn quoted(&self) -> Option<String> {
        (!self.key().contains('`')).then(|| format!("{}.`{}`", self.kind(), self.key()))
    }

    pub(super) fn cell(&self, run: &Run) -> Cell {
        match self {
            Self::Metric(key) => measured(run, key).map_or(Cell::None, Cell::Number),
            Self::Param(key) => find(&run.params, key).map_or(Cell::None, short),
            Self::Tag(key) => find(&run.tags, key).map_or(Cell::None, short),
        }
    }

    /// The whole value, by which runs are grouped; empty where there is none.
    fn value(&self, run: &Run) -> String {
        match self {
            Self::Metric(key) => measured(run, key).map(|value| value.to_string()).unwrap_or_default(),
            Self::Param(key) => find(&run.params, key).unwrap_or_default().to_owned(),
            Self::Tag(key) => find(&run.tags, key).unwrap_or_default().to_owned(),
        }
    }
}

/// The newest value of a metric.
fn measured(run: &Run, key: &str) -> Option<f64> {
    run.metrics.iter().find(|metric| metric.key == key).map(|metric| metric.value)
}

/// Values may be whole documents; a row of a table has room for a sentence.
fn short(text: &str) -> Cell {
    const MOST: usize = 160;
    if text.chars().count() <= MOST {
        return Cell::text(text);
    }
    Cell::Text(text.chars().take(MOST).chain(['…']).collect())
}

pub(super) async fn table(ask: Ask) -> Made {
    let experiment = ask.app.registry().experiment(ask.part(0)).await?;
    let order = ask.get("order").unwrap_or("attributes.start_time DESC").to_owned();
    let mut question = Question {
        experiments: vec![experiment.id.to_string()],
        filter: ask.get("filter").unwrap_or_default().to_owned(),
        order_by: vec![order.clone()],
        view: if ask.has("deleted") { View::Deleted } else { View::Active },
        max_results: PAGE,
        page_token: ask.get("page").unwrap_or_default().to_owned(),
    };
    let group = ask.get("group").and_then(Key::parse);
    if group.is_some() {
        (question.max_results, question.page_token) = (GROUPED as i64, String::new());
    }
    let (found, error) = match ask.app.registry().search_runs(&question).await {
        Ok(found) => (found, String::new()),
        Err(error) if is_question(&error) => {
            (Answers { items: Vec::new(), next_page_token: None }, error.message)
        }
        Err(error) => return Err(error),
    };
    let keys = keys(&found.items);
    let columns = chosen(&ask, &found.items, &keys);
    let body = match &group {
        Some(group) => vec![Block::Table(grouped(&ask, group, &columns, &found))],
        None => {
            let runs = run_table(&ask, &columns, &order, &found, &error);
            let compare = vec![Block::Table(runs)];
            if found.items.len() < 2 {
                compare
            } else {
                vec![Block::Choose("/compare".into(), "Compare the ticked".into(), compare)]
            }
        }
    };
    let note = find(&experiment.tags, "mlflow.note.content").map(markdown);
    let mut blocks: Vec<Block> = note.map(Block::Markup).into_iter().collect();
    blocks.push(Block::Filter(filter(&ask, &keys, &columns, group.as_ref(), order, error)));
    blocks.push(Block::Section(Section::new("runs", "", body)));
    // What a run measures while it is at work is no event.
    let growing = found.items.iter().any(|run| run.info.status == RunStatus::Running);
    Ok(Page { growing, ..page(&experiment, blocks) })
}

fn page(experiment: &Experiment, blocks: Vec<Block>) -> Page {
    let deleted = (experiment.stage == Stage::Deleted)
        .then(|| tidemill_ui::Badge::new(tidemill_ui::Tone::Warn, "deleted"));
    Page {
        title: experiment.name.clone(),
        area: Area::Experiments,
        crumbs: vec![Crumb::new("/experiments", "Experiments")],
        badges: deleted.into_iter().collect(),
        blocks,
        live: vec![
            "tracking.run.created",
            "tracking.run.moved",
            "tracking.run.deleted",
            "tracking.run.restored",
            "run.started",
            "run.finished",
        ],
        ..Page::default()
    }
}

/// Every key that one of the runs has, with the number of runs that have it.
fn keys(runs: &[Run]) -> BTreeMap<Key, usize> {
    let mut keys = BTreeMap::new();
    for run in runs {
        let metrics = run.metrics.iter().map(|metric| Key::Metric(metric.key.clone()));
        let params = run.params.iter().map(|pair| Key::Param(pair.key.clone()));
        let tags = run.tags.iter().map(|pair| Key::Tag(pair.key.clone()));
        for key in metrics.chain(params).chain(tags) {
            if keys.len() < KEYS || keys.contains_key(&key) {
                *keys.entry(key).or_default() += 1;
            }
        }
    }
    keys
}

/// The columns that were asked for; without any, the metrics most runs have, and the parameters that tell runs apart.
fn chosen(ask: &Ask, runs: &[Run], keys: &BTreeMap<Key, usize>) -> Vec<Key> {
    let asked: Vec<Key> = ask.all("column").into_iter().filter_map(Key::parse).take(60).collect();
    if !asked.is_empty() {
        return asked;
    }
    let most = |wanted: fn(&Key) -> bool, differs: bool| {
        let mut found: Vec<(bool, usize, &Key)> = keys
            .iter()
            .filter(|(key, _)| wanted(key))
            .map(|(key, count)| (differs && varies(runs, key), *count, key))
            .collect();
        found.sort_by(|a, b| (b.0, b.1).cmp(&(a.0, a.1)).then(a.2.cmp(b.2)));
        found.into_iter().take(SHOWN).map(|(_, _, key)| key.clone()).collect::<Vec<_>>()
    };
    let is_metric = |key: &Key| matches!(key, Key::Metric(key) if !key.starts_with("system/"));
    [most(is_metric, false), most(|key| matches!(key, Key::Param(_)), true)].concat()
}

fn varies(runs: &[Run], key: &Key) -> bool {
    let mut cells = runs.iter().map(|run| key.cell(run)).filter(|cell| *cell != Cell::None);
    let first = cells.next();
    cells.any(|cell| Some(cell) != first)
}

fn run_table(ask: &Ask, columns: &[Key], order: &str, found: &Answers<Run>, error: &str) -> Table {
    let sorted = |label: &str, key: &str| sorted(ask, label, key, order);
    let mut heads = vec![
        sorted("Run", "attributes.run_name"),
        Column::new(""),
        sorted("Status", "attributes.status"),
        sorted("Began", "attributes.start_time"),
        Column::new("Took"),
    ];
    heads.extend(columns.iter().map(|key| {
        Column {
            label: key.key().to_owned(),
            key: key.text(),
            group: match key {
                Key::Metric(_) => "Metrics",
                Key::Param(_) => "Parameters",
                Key::Tag(_) => "Tags",
            }
            .to_owned(),
            sort: key.quoted().map(|quoted| sort(ask, &quoted, order)),
        }
    }));
    heads.push(Column { label: "Identifier".into(), key: "run_id".into(), ..Column::default() });
    let rows = found.items.iter().map(|run| {
        let info = &run.info;
        let link = run_link(info);
        let label = format!("Compare {}", link.text);
        let mut row = vec![
            Cell::Link(link),
            Cell::Tick { name: "run".into(), value: info.id.to_string(), label },
            Cell::Badge(run_badge(info.status)),
            info.started_at.map_or(Cell::None, |at: Timestamp| Cell::Time(at, Some(ask.now))),
            took(info.started_at, info.ended_at, ask.now),
        ];
        row.extend(columns.iter().map(|key| key.cell(run)));
        row.push(Cell::Code(info.id.to_string()));
        row
    });
    let empty = if !error.is_empty() {
        not_understood()
    } else if ask.has("filter") || ask.has("deleted") {
        Empty::new("No run fits", "Change the filter, or leave it empty to see all runs of the experiment.")
    } else {
        first_run()
    };
    Table {
        id: "runs".into(),
        caption: "Runs".into(),
        columns: heads,
        rows: rows.collect(),
        pager: Some(
            ask.pager(found.next_page_token.as_deref(), format!("{} runs on this page", found.items.len())),
        ),
        empty: Some(empty),
        pinned: true,
    }
}

/// One row for each value of a key: how many runs, and the least, middle and greatest of each metric.
fn grouped(ask: &Ask, group: &Key, columns: &[Key], found: &Answers<Run>) -> Table {
    let mut groups: BTreeMap<String, Vec<&Run>> = BTreeMap::new();
    for run in &found.items {
        groups.entry(group.value(run)).or_default().push(run);
    }
    let metrics: Vec<&Key> = columns.iter().filter(|key| matches!(key, Key::Metric(_))).collect();
    let mut heads = vec![Column::new(group.text()), Column::new("Runs"), Column::new("Last began")];
    for key in &metrics {
        for what in ["least", "median", "greatest"] {
            heads.push(Column {
                label: what.into(),
                key: format!("{} {what}", key.text()),
                group: key.key().to_owned(),
                sort: None,
            });
        }
    }
    let rows = groups.iter().map(|(value, runs)| {
        let filter = group.quoted().map(|quoted| {
            let base = ask.get("filter").map(|filter| format!("{filter} AND ")).unwrap_or_default();
            match group {
                Key::Metric(_) => format!("{base}{quoted} = {value}"),
                Key::Param(_) | Key::Tag(_) => format!("{base}{quoted} = '{value}'"),
            }
        });
        let writable = !value.is_empty() && !value.contains('\'');
        let name = match filter.filter(|_| writable) {
            Some(filter) => Cell::link(ask.with(&[("group", ""), ("filter", &filter)]), value.clone()),
            None => Cell::text(if value.is_empty() { "(none)" } else { value }),
        };
        let last = runs.iter().filter_map(|run| run.info.started_at).max();
        let mut row = vec![
            name,
            Cell::Count(runs.len() as u64),
            last.map_or(Cell::None, |at| Cell::Time(at, Some(ask.now))),
        ];
        for key in &metrics {
            row.extend(spread(key, runs));
        }
        row
    });
    let more = found.next_page_token.is_some();
    let shown = format!("{} groups of {} runs", groups.len(), found.items.len());
    Table {
        id: "groups".into(),
        caption: format!("Runs by {}", group.text()),
        columns: heads,
        rows: rows.collect(),
        pager: Some(Pager {
            shown: if more {
                format!("{shown}; only the first {GROUPED} were looked at: filter for fewer")
            } else {
                shown
            },
            ..Pager::default()
        }),
        empty: Some(Empty::new("No run fits", "Change the filter, or leave it empty.")),
        pinned: true,
    }
}

fn spread(key: &Key, runs: &[&Run]) -> [Cell; 3] {
    let values = runs.iter().filter_map(|run| measured(run, key.key()));
    let mut values: Vec<f64> = values.filter(|value| !value.is_nan()).collect();
    values.sort_by(f64::total_cmp);
    let (Some(first), Some(last)) = (values.first(), values.last()) else {
        return [Cell::None, Cell::None, Cell::None];
    };
    let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
    [Cell::Number(*first), Cell::Number(f64::midpoint(low, high)), Cell::Number(*last)]
}

fn filter(
    ask: &Ask,
    keys: &BTreeMap<Key, usize>,
    columns: &[Key],
    group: Option<&Key>,
    order: String,
    error: String,
) -> FilterBox {
    let known: BTreeSet<&Key> = keys.keys().chain(columns).collect();
    let columns =
        known.iter().map(|key| Choice::new(key.text(), key.text(), columns.contains(key))).collect();
    let groups = known.iter().filter(|key| !matches!(key, Key::Metric(_)));
    let groups = groups.map(|key| Choice::new(key.text(), key.text(), Some(*key) == group));
    let groups = std::iter::once(Choice::new("", "nothing", group.is_none())).chain(groups).collect();
    FilterBox {
        action: tidemill_ui::href(&["experiments", ask.part(0)], &[]),
        label: "Filter runs".into(),
        controls: vec![
            Control::Line {
                name: "filter".into(),
                label: "Filter".into(),
                value: ask.get("filter").unwrap_or_default().to_owned(),
                example: "metrics.roc_auc > 0.7 AND params.algorithm = 'gbdt'".into(),
                wide: true,
            },
            Control::Select { name: "group".into(), label: "Group by".into(), choices: groups },
            Control::Several { name: "column".into(), label: "Columns".into(), choices: columns },
            Control::Tick {
                name: "deleted".into(),
                label: "deleted ones".into(),
                chosen: ask.has("deleted"),
            },
            Control::Hidden { name: "order".into(), value: order },
        ],
        error,
        help: HELP.into(),
        button: "Apply".into(),
    }
}
