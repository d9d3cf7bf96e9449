//! `tidemill status`: which steps are out of date and why, and how far outcomes are read.

use std::collections::BTreeMap;
use std::ffi::OsString;

use serde_json::json;
use tidemill_core::Digest;
use tidemill_db::Db;
use tidemill_pipeline::{
    CachedStep, Dag, Decision, Error, Journal, Lock, Plan, RunFinished, RunStarted, Selection, StepFinished,
    Workspace, plan,
};
use tidemill_project::Resolved;
use tidemill_store::Store;
use tokio::runtime::Handle;

use crate::app::{App, LOCK_FILE};
use crate::cli::Status;
use crate::journal::lookup;
use crate::laid_out::lay_out_between_runs;
use crate::outcome_tables::{Standing, declared, standing};
use crate::output::{CAUTION, Console, FAINT, GOOD};
use crate::step::Bodies;

pub(crate) fn run(args: &Status, app: &App<'_>) -> anyhow::Result<()> {
    let resolved = app.resolve(&args.params)?;
    let (_, plan) = planned(app, &resolved)?;
    let console = app.console;
    let outcomes = app.block(standing(app.db()?, &declared(&app.project)))?;
    if console.json() {
        let mut said = json!({"up_to_date": plan.is_up_to_date(), "steps": plan.steps});
        if !outcomes.is_empty() {
            said["outcomes"] = outcomes.iter().map(Standing::json).collect();
        }
        return console.value(&said);
    }
    print_plan(console, &plan);
    outcomes.iter().for_each(|standing| console.line(standing.line()));
    Ok(())
}

/// The graph and the plan of everything.
pub(crate) fn planned(app: &App<'_>, resolved: &Resolved) -> anyhow::Result<(Dag, Plan)> {
    let dag = Dag::new(&resolved.steps)?;
    lay_out_between_runs(app, &dag, &Selection::default())?;
    let plan = make_plan(app, &dag, &Selection::default(), false)?;
    Ok((dag, plan))
}

/// Plans a selection; nothing is changed but the digests of unchanged files, which are remembered.
pub(crate) fn make_plan(
    app: &App<'_>,
    dag: &Dag,
    selection: &Selection,
    force: bool,
) -> anyhow::Result<Plan> {
    let (db, store) = (app.db()?.clone(), app.store()?.clone());
    let reader = Reader { db, store, runtime: app.runtime().handle().clone() };
    let bodies = Bodies::new(app.runtime().handle().clone(), crate::command::run::SQL_MEMORY);
    let lock = read_lock(app)?;
    let env = environment();
    let view = Workspace {
        root: &app.root,
        contents: app.contents()?,
        journal: &reader,
        builtin: &bodies,
        env: &env,
        lock: &lock,
        cancel: &app.cancel,
    };
    let plan = plan(dag, &view, selection, force)?;
    app.stat()?.save()?;
    Ok(plan)
}

/// The lock file; an empty one where there is none.
pub(crate) fn read_lock(app: &App<'_>) -> anyhow::Result<Lock> {
    match fs_err::read(app.root.join(LOCK_FILE)) {
        Ok(text) => Ok(Lock::parse(LOCK_FILE, &text)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Lock::default()),
        Err(error) => Err(error.into()),
    }
}

/// Tidemill's own environment.
pub(crate) fn environment() -> BTreeMap<String, OsString> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect()
}

/// Steps with what happens to them and why.
pub(crate) fn print_plan(console: &Console, plan: &Plan) {
    if plan.steps.is_empty() {
        console.line("the project has no steps");
        return;
    }
    let width = plan.steps.iter().map(|planned| planned.step.chars().count()).max().unwrap_or(0);
    for planned in &plan.steps {
        let (style, word) = match planned.decision {
            Decision::Unchanged => (FAINT, "unchanged"),
            Decision::Restore => (GOOD, "restore"),
            Decision::Run => (CAUTION, "run"),
            Decision::MayRun => (CAUTION, "may run"),
        };
        let reasons: Vec<String> = planned.reasons.iter().map(ToString::to_string).collect();
        let why = if planned.decision == Decision::Unchanged { String::new() } else { reasons.join("; ") };
        let line = format!("{:width$}  {}  {why}", planned.step, console.out(style, format!("{word:9}")));
        console.line(line.trim_end());
    }
}

/// Reads what earlier runs recorded; records nothing.
struct Reader {
    db: Db,
    store: Store,
    runtime: Handle,
}

impl Journal for Reader {
    fn lookup(&self, keys: &[Digest]) -> Result<Vec<Option<CachedStep>>, Error> {
        lookup(&self.db, &self.store, &self.runtime, keys)
    }

    fn run_started(&self, _: &RunStarted) -> Result<(), Error> {
        Ok(())
    }

    fn step_finished(&self, _: &StepFinished) -> Result<(), Error> {
        Ok(())
    }

    fn flush(&self) -> Result<(), Error> {
        Ok(())
    }

    fn run_finished(&self, _: &RunFinished) -> Result<(), Error> {
        Ok(())
    }
}
