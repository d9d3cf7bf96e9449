//! What was deleted goes for good.

use tidemill_core::{EventKind, RunId};
use tidemill_db::artifacts::Artifact;
use tidemill_db::logged_models::NewLoggedModel;
use tidemill_db::models::NewVersion;
use tidemill_db::tracking::{Removable, Removal, Stage};

use crate::fixture::{
    Fixture, at, digest, event, experiment, metric, metrics, on_both, pushed, run_id, tracked,
};

on_both!(only_what_was_deleted_long_enough_ago_goes, what_a_version_was_made_of_stays, one_alone_goes,);

fn all(before: i64) -> Removal {
    Removal { before: at(before), runs: Vec::new(), experiments: Vec::new(), logged_models: Vec::new() }
}

/// Experiments 3 and 4 with runs 1, 2 and 3, 4; a logged model in each; 4, run 2 and the model of 3 are deleted.
async fn fill(f: &Fixture) -> [RunId; 4] {
    let runs = [1, 2, 3, 4].map(run_id);
    for (id, runs) in [(3, &runs[..2]), (4, &runs[2..])] {
        experiment(&f.db, id).await;
        for run in runs {
            tracked(&f.db, *run, id).await;
            f.db.ingest().log(*run, metrics(vec![metric("m", 1, 1, 0.5)])).await.unwrap();
            put(f, &format!("{id}/{run}/artifacts/a")).await;
        }
        let model = format!("m-{id}");
        let mut tx = f.db.begin().await.unwrap();
        tx.create_logged_model(&NewLoggedModel {
            id: model.clone(),
            experiment: id,
            name: "n".to_owned(),
            model_type: String::new(),
            source_run: Some(runs[0].to_string()),
            artifact_uri: format!("mlflow-artifacts:/{id}/models/{model}/artifacts"),
            created_at: at(1),
            params: Vec::new(),
            tags: Vec::new(),
        })
        .await
        .unwrap();
        if id == 3 {
            tx.delete_logged_model(&model, at(100)).await.unwrap();
        }
        tx.commit(vec![pushed("x", 1)]).await.unwrap();
        put(f, &format!("{id}/models/{model}/artifacts/MLmodel")).await;
    }
    let mut tx = f.db.begin().await.unwrap();
    tx.move_tracked_run(runs[1], Stage::Deleted, at(100)).await.unwrap();
    tx.move_experiment(4, Stage::Deleted, at(200)).await.unwrap();
    tx.commit(vec![pushed("x", 1)]).await.unwrap();
    runs
}

async fn put(f: &Fixture, path: &str) {
    let artifact =
        Artifact { path: path.to_owned(), digest: digest(path), bytes: 1, sha256: None, at: at(1) };
    f.db.put_artifacts(&[artifact]).await.unwrap();
}

async fn remove(f: &Fixture, what: &Removal) -> Removable {
    let mut tx = f.db.begin().await.unwrap();
    let found = tx.removable(what).await.unwrap();
    tx.remove_artifacts_of(&found).await.unwrap();
    tx.remove(&found).await.unwrap();
    let events = found.events().into_iter().map(|kind| event(300, kind)).collect();
    tx.commit(events).await.unwrap();
    found
}

async fn left(f: &Fixture) -> Vec<String> {
    let files = f.db.artifacts_below("", None, usize::MAX).await.unwrap();
    files.into_iter().map(|artifact| artifact.path).collect()
}

async fn only_what_was_deleted_long_enough_ago_goes(f: Fixture) {
    let runs = fill(&f).await;
    assert_eq!(remove(&f, &all(100)).await, Removable::default());
    let found = remove(&f, &all(101)).await;
    assert_eq!((&found.runs[..], &found.experiments[..]), (&runs[1..2], &[][..]));
    assert_eq!(found.logged_models, ["m-3"]);
    assert!(f.db.tracked_run(runs[1]).await.unwrap().is_none());
    assert!(f.db.logged_model("m-3").await.unwrap().is_none());
    assert!(f.db.tracked_run(runs[0]).await.unwrap().is_some());

    let found = remove(&f, &all(201)).await;
    assert_eq!((&found.runs[..], found.experiments.len()), (&runs[2..], 1));
    assert_eq!(found.logged_models, ["m-4"], "what is in an experiment goes with it");
    assert!(f.db.experiment(4).await.unwrap().is_none());
    assert_eq!(f.rows("SELECT CAST(COUNT(*) AS TEXT) FROM series").await, ["1"]);
    assert_eq!(left(&f).await, [format!("3/{}/artifacts/a", runs[0])]);
    assert!(f.rows("SELECT kind FROM event").await.iter().any(|kind| kind == "tracking.run.removed"));

    // The name is free again, the number is not.
    let mut tx = f.db.begin().await.unwrap();
    assert_eq!(tx.next_experiment().await.unwrap(), 5);
    drop(tx);
    assert!(f.db.experiment_by_name("experiment 4").await.unwrap().is_none());
}

async fn what_a_version_was_made_of_stays(f: Fixture) {
    let runs = fill(&f).await;
    let mut tx = f.db.begin().await.unwrap();
    tx.create_model("reg", None, &[], at(1)).await.unwrap();
    for (run, model) in [(Some(runs[1].to_string()), None), (None, Some("m-4".to_owned()))] {
        let new = NewVersion {
            model: "reg".to_owned(),
            number: None,
            description: None,
            user: None,
            source: "s".to_owned(),
            storage_location: None,
            run,
            run_link: None,
            logged_model: model,
            content: None,
            created_at: at(1),
            tags: Vec::new(),
        };
        tx.put_model_version(&new).await.unwrap();
    }
    tx.commit(vec![event(1, EventKind::ModelRegistered { model: "reg".to_owned() })]).await.unwrap();
    let found = remove(&f, &all(1000)).await;
    assert_eq!((found.runs, found.experiments), (runs[2..].to_vec(), Vec::new()));
    assert_eq!((found.logged_models, found.in_use), (vec!["m-3".to_owned()], 1));
    assert!(f.db.logged_model("m-4").await.unwrap().is_some());

    let mut tx = f.db.begin().await.unwrap();
    tx.delete_model("reg").await.unwrap();
    tx.commit(vec![event(1, EventKind::ModelDeleted { model: "reg".to_owned() })]).await.unwrap();
    let found = remove(&f, &all(1000)).await;
    assert_eq!((found.runs, found.experiments.len(), found.in_use), (vec![runs[1]], 1, 0));
}

async fn one_alone_goes(f: Fixture) {
    let runs = fill(&f).await;
    let found = remove(&f, &Removal { runs: vec![runs[0], runs[1]], ..all(1000) }).await;
    assert_eq!(found.runs, [runs[1]], "one that is not deleted stays");
    assert!(found.experiments.is_empty() && found.logged_models.is_empty());
    let found = remove(&f, &Removal { experiments: vec![3, 4], ..all(1000) }).await;
    assert_eq!(found.experiments, [(4, "experiment 4".to_owned())]);
    assert_eq!(found.logged_models, ["m-4"]);
}
