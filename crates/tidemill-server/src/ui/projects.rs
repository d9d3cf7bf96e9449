//! Projects: what of everything belongs to each, the rivers of the home page where there are several, and a page for each.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tidemill_core::{EventKind, RunId};
use tidemill_db::{RunRecord, StepRun};
use tidemill_registry::Error;
use tidemill_ui::chart::{River, Station};
use tidemill_ui::{
    Area, Badge, Block, Cell, Crumb, Empty, Figure, Page, Section, Table, Tone, Total, count, href,
};

use super::Made;
use super::ask::Ask;
use super::evidence::{self, Planned, Tests};
use super::home::waiting;
use super::next;
use super::pipeline::{last_of_each, steps_of};
use super::rivers::Shared;
use super::stations::{Blocked, look};
use super::words::{pipeline_badge, took};

/// Projects that are looked at to see who needs attention first: those whose pipeline ran last.
const KNOWN: usize = 500;
/// Rivers of one page.
const PAGE: usize = 4;
/// Runs in which the newest tests of a project are looked for, and those that its page lists.
const RECENT: usize = 20;
/// Models whose versions are asked for the project that made them.
const MODELS: usize = 1_000;

/// Whose data, models and endpoints are looked at.
#[derive(Default)]
pub(super) struct Scope {
    /// The newest run of the pipeline.
    pub(super) last: Option<RunRecord>,
    /// The last attempt at each of its steps.
    pub(super) steps: BTreeMap<String, StepRun>,
    /// What it set out to do.
    pub(super) planned: Option<Arc<Planned>>,
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
        let db = ask.app.registry().db();
        let last = db.runs(1).await?.pop();
        let (steps, planned) = match &last {
            Some(run) => {
                (last_of_each(db.step_runs(run.id).await?), evidence::planned(&ask.app, run.plan).await?)
            }
            None => (BTreeMap::new(), None),
        };
        Ok(Self { last, steps, planned, tests: evidence::tests(&ask.app, None).await?, own: None })
    }

    /// Every project, or the one of this name: what its newest plan reads, the models that its runs made, and the endpoints that these
    /// answer at. Those whose pipeline ran last first; and how many there are. However many, each table is asked once.
    async fn of_projects(
        ask: &Ask,
        shared: &Shared,
        only: Option<&str>,
    ) -> Result<(Vec<(String, Self)>, Total), Error> {
        let db = ask.app.registry().db();
        let mut newest = match only {
            Some(only) => db.runs_of(only, 1).await?,
            None => db.newest_runs(KNOWN + 1).await?,
        };
        let is_cut = newest.len() > KNOWN;
        newest.truncate(KNOWN);
        let mut runs: Vec<(String, Option<RunRecord>)> =
            newest.into_iter().map(|run| (run.project.clone(), Some(run))).collect();
        let about = ask.app.config().about.as_ref().filter(|about| !about.project.is_empty());
        if let Some(about) = about
            && only.is_none_or(|only| only == about.project)
            && runs.iter().all(|(name, _)| *name != about.project)
        {
            // Where there are very many, it may have run before all of them.
            let last = db.runs_of(&about.project, 1).await?.pop();
            runs.push((about.project.clone(), last));
        }
        let total = if is_cut { Total::MoreThan(KNOWN as u64) } else { Total::Exactly(runs.len() as u64) };
        if runs.is_empty() || (only.is_none() && runs.len() < 2) {
            return Ok((runs.into_iter().map(|(name, _)| (name, Self::default())).collect(), total));
        }
        let ids: Vec<RunId> = runs.iter().filter_map(|(_, run)| Some(run.as_ref()?.id)).collect();
        let mut steps = steps_of(ask, &ids).await?;
        let names: BTreeSet<&str> = runs.iter().map(|(name, _)| name.as_str()).collect();
        let tested = db.newest_events_of_projects(&names, "model.tested", RECENT).await?;
        let mut tested: HashMap<String, _> = tested.into_iter().collect();
        // The experiment of a project has its name.
        let mut made: HashMap<String, BTreeSet<String>> = HashMap::new();
        for (model, experiment) in db.models_by_experiment(MODELS).await? {
            made.entry(experiment).or_default().insert(model);
        }
        let mut found = Vec::with_capacity(runs.len());
        for (name, last) in runs {
            let mut scope = Self::default();
            let mut own = Own { models: made.remove(&name).unwrap_or_default(), ..Own::default() };
            if let Some(about) = about.filter(|about| about.project == name) {
                own.datasets.extend(about.data.keys().chain(about.hidden.keys()).cloned());
                own.models.extend(about.model.clone());
            }
            if let Some(last) = &last {
                scope.steps = last_of_each(steps.remove(&last.id).unwrap_or_default());
                scope.planned = evidence::planned(&ask.app, last.plan).await?;
                own.datasets.extend(scope.planned.iter().flat_map(|plan| plan.reads.iter().cloned()));
            }
            if let Some(event) = tested.remove(&name) {
                scope.tests = evidence::tested(&ask.app, event).await?;
            }
            let answers =
                |(_, models): &&(String, Vec<String>)| models.iter().any(|model| own.models.contains(model));
            own.endpoints = shared.endpoints.iter().filter(answers).map(|(name, _)| name.clone()).collect();
            found.push((name, Self { last, own: Some(own), ..scope }));
        }
        Ok((found, total))
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

/// A project with what was found of it.
struct Looked {
    name: String,
    scope: Scope,
    stations: Vec<Station>,
    blocked: Vec<Blocked>,
}

impl Looked {
    fn at(ask: &Ask, name: String, scope: Scope, shared: &Shared) -> Self {
        let (stations, blocked) = look(ask, &scope, shared);
        Self { name, scope, stations, blocked }
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

/// The rivers of the home page, below each other, that of the project which needs attention most first, and what waits for somebody in
/// any of them; nothing where there are not several projects.
pub(super) async fn rivers(ask: &Ask, shared: &Shared) -> Result<Option<(Vec<Block>, Vec<Blocked>)>, Error> {
    let (projects, total) = Scope::of_projects(ask, shared, None).await?;
    let all = projects.len();
    if all < 2 {
        return Ok(None);
    }
    let from = ask.place(|text| text.parse::<usize>().ok())?.unwrap_or(0).min(all);
    let to = all.min(from + PAGE);
    let mut looked: Vec<Looked> =
        projects.into_iter().map(|(name, scope)| Looked::at(ask, name, scope, shared)).collect();
    looked.sort_by_key(|project| std::cmp::Reverse(project.attention()));
    let waits = looked.iter().flat_map(|project| {
        let named = |one: &Blocked| Blocked { why: format!("{}: {}", project.name, one.why), ..one.clone() };
        project.blocked.iter().map(named).collect::<Vec<_>>()
    });
    let waits = waits.collect();
    let here: Vec<Looked> = looked.into_iter().take(to).skip(from).collect();
    let next = (to < all).then(|| to.to_string());
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
pub(super) fn place(project: &str) -> String {
    href(&["projects", project], &[])
}

fn list(ask: &Ask, here: &[Looked], next: Option<&str>, total: Total) -> Section {
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
    table.pager = Some(ask.pager(next, here.len(), Some(total), ["project", "projects"]));
    let note = "Those that need attention stand first. What belongs to a project is what its pipeline reads, the models that its runs \
                made, and where these answer.";
    let note = match total {
        Total::Exactly(_) => note.to_owned(),
        Total::MoreThan(known) => format!(
            "{note} Looked at are the {} whose pipeline ran last; every other one has its page, too, and its runs are among those of all \
             pipelines.",
            count(known)
        ),
    };
    Section::new("projects", "Projects", vec![Block::Table(table)])
        .note(note)
        .more("/pipelines", "runs of all projects")
}

/// The page of a project: its river, what waits for somebody, and its last runs.
pub(super) async fn page(ask: Ask) -> Made {
    let shared = Shared::read(&ask).await?;
    let (mut found, _) = Scope::of_projects(&ask, &shared, Some(ask.part(0))).await?;
    let missing = || Error::missing(format!("no pipeline of a project `{}` ran here", ask.part(0)));
    let (name, scope) = found.pop().ok_or_else(missing)?;
    let project = Looked::at(&ask, name, scope, &shared);
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
