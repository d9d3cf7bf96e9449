//! The home page: the loop as a river, what moves on it now, what is blocked and why, and what happened last.

use tidemill_core::{EventKind, RunState};
use tidemill_db::delivery::Rollout;
use tidemill_db::tracking::Run;
use tidemill_db::{EventFilter, Order, RunRecord};
use tidemill_registry::{Error, Question, View};
use tidemill_ui::chart::River;
use tidemill_ui::{Area, Block, Cell, Empty, Page, Section, Table, href};

use super::Made;
use super::ask::Ask;
use super::projects::{self, Scope};
use super::rivers::Shared;
use super::rollout::{badge as rollout_badge, rollout_link};
use super::stations::{Blocked, look};
use super::words::{find, pipeline_badge, run_badge, run_link, took};
use super::{log, monitoring, next};
use crate::delivery::standing;

/// Events that are listed.
const EVENTS: usize = 15;
/// Alerts that are listed.
const ALERTS: usize = 5;
/// Runs that are listed.
const RUNS: i64 = 8;
/// Things that wait for somebody that are listed.
const WAITING: usize = 100;

pub(super) async fn home(ask: Ask) -> Made {
    let db = ask.app.registry().db();
    let (whole, shared) = (Scope::whole(&ask).await?, Shared::read(&ask).await?);
    let running = running(&ask).await?;
    let (stations, mut blocked) = look(&ask, &whole, &shared);
    // With several projects each has a river of its own; one has all there is.
    let rivers = match projects::rivers(&ask, &shared).await? {
        Some((rivers, waits)) => {
            // What waits in a project is said with its name; what belongs to none stands behind it.
            blocked.retain(|one| waits.iter().all(|known| known.what != one.what));
            blocked.splice(0..0, waits);
            rivers
        }
        None => {
            let river = River { stations }.figure("loop");
            vec![Block::Section(Section::new("river", "", vec![Block::Figure(Box::new(river))]))]
        }
    };
    let last = whole.last;
    let now =
        Section::new("now", "What moves now", vec![moving(&ask, last.as_ref(), &running, &shared.rollouts)?]);
    let waiting = waiting(blocked);
    let filter = EventFilter { limit: Some(EVENTS), order: Order::NewestFirst, ..EventFilter::default() };
    let events = db.events(&filter).await?;
    let events = Section::new("events", "What happened last", vec![Block::Table(log::table(&ask, &events))]);
    let coming = next::section(&ask).await?;
    let alerts = monitoring::last(&ask, ALERTS).await?;
    let title = match (rivers.len(), &last) {
        (1, Some(run)) => run.project.clone(),
        _ => "Tidemill".to_owned(),
    };
    Ok(Page {
        title,
        area: Area::Home,
        lead: "From data to predictions and back: each place leads to its page.".into(),
        blocks: rivers
            .into_iter()
            .chain([Block::Columns(vec![
                std::iter::once(now).chain(coming).map(Block::Section).collect(),
                vec![Block::Section(waiting)],
            ])])
            .chain(alerts.map(Block::Section))
            .chain([Block::Section(events.more("/log", "the whole log"))])
            .collect(),
        live: EventKind::NAMES.to_vec(),
        growing: !running.is_empty() || !shared.rollouts.is_empty(),
        ..Page::default()
    })
}

/// What waits for somebody, and why; of very much the first.
pub(super) fn waiting(blocked: Vec<Blocked>) -> Section {
    let all = blocked.len();
    let rows = blocked.into_iter().take(WAITING).map(|one| vec![one.what, Cell::Text(one.why)]);
    let table = Table::new("blocked", "What is blocked", &["what", "why"]).with(rows).or(Empty::new(
        "Nothing is blocked",
        "The last run, its tests, the data, the models in memory and what is watched are as they should be.",
    ));
    let section = Section::new("waiting", "What is blocked, and why", vec![Block::Table(table)]);
    if all > WAITING { section.note(format!("The first {WAITING} of {all}.")) } else { section }
}

/// Tracked runs that are at work.
async fn running(ask: &Ask) -> Result<Vec<Run>, Error> {
    let experiments = Question { view: View::Active, max_results: 1000, ..Question::default() };
    let found = ask.app.registry().search_experiments(&experiments).await?;
    let question = Question {
        experiments: found.items.iter().map(|experiment| experiment.id.to_string()).collect(),
        filter: "attributes.status = 'RUNNING'".into(),
        order_by: vec!["attributes.start_time DESC".into()],
        view: View::Active,
        max_results: RUNS,
        page_token: String::new(),
    };
    Ok(ask.app.registry().search_runs(&question).await?.items)
}

fn moving(
    ask: &Ask,
    last: Option<&RunRecord>,
    running: &[Run],
    rollouts: &[Rollout],
) -> Result<Block, Error> {
    let mut moved = Vec::new();
    for rollout in rollouts.iter().take(RUNS as usize) {
        let state = standing(rollout, ask.now)?;
        let mut link = rollout_link(rollout.id);
        link.text = format!("{} to {}", link.text, rollout.made.environment);
        moved.push(vec![
            Cell::Link(link),
            Cell::Badge(rollout_badge(rollout, &state)),
            took(Some(rollout.made.at), None, ask.now),
        ]);
    }
    let pipeline = last.filter(|run| run.state == RunState::Running).map(|run| {
        vec![
            Cell::link(
                href(&["pipelines", &run.id.to_string()], &[]),
                format!("pipeline run {}", run.id.short()),
            ),
            Cell::Badge(pipeline_badge(run.state)),
            took(Some(run.started_at), None, ask.now),
        ]
    });
    let runs = running.iter().map(|run| {
        let step = find(&run.tags, "tidemill.step").map(|step| format!("step {step}"));
        let mut link = run_link(&run.info);
        link.text = step.unwrap_or(link.text);
        vec![
            Cell::Link(link),
            Cell::Badge(run_badge(run.info.status)),
            took(run.info.started_at, None, ask.now),
        ]
    });
    let table = Table::new("moving", "What moves now", &["what", "state", "for"])
        .with(pipeline.into_iter().chain(runs).chain(moved))
        .or(Empty::new("Nothing moves", "Start a run of the pipeline in the project's folder:")
            .code("tidemill run"));
    Ok(Block::Table(table))
}
