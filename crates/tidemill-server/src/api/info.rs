//! What this server is.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Failures;
use super::envelope::{One, OneAnswer, Time, one};
use crate::App;
use crate::health::MLFLOW_VERSION;

/// What this server is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Info {
    /// The version of Tidemill.
    version: &'static str,
    /// The version of MLflow whose protocol it speaks.
    mlflow_version: &'static str,
    /// `sqlite` or `postgresql`.
    database: &'static str,
    /// The server's clock.
    time: Time,
    /// Whether requests need a token.
    token: bool,
}

/// What this server is
#[utoipa::path(get, path = "/api/v1/info", operation_id = "getInfo", tag = "server",
    responses((status = 200, description = "What this server is", body = One<Info>), Failures))]
pub(super) async fn get(State(app): State<App>) -> OneAnswer<Info> {
    one(Info {
        version: env!("CARGO_PKG_VERSION"),
        mlflow_version: MLFLOW_VERSION,
        database: app.registry().db().kind(),
        time: Time(app.registry().clock().now()),
        token: app.config().token.is_some(),
    })
}
