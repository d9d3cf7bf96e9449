//! Experiments, runs and logged models of an import.

use tidemill_core::{Digest, EventKind, RunId, Timestamp};
use tidemill_db::logged_models::{LoggedModelStatus, NewLoggedModel};
use tidemill_db::tracking::{Batch, Experiment, KeyValue, Metric, NewTrackedRun, RunStatus, Stage};

use super::source::{SourceExperiment, SourceLoggedModel, SourceModelPoint, SourceRun};
use super::{AT_WORK, FROM, Imported, Importer, UNFINISHED};
use crate::Result;

impl Importer<'_> {
    /// Our experiment of the same name, made if it is not there; whether it was made, and whether it is to be deleted
    /// once all is in it, now or since an import that was interrupted.
    pub(super) async fn experiment(&self, theirs: &SourceExperiment) -> Result<(i64, bool, bool)> {
        let db = &self.registry.db;
        if let Some(ours) = db.experiment_by_name(&theirs.name).await? {
            let unfinished = ours.tags.iter().any(|tag| tag.key == UNFINISHED);
            return Ok((ours.id, false, unfinished));
        }
        let mut tags = theirs.tags.clone();
        tags.retain(|tag| tag.key != UNFINISHED);
        if theirs.deleted {
            tags.push(KeyValue { key: UNFINISHED.to_owned(), value: self.place.clone() });
        }
        let mut tx = db.begin().await?;
        let id = tx.next_experiment().await?;
        let ours = Experiment {
            id,
            name: theirs.name.clone(),
            artifact_location: format!("mlflow-artifacts:/{id}"),
            stage: Stage::Active,
            created_at: Timestamp::from_millis(theirs.created_at),
            updated_at: Timestamp::from_millis(theirs.updated_at),
            tags,
        };
        tx.create_experiment(&ours).await?;
        let kind = EventKind::ExperimentCreated { experiment: id, name: ours.name.clone() };
        tx.commit(vec![self.registry.event(self.actor, kind)]).await?;
        Ok((id, true, theirs.deleted))
    }

    /// Ends the import of an experiment that is deleted at its source, or was when it was first imported.
    pub(super) async fn finish_experiment(&self, id: i64, deleted: bool) -> Result<()> {
        let mut tx = self.registry.db.begin().await?;
        let active = tx.experiment(id).await?.is_some_and(|ours| ours.stage == Stage::Active);
        tx.remove_experiment_tag(id, UNFINISHED).await?;
        let untagged =
            EventKind::ExperimentTagged { experiment: id, key: UNFINISHED.to_owned(), value: None };
        let mut events = vec![self.registry.event(self.actor, untagged)];
        if deleted && active {
            tx.move_experiment(id, Stage::Deleted, self.registry.clock.now()).await?;
            events.push(self.registry.event(self.actor, EventKind::ExperimentDeleted { experiment: id }));
        }
        tx.commit(events).await?;
        Ok(())
    }

    /// Imports a run that is not there, that an interrupted import left unfinished, or that was at work when it was last
    /// looked at.
    pub(super) async fn run(&self, experiment: &SourceExperiment, ours: i64, id: &str) -> Result<Imported> {
        let run = run_id(id);
        let (db, ingest) = (&self.registry.db, self.registry.db.ingest());
        let there = db.tracked_run(run).await?;
        let has = |key: &str| there.as_ref().is_some_and(|there| there.tags.iter().any(|tag| tag.key == key));
        let (unfinished, at_work) = (has(UNFINISHED), has(AT_WORK));
        let deleted_here = there.as_ref().is_some_and(|there| there.info.stage == Stage::Deleted);
        if there.is_some() && (deleted_here || !unfinished && !at_work) {
            return Ok(Imported { known_runs: 1, ..Imported::default() });
        }
        let theirs = self.source.run(experiment, id).await?;
        let (new, batch) = self.begin(ours, run, &theirs);
        let (status, ended_at) = (new.status, new.ended_at);
        if there.is_none() {
            let name = new.name.clone();
            let kind = EventKind::TrackingRunCreated { run, experiment: ours, name };
            ingest.create_run(new, batch, self.registry.event(self.actor, kind)).await?;
        } else {
            // It may have gone on since.
            ingest.log(run, batch).await?;
        }
        let mut done =
            Imported { runs: u64::from(!at_work), known_runs: at_work.into(), ..Imported::default() };
        for key in &theirs.metrics {
            let points = self.source.history(experiment, id, key).await?;
            done.points += points.len() as u64;
            let metrics = points.iter().map(|point| Metric {
                key: key.clone(),
                value: point.value,
                at: Timestamp::from_millis(point.at),
                step: point.step,
                dataset_name: None,
                dataset_digest: None,
                model_id: None,
                run_id: None,
            });
            ingest.log(run, Batch { metrics: metrics.collect(), ..Batch::default() }).await?;
        }
        self.copy(&theirs.artifact_uri, &format!("{ours}/{run}/artifacts"), &mut done).await?;
        let place = |key: &str| KeyValue { key: key.to_owned(), value: self.place.clone() };
        let mut whole = Batch {
            tags: vec![place(FROM)],
            removed_tags: vec![UNFINISHED.to_owned()],
            status: Some(status),
            ended_at,
            ..Batch::default()
        };
        if !has_ended(theirs.status) {
            whole.tags.push(place(AT_WORK));
        } else if at_work {
            whole.removed_tags.push(AT_WORK.to_owned());
        }
        let kind = EventKind::TrackingRunMoved { run, status: status.word().to_owned() };
        ingest.update_run(run, whole, self.registry.event(self.actor, kind)).await?;
        if theirs.deleted {
            let mut tx = db.begin().await?;
            tx.move_tracked_run(run, Stage::Deleted, self.registry.clock.now()).await?;
            let kind = EventKind::TrackingRunDeleted { run };
            tx.commit(vec![self.registry.event(self.actor, kind)]).await?;
        }
        Ok(done)
    }

    /// A run as it is first written: everything but histories and artifacts.
    fn begin(&self, experiment: i64, run: RunId, theirs: &SourceRun) -> (NewTrackedRun, Batch) {
        let mut tags = theirs.tags.clone();
        tags.retain(|tag| !matches!(tag.key.as_str(), FROM | UNFINISHED | AT_WORK));
        tags.push(KeyValue { key: UNFINISHED.to_owned(), value: self.place.clone() });
        if theirs.id != run.to_string() {
            tags.push(KeyValue { key: "tidemill.imported_id".to_owned(), value: theirs.id.clone() });
        }
        let name = if theirs.name.is_empty() { run.short() } else { theirs.name.clone() };
        if !tags.iter().any(|tag| tag.key == "mlflow.runName") {
            tags.push(KeyValue { key: "mlflow.runName".to_owned(), value: name.clone() });
        }
        let new = NewTrackedRun {
            id: run,
            experiment,
            name,
            user: theirs.user.clone(),
            // What is at work there is not at work here.
            status: if has_ended(theirs.status) { theirs.status } else { RunStatus::Killed },
            started_at: theirs.started_at.map(Timestamp::from_millis),
            ended_at: theirs.ended_at.map(Timestamp::from_millis),
            artifact_uri: super::copy::stays(&theirs.artifact_uri).then(|| theirs.artifact_uri.clone()),
        };
        let batch = Batch {
            params: theirs.params.clone(),
            tags,
            datasets: theirs.datasets.clone(),
            model_inputs: theirs.model_inputs.clone(),
            model_outputs: theirs.model_outputs.clone(),
            ..Batch::default()
        };
        (new, batch)
    }

    /// Imports a logged model that is not there, and what was measured on one since it was imported.
    pub(super) async fn logged_model(
        &self,
        of: &SourceExperiment,
        experiment: i64,
        theirs: &SourceLoggedModel,
    ) -> Result<Imported> {
        let db = &self.registry.db;
        let known = db.logged_model(&theirs.id).await?;
        if let Some(known) = &known
            && (known.stage == Stage::Deleted || !known.tags.iter().any(|tag| tag.key == FROM))
        {
            return Ok(Imported::default());
        }
        if known.as_ref().is_some_and(|model| model.status != LoggedModelStatus::Pending) {
            let points = self.model_points(of, &theirs.id).await?;
            if !points.is_empty() {
                let mut tx = db.begin().await?;
                tx.put_logged_model_metrics(&theirs.id, &points).await?;
                tx.commit(Vec::new()).await?;
            }
            return Ok(Imported::default());
        }
        let mut done = Imported { logged_models: 1, ..Imported::default() };
        let folder = format!("{experiment}/models/{}/artifacts", theirs.id);
        if known.is_none() {
            let stays = super::copy::stays(&theirs.artifact_uri);
            let uri = if stays { theirs.artifact_uri.clone() } else { format!("mlflow-artifacts:/{folder}") };
            let mut tags = theirs.tags.clone();
            tags.push(KeyValue { key: FROM.to_owned(), value: self.place.clone() });
            let source_run = theirs.source_run.as_deref().map(run_id);
            let new = NewLoggedModel {
                id: theirs.id.clone(),
                experiment,
                name: theirs.name.clone(),
                model_type: theirs.model_type.clone(),
                source_run: source_run.map(|run| run.to_string()),
                artifact_uri: uri,
                created_at: Timestamp::from_millis(theirs.created_at),
                params: theirs.params.clone(),
                tags,
            };
            let mut tx = db.begin().await?;
            tx.create_logged_model(&new).await?;
            let kind =
                EventKind::LoggedModelCreated { model: theirs.id.clone(), experiment, run: source_run };
            tx.commit(vec![self.registry.event(self.actor, kind)]).await?;
        }
        self.copy(&theirs.artifact_uri, &folder, &mut done).await?;
        // The state comes last: it says that the files are there.
        let status = LoggedModelStatus::ALL
            .into_iter()
            .find(|status| status.word() == theirs.status && *status != LoggedModelStatus::Pending)
            .unwrap_or(LoggedModelStatus::UploadFailed);
        let points = self.model_points(of, &theirs.id).await?;
        let mut tx = db.begin().await?;
        tx.put_logged_model_metrics(&theirs.id, &points).await?;
        tx.finish_logged_model(&theirs.id, status, Timestamp::from_millis(theirs.updated_at)).await?;
        let kind = EventKind::LoggedModelMoved { model: theirs.id.clone(), status: status.word().to_owned() };
        tx.commit(vec![self.registry.event(self.actor, kind)]).await?;
        Ok(done)
    }
}

impl Importer<'_> {
    /// What was measured on a logged model, as we keep it.
    async fn model_points(&self, experiment: &SourceExperiment, model: &str) -> Result<Vec<Metric>> {
        let points = self.source.model_points(experiment, model).await?;
        let metric = |SourceModelPoint { key, point, run, dataset_name, dataset_digest }| Metric {
            key,
            value: point.value,
            at: Timestamp::from_millis(point.at),
            step: point.step,
            dataset_name,
            dataset_digest,
            model_id: Some(model.to_owned()),
            run_id: run.as_deref().filter(|run| !run.is_empty()).map(run_id),
        };
        Ok(points.into_iter().map(metric).collect())
    }
}

fn has_ended(status: RunStatus) -> bool {
    matches!(status, RunStatus::Finished | RunStatus::Failed | RunStatus::Killed)
}

/// MLflow's own identifiers are ours. One that a client made up gets another, always the same.
pub(super) fn run_id(theirs: &str) -> RunId {
    theirs.parse().unwrap_or_else(|_| {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&Digest::of(theirs.as_bytes()).as_bytes()[..16]);
        RunId::from_entropy(bytes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_stay_where_they_can() {
        let usual = "f8230f6695f34423b1f5b7775df96249";
        assert_eq!(run_id(usual).to_string(), usual);
        assert_eq!(run_id("my-run"), run_id("my-run"));
        assert_ne!(run_id("my-run"), run_id("my-run2"));
    }
}
