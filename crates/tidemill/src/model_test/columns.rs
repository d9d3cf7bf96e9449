//! Whether the table that the model learns from has the columns that tests name, where it can be known before anything runs.

use tidemill_core::declare::{Step, Training};
use tidemill_pipeline::{Decision, Plan};
use tidemill_project::{Resolved, check_test_columns};

use super::subject;
use crate::app::App;
use crate::table::learned_from;

/// Refuses tests that name columns which the table does not have. A table that is not there, or that a step is about to write anew, is
/// not known yet.
pub(crate) fn check_columns(app: &App<'_>, resolved: &Resolved, plan: &Plan) -> anyhow::Result<()> {
    if app.project.tests.iter().all(|test| test.columns().is_empty()) {
        return Ok(());
    }
    let Some(subject) = subject(&app.project, resolved) else { return Ok(()) };
    let (step, training): (&Step, &Training) = (&subject.step, &subject.training);
    let is_written = resolved.steps.iter().any(|other| {
        let is_current = plan.get(&other.name).is_some_and(|planned| planned.decision == Decision::Unchanged);
        let holds = |out: &str| {
            training.features.strip_prefix(out).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        !is_current && other.outs.iter().any(|out| holds(&out.path))
    });
    if is_written {
        return Ok(());
    }
    let Ok(table) = learned_from(&app.root, app.runtime().handle(), step, training) else { return Ok(()) };
    let columns: Vec<&str> = table.schema().fields().iter().map(|field| field.name().as_str()).collect();
    Ok(check_test_columns(&app.project, &training.features, &columns)?)
}
