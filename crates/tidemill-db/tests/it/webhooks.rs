//! Webhooks and their outbox.

use tidemill_core::{EventKind, NewEvent};
use tidemill_db::webhooks::{Attempt, NewWebhook, Secret, WebhookEvent, WebhookPatch};
use tidemill_db::{Db, Error};

use crate::fixture::{Fixture, at, event, on_both, open};

on_both!(
    all_fields_of_a_webhook_come_back,
    what_is_not_named_stays,
    lists_are_newest_first,
    only_those_that_listen_are_told,
    a_change_and_its_deliveries_are_one,
    deliveries_are_taken_once,
    two_servers_take_different_deliveries,
    attempts_end,
    old_deliveries_are_removed,
);

fn listens(entity: &str, action: &str) -> WebhookEvent {
    WebhookEvent { entity: entity.to_owned(), action: action.to_owned() }
}

fn new_webhook(id: &str, millis: i64) -> NewWebhook {
    NewWebhook {
        id: id.to_owned(),
        name: "hook".to_owned(),
        description: None,
        url: "https://example.com/x".to_owned(),
        secret: Some(Secret::new("s3cret")),
        active: true,
        events: vec![listens("model_version", "created"), listens("model_version", "created")],
        created_at: at(millis),
    }
}

fn changed(id: &str) -> Vec<NewEvent> {
    vec![event(1, EventKind::WebhookChanged { webhook: id.to_owned(), change: "created".to_owned() })]
}

async fn put(db: &Db, new: &NewWebhook) {
    let mut tx = db.begin().await.unwrap();
    tx.create_webhook(new).await.unwrap();
    tx.commit(changed(&new.id)).await.unwrap();
}

async fn queue(db: &Db, data: &str, millis: i64) -> usize {
    let mut number = 0;
    let fresh = || {
        number += 1;
        format!("{data}-{number}")
    };
    let mut tx = db.begin().await.unwrap();
    let queued = tx.queue_deliveries("model_version", "created", data, at(millis), fresh).await.unwrap();
    tx.commit(changed("x")).await.unwrap();
    queued
}

async fn all_fields_of_a_webhook_come_back(f: Fixture) {
    put(&f.db, &new_webhook("w", 5)).await;
    let webhook = f.db.webhook("w").await.unwrap().unwrap();
    assert_eq!((webhook.id.as_str(), webhook.name.as_str()), ("w", "hook"));
    assert_eq!((webhook.url.as_str(), webhook.active), ("https://example.com/x", true));
    assert_eq!((webhook.description, webhook.created_at, webhook.updated_at), (None, at(5), at(5)));
    assert_eq!(webhook.events, [listens("model_version", "created")]);
    let secret = f.db.webhook_secret("w").await.unwrap().unwrap();
    assert_eq!(secret.reveal(), "s3cret");
    assert!(!format!("{secret:?}{:?}", new_webhook("w", 5)).contains("s3cret"), "secrets are not shown");
    assert!(f.db.webhook("v").await.unwrap().is_none());
    assert!(f.db.webhook_secret("v").await.unwrap().is_none());
}

async fn what_is_not_named_stays(f: Fixture) {
    put(&f.db, &new_webhook("w", 5)).await;
    let before = f.db.webhook("w").await.unwrap().unwrap();
    let mut tx = f.db.begin().await.unwrap();
    assert!(tx.update_webhook("w", &WebhookPatch::default(), at(9)).await.unwrap());
    tx.commit(changed("w")).await.unwrap();
    let mut after = f.db.webhook("w").await.unwrap().unwrap();
    assert_eq!(after.updated_at, at(9));
    after.updated_at = before.updated_at;
    assert_eq!(after, before);
    let patch = WebhookPatch {
        name: Some("other".to_owned()),
        description: Some("d".to_owned()),
        url: Some("https://example.com/y".to_owned()),
        secret: Some(Secret::new("new")),
        active: Some(false),
        events: Some(vec![listens("prompt", "created")]),
    };
    let mut tx = f.db.begin().await.unwrap();
    assert!(tx.update_webhook("w", &patch, at(10)).await.unwrap());
    assert!(!tx.update_webhook("v", &patch, at(10)).await.unwrap());
    assert_eq!(tx.webhook("w").await.unwrap().unwrap().events, [listens("prompt", "created")]);
    tx.commit(changed("w")).await.unwrap();
    let webhook = f.db.webhook("w").await.unwrap().unwrap();
    assert_eq!(
        (webhook.name.as_str(), webhook.active, webhook.description.as_deref()),
        ("other", false, Some("d"))
    );
    assert_eq!(f.db.webhook_secret("w").await.unwrap().unwrap().reveal(), "new");
}

async fn lists_are_newest_first(f: Fixture) {
    for (id, millis) in [("a", 5), ("b", 7), ("c", 7)] {
        put(&f.db, &new_webhook(id, millis)).await;
    }
    let ids = async |offset, limit| {
        let found = f.db.webhooks(offset, limit).await.unwrap();
        found.into_iter().map(|webhook| webhook.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(0, 10).await, ["c", "b", "a"]);
    assert_eq!(ids(1, 1).await, ["b"]);
    let mut tx = f.db.begin().await.unwrap();
    assert!(tx.delete_webhook("b").await.unwrap());
    assert!(!tx.delete_webhook("b").await.unwrap());
    tx.commit(changed("b")).await.unwrap();
    assert_eq!(ids(0, 10).await, ["c", "a"]);
}

async fn only_those_that_listen_are_told(f: Fixture) {
    put(&f.db, &new_webhook("yes", 5)).await;
    put(&f.db, &NewWebhook { events: vec![listens("prompt", "created")], ..new_webhook("other", 5) }).await;
    put(&f.db, &NewWebhook { active: false, ..new_webhook("disabled", 5) }).await;
    assert_eq!(queue(&f.db, "{}", 10).await, 1);
    let taken = f.db.claim_deliveries(at(10), at(70), 10).await.unwrap();
    assert_eq!(taken.len(), 1);
    let delivery = &taken[0];
    assert_eq!((delivery.webhook.as_str(), delivery.id.as_str()), ("yes", "{}-1"));
    assert_eq!((delivery.entity.as_str(), delivery.action.as_str()), ("model_version", "created"));
    assert_eq!((delivery.data.as_str(), delivery.attempts, delivery.created_at), ("{}", 1, at(10)));
    assert_eq!(delivery.secret.as_ref().unwrap().reveal(), "s3cret");
    let mut tx = f.db.begin().await.unwrap();
    tx.delete_webhook("yes").await.unwrap();
    tx.commit(changed("yes")).await.unwrap();
    assert_eq!(f.db.next_delivery().await.unwrap(), None, "what waits goes with the webhook");
    f.db.end_attempt("{}-1", &Attempt::Delivered).await.unwrap();
}

async fn a_change_and_its_deliveries_are_one(f: Fixture) {
    put(&f.db, &new_webhook("w", 5)).await;
    let mut tx = f.db.begin().await.unwrap();
    let fresh = || "d".to_owned();
    assert_eq!(tx.queue_deliveries("model_version", "created", "{}", at(1), fresh).await.unwrap(), 1);
    drop(tx);
    assert_eq!(f.db.next_delivery().await.unwrap(), None);
    let mut tx = f.db.begin().await.unwrap();
    tx.create_model("m", None, &[], at(1)).await.unwrap();
    tx.queue_deliveries("model_version", "created", "{}", at(1), fresh).await.unwrap();
    assert!(matches!(tx.commit(vec![]).await, Err(Error::NoEvent)));
    assert_eq!(f.db.next_delivery().await.unwrap(), None);
    queue(&f.db, "{}", 3).await;
    assert_eq!(f.db.next_delivery().await.unwrap(), Some(at(3)));
}

async fn deliveries_are_taken_once(f: Fixture) {
    put(&f.db, &new_webhook("w", 5)).await;
    for data in ["a", "b", "c"] {
        queue(&f.db, data, 10).await;
    }
    assert!(f.db.claim_deliveries(at(9), at(70), 10).await.unwrap().is_empty(), "not yet due");
    let first = f.db.claim_deliveries(at(10), at(70), 2).await.unwrap();
    assert_eq!(first.iter().map(|d| d.data.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let second = f.db.claim_deliveries(at(10), at(70), 10).await.unwrap();
    assert_eq!(second.iter().map(|d| d.data.as_str()).collect::<Vec<_>>(), ["c"]);
    assert!(f.db.claim_deliveries(at(69), at(90), 10).await.unwrap().is_empty());
    let again = f.db.claim_deliveries(at(70), at(130), 10).await.unwrap();
    assert_eq!(again.len(), 3, "who took them has died");
    assert!(again.iter().all(|delivery| delivery.attempts == 2));
}

async fn two_servers_take_different_deliveries(f: Fixture) {
    put(&f.db, &new_webhook("w", 5)).await;
    for number in 0..20 {
        queue(&f.db, &number.to_string(), 10).await;
    }
    let other = open(&f.url).await;
    let (mut taken, mut rounds) = (Vec::new(), 0);
    while rounds < 10 {
        let (one, two) =
            tokio::join!(f.db.claim_deliveries(at(10), at(70), 3), other.claim_deliveries(at(10), at(70), 3));
        taken.extend(one.unwrap().into_iter().chain(two.unwrap()).map(|delivery| delivery.id));
        rounds += 1;
    }
    assert_eq!(taken.len(), 20);
    taken.sort();
    taken.dedup();
    assert_eq!(taken.len(), 20);
}

async fn attempts_end(f: Fixture) {
    put(&f.db, &new_webhook("w", 5)).await;
    for data in ["a", "b", "c"] {
        queue(&f.db, data, 10).await;
    }
    f.db.claim_deliveries(at(10), at(70), 10).await.unwrap();
    f.db.end_attempt("a-1", &Attempt::Delivered).await.unwrap();
    f.db.end_attempt("b-1", &Attempt::Later(at(20), "refused".to_owned())).await.unwrap();
    f.db.end_attempt("c-1", &Attempt::Failed("gone".to_owned())).await.unwrap();
    assert_eq!(f.db.next_delivery().await.unwrap(), Some(at(20)));
    let due = f.db.claim_deliveries(at(1000), at(2000), 10).await.unwrap();
    assert_eq!(due.iter().map(|d| (d.id.as_str(), d.attempts)).collect::<Vec<_>>(), [("b-1", 2)]);
}

async fn old_deliveries_are_removed(f: Fixture) {
    put(&f.db, &new_webhook("w", 5)).await;
    for (data, millis) in [("a", 10), ("b", 10), ("c", 30)] {
        queue(&f.db, data, millis).await;
    }
    f.db.end_attempt("a-1", &Attempt::Delivered).await.unwrap();
    f.db.end_attempt("c-1", &Attempt::Delivered).await.unwrap();
    assert_eq!(f.db.prune_deliveries(at(20)).await.unwrap(), 1);
    assert_eq!(f.db.prune_deliveries(at(31)).await.unwrap(), 1);
    assert_eq!(f.db.next_delivery().await.unwrap(), Some(at(10)), "what waits stays however old");
}
