//! Tracked runs: made, written to, read whole.

use tidemill_core::{Quiet, RunId};
use tidemill_db::tracking::{Batch, InputDataset, Metric, ModelOutput, Run, RunStatus};
use tidemill_db::{Db, Error, EventFilter};

use crate::fixture::{
    Fixture, at, created, experiment, metric, metrics, moved, new_tracked, on_both, pair, run_id, same,
    tracked,
};

on_both!(
    a_run_comes_back_whole,
    many_runs_come_back_in_order,
    updates_change_what_they_name,
    only_a_changed_status_is_an_event,
    tags_are_replaced_and_removed,
    changes_of_a_tag_by_its_value_do_not_get_lost,
    parameters_do_not_change,
    the_newest_point_is_known,
    inputs_and_outputs,
    metrics_of_logged_models,
);

async fn read(db: &Db, run: RunId) -> Run {
    db.tracked_run(run).await.unwrap().unwrap()
}

async fn a_run_comes_back_whole(f: Fixture) {
    experiment(&f.db, 3).await;
    let run = run_id(1);
    let new = new_tracked(run, 3);
    let batch = Batch {
        params: vec![pair("b", ""), pair("a", "1")],
        metrics: vec![metric("m", 2, 9, 0.5), metric("m", 1, 9, 0.25), metric("é'\"\\", 0, 0, f64::NAN)],
        tags: vec![pair("t", "x"), pair("t", "y")],
        ..Batch::default()
    };
    let event = created(&new);
    let info = f.db.ingest().create_run(new.clone(), batch, event.clone()).await.unwrap();
    assert_eq!(info.artifact_uri, format!("mlflow-artifacts:/3/{run}/artifacts"));
    assert_eq!(f.db.tracked_run_info(run).await.unwrap(), Some(info.clone()));
    let read = read(&f.db, run).await;
    assert_eq!(read.info, info);
    assert_eq!((read.info.name.as_str(), read.info.user.as_str()), (new.name.as_str(), "ana"));
    assert_eq!((read.info.started_at, read.info.ended_at), (Some(at(5)), None));
    assert_eq!(read.params, [pair("a", "1"), pair("b", "")]);
    assert_eq!(read.tags, [pair("t", "y")]);
    assert_eq!(read.metrics[0], metric("m", 2, 9, 0.5));
    assert!(read.metrics[1].key == "é'\"\\" && read.metrics[1].value.is_nan());
    let newest = EventFilter { after: Some(1), ..EventFilter::default() };
    assert_eq!(f.db.events(&newest).await.unwrap()[0].kind, event.kind);
    // A run that says where its artifacts are.
    let other = tidemill_db::tracking::NewTrackedRun {
        artifact_uri: Some("s3://b/x".to_owned()),
        status: RunStatus::Killed,
        ended_at: Some(at(6)),
        ..new_tracked(run_id(2), 3)
    };
    let event = created(&other);
    f.db.ingest().create_run(other, Batch::default(), event).await.unwrap();
    let info = f.db.tracked_run_info(run_id(2)).await.unwrap().unwrap();
    assert_eq!((info.artifact_uri.as_str(), info.status), ("s3://b/x", RunStatus::Killed));
    assert_eq!(info.ended_at, Some(at(6)));
}

async fn many_runs_come_back_in_order(f: Fixture) {
    experiment(&f.db, 1).await;
    for number in 1..=40 {
        tracked(&f.db, run_id(number), 1).await;
        f.db.ingest()
            .log(run_id(number), Batch { params: vec![pair("n", &number.to_string())], ..Batch::default() })
            .await
            .unwrap();
    }
    let order = [7, 3, 99, 40, 1, 22];
    let ids: Vec<RunId> = order.iter().map(|number| run_id(*number)).collect();
    let runs = f.db.tracked_runs(&ids).await.unwrap();
    let numbers: Vec<&str> = runs.iter().map(|run| run.params[0].value.as_str()).collect();
    assert_eq!(numbers, ["7", "3", "40", "1", "22"]);
    assert!(f.db.tracked_runs(&[]).await.unwrap().is_empty());
}

async fn updates_change_what_they_name(f: Fixture) {
    experiment(&f.db, 1).await;
    let run = run_id(1);
    let before = tracked(&f.db, run, 1).await;
    let ended = Batch { status: Some(RunStatus::Finished), ended_at: Some(at(77)), ..Batch::default() };
    let after = f.db.ingest().update_run(run, ended, moved(run, RunStatus::Finished)).await.unwrap();
    assert_eq!((after.status, after.ended_at), (RunStatus::Finished, Some(at(77))));
    assert_eq!(after.name, before.name);
    let named = Batch { name: Some("é".to_owned()), tags: vec![pair("n", "é")], ..Batch::default() };
    let after = f.db.ingest().update_run(run, named, moved(run, RunStatus::Running)).await.unwrap();
    assert_eq!((after.name.as_str(), after.status, after.ended_at), ("é", RunStatus::Finished, Some(at(77))));
    let stored = read(&f.db, run).await;
    assert_eq!(stored.info, after);
    assert_eq!(stored.tags, [pair("n", "é")]);
}

async fn only_a_changed_status_is_an_event(f: Fixture) {
    experiment(&f.db, 1).await;
    let run = run_id(1);
    tracked(&f.db, run, 1).await;
    let size = || async { f.db.log_head().await.unwrap().size };
    let before = size().await;
    for (status, grown) in [(Some(RunStatus::Running), 0), (None, 0), (Some(RunStatus::Failed), 1)] {
        let change = Batch { status, ended_at: Some(at(9)), ..Batch::default() };
        let event = moved(run, status.unwrap_or(RunStatus::Running));
        f.db.ingest().update_run(run, change, event).await.unwrap();
        assert_eq!(size().await, before + grown, "{status:?}");
    }
    let logged = Batch { status: Some(RunStatus::Finished), ..metrics(vec![metric("m", 1, 1, 1.0)]) };
    f.db.ingest().log(run, logged).await.unwrap();
    assert_eq!(read(&f.db, run).await.info.status, RunStatus::Failed);
    assert_eq!(f.db.verify_log(&Quiet).await.unwrap().checked, before + 1);
}

async fn tags_are_replaced_and_removed(f: Fixture) {
    experiment(&f.db, 1).await;
    let (run, ingest) = (run_id(1), f.db.ingest());
    tracked(&f.db, run, 1).await;
    let tags = |tags| Batch { tags, ..Batch::default() };
    let removed = |key: &str| Batch { removed_tags: vec![key.to_owned()], ..Batch::default() };
    ingest.log(run, tags(vec![pair("a", "1"), pair("b", "1")])).await.unwrap();
    ingest.log(run, tags(vec![pair("a", "2")])).await.unwrap();
    ingest.log(run, removed("b")).await.unwrap();
    let again = ingest.log(run, removed("b")).await;
    assert!(matches!(again, Err(Error::NotFound { what: "tag", .. })), "{again:?}");
    assert_eq!(read(&f.db, run).await.tags, [pair("a", "2")]);
}

async fn changes_of_a_tag_by_its_value_do_not_get_lost(f: Fixture) {
    experiment(&f.db, 3).await;
    let run = tracked(&f.db, run_id(1), 3).await.id;
    let other = crate::fixture::open(&f.url).await;
    let longer = |before: Option<&str>| format!("{}x", before.unwrap_or_default());
    let changes = (0..20).map(|i| if i % 2 == 0 { &f.db } else { &other });
    let done = futures::future::join_all(changes.map(|db| db.change_run_tag(run, "t", longer))).await;
    done.into_iter().for_each(|done| done.unwrap());
    assert_eq!(read(&f.db, run).await.tags, [pair("t", &"x".repeat(20))]);
    let missing = f.db.change_run_tag(run_id(2), "t", longer).await;
    assert!(matches!(missing, Err(Error::NotFound { .. })), "{missing:?}");
}

async fn parameters_do_not_change(f: Fixture) {
    experiment(&f.db, 1).await;
    let (run, ingest) = (run_id(1), f.db.ingest());
    tracked(&f.db, run, 1).await;
    let params = |params: &[(&str, &str)]| Batch {
        params: params.iter().map(|(key, value)| pair(key, value)).collect(),
        ..Batch::default()
    };
    ingest.log(run, params(&[("a", "1"), ("b", "2")])).await.unwrap();
    ingest.log(run, params(&[("a", "1"), ("c", "3")])).await.unwrap();
    let refused = ingest.log(run, params(&[("d", "4"), ("a", "9"), ("b", "2"), ("c", "8")])).await;
    let Err(Error::ParamsChanged { changes, .. }) = refused else { panic!("{refused:?}") };
    let shown: Vec<_> = changes.iter().map(|c| format!("{} {} {}", c.key, c.old, c.new)).collect();
    assert_eq!(shown, ["a 1 9", "c 3 8"]);
    let expected = [pair("a", "1"), pair("b", "2"), pair("c", "3")];
    assert_eq!(read(&f.db, run).await.params, expected);
    // An empty value is a value, and so is what looks like one.
    ingest.log(run, params(&[("e", "")])).await.unwrap();
    assert!(ingest.log(run, params(&[("e", " ")])).await.is_err());
}

async fn the_newest_point_is_known(f: Fixture) {
    experiment(&f.db, 1).await;
    let (run, ingest) = (run_id(1), f.db.ingest());
    tracked(&f.db, run, 1).await;
    // By step, then time, then value, where NaN counts as 0; equal ones do not replace.
    for (point, newest) in [
        (metric("a", 1, 5, 1.0), 1.0),
        (metric("a", 1, 5, 2.0), 2.0),
        (metric("a", 0, 1, 9.0), 2.0),
        (metric("a", 1, 9, 0.5), 0.5),
        (metric("a", 1, 9, f64::NAN), 0.5),
        (metric("a", 1, 9, f64::NEG_INFINITY), 0.5),
        (metric("a", 2, 1, -1.0), -1.0),
        (metric("a", 2, 1, f64::NAN), f64::NAN),
        (metric("a", 2, 1, 0.0), f64::NAN),
        (metric("a", 2, 1, f64::INFINITY), f64::INFINITY),
    ] {
        ingest.log(run, metrics(vec![point.clone()])).await.unwrap();
        let found = read(&f.db, run).await.metrics[0].value;
        assert!(same(found, newest), "{point:?}: {found}");
    }
}

fn dataset(name: &str, digest: &str, context: &str) -> InputDataset {
    InputDataset {
        name: name.to_owned(),
        digest: digest.to_owned(),
        source_type: "local".to_owned(),
        source: "{\"uri\":\"x\"}".to_owned(),
        schema: Some("{}".to_owned()),
        profile: None,
        tags: vec![pair("mlflow.data.context", context)],
    }
}

async fn inputs_and_outputs(f: Fixture) {
    experiment(&f.db, 1).await;
    let ingest = f.db.ingest();
    for number in 1..=2 {
        tracked(&f.db, run_id(number), 1).await;
    }
    let output = |model: &str, step| ModelOutput { model_id: model.to_owned(), step };
    let batch = Batch {
        datasets: vec![dataset("b", "1", "test"), dataset("a", "1", "training"), dataset("a", "1", "again")],
        model_inputs: vec!["m-2".to_owned(), "m-1".to_owned()],
        model_outputs: vec![output("m-4", 7), output("m-3", 1)],
        ..Batch::default()
    };
    ingest.log(run_id(1), batch).await.unwrap();
    // The first description of a dataset stays.
    let other = InputDataset { source: "other".to_owned(), ..dataset("a", "1", "eval") };
    ingest.log(run_id(2), Batch { datasets: vec![other], ..Batch::default() }).await.unwrap();
    ingest
        .log(run_id(1), Batch { datasets: vec![dataset("a", "1", "later")], ..Batch::default() })
        .await
        .unwrap();
    let first = read(&f.db, run_id(1)).await;
    assert_eq!(first.datasets, [dataset("a", "1", "training"), dataset("b", "1", "test")]);
    assert_eq!(first.model_inputs, ["m-1", "m-2"]);
    assert_eq!(first.model_outputs, [output("m-3", 1), output("m-4", 7)]);
    assert_eq!(read(&f.db, run_id(2)).await.datasets, [dataset("a", "1", "eval")]);
}

async fn metrics_of_logged_models(f: Fixture) {
    experiment(&f.db, 1).await;
    let (run, ingest) = (run_id(1), f.db.ingest());
    tracked(&f.db, run, 1).await;
    f.sql("INSERT INTO logged_model (id, uuid, experiment_id, name, model_type, status, stage, artifact_uri, created_at,
        updated_at) VALUES (5, 'm-1', 1, 'n', '', 'READY', 'active', 'u', 1, 1)")
        .await;
    let of_model = |step, value, digest: Option<&str>| Metric {
        model_id: Some("m-1".to_owned()),
        dataset_digest: digest.map(str::to_owned),
        ..metric("m", step, 1, value)
    };
    ingest
        .log(run, metrics(vec![of_model(2, 0.5, None), of_model(1, 0.1, None), of_model(1, 0.2, Some("d"))]))
        .await
        .unwrap();
    ingest.log(run, metrics(vec![of_model(1, 0.9, None), of_model(3, f64::NAN, Some("d"))])).await.unwrap();
    let rows = f
        .rows("SELECT dataset_digest || ' ' || step || ' ' || is_nan FROM logged_model_metric ORDER BY 1")
        .await;
    assert_eq!(rows, [" 1 0", " 2 0", "d 1 0", "d 3 1"]);
    // Of two values at one step and time, in two requests, the first stays.
    let values = f
        .rows("SELECT CAST(value AS TEXT) FROM logged_model_metric WHERE dataset_digest = '' ORDER BY step")
        .await;
    assert_eq!(values, ["0.1", "0.5"]);
    let unknown = Metric { model_id: Some("m-9".to_owned()), ..metric("m", 9, 1, 1.0) };
    let refused = ingest.log(run, metrics(vec![unknown])).await;
    assert!(matches!(refused, Err(Error::NotFound { what: "logged model", .. })), "{refused:?}");
    // All of them are points of the run too.
    assert_eq!(f.db.metric_history(run, "m", None, 10).await.unwrap().len(), 5);
}
