//! Stores on other machines: pack files and small named documents behind `object_store`.
//!
//! ```text
//! PREFIX/index/NAME.idx    one for each pack, the same format as in a local store
//! PREFIX/packs/NAME.pack   complete before its index is written
//! PREFIX/refs/…            small named documents
//! PREFIX/refs/claims/…     what is needed there, where the remote is the store of somebody, see `claims`
//! PREFIX/refs/needs/…      the same
//! PREFIX/condemned/NAME    packs that a collection is going to remove, see `sweep`
//! PREFIX/clock             written to learn the time there
//! ```
//!
//! Writers only ever add files, under names that nobody else gives, so they need no locks and no conditional writes, and
//! an interrupted push is continued by the next: what its index files name is there.

mod behind;
mod claims;
mod client;
mod known;
mod mark;
mod pull;
mod push;
mod sweep;
mod verify;

pub(crate) use behind::Behind;
pub use claims::{Holder, OwnClaim, Stored};
pub use client::Remote;
pub(crate) use pull::{Staged, pull};
pub(crate) use push::push;
pub use sweep::{Inventory, RemoteGc};
pub(crate) use sweep::{inventory, sweep};
pub use verify::{RemoteCheck, RemoteRepair};
pub(crate) use verify::{repair, verify};

/// A push writes the names of what it sent within this time after it began to look what there is, or looks once more
/// when they are written. The grace period of [`crate::Store::sweep`] is to be longer.
pub const NAMED_WITHIN: std::time::Duration = std::time::Duration::from_mins(30);

/// What a push or pull moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Transfer {
    /// Objects (chunks, listings) that were missing on the other side.
    pub objects: u64,
    /// Objects that were there already.
    pub present: u64,
    /// Bytes sent or received, after compression.
    pub bytes: u64,
    /// Pack files written or read from.
    pub packs: u64,
}
