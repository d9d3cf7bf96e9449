//! Serving: models of the registry behind endpoints, changes through the API and the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tidemill_core::{Actor, Digest, EventKind, NewEvent};
use tidemill_runtime::{Dim, ElementType, RunError, Session, Slot, Tensor, Values};
use tidemill_serve::gateway::loader::Loader;
use tidemill_serve::gateway::settings::Settings;
use tidemill_serve::gateway::source::{ModelBundle, ModelFiles};
use tidemill_serve::oip;
use tidemill_serve::{Gateway, InferError, Inference as _, Named, Request, Response};
use tidemill_server::{App, Serving, Token};

use crate::client::Server;

/// A model whose file holds the number that it multiplies by.
#[derive(Debug)]
struct Times(f64, Vec<Slot>, Vec<Slot>);

impl Session for Times {
    fn runtime(&self) -> &'static str {
        "times"
    }

    fn inputs(&self) -> &[Slot] {
        &self.1
    }

    fn outputs(&self) -> &[Slot] {
        &self.2
    }

    fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, RunError> {
        let Values::F64(values) = inputs[0].values() else { panic!("{inputs:?}") };
        let values = values.iter().map(|value| value * self.0).collect();
        Ok(vec![Tensor::new(inputs[0].shape().to_vec(), Values::F64(values))?])
    }

    fn memory_bytes(&self) -> u64 {
        1
    }

    fn is_quick(&self) -> bool {
        true
    }
}

struct Numbers;

/// Whether the model whose file says `hangs` is still being loaded.
pub(crate) static HANGS: AtomicBool = AtomicBool::new(true);

impl Loader for Numbers {
    fn load(&self, bundle: &ModelBundle) -> Result<Arc<dyn Session>, String> {
        let text = match &bundle.files {
            ModelFiles::Onnx(bytes) => String::from_utf8(bytes.clone()).unwrap(),
            ModelFiles::Folder(folder) => {
                fs_err::read_to_string(folder.path().join("code/number.txt")).unwrap()
            }
        };
        // A model that is large, or in Python: its loading goes on until the test has seen what it wants.
        while text == "hangs" && HANGS.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let factor = text.parse().map_err(|_| format!("`{text}` is no number"))?;
        let slot = |name: &str| Slot {
            name: name.to_owned(),
            element: ElementType::F64,
            shape: vec![Dim::Any(None), Dim::Fixed(1)],
            optional: false,
        };
        Ok(Arc::new(Times(factor, vec![slot("x")], vec![slot("y")])))
    }
}

pub(crate) struct Lab {
    pub(crate) server: Server,
    gateway: Gateway,
    run: String,
    root: String,
}

const ONNX: &str = "flavors:\n  onnx:\n    data: model.onnx\n  python_function: {}\nsignature:\n  \
    inputs: '[{\"type\": \"double\", \"name\": \"x\"}]'\n";
const PYTHON: &str = "flavors:\n  python_function: {}\n";

impl Lab {
    pub(crate) async fn start() -> Self {
        Self::start_with(None).await
    }

    async fn start_with(token: Option<&str>) -> Self {
        Self::start_mounted(token, |serving| serving).await
    }

    /// A server that the Open Inference Protocol leads to as in the product: past the routes, and by them.
    async fn start_speaking(token: Option<&str>) -> Self {
        Self::start_mounted(token, |serving| {
            // The route of readiness is mounted already.
            let infer = |inference| {
                let protocol = oip::router(inference, oip::Limits::default());
                axum::Router::new().nest_service("/routed", protocol)
            };
            serving.mount(infer).past_routes(|inference| oip::direct(inference, oip::Limits::default()))
        })
        .await
    }

    async fn start_mounted(token: Option<&str>, protocols: impl FnOnce(Serving) -> Serving) -> Self {
        let mut gateway = None;
        let server = Server::start_app(|registry, mut config| {
            config.token = token.map(Token::new);
            let scratch = config.scratch.join("models");
            let serving =
                Serving::new(&registry, Vec::new(), scratch, Arc::new(Numbers), None, Settings::default());
            let serving = serving.mount(|inference| {
                let ready = move || async move { inference.is_ready().to_string() };
                axum::Router::new().route("/v2/health/ready", axum::routing::get(ready))
            });
            gateway = Some(serving.gateway().clone());
            App::serve(registry, config, protocols(serving))
        })
        .await;
        let mut lab = Self { server, gateway: gateway.unwrap(), run: String::new(), root: String::new() };
        if token.is_none() {
            let run = lab.mlflow("runs/create", json!({"experiment_id": "0"})).await;
            lab.run = run["run"]["info"]["run_id"].as_str().unwrap().to_owned();
            let uri = run["run"]["info"]["artifact_uri"].as_str().unwrap();
            lab.root = uri.trim_start_matches("mlflow-artifacts:/").to_owned();
            lab.mlflow("registered-models/create", json!({"name": "m"})).await;
        }
        lab
    }

    async fn mlflow(&self, path: &str, body: Value) -> Value {
        let reply = self.server.ask("POST", &format!("/api/2.0/mlflow/{path}"), &[], &body.to_string()).await;
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        reply.json()
    }

    async fn upload(&self, path: &str, text: &str) {
        let path = format!("/api/2.0/mlflow-artifacts/artifacts/{}/{path}", self.root);
        self.server.ask("PUT", &path, &[], text).await.is(200, &[]);
    }

    /// A version whose model multiplies by `factor`.
    pub(crate) async fn version(&self, folder: &str, factor: &str) {
        self.upload(&format!("{folder}/MLmodel"), ONNX).await;
        self.upload(&format!("{folder}/model.onnx"), factor).await;
        self.register(folder).await;
    }

    async fn register(&self, folder: &str) {
        let source = format!("runs:/{}/{folder}", self.run);
        let new = json!({"name": "m", "source": source, "run_id": self.run});
        self.mlflow("model-versions/create", new).await;
    }

    async fn champion(&self, version: &str) {
        let body = json!({"name": "m", "alias": "champion", "version": version});
        self.mlflow("registered-models/alias", body).await;
    }

    async fn ask(&self, model: &str) -> Result<Response, InferError> {
        let tensor = Tensor::vector(Values::F64(vec![10.0]));
        let inputs = vec![Named { name: "x".to_owned(), tensor }];
        self.gateway.infer(Request { model: model.to_owned(), inputs, ..Request::default() }).await
    }

    pub(crate) async fn answer(&self, model: &str) -> f64 {
        match self.ask(model).await.unwrap().outputs[0].tensor.values() {
            Values::F64(values) => values[0],
            other => panic!("{other:?}"),
        }
    }

    /// Waits until a model answers this.
    async fn becomes(&self, model: &str, expect: f64) {
        for _ in 0..200 {
            if self.answer(model).await == expect {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{model} still answers {}", self.answer(model).await);
    }

    pub(crate) async fn put(&self, name: &str, body: Value) -> crate::client::Reply {
        self.server
            .ask(
                "PUT",
                &format!("/api/v1/endpoints/{name}"),
                &[("authorization", "Basic YWRhOg==")],
                &body.to_string(),
            )
            .await
    }
}

fn one_arm(version: &str) -> Value {
    json!({"arms": [{"name": "a", "model": "m", "version": version, "weight": 1}]})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registered_models_answer_and_follow_their_alias() {
    let lab = Lab::start().await;
    let why = lab.ask("m").await.unwrap_err();
    assert!(matches!(&why, InferError::NotFound(text) if text.contains("has no version yet")), "{why}");
    lab.version("first", "2").await;
    lab.version("second", "3").await;
    assert_eq!(lab.answer("m").await, 30.0, "the newest where there is no champion");
    lab.champion("1").await;
    lab.becomes("m", 20.0).await;
    lab.champion("2").await;
    lab.becomes("m", 30.0).await;

    lab.upload("third/MLmodel", PYTHON).await;
    lab.upload("third/code/number.txt", "7").await;
    lab.register("third").await;
    lab.champion("3").await;
    lab.becomes("m", 70.0).await;
    let metadata = lab.gateway.metadata("m", None).await.unwrap();
    assert_eq!(
        (metadata.platform.as_str(), metadata.versions.as_slice()),
        ("python", &["1".into(), "2".into(), "3".into()][..])
    );

    let models = lab.server.get("/api/v1/serving/models").await.json();
    let loaded = models["data"].as_array().unwrap().iter().find(|one| one["version"] == "3").unwrap();
    assert_eq!(
        (&loaded["state"], &loaded["runtime"], &loaded["memory_bytes"]),
        (&json!("ready"), &json!("times"), &json!(1))
    );
    lab.server.get("/metrics").await.is(
        200,
        &[
            "tidemill_inference_requests_total{endpoint=\"m\",arm=\"\",model=\"m\",version=\"3\"}",
            "tidemill_model_memory_bytes{model=\"m\",version=\"3\"} 1",
        ],
    );
    assert!(matches!(lab.ask("none").await, Err(InferError::NotFound(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_was_changed_after_it_was_registered_is_refused() {
    let lab = Lab::start().await;
    lab.version("first", "2").await;
    lab.upload("first/model.onnx", "4").await;
    let why = lab.ask("m").await.unwrap_err().to_string();
    assert!(
        why.contains("model `m` version `1` cannot be loaded") && why.contains("changed or are damaged"),
        "{why}"
    );
    lab.put("e", one_arm("1"))
        .await
        .is(409, &["wrong_state", "changed or are damaged", "/api/v1/serving/models"]);
    lab.server.get("/api/v1/endpoints/e").await.is(404, &["there is no endpoint `e`"]);
    lab.server
        .get("/api/v1/serving/models")
        .await
        .is(200, &["\"state\":\"failed\"", "changed or are damaged"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_are_declared_changed_and_deleted() {
    let lab = Lab::start().await;
    lab.version("first", "2").await;
    lab.version("second", "3").await;
    for (body, status, texts) in [
        (json!({"arms": []}), 409, ["conflict", "an endpoint has 1 to 16 arms, not 0"]),
        (one_arm("9"), 409, ["wrong_state", "model `m` has no version `9`"]),
        (json!({"arms": [], "nonsense": 1}), 400, ["invalid_value", "unknown field `nonsense`"]),
    ] {
        lab.put("e", body).await.is(status, &texts);
    }
    lab.put("a%20b", one_arm("1")).await.is(400, &["not allowed in a name"]);
    let made = lab.put("e?revision=0", one_arm("1")).await;
    made.is(200, &["\"revision\":1"]);
    assert_eq!(lab.answer("e").await, 20.0);
    lab.put("e?revision=0", one_arm("2"))
        .await
        .is(409, &["conflict", "is at revision 1", "look at it again"]);
    let split = json!({"arms": [{"name": "a", "model": "m", "version": "1", "weight": 0},
                                {"name": "b", "model": "m", "version": "2", "weight": 100}]});
    lab.put("e?revision=1", split).await.is(200, &["\"revision\":2"]);
    assert_eq!(lab.answer("e").await, 30.0, "in effect when the answer is there");

    let found = lab.server.get("/api/v1/endpoints/e").await.json()["data"].clone();
    assert_eq!(
        (&found["revision"], &found["spec"]["allotment"]),
        (&json!(2), &json!([{"arm": "b", "slots": 10_000}]))
    );
    lab.server.get("/api/v1/endpoints").await.is(200, &["\"name\":\"e\""]);
    let history = lab.server.get("/api/v1/endpoints/e/history?limit=1").await.json();
    assert_eq!((&history["data"][0]["by"], &history["next"]), (&json!("user:ada"), &json!("2")));
    let event = lab.server.get("/api/v1/events?kind=endpoint.set&limit=1").await.json()["data"][0].clone();
    assert_eq!(event["subject"], "endpoint:e");
    assert_eq!(event["details"]["arms"], json!(["a: m@1, 0 %", "b: m@2, 100 %"]));

    lab.server.ask("DELETE", "/api/v1/endpoints/e", &[], "").await.is(204, &[]);
    lab.server.ask("DELETE", "/api/v1/endpoints/e", &[], "").await.is(404, &["there is no endpoint"]);
    assert!(matches!(lab.ask("e").await, Err(InferError::NotFound(_))));
    lab.server.get("/api/v1/endpoints/e").await.is(404, &[]);
    lab.server.get("/api/v1/endpoints/e/history").await.is(200, &["\"revision\":3"]);
    lab.server.get("/api/v1/endpoints/none/history").await.is(404, &[]);
    lab.put("e", one_arm("1")).await.is(200, &["\"revision\":4"]);
    assert_eq!(lab.answer("e").await, 20.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_by_another_server_is_followed() {
    let lab = Lab::start().await;
    lab.version("first", "2").await;
    lab.put("e", one_arm("1")).await.is(200, &[]);
    lab.version("second", "3").await;
    let stored = lab.server.db.endpoint("e").await.unwrap().unwrap();
    let spec = stored.spec.replace("\"version\":\"1\"", "\"version\":\"2\"");
    let actor = Actor::user("bo");
    let mut tx = lab.server.db.begin().await.unwrap();
    let revision = tx.put_endpoint("e", &spec, &actor, stored.updated_at).await.unwrap();
    let (spec, arms) = (Digest::of(spec.as_bytes()), Vec::new());
    let kind = EventKind::EndpointSet { endpoint: "e".to_owned(), revision, spec, arms, records: None };
    tx.commit(vec![NewEvent { at: stored.updated_at, actor, kind, cause: None }]).await.unwrap();
    lab.becomes("e", 30.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn protocols_are_behind_the_token_and_drain_with_the_server() {
    let lab = Lab::start_with(Some("s3cret")).await;
    lab.server.get("/v2/health/ready").await.is(401, &[]);
    let headers = [("authorization", "Bearer s3cret")];
    lab.server.ask("GET", "/v2/health/ready", &headers, "").await.is(200, &["true"]);
    lab.server.ask("PUT", "/api/v1/endpoints/e", &[], &one_arm("1").to_string()).await.is(401, &[]);
    assert!(lab.server.running.stop().await);
    assert!(!lab.gateway.is_ready());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inferences_go_past_the_routes_and_through_the_same_shell() {
    let lab = Lab::start_speaking(None).await;
    lab.version("first", "2").await;
    let body = r#"{"id":"r1","inputs":[{"name":"x","shape":[1],"datatype":"FP64","data":[10]}]}"#;
    let named = [("x-request-id", "mine"), ("origin", "http://localhost")];
    let direct = lab.server.ask("POST", "/v2/models/m/infer", &named, body).await;
    direct.is(200, &[r#""data":[20"#, r#""id":"r1""#]);
    let routed = lab.server.ask("POST", "/routed/v2/models/m/infer", &named, body).await;
    assert_eq!(direct.body, routed.body);
    let kept = |reply: &crate::client::Reply| {
        let kept = reply.headers.iter().filter(|(name, _)| name != "date").cloned();
        let mut kept: Vec<_> = kept.collect();
        kept.sort();
        kept
    };
    assert_eq!(kept(&direct), kept(&routed), "the same headers, the name of the request among them");
    lab.server.ask("POST", "/v2/models/m/versions/1/infer", &[], body).await.is(200, &[r#""data":[20"#]);
    for (path, status) in [("/v2/models/none/infer", 404), ("/v2/models/m/versions/9/infer", 404)] {
        lab.server.ask("POST", path, &[], body).await.is(status, &["error"]);
    }
    lab.server.ask("POST", "/v2/models/m/infer", &[], "{}").await.is(400, &["has no `inputs`"]);
    let foreign = [("host", "evil.example")];
    lab.server.ask("POST", "/v2/models/m/infer", &foreign, body).await.is(403, &["DNS rebinding"]);
    lab.server.get("/metrics").await.is(
        200,
        &[
            r#"tidemill_http_requests_total{method="POST",route="/v2/models/{name}/infer",status="200"} 1"#,
            r#"tidemill_http_requests_total{method="POST",route="/v2/models/{name}/infer",status="400"} 1"#,
            r#"tidemill_http_requests_total{method="POST",route="/v2/models/{name}/infer",status="403"} 1"#,
            r#"tidemill_http_requests_total{method="POST",route="/v2/models/{name}/infer",status="404"} 1"#,
            r#"route="/v2/models/{name}/versions/{version}/infer",status="200"} 1"#,
        ],
    );

    let locked = Lab::start_speaking(Some("s3cret")).await;
    for (given, status) in [(None, 401), (Some("Bearer other"), 401), (Some("Bearer s3cret"), 404)] {
        let headers: Vec<_> = given.map(|given| ("authorization", given)).into_iter().collect();
        let reply = locked.server.ask("POST", "/v2/models/m/infer", &headers, body).await;
        assert_eq!(reply.status, status, "{given:?}");
    }
}
