//! Records of endpoints that steps read: put into files before anything is planned, so that they are inputs like any other.

use std::collections::BTreeMap;

use tidemill_core::declare::RecordsInput;
use tidemill_pipeline::{Dag, Selection};

use crate::app::App;
use crate::command::run::between_runs;
use crate::failure::Failure;

/// The records that selected steps read, by the folder in which they expect them, each with one of these steps.
fn wanted(dag: &Dag, selection: &Selection) -> anyhow::Result<BTreeMap<String, (RecordsInput, String)>> {
    let mut wanted = BTreeMap::new();
    for at in dag.select(selection)? {
        let Some(node) = dag.nodes().get(at) else { continue };
        for path in node.step.inputs.iter().flat_map(|input| &input.paths) {
            if let Some(records) = RecordsInput::of_path(path) {
                wanted.insert(path.clone(), (records, node.step.name.clone()));
            }
        }
    }
    Ok(wanted)
}

/// Brings the files up to date. No other run may be going on.
pub(crate) fn lay_out(app: &App<'_>, dag: &Dag, selection: &Selection) -> anyhow::Result<()> {
    for (path, (records, step)) in wanted(dag, selection)? {
        let range = (records.from, records.to);
        let (db, store) = (app.db()?, app.store()?);
        let dir = app.root.join(&path);
        let made = app.block(tidemill_serve::record::lay_out(db, store, &records.endpoint, range, &dir))?;
        tracing::debug!(input = %records, made.files, made.written, "laid out records");
        if made.files == 0 {
            return Err(Failure::new(format!("step `{step}` reads `{records}`, and the store holds none of these"))
                .hint("what is asked of an endpoint gets there within 15 minutes; `tidemill records` lists those that have some")
                .into());
        }
    }
    Ok(())
}

/// The same for commands that only look. While a run goes on, the files are as it found them.
pub(crate) fn lay_out_between_runs(app: &App<'_>, dag: &Dag, selection: &Selection) -> anyhow::Result<()> {
    if wanted(dag, selection)?.is_empty() {
        return Ok(());
    }
    let Some(_guard) = between_runs(app)? else { return Ok(()) };
    lay_out(app, dag, selection)
}
