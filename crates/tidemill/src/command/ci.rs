//! `tidemill ci`: a commit as code, data and model, in a checkout of its own: checked, run, tested, registered, and released through the
//! gates of the environment, as its own project file says. A trigger's action `ci` is this command.

mod checkout;
mod status;

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};
use tidemill_core::{EventKind, JobState, NewEvent, RunState, StepState};
use tidemill_data::expect::Checked;
use tidemill_db::{EventFilter, Order};
use tidemill_deliver::rollout::Concurrency;
use tidemill_project::Resolved;
use tidemill_trigger::hook::is_commit;

use self::checkout::{Checkout, Repository, short};
use self::status::{Part, Status};
use super::release;
use super::run::{Done, Registered, once, print_summary, summary_value};
use super::up::job_release;
use crate::app::{App, Committed, PROJECT_FILE, reason};
use crate::cli::{Ci, Run};
use crate::data_check::{check, lines, record};
use crate::failure::{Exit, Failure, Said, causes, exit_of, hint_of};
use crate::model_test::Outcome;
use crate::output::plural;

/// Commits that were released which are looked through for one that this one is built on.
const RELEASED: usize = 50;

pub(crate) fn run(args: &Ci, app: &App<'_>) -> anyhow::Result<()> {
    let repository = Repository::of(app)?;
    // Database, store and lock are those of the project.
    app.store()?;
    let revision = args.commit.as_deref().or(args.revision.as_deref()).unwrap_or("HEAD");
    let found = repository
        .find(revision, &args.remote)
        .and_then(|commit| Ok((repository.check_out(app, &commit, &args.remote)?, commit)));
    let (checkout, commit) = match found {
        Ok(found) => found,
        Err(error) => {
            if is_commit(revision) {
                let of = Committed { commit: revision.to_ascii_lowercase(), authors: Vec::new() };
                let mut status = Status::begin(app, &of, args.to.clone());
                let seq = record_one(app, app.cause, status.started())?;
                fail(&mut status, app, &error);
                record_one(app, Some(seq), status.finished())?;
                status.write(app);
            }
            return Err(error);
        }
    };
    let tested = take(args, app, &repository, &checkout, &commit);
    if args.keep {
        app.console.note(format!("the checkout is in {}", checkout.keep()?.display()));
    } else {
        checkout.remove();
    }
    tested
}

/// Tests and releases what is checked out, and records how that went, however it went.
fn take(
    args: &Ci,
    app: &App<'_>,
    repository: &Repository<'_>,
    checkout: &Checkout,
    commit: &str,
) -> anyhow::Result<()> {
    let committed = repository.committed(checkout, commit, &released(app)?);
    let mut status = Status::begin(app, &committed, args.to.clone());
    let seq = record_one(app, app.cause, status.started())?;
    status.write(app);
    let mut work =
        Work { args, app, status, started: seq, said: vec![("commit", json!(commit))], is_printed: false };
    let ended = work.perform(&checkout.root, &committed);
    let Work { mut status, mut said, is_printed, .. } = work;
    match &ended {
        Ok(()) => status.state = JobState::Succeeded,
        Err(error) => fail(&mut status, app, error),
    }
    let recorded = record_one(app, Some(seq), status.finished());
    status.write(app);
    if app.console.json() {
        said.push(("status", json!(status)));
        let document: serde_json::Map<String, Value> =
            said.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        app.console.value(&document)?;
    } else if ended.is_ok() {
        app.console.line("");
        app.console.line(status.words());
        status.next.iter().for_each(|next| app.console.note(next));
    }
    recorded?;
    ended.map_err(|error| if app.console.json() || is_printed { Said(exit_of(&error)).into() } else { error })
}

/// Notes why it went no further.
fn fail(status: &mut Status, app: &App<'_>, error: &anyhow::Error) {
    let is_stopped = app.cancel.is_cancelled() || exit_of(error) == Exit::Cancelled;
    status.state = if is_stopped { JobState::Cancelled } else { JobState::Failed };
    if is_stopped {
        "it was stopped".clone_into(&mut status.what);
        status.next = Some(format!("`tidemill ci --commit {}` begins again", short(&status.commit)));
        return;
    }
    status.what = match error.downcast_ref::<tidemill_project::Report>() {
        Some(report) => format!("`{PROJECT_FILE}` is not right: {}", report.render(false)),
        None => [vec![error.to_string()], causes(error)].concat().join(": "),
    };
    let next = match status.part {
        Part::Checkout => "push the commit, or name the remote that has it with `--remote`",
        Part::Check => "correct the file or the data and commit again; `tidemill check` shows what is wrong",
        Part::Pipeline => "correct the step and commit again; its log is in `.tidemill/runs`",
        Part::Tests => "correct the data, the training or the limits and commit again",
        Part::Register => "`tidemill run` in the project folder may say more",
        Part::Release => "`tidemill rollout status` shows what is on its way",
    };
    status.next = hint_of(error).or_else(|| Some(next.to_owned()));
}

/// Appends an event that is a consequence of another one; gives its number.
fn record_one(app: &App<'_>, cause: Option<u64>, kind: EventKind) -> anyhow::Result<u64> {
    let numbers = app.record(vec![NewEvent { cause, ..app.event(kind) }])?;
    numbers.first().copied().ok_or_else(|| Failure::new("the log gave an event no number").into())
}

/// Commits that were released, the newest first.
fn released(app: &App<'_>) -> anyhow::Result<Vec<String>> {
    let filter = EventFilter {
        kind: Some("ci.finished".to_owned()),
        limit: Some(RELEASED * 10),
        order: Order::NewestFirst,
        ..EventFilter::default()
    };
    let project = app.project.project.as_str();
    let events = app.block(app.db()?.events(&filter))?;
    let commits = events.into_iter().filter_map(|event| match event.kind {
        EventKind::CiFinished { project: of, commit, rollout: Some(_), .. } if of == project => Some(commit),
        _ => None,
    });
    Ok(commits.take(RELEASED).collect())
}

/// A commit that is being worked on.
struct Work<'a, 'b> {
    args: &'a Ci,
    app: &'a App<'b>,
    status: Status,
    /// The event with which it began.
    started: u64,
    /// Parts of the document for programs.
    said: Vec<(&'static str, Value)>,
    /// Whether it has been said on the terminal what went wrong.
    is_printed: bool,
}

impl Work<'_, '_> {
    fn perform(&mut self, root: &Path, committed: &Committed) -> anyhow::Result<()> {
        let app = self.app;
        self.status.part = Part::Check;
        if !root.join(PROJECT_FILE).is_file() {
            let commit = &committed.commit;
            return Err(Failure::usage(format!("the commit {commit} has no `{PROJECT_FILE}`")).into());
        }
        std::os::unix::fs::symlink(app.inside(""), root.join(".tidemill")).map_err(|error| {
            Failure::new(format!("cannot link the project's `.tidemill`: {}", reason(&error)))
                .hint("everything in `.tidemill` can be made again; `git rm -r --cached .tidemill` takes it out of Git")
        })?;
        let mut beside = app.open_beside(root.to_owned())?;
        beside.cause = Some(self.started);
        beside.committed = Some(committed.clone());
        let environment = self.environment(&beside)?;
        self.status.environment.clone_from(&environment);
        copy_data(app, &beside)?;
        let resolved = beside.resolve(&[])?;
        self.check(&beside, &resolved)?;
        let done = self.pipeline(&beside, &resolved, environment.is_some())?;
        match environment {
            Some(environment) => self.release(&beside, &done, &environment),
            None => {
                "its tests passed".clone_into(&mut self.status.what);
                Ok(())
            }
        }
    }

    /// The environment that the commit is for; none where it is only tested.
    fn environment(&self, beside: &App<'_>) -> anyhow::Result<Option<String>> {
        if self.args.no_release {
            return Ok(None);
        }
        let Some(to) = &self.args.to else {
            let declared = beside.project.release.as_ref();
            return Ok(declared
                .and_then(|release| release.environments.keys().next())
                .map(ToString::to_string));
        };
        release::planned(beside, to)?;
        Ok(Some(to.clone()))
    }

    /// All data expectations.
    fn check(&mut self, beside: &App<'_>, resolved: &Resolved) -> anyhow::Result<()> {
        let console = self.app.console;
        let mut checked = Vec::new();
        for (name, dataset) in &resolved.datasets {
            checked.extend(check(beside, name, dataset, resolved)?);
        }
        record(beside, &checked)?;
        let failed: u64 = checked.iter().map(Checked::failed).sum();
        self.said.push(("data", json!(checked)));
        if !console.json() {
            console.line(format!("commit {}", self.status.commit));
            for line in checked.iter().flat_map(|checked| lines(console, checked, failed > 0)) {
                console.line(line);
            }
        }
        if failed == 0 {
            return Ok(());
        }
        let broken: Vec<String> = checked
            .iter()
            .filter(|checked| checked.failed() > 0)
            .map(|checked| format!("`{}`", checked.dataset))
            .collect();
        let (what, verb) = (plural(failed, "expectation"), if failed == 1 { "does" } else { "do" });
        Err(Failure::new(format!(
            "{what} on the data of {} {verb} not hold at this commit",
            broken.join(", ")
        ))
        .hint("correct the data or the expectation and commit again; `tidemill check` shows the rows")
        .into())
    }

    /// What is out of date, and the tests of the model; registers it where it is for an environment.
    fn pipeline(&mut self, beside: &App<'_>, resolved: &Resolved, registers: bool) -> anyhow::Result<Done> {
        self.status.part = Part::Pipeline;
        let args = Run { wait: true, no_register: !registers, ..Run::default() };
        let done = once(&args, beside, resolved)?;
        self.status.run = done.report.as_ref().map(|report| report.run);
        if self.app.console.json() {
            self.said.push(("pipeline", summary_value(beside, resolved, &done)?));
        } else {
            print_summary(beside, resolved, &done)?;
        }
        if let Some(report) = done.report.as_ref().filter(|report| report.state != RunState::Succeeded) {
            if report.state == RunState::Cancelled {
                return Err(Failure::cancelled().into());
            }
            let failed = report.steps.iter().find(|step| step.state == StepState::Failed);
            let failure = failed.and_then(|step| step.failure.as_ref());
            let what = failure.map_or("a step failed".to_owned(), |failure| failure.message.clone());
            // The summary has said it, with the end of the log.
            self.is_printed = failure.is_some();
            return Err(Failure::new(what)
                .hint_maybe(failure.and_then(|failure| failure.hint.clone()))
                .into());
        }
        self.status.part = Part::Tests;
        let results = done.evidence.iter().flat_map(|evidence| &evidence.results);
        let failed: Vec<String> = results
            .filter(|result| result.outcome == Outcome::Failed)
            .map(|result| format!("{}: {}", result.test, result.message))
            .collect();
        if !failed.is_empty() {
            let tests = plural(failed.len() as u64, "test");
            return Err(Failure::new(format!("{tests} of the model failed: {}", failed.join("; ")))
                .hint("correct the data, the training or the limits and commit again")
                .into());
        }
        Ok(done)
    }

    /// Releases the version that the commit's model became.
    fn release(&mut self, beside: &App<'_>, done: &Done, environment: &str) -> anyhow::Result<()> {
        self.status.part = Part::Register;
        let (model, version, is_new) = match &done.registered {
            Some(Registered::New { model, version }) => (model, *version, true),
            Some(Registered::Known { model, version }) => (model, *version, false),
            Some(Registered::Refused { model, why }) => {
                return Err(Failure::new(format!("{why}, so `{model}` gets no new version")).into());
            }
            None => {
                "its tests passed, and it makes no model that could be released"
                    .clone_into(&mut self.status.what);
                return Ok(());
            }
        };
        let name = format!("{model}@{version}");
        self.status.version = Some(name.clone());
        self.status.part = Part::Release;
        // What an earlier attempt of the same job did is not done again: its server was killed.
        let before = self.attempts()?;
        let db = self.app.db()?;
        if let Some(rollout) = self.app.block(job_release::rollout_after(db, &before))? {
            self.status.rollout = Some(rollout);
            self.status.what =
                format!("its tests passed, and rollout {rollout} was begun by an earlier attempt of the job");
            return Ok(());
        }
        let registered = self.app.block(job_release::version_after(db, model, &before))?;
        if !is_new && registered != Some(version) {
            self.status.what = format!(
                "its tests passed, and there is nothing new to release: its model is {name}, which is there already"
            );
            self.status.next =
                Some(format!("`tidemill release {name} --to {environment}` releases it all the same"));
            return Ok(());
        }
        let mut wanted = release::wanted(beside, model, version, environment, None, Concurrency::Queue)?;
        wanted.commit = Some(self.status.commit.clone());
        if self.app.cause.is_some() {
            // Nobody has looked at what a trigger releases.
            wanted.envelope.clone_from(&wanted.declared_envelope);
        }
        let placed = release::place(beside, &mut wanted)?;
        self.status.rollout = Some(placed.rollout);
        let state = if placed.is_waiting { "waits for the one before it" } else { "begins" };
        self.status.what = format!(
            "its tests passed, and rollout {} of {name} at `{}` in `{environment}` {state}",
            placed.rollout, wanted.endpoint
        );
        let see = format!("`tidemill rollout status {}` shows how it goes", placed.rollout);
        self.status.next = Some(match &placed.held {
            Some(held) => format!("it waits for people: {held}; {see}"),
            None => see,
        });
        self.said.push((
            "release",
            json!({
                "rollout": placed.rollout, "release": placed.release.to_string(), "environment": environment,
                "endpoint": wanted.endpoint, "waiting": placed.is_waiting, "held": placed.held,
            }),
        ));
        Ok(())
    }

    /// The events with which attempts of this job began with the commit, this one among them.
    fn attempts(&self) -> anyhow::Result<BTreeSet<u64>> {
        let db = self.app.db()?;
        let mut all = BTreeSet::from([self.started]);
        let cause = self.app.block(db.causes(self.app.cause, 1))?.pop();
        let Some(EventKind::JobStarted { job, .. }) = cause.map(|event| event.kind) else { return Ok(all) };
        let began = self.app.block(job_release::begins(db, job))?;
        let filter = EventFilter {
            subject: Some(format!("commit:{}", self.status.commit)),
            kind: Some("ci.started".to_owned()),
            ..EventFilter::default()
        };
        let events = self.app.block(db.events(&filter))?;
        all.extend(
            events
                .iter()
                .filter(|event| event.cause.is_some_and(|cause| began.contains(&cause)))
                .map(|event| event.seq),
        );
        Ok(all)
    }
}

/// Data that are not in Git are those of the project folder.
fn copy_data(app: &App<'_>, beside: &App<'_>) -> anyhow::Result<()> {
    let paths = beside.project.data.values().flat_map(|dataset| dataset.path.as_slice());
    for path in paths.filter(|path| !path.contains("://")) {
        let found = |root: &Path| {
            tidemill_pipeline::matching(root, path)
                .map_err(|error| Failure::new(format!("cannot look for `{path}`: {error}")))
        };
        if !found(&beside.root)?.is_empty() {
            continue;
        }
        for name in found(&app.root)? {
            copy(&app.root.join(&name), &beside.root.join(&name))?;
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    if from.is_dir() {
        fs_err::create_dir_all(to)?;
        for entry in fs_err::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    if let Some(parent) = to.parent() {
        fs_err::create_dir_all(parent)?;
    }
    fs_err::copy(from, to).map(drop)
}
