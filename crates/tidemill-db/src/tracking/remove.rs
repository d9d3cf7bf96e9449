//! Taking runs, experiments and logged models out of the database for good, once they are marked as deleted.

use std::sync::Arc;

use tidemill_core::{EventKind, RunId, Timestamp};

use crate::backend::on;
use crate::dialect::{self, Rows};
use crate::runs::parse;
use crate::{Result, Tx};

/// What may go for good. Only what is marked as deleted goes, and nothing that a version of a registered model was made of.
#[derive(Clone, Debug)]
pub struct Removal {
    /// What was deleted before this.
    pub before: Timestamp,
    /// Only these; everything where none of the three names anything.
    pub runs: Vec<RunId>,
    /// Only these.
    pub experiments: Vec<i64>,
    /// Only these.
    pub logged_models: Vec<String>,
}

/// What goes, or went, for good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removable {
    /// Experiments with their names; all that is in them goes along.
    pub experiments: Vec<(i64, String)>,
    /// Runs, those of the experiments too.
    pub runs: Vec<RunId>,
    /// Logged models, those of the experiments too.
    pub logged_models: Vec<String>,
    /// Runs and logged models that stay because a version of a registered model was made of them.
    pub in_use: u64,
    /// Folders of their artifacts.
    folders: Vec<String>,
    /// Rows of the runs and of the models.
    rows: (Vec<i64>, Vec<i64>),
}

/// Versions that are there. Those that were deleted use nothing.
macro_rules! versions {
    ($of:literal) => {
        concat!("EXISTS (SELECT 1 FROM model_version v WHERE ", $of, " AND v.stage <> 'Deleted_Internal')")
    };
}

impl Removal {
    fn names_some(&self) -> bool {
        !(self.runs.is_empty() && self.experiments.is_empty() && self.logged_models.is_empty())
    }
}

impl Removable {
    /// The events to commit a removal with.
    pub fn events(&self) -> Vec<EventKind> {
        let experiments = self.experiments.iter().map(|(experiment, name)| EventKind::ExperimentRemoved {
            experiment: *experiment,
            name: name.clone(),
        });
        let runs = self.runs.iter().map(|run| EventKind::TrackingRunRemoved { run: *run });
        let models = self
            .logged_models
            .iter()
            .map(|model| EventKind::LoggedModelMoved { model: model.clone(), status: "REMOVED".to_owned() });
        experiments.chain(runs).chain(models).collect()
    }
}

impl Tx {
    /// What a removal takes.
    pub async fn removable(&mut self, what: &Removal) -> Result<Removable> {
        const EXPERIMENTS: &str = concat!(
            "SELECT e.id, e.name FROM experiment e WHERE e.stage = 'deleted' AND e.updated_at < $1
                AND NOT EXISTS (SELECT 1 FROM run t WHERE t.experiment_id = e.id
                    AND (t.stage <> 'deleted' OR ",
            versions!("v.run_uuid = t.uuid"),
            ")) AND NOT EXISTS (SELECT 1 FROM logged_model t WHERE t.experiment_id = e.id AND ",
            versions!("v.logged_model = t.uuid"),
            ") ORDER BY e.id"
        );
        const RUNS: &str = concat!(
            "SELECT t.id, t.uuid, t.experiment_id, t.artifact_uri, CAST(CASE WHEN ",
            versions!("v.run_uuid = t.uuid"),
            " THEN 1 ELSE 0 END AS BIGINT), COALESCE(t.deleted_at, 0) FROM run t WHERE t.stage = 'deleted'
            ORDER BY t.id"
        );
        const MODELS: &str = concat!(
            "SELECT t.id, t.uuid, t.experiment_id, t.artifact_uri, CAST(CASE WHEN ",
            versions!("v.logged_model = t.uuid"),
            " THEN 1 ELSE 0 END AS BIGINT), CASE WHEN t.stage = 'deleted' THEN t.updated_at ELSE NULL END
            FROM logged_model t WHERE t.stage = 'deleted' OR t.experiment_id IN
                (SELECT e.id FROM experiment e WHERE e.stage = 'deleted') ORDER BY t.id"
        );
        type Row = (i64, String, i64, String, i64, Option<i64>);
        let ctx = Arc::clone(&self.transact.ctx);
        let fail = || ctx.fail("read what was deleted");
        let before = what.before.millis();
        let mut found = Removable {
            experiments:
                on!(self.transact.conn(), c => sqlx::query_as(EXPERIMENTS).bind(before).fetch_all(c).await)
                    .map_err(fail())?,
            ..Removable::default()
        };
        if what.names_some() {
            found.experiments.retain(|(id, _)| what.experiments.contains(id));
        }
        let is_gone = |experiment: i64| found.experiments.iter().any(|(id, _)| *id == experiment);
        let is_old = |at: Option<i64>| at.is_some_and(|at| at < before);
        let runs: Vec<Row> =
            on!(self.transact.conn(), c => sqlx::query_as(RUNS).fetch_all(c).await).map_err(fail())?;
        for (row, uuid, experiment, uri, used, at) in runs {
            let run: RunId = parse("run", "uuid", &uuid, "a run id")?;
            let asked = !what.names_some() || what.runs.contains(&run);
            if used == 1 {
                found.in_use += u64::from(asked && is_old(at));
            } else if is_gone(experiment) || asked && is_old(at) {
                found.runs.push(run);
                found.rows.0.push(row);
                found.folders.extend(own_folder(&uri, &uuid));
            }
        }
        let models: Vec<Row> =
            on!(self.transact.conn(), c => sqlx::query_as(MODELS).fetch_all(c).await).map_err(fail())?;
        for (row, uuid, experiment, uri, used, at) in models {
            let asked = !what.names_some() || what.logged_models.contains(&uuid);
            if used == 1 {
                found.in_use += u64::from(asked && is_old(at));
            } else if is_gone(experiment) || asked && is_old(at) {
                found.folders.extend(own_folder(&uri, &uuid));
                found.logged_models.push(uuid);
                found.rows.1.push(row);
            }
        }
        Ok(found)
    }

    /// Removes the artifacts of what a removal takes; gives the number of files.
    pub async fn remove_artifacts_of(&mut self, removable: &Removable) -> Result<u64> {
        let mut files = 0;
        for folder in &removable.folders {
            files += self.delete_artifacts(folder).await?;
        }
        Ok(files)
    }

    /// Removes the rows of what a removal takes. Commit it with [`Removable::events`].
    pub async fn remove(&mut self, removable: &Removable) -> Result<()> {
        const RUNS: &str =
            "DELETE FROM run WHERE id IN (SELECT r.wanted FROM {rows} WHERE r.wanted IS NOT NULL)";
        const MODELS: &str =
            "DELETE FROM logged_model WHERE id IN (SELECT r.wanted FROM {rows} WHERE r.wanted IS NOT NULL)";
        const EXPERIMENTS: &str =
            "DELETE FROM experiment WHERE id IN (SELECT r.wanted FROM {rows} WHERE r.wanted IS NOT NULL)";
        let ctx = Arc::clone(&self.transact.ctx);
        let experiments: Vec<i64> = removable.experiments.iter().map(|(id, _)| *id).collect();
        for (sql, rows) in
            [(RUNS, &removable.rows.0), (MODELS, &removable.rows.1), (EXPERIMENTS, &experiments)]
        {
            for some in rows.chunks(CHUNK) {
                let rows = Rows::new(some.len()).int("wanted", some.iter().copied());
                dialect::write_rows(self.transact.conn(), sql, &rows)
                    .await
                    .map_err(ctx.fail("remove what was deleted"))?;
                self.changed = true;
            }
        }
        Ok(())
    }
}

/// Rows that one statement removes.
const CHUNK: usize = 1000;

/// The folder of a run or logged model in our own store: what is above its `artifacts`, where that is its own.
fn own_folder(uri: &str, id: &str) -> Option<String> {
    let path = uri.strip_prefix("mlflow-artifacts:")?.trim_matches('/');
    let folder = path.strip_suffix("/artifacts").unwrap_or(path);
    folder.rsplit('/').next().filter(|last| *last == id).map(|_| folder.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_that_belong_to_one_thing_go() {
        let folder = |uri: &str| own_folder(uri, "r1");
        assert_eq!(folder("mlflow-artifacts:/3/r1/artifacts").as_deref(), Some("3/r1"));
        assert_eq!(folder("mlflow-artifacts:/team/a/r1/artifacts").as_deref(), Some("team/a/r1"));
        assert_eq!(folder("mlflow-artifacts:/3/shared/artifacts"), None);
        assert_eq!(folder("s3://bucket/3/r1/artifacts"), None);
    }
}
