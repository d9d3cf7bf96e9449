//! `tidemill reproduce`: repeats a recorded run from its recorded inputs and compares every output byte by byte.

use std::path::{Path, PathBuf};

use serde_json::json;
use tidemill_core::declare::Step;
use tidemill_core::{EventKind, RunId, RunState};
use tidemill_pipeline::{
    Dag, Difference, LocalExecutor, MemoryJournal, RunOptions, Selection, Services, Untracked, compare,
    execute, materialise, tool_folders,
};

use crate::app::App;
use crate::cli::Reproduce;
use crate::command::diff::{find_run, recorded_lock};
use crate::command::run::{SQL_MEMORY, entropy, jobs};
use crate::command::status::environment;
use crate::failure::{Exit, Failure, Said};
use crate::journal::RunPlan;
use crate::output::{BAD, GOOD, duration, plural};
use crate::step::Bodies;

pub(crate) fn run(args: &Reproduce, app: &App<'_>) -> anyhow::Result<()> {
    let record = find_run(&args.run, app)?;
    let short = record.id.short();
    let recorded = recorded_lock(&record, app)?;
    let store = app.store()?;
    let plan = store.get(&record.plan).map_err(|error| {
        anyhow::Error::from(error).context(format!("the plan of run {short} is not in the store"))
    })?;
    let plan: RunPlan = serde_json::from_slice(&plan)
        .ok()
        .filter(|plan: &RunPlan| plan.format == RunPlan::FORMAT)
        .ok_or_else(|| {
            Failure::new(format!("the plan of run {short} was written by another version of Tidemill"))
                .hint("use that version, or run the pipeline again and reproduce the new run")
        })?;
    // A run of some steps leaves what the lock file says of the others as it was: they belong to earlier runs.
    let steps: Vec<_> =
        plan.steps.into_iter().filter(|step| recorded.steps.contains_key(&step.name)).collect();
    let dag = Dag::new(&steps)?;
    let folder = Clean::new(app, &short, args.keep)?;
    let contents = app.contents()?;
    app.console.note(format!("repeating run {short} in {}", folder.path.display()));
    let _held = store.hold()?;
    let _pinned = store.pin()?;
    materialise(&recorded, contents, &folder.path, &app.cancel)?;
    link_tools(&app.root, &folder.path, &steps)?;

    let display = super::run::Display::new(app.console, &steps);
    let mut options = RunOptions::new(RunId::from_entropy(entropy()?), environment());
    options.commit.clone_from(&record.commit);
    options.selection = Selection::default();
    options.force = true;
    options.jobs = jobs(args.jobs);
    options.cancel = app.cancel.clone();
    let journal = MemoryJournal::new();
    let services = Services {
        contents,
        journal: &journal,
        builtin: &Bodies::new(app.runtime().handle().clone(), SQL_MEMORY),
        executor: &LocalExecutor::new(&app.root.join(".tidemill")),
        tracker: &Untracked,
        observer: &display,
        clock: app.clock.as_ref(),
    };
    let report = execute(&folder.path, &dag, &services, &options)?;
    drop(display);
    if report.state == RunState::Cancelled {
        return Err(Failure::cancelled().into());
    }
    if report.state != RunState::Succeeded {
        super::run::failures(app.console, &report);
        return Err(Failure::new(format!("run {short} could not be repeated: a step failed")).into());
    }
    let differences = compare(&recorded, &report.lock, &dag, Some(contents))?;
    let identical = differences.is_empty();
    let event = app.event(EventKind::RunReproduced { run: record.id, identical });
    app.record(vec![event])?;
    let outputs: usize = recorded.steps.values().map(|step| step.outs.len()).sum();
    let console = app.console;
    if console.json() {
        console.value(&json!({
            "run": record.id, "identical": identical, "steps": steps.len(), "outputs": outputs,
            "duration_ms": report.duration_ms, "differences": differences,
        }))?;
    } else if identical {
        console.line(format!(
            "{} {} of {}, byte by byte, in {}",
            console.out(GOOD, "identical:"),
            plural(outputs as u64, "output"),
            plural(steps.len() as u64, "step"),
            duration(std::time::Duration::from_millis(report.duration_ms))
        ));
    } else {
        for line in lines(&differences) {
            console.line(line);
        }
        console.line(console.out(BAD, format!("different: {}", plural(differences.len() as u64, "file"))));
        console.hint("a step whose output depends on the time, on random numbers without a seed, or on the machine is never identical");
    }
    if identical { Ok(()) } else { Err(Said(Exit::Failed).into()) }
}

/// Links the tools of the project, such as a Python environment, into the clean folder: they are no inputs, and every
/// step may read them. Not where a step writes, and not the repository.
fn link_tools(root: &Path, clean: &Path, steps: &[Step]) -> anyhow::Result<()> {
    for name in tool_folders(root) {
        let below = format!("{name}/");
        let written = steps
            .iter()
            .flat_map(|step| &step.outs)
            .any(|out| out.path == name || out.path.starts_with(&below));
        let to = clean.join(&name);
        if name != ".git" && !written && fs_err::symlink_metadata(&to).is_err() {
            fs_err::os::unix::fs::symlink(root.join(&name), to)?;
        }
    }
    Ok(())
}

/// The differences for people; the first one is where it began.
fn lines(differences: &[Difference]) -> Vec<String> {
    const SHOWN: usize = 20;
    let mut lines: Vec<String> = differences
        .iter()
        .take(SHOWN)
        .enumerate()
        .map(|(i, difference)| {
            let lead = if i == 0 { "first difference: " } else { "also: " };
            let what = match (difference.recorded, difference.repeated, difference.offset) {
                (Some(_), Some(_), Some(offset)) => format!("differs from byte {offset}"),
                (Some(_), None, _) => "is missing in the repetition".to_owned(),
                (None, Some(_), _) => "is new in the repetition".to_owned(),
                _ => "differs".to_owned(),
            };
            format!("{lead}step `{}`, file `{}` {what}", difference.step, difference.file)
        })
        .collect();
    if differences.len() > SHOWN {
        lines.push(format!("and {} more", differences.len() - SHOWN));
    }
    lines
}

/// A clean folder that goes away afterwards unless it is to be kept.
struct Clean {
    path: PathBuf,
    keep: bool,
}

impl Clean {
    fn new(app: &App<'_>, run: &str, keep: bool) -> anyhow::Result<Self> {
        let path = app.inside("tmp").join(format!("reproduce-{run}-{}", std::process::id()));
        fs_err::create_dir_all(&path)?;
        Ok(Self { path, keep })
    }
}

impl Drop for Clean {
    fn drop(&mut self) {
        if !self.keep {
            // What cannot be removed lies under .tidemill/tmp and is no part of the project.
            let _ = fs_err::remove_dir_all(&self.path);
        }
    }
}
