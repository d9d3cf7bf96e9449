//! The searches over experiments and runs.

use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use futures::stream;
use tidemill_db::search::DatasetSummary;
use tidemill_db::tracking::Run;
use tidemill_registry::{Question, Result, View};

use crate::App;
use crate::access::Seen;
use crate::mlflow::entity::{self, Object};
use crate::mlflow::failure::Failure;
use crate::mlflow::list;
use crate::mlflow::wire::{Answer, Call, Fields};

/// MLflow's default for runs.
const RUNS: i64 = 1_000;
/// The most runs of one page; more is refused as a value of the wrong kind.
const MOST_RUNS: i64 = 50_000;

/// Paths below `/api/2.0`.
pub(super) fn routes_2() -> Router<App> {
    Router::new()
        .route("/mlflow/experiments/search", get(experiments).post(experiments))
        .route("/mlflow/experiments/search-datasets", post(datasets))
        .route("/mlflow/runs/search", post(runs))
}

/// Paths below `/api/3.0`.
pub(super) fn routes_3() -> Router<App> {
    Router::new()
}

/// Paths of the root.
pub(super) fn routes_root() -> Router<App> {
    Router::new()
}

fn view(fields: &Fields, name: &str) -> Result<View> {
    Ok(match fields.opt_enum(name, &["ACTIVE_ONLY", "DELETED_ONLY", "ALL"])? {
        None | Some("ACTIVE_ONLY") => View::Active,
        Some("DELETED_ONLY") => View::Deleted,
        Some(_) => View::All,
    })
}

async fn experiments(
    State(app): State<App>,
    seen: Option<Extension<Seen>>,
    Call { fields, .. }: Call,
) -> Answer {
    let question = Question {
        experiments: Vec::new(),
        filter: fields.any_text("filter")?.to_owned(),
        order_by: fields.strings("order_by")?,
        view: view(&fields, "view_type")?,
        max_results: fields.opt_int("max_results")?.unwrap_or_default(),
        page_token: fields.any_text("page_token")?.to_owned(),
    };
    let seen = seen.map(|Extension(seen)| seen.experiments).unwrap_or_default();
    let found = app.registry().search_experiments_of(&question, &seen).await?;
    let answer = Object::default()
        .list("experiments", found.items.iter().map(entity::experiment))
        .opt("next_page_token", found.next_page_token);
    Ok(Json(answer.done()))
}

async fn runs(State(app): State<App>, Call { fields, .. }: Call) -> Result<Response, Failure> {
    let max_results = fields.opt_int("max_results")?.unwrap_or(RUNS);
    if max_results > MOST_RUNS
        && let Some(value) = fields.get("max_results")
    {
        return Err(fields.invalid("max_results", value).into());
    }
    let question = Question {
        experiments: fields.strings("experiment_ids")?,
        filter: fields.any_text("filter")?.to_owned(),
        order_by: fields.strings("order_by")?,
        view: view(&fields, "run_view_type")?,
        max_results,
        page_token: fields.any_text("page_token")?.to_owned(),
    };
    let (found, next) = app.registry().find_runs(&question).await?;
    let parts = stream::try_unfold(found, |mut found| async {
        let part = found.part().await?;
        Ok((!part.is_empty()).then_some((part, found)))
    });
    let write = |out: &mut Vec<u8>, mut run: Run| {
        // MLflow shows the logged models that a run read with the run alone.
        run.model_inputs.clear();
        entity::write_run(out, &run)
    };
    list::answer("runs", parts, write, next).await
}

async fn datasets(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    let found = app.registry().search_datasets(&fields.strings("experiment_ids")?).await?;
    let summary = |dataset: &DatasetSummary| {
        Object::default()
            .set("experiment_id", dataset.experiment.to_string())
            .set("name", dataset.name.as_str())
            .set("digest", dataset.digest.as_str())
            .opt("context", dataset.context.as_deref())
            .done()
    };
    Ok(Json(Object::default().list("dataset_summaries", found.iter().map(summary)).done()))
}
