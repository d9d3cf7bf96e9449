//! Searches over experiments, and the datasets that runs read.

use tidemill_db::search::{Condition, DatasetSummary, ExperimentSearch, Field, Op, Operand, OrderBy};
use tidemill_db::tracking::{Batch, Experiment, InputDataset, Stage};
use tidemill_db::{Db, Error};

use crate::fixture::{Fixture, at, on_both, pair, pushed, run_id, tracked};

on_both!(conditions, orders_and_pages, datasets_once_for_each_purpose);

/// Five of them; the fourth is deleted, the third and the fifth were made at the same time.
async fn five(db: &Db) {
    for (id, name, made, changed, team) in [
        (1, "alpha", 10, 50, Some("red")),
        (2, "beta", 20, 40, Some("Red")),
        (3, "Alpine", 30, 30, None),
        (4, "gone", 40, 20, Some("red")),
        (5, "a*b%", 30, 60, Some("blue")),
    ] {
        let mut tx = db.begin().await.unwrap();
        let new = Experiment {
            id,
            name: name.to_owned(),
            artifact_location: format!("mlflow-artifacts:/{id}"),
            stage: Stage::Active,
            created_at: at(made),
            updated_at: at(changed),
            tags: team.map(|team| pair("team", team)).into_iter().collect(),
        };
        tx.create_experiment(&new).await.unwrap();
        if id == 4 {
            tx.move_experiment(id, Stage::Deleted, at(changed)).await.unwrap();
        }
        tx.commit(vec![pushed("x", 1)]).await.unwrap();
    }
}

fn all() -> ExperimentSearch {
    ExperimentSearch {
        stages: vec![Stage::Active],
        conditions: Vec::new(),
        order: Vec::new(),
        limit: 10,
        after: None,
    }
}

async fn ids(db: &Db, search: &ExperimentSearch) -> Vec<i64> {
    let page = db.search_experiments(search).await.unwrap();
    assert!(page.items.iter().all(|found| found.tags.len() == usize::from(found.id != 3)));
    page.items.iter().map(|found| found.id).collect()
}

async fn conditions(f: Fixture) {
    five(&f.db).await;
    let attribute = |name: &str| Field::Attribute(name.to_owned());
    let team = || Field::Tag("team".to_owned());
    let text = |text: &str| Operand::Text(text.to_owned());
    let list = |texts: &[&str]| Operand::List(texts.iter().map(|text| (*text).to_owned()).collect());
    for (field, op, value, found) in [
        (attribute("name"), Op::Eq, text("beta"), &[2][..]),
        (attribute("name"), Op::Ne, text("beta"), &[3, 5, 1]),
        (attribute("name"), Op::Like, text("al%"), &[1]),
        (attribute("name"), Op::ILike, text("al%"), &[3, 1]),
        (attribute("name"), Op::Like, text("a*_%"), &[5]),
        (attribute("experiment_id"), Op::Eq, text("2"), &[2]),
        (attribute("experiment_id"), Op::In, list(&["1", "5", "4"]), &[5, 1]),
        (attribute("experiment_id"), Op::NotIn, list(&["1", "5"]), &[3, 2]),
        (attribute("creation_time"), Op::Ge, Operand::Number(20.5), &[3, 5]),
        (attribute("last_update_time"), Op::Lt, Operand::Number(50.0), &[3, 2]),
        (team(), Op::Eq, text("red"), &[1]),
        (team(), Op::Ne, text("red"), &[5, 2]),
        (team(), Op::ILike, text("RED"), &[2, 1]),
        (team(), Op::IsNull, Operand::Nothing, &[3]),
        (team(), Op::IsNotNull, Operand::Nothing, &[5, 2, 1]),
        (attribute("artifact_location"), Op::Eq, text("x"), &[]),
        (Field::Param("x".to_owned()), Op::Eq, text("x"), &[]),
    ] {
        let condition = Condition { field, op, value };
        let search = ExperimentSearch { conditions: vec![condition.clone()], ..all() };
        assert_eq!(ids(&f.db, &search).await, found, "{condition:?}");
    }
}

async fn orders_and_pages(f: Fixture) {
    five(&f.db).await;
    let by = |names: &[&str]| -> Vec<OrderBy> {
        names
            .iter()
            .map(|name| OrderBy {
                field: Field::Attribute(name.trim_start_matches('-').to_owned()),
                descending: name.starts_with('-'),
            })
            .collect()
    };
    let (both, deleted) = (vec![Stage::Active, Stage::Deleted], vec![Stage::Deleted]);
    for (order, stages, found) in [
        (vec![], both.clone(), &[4, 3, 5, 2, 1][..]),
        (vec![], deleted, &[4]),
        (by(&["name"]), both.clone(), &[3, 5, 1, 2, 4]),
        (by(&["-name"]), both.clone(), &[4, 2, 1, 5, 3]),
        (by(&["creation_time"]), both.clone(), &[1, 2, 5, 3, 4]),
        (by(&["creation_time", "experiment_id"]), both.clone(), &[1, 2, 3, 5, 4]),
        (by(&["-last_update_time", "name"]), both.clone(), &[5, 1, 2, 3, 4]),
        (by(&["-experiment_id", "name"]), both, &[5, 4, 3, 2, 1]),
    ] {
        let mut search = ExperimentSearch { stages, order, ..all() };
        assert_eq!(ids(&f.db, &search).await, found, "{search:?}");
        for limit in 1..=3 {
            (search.limit, search.after) = (limit, None);
            let mut paged = Vec::new();
            loop {
                let page = f.db.search_experiments(&search).await.unwrap();
                paged.extend(page.items.iter().map(|found| found.id));
                search.after = page.next;
                if search.after.is_none() {
                    break;
                }
            }
            assert_eq!(paged, found, "{search:?}");
        }
    }
    let foreign = serde_json::from_str(r#"[{"t":"x"},{"i":1}]"#).unwrap();
    let search = ExperimentSearch { after: Some(foreign), ..all() };
    assert!(matches!(f.db.search_experiments(&search).await, Err(Error::Cursor)));
    assert_eq!(ids(&f.db, &ExperimentSearch { limit: 0, ..all() }).await, [0; 0]);
}

async fn datasets_once_for_each_purpose(f: Fixture) {
    five(&f.db).await;
    let read = |name: &str, purpose: Option<&str>| InputDataset {
        name: name.to_owned(),
        digest: "d".to_owned(),
        source_type: "local".to_owned(),
        source: "s".to_owned(),
        schema: None,
        profile: None,
        tags: std::iter::once(pair("other", "x"))
            .chain(purpose.map(|purpose| pair("mlflow.data.context", purpose)))
            .collect(),
    };
    for (number, experiment, name, purpose) in [
        (1, 1, "tides", Some("train")),
        (2, 1, "tides", Some("train")),
        (3, 1, "tides", Some("test")),
        (4, 1, "moons", None),
        (5, 2, "tides", Some("train")),
        (6, 3, "tides", Some("train")),
    ] {
        let id = run_id(number);
        tracked(&f.db, id, experiment).await;
        let batch = Batch { datasets: vec![read(name, purpose)], ..Batch::default() };
        f.db.ingest().log(id, batch).await.unwrap();
    }
    let summary = |experiment, name: &str, context: Option<&str>| DatasetSummary {
        experiment,
        name: name.to_owned(),
        digest: "d".to_owned(),
        context: context.map(str::to_owned),
    };
    let expected = [
        summary(1, "moons", None),
        summary(1, "tides", Some("test")),
        summary(1, "tides", Some("train")),
        summary(2, "tides", Some("train")),
    ];
    assert_eq!(f.db.dataset_summaries(&[1, 2, 9], 1000).await.unwrap(), expected);
    assert_eq!(f.db.dataset_summaries(&[2, 1], 2).await.unwrap(), expected[..2]);
    assert_eq!(f.db.dataset_summaries(&[], 1000).await.unwrap(), []);
}
