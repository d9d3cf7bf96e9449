//! Stores on other machines: pack files and small named documents behind `object_store`.
//!
//! ```text
//! PREFIX/index/NAME.idx    one for each pack, the same format as in a local store
//! PREFIX/packs/NAME.pack   complete before its index is written
//! PREFIX/refs/…            small named documents
//! ```
//!
//! Writers only ever add files whose names are their content's, so they need no locks and no conditional writes, and
//! an interrupted push is continued by the next: what its index files name is there.

mod client;
mod known;
mod pull;
mod push;

pub use client::Remote;
pub(crate) use pull::pull;
pub(crate) use push::push;

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
