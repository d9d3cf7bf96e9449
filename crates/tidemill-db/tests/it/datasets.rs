//! Datasets and their versions, and the rule that a change needs an event.

use tidemill_core::{Actor, EventKind, Name, NewEvent};
use tidemill_db::{Db, Error, EventFilter, NewDatasetVersion, PutVersion};

use crate::fixture::{Fixture, at, digest, event, on_both, open};

on_both!(
    versions_are_numbered_from_one,
    the_same_content_again_is_no_new_version,
    all_fields_come_back,
    a_change_without_an_event_is_refused,
    a_dropped_transaction_leaves_nothing,
    two_connections_number_without_gaps,
);

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn version(dataset: &str, content: &str) -> NewDatasetVersion {
    NewDatasetVersion {
        dataset: name(dataset),
        content: digest(content),
        kind: "table".to_owned(),
        bytes: 1 << 40,
        files: 12,
        rows: Some(336_776),
        schema: Some("{\"fields\":[]}".to_owned()),
        source: "data/flügé 'x'.parquet".to_owned(),
        message: Some("first \"quoted\"\n\u{1F30A}".to_owned()),
        created_at: at(1000),
        actor: Actor::user("ana \\ \"x\""),
    }
}

fn created(dataset: &str, version: u64, content: &str) -> NewEvent {
    let kind = EventKind::DatasetVersionCreated {
        dataset: dataset.to_owned(),
        version,
        content: digest(content),
        bytes: 1,
        rows: None,
    };
    event(5, kind)
}

async fn put(db: &Db, dataset: &str, content: &str) -> PutVersion {
    let mut tx = db.begin().await.unwrap();
    let put = tx.put_dataset_version(&version(dataset, content)).await.unwrap();
    let events = if put.created { vec![created(dataset, put.version, content)] } else { Vec::new() };
    tx.commit(events).await.unwrap();
    put
}

async fn versions_are_numbered_from_one(f: Fixture) {
    for (dataset, content, expected) in [("a", "1", 1), ("a", "2", 2), ("b", "1", 1), ("a", "1", 3)] {
        assert_eq!(put(&f.db, dataset, content).await, PutVersion { version: expected, created: true });
    }
    let found = f.db.datasets().await.unwrap();
    let latest: Vec<_> = found.iter().map(|d| (d.name.as_str(), d.latest)).collect();
    assert_eq!(latest, [("a", 3), ("b", 1)]);
    let versions = f.db.dataset_versions(&name("a")).await.unwrap();
    let held: Vec<_> = versions.iter().map(|v| (v.version, v.content)).collect();
    assert_eq!(held, [(3, digest("1")), (2, digest("2")), (1, digest("1"))]);
    let newest = f.db.latest_dataset_versions().await.unwrap();
    let newest: Vec<_> = newest.iter().map(|v| (v.dataset.as_str(), v.version)).collect();
    assert_eq!(newest, [("a", 3), ("b", 1)]);
    assert!(f.db.dataset_versions(&name("c")).await.unwrap().is_empty());
}

async fn the_same_content_again_is_no_new_version(f: Fixture) {
    put(&f.db, "a", "1").await;
    assert_eq!(put(&f.db, "a", "1").await, PutVersion { version: 1, created: false });
    assert_eq!(f.db.dataset_versions(&name("a")).await.unwrap().len(), 1);
    assert_eq!(f.db.log_head().await.unwrap().size, 1);
}

async fn all_fields_come_back(f: Fixture) {
    put(&f.db, "a", "1").await;
    let new = version("a", "1");
    let latest = f.db.dataset_version(&name("a"), None).await.unwrap().unwrap();
    assert_eq!(f.db.dataset_version(&name("a"), Some(1)).await.unwrap().as_ref(), Some(&latest));
    let back = NewDatasetVersion {
        dataset: latest.dataset,
        content: latest.content,
        kind: latest.kind,
        bytes: latest.bytes,
        files: latest.files,
        rows: latest.rows,
        schema: latest.schema,
        source: latest.source,
        message: latest.message,
        created_at: latest.created_at,
        actor: latest.actor,
    };
    assert_eq!(back, new);
    for absent in [0, 2, u64::MAX] {
        assert_eq!(f.db.dataset_version(&name("a"), Some(absent)).await.unwrap(), None);
    }
}

async fn a_change_without_an_event_is_refused(f: Fixture) {
    let mut tx = f.db.begin().await.unwrap();
    tx.put_dataset_version(&version("a", "1")).await.unwrap();
    assert!(matches!(tx.commit(Vec::new()).await, Err(Error::NoEvent)));
    assert!(f.db.datasets().await.unwrap().is_empty());
    // Nothing written, nothing to record.
    let tx = f.db.begin().await.unwrap();
    assert_eq!(tx.commit(Vec::new()).await.unwrap(), Vec::<u64>::new());
}

async fn a_dropped_transaction_leaves_nothing(f: Fixture) {
    let mut tx = f.db.begin().await.unwrap();
    tx.put_dataset_version(&version("a", "1")).await.unwrap();
    drop(tx);
    assert_eq!(put(&f.db, "b", "1").await, PutVersion { version: 1, created: true });
    assert_eq!(f.db.datasets().await.unwrap().len(), 1);
    assert_eq!(f.db.events(&EventFilter::default()).await.unwrap().len(), 1);
}

/// Two handles are to each other as two processes are: they share nothing but the database.
async fn two_connections_number_without_gaps(f: Fixture) {
    let other = open(&f.url).await;
    let mut tasks = Vec::new();
    for i in 0..20 {
        let db = if i % 2 == 0 { f.db.clone() } else { other.clone() };
        tasks.push(tokio::spawn(async move { put(&db, "a", &format!("content {i}")).await.version }));
    }
    let mut versions = Vec::new();
    for task in tasks {
        versions.push(task.await.unwrap());
    }
    versions.sort_unstable();
    assert_eq!(versions, (1..=20).collect::<Vec<u64>>());
    let verdict = other.verify_log(&tidemill_core::Quiet).await.unwrap();
    assert_eq!((verdict.checked, verdict.first_bad), (20, None));
}
