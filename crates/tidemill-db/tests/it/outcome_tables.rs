//! Versions of datasets that are read as outcomes: each once, with one event.

use tidemill_core::{Actor, EventKind, Name, NewEvent, OutcomesOfDataset};
use tidemill_db::outcomes::{Match, Outcome, OutcomeState, TableKey, TableRead};
use tidemill_db::{EventFilter, Order};

use crate::fixture::{Fixture, at, on_both};

on_both!(
    a_version_ends_once_with_one_event,
    only_those_that_are_asked_for_are_read,
    what_a_version_brought_is_counted_by_numbers
);

fn key(version: u64) -> TableKey {
    TableKey {
        endpoint: "loans".to_owned(),
        dataset: Name::new("labels").unwrap(),
        declaration: "d1".to_owned(),
        version,
    }
}

fn outcome(entity: &str) -> Outcome {
    Outcome {
        endpoint: "loans".to_owned(),
        name: "label".to_owned(),
        entity: Some(entity.to_owned()),
        number: Some(1.0),
        received_at: at(5),
        ..Outcome::default()
    }
}

fn event(version: u64) -> NewEvent {
    let of = OutcomesOfDataset {
        endpoint: "loans".to_owned(),
        dataset: "labels".to_owned(),
        version,
        rows: 3,
        ..OutcomesOfDataset::default()
    };
    NewEvent { at: at(9), actor: Actor::system("outcomes"), kind: EventKind::OutcomesRead(of), cause: None }
}

async fn a_version_ends_once_with_one_event(f: Fixture) {
    assert!(f.db.outcome_tables().await.unwrap().is_empty());
    f.db.add_outcomes(&Actor::user("ana"), &[outcome("before")]).await.unwrap();
    let newest = f.db.newest_outcome().await.unwrap();
    assert_eq!(f.db.begin_outcome_table(&key(1), at(1)).await.unwrap(), newest);
    // One that goes on after a kill begins where the first began, whatever came meanwhile.
    f.db.add_outcomes(&Actor::user("ana"), &[outcome("meanwhile")]).await.unwrap();
    assert_eq!(f.db.begin_outcome_table(&key(1), at(2)).await.unwrap(), newest);
    let open = f.db.outcome_tables().await.unwrap();
    assert_eq!((open.len(), open[0].begun_at, open[0].ended_at), (1, at(1), None));
    let size = f.db.log_head().await.unwrap().size;

    let read = TableRead { rows: 3, skipped: 1, accepted: 2, known: 4, rejected: 5 };
    assert!(f.db.end_outcome_table(&key(1), &read, None, newest + 1, event(1)).await.unwrap());
    // Another server that read it as well comes too late.
    assert!(!f.db.end_outcome_table(&key(1), &read, None, newest + 9, event(1)).await.unwrap());
    assert_eq!(f.db.log_head().await.unwrap().size, size + 1);
    let filter = EventFilter { order: Order::OldestFirst, ..EventFilter::default() };
    let last = f.db.events(&filter).await.unwrap().pop().unwrap();
    assert_eq!((last.kind.name(), last.kind.subject().as_str()), ("outcomes.read", "endpoint:loans"));
    assert_eq!(last.kind, event(1).kind, "it reads back as it was written");

    f.db.begin_outcome_table(&key(2), at(10)).await.unwrap();
    let why = Some("it has no column `repaid`");
    assert!(f.db.end_outcome_table(&key(2), &TableRead::default(), why, 7, event(2)).await.unwrap());
    f.db.begin_outcome_table(&TableKey { declaration: "d2".to_owned(), ..key(1) }, at(11)).await.unwrap();
    let tables = f.db.outcome_tables().await.unwrap();
    let shown: Vec<_> = tables
        .iter()
        .map(|table| (table.key.declaration.as_str(), table.key.version, table.error.as_deref()))
        .collect();
    assert_eq!(shown, [("d1", 2, why), ("d2", 1, None)], "the newest of each declaration");
    assert_eq!((tables[0].ended_at, tables[0].numbers.1), (Some(at(9)), Some(7)));
}

async fn only_those_that_are_asked_for_are_read(f: Fixture) {
    let of = |endpoint: &str, declaration: &str, version: u64| TableKey {
        endpoint: endpoint.to_owned(),
        declaration: declaration.to_owned(),
        ..key(version)
    };
    for (number, (endpoint, declaration, version)) in
        [("loans", "d1", 0), ("loans", "d1", 3), ("loans", "d2", 1), ("cards", "d1", 2), ("cards", "d2", 9)]
            .into_iter()
            .enumerate()
    {
        f.db.begin_outcome_table(&of(endpoint, declaration, version), at(number as i64)).await.unwrap();
    }
    let read = async |wanted: &[TableKey]| -> Vec<(String, String, u64)> {
        let found = f.db.outcome_tables_of(wanted).await.unwrap();
        let mut found: Vec<_> = found
            .into_iter()
            .map(|table| (table.key.endpoint, table.key.declaration, table.key.version))
            .collect();
        found.sort();
        found
    };
    let row = |endpoint: &str, declaration: &str, version: u64| {
        (endpoint.to_owned(), declaration.to_owned(), version)
    };
    // Whatever version is named, the newest is meant; what is not known is left out.
    let wanted = [of("loans", "d1", 0), of("cards", "d1", 7), of("loans", "d9", 1)];
    assert_eq!(read(&wanted).await, [row("cards", "d1", 2), row("loans", "d1", 3)]);
    assert!(read(&[]).await.is_empty());
    let other = TableKey { dataset: Name::new("other").unwrap(), ..of("loans", "d1", 3) };
    assert!(read(&[other]).await.is_empty());
}

async fn what_a_version_brought_is_counted_by_numbers(f: Fixture) {
    let ana = Actor::user("ana");
    f.db.add_outcomes(&ana, &[outcome("before")]).await.unwrap();
    let after = f.db.newest_outcome().await.unwrap();
    f.db.add_outcomes_once(&ana, &[outcome("a"), outcome("b"), outcome("c")]).await.unwrap();
    let until = f.db.newest_outcome().await.unwrap();
    f.db.add_outcomes(&ana, &[outcome("later"), outcome("later still")]).await.unwrap();
    let brought = f.db.outcomes("loans", None, after, 3).await.unwrap();
    let matched = |mut outcome: Outcome, request: &str| {
        outcome.matched = Some(Match { request_id: request.to_owned(), row: None, at: at(3) });
        outcome.state = OutcomeState::Matched;
        outcome
    };
    let settled = [matched(brought[0].clone(), "r1"), matched(brought[1].clone(), "r2")];
    f.db.settle_outcomes("loans", &settled, at(8)).await.unwrap();
    let counts = async |until| f.db.outcome_counts_between("loans", (after, until)).await.unwrap();
    let of_version = counts(Some(until)).await;
    assert_eq!((of_version.matched, of_version.waiting), (2, 1));
    assert_eq!(counts(None).await.waiting, 3);
    assert_eq!(f.db.outcome_counts_after("loans", after).await.unwrap(), counts(None).await);
    assert_eq!(f.db.outcome_counts("loans").await.unwrap().waiting, 4);
}
