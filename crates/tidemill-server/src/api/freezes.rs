//! Times in which no release gets more requests.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use tidemill_core::Actor;
use tidemill_registry::Code;
use utoipa::ToSchema;

use super::envelope::{One, OneAnswer, Path, Time, malformed, one};
use super::{Failures, Problem};
use crate::App;
use crate::delivery::{NewFreeze, freeze, lift_freeze};

/// A time in which no release gets more requests.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Freeze {
    /// Its number.
    freeze: u64,
    /// The endpoint; all where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
    /// Why.
    reason: String,
    /// Who set it.
    owner: String,
    /// From when.
    from: Time,
    /// Until when; until it is lifted where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Time>,
}

/// A freeze that somebody sets.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedFreeze {
    /// The endpoint; all where not given.
    #[schema(min_length = 1)]
    endpoint: Option<String>,
    /// Why; stands in the log.
    #[schema(min_length = 1, pattern = r"\S")]
    reason: String,
    /// From when; from now on where not given.
    from: Option<Time>,
    /// Until when; until it is lifted where not given.
    until: Option<Time>,
}

/// Which freeze.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Frozen {
    /// Its number.
    freeze: u64,
}

/// Freezes that were not lifted, also those that are to come or over, by number
#[utoipa::path(get, path = "/api/v1/freezes", operation_id = "listFreezes", tag = "delivery",
    responses((status = 200, description = "The freezes", body = One<Vec<Freeze>>), Failures))]
pub(super) async fn list(State(app): State<App>) -> OneAnswer<Vec<Freeze>> {
    let standing = app.registry().db().freezes().await?;
    let rows = standing.into_iter().map(|freeze| Freeze {
        freeze: freeze.id,
        endpoint: freeze.endpoint,
        reason: freeze.reason,
        owner: freeze.owner,
        from: Time(freeze.from),
        until: freeze.until.map(Time),
    });
    one(rows.collect())
}

/// Sets a freeze, from now on or from a time to come
///
/// While it holds no release gets more requests. Going back is always possible.
#[utoipa::path(post, path = "/api/v1/freezes", operation_id = "setFreeze", tag = "delivery",
    request_body = WantedFreeze,
    responses((status = 200, description = "The freeze", body = One<Frozen>), Failures,
        (status = 409, description = "It would be over or have begun already, or end before it begins", body = Problem,
            content_type = "application/problem+json"),
        (status = 413, description = "The body is too large")))]
pub(super) async fn set(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    body: Bytes,
) -> OneAnswer<Frozen> {
    let wanted: WantedFreeze = serde_json::from_slice(&body).map_err(|error| malformed("body", &error))?;
    let endpoint = wanted.endpoint.as_deref();
    if endpoint.is_some_and(str::is_empty) {
        return Err(Problem::invalid("the endpoint is empty").hint("leave it out to freeze all endpoints"));
    }
    if endpoint.into_iter().chain([wanted.reason.as_str()]).any(|text| text.contains('\0')) {
        return Err(Problem::invalid("the body holds the character NUL, which stands in no text"));
    }
    let new = NewFreeze {
        endpoint: wanted.endpoint,
        reason: wanted.reason,
        from: wanted.from.map(|time| time.0),
        until: wanted.until.map(|time| time.0),
    };
    let registry = app.registry();
    let freeze = freeze(registry.db(), registry.clock().as_ref(), &actor, &new).await?;
    one(Frozen { freeze })
}

/// Ends a freeze before its time
#[utoipa::path(post, path = "/api/v1/freezes/{id}/lift", operation_id = "liftFreeze", tag = "delivery",
    params(("id" = u64, Path, description = "The number of the freeze", minimum = 1,
        maximum = 9_007_199_254_740_991_u64)),
    responses((status = 200, description = "It is lifted", body = One<Frozen>), Failures))]
pub(super) async fn lift(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<u64>,
) -> OneAnswer<Frozen> {
    let registry = app.registry();
    lift_freeze(registry.db(), registry.clock().as_ref(), &actor, id).await.map_err(|error| {
        let is_missing = error.code == Code::ResourceDoesNotExist;
        let problem = Problem::from(error);
        if is_missing { problem.hint("`/api/v1/freezes` lists those that were not lifted") } else { problem }
    })?;
    one(Frozen { freeze: id })
}
