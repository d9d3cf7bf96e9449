//! What steps of the pipeline printed.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, header};

use super::envelope::Path;
use super::pipeline::find;
use super::{Failures, Problem};
use crate::{App, step_log};

/// What a step printed
///
/// The whole log as the step wrote it, from the store; of a step that is at work what it has printed so far, where the
/// server is on the same machine.
#[utoipa::path(get, path = "/api/v1/pipeline-runs/{id}/steps/{step}/log", operation_id = "getStepLog", tag = "pipeline",
    params(("id" = String, Path, description = "The run, or the beginning of its identifier", min_length = 1),
        ("step" = String, Path, description = "The step", min_length = 1)),
    responses((status = 200, description = "The log", body = String, content_type = "text/plain"), Failures))]
pub(super) async fn get(
    State(app): State<App>,
    Path((id, step)): Path<(String, String)>,
) -> Result<([(HeaderName, HeaderValue); 1], Body), Problem> {
    let run = find(&app, &id).await?;
    let steps = app.registry().db().step_runs(run.id).await?;
    let done = steps.iter().rev().find(|known| known.step == step);
    let log = done.and_then(|done| done.log);
    let body = match step_log::whole(&app, run.id, &step, log).await? {
        Some(body) => body,
        None if done.is_some() && log.is_none() => Body::empty(),
        None => {
            let why = format!("nothing is known that step `{step}` of run {} printed", run.id.short());
            let hint = "`/api/v1/pipeline-runs/{id}` lists the steps that ended; one that was up to date printed nothing";
            return Err(Problem::missing(why).hint(hint));
        }
    };
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"))], body))
}
