//! Runs of the pipeline: the list, and the history of their steps at a glance.

use std::collections::{BTreeMap, HashMap};

use tidemill_core::{RunId, StepState, Timestamp};
use tidemill_db::{Listed, RunRecord, StepRun};
use tidemill_registry::Error;
use tidemill_ui::{Area, Block, Cell, Empty, Grid, GridRow, Link, Page, Section, Table, Tone, href};

use super::Made;
use super::ask::Ask;
use super::words::{pipeline_badge, step_badge, took};
use super::{evidence, projects, total};

const PAGE: usize = 50;
/// Runs of the history at a glance.
const GLANCE: usize = 30;
/// Runs whose steps one statement reads.
const RUNS: usize = 500;

/// What the signs of the history mean.
const LEGEND: [(Tone, &str); 5] = [
    (Tone::Good, "ran"),
    (Tone::Calm, "unchanged, or restored from the store"),
    (Tone::Bad, "failed"),
    (Tone::Warn, "stopped or skipped"),
    (Tone::Busy, "at work"),
];

pub(super) async fn list(ask: Ask) -> Made {
    let before = ask.place(place)?;
    let db = ask.app.registry().db();
    let mut runs = db.runs_before(before, PAGE + 1).await?;
    let more = runs.len() > PAGE;
    runs.truncate(PAGE);
    let mut blocks = Vec::new();
    if !runs.is_empty() {
        let glance = glance(&ask, &runs[..runs.len().min(GLANCE)]).await?;
        blocks.push(Block::Section(
            Section::new("history", "Steps of the last runs", vec![Block::Grid(glance)])
                .note("The newest run is on the left. A step that is up to date is not run again."),
        ));
    }
    let rows = runs.iter().map(|run| {
        vec![
            Cell::link(href(&["pipelines", &run.id.to_string()], &[]), run.id.short()),
            Cell::Badge(pipeline_badge(run.state)),
            Cell::Time(run.started_at, Some(ask.now)),
            took(Some(run.started_at), run.ended_at, ask.now),
            Cell::link(projects::place(&run.project), run.project.clone()),
            run.commit.as_ref().map_or(Cell::None, |commit| Cell::Code(commit.clone())),
            run.cause.map_or(Cell::None, |seq| {
                Cell::link(href(&["log", &seq.to_string()], &[]), format!("event {seq}"))
            }),
            Cell::Code(run.id.to_string()),
        ]
    });
    let columns = ["run", "state", "began", "took", "project", "commit", "started by", "identifier"];
    let mut table = Table::new("runs", "Runs of the pipeline", &columns).with(rows).or(Empty::new(
        "The pipeline has not run yet",
        "Run it in the project's folder; its steps appear here while it goes on.",
    )
    .code("tidemill run"));
    let next = runs.last().filter(|_| more).map(|last| format!("{}-{}", last.started_at.millis(), last.id));
    let total = total::of(&ask, Listed::PipelineRuns).await?;
    table.pager = Some(ask.pager(next.as_deref(), runs.len(), total, ["run", "runs"]));
    blocks.push(Block::Section(Section::new("runs-list", "Runs", vec![Block::Table(table)])));
    Ok(Page {
        title: "Pipelines".into(),
        area: Area::Pipelines,
        lead: "Every execution of the pipeline: what ran, what was taken from the cache, and why.".into(),
        growing: runs
            .iter()
            .any(|run| run.ended_at.is_none() && run.state == tidemill_core::RunState::Running),
        blocks,
        live: vec!["run.started", "run.finished", "step.finished"],
        ..Page::default()
    })
}

fn place(text: &str) -> Option<(Timestamp, RunId)> {
    let (at, id) = text.rsplit_once('-')?;
    Some((Timestamp::from_millis(at.parse().ok()?), id.parse().ok()?))
}

/// Steps by run: the newest plan gives the rows.
async fn glance(ask: &Ask, runs: &[RunRecord]) -> Result<Grid, Error> {
    let mut names: Vec<String> = Vec::new();
    if let Some(plan) = evidence::plan(&ask.app, runs[0].plan).await? {
        names.extend(plan.steps.into_iter().map(|step| step.name));
    }
    let mut columns = Vec::with_capacity(runs.len());
    let ids: Vec<RunId> = runs.iter().map(|run| run.id).collect();
    let mut by_run = steps_of(ask, &ids).await?;
    for run in runs {
        let steps = by_run.remove(&run.id).unwrap_or_default();
        for step in &steps {
            if !names.contains(&step.step) && names.len() < 60 {
                names.push(step.step.clone());
            }
        }
        columns.push(last_of_each(steps));
    }
    let rows = names.iter().map(|name| GridRow {
        name: name.clone(),
        places: runs
            .iter()
            .zip(&columns)
            .map(|(run, steps)| match steps.get(name) {
                Some(step) => {
                    let badge = step_badge(step.state);
                    Some((badge.tone, format!("{name}: {}", badge.text)))
                }
                // Steps that were up to date leave no record.
                None if run.state == tidemill_core::RunState::Succeeded => {
                    Some((Tone::Calm, format!("{name}: {}", step_badge(StepState::Unchanged).text)))
                }
                None => None,
            })
            .collect(),
    });
    let heads =
        runs.iter().map(|run| Link::new(href(&["pipelines", &run.id.to_string()], &[]), run.id.short()));
    Ok(Grid {
        caption: "Steps of the last runs".into(),
        columns: heads.collect(),
        rows: rows.collect(),
        legend: LEGEND.to_vec(),
        ..Grid::default()
    }
    .numbered("history", "step"))
}

/// The steps of runs, by run, in the order in which they ended.
pub(super) async fn steps_of(ask: &Ask, runs: &[RunId]) -> Result<HashMap<RunId, Vec<StepRun>>, Error> {
    let mut by_run: HashMap<RunId, Vec<StepRun>> = HashMap::new();
    for some in runs.chunks(RUNS) {
        for step in ask.app.registry().db().step_runs_of(some).await? {
            by_run.entry(step.run).or_default().push(step);
        }
    }
    Ok(by_run)
}

/// The last attempt at each step, by the step's name.
pub(super) fn last_of_each(steps: Vec<StepRun>) -> BTreeMap<String, StepRun> {
    let mut last: BTreeMap<String, StepRun> = BTreeMap::new();
    for step in steps {
        match last.get(&step.step) {
            Some(known) if known.attempt > step.attempt => {}
            _ => drop(last.insert(step.step.clone(), step)),
        }
    }
    last
}
