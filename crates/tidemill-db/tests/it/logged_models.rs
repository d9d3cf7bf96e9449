//! Logged models.

use tidemill_core::EventKind;
use tidemill_db::logged_models::{
    DatasetName, LoggedModelOrder, LoggedModelQuery, LoggedModelStatus, NewLoggedModel,
};
use tidemill_db::search::{Condition, Field, Op, Operand};
use tidemill_db::tracking::{KeyValue, Metric, Stage};
use tidemill_db::{Db, Error};

use crate::fixture::{Fixture, at, event, on_both};

on_both!(
    all_fields_of_a_logged_model_come_back,
    a_logged_model_needs_its_experiment,
    status_and_deletion_are_kept,
    params_and_tags_are_observations,
    metrics_come_with_their_model,
    points_of_metrics,
    models_are_found_by_run_and_name,
    logged_models_are_searched,
);

fn kv(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.to_owned(), value: value.to_owned() }
}

async fn experiment(f: &Fixture, id: i64) {
    f.sql(&format!(
        "INSERT INTO experiment (id, name, artifact_location, stage, created_at, updated_at)
         VALUES ({id}, 'e{id}', 'mlflow-artifacts:/{id}', 'active', 1, 1) ON CONFLICT (id) DO NOTHING"
    ))
    .await;
}

fn new_model(id: &str, experiment: i64, millis: i64) -> NewLoggedModel {
    NewLoggedModel {
        id: id.to_owned(),
        experiment,
        name: "net".to_owned(),
        model_type: "Agent".to_owned(),
        source_run: Some("0f".repeat(16)),
        artifact_uri: format!("mlflow-artifacts:/{experiment}/models/{id}/artifacts"),
        created_at: at(millis),
        params: vec![kv("q", "2"), kv("p", "1")],
        tags: vec![kv("t", "x")],
    }
}

fn created(id: &str) -> tidemill_core::NewEvent {
    event(5, EventKind::LoggedModelCreated { model: id.to_owned(), experiment: 7, run: None })
}

async fn put(db: &Db, new: &NewLoggedModel) {
    let mut tx = db.begin().await.unwrap();
    tx.create_logged_model(new).await.unwrap();
    tx.commit(vec![created(&new.id)]).await.unwrap();
}

async fn all_fields_of_a_logged_model_come_back(f: Fixture) {
    experiment(&f, 7).await;
    let new = new_model("m-1", 7, 10);
    put(&f.db, &new).await;
    let model = f.db.logged_model("m-1").await.unwrap().unwrap();
    assert_eq!(
        (model.id, model.experiment, model.name, model.model_type),
        (new.id, 7, new.name, new.model_type)
    );
    assert_eq!((model.source_run, model.artifact_uri), (new.source_run, new.artifact_uri));
    assert_eq!((model.created_at, model.updated_at), (at(10), at(10)));
    assert_eq!((model.status, model.stage), (LoggedModelStatus::Pending, Stage::Active));
    assert_eq!(model.params, [kv("p", "1"), kv("q", "2")]);
    assert_eq!(model.tags, [kv("t", "x")]);
    assert!(model.metrics.is_empty() && model.status_message.is_none());
    assert!(f.db.logged_model("m-2").await.unwrap().is_none());
}

async fn a_logged_model_needs_its_experiment(f: Fixture) {
    let mut tx = f.db.begin().await.unwrap();
    let error = tx.create_logged_model(&new_model("m-1", 99, 10)).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { what: "experiment", .. }), "{error}");
    drop(tx);
    experiment(&f, 7).await;
    put(&f.db, &new_model("m-1", 7, 10)).await;
}

async fn status_and_deletion_are_kept(f: Fixture) {
    experiment(&f, 7).await;
    put(&f.db, &new_model("m-1", 7, 10)).await;
    let mut tx = f.db.begin().await.unwrap();
    assert!(tx.finish_logged_model("m-1", LoggedModelStatus::Ready, at(20)).await.unwrap());
    assert!(!tx.finish_logged_model("m-2", LoggedModelStatus::Ready, at(20)).await.unwrap());
    assert_eq!(tx.logged_model("m-1").await.unwrap().unwrap().status, LoggedModelStatus::Ready);
    assert!(matches!(tx.commit(vec![]).await, Err(Error::NoEvent)));
    let mut tx = f.db.begin().await.unwrap();
    assert!(tx.delete_logged_model("m-1", at(30)).await.unwrap());
    assert!(!tx.delete_logged_model("m-2", at(30)).await.unwrap());
    tx.commit(vec![created("m-1")]).await.unwrap();
    let model = f.db.logged_model("m-1").await.unwrap().unwrap();
    assert_eq!((model.status, model.stage), (LoggedModelStatus::Pending, Stage::Deleted));
    assert_eq!(model.updated_at, at(30));
}

async fn params_and_tags_are_observations(f: Fixture) {
    experiment(&f, 7).await;
    put(&f.db, &new_model("m-1", 7, 10)).await;
    let mut tx = f.db.begin().await.unwrap();
    assert!(tx.put_logged_model_params("m-1", &[kv("r", "3"), kv("p", "1")]).await.unwrap());
    assert!(tx.put_logged_model_tags("m-1", &[kv("t", "y"), kv("u", "1"), kv("u", "2")]).await.unwrap());
    assert!(tx.put_logged_model_tags("m-1", &[]).await.unwrap());
    assert!(!tx.put_logged_model_tags("m-2", &[kv("t", "y")]).await.unwrap());
    assert_eq!(tx.remove_logged_model_tag("m-1", "t").await.unwrap(), Some(true));
    assert_eq!(tx.remove_logged_model_tag("m-1", "t").await.unwrap(), Some(false));
    assert_eq!(tx.remove_logged_model_tag("m-2", "t").await.unwrap(), None);
    tx.commit(vec![]).await.unwrap();
    let model = f.db.logged_model("m-1").await.unwrap().unwrap();
    assert_eq!(model.params, [kv("p", "1"), kv("q", "2"), kv("r", "3")]);
    assert_eq!(model.tags, [kv("u", "2")]);
}

async fn metrics_come_with_their_model(f: Fixture) {
    experiment(&f, 7).await;
    put(&f.db, &new_model("m-1", 7, 10)).await;
    put(&f.db, &new_model("m-2", 7, 10)).await;
    let run = "0f".repeat(16);
    f.sql(&format!(
        "INSERT INTO logged_model_metric (model_id, key, dataset_name, dataset_digest, run_uuid, step, at, value, is_nan)
         SELECT id, 'loss', 'd', 'g', '{run}', 3, 5, 0.5, 0 FROM logged_model WHERE uuid = 'm-1';
         INSERT INTO logged_model_metric (model_id, key, dataset_name, dataset_digest, run_uuid, step, at, value, is_nan)
         SELECT id, 'acc', '', '', '', 0, 6, NULL, 1 FROM logged_model WHERE uuid = 'm-1'"
    ))
    .await;
    let metrics = f.db.logged_model("m-1").await.unwrap().unwrap().metrics;
    assert_eq!(metrics.len(), 2);
    assert_eq!((metrics[0].key.as_str(), metrics[0].value.is_nan()), ("acc", true));
    assert_eq!(
        (&metrics[0].dataset_name, &metrics[0].dataset_digest, metrics[0].run_id),
        (&None, &None, None)
    );
    assert_eq!((metrics[1].value, metrics[1].step, metrics[1].at), (0.5, 3, at(5)));
    assert_eq!(metrics[1].dataset_name.as_deref(), Some("d"));
    assert_eq!(metrics[1].run_id.map(|run| run.to_string()), Some(run));
    assert_eq!(metrics[1].model_id.as_deref(), Some("m-1"));
    assert!(f.db.logged_model("m-2").await.unwrap().unwrap().metrics.is_empty());
    assert_eq!(f.db.logged_model_experiment("m-2").await.unwrap(), Some(7));
    assert_eq!(f.db.logged_model_experiment("m-3").await.unwrap(), None);
}

/// Every point is there, in the order of time; of more than an answer holds the newest of each metric.
async fn points_of_metrics(f: Fixture) {
    experiment(&f, 7).await;
    put(&f.db, &new_model("m-1", 7, 10)).await;
    let numbers = if f.is_postgres() {
        "generate_series(1, {last}) n(n)"
    } else {
        "(WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {last}) SELECT n FROM n) n"
    };
    let insert = |key: &str, last: i64| {
        let numbers = numbers.replace("{last}", &last.to_string());
        format!(
            "INSERT INTO logged_model_metric (model_id, key, dataset_name, dataset_digest, run_uuid, step, at, value, is_nan)
             SELECT m.id, '{key}', '', '', '', n.n, n.n, 0.5, 0 FROM logged_model m, {numbers} WHERE m.uuid = 'm-1'"
        )
    };
    f.sql(&insert("few", 3)).await;
    let steps = |metrics: &[Metric], key: &str| {
        metrics.iter().filter(|metric| metric.key == key).map(|metric| metric.step).collect::<Vec<_>>()
    };
    let metrics = f.db.logged_model("m-1").await.unwrap().unwrap().metrics;
    assert_eq!(steps(&metrics, "few"), [1, 2, 3]);
    f.sql(&insert("many", 150_000)).await;
    let metrics = f.db.logged_model("m-1").await.unwrap().unwrap().metrics;
    assert_eq!(steps(&metrics, "few"), [1, 2, 3]);
    assert_eq!(steps(&metrics, "many"), (100_001..=150_000).collect::<Vec<i64>>());
}

async fn models_are_found_by_run_and_name(f: Fixture) {
    experiment(&f, 7).await;
    let run = "0f".repeat(16);
    put(&f.db, &new_model("m-1", 7, 10)).await;
    put(&f.db, &new_model("m-2", 7, 20)).await;
    put(&f.db, &new_model("m-3", 7, 30)).await;
    let mut tx = f.db.begin().await.unwrap();
    tx.delete_logged_model("m-3", at(40)).await.unwrap();
    tx.commit(vec![created("m-3")]).await.unwrap();
    let found = f.db.logged_model_root(&run, "net").await.unwrap();
    assert_eq!(found.as_deref(), Some("mlflow-artifacts:/7/models/m-2/artifacts"));
    assert_eq!(f.db.logged_model_root(&run, "other").await.unwrap(), None);
}

async fn logged_models_are_searched(f: Fixture) {
    experiment(&f, 7).await;
    experiment(&f, 8).await;
    for (id, experiment, millis) in
        [("m-1", 7, 10), ("m-2", 7, 20), ("m-3", 8, 30), ("m-4", 7, 40), ("m-5", 7, 50)]
    {
        let name = format!("n{}", &id[2..]);
        put(&f.db, &NewLoggedModel { name, ..new_model(id, experiment, millis) }).await;
    }
    let mut tx = f.db.begin().await.unwrap();
    tx.delete_logged_model("m-5", at(60)).await.unwrap();
    tx.put_logged_model_tags("m-2", &[kv("t", "y")]).await.unwrap();
    tx.commit(vec![created("m-5")]).await.unwrap();
    for (model, dataset, step, value) in
        [("m-1", "d", 1, "0.5"), ("m-1", "e", 2, "0.9"), ("m-2", "d", 1, "0.7"), ("m-3", "d", 1, "NaN")]
    {
        let (value, is_nan) = match (value, f.is_postgres()) {
            ("NaN", true) => ("'NaN'::double precision", 1),
            ("NaN", false) => ("NULL", 1),
            (value, _) => (value, 0),
        };
        f.sql(&format!(
            "INSERT INTO logged_model_metric
                (model_id, key, dataset_name, dataset_digest, run_uuid, step, at, value, is_nan)
             SELECT id, 'auc', '{dataset}', 'g', 'r', {step}, {step}, {value}, {is_nan}
             FROM logged_model WHERE uuid = '{model}'"
        ))
        .await;
    }
    let find = async |query: LoggedModelQuery| {
        let query = LoggedModelQuery { limit: if query.limit == 0 { 10 } else { query.limit }, ..query };
        let found = f.db.search_logged_models(&query).await.unwrap();
        found.into_iter().map(|model| model.id[2..].to_owned()).collect::<String>()
    };
    let all = || LoggedModelQuery { experiments: vec![7, 8], ..LoggedModelQuery::default() };
    let which = |field: Field, op, value| LoggedModelQuery {
        conditions: vec![Condition { field, op, value }],
        ..all()
    };
    let named = |name: &str| Field::Attribute(name.to_owned());
    let auc = || Field::Metric("auc".to_owned());
    let text = |text: &str| Operand::Text(text.to_owned());
    let on = |name: &str, query: LoggedModelQuery| LoggedModelQuery {
        datasets: vec![DatasetName { name: name.to_owned(), digest: None }],
        ..query
    };
    let by = |field, descending, dataset: Option<&str>| LoggedModelQuery {
        order: vec![LoggedModelOrder {
            field,
            descending,
            dataset_name: dataset.map(str::to_owned),
            dataset_digest: None,
        }],
        ..all()
    };
    for (query, found) in [
        (all(), "4321"),
        (LoggedModelQuery { experiments: vec![8], ..all() }, "3"),
        (LoggedModelQuery { experiments: vec![], ..all() }, ""),
        (LoggedModelQuery { offset: 1, limit: 2, ..all() }, "32"),
        (which(named("name"), Op::ILike, text("N%")), "4321"),
        (which(named("model_id"), Op::In, Operand::List(vec!["m-1".to_owned(), "m-5".to_owned()])), "1"),
        (which(named("experiment_id"), Op::Eq, text("8")), "3"),
        (which(named("creation_timestamp"), Op::Ge, Operand::Number(30.0)), "43"),
        (which(Field::Tag("t".to_owned()), Op::Eq, text("y")), "2"),
        (which(Field::Param("p".to_owned()), Op::Eq, text("1")), "4321"),
        (which(auc(), Op::Gt, Operand::Number(0.6)), "21"),
        (on("d", which(auc(), Op::Gt, Operand::Number(0.6))), "2"),
        (which(auc(), Op::Ne, Operand::Number(0.7)), "31"),
        (which(auc(), Op::Lt, Operand::Number(9.0)), "21"),
        (on("e", all()), "1"),
        (by(auc(), false, None), "2143"),
        (by(auc(), true, None), "1243"),
        (by(auc(), true, Some("d")), "2143"),
        (by(named("name"), false, None), "1234"),
        (by(named("creation_timestamp"), false, None), "1234"),
    ] {
        assert_eq!(find(query.clone()).await, found, "{query:?}");
    }
}
