//! `tidemill why MODEL@V`: from the event that began it to where the version is now, link by link.
//!
//! Nothing is concluded here: each link is an event of the log, or what a run, a rollout or the registry has stored.

pub(crate) mod data;
mod delivered;
mod tested;

use clap::Args;
use serde::Serialize;
use serde_json::json;
use tidemill_core::{Event, EventKind, RunId, Timestamp};
use tidemill_db::delivery::Release;
use tidemill_db::models::ModelVersion;
use tidemill_db::{EventFilter, Order};

use super::log::describe;
use crate::app::App;
use crate::failure::Failure;
use crate::output::{Align, FAINT, STRONG, Table, duration};
use tested::Made;

/// The longest chain of causes, and of runs inside of runs, that is followed.
const CHAIN: usize = 64;
/// How many events are read at once.
const PAGE: usize = 500;
/// The most releases of a model that are looked through.
const RELEASES: usize = 10_000;

#[derive(Debug, Args)]
pub(crate) struct Why {
    /// The version of a registered model, by number or alias: `flights-late@3`, `flights-late@champion`
    #[arg(value_name = "MODEL@VERSION")]
    version: String,
}

/// One link of the chain.
#[derive(Debug, Serialize)]
struct Link {
    /// Which part of the chain it belongs to.
    part: Part,
    /// When it happened.
    at: String,
    /// The event in the log, where it is one.
    event: Option<u64>,
    /// What happened.
    what: String,
}

/// The parts of the chain, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Part {
    Cause,
    Data,
    Run,
    Tests,
    Version,
    Release,
    Gates,
    Rollout,
    Now,
}

impl Part {
    fn word(self) -> &'static str {
        match self {
            Self::Cause => "cause",
            Self::Data => "data",
            Self::Run => "run",
            Self::Tests => "tests",
            Self::Version => "version",
            Self::Release => "release",
            Self::Gates => "gates",
            Self::Rollout => "rollout",
            Self::Now => "now",
        }
    }
}

pub(crate) fn run(args: &Why, app: &App<'_>) -> anyhow::Result<()> {
    let version = find(&args.version, app)?;
    let mut chain = Chain { app, links: Vec::new() };
    let releases = chain.releases(&version)?;
    chain.made(&version, &releases)?;
    chain.delivered(&version, &releases)?;
    let Chain { links, .. } = chain;
    let console = app.console;
    if console.json() {
        return console.value(&json!({"model": version.model, "version": version.version, "chain": links}));
    }
    console.line(console.out(STRONG, format!("{}@{}", version.model, version.version)));
    let mut table = Table::new(&[
        ("", Align::Left),
        ("when", Align::Left),
        ("event", Align::Right),
        ("what", Align::Left),
    ]);
    let mut before = None;
    for link in links {
        let part = if before == Some(link.part) { "" } else { link.part.word() };
        before = Some(link.part);
        let event = link.event.map(|seq| seq.to_string()).unwrap_or_default();
        table.row([part.to_owned(), console.out(FAINT, link.at), event, link.what]);
    }
    console.table(&table);
    Ok(())
}

/// The version that is meant.
fn find(text: &str, app: &App<'_>) -> anyhow::Result<ModelVersion> {
    let Some((model, version)) = text.rsplit_once('@').filter(|(model, _)| !model.is_empty()) else {
        let hint =
            "name a version of a registered model, for example `flights-late@3` or `flights-late@champion`";
        return Err(Failure::usage(format!("`{text}` is not MODEL@VERSION")).hint(hint).into());
    };
    let db = app.db()?;
    let found = match version.parse() {
        Ok(number) => app.block(db.model_version(model, number))?,
        Err(_) => app.block(db.aliased_version(model, version))?,
    };
    if let Some(found) = found {
        return Ok(found);
    }
    let failure = match app.block(db.registered_model(model))? {
        None => Failure::new(format!("there is no registered model `{model}`"))
            .hint("`tidemill log --kind model.registered` lists them"),
        Some(known) => {
            let newest = known.latest.iter().map(|latest| latest.version).max();
            let newest = newest.map_or("it has none".to_owned(), |newest| format!("its newest is {newest}"));
            Failure::new(format!("model `{model}` has no version or alias `{version}`")).hint(newest)
        }
    };
    Err(failure.into())
}

/// The chain as far as it is known.
struct Chain<'a, 'b> {
    app: &'a App<'b>,
    links: Vec<Link>,
}

impl Chain<'_, '_> {
    fn event(&mut self, part: Part, event: &Event, what: String) {
        self.links.push(Link { part, at: event.at.to_string(), event: Some(event.seq), what });
    }

    fn fact(&mut self, part: Part, at: Timestamp, what: String) {
        self.links.push(Link { part, at: at.to_string(), event: None, what });
    }

    /// All events about a subject, of a kind or of all; oldest first.
    fn events(&self, subject: &str, kind: Option<&str>) -> anyhow::Result<Vec<Event>> {
        let mut found: Vec<Event> = Vec::new();
        loop {
            let filter = EventFilter {
                subject: Some(subject.to_owned()),
                kind: kind.map(str::to_owned),
                after: found.last().map(|event| event.seq),
                limit: Some(PAGE),
                order: Order::OldestFirst,
                ..EventFilter::default()
            };
            let page = self.app.block(self.app.db()?.events(&filter))?;
            let is_last = page.len() < PAGE;
            found.extend(page);
            if is_last {
                return Ok(found);
            }
        }
    }

    /// The events that led to one, oldest first, from its cause on.
    fn causes(&self, cause: Option<u64>) -> anyhow::Result<Vec<Event>> {
        let mut found = self.app.block(self.app.db()?.causes(cause, CHAIN))?;
        found.reverse();
        Ok(found)
    }

    /// The releases of the version, oldest first.
    fn releases(&self, version: &ModelVersion) -> anyhow::Result<Vec<Release>> {
        let mut releases = self.app.block(self.app.db()?.releases(Some(&version.model), None, RELEASES))?;
        releases.retain(|release| release.version == version.version);
        releases.reverse();
        Ok(releases)
    }

    /// What led to the version: cause, data, run, tests.
    fn made(&mut self, version: &ModelVersion, releases: &[Release]) -> anyhow::Result<()> {
        let subject = format!("model:{}", version.model);
        let created = self.events(&subject, Some("version.created"))?.into_iter().rev().find(
            |event| matches!(&event.kind, EventKind::VersionCreated { version: of, .. } if *of == version.version),
        );
        let content = created.as_ref().and_then(|event| match &event.kind {
            EventKind::VersionCreated { facts, .. } => facts.as_ref()?.content,
            _ => None,
        });
        let (origin, runs) = self.origin(version)?;
        match origin {
            Origin::Pipeline(started) => self.pipeline(&started)?,
            Origin::Tracked(event) => {
                let what = format!("{}, by {}; no pipeline of Tidemill", describe(&event), event.actor.name);
                self.event(Part::Run, &event, what);
            }
            Origin::Unknown => {
                let what = format!("no run is known: the files came from {}", version.source);
                self.fact(Part::Run, version.created_at, what);
            }
        }
        self.tested(version, &Made { runs, content }, releases)?;
        match created {
            Some(event) => {
                let content = version.content.map(|content| format!(", files {}", content.short()));
                let what = format!(
                    "registered by {} as {}@{}{}",
                    event.actor.name,
                    version.model,
                    version.version,
                    content.unwrap_or_default()
                );
                self.event(Part::Version, &event, what);
            }
            None => self.fact(Part::Version, version.created_at, "registered".to_owned()),
        }
        Ok(())
    }

    /// The run that a version comes from, of those around it the one that the pipeline began; with all of them.
    fn origin(&self, version: &ModelVersion) -> anyhow::Result<(Origin, Vec<RunId>)> {
        let mut run: Option<RunId> = version.run.as_deref().and_then(|run| run.parse().ok());
        if run.is_none()
            && let Some(logged) = &version.logged_model
        {
            let logged = self.events(&format!("logged_model:{logged}"), Some("logged_model.created"))?;
            run = logged.iter().find_map(|event| match &event.kind {
                EventKind::LoggedModelCreated { run, .. } => *run,
                _ => None,
            });
        }
        let (mut origin, mut runs) = (Origin::Unknown, Vec::new());
        while let Some(id) = run.filter(|id| runs.len() < CHAIN && !runs.contains(id)) {
            runs.push(id);
            let first = |kind: &str| -> anyhow::Result<Option<Event>> {
                Ok(self.events(&format!("run:{id}"), Some(kind))?.into_iter().next())
            };
            let is_known = matches!(origin, Origin::Pipeline(_));
            if !is_known && let Some(started) = first("run.started")? {
                origin = Origin::Pipeline(started);
            } else if matches!(origin, Origin::Unknown)
                && let Some(created) = first("tracking.run.created")?
            {
                origin = Origin::Tracked(created);
            }
            let tracked = self.app.block(self.app.db()?.tracked_run(id))?;
            run = tracked.and_then(|tracked| {
                let parent = tracked.tags.iter().find(|tag| tag.key == "mlflow.parentRunId")?;
                parent.value.parse().ok()
            });
        }
        Ok((origin, runs))
    }

    fn pipeline(&mut self, started: &Event) -> anyhow::Result<()> {
        let EventKind::RunStarted { run, commit, .. } = &started.kind else { return Ok(()) };
        let subject = format!("run:{run}");
        let causes = self.causes(started.cause)?;
        if causes.is_empty() {
            let what = format!("{} ran the pipeline by hand", started.actor.name);
            self.event(Part::Cause, started, what);
        }
        for event in &causes {
            let what = match &event.kind {
                EventKind::SourceChanged { source, name, .. } => {
                    format!("{} `{name}`: {}", source.name(), describe(event))
                }
                kind => format!("{}: {}", kind.name(), describe(event)),
            };
            self.event(Part::Cause, event, what);
        }
        let finished = self.events(&subject, Some("run.finished"))?.pop();
        let (lock, end) = match &finished {
            Some(Event { seq, kind: EventKind::RunFinished { lock, .. }, .. }) => (*lock, *seq),
            _ => (None, u64::MAX),
        };
        let sources = data::sources(self.app, lock)?;
        for source in &sources {
            let link = data::link(self, source)?;
            self.links.push(link);
        }
        let at = commit.as_deref().map(|commit| format!(" at commit {}", &commit[..commit.len().min(10)]));
        let ended = finished.as_ref().map_or(" and has not ended".to_owned(), |event| match &event.kind {
            EventKind::RunFinished { state, .. } => {
                format!(" {} in {}", state.past(), duration(event.at.since(started.at)))
            }
            _ => String::new(),
        });
        let what = format!("run {}{}{ended}", run.short(), at.unwrap_or_default());
        self.event(Part::Run, started, what);
        for source in sources.iter().filter(|source| source.is_dataset) {
            let checked = self.events(&format!("dataset:{}", source.name), Some("data.checked"))?;
            // The check that stands before the run, or inside of it.
            if let Some(event) = checked.iter().rev().find(|event| event.seq < end) {
                self.event(Part::Tests, event, format!("expectations of {}", describe(event)));
            }
        }
        Ok(())
    }
}

/// Where a version comes from.
enum Origin {
    /// A run of the pipeline, which began with this event.
    Pipeline(Event),
    /// A run of a client.
    Tracked(Event),
    /// Nothing says so.
    Unknown,
}
