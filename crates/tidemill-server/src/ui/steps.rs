//! A run of the pipeline: its graph, its steps with their reasons, what they printed, the tests of its model.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tidemill_core::declare::{Action, Step};
use tidemill_core::{RunId, RunState, StepState};
use tidemill_db::tracking::{Run, RunStatus};
use tidemill_db::{RunRecord, StepRun};
use tidemill_pipeline::Dag;
use tidemill_registry::{Error, Question, View};
use tidemill_ui::chart::{Graph, GraphNode};
use tidemill_ui::{
    Area, Badge, Block, Cell, Crumb, Empty, Facts, Figure, Link, LogText, Page, Section, Table, Tone, href,
};

use super::Made;
use super::ask::Ask;
use super::evidence::{self, Plan};
use super::pipeline::last_of_each;
use super::words::{choice, find, pipeline_badge, run_link, step_badge, took};
use crate::step_log;

/// Lines at the end of a log that are shown.
const LINES: usize = 2000;

/// A step as far as it is known.
struct Seen<'a> {
    step: &'a Step,
    needs: Vec<usize>,
    done: Option<&'a StepRun>,
    badge: Badge,
}

pub(super) async fn run(ask: Ask) -> Made {
    let db = ask.app.registry().db();
    let record = db.run(ask.part(0)).await.map_err(|error| match error {
        tidemill_db::Error::Ambiguous { .. } => Error::invalid(error.to_string()),
        other => other.into(),
    })?;
    let steps = last_of_each(db.step_runs(record.id).await?);
    let tracked = tracked(&ask, &record).await?;
    let plan = evidence::plan(&ask.app, record.plan).await?;
    let running = record.state == RunState::Running;
    let mut blocks = vec![Block::Section(Section::new(
        "about",
        "",
        vec![Block::Facts(about(&ask, &record, plan.as_ref()))],
    ))];
    if let Some(plan) = &plan {
        let dag = Dag::new(&plan.steps).map_err(|error| Error::invalid(error.to_string()))?;
        let seen = seen(&dag, &steps, &tracked, record.state);
        blocks.push(Block::Section(Section::new(
            "graph",
            "Steps",
            vec![Block::Figure(Box::new(graph(&ask, &seen)))],
        )));
        blocks.push(Block::Section(Section::new(
            "steps",
            "",
            vec![Block::Table(table(&ask, &seen, &tracked))],
        )));
    } else {
        let empty = Empty::new(
            "The plan of this run is not in the store any more",
            "It was removed by `tidemill gc`.",
        );
        blocks.push(Block::Section(Section::new("graph", "Steps", vec![Block::Empty(empty)])));
    }
    blocks.push(Block::Section(Section::new(
        "output",
        "",
        vec![output(&ask, &record, &steps, &tracked).await?],
    )));
    if let Some(evidence) = evidence::tests(&ask.app, Some(record.id)).await? {
        let table = Block::Table(evidence::table(&evidence));
        blocks.push(Block::Section(Section::new("tests", "Tests of the model", vec![table])));
    }
    Ok(Page {
        title: format!("Run {}", record.id.short()),
        area: Area::Pipelines,
        crumbs: vec![Crumb::new("/pipelines", "Pipelines")],
        badges: vec![pipeline_badge(record.state)],
        blocks,
        live: vec![
            "step.finished",
            "run.finished",
            "tracking.run.created",
            "tracking.run.moved",
            "model.tested",
        ],
        growing: running,
        ..Page::default()
    })
}

fn about(ask: &Ask, record: &RunRecord, plan: Option<&Plan>) -> Facts {
    let id = record.id.to_string();
    let params = plan.map(|plan| plan.params.to_string()).filter(|text| text != "{}" && text != "null");
    let selection = plan.map(|plan| plan.selection.join(", ")).filter(|text| !text.is_empty());
    Facts::new("run")
        .with("Began", Cell::Time(record.started_at, None))
        .with("Took", took(Some(record.started_at), record.ended_at, ask.now))
        .with("Project", Cell::text(record.project.clone()))
        .maybe("Commit", record.commit.clone().map(Cell::Code))
        .maybe("Parameters", params.map(Cell::Pre))
        .maybe("Asked for", selection.map(Cell::text))
        .with(
            "Parameters and metrics",
            Cell::link(href(&["runs", &id], &[]), "the run as an experiment's run"),
        )
        .maybe("Lock file", record.lock.map(|lock| Cell::Code(lock.to_string())))
        .maybe("By Tidemill", plan.map(|plan| Cell::text(plan.tidemill.clone())))
        .with("Events", Cell::link(href(&["log"], &[("subject", &format!("run:{id}"))]), "in the log"))
        .with("Identifier", Cell::Pre(id))
}

/// The tracked runs of the steps, by step; the newest where there are several.
async fn tracked(ask: &Ask, record: &RunRecord) -> Result<HashMap<String, Run>, Error> {
    let Some(parent) = ask.app.registry().db().tracked_run_info(record.id).await? else {
        return Ok(HashMap::new());
    };
    let question = Question {
        experiments: vec![parent.experiment.to_string()],
        filter: format!("tags.`tidemill.run` = '{}'", record.id),
        order_by: vec!["attributes.start_time ASC".into()],
        view: View::Active,
        max_results: 500,
        page_token: String::new(),
    };
    let found = ask.app.registry().search_runs(&question).await?;
    let named = found.items.into_iter().filter_map(|run| {
        let step = find(&run.tags, "tidemill.step")?.to_owned();
        Some((step, run))
    });
    Ok(named.collect())
}

fn seen<'a>(
    dag: &'a Dag,
    steps: &'a BTreeMap<String, StepRun>,
    tracked: &HashMap<String, Run>,
    state: RunState,
) -> Vec<Seen<'a>> {
    let mut stopped: BTreeSet<usize> = BTreeSet::new();
    let mut seen = Vec::with_capacity(dag.nodes().len());
    for (at, node) in dag.nodes().iter().enumerate() {
        let name = &node.step.name;
        let done = steps.get(name);
        let below_stopped = node.upstream.iter().any(|up| stopped.contains(up));
        let at_work = tracked.get(name).is_some_and(|run| run.info.status == RunStatus::Running);
        let badge = match done {
            Some(done) => step_badge(done.state),
            None if state == RunState::Running && at_work => Badge::new(Tone::Busy, "at work"),
            None if below_stopped => step_badge(StepState::Skipped),
            None if state == RunState::Running => Badge::new(Tone::Plain, "waiting, or unchanged"),
            None if state == RunState::Succeeded => step_badge(StepState::Unchanged),
            None => Badge::new(Tone::Plain, "unchanged, or not reached"),
        };
        if matches!(badge.tone, Tone::Bad | Tone::Warn) {
            stopped.insert(at);
        }
        seen.push(Seen { step: &node.step, needs: node.upstream.clone(), done, badge });
    }
    seen
}

fn kind(step: &Step) -> String {
    match &step.action {
        Action::Run { .. } => "command".to_owned(),
        Action::Sql { source, .. } => format!("SQL, {source}"),
        Action::Train(training) => {
            let word = choice(&training.algorithm);
            format!("training, {}", word.as_deref().unwrap_or("training"))
        }
    }
}

fn graph(ask: &Ask, seen: &[Seen<'_>]) -> Figure {
    let nodes = seen.iter().map(|seen| GraphNode {
        name: seen.step.name.clone(),
        detail: kind(seen.step),
        tone: seen.badge.tone,
        state: seen.badge.text.clone(),
        href: ask.with(&[("step", &seen.step.name)]) + "#output",
        needs: seen.needs.clone(),
    });
    let graph = Graph { title: "Steps of the pipeline".into(), nodes: nodes.collect() };
    Figure {
        id: "dag".into(),
        title: "What reads what".into(),
        picture: graph.draw(),
        // The steps stand in the table below it, with what each needs.
        numbers: Some("#steps".into()),
        wide: true,
        ..Figure::default()
    }
}

/// Why a step ran, or did not.
fn why(one: &Seen<'_>, seen: &[Seen<'_>]) -> String {
    if let Some(reason) = one.done.and_then(|done| done.reason.clone()) {
        return reason;
    }
    let needed = |tones: &[Tone]| -> Vec<&str> {
        let needs = one.needs.iter().filter_map(|at| seen.get(*at));
        needs.filter(|need| tones.contains(&need.badge.tone)).map(|need| need.step.name.as_str()).collect()
    };
    let (stopped, busy) = (needed(&[Tone::Bad, Tone::Warn]), needed(&[Tone::Busy, Tone::Plain]));
    match one.badge.tone {
        Tone::Calm => "what it reads, its parameters and its command are as they were".to_owned(),
        Tone::Warn | Tone::Plain if !stopped.is_empty() => format!("{} did not succeed", stopped.join(", ")),
        Tone::Plain if !busy.is_empty() && one.badge.text.starts_with("waiting") => {
            format!("waits for {}", busy.join(", "))
        }
        _ => String::new(),
    }
}

fn table(ask: &Ask, seen: &[Seen<'_>], tracked: &HashMap<String, Run>) -> Table {
    let rows = seen.iter().map(|one| {
        let name = &one.step.name;
        let started = one.done.map(|done| done.started_at);
        let needs = one.needs.iter().filter_map(|at| seen.get(*at)).map(|need| need.step.name.as_str());
        vec![
            Cell::link(ask.with(&[("step", name)]) + "#output", name.clone()),
            Cell::Badge(one.badge.clone()),
            Cell::text(why(one, seen)),
            Cell::text(kind(one.step)),
            Cell::text(needs.collect::<Vec<_>>().join(", ")),
            one.done.map_or(Cell::None, |done| took(started, Some(done.ended_at), ask.now)),
            one.done.and_then(|done| done.exit_code).map_or(Cell::None, |code| Cell::Text(code.to_string())),
            Cell::text(one.step.outs.iter().map(|out| out.path.as_str()).collect::<Vec<_>>().join(", ")),
            tracked
                .get(name)
                .map_or(Cell::None, |run| Cell::Link(Link::new(run_link(&run.info).href, "metrics"))),
            one.done.map_or(Cell::None, |done| Cell::Code(done.key.to_string())),
        ]
    });
    let columns = [
        "step",
        "state",
        "why",
        "what it does",
        "needs",
        "took",
        "exit code",
        "writes",
        "results",
        "cache key",
    ];
    Table::new("steps", "Steps", &columns).with(rows)
}

/// What a step printed: the one that was asked for, or the one of most interest.
async fn output(
    ask: &Ask,
    record: &RunRecord,
    steps: &BTreeMap<String, StepRun>,
    tracked: &HashMap<String, Run>,
) -> Result<Block, Error> {
    let at_work = || {
        let running = tracked.iter().filter(|(_, run)| run.info.status == RunStatus::Running);
        running.map(|(name, _)| name.clone()).min().filter(|_| record.state == RunState::Running)
    };
    let with_log = |state: Option<StepState>| {
        let logged =
            steps.values().filter(|step| step.log.is_some() && state.is_none_or(|state| step.state == state));
        logged.max_by_key(|step| step.ended_at).map(|step| step.step.clone())
    };
    let wanted = ask.get("step").map(str::to_owned).or_else(at_work);
    let wanted = wanted.or_else(|| with_log(Some(StepState::Failed))).or_else(|| with_log(None));
    let Some(name) = wanted else {
        let empty = Empty::new(
            "No step printed anything",
            "Commands that run do; what is restored or unchanged does not run.",
        );
        return Ok(Block::Empty(empty));
    };
    log(ask, record, steps, &name).await
}

/// What a step printed.
async fn log(
    ask: &Ask,
    record: &RunRecord,
    steps: &BTreeMap<String, StepRun>,
    name: &str,
) -> Result<Block, Error> {
    let done = steps.get(name);
    let end = step_log::end(&ask.app, record.id, name, done.and_then(|done| done.log)).await?;
    let mut log = LogText::tail("log", format!("step {name}"), &end.text, LINES).after(end.before);
    log.growing = done.is_none() && record.state == RunState::Running;
    if !log.lines.is_empty() {
        let id = record.id.to_string();
        log.whole = href(&["api", "v1", "pipeline-runs", &id, "steps", name, "log"], &[]);
    }
    Ok(Block::Log(log))
}

/// What a step of a run of the pipeline printed; nothing where that run is not known.
pub(super) async fn printed(ask: &Ask, run: &str, step: &str) -> Result<Option<Block>, Error> {
    let Ok(id) = run.parse::<RunId>() else { return Ok(None) };
    let db = ask.app.registry().db();
    let Ok(record) = db.run(&id.to_string()).await else { return Ok(None) };
    let steps = last_of_each(db.step_runs(record.id).await?);
    log(ask, &record, &steps, step).await.map(Some)
}
