//! Histories of metrics. A history without a limit may be long, so it is sent while it is read.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::{StreamExt as _, stream};
use serde::{Serialize, Serializer};
use tidemill_core::RunId;
use tidemill_db::tracking::{HistoryPoint, WholeHistory};
use tidemill_registry::{Error, Registry};

use crate::App;
use crate::mlflow::failure::Failure;
use crate::mlflow::wire::Call;

/// Points for which there is room in a part of a whole history.
const PART: usize = 10_000;

/// Paths below `/api/2.0`.
pub(super) fn routes_2() -> Router<App> {
    Router::new()
        .route("/mlflow/metrics/get-history", get(history))
        .route("/mlflow/metrics/get-history-bulk", get(bulk))
        .route("/mlflow/metrics/get-history-bulk-interval", get(interval))
}

/// Paths below `/api/3.0`.
pub(super) fn routes_3() -> Router<App> {
    Router::new()
}

/// Paths of the root.
pub(super) fn routes_root() -> Router<App> {
    Router::new()
}

/// A point as MLflow's JSON has it; with its run where several runs are in one answer.
#[derive(Serialize)]
struct Point<'a> {
    key: &'a str,
    value: Number,
    timestamp: i64,
    step: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<&'a str>,
}

/// As [`crate::mlflow::wire::float_value`], without a value in between.
pub(super) struct Number(pub(super) f64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_nan() {
            serializer.serialize_str("NaN")
        } else {
            serializer.serialize_f64(self.0.clamp(f64::MIN, f64::MAX))
        }
    }
}

/// Adds points to a list whose beginning is in `out`.
fn write_points(
    out: &mut Vec<u8>,
    key: &str,
    run: Option<&str>,
    points: &[HistoryPoint],
) -> Result<(), Failure> {
    for HistoryPoint { step, at, value } in points {
        if !out.ends_with(b"[") && !out.ends_with(b",") {
            out.push(b',');
        }
        let point = Point { key, value: Number(*value), timestamp: at.millis(), step: *step, run_id: run };
        serde_json::to_writer(&mut *out, &point).map_err(|error| {
            Error::new(tidemill_registry::Code::InternalError, format!("cannot write an answer: {error}"))
        })?;
    }
    Ok(())
}

fn answer(body: impl Into<Body>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body.into()).into_response()
}

async fn history(State(app): State<App>, Call { fields, .. }: Call) -> Result<Response, Failure> {
    let (run, key) = (fields.run_id()?.to_owned(), fields.text("metric_key")?.to_owned());
    let token = fields.opt_str("page_token")?;
    let Some(most) = fields.opt_int("max_results")? else {
        return whole(app.registry(), &run, key, token).await;
    };
    let page = app.registry().metric_page(&run, &key, most, token).await?;
    if page.points.is_empty() {
        return Ok(answer("{}"));
    }
    let mut out = b"{\"metrics\":[".to_vec();
    write_points(&mut out, &key, None, &page.points)?;
    out.push(b']');
    if let Some(next) = page.next {
        // Base64 needs no escapes.
        out.extend(format!(",\"next_page_token\":\"{next}\"").bytes());
    }
    out.push(b'}');
    Ok(answer(out))
}

/// A history without a limit. The first points are read before the answer begins, so that a failure has its status.
async fn whole(
    registry: &Registry,
    run: &str,
    key: String,
    token: Option<&str>,
) -> Result<Response, Failure> {
    let after = Registry::metric_mark(token)?;
    let Some(history) = registry.whole_history(run, &key, after).await? else { return Ok(answer("{}")) };
    let mut parts = Parts { history, key };
    let mut begin = b"{\"metrics\":[".to_vec();
    let empty = begin.len();
    let more = parts.read(&mut begin).await?;
    if begin.len() == empty {
        return Ok(answer("{}"));
    }
    if !more {
        begin.extend(b"]}");
        return Ok(answer(begin));
    }
    let rest = stream::unfold(Some(parts), |parts| async { Some(parts?.next().await) });
    let begin = stream::iter([Ok(Bytes::from(begin))]);
    Ok(answer(Body::from_stream(begin.chain(rest))))
}

/// The rest of a history.
struct Parts {
    history: WholeHistory,
    key: String,
}

impl Parts {
    /// The next part of the answer, and what is left to be read after it.
    async fn next(mut self) -> (Result<Bytes, Error>, Option<Self>) {
        let mut out = Vec::with_capacity(self.key.len() * PART + 80 * PART);
        // There were points before these.
        out.push(b',');
        match self.read(&mut out).await {
            Ok(more) => {
                if out.len() == 1 {
                    out.clear();
                }
                if !more {
                    out.extend(b"]}");
                }
                (Ok(out.into()), more.then_some(self))
            }
            Err(Failure(error)) => (Err(error), None),
        }
    }

    /// Adds points to a list, and says whether there are more. Each is written while the next ones are read.
    async fn read(&mut self, out: &mut Vec<u8>) -> Result<bool, Failure> {
        let Self { history, key } = self;
        let mut written = Ok(());
        let more = history
            .next(|point| {
                if written.is_ok() {
                    written = write_points(out, key, None, &[point]);
                }
            })
            .await?;
        written.map(|()| more)
    }
}

fn runs_of(found: Vec<(RunId, Vec<HistoryPoint>)>, key: &str) -> Result<Vec<u8>, Failure> {
    let mut out = b"{\"metrics\":[".to_vec();
    for (run, points) in found {
        write_points(&mut out, key, Some(&run.to_string()), &points)?;
    }
    out.extend(b"]}");
    Ok(out)
}

/// For older pages; in an answer without points the list is there.
async fn bulk(State(app): State<App>, Call { fields, .. }: Call) -> Result<Response, Failure> {
    let runs = fields.strings("run_id")?;
    let Some(key) = fields.opt_str("metric_key")? else {
        return Err(Error::invalid("GetMetricHistoryBulk request must specify a metric_key.").into());
    };
    let found = app.registry().metric_bulk(&runs, key, fields.opt_int("max_results")?).await?;
    Ok(answer(runs_of(found, key)?))
}

/// For charts.
async fn interval(State(app): State<App>, Call { fields, .. }: Call) -> Result<Response, Failure> {
    let runs = fields.strings("run_ids")?;
    if runs.is_empty() {
        return Err(fields.missing("run_ids").into());
    }
    let key = fields.text("metric_key")?;
    let steps = (fields.opt_int("start_step")?, fields.opt_int("end_step")?);
    let found = app.registry().metric_samples(&runs, key, steps, fields.opt_int("max_results")?).await?;
    Ok(answer(if found.is_empty() { b"{}".to_vec() } else { runs_of(found, key)? }))
}
