//! The versioned store: content-addressed files and folders, kept in chunks and pack files.
//!
//! A [`Store`] knows bytes, trees, roots and garbage collection; it knows nothing of models, runs or projects.
//! Chunks and packs are invisible to callers, who see an [`Entry`] per file or folder. Local work is synchronous
//! and uses all cores; a [`Remote`] is reached through `object_store` and asynchronous.
//!
//! On disk (format 1):
//!
//! ```text
//! format             the format's number and the chunking parameters, JSON
//! lock               writers hold it shared, garbage collection alone
//! packs/NAME.pack    objects, one record after another
//! index/NAME.idx     sorted tables that say which object is where in which pack
//! users/NAME.json    one document of each that uses the store, so that garbage collection can ask what they need
//! remotes/…          indexes of remotes, so that a second push asks for the new ones only
//! pins/…             who keeps what they use from leaving a folder with a largest size
//! holder             the folder's name at the store behind it
//! tmp/               what is being written; removed by the next garbage collection
//! ```

mod add;
mod batch;
mod catalog;
mod checkout;
mod compare;
mod compress;
mod content;
mod cut;
mod disk;
mod entry;
mod error;
mod evict;
mod gc;
mod index;
mod inner;
mod list;
mod lock;
mod pack;
mod range;
mod reach;
mod read;
mod record;
mod remote;
mod repair;
mod stat_cache;
mod store;
mod target;
mod tree;
mod users;
mod verify;
mod walk;
mod write;
mod writer;

pub use checkout::Checkout;
pub use entry::{Entry, EntryKind, Root};
pub use error::Error;
pub use index::fuzz_index;
pub use list::fuzz_chunk_list;
pub use range::{Chunk, Chunks};
pub use record::fuzz_pack_entry;
pub use remote::{
    Holder, Inventory, NAMED_WITHIN, OwnClaim, Remote, RemoteCheck, RemoteGc, RemoteRepair, Stored, Transfer,
};
pub use stat_cache::{StatCache, fuzz_stat_cache};
pub use store::{
    AddOptions, Damage, GcReport, Hold, Pin, Stats, Store, StoreOptions, Usage, hash, hash_with,
};
pub use tree::{Tree, TreeItem, TreeNode, TreePath, fuzz_tree};
pub use writer::{Writer, WriterOptions};
