//! Experiments and runs: lifecycles, names, limits, and the words of refusals.

use std::sync::Arc;

use tempfile::TempDir;
use tidemill_core::{Actor, EventKind, FixedClock, Timestamp};
use tidemill_db::tracking::{HistoryPoint, InputDataset, KeyValue, Metric, RunStatus, Stage};
use tidemill_db::{Db, EventFilter};
use tidemill_registry::{Code, Error, NewRun, RUN_NAME, Registry, RunChange};
use tidemill_store::{Store, StoreOptions};
use tidemill_testkit::{Database, Postgres};

macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::Lab::sqlite().await).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::Lab::postgres().await).await;
            })*
        }
    };
}

on_both!(
    the_default_experiment_is_always_there,
    experiments_and_their_refusals,
    names_of_runs_agree_with_their_tags,
    a_name_is_kept_in_two_places,
    lifecycles_of_runs,
    parameters_do_not_change,
    tags,
    batches,
    inputs_are_checked,
    models_of_old_clients,
    histories_in_pages,
    histories_of_several_runs,
    every_change_of_state_is_an_event,
);

struct Lab {
    registry: Registry,
    actor: Actor,
    _dir: TempDir,
    _database: Option<Database>,
}

impl Lab {
    async fn sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = dir.path().join("db").to_str().unwrap().to_owned();
        Self::over(dir, url, None).await
    }

    async fn postgres() -> Self {
        let database = Postgres::shared().database();
        let url = database.url().to_owned();
        Self::over(tempfile::tempdir().unwrap(), url, Some(database)).await
    }

    async fn over(dir: TempDir, url: String, database: Option<Database>) -> Self {
        let clock = Arc::new(FixedClock::new(at(1000)));
        let db = Db::open(&url, clock.clone()).await.unwrap();
        let store = Store::open(&dir.path().join("store"), StoreOptions::default()).unwrap();
        let registry = Registry::new(db, store, clock);
        Self { registry, actor: Actor::user("ana"), _dir: dir, _database: database }
    }

    async fn experiment(&self, name: &str) -> String {
        self.registry.create_experiment(&self.actor, name, None, Vec::new()).await.unwrap().to_string()
    }

    async fn run(&self) -> String {
        self.registry.create_run(&self.actor, NewRun::default()).await.unwrap().info.id.to_string()
    }

    async fn kinds(&self) -> Vec<EventKind> {
        let events = self.registry.db().events(&EventFilter::default()).await.unwrap();
        events.into_iter().map(|event| event.kind).collect()
    }
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn pair(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.to_owned(), value: value.to_owned() }
}

fn point(key: &str, step: i64, value: f64) -> Metric {
    Metric {
        key: key.to_owned(),
        value,
        at: at(step),
        step,
        dataset_name: None,
        dataset_digest: None,
        model_id: None,
        run_id: None,
    }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, Error>, code: Code, message: &str) {
    let error = answer.unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (code, message));
}

async fn the_default_experiment_is_always_there(lab: Lab) {
    let run = lab.registry.create_run(&lab.actor, NewRun::default()).await.unwrap();
    assert_eq!(run.info.experiment, 0);
    assert_eq!(run.info.artifact_uri, format!("mlflow-artifacts:/0/{}/artifacts", run.info.id));
    let experiment = lab.registry.experiment("0").await.unwrap();
    assert_eq!((experiment.name.as_str(), experiment.stage), ("Default", Stage::Active));
    assert_eq!(experiment.artifact_location, "mlflow-artifacts:/0");
    lab.registry.prepare().await.unwrap();
    assert_eq!(lab.registry.experiment_by_name("Default").await.unwrap(), experiment);
    refused(
        lab.registry.create_experiment(&lab.actor, "Default", None, Vec::new()).await,
        Code::ResourceAlreadyExists,
        "Experiment(name=Default) already exists.",
    );
    let created = |kind: &&EventKind| matches!(kind, EventKind::ExperimentCreated { .. });
    assert_eq!(lab.kinds().await.iter().filter(created).count(), 1);
}

async fn experiments_and_their_refusals(lab: Lab) {
    let (registry, actor) = (&lab.registry, &lab.actor);
    let tags = vec![pair("b", "2"), pair("a", "1")];
    let id = registry.create_experiment(actor, "é", Some("s3://b/x"), tags).await.unwrap().to_string();
    assert_eq!(id, "1");
    let made = registry.experiment("1").await.unwrap();
    assert_eq!((made.name.as_str(), made.artifact_location.as_str()), ("é", "s3://b/x"));
    assert_eq!((made.created_at, made.updated_at), (at(1000), at(1000)));
    assert_eq!(made.tags, [pair("a", "1"), pair("b", "2")]);
    assert_eq!(registry.experiment_by_name("é").await.unwrap(), made);
    let other = lab.experiment("other").await;

    let (missing, invalid) = (Code::ResourceDoesNotExist, Code::InvalidParameterValue);
    refused(registry.experiment("7").await, missing, "No Experiment with id=7 exists");
    let message = "Invalid experiment ID 'abc'. Experiment ID must be a valid integer.";
    refused(registry.experiment("abc").await, invalid, message);
    let message = "Could not find experiment with name 'x'";
    refused(registry.experiment_by_name("x").await, missing, message);
    let create =
        |name: String| async move { registry.create_experiment(actor, &name, None, Vec::new()).await };
    refused(create("é".to_owned()).await, Code::ResourceAlreadyExists, "Experiment(name=é) already exists.");
    refused(create(String::new()).await, invalid, "Invalid experiment name: ''");
    refused(create("x".repeat(501)).await, invalid, "'name' exceeds the maximum length of 500 characters");
    refused(
        registry.rename_experiment(actor, &other, "é").await,
        Code::ResourceAlreadyExists,
        "Experiment(name=é) already exists.",
    );
    refused(registry.delete_experiment(actor, "7").await, missing, "No Experiment with id=7 exists");
    refused(registry.restore_experiment(actor, &id).await, missing, "No Experiment with id=1 exists");

    registry.delete_experiment(actor, &id).await.unwrap();
    assert_eq!(registry.experiment_by_name("é").await.unwrap().stage, Stage::Deleted);
    refused(registry.delete_experiment(actor, &id).await, missing, "No Experiment with id=1 exists");
    refused(create("é".to_owned()).await, Code::ResourceAlreadyExists, "Experiment(name=é) already exists.");
    let message = "Cannot rename a non-active experiment.";
    refused(registry.rename_experiment(actor, &id, "y").await, Code::InvalidState, message);
    let message = "The experiment 1 must be in the 'active' state. Current state is deleted.";
    refused(registry.set_experiment_tag(actor, &id, pair("a", "2")).await, invalid, message);
    refused(registry.delete_experiment_tag(actor, &id, "a").await, invalid, message);
    let new = NewRun { experiment: id.clone(), ..NewRun::default() };
    refused(registry.create_run(actor, new).await, invalid, message);
    let new = NewRun { experiment: "7".to_owned(), ..NewRun::default() };
    refused(registry.create_run(actor, new).await, missing, "No Experiment with id=7 exists");

    registry.restore_experiment(actor, &id).await.unwrap();
    registry.rename_experiment(actor, &id, "y").await.unwrap();
    registry.set_experiment_tag(actor, &id, pair("a", &"v".repeat(20_000))).await.unwrap();
    registry.delete_experiment_tag(actor, &id, "b").await.unwrap();
    let message = "No tag with name: b in experiment with id 1";
    refused(registry.delete_experiment_tag(actor, &id, "b").await, missing, message);
    let message = "'value' exceeds the maximum length of 20000 characters";
    refused(registry.set_experiment_tag(actor, &id, pair("a", &"v".repeat(20_001))).await, invalid, message);
    let message = "'key' exceeds the maximum length of 250 characters";
    refused(registry.set_experiment_tag(actor, &id, pair(&"k".repeat(251), "v")).await, invalid, message);
    let after = registry.experiment(&id).await.unwrap();
    assert_eq!((after.name.as_str(), after.tags.len()), ("y", 1));
}

async fn names_of_runs_agree_with_their_tags(lab: Lab) {
    let create = |name: &str, tag: Option<&str>| {
        let tags = tag.map(|tag| pair(RUN_NAME, tag)).into_iter().collect();
        let new = NewRun { name: name.to_owned(), tags, ..NewRun::default() };
        let (registry, actor) = (lab.registry.clone(), lab.actor.clone());
        async move { registry.create_run(&actor, new).await }
    };
    for (name, tag, agreed) in
        [("a", None, "a"), ("", Some("b"), "b"), ("c", Some("c"), "c"), ("d", Some(""), "d")]
    {
        let made = create(name, tag).await.unwrap();
        assert_eq!((made.info.name.as_str(), &made.tags), (agreed, &vec![pair(RUN_NAME, agreed)]));
        assert_eq!(lab.registry.run(&made.info.id.to_string()).await.unwrap(), made);
    }
    refused(
        create("a", Some("b")).await,
        Code::InvalidParameterValue,
        "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values (run_name='a', \
         mlflow.runName='b').",
    );
    let random = create("", None).await.unwrap().info.name;
    let parts: Vec<&str> = random.split('-').collect();
    assert!(parts.len() == 3 && parts[2].parse::<u16>().is_ok_and(|number| number < 1000), "{random}");
}

async fn a_name_is_kept_in_two_places(lab: Lab) {
    let (registry, run) = (&lab.registry, lab.run().await);
    let names = || async {
        let run = registry.run(&run).await.unwrap();
        let tag = run.tags.iter().find(|tag| tag.key == RUN_NAME).map(|tag| tag.value.clone());
        (run.info.name, tag)
    };
    let both = |name: &str| (name.to_owned(), Some(name.to_owned()));
    let named = RunChange { name: Some("one".to_owned()), ..RunChange::default() };
    assert_eq!(registry.update_run(&lab.actor, &run, named).await.unwrap().name, "one");
    assert_eq!(names().await, both("one"));
    registry.set_tag(&run, pair(RUN_NAME, "two")).await.unwrap();
    assert_eq!(names().await, both("two"));
    let tags = vec![pair(RUN_NAME, "x"), pair("t", "v"), pair(RUN_NAME, "three")];
    registry.log_batch(&run, Vec::new(), Vec::new(), tags).await.unwrap();
    assert_eq!(names().await, both("three"));
    // An empty name is taken nowhere.
    registry.set_tag(&run, pair(RUN_NAME, "")).await.unwrap();
    let unnamed = RunChange { name: Some(String::new()), ..RunChange::default() };
    registry.update_run(&lab.actor, &run, unnamed).await.unwrap();
    assert_eq!(names().await, both("three"));
    registry.delete_tag(&run, RUN_NAME).await.unwrap();
    assert_eq!(names().await, ("three".to_owned(), None));
}

async fn lifecycles_of_runs(lab: Lab) {
    let (registry, actor, run) = (&lab.registry, &lab.actor, lab.run().await);
    let (missing, invalid) = (Code::ResourceDoesNotExist, Code::InvalidParameterValue);
    for unknown in ["x", "0123456789abcdef0123456789abcdef"] {
        let message = format!("Run with id={unknown} not found");
        refused(registry.run(unknown).await, missing, &message);
        refused(registry.delete_run(actor, unknown).await, missing, &message);
        refused(registry.log_metric(unknown, point("m", 1, 1.0)).await, missing, &message);
        refused(registry.update_run(actor, unknown, RunChange::default()).await, missing, &message);
    }
    let ended = RunChange { status: Some(RunStatus::Finished), ended_at: Some(at(5)), name: None };
    let info = registry.update_run(actor, &run, ended).await.unwrap();
    assert_eq!((info.status, info.ended_at), (RunStatus::Finished, Some(at(5))));
    registry.delete_run(actor, &run).await.unwrap();
    registry.delete_run(actor, &run).await.unwrap();
    assert_eq!(registry.run(&run).await.unwrap().info.stage, Stage::Deleted);
    let message = format!("The run {run} must be in the 'active' state. Current state is deleted.");
    refused(registry.log_metric(&run, point("m", 1, 1.0)).await, invalid, &message);
    refused(registry.log_param(&run, pair("p", "1")).await, invalid, &message);
    refused(registry.set_tag(&run, pair("t", "1")).await, invalid, &message);
    refused(registry.delete_tag(&run, "t").await, invalid, &message);
    refused(registry.update_run(actor, &run, RunChange::default()).await, invalid, &message);
    refused(registry.log_batch(&run, Vec::new(), Vec::new(), Vec::new()).await, invalid, &message);
    refused(registry.log_outputs(&run, Vec::new()).await, invalid, &message);
    registry.restore_run(actor, &run).await.unwrap();
    registry.restore_run(actor, &run).await.unwrap();
    registry.log_metric(&run, point("m", 1, 1.0)).await.unwrap();
}

async fn parameters_do_not_change(lab: Lab) {
    let (registry, run, invalid) = (&lab.registry, lab.run().await, Code::InvalidParameterValue);
    registry.log_param(&run, pair("p", "1")).await.unwrap();
    registry.log_param(&run, pair("p", "1")).await.unwrap();
    refused(
        registry.log_param(&run, pair("p", "2")).await,
        invalid,
        &format!(
            "Changing param values is not allowed. Param with key='p' was already logged with value='1' for run \
             ID='{run}'. Attempted logging new value '2'."
        ),
    );
    let params = vec![pair("new", "0"), pair("p", "it's"), pair("q", "3")];
    refused(
        registry.log_batch(&run, vec![point("m", 1, 1.0)], params, Vec::new()).await,
        invalid,
        &format!(
            "Changing param values is not allowed. Params were already logged='[{{'key': 'p', 'old_value': '1', \
             'new_value': \"it's\"}}]' for run ID='{run}'."
        ),
    );
    let whole = registry.run(&run).await.unwrap();
    assert_eq!((whole.params, whole.metrics), (vec![pair("p", "1")], Vec::new()));
    // A value that was cut is compared as it was stored.
    registry.log_param(&run, pair("long", &"x".repeat(7000))).await.unwrap();
    registry.log_param(&run, pair("long", &"x".repeat(6500))).await.unwrap();
    let stored = registry.run(&run).await.unwrap().params.remove(0);
    assert_eq!((stored.key.as_str(), stored.value.len()), ("long", 6000));
}

async fn tags(lab: Lab) {
    let (registry, run) = (&lab.registry, lab.run().await);
    registry.set_tag(&run, pair("t", "1")).await.unwrap();
    registry.set_tag(&run, pair("t", &"é".repeat(9000))).await.unwrap();
    let value = |run: tidemill_db::tracking::Run| {
        run.tags.into_iter().find(|tag| tag.key == "t").map(|tag| tag.value.chars().count())
    };
    assert_eq!(value(registry.run(&run).await.unwrap()), Some(8000));
    registry.delete_tag(&run, "t").await.unwrap();
    refused(
        registry.delete_tag(&run, "t").await,
        Code::ResourceDoesNotExist,
        &format!("No tag with name: t in run with id {run}"),
    );
    refused(
        registry.set_tag(&run, pair("a//b", "1")).await,
        Code::InvalidParameterValue,
        "Invalid value \"a//b\" for parameter 'key' supplied: Names may be treated as files in certain cases, and \
         must not resolve to other names when treated as such. This name would resolve to 'a/b'",
    );
}

async fn batches(lab: Lab) {
    let (registry, run, invalid) = (&lab.registry, lab.run().await, Code::InvalidParameterValue);
    let metrics = vec![point("m", 2, 0.5), point("m", 1, 0.25), point("m", 2, 0.5)];
    let (params, tags) = (vec![pair("p", "1")], vec![pair("t", "v")]);
    registry.log_batch(&run, metrics, params, tags).await.unwrap();
    let whole = registry.run(&run).await.unwrap();
    assert_eq!(whole.metrics, [point("m", 2, 0.5)]);
    assert_eq!(registry.metric_page(&run, "m", 10, None).await.unwrap().points.len(), 2);
    let metrics = |count: i64| (0..count).map(|i| point("m", i, 1.0)).collect::<Vec<_>>();
    refused(
        registry.log_batch(&run, metrics(1001), Vec::new(), Vec::new()).await,
        invalid,
        "A batch logging request can contain at most 1000 metrics. Got 1001 metrics. Please split up metrics across \
         multiple requests and try again.",
    );
    refused(
        registry.log_batch("a b", metrics(1), Vec::new(), Vec::new()).await,
        invalid,
        "Invalid value \"a b\" for parameter 'run_id' supplied.",
    );
    let bad = Metric { at: at(-5), ..point("m", 1, f64::NAN) };
    refused(
        registry.log_metric(&run, bad).await,
        invalid,
        "Invalid value -5 for parameter 'timestamp' supplied: metric 'm' (value=nan). Timestamp must be a nonnegative \
         long (64-bit integer) ",
    );
    let unknown = Metric { model_id: Some("m-x".to_owned()), ..point("m", 1, 1.0) };
    refused(
        registry.log_metric(&run, unknown).await,
        Code::ResourceDoesNotExist,
        "Logged model with ID 'm-x' not found.",
    );
}

async fn inputs_are_checked(lab: Lab) {
    let (registry, run) = (&lab.registry, lab.run().await);
    let good = InputDataset {
        name: "d".to_owned(),
        digest: "0".repeat(36),
        source_type: "local".to_owned(),
        source: "{}".to_owned(),
        schema: None,
        profile: None,
        tags: vec![pair("mlflow.data.context", "training")],
    };
    registry.log_inputs(&run, vec![good.clone()], vec!["m-1".to_owned()]).await.unwrap();
    let whole = registry.run(&run).await.unwrap();
    assert_eq!(
        (whole.datasets.as_slice(), whole.model_inputs.as_slice()),
        ([good.clone()].as_slice(), ["m-1".to_owned()].as_slice())
    );
    for (dataset, message) in [
        (
            InputDataset { name: "x".repeat(501), ..good.clone() },
            "'name' exceeds the maximum length of 500 characters",
        ),
        (
            InputDataset { digest: "0".repeat(37), ..good.clone() },
            "'digest' exceeds the maximum length of 36 characters",
        ),
        (
            InputDataset { source: "x".repeat(65_536), ..good.clone() },
            "'source' exceeds the maximum length of 65535 characters",
        ),
        (
            InputDataset { schema: Some("x".repeat(1_048_576)), ..good.clone() },
            "'schema' exceeds the maximum length of 1048575 characters",
        ),
        (
            InputDataset { tags: vec![pair("k", &"x".repeat(501))], ..good },
            "'value' exceeds the maximum length of 500 characters",
        ),
    ] {
        let answer = registry.log_inputs(&run, vec![dataset], Vec::new()).await;
        refused(answer, Code::InvalidParameterValue, message);
    }
}

async fn models_of_old_clients(lab: Lab) {
    let (registry, run) = (&lab.registry, lab.run().await);
    for path in ["a", "b"] {
        let entry = serde_json::json!({"artifact_path": path, "flavors": {"f": "x".repeat(5000)}});
        registry.record_model(&run, entry).await.unwrap();
    }
    let tags = registry.run(&run).await.unwrap().tags;
    let tag = tags.iter().find(|tag| tag.key == "mlflow.log-model.history").unwrap();
    let models: Vec<serde_json::Value> = serde_json::from_str(&tag.value).unwrap();
    assert_eq!([&models[0]["artifact_path"], &models[1]["artifact_path"]], ["a", "b"]);
}

async fn histories_in_pages(lab: Lab) {
    let (registry, run) = (&lab.registry, lab.run().await);
    let metrics: Vec<Metric> = (0..25).map(|i| point("m", i, if i == 9 { f64::NAN } else { 1.0 })).collect();
    registry.log_batch(&run, metrics, Vec::new(), Vec::new()).await.unwrap();
    let (mut steps, mut token, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = registry.metric_page(&run, "m", 10, token.as_deref()).await.unwrap();
        steps.extend(page.points.iter().map(|point| point.step));
        pages += 1;
        token = page.next;
        if token.is_none() {
            break;
        }
        // What comes late and before the mark does not move the pages.
        registry.log_metric(&run, point("m", 0, 7.0 + f64::from(pages))).await.unwrap();
    }
    assert_eq!((steps, pages), ((0..25).collect(), 3));
    let exact = registry.metric_page(&run, "m", 27, None).await.unwrap();
    assert_eq!((exact.points.len(), exact.next), (27, None));
    let none = registry.metric_page("no run", "m", 10, None).await.unwrap();
    assert_eq!((none.points, none.next), (Vec::new(), None));
    for most in [0, -1] {
        refused(
            registry.metric_page(&run, "m", most, None).await,
            Code::InvalidParameterValue,
            &format!(
                "Invalid value {most} for parameter 'max_results' supplied. It must be a positive integer."
            ),
        );
    }
    for (token, message) in [
        ("é", "Invalid page token, could not base64-decode"),
        ("YWJj", "Invalid page token, decoded value=abc"),
    ] {
        let answer = registry.metric_page(&run, "m", 10, Some(token)).await;
        refused(answer, Code::InvalidParameterValue, message);
    }
}

async fn histories_of_several_runs(lab: Lab) {
    let (registry, invalid) = (&lab.registry, Code::InvalidParameterValue);
    let mut runs = Vec::new();
    for _ in 0..3 {
        let run = lab.run().await;
        let metrics = (0..100).map(|i| point("m", i, 1.0)).collect();
        registry.log_batch(&run, metrics, Vec::new(), Vec::new()).await.unwrap();
        runs.push(run);
    }
    runs.push("no run".to_owned());
    let counts = |found: &[(tidemill_core::RunId, Vec<HistoryPoint>)]| {
        found.iter().map(|(run, points)| (run.to_string(), points.len())).collect::<Vec<_>>()
    };
    let bulk = registry.metric_bulk(&runs, "m", Some(150)).await.unwrap();
    let mut sorted = runs[..3].to_vec();
    sorted.sort();
    assert_eq!(counts(&bulk), [(sorted[0].clone(), 100), (sorted[1].clone(), 50)]);
    let samples = registry.metric_samples(&runs, "m", (Some(10), Some(50)), Some(5)).await.unwrap();
    assert_eq!(counts(&samples), [(runs[0].clone(), 5), (runs[1].clone(), 5), (runs[2].clone(), 5)]);
    assert_eq!(samples[0].1.iter().map(|point| point.step).collect::<Vec<_>>(), [10, 20, 30, 40, 50]);

    const HINT: &str = "See the API docs for more information about request parameters.";
    let many: Vec<String> = (0..101).map(|i| i.to_string()).collect();
    let message = "GetMetricHistoryBulk request must specify at least one run_id.";
    refused(registry.metric_bulk(&[], "m", None).await, invalid, message);
    let message = "GetMetricHistoryBulk request cannot specify more than 100 run_ids. Received 101 run_ids.";
    refused(registry.metric_bulk(&many, "m", None).await, invalid, message);
    let message = format!(
        "GetMetricHistoryBulkInterval request must specify at most 100 run_ids. Received 101 run_ids. {HINT}"
    );
    refused(registry.metric_samples(&many, "m", (None, None), None).await, invalid, &message);
    let message = format!("max_results must be between 1 and 2500. {HINT}");
    for most in [0, 2501] {
        refused(registry.metric_samples(&runs, "m", (None, None), Some(most)).await, invalid, &message);
    }
    let message = "end_step must be greater than start_step. Found start_step=5 and end_step=4.";
    refused(registry.metric_samples(&runs, "m", (Some(5), Some(4)), None).await, invalid, message);
    let message = "If either start step or end step are specified, both must be specified.";
    refused(registry.metric_samples(&runs, "m", (Some(5), None), None).await, invalid, message);
}

async fn every_change_of_state_is_an_event(lab: Lab) {
    let (registry, actor) = (&lab.registry, &lab.actor);
    let id = lab.experiment("e").await;
    let new = NewRun { experiment: id.clone(), name: "r".to_owned(), ..NewRun::default() };
    let run = registry.create_run(actor, new).await.unwrap().info.id;
    let text = run.to_string();
    registry.log_metric(&text, point("m", 1, 1.0)).await.unwrap();
    registry.log_param(&text, pair("p", "1")).await.unwrap();
    registry.set_tag(&text, pair("t", "1")).await.unwrap();
    for status in [RunStatus::Running, RunStatus::Finished, RunStatus::Finished] {
        let change = RunChange { status: Some(status), ..RunChange::default() };
        registry.update_run(actor, &text, change).await.unwrap();
    }
    registry.delete_run(actor, &text).await.unwrap();
    registry.delete_run(actor, &text).await.unwrap();
    registry.restore_run(actor, &text).await.unwrap();
    registry.rename_experiment(actor, &id, "f").await.unwrap();
    registry.set_experiment_tag(actor, &id, pair("k", "v")).await.unwrap();
    registry.delete_experiment_tag(actor, &id, "k").await.unwrap();
    registry.delete_experiment(actor, &id).await.unwrap();
    registry.restore_experiment(actor, &id).await.unwrap();
    let experiment = 1;
    let tagged = |value: Option<&str>| EventKind::ExperimentTagged {
        experiment,
        key: "k".to_owned(),
        value: value.map(str::to_owned),
    };
    assert_eq!(
        lab.kinds().await,
        [
            EventKind::ExperimentCreated { experiment, name: "e".to_owned() },
            EventKind::TrackingRunCreated { run, experiment, name: "r".to_owned() },
            EventKind::TrackingRunMoved { run, status: "FINISHED".to_owned() },
            EventKind::TrackingRunDeleted { run },
            EventKind::TrackingRunRestored { run },
            EventKind::ExperimentRenamed { experiment, name: "f".to_owned() },
            tagged(Some("v")),
            tagged(None),
            EventKind::ExperimentDeleted { experiment },
            EventKind::ExperimentRestored { experiment },
        ]
    );
}
