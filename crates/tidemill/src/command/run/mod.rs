//! `tidemill run`: brings steps up to date, tests the model, and says what came of it.

mod display;
mod register;
mod summary;
mod sweep;
mod tested;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tidemill_core::{Clock as _, EventKind, RunId, RunState, SystemClock, canonical_json};
use tidemill_db::tracking::{Experiment, KeyValue, Stage};
use tidemill_pipeline::{
    Dag, Decision, Guard, Holder, LocalExecutor, Plan, Planned, RunOptions, RunReport, Selection, Services,
    Tracker, Untracked, execute,
};
use tidemill_project::Resolved;
use tidemill_registry::{Code, Registry};

use crate::app::{App, LOCK_FILE};
use crate::cli::Run;
use crate::command::status::{environment, make_plan, print_plan, read_lock};
use crate::data_check::{check, lines, record};
use crate::failure::{Exit, Failure, Said};
use crate::journal::{Parts, Recorder, RunPlan};
use crate::laid_out::{lay_out, lay_out_between_runs};
use crate::model_test::{Evidence, Outcome, check_columns};
use crate::step::Bodies;
use crate::tracking::{self, Server, Tracking};

pub(crate) use display::Display;
pub(crate) use register::Registered;
pub(crate) use summary::{failures, flatten, metric_values, print as print_summary, value as summary_value};
use tested::test_model;

/// Memory of one `sql` step before it spills to disk.
pub(crate) const SQL_MEMORY: usize = 2 << 30;

pub(crate) fn run(args: &Run, app: &App<'_>) -> anyhow::Result<()> {
    if args.sweep.is_empty() {
        let resolved = app.resolve(&args.params)?;
        let done = once(args, app, &resolved)?;
        return finish(args, app, &resolved, &done);
    }
    sweep::run(args, app)
}

/// What came of one run.
pub(crate) struct Done {
    /// The steps.
    pub(crate) dag: Dag,
    /// The graph's plan before anything ran.
    pub(crate) plan: Plan,
    /// The run; `None` where there was nothing to do, or for a dry run.
    pub(crate) report: Option<RunReport>,
    /// The tests of the model, where there are some and the model is there.
    pub(crate) evidence: Option<Evidence>,
    /// The version that was the champion when it was tested, where tests compare with it.
    pub(crate) champion: Option<u64>,
    /// What the registry made of the model; `None` where the project releases none, or this run was not about it.
    pub(crate) registered: Option<Registered>,
}

impl Done {
    /// Whether every step is done and no test failed.
    pub(crate) fn good(&self) -> bool {
        let steps = self.report.as_ref().is_none_or(|report| report.state == RunState::Succeeded);
        steps && self.evidence.as_ref().is_none_or(|evidence| evidence.count(Outcome::Failed) == 0)
    }
}

/// Prints what came of a run, and turns it into an exit code.
fn finish(args: &Run, app: &App<'_>, resolved: &Resolved, done: &Done) -> anyhow::Result<()> {
    if args.dry_run {
        if app.console.json() {
            return app.console.value(&json!({"dry_run": true, "steps": done.plan.steps}));
        }
        print_plan(app.console, &done.plan);
        return Ok(());
    }
    summary::print(app, resolved, done)?;
    match &done.report {
        Some(report) if report.state == RunState::Cancelled => Err(Failure::cancelled().into()),
        _ if done.good() => Ok(()),
        _ => match &done.registered {
            Some(Registered::Refused { model, why }) if !app.console.json() => {
                Err(Failure::new(format!("{why}, so `{model}` gets no new version"))
                    .hint("correct the data, the training or the limits; `--no-register` only tests")
                    .into())
            }
            _ => Err(Said(Exit::Failed).into()),
        },
    }
}

/// Plans, checks the data that steps will read, runs, and tests the model.
pub(crate) fn once(args: &Run, app: &App<'_>, resolved: &Resolved) -> anyhow::Result<Done> {
    let dag = Dag::new(&resolved.steps)?;
    let selection = Selection { steps: args.steps.clone(), downstream: args.downstream };
    if args.dry_run {
        lay_out_between_runs(app, &dag, &selection)?;
        let plan = make_plan(app, &dag, &selection, args.force)?;
        return Ok(Done { dag, plan, report: None, evidence: None, champion: None, registered: None });
    }
    let released = register::step(args, app, &resolved.steps)?;
    let run = RunId::from_entropy(entropy()?);
    let wait = if args.wait { Duration::MAX } else { Duration::ZERO };
    // The folder of the lock is made by whatever opens first.
    app.store()?;
    let _guard = Guard::acquire(
        &app.root,
        &Holder::this_process(run, SystemClock.now()),
        wait,
        &|holder| app.console.note(format!("waiting for the run of process {} to end", holder.pid)),
        &app.cancel,
    )?;
    // What a run stores is in no lock file and no record before it ends: no collection may come between.
    let _held = app.store()?.hold()?;
    let _pinned = app.store()?.pin()?;
    lay_out(app, &dag, &selection)?;
    let plan = make_plan(app, &dag, &selection, args.force)?;
    if !args.no_tests {
        check_columns(app, resolved, &plan)?;
    }
    let report = if plan.is_up_to_date() && !args.force && is_locked(app, &plan)? {
        None
    } else {
        close_crashed_runs(app)?;
        if !args.no_tests {
            check_data(app, resolved, &plan)?;
        }
        Some(start(args, app, resolved, &dag, selection, run)?)
    };
    let good = report.as_ref().is_none_or(|report| report.state == RunState::Succeeded);
    let tested = if good && !args.no_tests { test_model(app, resolved, report.as_ref())? } else { None };
    let (evidence, champion) = tested.unzip();
    let mut done = Done { dag, plan, report, evidence, champion: champion.flatten(), registered: None };
    if let Some((model, step)) = released.filter(|_| good) {
        done.registered = register::register(args, app, model, step, &done)?;
    }
    Ok(done)
}

/// Whether the lock file says what the plan says of steps that are up to date. A run that was killed before it wrote the
/// file leaves an older one.
fn is_locked(app: &App<'_>, plan: &Plan) -> anyhow::Result<bool> {
    let lock = read_lock(app)?;
    let same = |planned: &Planned| {
        let locked = lock.steps.get(&planned.step);
        locked.is_some_and(|locked| Some(locked.key().digest()) == planned.key && locked.outs == planned.outs)
    };
    Ok(app.root.join(LOCK_FILE).is_file() && plan.steps.iter().all(same))
}

/// Evaluates the expectations of every dataset that a step which may run reads.
fn check_data(app: &App<'_>, resolved: &Resolved, plan: &Plan) -> anyhow::Result<()> {
    let mut broken = Vec::new();
    for (name, dataset) in &resolved.datasets {
        let read = resolved.steps.iter().any(|step| {
            let runs = plan
                .get(&step.name)
                .is_some_and(|planned| matches!(planned.decision, Decision::Run | Decision::MayRun));
            runs && step.inputs.iter().any(|input| input.paths == dataset.paths)
        });
        if !read {
            continue;
        }
        let Some(checked) = check(app, name, dataset, resolved)? else { continue };
        let failed = checked.failed();
        if failed > 0 || checked.warned() > 0 {
            for line in lines(app.console, &checked, false) {
                app.console.problem(&line);
            }
        }
        record(app, std::slice::from_ref(&checked))?;
        if failed > 0 {
            broken.push(name.clone());
        }
    }
    if broken.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("the data of {} broke expectations, so nothing was run", quoted(&broken)))
        .hint("`tidemill check` shows them all; correct the data or the expectation, or use `severity: warn`")
        .into())
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// A run whose process died is recorded as such, so that the log has an end for every beginning.
fn close_crashed_runs(app: &App<'_>) -> anyhow::Result<()> {
    let db = app.db()?;
    for run in app.block(db.running_runs())? {
        if run.owner.is_alive() != Some(false) || run.project != app.project.project.as_str() {
            continue;
        }
        let now = app.clock.now();
        let event =
            app.event(EventKind::RunFinished { run: run.id, state: RunState::Interrupted, lock: None });
        app.block(async {
            let mut tx = db.begin().await?;
            tx.mark_interrupted(run.id, now).await?;
            tx.commit(vec![event]).await
        })?;
        app.console.note(format!(
            "run {} ended without saying so; what it finished is kept and used",
            run.id.short()
        ));
    }
    Ok(())
}

fn start(
    args: &Run,
    app: &App<'_>,
    resolved: &Resolved,
    dag: &Dag,
    selection: Selection,
    run: RunId,
) -> anyhow::Result<RunReport> {
    let store = app.store()?;
    let intent = RunPlan {
        format: RunPlan::FORMAT,
        tidemill: env!("CARGO_PKG_VERSION").to_owned(),
        project_file: app.project.source.text().to_string(),
        params: resolved.params.clone(),
        steps: resolved.steps.clone(),
        selection: selection.steps.clone(),
    };
    let plan = store.put(&canonical_json(&intent)?)?;
    let recorder = Recorder::new(Parts {
        db: app.db()?.clone(),
        store: store.clone(),
        runtime: app.runtime().handle().clone(),
        project: app.project.project.to_string(),
        root: app.root.clone(),
        actor: app.actor.clone(),
        cause: app.cause,
        plan,
    });
    let display = Display::new(app.console, &resolved.steps);
    let mut options = RunOptions::new(run, environment());
    options.commit = app.head_commit();
    options.selection = selection;
    options.force = args.force;
    options.jobs = jobs(args.jobs);
    options.keep_going = args.keep_going;
    options.cancel = app.cancel.clone();
    let tracking = tracked(app, resolved, run, options.commit.clone())?;
    let services = Services {
        contents: app.contents()?,
        journal: &recorder,
        builtin: &Bodies::new(app.runtime().handle().clone(), SQL_MEMORY),
        executor: &LocalExecutor::new(&app.root.join(".tidemill")),
        tracker: tracking.as_ref().map_or(&Untracked as &dyn Tracker, |tracking| tracking),
        observer: &display,
        clock: app.clock.as_ref(),
    };
    let report = execute(&app.root, dag, &services, &options);
    drop(display);
    if let Some(tracking) = &tracking {
        let state = report.as_ref().map_or(RunState::Failed, |report| report.state);
        if let Err(error) = tracking.end(state) {
            app.console.warn(format!("not everything of this run was tracked: {error}"));
        }
    }
    let report = report?;
    app.stat()?.save()?;
    Ok(report)
}

/// The experiment of the project's name, which is made if it is not there; `None` where it is deleted.
fn experiment(app: &App<'_>, registry: &Registry) -> anyhow::Result<Option<Experiment>> {
    let name = app.project.project.as_str();
    let found = app.block(async {
        match registry.experiment_by_name(name).await {
            Err(error) if error.code == Code::ResourceDoesNotExist => {
                let id = registry.create_experiment(&app.actor, name, None, Vec::new()).await?;
                registry.experiment(&id.to_string()).await
            }
            found => found,
        }
    })?;
    Ok(Some(found).filter(|experiment| experiment.stage == Stage::Active))
}

/// Tracking in the experiment of the project.
fn tracked(
    app: &App<'_>,
    resolved: &Resolved,
    run: RunId,
    commit: Option<String>,
) -> anyhow::Result<Option<Tracking>> {
    let (db, store) = (app.db()?.clone(), app.store()?.clone());
    let registry = Registry::new(db.clone(), store.clone(), Arc::clone(&app.clock));
    let name = app.project.project.as_str();
    let Some(experiment) = experiment(app, &registry)? else {
        app.console.note(format!(
            "the experiment `{name}` is deleted, so this run is not tracked; restore it to go on"
        ));
        return Ok(None);
    };
    let mut tags = vec![
        KeyValue { key: "mlflow.user".to_owned(), value: app.actor.name.clone() },
        KeyValue { key: "mlflow.source.type".to_owned(), value: "PROJECT".to_owned() },
        KeyValue { key: "mlflow.source.name".to_owned(), value: name.to_owned() },
    ];
    tags.extend(commit.map(|commit| KeyValue { key: "mlflow.source.git.commit".to_owned(), value: commit }));
    let runtime = app.runtime().handle().clone();
    let server = Server::new(registry, runtime.clone(), app.inside(&format!("tmp/server-{}", run.short())));
    let parts = tracking::Parts {
        db,
        store,
        runtime,
        clock: Arc::clone(&app.clock),
        actor: app.actor.clone(),
        root: app.root.clone(),
        run,
        experiment: experiment.id,
        tags,
        server,
    };
    Ok(Some(Tracking::begin(parts, &resolved.params)))
}

/// As many steps at a time as asked for, or as there are cores.
pub(crate) fn jobs(given: Option<usize>) -> usize {
    given.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1)
}

/// Keeps runs away while it is held; nothing where one goes on.
pub(crate) fn between_runs(app: &App<'_>) -> anyhow::Result<Option<Guard>> {
    let holder = Holder::this_process(RunId::from_entropy(entropy()?), app.clock.now());
    match Guard::acquire(&app.root, &holder, Duration::ZERO, &|_| {}, &app.cancel) {
        Ok(guard) => Ok(Some(guard)),
        Err(tidemill_pipeline::Error::Busy { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn entropy() -> anyhow::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Failure::new(format!("no random numbers: {error}")))?;
    Ok(bytes)
}
