//! Projects: what of everything belongs to each, the rivers of the home page where there are several, and a page for each.

use std::collections::BTreeSet;

use tidemill_core::{EventKind, RunId};
use tidemill_db::RunRecord;
use tidemill_db::delivery::Rollout;
use tidemill_registry::Error;
use tidemill_ui::chart::{River, Station};
use tidemill_ui::{
    Area, Badge, Block, Cell, Crumb, Empty, Figure, Page, Section, Table, Tone, Total, count, href,
};

use super::Made;
use super::ask::Ask;
use super::evidence::{self, Tests};
use super::home::waiting;
use super::serving;
use super::stations::{Blocked, look};
use super::words::{pipeline_badge, took};
use super::{delivery, next};

/// Projects that are known by name, and those of them that are looked at to see who needs attention first.
const KNOWN: usize = 200;
const RANKED: usize = 30;
/// Rivers of one page.
const PAGE: usize = 4;
/// Runs in which the newest tests of a project are looked for, and those that its page lists.
const RECENT: usize = 20;
/// Models whose versions are asked for the project that made them.
const MODELS: usize = 200;
/// Endpoints that are looked at.
const ENDPOINTS: usize = 1_000;

/// Whose data, models and endpoints are looked at.
#[derive(Default)]
pub(super) struct Scope {
    /// The newest run of the pipeline.
    pub(super) last: Option<RunRecord>,
    pub(super) tests: Option<Tests>,
    /// What belongs to one project; nothing where everything is looked at.
    own: Option<Own>,
}

#[derive(Default)]
struct Own {
    datasets: BTreeSet<String>,
    models: BTreeSet<String>,
    endpoints: BTreeSet<String>,
}

impl Scope {
    /// Everything.
    pub(super) async fn whole(ask: &Ask) -> Result<Self, Error> {
        let last = ask.app.registry().db().runs(1).await?.pop();
        let tests = evidence::tests(&ask.app, None).await?;
        Ok(Self { last, tests, own: None })
    }

    /// One project: what its newest plan reads, the models that its runs made, and the endpoints that these answer at.
    async fn of(ask: &Ask, project: &str, made: &[(String, i64)]) -> Result<Self, Error> {
        let db = ask.app.registry().db();
        let runs = db.runs_of(project, RECENT).await?;
        let mut own = Own::default();
        let declared = ask.app.config().about.as_ref().filter(|about| about.project == project);
        if let Some(about) = declared {
            own.datasets.extend(about.data.keys().chain(about.hidden.keys()).cloned());
            own.models.extend(about.model.clone());
        }
        if let Some(last) = runs.first()
            && let Some(plan) = evidence::plan(&ask.app, last.plan).await?
        {
            own.datasets.extend(plan.steps.into_iter().flat_map(|step| step.inputs).map(|input| input.table));
        }
        // The experiment of a project has its name.
        if let Some(experiment) = db.experiment_by_name(project).await? {
            let of_project = made.iter().filter(|(_, of)| *of == experiment.id);
            own.models.extend(of_project.map(|(model, _)| model.clone()));
        }
        own.endpoints = endpoints(ask, &own.models).await?;
        let tests = tests(ask, &runs).await?;
        Ok(Self { last: runs.into_iter().next(), tests, own: Some(own) })
    }

    pub(super) fn is_whole(&self) -> bool {
        self.own.is_none()
    }

    pub(super) fn has_dataset(&self, name: &str) -> bool {
        self.own.as_ref().is_none_or(|own| own.datasets.contains(name))
    }

    pub(super) fn has_model(&self, name: &str) -> bool {
        self.own.as_ref().is_none_or(|own| own.models.contains(name))
    }

    pub(super) fn has_endpoint(&self, name: &str) -> bool {
        self.own.as_ref().is_none_or(|own| own.endpoints.contains(name))
    }
}

/// The newest tests among some runs of the pipeline.
async fn tests(ask: &Ask, runs: &[RunRecord]) -> Result<Option<Tests>, Error> {
    for run in runs {
        if let Some(found) = evidence::tests(&ask.app, Some(run.id)).await? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Registered models whose newest version came of a tracked run, with the experiment of that run.
async fn made(ask: &Ask) -> Result<Vec<(String, i64)>, Error> {
    let db = ask.app.registry().db();
    let found = ask.app.registry().search_models("", &[], Some(MODELS as i64), None).await?;
    let mut models = Vec::new();
    for model in found.items {
        let newest = model.latest.iter().max_by_key(|version| version.version);
        let run = newest.and_then(|version| version.run.as_deref()?.parse::<RunId>().ok());
        let Some(run) = run else { continue };
        if let Some(info) = db.tracked_run_info(run).await? {
            models.push((model.name, info.experiment));
        }
    }
    Ok(models)
}

/// Endpoints at which one of these models answers.
async fn endpoints(ask: &Ask, models: &BTreeSet<String>) -> Result<BTreeSet<String>, Error> {
    let mut found = BTreeSet::new();
    if models.is_empty() {
        return Ok(found);
    }
    for endpoint in ask.app.registry().db().endpoints_after(None, ENDPOINTS).await? {
        let spec = serving::read(&endpoint.spec)?;
        if spec.arms.iter().any(|arm| models.contains(arm.model.as_str())) {
            found.insert(endpoint.name);
        }
    }
    Ok(found)
}

/// A project with what was found of it.
struct Looked {
    name: String,
    scope: Scope,
    stations: Vec<Station>,
    blocked: Vec<Blocked>,
}

impl Looked {
    async fn at(
        ask: &Ask,
        name: String,
        made: &[(String, i64)],
        rollouts: &[Rollout],
    ) -> Result<Self, Error> {
        let scope = Scope::of(ask, &name, made).await?;
        let (stations, blocked) = look(ask, &scope, rollouts).await?;
        Ok(Self { name, scope, stations, blocked })
    }

    /// How much it needs somebody: places that are wrong, places to look at, what waits, and whether something moves.
    fn attention(&self) -> (usize, usize, usize, usize) {
        let places = |tone| self.stations.iter().filter(|station| station.tone == tone).count();
        (places(Tone::Bad), places(Tone::Warn), self.blocked.len(), places(Tone::Busy))
    }

    fn badge(&self) -> Badge {
        match self.attention() {
            (0, 0, 0, 0) => Badge::new(Tone::Good, "as it should be"),
            (0, 0, 0, _) => Badge::new(Tone::Busy, "at work"),
            (0, _, waits, _) if waits > 0 => {
                Badge::new(Tone::Warn, format!("{} blocked", count(waits as u64)))
            }
            (0, _, _, _) => Badge::new(Tone::Warn, "to be looked at"),
            (_, _, waits, _) => Badge::new(Tone::Bad, format!("{} blocked", count(waits.max(1) as u64))),
        }
    }
}

/// Every project that is known; the one of the project file is among them.
async fn all(ask: &Ask) -> Result<Vec<String>, Error> {
    let mut names = ask.app.registry().db().projects(KNOWN).await?;
    let own = ask.app.config().about.as_ref().map(|about| about.project.clone());
    names.extend(own.filter(|own| !own.is_empty() && !names.contains(own)));
    Ok(names)
}

/// The same, those whose pipeline ran last first.
async fn known(ask: &Ask) -> Result<Vec<String>, Error> {
    let db = ask.app.registry().db();
    let names = all(ask).await?;
    if names.len() < 2 {
        return Ok(names);
    }
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        let last = db.runs_of(&name, 1).await?.pop();
        found.push((last.map(|run| run.started_at), name));
    }
    found.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    Ok(found.into_iter().map(|(_, name)| name).collect())
}

/// The rivers of the home page, below each other, that of the project which needs attention most first, and what waits for somebody in
/// any of them; nothing where there are not several projects.
pub(super) async fn rivers(
    ask: &Ask,
    rollouts: &[Rollout],
) -> Result<Option<(Vec<Block>, Vec<Blocked>)>, Error> {
    let names = known(ask).await?;
    if names.len() < 2 {
        return Ok(None);
    }
    let from = ask.place(|text| text.parse::<usize>().ok())?.unwrap_or(0).min(names.len());
    let to = names.len().min(from + PAGE);
    let (made, mut looked) = (made(ask).await?, Vec::new());
    let ranked = names.len().min(RANKED);
    for (at, name) in names.iter().enumerate() {
        // Whoever stands behind those that are ranked is looked at on its own page of the list only.
        if at < ranked || (from..to).contains(&at) {
            looked.push(Looked::at(ask, name.clone(), &made, rollouts).await?);
        }
    }
    let behind = looked.split_off(ranked);
    looked.sort_by_key(|project| std::cmp::Reverse(project.attention()));
    let waits = looked.iter().chain(&behind).flat_map(|project| {
        let named = |one: &Blocked| Blocked { why: format!("{}: {}", project.name, one.why), ..one.clone() };
        project.blocked.iter().map(named).collect::<Vec<_>>()
    });
    let waits = waits.collect();
    let here: Vec<Looked> = looked.into_iter().take(to).skip(from).chain(behind).collect();
    let next = (to < names.len()).then(|| to.to_string());
    let total = Some(Total::Exactly(names.len() as u64));
    let mut blocks = vec![Block::Section(list(ask, &here, next.as_deref(), total))];
    for (at, project) in here.into_iter().enumerate() {
        let river = river(project.stations, &project.name, &format!("loop_{}", from + at));
        let section = Section::new(format!("river-{}", from + at), project.name.clone(), vec![river]);
        blocks.push(Block::Section(section.more(place(&project.name), "its page")));
    }
    Ok(Some((blocks, waits)))
}

fn river(stations: Vec<Station>, project: &str, id: &str) -> Block {
    let mut figure = Figure { title: format!("The loop of {project}"), ..River { stations }.figure(id) };
    figure.table.caption.clone_from(&figure.title);
    Block::Figure(Box::new(figure))
}

/// The page of a project.
fn place(project: &str) -> String {
    href(&["projects", project], &[])
}

fn list(ask: &Ask, here: &[Looked], next: Option<&str>, total: Option<Total>) -> Section {
    let rows = here.iter().map(|project| {
        let last = project.scope.last.as_ref();
        vec![
            Cell::link(place(&project.name), project.name.clone()),
            Cell::Badge(project.badge()),
            last.map_or(Cell::None, |run| Cell::Badge(pipeline_badge(run.state))),
            last.map_or(Cell::None, |run| Cell::Time(run.started_at, Some(ask.now))),
        ]
    });
    let mut table = Table::new("projects", "Projects", &["project", "state", "last run", "began"]).with(rows);
    table.pager = Some(ask.pager(next, here.len(), total, ["project", "projects"]));
    Section::new("projects", "Projects", vec![Block::Table(table)]).note(
        "Those that need attention stand first. What belongs to a project is what its pipeline reads, the models that its runs made, and \
         where these answer.",
    )
}

/// The page of a project: its river, what waits for somebody, and its last runs.
pub(super) async fn page(ask: Ask) -> Made {
    let name = ask.part(0).to_owned();
    if !all(&ask).await?.contains(&name) {
        return Err(Error::missing(format!("no pipeline of a project `{name}` ran here")));
    }
    let rollouts = delivery::on_their_way(&ask).await?;
    let project = Looked::at(&ask, name, &made(&ask).await?, &rollouts).await?;
    let badge = project.badge();
    let Looked { name, scope, stations, blocked } = project;
    let is_own = ask.app.config().about.as_ref().is_some_and(|about| about.project == name);
    let coming = if is_own { next::section(&ask).await? } else { None };
    let growing = scope.last.as_ref().is_some_and(|run| run.state == tidemill_core::RunState::Running);
    let river = Section::new("river", "", vec![river(stations, &name, "loop")]);
    let blocks = [river, waiting(blocked)].into_iter().chain(coming).chain([runs(&ask, &name).await?]);
    Ok(Page {
        title: name,
        area: Area::Home,
        crumbs: vec![Crumb::new("/", "Home")],
        badges: vec![badge],
        blocks: blocks.map(Block::Section).collect(),
        live: EventKind::NAMES.to_vec(),
        growing,
        ..Page::default()
    })
}

async fn runs(ask: &Ask, project: &str) -> Result<Section, Error> {
    let found = ask.app.registry().db().runs_of(project, RECENT).await?;
    let rows = found.iter().map(|run| {
        vec![
            Cell::link(href(&["pipelines", &run.id.to_string()], &[]), run.id.short()),
            Cell::Badge(pipeline_badge(run.state)),
            Cell::Time(run.started_at, Some(ask.now)),
            took(Some(run.started_at), run.ended_at, ask.now),
            run.commit.as_ref().map_or(Cell::None, |commit| Cell::Code(commit.clone())),
        ]
    });
    let table = Table::new("runs", "Last runs of the pipeline", &["run", "state", "began", "took", "commit"])
        .with(rows)
        .or(Empty::new("The pipeline has not run yet", "Run it in the project's folder:")
            .code("tidemill run"));
    Ok(Section::new("runs", "Last runs of the pipeline", vec![Block::Table(table)])
        .more("/pipelines", "runs of all projects"))
}
