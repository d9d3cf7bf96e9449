//! Evaluation datasets and their records.

use tidemill_core::EventKind;
use tidemill_db::evaluation::{EvaluationDataset, EvaluationQuery, EvaluationRecord};
use tidemill_db::search::{Condition, Field, Op, Operand, OrderBy};
use tidemill_db::{Db, Error};

use crate::fixture::{Fixture, at, event, experiment, on_both, pair};

on_both!(
    a_dataset_from_start_to_end,
    records_of_the_same_inputs_are_one,
    datasets_are_found_page_by_page,
    every_change_has_an_event,
);

fn dataset(id: &str, name: &str, millis: i64) -> EvaluationDataset {
    EvaluationDataset {
        id: id.to_owned(),
        name: name.to_owned(),
        digest: "0".to_owned(),
        created_at: at(millis),
        updated_at: at(millis),
        created_by: Some("ana".to_owned()),
        tags: vec![pair("k", name)],
        ..EvaluationDataset::default()
    }
}

fn changed(id: &str) -> Vec<tidemill_core::NewEvent> {
    let change = "updated".to_owned();
    vec![event(1, EventKind::EvaluationDatasetChanged { dataset: id.to_owned(), change })]
}

async fn put(db: &Db, dataset: &EvaluationDataset, experiments: &[i64]) {
    let mut tx = db.begin().await.unwrap();
    tx.put_evaluation_dataset(dataset).await.unwrap();
    tx.link_evaluation(&dataset.id, experiments, true).await.unwrap();
    tx.commit(changed(&dataset.id)).await.unwrap();
}

async fn a_dataset_from_start_to_end(f: Fixture) {
    experiment(&f.db, 1).await;
    experiment(&f.db, 2).await;
    let mut new = dataset("d-1", "qa", 5);
    put(&f.db, &new, &[1, 2]).await;
    assert_eq!(f.db.evaluation_dataset("d-1").await.unwrap().as_ref(), Some(&new));
    assert_eq!(f.db.evaluation_experiments("d-1").await.unwrap(), [1, 2]);

    let mut tx = f.db.begin().await.unwrap();
    let refused = tx.link_evaluation("d-1", &[2, 77], true).await;
    assert!(
        matches!(&refused, Err(Error::NotFound { what: "experiment", name }) if name == "77"),
        "{refused:?}"
    );
    drop(tx);
    let mut tx = f.db.begin().await.unwrap();
    tx.link_evaluation("d-1", &[2, 77], false).await.unwrap();
    new.tags = vec![pair("k", "other"), pair("l", "1")];
    new.profile = Some("{}".to_owned());
    tx.put_evaluation_dataset(&new).await.unwrap();
    assert!(tx.delete_evaluation_tag("d-1", "l").await.unwrap());
    assert!(!tx.delete_evaluation_tag("d-1", "l").await.unwrap());
    tx.commit(changed("d-1")).await.unwrap();
    assert_eq!(f.db.evaluation_experiments("d-1").await.unwrap(), [1]);
    let read = f.db.evaluation_dataset("d-1").await.unwrap().unwrap();
    assert_eq!((read.tags, read.profile.as_deref()), (vec![pair("k", "other")], Some("{}")));

    let mut tx = f.db.begin().await.unwrap();
    assert!(tx.delete_evaluation_dataset("d-1").await.unwrap());
    assert!(!tx.delete_evaluation_dataset("d-1").await.unwrap());
    tx.commit(changed("d-1")).await.unwrap();
    assert_eq!(f.db.evaluation_dataset("d-1").await.unwrap(), None);
}

fn record(hash: &str, millis: i64) -> EvaluationRecord {
    EvaluationRecord {
        id: format!("dr-{hash}"),
        input_hash: hash.to_owned(),
        inputs: "{\"q\": 1}".to_owned(),
        outputs: Some("1".to_owned()),
        created_at: at(millis),
        updated_at: at(millis),
        ..EvaluationRecord::default()
    }
}

async fn records_of_the_same_inputs_are_one(f: Fixture) {
    put(&f.db, &dataset("d-1", "qa", 5), &[]).await;
    let mut tx = f.db.begin().await.unwrap();
    let records: Vec<_> = (1..=5).map(|i| record(&i.to_string(), i / 3)).collect();
    assert_eq!(tx.put_evaluation_records("d-1", &records).await.unwrap(), 5);
    let again = EvaluationRecord {
        id: "dr-new".to_owned(),
        outputs: None,
        tags: Some("{}".to_owned()),
        updated_at: at(9),
        ..record("2", 9)
    };
    assert_eq!(tx.put_evaluation_records("d-1", &[again]).await.unwrap(), 5);
    let found = tx.evaluation_records("d-1", &["2", "x"]).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].id.as_str(), found[0].outputs.as_deref()), ("dr-2", None));
    assert_eq!((found[0].created_at, found[0].updated_at), (at(0), at(9)));
    let missing = tx.put_evaluation_records("d-x", &records).await;
    assert!(matches!(missing, Err(Error::NotFound { what: "evaluation dataset", .. })), "{missing:?}");
    tx.commit(changed("d-1")).await.unwrap();

    let mut seen = Vec::new();
    let mut after: Option<(tidemill_core::Timestamp, String)> = None;
    loop {
        let from = after.as_ref().map(|(at, id)| (*at, id.as_str()));
        let page = f.db.evaluation_records("d-1", from, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some((last.created_at, last.id.clone()));
        seen.extend(page.into_iter().map(|record| record.input_hash));
    }
    assert_eq!(seen, ["1", "2", "3", "4", "5"]);
    let mut tx = f.db.begin().await.unwrap();
    let gone = ["dr-1".to_owned(), "dr-x".to_owned()];
    assert_eq!(tx.delete_evaluation_records("d-1", &gone).await.unwrap(), (1, 4));
    tx.commit(changed("d-1")).await.unwrap();
}

async fn datasets_are_found_page_by_page(f: Fixture) {
    experiment(&f.db, 1).await;
    for (i, name) in ["b", "a", "c", "a"].into_iter().enumerate() {
        let i = i as i64;
        put(&f.db, &dataset(&format!("d-{i}"), name, i / 2), if i == 2 { &[1] } else { &[] }).await;
    }
    let ids = async |f: &Fixture, query: &EvaluationQuery| -> Vec<String> {
        let found = f.db.search_evaluation_datasets(query).await.unwrap();
        found.into_iter().map(|dataset| dataset.id).collect()
    };
    let by = |name: &str, descending| OrderBy { field: Field::Attribute(name.to_owned()), descending };
    let all = EvaluationQuery { limit: 10, ..EvaluationQuery::default() };
    assert_eq!(ids(&f, &all).await, ["d-3", "d-2", "d-1", "d-0"]);
    assert_eq!(ids(&f, &EvaluationQuery { experiments: vec![1], ..all.clone() }).await, ["d-2"]);
    for (field, op, value, expected) in [
        (Field::Attribute("name".to_owned()), Op::Like, "A", &[][..]),
        (Field::Attribute("name".to_owned()), Op::ILike, "A", &["d-3", "d-1"]),
        (Field::Attribute("created_by".to_owned()), Op::Ne, "ana", &[]),
        (Field::Tag("k".to_owned()), Op::Eq, "c", &["d-2"]),
    ] {
        let conditions = vec![Condition { field, op, value: Operand::Text(value.to_owned()) }];
        assert_eq!(ids(&f, &EvaluationQuery { conditions, ..all.clone() }).await, expected);
    }
    for (order, expected) in [
        (vec![by("name", false)], ["d-3", "d-1", "d-0", "d-2"]),
        (vec![by("created_time", true), by("name", false)], ["d-3", "d-2", "d-1", "d-0"]),
        (vec![by("created_time", false)], ["d-1", "d-0", "d-3", "d-2"]),
    ] {
        let mut query = EvaluationQuery { order, limit: 1, ..all.clone() };
        let mut seen = Vec::new();
        while let Some(id) = ids(&f, &query).await.pop() {
            query.after = Some(id.clone());
            seen.push(id);
        }
        assert_eq!(seen, expected, "{:?}", query.order);
    }
    let odd = EvaluationQuery { order: vec![by("created_by", true)], ..all };
    assert!(matches!(f.db.search_evaluation_datasets(&odd).await, Err(Error::Unsupported { .. })));
}

async fn every_change_has_an_event(f: Fixture) {
    let mut tx = f.db.begin().await.unwrap();
    tx.put_evaluation_dataset(&dataset("d-1", "qa", 5)).await.unwrap();
    assert!(matches!(tx.commit(Vec::new()).await, Err(Error::NoEvent)));
    assert_eq!(f.db.evaluation_dataset("d-1").await.unwrap(), None);
}
