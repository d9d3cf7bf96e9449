//! Lists page by page: nothing twice, nothing left out, and the size and the pulse of the database.

use tidemill_core::EventKind;
use tidemill_db::models::NewVersion;
use tidemill_db::tracking::{Batch, NewTrackedRun, Stage};
use tidemill_db::{Db, EventFilter, Order};

use crate::fixture::{
    Fixture, at, created, event, experiment, new_run, new_tracked, on_both, pushed, run_id, started,
};

on_both!(experiments, tracked_runs, pipeline_runs, models_and_versions, events, pulse);

async fn experiments(f: Fixture) {
    for id in 1..=5 {
        experiment(&f.db, id).await;
    }
    let mut tx = f.db.begin().await.unwrap();
    tx.move_experiment(4, Stage::Deleted, at(9)).await.unwrap();
    tx.commit(vec![event(9, EventKind::ExperimentDeleted { experiment: 4 })]).await.unwrap();
    let ids = async |stage, before| -> Vec<i64> {
        let page = f.db.experiments_before(stage, before, 2).await.unwrap();
        page.into_iter().map(|experiment| experiment.id).collect()
    };
    assert_eq!(ids(Stage::Active, None).await, [5, 3]);
    assert_eq!(ids(Stage::Active, Some(3)).await, [2, 1]);
    assert_eq!(ids(Stage::Deleted, None).await, [4]);
}

async fn tracked_runs(f: Fixture) {
    experiment(&f.db, 1).await;
    experiment(&f.db, 2).await;
    // Two that began at once, one before them, two that did not begin, one elsewhere.
    for (number, experiment, began) in
        [(1, 1, Some(50)), (2, 1, Some(90)), (3, 1, Some(90)), (4, 1, None), (5, 1, None), (6, 2, Some(70))]
    {
        let new = NewTrackedRun { started_at: began.map(at), ..new_tracked(run_id(number), experiment) };
        let event = created(&new);
        f.db.ingest().create_run(new, Batch::default(), event).await.unwrap();
    }
    for size in 1..=6 {
        let (mut seen, mut before) = (Vec::new(), None);
        loop {
            let page = f.db.tracked_runs_before(1, Stage::Active, before, size).await.unwrap();
            let Some(last) = page.last() else { break };
            before = Some((last.info.started_at, last.info.id));
            seen.extend(page.iter().map(|run| run.info.id));
        }
        assert_eq!(seen, [3, 2, 1, 5, 4].map(run_id), "pages of {size}");
    }
    assert!(f.db.tracked_runs_before(1, Stage::Deleted, None, 9).await.unwrap().is_empty());
}

async fn pipeline_runs(f: Fixture) {
    for (number, began) in [(1, 10), (2, 20), (3, 20), (4, 30)] {
        let mut tx = f.db.begin().await.unwrap();
        tx.start_run(&new_run(run_id(number), began)).await.unwrap();
        tx.commit(vec![started(run_id(number), began)]).await.unwrap();
    }
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let page = f.db.runs_before(before, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some((last.started_at, last.id));
        seen.extend(page.iter().map(|run| run.id));
    }
    assert_eq!(seen, [4, 3, 2, 1].map(run_id));
}

async fn model(db: &Db, name: &str, versions: u64) {
    let mut tx = db.begin().await.unwrap();
    assert!(tx.create_model(name, None, &[], at(1)).await.unwrap());
    for _ in 0..versions {
        let new = NewVersion {
            model: name.to_owned(),
            number: None,
            description: None,
            user: None,
            source: "s3://b/m".to_owned(),
            storage_location: None,
            run: None,
            run_link: None,
            logged_model: None,
            content: None,
            created_at: at(2),
            tags: Vec::new(),
        };
        tx.put_model_version(&new).await.unwrap().unwrap();
    }
    tx.commit(vec![event(1, EventKind::ModelRegistered { model: name.to_owned() })]).await.unwrap();
}

async fn models_and_versions(f: Fixture) {
    for (name, versions) in [("b", 3), ("a", 0), ("c%_", 1)] {
        model(&f.db, name, versions).await;
    }
    let names = async |after: Option<&str>| -> Vec<String> {
        let page = f.db.registered_models_after(after, 2).await.unwrap();
        page.into_iter().map(|model| model.name).collect()
    };
    assert_eq!(names(None).await, ["a", "b"]);
    assert_eq!(names(Some("b")).await, ["c%_"]);

    let mut tx = f.db.begin().await.unwrap();
    tx.delete_model_version("b", 2, at(3)).await.unwrap().unwrap();
    tx.commit(vec![event(3, EventKind::VersionDeleted { model: "b".to_owned(), version: 2 })]).await.unwrap();
    let numbers = async |model: &str, before| -> Vec<u64> {
        let page = f.db.model_versions_before(model, before, 5).await.unwrap();
        page.into_iter().map(|version| version.version).collect()
    };
    assert_eq!(numbers("b", None).await, [3, 1]);
    assert_eq!(numbers("b", Some(3)).await, [1]);
    assert_eq!(numbers("a", None).await, [0; 0]);
}

async fn events(f: Fixture) {
    for number in 1..=4 {
        f.db.begin().await.unwrap().commit(vec![pushed("r", number)]).await.unwrap();
    }
    let all =
        f.db.events(&EventFilter { order: Order::NewestFirst, ..EventFilter::default() }).await.unwrap();
    let filter = EventFilter {
        before: Some(all[1].seq),
        order: Order::NewestFirst,
        limit: Some(2),
        ..EventFilter::default()
    };
    assert_eq!(f.db.events(&filter).await.unwrap(), all[2..4]);
}

async fn pulse(f: Fixture) {
    f.db.ping().await.unwrap();
    assert!(f.db.size().await.unwrap() > 4096);
    assert_eq!(f.db.kind(), if f.is_postgres() { "postgresql" } else { "sqlite" });
    assert!(f.url.ends_with(f.db.place().rsplit('/').next().unwrap()), "{}", f.db.place());
    f.db.clone().close().await.unwrap();
    assert!(f.db.ping().await.is_err());
}
