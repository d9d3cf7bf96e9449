//! Runs, experiments and logged models that were marked as deleted and now go for good, with their artifacts.

use std::time::Duration;

use serde_json::{Value, json};
use tidemill_core::Timestamp;
use tidemill_db::Tx;
use tidemill_db::tracking::{Removable, Removal};

use crate::app::App;
use crate::cli::Gc;
use crate::failure::Failure;
use crate::output::{Console, count, plural};

/// How long something stays after it was deleted unless it is named or something else is said.
const STAY: Duration = Duration::from_secs(30 * 24 * 3600);

/// What went, or would go.
#[derive(Default)]
pub(super) struct Removed {
    what: Removable,
    files: u64,
}

/// What the command asks for.
pub(super) fn wanted(args: &Gc, app: &App<'_>) -> anyhow::Result<Removal> {
    let named = !(args.run.is_empty() && args.experiment.is_empty() && args.logged_model.is_empty());
    let stay = args.older_than.unwrap_or(if named { Duration::ZERO } else { STAY });
    let stay = i64::try_from(stay.as_millis()).unwrap_or(i64::MAX);
    // What was deleted in this very millisecond is there as well.
    let before = Timestamp::from_millis(app.clock.now().millis().saturating_sub(stay).saturating_add(1));
    let mut experiments = Vec::with_capacity(args.experiment.len());
    for asked in &args.experiment {
        let found = match asked.parse() {
            Ok(id) => app.block(app.db()?.experiment(id))?,
            Err(_) => app.block(app.db()?.experiment_by_name(asked))?,
        };
        let found = found.ok_or_else(|| Failure::new(format!("there is no experiment `{asked}`")))?;
        experiments.push(found.id);
    }
    Ok(Removal { before, runs: args.run.clone(), experiments, logged_models: args.logged_model.clone() })
}

/// Takes it out of the transaction's view: rows only with `yes`, since there may be many points below them.
pub(super) async fn take(tx: &mut Tx, wanted: &Removal, yes: bool) -> anyhow::Result<Removed> {
    let what = tx.removable(wanted).await?;
    let runs = wanted.runs.iter().filter(|run| !what.runs.contains(run)).map(|run| format!("run `{run}`"));
    let experiments = wanted
        .experiments
        .iter()
        .filter(|wanted| !what.experiments.iter().any(|(id, _)| id == *wanted))
        .map(|id| format!("experiment `{id}`"));
    let models = wanted
        .logged_models
        .iter()
        .filter(|model| !what.logged_models.contains(model))
        .map(|model| format!("logged model `{model}`"));
    if let Some(kept) = runs.chain(experiments).chain(models).next() {
        let hint = "only what was deleted before goes for good, with --older-than what was deleted that long ago, and \
            nothing that a version of a registered model was made of";
        return Err(Failure::new(format!("{kept} cannot be removed")).hint(hint).into());
    }
    let files = tx.remove_artifacts_of(&what).await?;
    if yes {
        tx.remove(&what).await?;
    }
    Ok(Removed { what, files })
}

impl Removed {
    pub(super) fn events(&self, app: &App<'_>) -> Vec<tidemill_core::NewEvent> {
        self.what.events().into_iter().map(|kind| app.event(kind)).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        let Removable { experiments, runs, logged_models, .. } = &self.what;
        experiments.is_empty() && runs.is_empty() && logged_models.is_empty()
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "experiments": self.what.experiments.len(), "runs": self.what.runs.len(),
            "logged_models": self.what.logged_models.len(), "files": self.files, "in_use": self.what.in_use,
        })
    }

    pub(super) fn report(&self, console: &Console, verb: &str) {
        if !self.is_empty() {
            console.line(format!(
                "{verb} {}, {} and {} that were deleted, with {} artifacts",
                plural(self.what.experiments.len() as u64, "experiment"),
                plural(self.what.runs.len() as u64, "run"),
                plural(self.what.logged_models.len() as u64, "logged model"),
                count(self.files)
            ));
        }
        if self.what.in_use > 0 {
            console.note(format!(
                "{} deleted runs and logged models stay: versions of registered models were made of them",
                count(self.what.in_use)
            ));
        }
    }
}
