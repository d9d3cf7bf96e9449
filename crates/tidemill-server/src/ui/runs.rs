//! The table of an experiment's runs: searched, sorted and cut into pages by the database.

use std::collections::{BTreeMap, BTreeSet};

use tidemill_core::Timestamp;
use tidemill_db::search::KeyOf;
use tidemill_db::tracking::{Experiment, Run, RunStatus, Stage};
use tidemill_registry::{Answers, Error, Question, View};
use tidemill_ui::{
    Area, Block, Cell, Choice, Column, Control, Crumb, Empty, FilterBox, Find, Page, Section, Table, Total,
    count, markdown,
};

use super::Made;
use super::ask::Ask;
use super::experiments::{first_run, is_question, not_understood, sort, sorted};
use super::words::{find, run_badge, run_link, took};
use super::{groups, total};

const PAGE: i64 = 100;
/// As many columns of each kind are shown unless others are chosen.
const SHOWN: usize = 5;
/// Keys that can be chosen as columns.
const KEYS: usize = 300;
/// Keys of a kind that are found by a part of their name.
const FOUND: usize = 100;

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
    pub(super) fn quoted(&self) -> Option<String> {
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
    pub(super) fn value(&self, run: &Run) -> String {
        match self {
            Self::Metric(key) => measured(run, key).map(|value| value.to_string()).unwrap_or_default(),
            Self::Param(key) => find(&run.params, key).unwrap_or_default().to_owned(),
            Self::Tag(key) => find(&run.tags, key).unwrap_or_default().to_owned(),
        }
    }
}

/// The newest value of a metric.
pub(super) fn measured(run: &Run, key: &str) -> Option<f64> {
    run.metrics.iter().find(|metric| metric.key == key).map(|metric| metric.value)
}

/// Values may be whole documents; a row of a table has room for a sentence.
pub(super) fn short(text: &str) -> Cell {
    const MOST: usize = 160;
    if text.chars().count() <= MOST {
        return Cell::text(text);
    }
    Cell::Text(text.chars().take(MOST).chain(['…']).collect())
}

/// What stands below the filter, and what the filter has to know of it.
#[derive(Default)]
pub(super) struct Shown {
    pub(super) body: Vec<Block>,
    /// Keys that runs have, with the number of runs that have each.
    pub(super) keys: BTreeMap<Key, usize>,
    pub(super) columns: Vec<Key>,
    /// Whether a run is at work: what it measures is no event.
    pub(super) is_growing: bool,
    /// Why the question could not be understood; nothing where it was.
    pub(super) error: String,
}

pub(super) async fn table(ask: Ask) -> Made {
    let experiment = ask.app.registry().experiment(ask.part(0)).await?;
    let order = ask.get("order").unwrap_or("attributes.start_time DESC").to_owned();
    let question = Question {
        experiments: vec![experiment.id.to_string()],
        filter: ask.get("filter").unwrap_or_default().to_owned(),
        order_by: vec![order.clone()],
        view: if ask.has("deleted") { View::Deleted } else { View::Active },
        max_results: PAGE,
        page_token: ask.get("page").unwrap_or_default().to_owned(),
    };
    let group = ask.get("group").and_then(Key::parse);
    let shown = match &group {
        Some(group) => groups::shown(&ask, group, question).await,
        None => listed(&ask, &question, &order).await,
    };
    let shown = match shown {
        Err(error) if is_question(&error) => {
            let nothing = Answers { items: Vec::new(), next_page_token: None };
            let columns = chosen(&ask, &[], &BTreeMap::new());
            let empty = Block::Table(run_table(&ask, &columns, &order, &nothing, None, &error.message));
            Shown { body: vec![empty], columns, error: error.message, ..Shown::default() }
        }
        shown => shown?,
    };
    let found = found_keys(&ask, &experiment).await?;
    let note = find(&experiment.tags, "mlflow.note.content").map(markdown);
    let mut blocks: Vec<Block> = note.map(Block::Markup).into_iter().collect();
    blocks.push(Block::Filter(filter(&ask, &shown, found, group.as_ref(), order)));
    blocks.push(Block::Section(Section::new("runs", "", shown.body)));
    Ok(Page { growing: shown.is_growing, ..page(&experiment, blocks) })
}

/// A page of the runs that a question finds.
async fn listed(ask: &Ask, question: &Question, order: &str) -> Result<Shown, Error> {
    let found = ask.app.registry().search_runs(question).await?;
    let keys = keys(&found.items);
    let columns = chosen(ask, &found.items, &keys);
    // A first page without a next one holds all there is.
    let is_part = found.next_page_token.is_some() || ask.has("page");
    let total = if is_part { total::of_runs(ask, question).await? } else { None };
    let runs = vec![Block::Table(run_table(ask, &columns, order, &found, total, ""))];
    let body = if found.items.len() < 2 {
        runs
    } else {
        vec![Block::Choose("/compare".into(), "Compare the ticked".into(), runs)]
    };
    let is_growing = found.items.iter().any(|run| run.info.status == RunStatus::Running);
    Ok(Shown { body, keys, columns, is_growing, error: String::new() })
}

/// Keys of all runs of an experiment that hold what somebody looks for, and a sentence on them; nothing where nobody does.
async fn found_keys(ask: &Ask, experiment: &Experiment) -> Result<Option<(Vec<Key>, String)>, Error> {
    let Some(wanted) = ask.get("keys") else { return Ok(None) };
    let kinds: [(KeyOf, &str, fn(String) -> Key); 3] = [
        (KeyOf::Metrics, "metrics.", Key::Metric),
        (KeyOf::Params, "params.", Key::Param),
        (KeyOf::Tags, "tags.", Key::Tag),
    ];
    // `params.depth` looks among parameters alone.
    let named = kinds.iter().find_map(|(of, prefix, _)| Some((*of, wanted.strip_prefix(prefix)?)));
    let (kind, part) = named.map_or((None, wanted), |(of, part)| (Some(of), part));
    let stage = if ask.has("deleted") { Stage::Deleted } else { Stage::Active };
    let db = ask.app.registry().db();
    let (mut found, mut is_part) = (Vec::new(), false);
    for (of, _, key) in kinds.into_iter().filter(|(of, _, _)| kind.is_none_or(|kind| kind == *of)) {
        let mut names = db.run_keys(experiment.id, stage, of, part, FOUND + 1).await?;
        is_part |= names.len() > FOUND;
        names.truncate(FOUND);
        found.extend(names.into_iter().map(key));
    }
    let all = count(found.len() as u64);
    let note = match (found.len(), is_part) {
        (0, _) => format!("No key of the experiment holds `{wanted}`."),
        (1, _) => format!("1 key of the experiment holds `{wanted}`."),
        (_, false) => format!("{all} keys of the experiment hold `{wanted}`."),
        (_, true) => format!(
            "{all} of the keys of the experiment that hold `{wanted}`; write more of the name for the others."
        ),
    };
    Ok(Some((found, note)))
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
pub(super) fn keys(runs: &[Run]) -> BTreeMap<Key, usize> {
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
pub(super) fn chosen(ask: &Ask, runs: &[Run], keys: &BTreeMap<Key, usize>) -> Vec<Key> {
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

fn run_table(
    ask: &Ask,
    columns: &[Key],
    order: &str,
    found: &Answers<Run>,
    total: Option<Total>,
    error: &str,
) -> Table {
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
    let next = found.next_page_token.as_deref();
    Table {
        id: "runs".into(),
        caption: "Runs".into(),
        columns: heads,
        rows: rows.collect(),
        pager: Some(ask.pager(next, found.items.len(), total, ["run", "runs"])),
        empty: Some(empty),
        pinned: true,
    }
}

fn filter(
    ask: &Ask,
    shown: &Shown,
    found: Option<(Vec<Key>, String)>,
    group: Option<&Key>,
    order: String,
) -> FilterBox {
    const HERE: &str = "These are keys of the runs on this page; others of the experiment are found by a part of their name.";
    let Shown { keys, columns, error, .. } = shown;
    let is_searched = found.is_some();
    let (others, note) = found.unwrap_or_else(|| (Vec::new(), HERE.to_owned()));
    let find = Find {
        name: "keys".into(),
        label: "Part of a name".into(),
        value: ask.get("keys").unwrap_or_default().to_owned(),
        is_open: ask.has("finding"),
        note,
    };
    // Who looks for keys sees those that were found, and what is chosen already.
    let known: BTreeSet<&Key> = if is_searched {
        others.iter().chain(columns).collect()
    } else {
        keys.keys().chain(columns).collect()
    };
    let choices =
        known.iter().map(|key| Choice::new(key.text(), key.text(), columns.contains(key))).collect();
    let groups: BTreeSet<&Key> = keys.keys().chain(&others).chain(columns).chain(group).collect();
    let groups = groups.into_iter().filter(|key| Some(*key) == group || !matches!(key, Key::Metric(_)));
    let groups = groups.map(|key| Choice::new(key.text(), key.text(), Some(key) == group));
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
            Control::Several { name: "column".into(), label: "Columns".into(), choices, find: Some(find) },
            Control::Tick {
                name: "deleted".into(),
                label: "deleted ones".into(),
                chosen: ask.has("deleted"),
            },
            Control::Hidden { name: "order".into(), value: order },
        ],
        error: error.clone(),
        help: HELP.into(),
        button: "Apply".into(),
    }
}
