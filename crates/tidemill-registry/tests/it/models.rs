//! Registered models, versions and aliases: what is allowed, what a refusal says, and what the log says.

use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;
use tidemill_core::{Actor, FixedClock, Timestamp};
use tidemill_db::tracking::KeyValue;
use tidemill_db::webhooks::{Secret, WebhookPatch};
use tidemill_db::{Db, EventFilter};
use tidemill_registry::artifacts::ArtifactPath;
use tidemill_registry::{
    Code, Error, LoggedModelRequest, LoggedModelSearch, Moment, NewRun, Reach, Registry, SearchOrder,
    VersionRequest, WebhookRequest, webhook_event,
};
use tidemill_store::{Store, StoreOptions};

struct Lab {
    registry: Registry,
    clock: Arc<FixedClock>,
    ana: Actor,
    _dir: TempDir,
}

impl Lab {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(FixedClock::new(Timestamp::from_millis(1000)));
        let db = Db::open(dir.path().join("db").to_str().unwrap(), clock.clone()).await.unwrap();
        let store = Store::open(&dir.path().join("store"), StoreOptions::default()).unwrap();
        let registry = Registry::new(db, store, clock.clone());
        registry.prepare().await.unwrap();
        Self { registry, clock, ana: Actor::user("ana"), _dir: dir }
    }

    async fn model(&self, name: &str) {
        self.registry.create_model(&self.ana, name, &[], None).await.unwrap();
    }

    async fn version(&self, request: VersionRequest) -> Result<tidemill_db::models::ModelVersion, Error> {
        self.registry.create_version(&self.ana, request).await
    }

    async fn run(&self) -> (String, String) {
        let run = self.registry.create_run(&self.ana, NewRun::default()).await.unwrap();
        (run.info.id.to_string(), run.info.artifact_uri)
    }

    async fn logged(&self, name: &str, run: Option<&str>) -> (String, String) {
        let request = LoggedModelRequest {
            experiment: "0".to_owned(),
            name: Some(name.to_owned()),
            source_run: run.map(str::to_owned),
            ..LoggedModelRequest::default()
        };
        let model = self.registry.create_logged_model(&self.ana, request).await.unwrap();
        (model.id, model.artifact_uri)
    }

    /// The log since the start as `kind detail`, in words of its own.
    async fn log(&self) -> Vec<String> {
        let events = self.registry.db().events(&EventFilter::default()).await.unwrap();
        events.iter().map(|event| event.kind.name().to_owned()).collect()
    }
}

fn kv(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.to_owned(), value: value.to_owned() }
}

fn from(model: &str, source: &str) -> VersionRequest {
    VersionRequest { model: model.to_owned(), source: source.to_owned(), ..VersionRequest::default() }
}

fn by_run(model: &str, source: &str, run: &str) -> VersionRequest {
    VersionRequest { run: Some(run.to_owned()), ..from(model, source) }
}

fn by_model(model: &str, source: &str, logged: &str) -> VersionRequest {
    VersionRequest { logged_model: Some(logged.to_owned()), ..from(model, source) }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Error>, code: Code, message: &str) {
    let error = result.unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (code, message));
}

#[tokio::test]
async fn names_are_taken_once_by_models_and_prompts() {
    let lab = Lab::new().await;
    let prompt = [kv("mlflow.prompt.is_prompt", "true")];
    lab.model("m").await;
    lab.registry.create_model(&lab.ana, "p", &prompt, None).await.unwrap();
    for (name, tags, message) in [
        ("m", &[][..], "Registered Model (name=m) already exists."),
        ("p", &prompt[..], "Prompt (name=p) already exists."),
        (
            "p",
            &[][..],
            "Tried to create a registered model with name 'p', but the name is already taken by a prompt. MLflow does \
             not allow creating a model and a prompt with the same name.",
        ),
        (
            "m",
            &prompt[..],
            "Tried to create a prompt with name 'm', but the name is already taken by a registered model. MLflow does \
             not allow creating a model and a prompt with the same name.",
        ),
    ] {
        refused(
            lab.registry.create_model(&lab.ana, name, tags, None).await,
            Code::ResourceAlreadyExists,
            message,
        );
    }
    let rename = lab.registry.rename_model(&lab.ana, "m", "p").await;
    refused(rename, Code::ResourceAlreadyExists, "Registered Model (name=p) already exists.");
    refused(
        lab.registry.model("x").await,
        Code::ResourceDoesNotExist,
        "Registered Model with name=x not found",
    );
    let gone = lab.registry.delete_model(&lab.ana, "x").await;
    refused(gone, Code::ResourceDoesNotExist, "Registered Model with name=x not found");
}

#[tokio::test]
async fn a_source_belongs_to_its_run() {
    let lab = Lab::new().await;
    lab.model("m").await;
    let (run, root) = lab.run().await;
    let (other, _) = lab.run().await;
    let inside = format!("{root}/model");
    let version = lab.version(by_run("m", &inside, &run)).await.unwrap();
    assert_eq!((version.source.as_str(), version.storage_location.as_deref()), (&*inside, Some(&*inside)));
    let runs = format!("runs:/{run}/model");
    let version = lab.version(by_run("m", &runs, &run)).await.unwrap();
    assert_eq!((version.source.as_str(), version.storage_location.as_deref()), (&*runs, Some(&*inside)));
    let elsewhere = lab.version(by_run("m", "s3://bucket/x", "any text")).await.unwrap();
    assert_eq!(elsewhere.run.as_deref(), Some("any text"));
    let not_inside = |source: &str| {
        format!(
            "Invalid model version source: '{source}'. The run_id request parameter must identify the resource that \
             contains the source."
        )
    };
    for (source, run) in
        [(&inside, other.as_str()), (&inside, ""), (&inside, "gone"), (&runs, other.as_str()), (&runs, "")]
    {
        refused(
            lab.version(by_run("m", source, run)).await,
            Code::InvalidParameterValue,
            &not_inside(source),
        );
    }
    let local = lab.version(by_run("m", "/etc/passwd", &run)).await;
    refused(
        local,
        Code::InvalidParameterValue,
        "Invalid model version source: '/etc/passwd'. To use a local path as a model version source, the run_id request \
         parameter has to be specified and the local path has to be contained within the artifact directory of the run \
         specified by the run_id.",
    );
    let nobody = lab.version(from("nobody", "s3://b/x")).await;
    refused(nobody, Code::ResourceDoesNotExist, "Registered Model with name=nobody not found");
}

#[tokio::test]
async fn a_local_source_lies_inside_of_a_local_run() {
    let lab = Lab::new().await;
    lab.model("m").await;
    let at = Some("file:///data/e");
    let experiment = lab.registry.create_experiment(&lab.ana, "e", at, vec![]).await.unwrap();
    let new = NewRun { experiment: experiment.to_string(), ..NewRun::default() };
    let run = lab.registry.create_run(&lab.ana, new).await.unwrap().info;
    let id = run.id.to_string();
    let inside = format!("/data/e/{id}/artifacts/model");
    lab.version(by_run("m", &inside, &id)).await.unwrap();
    lab.version(by_run("m", &format!("file://{inside}"), &id)).await.unwrap();
    for source in ["/data/e".to_owned(), format!("/data/e/{id}/artifacts/../../x"), "model".to_owned()] {
        let message = lab.version(by_run("m", &source, &id)).await.unwrap_err().message;
        assert!(message.contains("has to be contained within the artifact directory"), "{source}: {message}");
    }
}

#[tokio::test]
async fn a_version_of_a_logged_model_knows_it() {
    let lab = Lab::new().await;
    lab.model("m").await;
    let (run, _) = lab.run().await;
    let (model, root) = lab.logged("net", Some(&run)).await;
    let source = format!("models:/{model}");
    let version = lab.version(by_model("m", &source, &model)).await.unwrap();
    assert_eq!(version.storage_location.as_deref(), Some(root.as_str()));
    assert_eq!(
        (version.run.as_deref(), version.logged_model.as_deref()),
        (Some(run.as_str()), Some(model.as_str()))
    );
    assert_eq!(lab.registry.version_location("m", "1").await.unwrap(), root);
    lab.version(by_model("m", &root, &model)).await.unwrap();
    let tags = lab.registry.logged_model(&model, false).await.unwrap().tags;
    assert_eq!(tags, [kv("mlflow.modelVersions", r#"[{"name":"m","version":1},{"name":"m","version":2}]"#)]);
    // What a run calls by its path may be a logged model.
    let version = lab.version(by_run("m", &format!("runs:/{run}/net/data"), &run)).await.unwrap();
    assert_eq!(version.storage_location, Some(format!("{root}/data")));

    let not_inside = |source: &str| {
        format!(
            "Invalid model version source: '{source}'. The model_id request parameter must identify the resource that \
             contains the source."
        )
    };
    for (source, logged) in [
        (source.as_str(), ""),
        (source.as_str(), "m-other"),
        ("mlflow-artifacts:/0/models/m-other/artifacts", model.as_str()),
        (&*format!("runs:/{run}/net"), model.as_str()),
        ("mlflow-artifacts:/0/models/m-x/artifacts", "m-x"),
    ] {
        let result = lab.version(by_model("m", source, logged)).await;
        refused(result, Code::InvalidParameterValue, &not_inside(source));
    }
    let gone = lab.version(by_model("m", "models:/m-x", "m-x")).await;
    refused(gone, Code::ResourceDoesNotExist, "Logged model with ID 'm-x' not found.");
}

#[tokio::test]
async fn copies_of_versions_keep_what_they_are_of() {
    let lab = Lab::new().await;
    lab.model("m").await;
    lab.model("n").await;
    let (run, _) = lab.run().await;
    let (model, root) = lab.logged("net", Some(&run)).await;
    lab.version(by_model("m", &format!("models:/{model}"), &model)).await.unwrap();
    lab.registry.set_alias(&lab.ana, "m", "champion", "1").await.unwrap();
    lab.registry.stage_version(&lab.ana, "m", "1", "staging", false).await.unwrap();
    for source in ["models:/m/1", "models:/m/latest", "models:/m@champion", "models:/m/Staging"] {
        let copy = lab.version(from("n", source)).await.unwrap();
        assert_eq!(copy.source, "models:/m/1");
        assert_eq!(copy.storage_location.as_deref(), Some(root.as_str()));
        assert_eq!(
            (copy.run.as_deref(), copy.logged_model.as_deref()),
            (Some(run.as_str()), Some(model.as_str()))
        );
    }
    // As the client's `copy_model_version` sends it.
    lab.version(by_run("n", "models:/m/1", &run)).await.unwrap();
    let other = lab.version(by_run("n", "models:/m/1", "other")).await;
    refused(
        other,
        Code::InvalidParameterValue,
        "Invalid model version source: 'models:/m/1'. The run_id and model_id request parameters must match the \
         referenced model version.",
    );
    for (source, code, message) in [
        ("models:/x/1", Code::ResourceDoesNotExist, "Registered Model with name=x not found"),
        ("models:/m/9", Code::ResourceDoesNotExist, "Model Version (name=m, version=9) not found"),
        ("models:/m@x", Code::InvalidParameterValue, "Registered model alias x not found."),
        (
            "models:/m/Production",
            Code::ResourceDoesNotExist,
            "No versions of model with name 'm' and stage 'Production' found",
        ),
    ] {
        refused(lab.version(from("n", source)).await, code, message);
    }
}

#[tokio::test]
async fn prompts_have_no_files() {
    let lab = Lab::new().await;
    let tags = vec![kv("mlflow.prompt.is_prompt", "true"), kv("mlflow.prompt.text", "Hello {{name}}")];
    lab.registry.create_model(&lab.ana, "p", &tags[..1], None).await.unwrap();
    let version =
        lab.version(VersionRequest { tags: tags.clone(), ..from("p", "prompt-template") }).await.unwrap();
    assert_eq!((version.version, version.content), (1, None));
    refused(
        lab.version(VersionRequest { tags, ..from("p", "s3://b/x") }).await,
        Code::InvalidParameterValue,
        "Invalid prompt source: 's3://b/x'. Prompt sources must use an MLflow placeholder.",
    );
    refused(
        lab.version(from("p", "models:/p/1")).await,
        Code::InvalidParameterValue,
        "Invalid model version source: 'models:/p/1'. Prompt versions cannot be used as model version sources.",
    );
    let names = async |filter: &str| {
        let found = lab.registry.search_models(filter, &[], None, None).await.unwrap();
        found.items.into_iter().map(|model| model.name).collect::<Vec<_>>()
    };
    lab.model("m").await;
    assert_eq!(names("").await, ["m"]);
    assert_eq!(names("tags.`mlflow.prompt.is_prompt` = 'true'").await, ["p"]);
    assert_eq!(lab.registry.search_versions("name = 'p'", &[], None, None).await.unwrap().items, []);
    let asked = "name = 'p' AND tags.`mlflow.prompt.is_prompt` = 'true'";
    assert_eq!(lab.registry.search_versions(asked, &[], None, None).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn stages_and_what_they_refuse() {
    let lab = Lab::new().await;
    lab.model("m").await;
    lab.version(from("m", "s3://b/1")).await.unwrap();
    lab.version(from("m", "s3://b/2")).await.unwrap();
    let stage = async |version: &str, stage: &str, archive: bool| {
        lab.registry.stage_version(&lab.ana, "m", version, stage, archive).await
    };
    stage("1", "production", false).await.unwrap();
    stage("2", "Production", true).await.unwrap();
    let latest = lab.registry.latest_versions("m", &[]).await.unwrap();
    let latest: Vec<_> = latest.iter().map(|version| (version.version, version.stage.word())).collect();
    assert_eq!(latest, [(1, "Archived"), (2, "Production")]);
    let one = lab.registry.latest_versions("m", &["PRODUCTION".to_owned()]).await.unwrap();
    assert_eq!(one.len(), 1);
    let message =
        "Invalid Model Version stage: foo. Value must be one of None, Staging, Production, Archived.";
    refused(stage("2", "foo", false).await, Code::InvalidParameterValue, message);
    refused(
        stage("2", "none", true).await,
        Code::InvalidParameterValue,
        "Model version transition cannot archive existing model versions because 'none' is not an Active stage. Valid \
         stages are ['Staging', 'Production']",
    );
    let missing = "Model Version (name=m, version=9) not found";
    refused(stage("9", "Staging", false).await, Code::ResourceDoesNotExist, missing);
    let staged = lab.log().await.iter().filter(|kind| *kind == "version.staged").count();
    assert_eq!(staged, 3, "two were moved, one was archived");
}

#[tokio::test]
async fn every_move_of_an_alias_can_be_looked_up() {
    let lab = Lab::new().await;
    lab.model("m").await;
    lab.version(from("m", "s3://b/1")).await.unwrap();
    lab.version(from("m", "s3://b/2")).await.unwrap();
    let second = std::time::Duration::from_secs(1);
    for version in ["1", "2", "2"] {
        lab.clock.advance(second);
        lab.registry.set_alias(&lab.ana, "m", "champion", version).await.unwrap();
    }
    lab.clock.advance(second);
    lab.registry.delete_version(&lab.ana, "m", "2").await.unwrap();
    lab.registry.remove_alias(&lab.ana, "m", "champion").await.unwrap();
    let moves = lab.registry.alias_history("m", "champion").await.unwrap();
    let told: Vec<_> = moves.iter().map(|one| (one.at.millis(), one.from, one.to)).collect();
    assert_eq!(told, [(2000, None, Some(1)), (3000, Some(1), Some(2)), (5000, Some(2), None)]);
    for (millis, expected) in [(1999, None), (2000, Some(1)), (4000, Some(2)), (5000, None)] {
        let at = Moment::Time(Timestamp::from_millis(millis));
        assert_eq!(lab.registry.alias_at("m", "champion", at).await.unwrap(), expected, "{millis}");
    }
    assert_eq!(lab.registry.alias_at("m", "champion", Moment::Event(moves[1].seq)).await.unwrap(), Some(2));
    lab.registry.set_alias(&lab.ana, "m", "champion", "1").await.unwrap();
    lab.registry.delete_model(&lab.ana, "m").await.unwrap();
    assert_eq!(
        lab.registry.alias_history("m", "champion").await.unwrap().len(),
        5,
        "the log outlives the model"
    );
    let missing = lab.registry.version_by_alias("m", "champion").await;
    refused(missing, Code::ResourceDoesNotExist, "Registered Model with name=m not found");
}

#[tokio::test]
async fn a_version_has_the_digest_of_its_files() {
    let lab = Lab::new().await;
    lab.model("m").await;
    let (model, root) = lab.logged("net", None).await;
    let folder = root.strip_prefix("mlflow-artifacts:/").unwrap();
    for (name, text) in [("MLmodel", "flavors: {}"), ("data/weights.bin", "1234")] {
        let path = ArtifactPath::parse(&format!("{folder}/{name}")).unwrap();
        lab.registry.put_artifact(path, Bytes::from(text)).await.unwrap();
    }
    let version = lab.version(by_model("m", &format!("models:/{model}"), &model)).await.unwrap();
    let tree = lab.registry.artifact_tree(&ArtifactPath::parse(folder).unwrap()).await.unwrap();
    assert!(version.content.is_some());
    assert_eq!(version.content, tree);
    let created = EventFilter { kind: Some("version.created".to_owned()), ..EventFilter::default() };
    let events = lab.registry.db().events(&created).await.unwrap();
    let body = serde_json::to_value(&events[0]).unwrap();
    assert_eq!(body["content"], tree.unwrap().to_string());
    let kept = lab.registry.db().roots(&tidemill_db::Keep::default()).await.unwrap();
    assert!(kept.contains(&tree.unwrap()), "garbage collection leaves it alone");
    assert_eq!(lab.version(from("m", "s3://b/x")).await.unwrap().content, None);
}

#[tokio::test]
async fn what_changes_nothing_is_not_in_the_log() {
    let lab = Lab::new().await;
    lab.model("m").await;
    lab.version(from("m", "s3://b/1")).await.unwrap();
    let tag = kv("k", "v");
    lab.registry.tag_model(&lab.ana, "m", &tag).await.unwrap();
    lab.registry.tag_version(&lab.ana, "m", "1", &tag).await.unwrap();
    lab.registry.set_alias(&lab.ana, "m", "a", "1").await.unwrap();
    let before = lab.log().await;
    lab.registry.tag_model(&lab.ana, "m", &tag).await.unwrap();
    lab.registry.untag_model(&lab.ana, "m", "gone").await.unwrap();
    lab.registry.tag_version(&lab.ana, "m", "1", &tag).await.unwrap();
    lab.registry.untag_version(&lab.ana, "m", "1", "gone").await.unwrap();
    lab.registry.set_alias(&lab.ana, "m", "a", "1").await.unwrap();
    lab.registry.remove_alias(&lab.ana, "m", "gone").await.unwrap();
    assert_eq!(lab.log().await, before);
    lab.registry.untag_version(&lab.ana, "m", "1", "k").await.unwrap();
    lab.registry.delete_version(&lab.ana, "m", "1").await.unwrap();
    assert_eq!(lab.log().await[before.len()..], ["model.tagged", "alias.moved", "version.deleted"]);
}

#[tokio::test]
async fn searches_go_in_pages() {
    let lab = Lab::new().await;
    for name in ["c", "a", "b"] {
        lab.model(name).await;
        lab.clock.advance(std::time::Duration::from_secs(1));
    }
    lab.version(VersionRequest { tags: vec![kv("t", "x")], ..by_run("a", "s3://b/1", "r1") }).await.unwrap();
    lab.clock.advance(std::time::Duration::from_secs(1));
    lab.version(from("a", "s3://b/2")).await.unwrap();
    lab.version(from("b", "s3://b/3")).await.unwrap();
    let models = async |filter: &str, order: &[&str], limit, token: Option<&str>| {
        let order: Vec<String> = order.iter().map(|key| (*key).to_owned()).collect();
        let found = lab.registry.search_models(filter, &order, limit, token).await.unwrap();
        (found.items.into_iter().map(|model| model.name).collect::<String>(), found.next)
    };
    assert_eq!(models("", &[], None, None).await, ("abc".to_owned(), None));
    let (first, next) = models("", &[], Some(2), None).await;
    assert_eq!(first, "ab");
    assert_eq!(models("", &[], Some(2), next.as_deref()).await, ("c".to_owned(), None));
    assert_eq!(models("name ILIKE 'A%'", &[], None, None).await.0, "a");
    assert_eq!(models("name IN ('a', 'c')", &["name DESC"], None, None).await.0, "ca");
    assert_eq!(models("", &["last_updated_timestamp DESC"], None, None).await.0, "abc");

    let versions = async |filter: &str, order: &[&str]| {
        let order: Vec<String> = order.iter().map(|key| (*key).to_owned()).collect();
        let found = lab.registry.search_versions(filter, &order, None, None).await.unwrap().items;
        found.into_iter().map(|version| format!("{}{} ", version.model, version.version)).collect::<String>()
    };
    assert_eq!(versions("", &[]).await, "a2 b1 a1 ");
    assert_eq!(versions("", &["name DESC"]).await, "b1 a2 a1 ");
    assert_eq!(versions("run_id = 'r1'", &[]).await, "a1 ");
    assert_eq!(versions("run_id != 'r1'", &[]).await, "a2 b1 ");
    assert_eq!(versions("run_id IN ('r1', 'r2')", &[]).await, "a1 ");
    assert_eq!(versions("name = 'a' AND version_number > 1", &[]).await, "a2 ");
    assert_eq!(versions("tags.t = 'x'", &[]).await, "a1 ");
    assert_eq!(versions("tags.t != 'x'", &[]).await, "", "without the tag there is nothing to compare");
    assert_eq!(versions("source_path LIKE 's3://b/%'", &["version_number ASC"]).await, "a1 b1 a2 ");
    let limit = lab.registry.search_versions("", &[], Some(0), None).await;
    let message = "Invalid value for max_results. It must be a positive integer, but got 0";
    refused(limit, Code::InvalidParameterValue, message);
}

#[tokio::test]
async fn logged_models_live_and_are_found() {
    let lab = Lab::new().await;
    let (run, _) = lab.run().await;
    let (a, root) = lab.logged("a", Some(&run)).await;
    assert_eq!(root, format!("mlflow-artifacts:/0/models/{a}/artifacts"));
    lab.clock.advance(std::time::Duration::from_secs(1));
    let (b, _) = lab.logged("b", None).await;
    let ready = tidemill_db::logged_models::LoggedModelStatus::Ready;
    lab.registry.finish_logged_model(&lab.ana, &a, ready).await.unwrap();
    lab.registry.tag_logged_model(&b, &[kv("t", "1")]).await.unwrap();
    lab.registry.log_model_params(&a, &[kv("lr", "0.1")]).await.unwrap();
    lab.registry.log_model_params(&a, &[kv("lr", "0.1"), kv("n", "3")]).await.unwrap();
    refused(
        lab.registry.log_model_params(&a, &[kv("lr", "0.2")]).await,
        Code::InvalidParameterValue,
        &format!(
            "Changing param values is not allowed. Param with key='lr' was already logged with value='0.1' for model \
             ID='{a}'. Attempted logging new value '0.2'."
        ),
    );
    for (model, value) in [(&a, 0.5), (&b, 0.25)] {
        let metric = tidemill_db::tracking::Metric {
            key: "loss".to_owned(),
            value,
            at: Timestamp::from_millis(5),
            step: 0,
            dataset_name: Some("d".to_owned()),
            dataset_digest: Some("g".to_owned()),
            model_id: Some(model.clone()),
            run_id: None,
        };
        lab.registry.log_metric(&run, metric).await.unwrap();
    }
    let find = async |search: LoggedModelSearch| {
        let search = LoggedModelSearch { experiments: vec!["0".to_owned()], ..search };
        let found = lab.registry.search_logged_models(&search).await.unwrap();
        (found.items.into_iter().map(|model| model.name).collect::<String>(), found.next)
    };
    let filter = |text: &str| LoggedModelSearch { filter: text.to_owned(), ..LoggedModelSearch::default() };
    let order = |field: &str, ascending| LoggedModelSearch {
        order: vec![SearchOrder {
            field_name: field.to_owned(),
            ascending,
            dataset_name: None,
            dataset_digest: None,
        }],
        ..LoggedModelSearch::default()
    };
    for (search, names) in [
        (filter(""), "ba"),
        (filter("status = 'READY'"), "a"),
        (filter("params.lr = '0.1' AND params.n = '3'"), "a"),
        (filter("tags.t = '1'"), "b"),
        (filter(&format!("source_run_id = '{run}'")), "a"),
        (filter("metrics.loss < 0.3"), "b"),
        (filter("metrics.loss != 0.25"), "a"),
        (filter("name IN ('a', 'x')"), "a"),
        (filter("creation_timestamp > 1500"), "b"),
        (order("name", true), "ab"),
        (order("metrics.loss", true), "ba"),
        (order("metrics.loss", false), "ab"),
        (order("metrics.nothing", false), "ba"),
    ] {
        assert_eq!(find(search.clone()).await.0, names, "{search:?}");
    }
    let dataset = |name: &str, digest: Option<&str>| LoggedModelSearch {
        datasets: vec![tidemill_db::logged_models::DatasetName {
            name: name.to_owned(),
            digest: digest.map(str::to_owned),
        }],
        ..filter("")
    };
    assert_eq!(find(dataset("d", None)).await.0, "ba");
    assert_eq!(find(dataset("d", Some("g"))).await.0, "ba");
    assert_eq!(find(dataset("d", Some("h"))).await.0, "");
    assert_eq!(
        find(LoggedModelSearch { filter: "metrics.loss < 0.3".to_owned(), ..dataset("e", None) }).await.0,
        ""
    );
    let (first, next) = find(LoggedModelSearch { limit: Some(1), ..filter("") }).await;
    assert_eq!(first, "b");
    assert_eq!(
        find(LoggedModelSearch { limit: Some(1), token: next, ..filter("") }).await,
        ("a".to_owned(), None)
    );

    lab.registry.delete_logged_model(&lab.ana, &a).await.unwrap();
    lab.registry.delete_logged_model(&lab.ana, &a).await.unwrap();
    assert_eq!(find(filter("")).await.0, "b");
    let message = format!("Logged model with ID '{a}' not found.");
    refused(lab.registry.logged_model(&a, false).await, Code::ResourceDoesNotExist, &message);
    assert_eq!(lab.registry.logged_model(&a, true).await.unwrap().name, "a");
    let moved = lab.log().await.iter().filter(|kind| *kind == "logged_model.moved").count();
    assert_eq!(moved, 2, "finished once, deleted once");
}

#[tokio::test]
async fn webhooks_are_told_of_changes() {
    let lab = Lab::new().await;
    let events = [
        ("registered_model", "created"),
        ("model_version", "created"),
        ("model_version_tag", "set"),
        ("model_version_alias", "created"),
        ("model_version_alias", "deleted"),
        ("prompt", "created"),
        ("prompt_tag", "set"),
    ];
    let request = WebhookRequest {
        name: "hook".to_owned(),
        description: None,
        url: "https://example.com/".to_owned(),
        secret: Some(Secret::new("s3cret")),
        active: true,
        events: events.iter().map(|(entity, action)| webhook_event(entity, action).unwrap()).collect(),
    };
    let webhook = lab.registry.create_webhook(&lab.ana, request.clone(), Reach::Public).await.unwrap();
    lab.model("m").await;
    lab.version(VersionRequest { description: Some(String::new()), ..from("m", "s3://b/1") }).await.unwrap();
    lab.registry.tag_version(&lab.ana, "m", "1", &kv("k", "v")).await.unwrap();
    lab.registry.tag_model(&lab.ana, "m", &kv("k", "v")).await.unwrap();
    lab.registry.set_alias(&lab.ana, "m", "a", "1").await.unwrap();
    lab.registry.set_alias(&lab.ana, "m", "a", "1").await.unwrap();
    lab.registry.remove_alias(&lab.ana, "m", "a").await.unwrap();
    let marks = [kv("mlflow.prompt.is_prompt", "true"), kv("team", "x")];
    lab.registry.create_model(&lab.ana, "p", &marks, Some("d")).await.unwrap();
    lab.registry.tag_model(&lab.ana, "p", &kv("k", "v")).await.unwrap();
    let db = lab.registry.db();
    let due =
        db.claim_deliveries(Timestamp::from_millis(9000), Timestamp::from_millis(9999), 100).await.unwrap();
    let told: Vec<_> = due.iter().map(|one| format!("{}.{} {}", one.entity, one.action, one.data)).collect();
    assert_eq!(
        told,
        [
            r#"registered_model.created {"description":"","name":"m","tags":{}}"#,
            r#"model_version.created {"description":null,"name":"m","run_id":null,"source":"s3://b/1","tags":{},"version":"1"}"#,
            r#"model_version_tag.set {"key":"k","name":"m","value":"v","version":"1"}"#,
            r#"model_version_alias.created {"alias":"a","name":"m","version":"1"}"#,
            r#"model_version_alias.deleted {"alias":"a","name":"m"}"#,
            r#"prompt.created {"description":"d","name":"p","tags":{"team":"x"}}"#,
            r#"prompt_tag.set {"key":"k","name":"p","value":"v"}"#,
        ]
    );
    let log = lab.log().await;
    assert!(log.contains(&"webhook.changed".to_owned()));
    let text = serde_json::to_string(&db.events(&EventFilter::default()).await.unwrap()).unwrap();
    assert!(!text.contains("s3cret"));

    let off = WebhookPatch { active: Some(false), ..WebhookPatch::default() };
    lab.registry.update_webhook(&lab.ana, &webhook.id, &off, Reach::Public).await.unwrap();
    lab.model("quiet").await;
    assert_eq!(db.next_delivery().await.unwrap(), Some(Timestamp::from_millis(9999)), "nothing new waits");
    lab.registry.delete_webhook(&lab.ana, &webhook.id).await.unwrap();
    let message = format!("Webhook with ID {} not found.", webhook.id);
    refused(lab.registry.webhook(&webhook.id).await, Code::ResourceDoesNotExist, &message);
    let nothing = WebhookRequest { events: vec![], ..request.clone() };
    assert!(lab.registry.create_webhook(&lab.ana, nothing, Reach::Public).await.is_err());
    let plain = WebhookRequest { url: "http://example.com/".to_owned(), ..request };
    refused(
        lab.registry.create_webhook(&lab.ana, plain, Reach::Public).await,
        Code::InvalidParameterValue,
        "Invalid webhook URL scheme: 'http'. Allowed schemes are: https.",
    );
}
