//! Registered models: names for numbered versions, with tags, aliases and stages.
//!
//! What may be written and in which words a refusal is given is the registry's matter. Functions that change something
//! say `false` or `None` where the thing is not there.

mod history;
pub(crate) mod read;
mod search;
mod types;
mod write;

pub use history::AliasMove;
pub use search::{FoundVersions, ModelQuery};
pub use types::{Alias, ModelVersion, NewVersion, RegisteredModel, VersionStage};
pub(crate) use write::put_tags;
pub use write::{AliasChange, Staged};
