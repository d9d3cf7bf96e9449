//! The log as a Merkle tree: its head, and proofs that an entry is in it.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use tidemill_db::Error;
use utoipa::{IntoParams, ToSchema};

use super::envelope::{One, OneAnswer, Path, Query, one};
use super::{Failures, Problem};
use crate::App;

/// The state of the log: size and root together fix every entry.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Head {
    /// Number of entries.
    size: u64,
    /// Root of the Merkle tree over them (RFC 6962, SHA-256).
    #[schema(pattern = "^[0-9a-f]{64}$")]
    root: String,
}

/// Proof that an entry is in the log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Proof {
    /// The entry's position, from 1; its leaf index is one less.
    #[schema(minimum = 1)]
    seq: u64,
    /// The entry as it was hashed: the leaf is the SHA-256 of a zero byte and this text.
    entry: String,
    /// The entry's leaf hash.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    leaf: String,
    /// The head that the proof leads to.
    head: Head,
    /// The hashes beside the way up, from the leaf to the root.
    path: Vec<String>,
}

/// The state of the log
///
/// Note it elsewhere: with it, later changes of what is in the log now can be proven.
#[utoipa::path(get, path = "/api/v1/log/head", operation_id = "getLogHead", tag = "log",
    responses((status = 200, description = "The state of the log", body = One<Head>), Failures))]
pub(super) async fn head(State(app): State<App>) -> OneAnswer<Head> {
    let head = app.registry().db().log_head().await?;
    one(Head { size: head.size, root: head.root.to_string() })
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Prove it for the log as it was with this many entries; as it is now where not given
    #[param(minimum = 1, maximum = 9_007_199_254_740_991_u64)]
    size: Option<u64>,
}

/// Proves that an entry is in the log
#[utoipa::path(get, path = "/api/v1/log/proof/{seq}", operation_id = "getLogProof", tag = "log",
    params(("seq" = u64, Path, description = "The entry", minimum = 1, maximum = 9_007_199_254_740_991_u64), Wanted),
    responses((status = 200, description = "The entry and its proof", body = One<Proof>), Failures))]
pub(super) async fn proof(
    State(app): State<App>,
    Path(seq): Path<u64>,
    Query(wanted): Query<Wanted>,
) -> OneAnswer<Proof> {
    let db = app.registry().db();
    let size = match wanted.size {
        Some(size) => size,
        None => db.log_head().await?.size,
    };
    let proof = db.inclusion_proof(seq, size).await.map_err(|error| match error {
        Error::ProofRange { .. } => Problem::missing(error.to_string())
            .hint("entries are numbered from 1; `/api/v1/log/head` says how many there are"),
        other => other.into(),
    })?;
    let entry = db.log_lines(seq - 1, 1).await?.pop();
    one(Proof {
        seq,
        entry: entry.ok_or_else(|| Problem::missing(format!("there is no entry {seq}")))?,
        leaf: proof.leaf.to_string(),
        head: Head { size: proof.head.size, root: proof.head.root.to_string() },
        path: proof.path.iter().map(ToString::to_string).collect(),
    })
}
