//! From a project to what runs: parameter files read, overrides applied, templates filled, matrices expanded.

mod expand;
mod params;
mod step;

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde_json::Value;
use tidemill_core::declare::{DataFormat, Expectation, Step};

use crate::check::{Check, check_graph};
use crate::node::{Cursor, Node};
use crate::report::{Diagnostic, Report};
use crate::template::{Faults, Scope};
use crate::{Dataset, Project, StepParams};
use params::{ParamFiles, apply, project_params};
use step::{Done, Steps};

pub(crate) use params::is_param_file;

/// Where parameter files are read from. Paths are relative to the project folder.
pub trait Files {
    /// The text of a file.
    fn read(&self, path: &str) -> std::io::Result<String>;
}

/// A project with everything filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// The project's parameters: files merged, overrides applied. Always a map.
    pub params: Value,
    /// The steps in the order of the file, those of a matrix in the order of its lists. Complete: defaults
    /// filled in, no `${…}` left but the shell's own.
    ///
    /// The first of a training's `inputs` is the table that it learns from; its path is that of
    /// `Training::features`, or the dataset's paths where `features` names a dataset.
    pub steps: Vec<Step>,
    /// The datasets in the order of the file.
    pub datasets: IndexMap<String, ResolvedDataset>,
    /// What templates of a step may use beyond `params`, by step: its own parameters, `item`, `key`, `matrix`.
    pub(crate) locals: BTreeMap<String, serde_json::Map<String, Value>>,
}

impl Resolved {
    /// What `${…}` means in the texts of a step, for SQL files that are read later: the project's parameters,
    /// with the step's own, `item`, `key` and `matrix` over them.
    pub fn scope(&self, step: &str) -> Value {
        let mut scope = self.params.as_object().cloned().unwrap_or_default();
        if let Some(own) = self.locals.get(step) {
            scope.extend(own.clone());
        }
        Value::Object(scope)
    }
}

/// A dataset with defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedDataset {
    /// Files, folders or glob patterns relative to the project folder, or object-store URLs; at least one.
    pub paths: Vec<String>,
    /// The format, where the file declares it.
    pub format: Option<DataFormat>,
    /// The column that says when a row happened.
    pub time: Option<String>,
    /// Columns that identify a row.
    pub key: Vec<String>,
    /// Columns whose values are not shown.
    pub redact: Vec<String>,
    /// What must hold of the data.
    pub expect: Vec<Expectation>,
    /// Line in the project file, from 1, for messages.
    pub line: usize,
}

/// Fills in everything: reads parameter files, applies `overrides`, expands matrices, fills templates, completes
/// trainings from the objective.
///
/// An override is a dotted key of the project's parameters (or `step.key` for a parameter that a step gives
/// itself) and a YAML value. A step's `params` hold exactly the keys that it names or that its templates use.
///
/// # Errors
/// Unknown keys and names, files that cannot be read or parsed, values of the wrong type after templating, and
/// everything about the graph that only shows after expansion.
pub fn resolve(
    project: &Project,
    files: &dyn Files,
    overrides: &[(String, String)],
) -> Result<Resolved, Report> {
    let tree = tree_of(project)?;
    let root = Cursor::new(Some(&tree));
    let mut report = Report::default();
    let mut files = ParamFiles::new(files);
    let mut params = project_params(project, &mut files, &mut report);
    load_step_files(project, &root, &mut files, &mut report);
    let own = apply(overrides, project, &mut params, &mut files, &mut report);
    report = report.into_result(Report::default())?;
    let mut steps = Steps { project, params: &params, files, overrides: &own, report };
    let mut done: Vec<Done> = Vec::new();
    for name in project.pipeline.keys() {
        let at = root.key("pipeline").key(name.as_str());
        let text = project.source.text();
        let mut faults = Faults::new(&text);
        let instances = expand::instances(&at, &Scope::new(&params), &mut faults);
        faults.problems.into_iter().for_each(|problem| steps.push(problem));
        done.extend(instances.into_iter().filter_map(|instance| steps.resolve(name.as_str(), &at, instance)));
    }
    let mut report = steps.report.into_result(Report::default())?;
    let mut check = Check::new(project);
    let io: Vec<_> = done.iter().map(|done| done.io.clone()).collect();
    check_graph(&mut check, &io, true);
    for problem in check.problems {
        report.push(project.source.file(), &project.source.text(), problem);
    }
    let locals = done.iter().map(|done| (done.step.name.clone(), own_values(done))).collect();
    let datasets = project.data.iter().map(|(name, dataset)| {
        let line = project.source.line(&root.key("data").key(name.as_str()).key);
        (name.to_string(), ResolvedDataset::new(dataset, line))
    });
    let datasets = datasets.collect();
    let steps = done.into_iter().map(|done| done.step).collect();
    report.into_result(Resolved { params: params.to_value(), steps, datasets, locals })
}

/// The project as a tree, with the places that the parsed text has.
fn tree_of(project: &Project) -> Result<Node, Report> {
    let source = &project.source;
    let tree = serde_json::to_string(project).and_then(|json| serde_json::from_str::<Node>(&json));
    let tree =
        tree.map_err(|error| Report::of(source.file(), Diagnostic::new(&(0..0), error.to_string())))?;
    Ok(tree.placed_as(source.tree(), &(0..0)))
}

/// Reads the files that steps name, so that overrides can reach into them.
fn load_step_files(project: &Project, root: &Cursor<'_>, files: &mut ParamFiles<'_>, report: &mut Report) {
    for (name, decl) in &project.pipeline {
        let at = root.key("pipeline").key(name.as_str()).key("params");
        let mut load = |path: &str, place: &Cursor<'_>| {
            if is_param_file(path) && !path.contains("${") {
                files.load(path, project, &place.key, report);
            }
        };
        match &decl.params {
            Some(StepParams::File(path)) => load(path, &at),
            Some(StepParams::Keys(refs)) => {
                for (i, reference) in refs.iter().enumerate() {
                    if let crate::ParamRef::File(files) = reference {
                        files.keys().for_each(|path| load(path, &at.item(i)));
                    }
                }
            }
            Some(StepParams::Values(values)) => {
                let files = values.iter().filter(|(_, value)| value.is_array() || value.is_null());
                files.for_each(|(path, _)| load(path, &at.key(path)));
            }
            None => {}
        }
    }
}

fn own_values(done: &Done) -> serde_json::Map<String, Value> {
    done.own.iter().map(|entry| (entry.key.clone(), entry.value.to_value())).collect()
}

impl ResolvedDataset {
    fn new(dataset: &Dataset, line: usize) -> Self {
        Self {
            paths: dataset.path.as_slice().iter().map(|p| step::path(p)).collect(),
            format: dataset.format,
            time: dataset.time.clone(),
            key: dataset.key.clone(),
            redact: dataset.redact.clone(),
            expect: dataset.expect.clone(),
            line,
        }
    }
}
