//! `/api/v1/endpoints/NAME/outcomes`: what became known of requests after they were answered, one by one or in bulk.
//!
//! Bodies are read as they arrive and stored in groups; what is acknowledged is on the disk and waits for its record. How
//! an outcome finds it is not here but in `tidemill_serve::record::outcome`.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{self, HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use http_body_util::BodyExt as _;
use serde::{Deserialize, Serialize};
use tidemill_core::{Actor, Clock};
use tidemill_db::Db;
use tidemill_db::outcomes::Outcome;
use tidemill_registry::{Code, Error};
use tidemill_serve::gateway::Gateway;
use tidemill_serve::gateway::source::SourceError;
use tidemill_serve::record::outcome::{BodyFormat, OutcomeReader, Rejected};
use tidemill_serve::record::{InferenceLog, Reader};
use tokio::sync::Notify;
use utoipa::{IntoParams, ToSchema};

use crate::api::{Failures, Position, Problem, Query};

/// What takes outcomes. Clones share everything.
#[derive(Clone)]
pub struct OutcomeApi {
    db: Db,
    clock: Arc<dyn Clock>,
    /// The log, whose rules say how entities are hidden.
    log: Option<InferenceLog>,
    /// Told when outcomes have come.
    arrived: Arc<Notify>,
    /// What knows which endpoints there are; any name is taken without it.
    known: Option<(Gateway, Reader)>,
    /// The largest body, in bytes.
    limit: u64,
}

/// Of an endpoint, or of a model that is asked by its own name.
const LONGEST_NAME: usize = 250;
/// Outcomes that are stored in one transaction.
const GROUP: usize = 5_000;
/// Rejected rows that an answer names.
const NAMED: usize = 20;
/// The largest body: 4 GiB.
const LIMIT: u64 = 4 << 30;

impl OutcomeApi {
    /// Over a database. `log` hides entities as its rules say.
    pub fn new(db: Db, clock: Arc<dyn Clock>, log: Option<InferenceLog>) -> Self {
        Self { db, clock, log, arrived: Arc::new(Notify::new()), known: None, limit: LIMIT }
    }

    /// Refuses outcomes of names that neither the gateway nor the log knows: nothing would ever join them.
    #[must_use]
    pub fn of_endpoints(self, gateway: Gateway, reader: Reader) -> Self {
        Self { known: Some((gateway, reader)), ..self }
    }

    /// Whether requests go, or went, by this name.
    async fn knows(&self, endpoint: &str) -> Result<bool, Problem> {
        let Some((gateway, reader)) = &self.known else { return Ok(true) };
        if gateway.endpoint(endpoint).is_some() || self.db.endpoint(endpoint).await?.is_some() {
            return Ok(true);
        }
        // A registered model that is asked by its own name.
        match gateway.models().source().versions(endpoint).await {
            Ok(_) => return Ok(true),
            Err(SourceError::NotFound(_)) => {}
            // Whether it is there cannot be told now, and an outcome that is refused may be lost.
            Err(_) => return Ok(true),
        }
        // One that is deleted has records, and what becomes known of them belongs to them.
        let recorded = reader.endpoints().await;
        Ok(recorded.map_or(true, |names| names.iter().any(|name| name == endpoint)))
    }

    /// With another limit of bodies, in bytes.
    #[must_use]
    pub fn with_limit(self, limit: u64) -> Self {
        Self { limit, ..self }
    }

    /// Told when outcomes have come, for whoever joins them.
    pub fn arrived(&self) -> Arc<Notify> {
        self.arrived.clone()
    }

    /// The routes.
    pub fn routes<S: Clone + Send + Sync + 'static>(self) -> Router<S> {
        Router::new().route("/api/v1/endpoints/{name}/outcomes", get(counts).post(take)).with_state(self)
    }

    /// Stores outcomes, and adds to `taken` what became of them.
    async fn store(
        &self,
        actor: &Actor,
        endpoint: &str,
        mut outcomes: Vec<Outcome>,
        once: bool,
        taken: &mut Taken,
    ) -> Result<(), Problem> {
        let rules = self.log.as_ref().map(InferenceLog::rules);
        if let Some(redactor) = rules.as_ref().and_then(|rules| rules.redactor(endpoint)) {
            for outcome in &mut outcomes {
                outcome.entity = outcome.entity.take().and_then(|entity| redactor.entity(&entity));
            }
        }
        for group in outcomes.chunks(GROUP) {
            let count = group.len() as u64;
            let stored = if once {
                self.db.add_outcomes_once(actor, group).await?
            } else {
                self.db.add_outcomes(actor, group).await?;
                count
            };
            taken.accepted += stored;
            taken.known += count.saturating_sub(stored);
        }
        Ok(())
    }

    /// As a request over HTTP would be answered, for rows that this process has itself: lines of JSON, of which each is stored that was not
    /// stored so before.
    pub async fn take_lines(&self, actor: Actor, endpoint: &str, lines: String) -> http::Response<Bytes> {
        let kind = HeaderValue::from_static("application/jsonl");
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, kind)]);
        let (name, manner) = (Path(endpoint.to_owned()), Query(Manner { once: Some(true) }));
        whole(
            take(State(self.clone()), Some(Extension(actor)), name, manner, headers, Body::from(lines)).await,
        )
        .await
    }

    /// In the same way, how outcomes stand that came after the one of this number; all where none is given.
    pub async fn standing(&self, endpoint: &str, after: Option<u64>) -> http::Response<Bytes> {
        let counted = Query(Counted { after: after.map(Position) });
        whole(counts(State(self.clone()), Path(endpoint.to_owned()), counted).await.into_response()).await
    }

    /// Whether records of the endpoint keep what requests are about.
    fn keeps_entities(&self, endpoint: &str) -> bool {
        let rules = self.log.as_ref().map(InferenceLog::rules);
        let redactor = rules.as_ref().and_then(|rules| rules.redactor(endpoint));
        redactor.is_none_or(|redactor| redactor.keeps_entities())
    }
}

/// What became of a body.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct Taken {
    /// Outcomes that are stored and will be joined.
    accepted: u64,
    /// Outcomes that were sent with `once` before, and are not stored again.
    #[serde(skip_serializing_if = "crate::serving::counts::is_none")]
    #[schema(required = false)]
    known: u64,
    /// Rows that hold no outcome.
    rejected: u64,
    /// The first of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<BadRow>,
}

/// How outcomes are taken.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Manner {
    /// Outcomes of which all is the same as of one that was sent with `once` before are counted as `known` and not stored again, so that a
    /// table can be sent again
    once: Option<bool>,
}

/// Which outcomes are counted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Counted {
    /// Only those that came after the one of this number, as `newest` of an earlier answer said
    #[param(value_type = Option<u64>, minimum = 0, maximum = 9_007_199_254_740_991_u64)]
    after: Option<Position>,
}

/// A row that holds no outcome.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BadRow {
    /// The row of the body, from 1.
    #[schema(minimum = 1)]
    row: u64,
    /// What is wrong with it.
    why: String,
}

/// How the outcomes of an endpoint stand.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Standing {
    /// Joined with a request.
    matched: u64,
    /// Of these, how many came later than the endpoint declares.
    late: u64,
    /// No record fits yet; tried again when records arrive.
    waiting: u64,
    /// Say what the request's outcome of the name says already.
    duplicate: u64,
    /// Stand no longer: another of the request, later by its time, says otherwise.
    corrected: u64,
    /// No record fitted within the declared time; kept, and not tried any more.
    unmatched: u64,
    /// The number of the newest outcome of all endpoints: `after` it come those that are sent from now on.
    newest: u64,
}

/// The envelope of every answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TakenAnswer {
    data: Taken,
}

/// The envelope of every answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StandingAnswer {
    data: Standing,
}

impl Taken {
    fn reject(&mut self, rejected: Vec<Rejected>) {
        self.rejected += rejected.len() as u64;
        let room = NAMED.saturating_sub(self.problems.len());
        self.problems
            .extend(rejected.into_iter().take(room).map(|Rejected { row, why }| BadRow { row, why }));
    }
}

/// Sends outcomes
#[utoipa::path(post, path = "/api/v1/endpoints/{name}/outcomes", operation_id = "sendOutcomes", tag = "serving",
    params(("name" = String, Path, description = "The endpoint", min_length = 1, max_length = 250), Manner),
    request_body(description = "Rows of `request_id` (and `row`) or `entity` (and `time`), and values: `value` with its \
        `name`, or a field for each. As JSON (an object or a list), JSON lines, CSV with a header, or Parquet",
        content((Object = "application/json"), (String = "application/jsonl"), (String = "text/csv"),
            (Vec<u8> = "application/vnd.apache.parquet"))),
    responses(
        (status = 200, description = "What was stored; rows that hold no outcome are named", body = TakenAnswer),
        Failures,
        (status = 413, description = "The body is too large; groups before its end are stored"),
        (status = 415, description = "The content type is none of these"),
    ))]
pub(crate) async fn take(
    State(api): State<OutcomeApi>,
    sender: Option<Extension<Actor>>,
    Path(endpoint): Path<String>,
    Query(Manner { once }): Query<Manner>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let actor = sender.map_or_else(|| Actor::system("server"), |Extension(actor)| actor);
    match take_body(&api, &actor, &endpoint, once.unwrap_or_default(), &headers, body).await {
        Ok(taken) => {
            api.arrived.notify_one();
            // A part of a table may hold nothing, and the rest of it much.
            let is_useless = taken.accepted == 0 && taken.rejected > 0 && once != Some(true);
            if is_useless {
                let first = taken.problems.first().map(|bad| format!("row {}: {}", bad.row, bad.why));
                return refuse(format!("no row holds an outcome; {}", first.unwrap_or_default()))
                    .into_response();
            }
            Json(TakenAnswer { data: taken }).into_response()
        }
        Err(Refused::Problem(problem)) => problem.into_response(),
        Err(Refused::Status(status, why)) => (status, why).into_response(),
    }
}

enum Refused {
    Problem(Problem),
    Status(StatusCode, String),
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

async fn take_body(
    api: &OutcomeApi,
    actor: &Actor,
    endpoint: &str,
    once: bool,
    headers: &HeaderMap,
    mut body: Body,
) -> Result<Taken, Refused> {
    if !api.knows(endpoint).await? {
        let why = format!(
            "there is no endpoint or model `{endpoint}`, and no record of one; `tidemill endpoint list` shows those that there are"
        );
        return Err(Refused::Problem(Problem::from(Error::missing(why))));
    }
    let kind =
        headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("application/json");
    let format = BodyFormat::of_content_type(kind).ok_or_else(|| {
        let why = format!(
            "`{kind}` is no type for outcomes; send application/json, application/jsonl, text/csv or \
             application/vnd.apache.parquet"
        );
        Refused::Status(StatusCode::UNSUPPORTED_MEDIA_TYPE, why)
    })?;
    let unusable = |error: tidemill_serve::record::LogError| Refused::Problem(refuse(error.to_string()));
    let mut reader = OutcomeReader::new(endpoint, format, api.clock.now()).map_err(unusable)?;
    if !api.keeps_entities(endpoint) {
        reader = reader.without_entities();
    }
    let (mut taken, mut bytes) = (Taken::default(), 0_u64);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| refuse(format!("the body ended early: {error}")))?;
        let Some(data) = frame.data_ref() else { continue };
        bytes += data.len() as u64;
        if bytes > api.limit {
            let why = format!("a body has at most {} bytes; send the rest in another", api.limit);
            return Err(Refused::Status(StatusCode::PAYLOAD_TOO_LARGE, why));
        }
        reader.push(data).map_err(unusable)?;
        if reader.waiting() >= GROUP {
            let (outcomes, rejected) = reader.take();
            api.store(actor, endpoint, outcomes, once, &mut taken).await?;
            taken.reject(rejected);
        }
    }
    // The rest of Parquet is decoded on a thread that may block, a group at a time.
    let (sender, mut groups) = tokio::sync::mpsc::channel(1);
    let rest = tokio::task::spawn_blocking(move || {
        reader.finish(GROUP, &mut |outcomes, rejected| {
            // Nobody listens any more when storing has failed.
            sender.blocking_send((outcomes, rejected)).map_err(|_| tidemill_serve::record::LogError::Closed)
        })
    });
    while let Some((outcomes, rejected)) = groups.recv().await {
        api.store(actor, endpoint, outcomes, once, &mut taken).await?;
        taken.reject(rejected);
    }
    rest.await.map_err(|error| refuse(format!("the body cannot be read: {error}")))?.map_err(unusable)?;
    Ok(taken)
}

/// How outcomes stand
#[utoipa::path(get, path = "/api/v1/endpoints/{name}/outcomes", operation_id = "countOutcomes", tag = "serving",
    params(("name" = String, Path, description = "The endpoint", min_length = 1, max_length = 250), Counted),
    responses((status = 200, description = "Counts", body = StandingAnswer), Failures))]
pub(crate) async fn counts(
    State(api): State<OutcomeApi>,
    Path(endpoint): Path<String>,
    Query(Counted { after }): Query<Counted>,
) -> Result<Json<StandingAnswer>, Problem> {
    if !(1..=LONGEST_NAME).contains(&endpoint.chars().count()) {
        return Err(refuse(format!("the name of an endpoint has 1 to {LONGEST_NAME} characters")));
    }
    let newest = api.db.newest_outcome().await?;
    let counts = match after {
        Some(after) => {
            let after = i64::try_from(after.0).unwrap_or(i64::MAX);
            api.db.outcome_counts_after(&endpoint, after).await?
        }
        None => api.db.outcome_counts(&endpoint).await?,
    };
    let data = Standing {
        matched: counts.matched,
        late: counts.late,
        waiting: counts.waiting,
        duplicate: counts.duplicate,
        corrected: counts.corrected,
        unmatched: counts.unmatched,
        newest: u64::try_from(newest).unwrap_or_default(),
    };
    Ok(Json(StandingAnswer { data }))
}

/// An answer with its body.
async fn whole(answer: Response) -> http::Response<Bytes> {
    let (parts, body) = answer.into_parts();
    // It is in memory already, so nothing can fail.
    let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    http::Response::from_parts(parts, bytes)
}

fn refuse(why: String) -> Problem {
    Problem::from(Error::new(Code::InvalidParameterValue, why))
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use tidemill_core::{FixedClock, Timestamp};
    use tower::ServiceExt as _;

    use super::*;

    async fn api(dir: &std::path::Path) -> (OutcomeApi, Db) {
        let clock = Arc::new(FixedClock::new(Timestamp::from_millis(1_000)));
        let db = Db::open(dir.join("t.db").to_str().unwrap(), clock.clone()).await.unwrap();
        (OutcomeApi::new(db.clone(), clock, None), db)
    }

    async fn send(api: &OutcomeApi, kind: &str, body: impl Into<Body>) -> (u16, String) {
        send_as(api, "", kind, body).await
    }

    async fn send_as(api: &OutcomeApi, query: &str, kind: &str, body: impl Into<Body>) -> (u16, String) {
        let request = Request::post(format!("/api/v1/endpoints/loans%2F1/outcomes{query}"))
            .header("content-type", kind)
            .body(body.into())
            .unwrap();
        let response = api.clone().routes::<()>().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn outcomes_are_stored_and_counted() {
        let dir = tempfile::tempdir().unwrap();
        let (api, db) = api(dir.path()).await;
        let (status, body) = send(&api, "application/json", r#"{"request_id":"a","label":1}"#).await;
        assert_eq!((status, body.as_str()), (200, r#"{"data":{"accepted":1,"rejected":0}}"#));
        let lines: String =
            (0..12_000).map(|i| format!("{{\"request_id\":\"r{i}\",\"label\":{i}}}\n")).collect();
        let (status, body) = send(&api, "application/jsonl; charset=utf-8", lines + "nonsense").await;
        assert_eq!(status, 200);
        assert!(body.contains(r#""accepted":12000,"rejected":1,"problems":[{"row":12001,"why":"#), "{body}");
        let (status, _) = send(&api, "text/csv", "entity,time,label\nana,2026-01-01,1\n").await;
        assert_eq!(status, 200);
        assert_eq!(db.outcome_counts("loans/1").await.unwrap().waiting, 12_002);
        let request = Request::get("/api/v1/endpoints/loans%2F1/outcomes").body(Body::empty()).unwrap();
        let response = api.clone().routes::<()>().oneshot(request).await.unwrap();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let expected = r#"{"data":{"matched":0,"late":0,"waiting":12002,"duplicate":0,"corrected":0,"unmatched":0,"newest":12002}}"#;
        assert_eq!(bytes, expected);
    }

    #[tokio::test]
    async fn what_is_sent_again_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let (api, db) = api(dir.path()).await;
        let lines = "{\"entity\":\"ana\",\"label\":1}\n{\"entity\":\"bob\",\"label\":0}\n";
        let once = async |lines: String| send_as(&api, "?once=true", "application/jsonl", lines).await;
        let (status, body) = once(lines.to_owned()).await;
        assert_eq!((status, body.as_str()), (200, r#"{"data":{"accepted":2,"rejected":0}}"#));
        let (status, body) = once(format!("{lines}{{\"entity\":\"eve\",\"label\":0}}\n{{\"x\":1}}")).await;
        assert!(status == 200 && body.contains(r#""accepted":1,"known":2,"rejected":1"#), "{status} {body}");
        // A part of a table without any outcome is no mistake of the whole.
        let (status, body) = once("{\"x\":1}".to_owned()).await;
        assert!(status == 200 && body.contains(r#""accepted":0,"rejected":1"#), "{status} {body}");
        assert_eq!(db.outcome_counts("loans/1").await.unwrap().waiting, 3);
        let (status, _) = send_as(&api, "?twice=true", "application/jsonl", lines).await;
        assert_eq!(status, 400);
    }

    #[tokio::test]
    async fn what_holds_nothing_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (api, db) = api(dir.path()).await;
        let (status, body) = send(&api, "application/json", "[{\"label\":1}]").await;
        assert!(status == 400 && body.contains("row 1: it has neither"), "{status} {body}");
        let (status, body) = send(&api, "application/vnd.apache.parquet", "PAR1 or not").await;
        assert!(status == 400 && body.contains("no readable Parquet"), "{status} {body}");
        let (status, _) = send(&api, "image/png", "x").await;
        assert_eq!(status, 415);
        let (status, _) = send(&api.with_limit(10), "text/csv", "entity,label\na,1\n").await;
        assert_eq!(status, 413);
        assert_eq!(db.outcome_counts("loans/1").await.unwrap().waiting, 0);
    }
}
