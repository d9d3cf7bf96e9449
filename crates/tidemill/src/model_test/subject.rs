//! Whose model the tests are about: that of the step which is released, and of no other.

use std::borrow::Cow;

use tidemill_core::Digest;
use tidemill_core::declare::{Action, Algorithm, Input, Split, Step, TaskKind, Training};
use tidemill_project::{HeldOut, Project, Resolved};

use super::made::Made;
use crate::app::App;
use crate::table::{SourcePaths, expand};

/// The step whose model is tested, and how its answers are judged.
pub(crate) struct Subject<'s> {
    /// The step. Its first input is the table that a training learned from, or else the held-out rows.
    pub(crate) step: Cow<'s, Step>,
    /// How it was trained; of what a command made, the target, weights and costs alone.
    pub(crate) training: Cow<'s, Training>,
    /// The rows that are declared for what a command made.
    held_out: Option<&'s HeldOut>,
}

/// The training whose model a project without `release: step:` is about: that of the step called `train`, or else of the first one
/// declared.
pub(crate) fn trained(steps: &[Step]) -> Option<(&Step, &Training)> {
    let mut trainings = steps.iter().filter_map(|step| match &step.action {
        Action::Train(training) => Some((step, training.as_ref())),
        Action::Run { .. } | Action::Sql { .. } => None,
    });
    let first = trainings.clone().next();
    trainings.find(|(step, _)| step.name == "train").or(first)
}

/// The model that the project's tests are about: of the step that is released where one is named, so that nothing is vouched for that
/// was not tested.
pub(crate) fn subject<'s>(project: &'s Project, resolved: &'s Resolved) -> Option<Subject<'s>> {
    let of = |(step, training): (&'s Step, &'s Training)| Subject {
        step: Cow::Borrowed(step),
        training: Cow::Borrowed(training),
        held_out: None,
    };
    let Some(name) = project.release.as_ref().and_then(|release| release.step.as_deref()) else {
        return trained(&resolved.steps).map(of);
    };
    let step = resolved.steps.iter().find(|step| step.name == name)?;
    match &step.action {
        Action::Train(training) => Some(of((step, training))),
        Action::Run { .. } => made(project, resolved, step),
        Action::Sql { .. } => None,
    }
}

fn made<'s>(project: &'s Project, resolved: &'s Resolved, step: &'s Step) -> Option<Subject<'s>> {
    let (held_out, objective) = (project.held_out.as_ref()?, project.objective.as_ref()?);
    let table = held_out.table.clone();
    let (paths, format) = match resolved.datasets.get(&table) {
        Some(dataset) => (dataset.paths.clone(), dataset.format),
        None => (vec![table.clone()], None),
    };
    let classifies = objective.task.kind == TaskKind::Classification;
    let training = Training {
        algorithm: Algorithm::Prior,
        features: table.clone(),
        task: Some(objective.task.clone()),
        columns: None,
        drop: Vec::new(),
        categorical: Vec::new(),
        weight: held_out.weight.clone(),
        split: Split::default(),
        cv: None,
        search: None,
        gbdt: None,
        linear: None,
        costs: objective.costs.clone().filter(|_| classifies),
        metrics: None,
        seed: 0,
    };
    let step = Step { inputs: vec![Input { table, paths, format }], ..step.clone() };
    Some(Subject { step: Cow::Owned(step), training: Cow::Owned(training), held_out: Some(held_out) })
}

impl Subject<'_> {
    /// What tests know of a model that a command made.
    pub(super) fn made(&self) -> Option<Made> {
        self.held_out.map(|held_out| Made::new(held_out.threshold))
    }

    /// Whether a command made it.
    pub(crate) fn is_made(&self) -> bool {
        self.held_out.is_some()
    }

    /// What the rows are that were declared for the tests: other rows, other results. An address in an object store is known by its text.
    pub(crate) fn rows(&self, app: &App<'_>) -> anyhow::Result<Option<Digest>> {
        let Some(input) = self.step.inputs.first().filter(|_| self.is_made()) else { return Ok(None) };
        let mut text = String::new();
        match expand(&app.root, &input.paths)? {
            SourcePaths::Remote(addresses) => text = addresses.join("\n"),
            SourcePaths::Local(paths) => {
                for path in paths {
                    let entry = tidemill_store::hash(&path, Some(app.stat()?), &app.cancel)?;
                    text.push_str(&format!("{}\n{}\n", path.display(), entry.digest));
                }
            }
        }
        Ok(Some(Digest::of(text.as_bytes())))
    }
}
