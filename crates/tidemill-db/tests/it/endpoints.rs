//! Endpoints and their history.

use tidemill_core::{Actor, EventKind};
use tidemill_db::{Db, Error};

use crate::fixture::{Fixture, at, digest, event, on_both, open};

on_both!(
    a_declaration_comes_back_and_is_replaced,
    the_history_survives_deletion,
    a_change_needs_an_event,
    pages_are_by_name,
);

async fn put(db: &Db, name: &str, spec: &str, millis: i64) -> u64 {
    let mut tx = db.begin().await.unwrap();
    let revision = tx.put_endpoint(name, spec, &Actor::user("ana"), at(millis)).await.unwrap();
    let kind = EventKind::EndpointSet {
        endpoint: name.to_owned(),
        revision,
        spec: digest(spec),
        arms: vec!["champion: churn@3, 100 %".to_owned()],
        records: None,
    };
    tx.commit(vec![event(millis, kind)]).await.unwrap();
    revision
}

async fn a_declaration_comes_back_and_is_replaced(f: Fixture) {
    assert_eq!(f.db.endpoint("churn").await.unwrap(), None);
    assert_eq!(put(&f.db, "churn", "{\"arms\":[]}", 5).await, 1);
    assert_eq!(put(&f.db, "churn", "{\"arms\":[1]}", 9).await, 2);
    let found = open(&f.url).await.endpoint("churn").await.unwrap().unwrap();
    assert_eq!((found.revision, found.spec.as_str()), (2, "{\"arms\":[1]}"));
    assert_eq!((found.created_at, found.updated_at), (at(5), at(9)));
}

async fn the_history_survives_deletion(f: Fixture) {
    put(&f.db, "churn", "a", 1).await;
    put(&f.db, "other", "x", 1).await;
    let mut tx = f.db.begin().await.unwrap();
    assert_eq!(tx.delete_endpoint("none", &Actor::user("bo"), at(2)).await.unwrap(), None);
    let gone = tx.delete_endpoint("churn", &Actor::user("bo"), at(2)).await.unwrap();
    assert_eq!(gone, Some(2));
    let kind = EventKind::EndpointDeleted { endpoint: "churn".to_owned(), revision: 2 };
    tx.commit(vec![event(2, kind)]).await.unwrap();
    assert_eq!(f.db.endpoint("churn").await.unwrap(), None);
    assert_eq!(put(&f.db, "churn", "b", 3).await, 3, "revisions of a name only grow");

    let history = f.db.endpoint_history("churn", None, 10).await.unwrap();
    let seen: Vec<_> = history.iter().map(|one| (one.revision, one.spec.as_deref(), one.at)).collect();
    assert_eq!(seen, [(3, Some("b"), at(3)), (2, None, at(2)), (1, Some("a"), at(1))]);
    assert_eq!(history[1].actor, Actor::user("bo"));
    let page = f.db.endpoint_history("churn", Some(3), 1).await.unwrap();
    assert_eq!(page[0].revision, 2);
    let events = f.db.events(&tidemill_db::EventFilter::default()).await.unwrap();
    let names: Vec<_> = events.iter().map(|event| (event.kind.name(), event.kind.subject())).collect();
    assert!(names.contains(&("endpoint.deleted", "endpoint:churn".to_owned())), "{names:?}");
}

async fn a_change_needs_an_event(f: Fixture) {
    let mut tx = f.db.begin().await.unwrap();
    tx.put_endpoint("churn", "a", &Actor::user("ana"), at(1)).await.unwrap();
    assert!(matches!(tx.commit(Vec::new()).await, Err(Error::NoEvent)));
    assert_eq!(f.db.endpoint("churn").await.unwrap(), None);
    assert_eq!(f.db.endpoint_history("churn", None, 10).await.unwrap(), []);
}

async fn pages_are_by_name(f: Fixture) {
    for name in ["b", "a", "C", "d"] {
        put(&f.db, name, "{}", 1).await;
    }
    let names = async |after: Option<&str>, limit| -> Vec<String> {
        let page = f.db.endpoints_after(after, limit).await.unwrap();
        page.into_iter().map(|endpoint| endpoint.name).collect()
    };
    assert_eq!(names(None, 3).await, ["C", "a", "b"]);
    assert_eq!(names(Some("b"), 3).await, ["d"]);
}
