//! The four GraphQL operations of MLflow's web pages.
//!
//! They ask for what the REST routes answer anyway, in other spelling, so the resolver sends itself such a request and
//! shows the fields that were asked for. Whatever is checked there is checked once.

mod parse;
mod schema;
mod select;

use std::sync::{Arc, OnceLock};

use axum::body::Body;
use axum::extract::State;
use axum::http::{Method, Request, StatusCode, header};
use axum::routing::post;
use axum::{Extension, Json, Router};
use http_body_util::BodyExt as _;
use serde_json::{Map, Value, json};
use tidemill_core::Actor;
use tower::ServiceExt as _;

use crate::App;
use crate::access::{self, Caller};
use crate::mlflow::wire::{Answer, Call};
use parse::{Document, Operation};
use select::Asked;

/// Paths below `/api/2.0`.
pub(super) fn routes_2() -> Router<App> {
    Router::new()
}

/// Paths below `/api/3.0`.
pub(super) fn routes_3() -> Router<App> {
    Router::new()
}

/// Paths of the root.
pub(super) fn routes_root() -> Router<App> {
    let routes = Arc::new(OnceLock::new());
    let handler = move |State(app): State<App>, caller: Option<Extension<Caller>>, call: Call| {
        answer(app, caller.map(|Extension(caller)| caller), call, Arc::clone(&routes))
    };
    Router::new().route("/graphql", post(handler))
}

async fn answer(app: App, caller: Option<Caller>, call: Call, routes: Arc<OnceLock<Router>>) -> Answer {
    let routes = routes.get_or_init(|| inner_routes(&app)).clone();
    let inside = Inside { routes, actor: call.actor.clone(), caller };
    // Errors are part of a good answer; the pages read nothing else.
    Ok(Json(match run(&inside, &call).await {
        Ok(data) => json!({"data": data, "errors": null}),
        Err(error) => json!({"data": null, "errors": [error]}),
    }))
}

/// Each request to a route of ours passes the gate on its own.
fn inner_routes(app: &App) -> Router {
    access::around(app, super::routes_2()).with_state(app.clone())
}

async fn run(inside: &Inside, call: &Call) -> Result<Value, String> {
    let text = |name| match call.fields.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(format!("`{name}` must be text")),
    };
    let document = parse::parse(text("query")?.ok_or("Must provide query string.")?)?;
    let operation = operation(&document, text("operation_name")?)?;
    let variables = variables(operation, call.fields.get("variables"))?;
    let asked = select::collect(&document, operation, &schema::QUERY, &variables)?;
    let mut data = Map::new();
    for field in &asked {
        let found = inside.resolve(field).await?;
        data.insert(field.key.clone(), found);
    }
    Ok(Value::Object(data))
}

fn operation<'a>(document: &'a Document, name: Option<&str>) -> Result<&'a Operation, String> {
    let mut operations = document.operations.iter();
    let found = match name {
        Some(name) => operations
            .find(|operation| operation.name.as_deref() == Some(name))
            .ok_or_else(|| format!("Unknown operation named '{name}'."))?,
        None => match document.operations.as_slice() {
            [only] => only,
            _ => {
                return Err("Must provide operation name if query contains multiple operations.".to_owned());
            }
        },
    };
    if found.kind == "query" { Ok(found) } else { Err(format!("There is no {} here.", found.kind)) }
}

fn variables(operation: &Operation, given: Option<&Value>) -> Result<Map<String, Value>, String> {
    let mut variables = match given {
        None => Map::new(),
        Some(Value::Object(given)) => given.clone(),
        Some(_) => return Err("Variables must be an object.".to_owned()),
    };
    for (name, default) in &operation.variables {
        if let Some(default) = default {
            variables.entry(name.clone()).or_insert_with(|| default.resolve(&Map::new()));
        }
    }
    Ok(variables)
}

/// The way to our own REST routes.
struct Inside {
    routes: Router,
    actor: Actor,
    caller: Option<Caller>,
}

/// What a route answered: its JSON, or the error of its envelope.
type Rest = Result<Value, Value>;

impl Inside {
    /// One operation.
    async fn resolve(&self, field: &Asked) -> Result<Value, String> {
        if field.name == "__typename" {
            return Ok(json!(schema::QUERY.name));
        }
        let Some(Value::Object(input)) = field.arguments.get("input") else {
            return Err(format!("Field '{}' needs an argument 'input'.", field.name));
        };
        let found = match field.name.as_str() {
            "mlflowGetExperiment" => self.get("/mlflow/experiments/get", input).await?,
            "mlflowGetRun" => match self.get("/mlflow/runs/get", input).await? {
                Ok(mut body) => {
                    if let (Some(run), Some(asked)) = (body.get_mut("run"), field.asks("run")) {
                        self.extend(run, asked).await?;
                    }
                    Ok(body)
                }
                refused => refused,
            },
            "mlflowSearchRuns" => match self.post("/mlflow/runs/search", input).await? {
                Ok(mut body) => {
                    let runs = body.get_mut("runs").and_then(Value::as_array_mut);
                    if let (Some(runs), Some(asked)) = (runs, field.asks("runs")) {
                        for run in runs {
                            self.extend(run, asked).await?;
                        }
                    }
                    Ok(body)
                }
                refused => refused,
            },
            _ => self.get("/mlflow/metrics/get-history-bulk-interval", input).await?,
        };
        let data = found.unwrap_or_else(|error| {
            json!({"api_error": {
                "code": error.get("error_code"), "message": error.get("message"), "help_url": null,
            }})
        });
        Ok(select::select(&field.inner, &data))
    }

    /// What GraphQL hangs on a run and REST does not.
    async fn extend(&self, run: &mut Value, asked: &Asked) -> Result<(), String> {
        let id =
            |name: &str| run.pointer(&format!("/info/{name}")).and_then(Value::as_str).map(str::to_owned);
        let (experiment, run_id) = (id("experiment_id"), id("run_id"));
        let Some(run) = run.as_object_mut() else { return Ok(()) };
        if let (Some(experiment), true) = (experiment, asked.asks("experiment").is_some()) {
            let query = Map::from_iter([("experiment_id".to_owned(), Value::String(experiment))]);
            if let Ok(mut body) = self.get("/mlflow/experiments/get", &query).await? {
                run.insert("experiment".to_owned(), body["experiment"].take());
            }
        }
        if let (Some(run_id), true) = (run_id, asked.asks("modelVersions").is_some()) {
            let filter = format!("run_id='{run_id}'");
            let query = Map::from_iter([("filter".to_owned(), Value::String(filter))]);
            if let Ok(mut body) = self.get("/mlflow/model-versions/search", &query).await? {
                run.insert("model_versions".to_owned(), body["model_versions"].take());
            }
        }
        Ok(())
    }

    async fn get(&self, path: &str, input: &Map<String, Value>) -> Result<Rest, String> {
        let request = Request::builder().uri(format!("{path}?{}", query(input)));
        self.ask(request.body(Body::empty())).await
    }

    async fn post(&self, path: &str, input: &Map<String, Value>) -> Result<Rest, String> {
        let body = Value::Object(input.clone()).to_string();
        let request = Request::builder().method(Method::POST).uri(path);
        self.ask(request.header(header::CONTENT_TYPE, "application/json").body(body.into())).await
    }

    async fn ask(&self, request: Result<Request<Body>, axum::http::Error>) -> Result<Rest, String> {
        let mut request = request.map_err(|error| error.to_string())?;
        request.extensions_mut().insert(self.actor.clone());
        if let Some(caller) = &self.caller {
            request.extensions_mut().insert(caller.clone());
        }
        let response = match self.routes.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        if response.status() == StatusCode::FORBIDDEN {
            return Ok(Err(json!({"error_code": "PERMISSION_DENIED", "message": "Permission denied"})));
        }
        let good = response.status().is_success();
        let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
        let body: Value = serde_json::from_slice(&body)
            .map_err(|_| "the server's own route did not answer with JSON".to_owned())?;
        Ok(if good { Ok(body) } else { Err(body) })
    }
}

/// The arguments as a query string; a list repeats its key.
fn query(input: &Map<String, Value>) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in input {
        let items =
            if let Value::Array(items) = value { items.as_slice() } else { std::slice::from_ref(value) };
        for item in items {
            match item {
                Value::Null => {}
                Value::String(text) => drop(query.append_pair(name, text)),
                other => drop(query.append_pair(name, &other.to_string())),
            }
        }
    }
    query.finish()
}
