//! The loop of a run: which step is ready, what is decided about it now, how it ended.
//!
//! This thread decides; a thread per running step carries out; one thread records.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, SyncSender, channel};
use std::thread::Scope;
use std::time::Duration;

use tidemill_core::declare::{Action, Sandbox};
use tidemill_core::{Cancel, Digest, Hint, StepState, canonical_json};

use super::outside::Programs;
use super::recorder::{Entry, Recorder};
use super::step::{Outcome, Work};
use super::unfinished::Alive;
use super::{RunOptions, Services, StepReport};
use crate::executor::SandboxSupport;
use crate::pattern::within;
use crate::plan::{Progress, decide};
use crate::{
    ActionRecord, Dag, Decision, Error, Plan, Planned, Reason, RunStarted, StepFailure, StepFinished,
    Workspace,
};

/// How often a request to stop is looked for.
const TICK: Duration = Duration::from_millis(50);

/// A step that has ended, in whichever way.
pub(super) struct Done {
    pub(super) report: StepReport,
    pub(super) record: Option<ActionRecord>,
}

/// A message of a step's thread.
struct Ended {
    at: usize,
    planned: Planned,
    threads: usize,
    outcome: Result<Outcome, Error>,
}

pub(super) struct Run<'a> {
    root: &'a Path,
    dag: &'a Dag,
    services: &'a Services<'a>,
    options: &'a RunOptions,
    workspace: &'a Workspace<'a>,
    plan: BTreeMap<usize, &'a Planned>,
    /// Whether the executor enforces the sandbox.
    sandbox: bool,
    programs: Programs,
    /// Stops running steps: on request, or after a failure with `fail_fast`.
    stop: Cancel,
}

/// What the loop knows.
#[derive(Default)]
struct State {
    progress: Progress,
    waiting: BTreeMap<usize, usize>,
    ready: BTreeSet<usize>,
    running: usize,
    /// Threads that the running steps were given.
    threads: usize,
    /// Whether a step ran that should have been restored: what was planned for those after it may be wrong.
    surprised: bool,
    done: BTreeMap<usize, Done>,
    /// Nothing more is started, for this reason.
    halted: Option<String>,
    error: Option<Error>,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        root: &'a Path,
        dag: &'a Dag,
        services: &'a Services<'a>,
        options: &'a RunOptions,
        workspace: &'a Workspace<'a>,
        plan: &'a Plan,
    ) -> Self {
        let positions = plan.steps.iter().filter_map(|planned| Some((dag.position(&planned.step)?, planned)));
        let plan = positions.collect();
        Self {
            root,
            dag,
            services,
            options,
            workspace,
            plan,
            sandbox: false,
            programs: Programs::default(),
            stop: Cancel::new(),
        }
    }

    /// Carries the plan out. The steps that ended are returned also when there is an error.
    pub(super) fn go(mut self) -> (BTreeMap<usize, Done>, Result<(), Error>) {
        let idle = self.plan.values().all(|planned| planned.decision == Decision::Unchanged);
        self.prepare();
        let mut state = State::default();
        for at in self.plan.keys() {
            let needs = self.dag.nodes()[*at].upstream.len();
            if needs == 0 {
                state.ready.insert(*at);
            } else {
                state.waiting.insert(*at, needs);
            }
        }
        let recorder = Recorder::default();
        let (queue, entries) = Recorder::queue();
        std::thread::scope(|scope| {
            let (recorder, services) = (&recorder, self.services);
            if idle {
                drop(entries);
            } else {
                scope.spawn(move || recorder.work(&entries, self.root, services.contents, services.journal));
                record(&queue, Entry::Started(Box::new(self.started())));
            }
            self.work_off(scope, &mut state, &queue, recorder);
            drop(queue);
        });
        let recorded = recorder.into_result();
        (state.done, state.error.map_or(Ok(()), Err).and(recorded))
    }

    /// Finds out whether the sandbox can be used, and says so once if it cannot.
    fn prepare(&mut self) {
        let mut sandboxed = self.plan.iter().filter(|(at, _)| {
            let step = &self.dag.nodes()[**at].step;
            step.sandbox == Sandbox::On && matches!(step.action, Action::Run { .. })
        });
        // A step that is to be restored runs if that fails; it is no reason to speak of the sandbox.
        let may_run = sandboxed.clone().any(|(_, planned)| planned.decision != Decision::Unchanged);
        let runs = sandboxed.any(|(_, planned)| matches!(planned.decision, Decision::Run | Decision::MayRun));
        if self.options.sandbox && may_run {
            match self.services.executor.sandbox() {
                SandboxSupport::Available => self.sandbox = true,
                SandboxSupport::Unavailable(why) if runs => self
                    .services
                    .observer
                    .notice(&format!("undeclared reads and writes of steps are not noticed here: {why}")),
                SandboxSupport::Unavailable(_) => {}
            }
        }
    }

    fn started(&self) -> RunStarted {
        let plan: Vec<&Planned> = self.plan.values().copied().collect();
        let json = canonical_json(&plan).unwrap_or_default();
        RunStarted {
            run: self.options.run,
            at: self.services.clock.now(),
            commit: self.options.commit.clone(),
            plan: Digest::of(&json),
            steps: plan.iter().map(|planned| planned.step.clone()).collect(),
        }
    }

    fn work_off<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        state: &mut State,
        queue: &SyncSender<Entry>,
        recorder: &Recorder,
    ) {
        let (sender, receiver) = channel();
        let mut alive = Alive::default();
        loop {
            while state.halted.is_none() && state.running < self.options.jobs.max(1) {
                let Some(at) = state.ready.pop_first() else { break };
                self.start(at, scope, state, queue, &sender);
                if recorder.is_broken() {
                    state.halted = Some("the run could not be recorded".to_owned());
                }
            }
            if state.running == 0 {
                break;
            }
            alive.beat(self.root);
            match receiver.recv_timeout(TICK) {
                Ok(ended) => self.ended(ended, state, queue),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            if self.options.cancel.is_cancelled() {
                self.stop.cancel();
                state.halted.get_or_insert_with(|| "the run was stopped".to_owned());
            }
            if recorder.is_broken() {
                state.halted.get_or_insert_with(|| "the run could not be recorded".to_owned());
            }
        }
        if self.options.cancel.is_cancelled() {
            state.halted.get_or_insert_with(|| "the run was stopped".to_owned());
        }
        let why = state.halted.clone().unwrap_or_default();
        let left: Vec<usize> = self.plan.keys().filter(|at| !state.done.contains_key(at)).copied().collect();
        for at in left {
            self.skip(at, &why, state, queue);
        }
    }

    /// Decides about a ready step and starts it, unless nothing has to be done.
    fn start<'scope>(
        &'scope self,
        at: usize,
        scope: &'scope Scope<'scope, '_>,
        state: &mut State,
        queue: &SyncSender<Entry>,
        sender: &Sender<Ended>,
    ) {
        if self.options.cancel.is_cancelled() {
            state.halted = Some("the run was stopped".to_owned());
            return;
        }
        let planned = match self.decide_now(at, state) {
            Ok(planned) => planned,
            Err(error) => {
                self.undecided(at, error, state, queue);
                return;
            }
        };
        if planned.decision == Decision::Unchanged {
            let outcome = Outcome {
                state: StepState::Unchanged,
                outs: planned.outs.clone(),
                failure: None,
                attempts: 0,
                duration: Duration::ZERO,
                finished: self.services.clock.now(),
                log: None,
                reasons: Vec::new(),
            };
            self.finish(at, &planned, outcome, state, queue);
            return;
        }
        let threads = self.threads(&planned, state);
        state.running += 1;
        state.threads += threads;
        let sender = sender.clone();
        scope.spawn(move || {
            let work = Work {
                root: self.root,
                services: self.services,
                options: self.options,
                step: &self.dag.nodes()[at].step,
                planned: &planned,
                inputs: self.inputs(&planned),
                position: at,
                sandbox: self.sandbox,
                programs: &self.programs,
                threads,
                stop: &self.stop,
            };
            let outcome = catch_unwind(AssertUnwindSafe(|| work.carry_out())).unwrap_or_else(|_| {
                Err(Error::Internal(format!("step `{}` panicked; this is a bug in Tidemill", planned.step)))
            });
            // The receiver lives until every step has ended.
            let _ = sender.send(Ended { at, planned, threads, outcome });
        });
    }

    /// Threads for a step that starts now, among the others that can start at once with it. Bringing outputs back is
    /// the disk's work and takes no cores from anybody.
    fn threads(&self, planned: &Planned, state: &State) -> usize {
        if planned.decision == Decision::Restore {
            return 0;
        }
        let others = state.ready.iter().filter(|at| {
            let decision = self.plan.get(at).map(|planned| planned.decision);
            matches!(decision, Some(Decision::Run | Decision::MayRun))
        });
        let places = self.options.jobs.max(1).saturating_sub(state.running);
        share(self.options.cores, state.threads, places.min(1 + others.count()))
    }

    /// The plan's decision holds for what needs no look at the workspace as it is now.
    fn decide_now(&self, at: usize, state: &State) -> Result<Planned, Error> {
        match self.plan.get(&at) {
            Some(planned)
                if !state.surprised
                    && matches!(planned.decision, Decision::Unchanged | Decision::Restore) =>
            {
                Ok((*planned).clone())
            }
            _ => decide(self.dag, at, self.workspace, &state.progress, self.options.force),
        }
    }

    /// What a step reads that lies in no step's output.
    fn inputs(&self, planned: &Planned) -> Vec<String> {
        let deps = planned.record.iter().flat_map(|record| record.deps.keys());
        deps.filter(|path| !self.dag.outs().keys().any(|out| within(path, out))).cloned().collect()
    }

    fn ended(&self, ended: Ended, state: &mut State, queue: &SyncSender<Entry>) {
        state.running -= 1;
        state.threads -= ended.threads;
        let mut planned = ended.planned;
        match ended.outcome {
            Ok(mut outcome) => {
                state.surprised |= planned.decision == Decision::Restore && outcome.state == StepState::Ran;
                planned.reasons.append(&mut outcome.reasons);
                self.finish(ended.at, &planned, outcome, state, queue);
            }
            Err(error) => self.undecided(ended.at, error, state, queue),
        }
    }

    /// A step that could not be decided or carried out for a reason that is not its command's.
    fn undecided(&self, at: usize, error: Error, state: &mut State, queue: &SyncSender<Entry>) {
        let step = &self.dag.nodes()[at].step;
        let cancelled = matches!(error, Error::Cancelled);
        let failure = StepFailure { cancelled, hint: error.hint(), ..StepFailure::new(error.to_string()) };
        let planned = self.plan.get(&at).map_or_else(
            || unknown(&step.name),
            |planned| Planned { key: None, record: None, ..(*planned).clone() },
        );
        let outcome = Outcome {
            state: if cancelled { StepState::Cancelled } else { StepState::Failed },
            outs: BTreeMap::new(),
            failure: Some(failure),
            attempts: 0,
            duration: Duration::ZERO,
            finished: self.services.clock.now(),
            log: None,
            reasons: Vec::new(),
        };
        self.finish(at, &planned, outcome, state, queue);
        // Whatever is wrong with one step's files is that step's failure; a broken store or database ends the run.
        if !matches!(error, Error::Step { .. } | Error::NotUtf8 { .. } | Error::Cancelled) {
            state.halted.get_or_insert_with(|| format!("step `{}` could not be carried out", step.name));
            state.error.get_or_insert(error);
        }
    }

    fn finish(
        &self,
        at: usize,
        planned: &Planned,
        outcome: Outcome,
        state: &mut State,
        queue: &SyncSender<Entry>,
    ) {
        let good = matches!(outcome.state, StepState::Ran | StepState::Restored | StepState::Unchanged);
        let name = &planned.step;
        let report = StepReport {
            step: name.clone(),
            state: outcome.state,
            reasons: planned.reasons.iter().map(ToString::to_string).collect(),
            key: planned.key,
            outs: outcome.outs,
            failure: outcome.failure,
            attempts: outcome.attempts,
            duration_ms: u64::try_from(outcome.duration.as_millis()).unwrap_or(u64::MAX),
            log: outcome.log,
        };
        let finished = StepFinished {
            run: self.options.run,
            at: outcome.finished,
            step: name.clone(),
            state: report.state,
            key: planned.key,
            record: planned.record.clone(),
            compared_with: planned.compared_with.as_ref().map(|last| last.record.clone()),
            reasons: report.reasons.clone(),
            outs: report.outs.clone(),
            exit_code: report.failure.as_ref().and_then(|failure| failure.exit_code),
            failure: report.failure.as_ref().map(|failure| failure.message.clone()),
            attempts: report.attempts,
            duration_ms: report.duration_ms,
            log: report.log.clone(),
            stored_log: None,
        };
        record(queue, Entry::Finished(Box::new(finished)));
        self.services.observer.step_finished(&report);
        if good {
            state.progress.done(name, &report.outs);
            for down in &self.dag.nodes()[at].downstream {
                if let Some(left) = state.waiting.get_mut(down) {
                    *left -= 1;
                    if *left == 0 {
                        state.waiting.remove(down);
                        state.ready.insert(*down);
                    }
                }
            }
        }
        let failed = report.state == StepState::Failed;
        state.done.insert(at, Done { report, record: planned.record.clone() });
        if !good {
            self.skip_dependants(at, state, queue);
        }
        if failed && !self.options.keep_going {
            state.halted.get_or_insert_with(|| format!("step `{name}` failed"));
            if self.options.fail_fast {
                self.stop.cancel();
            }
        }
    }

    fn skip_dependants(&self, at: usize, state: &mut State, queue: &SyncSender<Entry>) {
        let why = format!("step `{}`, which it needs, did not succeed", self.dag.nodes()[at].step.name);
        let mut open = vec![at];
        while let Some(at) = open.pop() {
            for down in &self.dag.nodes()[at].downstream {
                if self.plan.contains_key(down) && !state.done.contains_key(down) {
                    state.waiting.remove(down);
                    self.skip(*down, &why, state, queue);
                    open.push(*down);
                }
            }
        }
    }

    fn skip(&self, at: usize, why: &str, state: &mut State, queue: &SyncSender<Entry>) {
        let name = &self.dag.nodes()[at].step.name;
        let report = StepReport {
            step: name.clone(),
            state: StepState::Skipped,
            reasons: vec![why.to_owned()],
            key: None,
            outs: BTreeMap::new(),
            failure: None,
            attempts: 0,
            duration_ms: 0,
            log: None,
        };
        let finished = StepFinished {
            run: self.options.run,
            at: self.services.clock.now(),
            step: name.clone(),
            state: StepState::Skipped,
            key: None,
            record: None,
            compared_with: None,
            reasons: report.reasons.clone(),
            outs: BTreeMap::new(),
            exit_code: None,
            failure: None,
            attempts: 0,
            duration_ms: 0,
            log: None,
            stored_log: None,
        };
        record(queue, Entry::Finished(Box::new(finished)));
        self.services.observer.step_finished(&report);
        state.done.insert(at, Done { report, record: None });
    }
}

/// An equal part of the cores that nobody was given, for one of some steps that start together; one at least.
fn share(cores: usize, given: usize, starting: usize) -> usize {
    (cores.saturating_sub(given) / starting.max(1)).max(1)
}

fn record(queue: &SyncSender<Entry>, entry: Entry) {
    // There is no recorder when nothing has to be done, and then nothing to record.
    let _ = queue.send(entry);
}

fn unknown(step: &str) -> Planned {
    Planned {
        step: step.to_owned(),
        decision: Decision::Run,
        reasons: vec![Reason::UnknownResult],
        key: None,
        record: None,
        outs: BTreeMap::new(),
        compared_with: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_shared_and_never_given_twice() {
        // One alone, two together one after the other, and one that starts beside another.
        for (cores, given, starting, threads) in [
            (32, 0, 1, 32),
            (32, 0, 2, 16),
            (32, 16, 1, 16),
            (3, 0, 2, 1),
            (3, 1, 1, 2),
            (8, 8, 1, 1),
            (1, 0, 9, 1),
        ] {
            assert_eq!(share(cores, given, starting), threads, "{cores} {given} {starting}");
        }
    }
}
