//! Experiments: made, read, renamed, deleted with their runs, restored, tagged.

use tidemill_core::EventKind;
use tidemill_db::tracking::{Batch, Experiment, Stage};
use tidemill_db::{Db, Error, Tx};

use crate::fixture::{Fixture, at, event, experiment, metric, metrics, on_both, pair, run_id, tracked};

on_both!(
    made_and_read,
    names_are_unique,
    deleted_and_restored_with_their_runs,
    tags,
    no_run_begins_in_a_deleted_one,
    nothing_changes_without_an_event,
);

async fn commit(tx: Tx) {
    tx.commit(vec![event(7, EventKind::ExperimentDeleted { experiment: 1 })]).await.unwrap();
}

async fn read(db: &Db, id: i64) -> Experiment {
    db.experiment(id).await.unwrap().unwrap()
}

async fn made_and_read(f: Fixture) {
    let mut tx = f.db.begin().await.unwrap();
    assert_eq!(tx.next_experiment().await.unwrap(), 1);
    drop(tx);
    let zero = experiment(&f.db, 0).await;
    let first = experiment(&f.db, 1).await;
    assert_eq!(read(&f.db, 0).await, zero);
    assert_eq!(f.db.experiment_by_name(&first.name).await.unwrap(), Some(first));
    assert_eq!(f.db.experiment(2).await.unwrap(), None);
    assert_eq!(f.db.experiment_by_name("Experiment 1").await.unwrap(), None);
    let mut tx = f.db.begin().await.unwrap();
    assert_eq!(tx.next_experiment().await.unwrap(), 2);
    assert_eq!(tx.experiment(0).await.unwrap(), Some(zero));
}

async fn names_are_unique(f: Fixture) {
    let first = experiment(&f.db, 1).await;
    experiment(&f.db, 2).await;
    let mut tx = f.db.begin().await.unwrap();
    let again = tx.create_experiment(&Experiment { id: 3, ..first.clone() }).await;
    assert!(matches!(again, Err(Error::Exists { what: "experiment", .. })), "{again:?}");
    let taken = tx.rename_experiment(2, &first.name, at(9)).await;
    assert!(matches!(taken, Err(Error::Exists { what: "experiment", .. })), "{taken:?}");
    tx.rename_experiment(2, "experiment 2", at(9)).await.unwrap();
    tx.rename_experiment(1, "other", at(10)).await.unwrap();
    let missing = tx.rename_experiment(5, "x", at(9)).await;
    assert!(matches!(missing, Err(Error::NotFound { what: "experiment", .. })), "{missing:?}");
    commit(tx).await;
    let renamed = read(&f.db, 1).await;
    assert_eq!((renamed.name.as_str(), renamed.updated_at, renamed.created_at), ("other", at(10), at(1)));
}

async fn deleted_and_restored_with_their_runs(f: Fixture) {
    for id in 1..=2 {
        experiment(&f.db, id).await;
        tracked(&f.db, run_id(id as u8 * 10), id).await;
        tracked(&f.db, run_id(id as u8 * 10 + 1), id).await;
    }
    let mut tx = f.db.begin().await.unwrap();
    assert!(tx.move_tracked_run(run_id(10), Stage::Deleted, at(5)).await.unwrap());
    assert!(!tx.move_tracked_run(run_id(10), Stage::Deleted, at(6)).await.unwrap());
    let missing = tx.move_tracked_run(run_id(99), Stage::Deleted, at(5)).await;
    assert!(matches!(missing, Err(Error::NotFound { what: "tracked run", .. })), "{missing:?}");
    tx.move_experiment(1, Stage::Deleted, at(8)).await.unwrap();
    let again = tx.move_experiment(1, Stage::Deleted, at(9)).await;
    assert!(matches!(again, Err(Error::NotFound { what: "experiment", .. })), "{again:?}");
    commit(tx).await;
    assert_eq!((read(&f.db, 1).await.stage, read(&f.db, 1).await.updated_at), (Stage::Deleted, at(8)));
    let stages = || async {
        let mut stages = Vec::new();
        for run in [10, 11, 20, 21] {
            stages.push(f.db.tracked_run_info(run_id(run)).await.unwrap().unwrap().stage);
        }
        stages
    };
    let (active, deleted) = (Stage::Active, Stage::Deleted);
    assert_eq!(stages().await, [deleted, deleted, active, active]);
    let refused = f.db.ingest().log(run_id(11), metrics(vec![metric("m", 1, 1, 1.0)])).await;
    assert!(matches!(refused, Err(Error::Deleted { what: "tracked run", .. })), "{refused:?}");
    let mut tx = f.db.begin().await.unwrap();
    tx.move_experiment(1, Stage::Active, at(9)).await.unwrap();
    commit(tx).await;
    assert_eq!(stages().await, [active; 4]);
    f.db.ingest().log(run_id(11), metrics(vec![metric("m", 1, 1, 1.0)])).await.unwrap();
}

async fn tags(f: Fixture) {
    experiment(&f.db, 1).await;
    let mut tx = f.db.begin().await.unwrap();
    tx.set_experiment_tag(1, &pair("team", "other")).await.unwrap();
    tx.set_experiment_tag(1, &pair("a", "é'")).await.unwrap();
    assert!(!tx.remove_experiment_tag(1, "b").await.unwrap());
    commit(tx).await;
    assert_eq!(read(&f.db, 1).await.tags, [pair("a", "é'"), pair("team", "other")]);
    let mut tx = f.db.begin().await.unwrap();
    assert!(tx.remove_experiment_tag(1, "a").await.unwrap());
    commit(tx).await;
    assert_eq!(read(&f.db, 1).await.tags, [pair("team", "other")]);
}

async fn no_run_begins_in_a_deleted_one(f: Fixture) {
    experiment(&f.db, 1).await;
    let mut tx = f.db.begin().await.unwrap();
    tx.move_experiment(1, Stage::Deleted, at(8)).await.unwrap();
    commit(tx).await;
    let size = f.db.log_head().await.unwrap().size;
    for (experiment, what) in [(1, "deleted"), (7, "missing")] {
        let run = crate::fixture::new_tracked(run_id(1), experiment);
        let event = crate::fixture::created(&run);
        let refused = f.db.ingest().create_run(run, Batch::default(), event).await;
        let good = match (&refused, what) {
            (Err(Error::Deleted { what: "experiment", name }), "deleted") => name == "1",
            (Err(Error::NotFound { what: "experiment", name }), "missing") => name == "7",
            _ => false,
        };
        assert!(good, "{refused:?}");
    }
    assert_eq!(f.db.log_head().await.unwrap().size, size);
    assert_eq!(f.db.tracked_run(run_id(1)).await.unwrap(), None);
}

async fn nothing_changes_without_an_event(f: Fixture) {
    experiment(&f.db, 1).await;
    let mut tx = f.db.begin().await.unwrap();
    tx.rename_experiment(1, "other", at(9)).await.unwrap();
    assert!(matches!(tx.commit(Vec::new()).await, Err(Error::NoEvent)));
    assert_eq!(read(&f.db, 1).await.name, "experiment 1");
}
