//! Events with who, when and why: before they are in the log, and as they stand in it.

use serde::{Deserialize, Serialize};

use super::EventKind;
use crate::{Actor, Timestamp};

/// An event that is about to be appended; the database gives it its sequence number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewEvent {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// What.
    pub kind: EventKind,
    /// The sequence number of the event that led to this one.
    pub cause: Option<u64>,
}

/// An event as it stands in the log. Its canonical JSON is the leaf of the Merkle tree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Position in the log, from 1, without gaps.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
    /// The sequence number of the event that led to this one.
    pub cause: Option<u64>,
}
