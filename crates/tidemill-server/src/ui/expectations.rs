//! Expectations of a dataset: how they came out, and the rows that broke them.

use std::collections::BTreeMap;

use tidemill_core::declare::Severity;
use tidemill_core::{Digest, Event, EventKind, Name, Timestamp};
use tidemill_data::CheckResult;
use tidemill_data::expect::Checked as Results;
use tidemill_db::{EventFilter, Order};
use tidemill_registry::Error;
use tidemill_ui::{Area, Badge, Block, Cell, Crumb, Empty, Facts, Page, Section, Table, Tone, href};

use super::Made;
use super::ask::Ask;
use super::evidence::tail;

/// Datasets whose newest check is read.
const DATASETS: usize = 10_000;
/// Checks that are listed.
const LISTED: usize = 50;
/// Bytes of stored results that are read; a rule keeps a few rows.
const LARGEST: u64 = 16 << 20;

/// How the expectations of a dataset came out.
pub(super) struct Checked {
    pub(super) seq: u64,
    pub(super) at: Timestamp,
    pub(super) passed: u64,
    pub(super) failed: u64,
    pub(super) warned: u64,
    evidence: Option<Digest>,
}

impl Checked {
    fn of(event: Event) -> Option<(String, Self)> {
        let EventKind::DataChecked { dataset, passed, failed, warned, evidence } = event.kind else {
            return None;
        };
        Some((dataset, Self { seq: event.seq, at: event.at, passed, failed, warned, evidence }))
    }

    pub(super) fn badge(&self) -> Badge {
        if self.failed > 0 {
            return Badge::new(
                Tone::Bad,
                format!("{} of {} broken", self.failed, self.passed + self.failed + self.warned),
            );
        }
        if self.warned > 0 {
            return Badge::new(Tone::Warn, format!("{} warnings", self.warned));
        }
        Badge::new(Tone::Good, format!("{} hold", self.passed))
    }
}

/// Where the expectations of a dataset are.
pub(super) fn place(dataset: &str) -> String {
    href(&["data", dataset, "expectations"], &[])
}

/// What the log calls a dataset.
fn subject(dataset: &str) -> String {
    format!("dataset:{dataset}")
}

/// The newest check of each dataset that was ever checked.
pub(super) async fn newest(ask: &Ask) -> Result<BTreeMap<String, Checked>, Error> {
    let events = ask.app.registry().db().newest_events("data.checked", DATASETS).await?;
    Ok(events.into_iter().filter_map(Checked::of).collect())
}

/// The checks of a dataset, newest first.
async fn of(ask: &Ask, dataset: &str) -> Result<Vec<Checked>, Error> {
    let filter = EventFilter {
        kind: Some("data.checked".to_owned()),
        subject: Some(subject(dataset)),
        limit: Some(LISTED),
        order: Order::NewestFirst,
        ..EventFilter::default()
    };
    let events = ask.app.registry().db().events(&filter).await?;
    Ok(events.into_iter().filter_map(Checked::of).map(|(_, checked)| checked).collect())
}

/// The newest check of a dataset, for the page of the dataset; nothing where there is none.
pub(super) async fn section(ask: &Ask, dataset: &str) -> Result<Option<Section>, Error> {
    let newest = ask.app.registry().db().newest_event("data.checked", Some(subject(dataset)), None);
    let Some((_, checked)) = newest.await?.and_then(Checked::of) else { return Ok(None) };
    let facts = Facts::new("expectations")
        .with("Outcome", Cell::Badge(checked.badge()))
        .with("Evaluated", Cell::Time(checked.at, Some(ask.now)))
        .with("Rules and rows", Cell::link(place(dataset), "what was found"));
    Ok(Some(Section::new("expectations", "Expectations", vec![Block::Facts(facts)])))
}

/// The page of one check, the newest where none is named.
pub(super) async fn page(ask: Ask) -> Made {
    let dataset = ask.part(0).to_owned();
    let all = of(&ask, &dataset).await?;
    let wanted: Option<u64> = ask.get("check").and_then(|text| text.parse().ok());
    let shown = match wanted {
        Some(seq) => all.iter().find(|checked| checked.seq == seq),
        None => all.first(),
    };
    let shown = shown.ok_or_else(|| {
        Error::missing(format!(
            "the expectations of `{dataset}` were not evaluated, or too long ago to be listed"
        ))
    })?;
    let results = match shown.evidence {
        Some(digest) => tail(&ask.app, digest, LARGEST).await?.and_then(|bytes| Results::read(&bytes)),
        None => None,
    };
    let facts = Facts::new("check")
        .large()
        .with("Outcome", Cell::Badge(shown.badge()))
        .maybe("Rows", results.as_ref().map(|results| Cell::Count(results.rows)))
        .with("Evaluated", Cell::Time(shown.at, Some(ask.now)))
        .with("Event", Cell::link(href(&["log", &shown.seq.to_string()], &[]), shown.seq.to_string()));
    let mut blocks = vec![Block::Section(Section::new("outcome", "", vec![Block::Facts(facts)]))];
    match &results {
        Some(results) => {
            let table = Block::Table(rules(&results.results));
            blocks.push(Block::Section(Section::new("rules", "Expectations", vec![table])));
            let broken = results.results.iter().enumerate().filter(|(_, result)| !result.sample.is_empty());
            blocks.extend(broken.map(|(at, result)| Block::Section(rows(at, result))));
        }
        None => blocks.push(Block::Empty(
            Empty::new(
                "The results of this check are not kept any more",
                "Those of the newest check of a dataset are kept, and those that a release rests on.",
            )
            .code("tidemill check"),
        )),
    }
    let listed = all.iter().map(|checked| {
        vec![
            Cell::link(ask.with(&[("check", &checked.seq.to_string())]), checked.seq.to_string()),
            Cell::Badge(checked.badge()),
            Cell::Time(checked.at, Some(ask.now)),
        ]
    });
    let table = Table::new("checks", "Checks", &["event", "expectations", "evaluated"]).with(listed);
    blocks.push(Block::Section(Section::new("history", "Checks", vec![Block::Table(table)])));
    let mut crumbs = vec![Crumb::new("/data", "Data")];
    // What the project reads where it lies has no page of versions.
    if let Ok(name) = Name::new(&dataset)
        && !ask.app.registry().db().dataset_versions(&name).await?.is_empty()
    {
        crumbs.push(Crumb::new(href(&["data", &dataset], &[]), dataset.clone()));
    }
    Ok(Page {
        title: format!("Expectations of {dataset}"),
        area: Area::Data,
        crumbs,
        blocks,
        live: vec!["data.checked"],
        ..Page::default()
    })
}

fn rules(results: &[CheckResult]) -> Table {
    let rows = results.iter().map(|result| {
        let outcome = match (result.passed, result.severity) {
            (true, _) => Badge::new(Tone::Good, "holds"),
            (false, Severity::Warn) => Badge::new(Tone::Warn, "warning"),
            (false, Severity::Error) => Badge::new(Tone::Bad, "broken"),
        };
        vec![
            Cell::Badge(outcome),
            Cell::text(result.rule.clone()),
            Cell::text(result.message.clone()),
            if result.passed { Cell::None } else { Cell::Count(result.failed) },
            Cell::Count(result.checked),
            Cell::text(result.hint.clone().unwrap_or_default()),
        ]
    });
    let columns = ["outcome", "rule", "what was found", "broken by", "rows looked at", "hint"];
    Table::new("rules", "Expectations", &columns).with(rows)
}

/// The first rows that broke a rule.
fn rows(at: usize, result: &CheckResult) -> Section {
    let mut columns = vec!["row"];
    for name in result.sample.iter().flat_map(|row| row.cells.keys()) {
        if !columns[1..].contains(&name.as_str()) {
            columns.push(name);
        }
    }
    let rows = result.sample.iter().map(|row| {
        let cells = columns[1..].iter().map(|name| match row.cells.get(*name) {
            None => Cell::None,
            Some(value) => Cell::text(value.to_string()),
        });
        std::iter::once(Cell::Count(row.row)).chain(cells).collect::<Vec<_>>()
    });
    let name = format!("rows-{at}");
    let table = Table::new(name.clone(), format!("Rows that break {}", result.rule), &columns).with(rows);
    let note = if result.failed > result.sample.len() as u64 {
        format!("The first {} of {} rows.", result.sample.len(), tidemill_ui::count(result.failed))
    } else {
        "All of them.".to_owned()
    };
    Section::new(name, format!("Rows that break {}", result.rule), vec![Block::Table(table)]).note(note)
}
