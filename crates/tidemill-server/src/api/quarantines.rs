//! Releases that must not run in an environment, and how two people let one of them.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use tidemill_core::{Actor, Digest};
use utoipa::ToSchema;

use super::envelope::{One, OneAnswer, Time, malformed, one};
use super::{Failures, Problem};
use crate::App;
use crate::delivery::{Lift, lift_quarantine, quarantines, word_ends};

/// A release that did harm in an environment.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Quarantine {
    /// The release.
    release: String,
    /// The environment.
    environment: String,
    /// Why.
    reason: String,
    /// Since when.
    since: Time,
    /// Who would lift it, while another person has not said so, too.
    words: Vec<Word>,
}

/// One person's word that a release may leave its quarantine.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Word {
    /// Who.
    by: String,
    /// Why.
    reason: String,
    /// Until when it counts.
    until: Time,
}

/// A quarantine that somebody would lift.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedLift {
    /// The release.
    #[schema(pattern = "^b3:[0-9a-f]{64}$")]
    release: String,
    /// The environment.
    #[schema(min_length = 1)]
    environment: String,
    /// Why; stands in the log.
    #[schema(min_length = 1)]
    reason: String,
}

/// What came of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LiftSaid {
    /// Whether the release may run again.
    lifted: bool,
    /// Who said so.
    by: Vec<String>,
    /// Until when another person may say so, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_until: Option<Time>,
}

/// Releases in quarantine, newest first
#[utoipa::path(get, path = "/api/v1/quarantines", operation_id = "listQuarantines", tag = "delivery",
    responses((status = 200, description = "Releases that must not run", body = One<Vec<Quarantine>>), Failures))]
pub(super) async fn list(State(app): State<App>) -> OneAnswer<Vec<Quarantine>> {
    let registry = app.registry();
    let standing = quarantines(registry.db(), registry.clock().now()).await?;
    let rows = standing.into_iter().map(|(entry, words)| Quarantine {
        words: words
            .into_iter()
            .map(|word| Word { until: Time(word_ends(&word)), by: word.by, reason: word.reason })
            .collect(),
        release: entry.release.to_string(),
        environment: entry.environment,
        reason: entry.reason,
        since: Time(entry.at),
    });
    one(rows.collect())
}

/// Says that a release may run in an environment again
///
/// It may once another person has said so, too, within three days.
#[utoipa::path(post, path = "/api/v1/quarantines/lift", operation_id = "liftQuarantine", tag = "delivery",
    request_body = WantedLift,
    responses((status = 200, description = "What came of it", body = One<LiftSaid>), Failures,
        (status = 409, description = "This person has said so already", body = Problem,
            content_type = "application/problem+json"),
        (status = 413, description = "The body is too large")))]
pub(super) async fn lift(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    body: Bytes,
) -> OneAnswer<LiftSaid> {
    let wanted: WantedLift = serde_json::from_slice(&body).map_err(|error| malformed("body", &error))?;
    let release: Digest = wanted.release.parse().map_err(|_| {
        Problem::invalid(format!("`{}` is no digest of a release", wanted.release))
            .hint("`/api/v1/quarantines` lists them")
    })?;
    if [&wanted.environment, &wanted.reason].into_iter().any(|text| text.contains('\0')) {
        return Err(Problem::invalid("the body holds the character NUL, which stands in no text"));
    }
    let registry = app.registry();
    let wanted = Lift { release, environment: wanted.environment, reason: wanted.reason };
    let said = lift_quarantine(registry.db(), registry.clock().as_ref(), &actor, &wanted).await?;
    one(LiftSaid { lifted: said.waits_until.is_none(), by: said.by, waits_until: said.waits_until.map(Time) })
}
