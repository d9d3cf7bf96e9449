//! Which steps run, are restored or stay as they are, and why. Reads the world through [`CacheView`] only.
//!
//! The same decision is taken again, step by step, while a run goes on: a step whose upstream gave the same bytes as
//! before stays unchanged (early cutoff).

mod decide;
mod reason;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use tidemill_core::Digest;
use tidemill_core::declare::Step;

use crate::pattern::{Pattern, is_glob, is_url};
use crate::{ActionRecord, CachedStep, Content, Dag, Error, GraphProblem, LockedStep, Selection};

pub(crate) use decide::{Progress, decide};
pub use reason::Reason;

/// What planning may ask about the world.
pub trait CacheView {
    /// What the paths hold now, `None` where there is nothing.
    fn contents(&self, paths: &[String]) -> Result<Vec<Option<Content>>, Error>;
    /// Whether there is something at the path; cheaper than its content.
    fn exists(&self, path: &str) -> Result<bool, Error>;
    /// Existing paths that match a pattern, sorted.
    fn expand(&self, pattern: &str) -> Result<Vec<String>, Error>;
    /// What stands behind a URL.
    fn remote(&self, step: &Step, url: &str) -> Result<Content, Error>;
    /// Names in the folder of a path, for suggestions; empty if it cannot be read.
    fn neighbours(&self, path: &str) -> Vec<String>;
    /// Recorded results of actions.
    fn cached(&self, keys: &[Digest]) -> Result<Vec<Option<CachedStep>>, Error>;
    /// Whether contents are in the store.
    fn stored(&self, contents: &[Content]) -> Result<Vec<bool>, Error>;
    /// What the step's last run was keyed on and wrote.
    fn last(&self, step: &str) -> Result<Option<LockedStep>, Error>;
    /// A variable of Tidemill's own environment.
    fn env(&self, name: &str) -> Option<Vec<u8>>;
    /// The version of the step's built-in body; `None` for commands.
    fn builtin_version(&self, step: &Step) -> Option<String>;
}

/// What happens to a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Its outputs are in the workspace and up to date.
    Unchanged,
    /// Its outputs come from the store.
    Restore,
    /// It runs.
    Run,
    /// It runs unless the steps before it give the same outputs as before.
    MayRun,
}

/// The decision about one step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Planned {
    /// The step.
    pub step: String,
    /// What happens.
    pub decision: Decision,
    /// Why, most important first.
    pub reasons: Vec<Reason>,
    /// Its cache key, where everything it reads is known.
    pub key: Option<Digest>,
    /// What the key is made of.
    pub record: Option<ActionRecord>,
    /// What it will hold: known for `Unchanged` and `Restore`.
    pub outs: BTreeMap<String, Content>,
    /// The last run, with which it was compared.
    pub compared_with: Option<LockedStep>,
}

/// The decisions about all selected steps, in running order.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Planned>,
}

impl Plan {
    /// The decision about a step.
    pub fn get(&self, step: &str) -> Option<&Planned> {
        self.steps.iter().find(|planned| planned.step == step)
    }

    /// Number of steps with a decision.
    pub fn count(&self, decision: Decision) -> usize {
        self.steps.iter().filter(|planned| planned.decision == decision).count()
    }

    /// Whether nothing has to be done.
    pub fn is_up_to_date(&self) -> bool {
        self.count(Decision::Unchanged) == self.steps.len()
    }
}

/// Plans the selected steps. `force` runs every one of them, whatever is known.
///
/// # Errors
/// [`Error::Graph`] with every dependency that neither exists nor is written by a step; whatever the view reports.
pub fn plan(dag: &Dag, view: &dyn CacheView, selection: &Selection, force: bool) -> Result<Plan, Error> {
    let selected = dag.select(selection)?;
    check_dependencies(dag, view, &selected)?;
    let mut progress = Progress::default();
    let mut plan = Plan::default();
    for at in selected {
        let planned = decide(dag, at, view, &progress, force)?;
        progress.planned(&planned);
        plan.steps.push(planned);
    }
    Ok(plan)
}

/// Finds dependencies that nothing can provide, before anything runs.
fn check_dependencies(dag: &Dag, view: &dyn CacheView, selected: &BTreeSet<usize>) -> Result<(), Error> {
    let mut problems = Vec::new();
    for at in selected {
        let node = &dag.nodes()[*at];
        for read in &node.reads {
            if is_url(read) || !dag.producers(read).is_empty() {
                continue;
            }
            if is_glob(read) && !view.exists(read)? {
                if view.expand(read)?.is_empty() {
                    let message = format!("no file matches `{read}`, which it reads");
                    let hint = "check the pattern and the folder it names; `*` does not match `/`";
                    problems.push(GraphProblem::new(&node.step, message, Some(hint.to_owned())));
                }
            } else if !view.exists(read)? {
                let message = format!("it reads `{read}`, which does not exist and is written by no step");
                problems.push(GraphProblem::new(&node.step, message, Some(suggestion(dag, view, read))));
            }
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Error::Graph(problems)) }
}

fn suggestion(dag: &Dag, view: &dyn CacheView, read: &str) -> String {
    let near = view.neighbours(read);
    let close =
        tidemill_core::closest(read, near.iter().map(String::as_str)).or_else(|| dag.closest_out(read));
    match close {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "create it, or add it to the `outs` of the step that should write it".to_owned(),
    }
}

/// Expands a read to the paths that are there now: itself, or the matches of a pattern.
pub(crate) fn expand(view: &dyn CacheView, read: &str) -> Result<Vec<String>, Error> {
    if is_glob(read) && !view.exists(read)? { view.expand(read) } else { Ok(vec![read.to_owned()]) }
}

/// Whether a read, plain or pattern, has to do with an output without being it.
pub(crate) fn touches_partly(read: &str, out: &str) -> bool {
    if read == out {
        return false;
    }
    if is_glob(read) {
        return Pattern::new(read).is_ok_and(|pattern| pattern.touches(out) && !pattern.matches(out));
    }
    crate::pattern::within(read, out) || crate::pattern::within(out, read)
}

#[cfg(test)]
mod tests;
