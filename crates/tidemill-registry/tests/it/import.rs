//! Imports from a source that changes between them.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tempfile::TempDir;
use tidemill_core::{Actor, FixedClock, Quiet, Timestamp};
use tidemill_db::Db;
use tidemill_db::tracking::{KeyValue, RunStatus, Stage};
use tidemill_registry::artifacts::ArtifactWriter;
use tidemill_registry::import::{
    Behind, Imported, Source, SourceExperiment, SourceFile, SourceLoggedModel, SourceModel, SourceModelPoint,
    SourcePoint, SourceRun, SourceVersion, import,
};
use tidemill_registry::{Code, Error, Registry, Result};
use tidemill_store::{Store, StoreOptions};

const RUN: &str = "f8230f6695f34423b1f5b7775df96249";

/// What a source has at one time.
#[derive(Clone, Default)]
struct There {
    status: Option<RunStatus>,
    deleted: bool,
    points: Vec<SourcePoint>,
    params: Vec<KeyValue>,
    model_points: Vec<SourceModelPoint>,
    aliases: Vec<(String, u64)>,
    versions: u64,
    /// Fails as if it were gone, after the runs.
    breaks: bool,
}

#[derive(Default)]
struct Fake(Mutex<There>);

impl Fake {
    fn change(&self, change: impl FnOnce(&mut There)) {
        change(&mut self.0.lock().unwrap());
    }

    fn there(&self) -> There {
        self.0.lock().unwrap().clone()
    }
}

#[async_trait]
impl Source for Fake {
    fn place(&self) -> String {
        "fake".to_owned()
    }

    async fn experiments(&self) -> Result<Vec<SourceExperiment>> {
        Ok(vec![SourceExperiment {
            id: "1".to_owned(),
            name: "e".to_owned(),
            deleted: self.there().deleted,
            created_at: 1,
            updated_at: 1,
            tags: Vec::new(),
        }])
    }

    async fn runs(&self, _: &SourceExperiment) -> Result<Vec<String>> {
        Ok(self.there().status.iter().map(|_| RUN.to_owned()).collect())
    }

    async fn run(&self, _: &SourceExperiment, id: &str) -> Result<SourceRun> {
        let there = self.there();
        let status = there.status.unwrap_or(RunStatus::Running);
        Ok(SourceRun {
            id: id.to_owned(),
            name: "n".to_owned(),
            user: "u".to_owned(),
            status,
            deleted: false,
            started_at: Some(1),
            ended_at: (status != RunStatus::Running).then_some(9),
            artifact_uri: String::new(),
            params: there.params,
            tags: Vec::new(),
            metrics: vec!["m".to_owned()],
            datasets: Vec::new(),
            model_inputs: Vec::new(),
            model_outputs: Vec::new(),
        })
    }

    async fn history(&self, _: &SourceExperiment, _: &str, _: &str) -> Result<Vec<SourcePoint>> {
        Ok(self.there().points)
    }

    async fn logged_models(&self, _: &SourceExperiment) -> Result<Vec<SourceLoggedModel>> {
        if self.there().breaks {
            return Err(Error::new(Code::TemporarilyUnavailable, "gone"));
        }
        Ok(vec![SourceLoggedModel {
            id: "m-1".to_owned(),
            name: "l".to_owned(),
            model_type: String::new(),
            status: "LOGGED_MODEL_READY".to_owned(),
            source_run: None,
            artifact_uri: String::new(),
            created_at: 1,
            updated_at: 1,
            params: Vec::new(),
            tags: Vec::new(),
        }])
    }

    async fn model_points(&self, _: &SourceExperiment, _: &str) -> Result<Vec<SourceModelPoint>> {
        Ok(self.there().model_points)
    }

    async fn models(&self) -> Result<Vec<SourceModel>> {
        let there = self.there();
        let version = |number| SourceVersion {
            number,
            created_at: 1,
            description: String::new(),
            stage: "None".to_owned(),
            source: "s".to_owned(),
            storage: None,
            run: None,
            tags: Vec::new(),
        };
        Ok(vec![SourceModel {
            name: "reg".to_owned(),
            description: String::new(),
            created_at: 1,
            tags: Vec::new(),
            aliases: there.aliases,
            versions: (1..=there.versions).map(version).collect(),
        }])
    }

    async fn files(&self, _: &str) -> Result<Option<Vec<SourceFile>>> {
        Ok(Some(Vec::new()))
    }

    async fn behind(&self, _: &[SourceExperiment]) -> Result<Behind> {
        Ok(Behind::default())
    }

    async fn fetch(&self, _: &str, _: &SourceFile, _: &mut ArtifactWriter) -> Result<()> {
        Ok(())
    }
}

struct Lab {
    registry: Registry,
    db: Db,
    source: Fake,
    actor: Actor,
    _dir: TempDir,
}

impl Lab {
    async fn new(there: There) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(FixedClock::new(Timestamp::from_millis(1000)));
        let db = Db::open(dir.path().join("db").to_str().unwrap(), clock.clone()).await.unwrap();
        let store = Store::open(&dir.path().join("store"), StoreOptions::default()).unwrap();
        let registry = Registry::new(db.clone(), store, clock);
        let source = Fake(Mutex::new(there));
        Self { registry, db, source, actor: Actor::user("ana"), _dir: dir }
    }

    async fn import(&self) -> Result<Imported> {
        import(&self.registry, &self.source, &self.actor, &Quiet).await
    }

    async fn good(&self) -> Imported {
        let done = self.import().await.unwrap();
        assert_eq!(done.problems, Vec::<String>::new());
        done
    }
}

fn point(step: i64) -> SourcePoint {
    SourcePoint { at: step, value: step as f64, step }
}

#[tokio::test]
async fn a_version_that_was_deleted_here_stays_so() {
    let lab = Lab::new(There { versions: 2, ..There::default() }).await;
    assert_eq!(lab.good().await.versions, 2);
    lab.registry.delete_version(&lab.actor, "reg", "2").await.unwrap();
    assert_eq!(lab.good().await.versions, 0);
    lab.source.change(|there| there.versions = 3);
    assert_eq!(lab.good().await.versions, 1);
    assert!(lab.db.model_version("reg", 2).await.unwrap().is_none());
    assert!(lab.db.model_version("reg", 3).await.unwrap().is_some());
}

#[tokio::test]
async fn an_alias_that_was_removed_here_stays_so() {
    let champion = ("champion".to_owned(), 1);
    let lab = Lab::new(There { versions: 1, aliases: vec![champion.clone()], ..There::default() }).await;
    lab.good().await;
    lab.registry.remove_alias(&lab.actor, "reg", "champion").await.unwrap();
    lab.source.change(|there| there.aliases = vec![champion, ("other".to_owned(), 1)]);
    lab.good().await;
    let aliases = lab.db.registered_model("reg").await.unwrap().unwrap().aliases;
    let names: Vec<&str> = aliases.iter().map(|alias| alias.alias.as_str()).collect();
    assert_eq!(names, ["other"], "what is new there comes, what was taken away here does not");
}

#[tokio::test]
async fn a_run_that_was_at_work_comes_along_until_its_end() {
    let pair = |key: &str| KeyValue { key: key.to_owned(), value: "1".to_owned() };
    let lab = Lab::new(There {
        status: Some(RunStatus::Running),
        points: vec![point(1)],
        params: vec![pair("a")],
        ..There::default()
    })
    .await;
    assert_eq!(lab.good().await.runs, 1);
    let run = async || lab.db.tracked_run(RUN.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!((run().await.info.status, run().await.metrics[0].step), (RunStatus::Killed, 1));

    lab.source.change(|there| {
        there.points.push(point(2));
        there.params.push(pair("b"));
    });
    let again = lab.good().await;
    assert_eq!((again.runs, again.known_runs, again.points), (0, 1, 2));
    assert_eq!((run().await.params.len(), run().await.metrics[0].step), (2, 2));

    lab.source.change(|there| {
        there.points.push(point(3));
        there.status = Some(RunStatus::Finished);
    });
    lab.good().await;
    let whole = run().await;
    assert_eq!((whole.info.status, whole.metrics[0].step), (RunStatus::Finished, 3));
    assert_eq!(whole.info.ended_at, Some(Timestamp::from_millis(9)));
    let marks: Vec<&str> = whole.tags.iter().map(|tag| tag.key.as_str()).collect();
    assert_eq!(marks, ["mlflow.runName", "tidemill.imported_from"]);
    // From now on it is as it is.
    lab.source.change(|there| there.points.push(point(4)));
    assert_eq!(lab.good().await.points, 0);
}

#[tokio::test]
async fn a_deleted_experiment_is_deleted_after_an_interruption_too() {
    let lab = Lab::new(There { deleted: true, breaks: true, ..There::default() }).await;
    lab.import().await.unwrap_err();
    let ours = async || lab.db.experiment_by_name("e").await.unwrap().unwrap();
    assert_eq!(ours().await.stage, Stage::Active);
    lab.source.change(|there| there.breaks = false);
    lab.good().await;
    assert_eq!((ours().await.stage, ours().await.tags), (Stage::Deleted, Vec::new()));
    // One that is taken back here stays so.
    lab.registry.restore_experiment(&lab.actor, &ours().await.id.to_string()).await.unwrap();
    lab.good().await;
    assert_eq!(ours().await.stage, Stage::Active);
}

#[tokio::test]
async fn metrics_of_logged_models_come_along() {
    let measured = |step: i64, dataset: Option<&str>| SourceModelPoint {
        key: "acc".to_owned(),
        point: point(step),
        run: Some(RUN.to_owned()),
        dataset_name: dataset.map(str::to_owned),
        dataset_digest: dataset.map(str::to_owned),
    };
    let model_points = vec![measured(2, None), measured(1, None), measured(1, Some("d"))];
    let lab = Lab::new(There { model_points, ..There::default() }).await;
    lab.good().await;
    let metrics = async || lab.db.logged_model("m-1").await.unwrap().unwrap().metrics;
    let found = metrics().await;
    // Every point of it.
    let mut points: Vec<_> = found.iter().map(|one| (one.step, one.dataset_name.as_deref())).collect();
    points.sort_unstable();
    assert_eq!(points, [(1, None), (1, Some("d")), (2, None)]);
    assert!(found.iter().all(|one| one.run_id == RUN.parse().ok() && one.value == one.step as f64));
    // What is measured later on one that is here.
    lab.source.change(|there| there.model_points.push(measured(7, None)));
    lab.good().await;
    let found = metrics().await;
    assert!(found.len() == 4 && found.iter().any(|one| one.step == 7), "{found:?}");
}
