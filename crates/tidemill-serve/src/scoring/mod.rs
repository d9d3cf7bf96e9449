//! MLflow's scoring protocol: `/invocations` and what stands beside it, so that a caller of `mlflow models serve`
//! changes nothing but the address.
//!
//! MLflow's documentation describes it ("Deploy MLflow Model as a Local Inference Server"); what that leaves open was
//! looked up by asking the real server, and the tests ask it again. Values are converted only where nothing is lost:
//! where MLflow cuts `1.5` to `1` for an integer column, this refuses.

mod cell;
mod csv;
mod encode;
mod failure;
mod payload;
mod table;
mod target;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{RawPathParams, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};

use self::failure::Failure;
use crate::Inference;
use crate::oip::{answer, at_latest, deadline, receive, run, selected};

/// The property of a model's metadata that names the columns of its one matrix, in order: a JSON array of strings.
pub const COLUMNS_PROPERTY: &str = "columns";
/// The property of a model's metadata that names the output which is the prediction; all outputs where absent.
pub const PREDICTION_PROPERTY: &str = "prediction";
/// The property of a model's metadata that says how predictions look: `records` (one object a row, as MLflow gives for
/// a model that returns a data frame) or `values` (one value or list a row, as for an array). Where absent, several
/// outputs are records and one is values.
pub const LAYOUT_PROPERTY: &str = "predictions";

/// From this many bytes on a body is read on a thread where it holds no other connection up.
const HEAVY: usize = 1 << 20;

/// What the routes need to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScoringConfig {
    /// The endpoint or model that `/invocations` asks; where absent only `/endpoints/{name}/invocations` answers.
    pub model: Option<String>,
    /// The version of MLflow that `/version` gives.
    pub version: String,
    /// The largest body of a request in bytes, after it was unpacked; 413 beyond.
    pub body: usize,
    /// The longest that a request may take.
    pub longest: Duration,
}

impl Default for ScoringConfig {
    fn default() -> Self {
        // As long as an endpoint may declare; what it declares is up to the gateway.
        let longest = Duration::from_secs(3_600);
        Self { model: None, version: "3.17.2".to_owned(), body: 64 << 20, longest }
    }
}

#[derive(Clone)]
struct Shared {
    inference: Arc<dyn Inference>,
    config: Arc<ScoringConfig>,
}

/// `/invocations`, `/ping`, `/health`, `/version`, and `/endpoints/{name}/invocations`: a server of its own.
pub fn router(inference: Arc<dyn Inference>, config: ScoringConfig) -> Router {
    let own = Router::new().route("/health", get(ping)).route("/version", get(version));
    paths().merge(own).with_state(Shared { inference, config: Arc::new(config) })
}

/// `/invocations`, `/ping` and `/endpoints/{name}/invocations`: beside routes of a server that tells its own health
/// and version.
pub fn routes(inference: Arc<dyn Inference>, config: ScoringConfig) -> Router {
    paths().with_state(Shared { inference, config: Arc::new(config) })
}

fn paths() -> Router<Shared> {
    Router::new()
        .route("/invocations", post(invocations))
        .route("/endpoints/{name}/invocations", post(invocations))
        .route("/ping", get(ping))
        .layer(axum::extract::DefaultBodyLimit::disable())
}

fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.into()).into_response()
}

/// MLflow answers a line feed.
async fn ping(State(shared): State<Shared>) -> Response {
    let ready = shared.inference.is_ready();
    json(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, "\n")
}

async fn version(State(shared): State<Shared>) -> Response {
    json(StatusCode::OK, shared.config.version.clone())
}

async fn invocations(State(shared): State<Shared>, path: RawPathParams, request: Request) -> Response {
    let begin = Instant::now();
    let named = path.iter().find(|(field, _)| *field == "name").map(|(_, name)| name.to_owned());
    let Some(model) = named.or_else(|| shared.config.model.clone()) else {
        let message = "no model is behind `/invocations`; ask `/endpoints/NAME/invocations`";
        return Failure::missing(message).response();
    };
    let (parts, body) = request.into_parts();
    match answered(&shared, model, &parts.headers, body, begin).await {
        Ok(response) => response,
        Err(failure) => failure.response(),
    }
}

async fn answered(
    shared: &Shared,
    model: String,
    headers: &HeaderMap,
    body: Body,
    begin: Instant,
) -> Result<Response, Failure> {
    let kind = Kind::of(headers)?;
    let body = receive(headers, body, shared.config.body).await.map_err(Failure::of_body)?;
    let metadata = shared.inference.metadata(&model, None).await?;
    let described = Arc::clone(&metadata);
    let read = run(body.len() >= HEAVY, move || match kind {
        Kind::Json => payload::decode(&body, &described),
        Kind::Csv => csv::decode(&body, &described).map(|inputs| (inputs, None)),
    });
    let longest = shared.config.longest;
    let latest = at_latest(deadline(headers, None, begin, longest), begin, longest);
    let (inputs, params) = read.await??;
    let request = crate::Request {
        model,
        inputs,
        params,
        headers: selected(headers),
        deadline: latest,
        outputs: metadata.properties.get(PREDICTION_PROPERTY).cloned().into_iter().collect(),
        ..crate::Request::default()
    };
    let answer = answer(&*shared.inference, request).await?;
    let names = [("x-request-id", answer.id.clone()), ("x-model-version", answer.version.clone())];
    let values: usize = answer.outputs.iter().map(|output| output.tensor.values().len()).sum();
    let body = run(values * 8 >= HEAVY, move || encode::encode(&answer, &metadata)).await??;
    let mut response = json(StatusCode::OK, body);
    for (name, value) in names {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Json,
    Csv,
}

impl Kind {
    fn of(headers: &HeaderMap) -> Result<Self, Failure> {
        let text =
            headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut parts = text.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            if name != "charset" {
                return Err(Failure::media(format!("the content type has an unknown parameter `{name}`")));
            }
            if !value.eq_ignore_ascii_case("utf-8") {
                return Err(Failure::media("requests must be in UTF-8".to_owned()));
            }
        }
        match kind {
            "application/json" => Ok(Self::Json),
            "text/csv" => Ok(Self::Csv),
            _ => Err(Failure::media(format!(
                "requests are `application/json` or `text/csv`, and this one is `{kind}`"
            ))),
        }
    }
}

/// Reads any bytes as a request, for fuzzing: of a model with columns of every type, of one with a matrix, and of one
/// with tensors.
pub fn fuzz_entry(data: &[u8]) {
    for metadata in target::examples() {
        let json = payload::decode(data, &metadata).map(|(inputs, _)| inputs);
        for inputs in [json, csv::decode(data, &metadata)].into_iter().flatten() {
            let rows: Vec<usize> = inputs.iter().map(|input| input.tensor.rows()).collect();
            let of_one_length = rows.windows(2).all(|pair| pair.first() == pair.last());
            assert!(of_one_length || !metadata.is_tabular, "columns of several lengths: {rows:?}");
        }
    }
}
