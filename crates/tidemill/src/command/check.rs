//! `tidemill check`: the project file, the data, and what would run and why.

use serde_json::json;
use tidemill_data::{Table, suggest};
use tidemill_project::Resolved;

use crate::app::App;
use crate::cli::Check;
use crate::command::status::{planned, print_plan};
use crate::data_check::{check, lines, record};
use crate::failure::{Exit, Failure, Said};
use crate::model_test::check_columns;
use crate::monitors::check_references;
use crate::outcome_tables;
use crate::profile::Source;
use crate::table::open;

pub(crate) fn run(args: &Check, app: &App<'_>) -> anyhow::Result<()> {
    let resolved = app.resolve(&args.params)?;
    if let Some(name) = &args.suggest {
        return proposals(app, name, &resolved);
    }
    let mut all = Vec::new();
    if !args.no_data {
        for (name, dataset) in &resolved.datasets {
            all.extend(check(app, name, dataset, &resolved)?);
        }
        record(app, &all)?;
    }
    let (_, plan) = planned(app, &resolved)?;
    check_columns(app, &resolved, &plan)?;
    check_references(app)?;
    outcome_tables::check(app)?;
    let console = app.console;
    if console.json() {
        console.value(&json!({"project": app.project.project, "data": all, "plan": plan}))?;
    } else {
        console.note(format!(
            "tidemill.yaml is valid: {} datasets, {} steps, {} tests",
            resolved.datasets.len(),
            resolved.steps.len(),
            app.project.tests.len()
        ));
        for checked in &all {
            for line in lines(console, checked, true) {
                console.line(line);
            }
        }
        print_plan(console, &plan);
    }
    if all.iter().any(|checked| checked.failed() > 0) { Err(Said(Exit::Failed).into()) } else { Ok(()) }
}

/// Proposes expectations for a dataset of the project, or for a stored version.
fn proposals(app: &App<'_>, name: &str, resolved: &Resolved) -> anyhow::Result<()> {
    let known = resolved.datasets.keys().map(String::as_str);
    if let Some(dataset) = resolved.datasets.get(name) {
        let table = open(&app.root, app.runtime().handle(), &dataset.paths, dataset.format)?;
        return print_proposals(app, name, &table);
    }
    if name.contains('@') {
        let mut source = Source::find(name, app)?;
        let table = source.open(app)?;
        return print_proposals(app, name.split('@').next().unwrap_or(name), &table);
    }
    Err(Failure::usage(format!("the project has no dataset `{name}`"))
        .hint_maybe(tidemill_core::did_you_mean(name, known))
        .into())
}

fn print_proposals(app: &App<'_>, name: &str, table: &Table) -> anyhow::Result<()> {
    let target = app.project.objective.as_ref().map(|o| o.task.target.as_str());
    let known = target.filter(|target| table.column(target).is_ok());
    let proposed = suggest(table, known)?;
    if app.console.json() {
        return app.console.value(&proposed);
    }
    app.console.note(format!("put these under `data: {name}: expect:` and keep what you mean"));
    for expectation in &proposed {
        app.console.line(format!("- {}", crate::command::init::entry(expectation)?));
    }
    Ok(())
}
