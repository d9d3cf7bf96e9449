//! Logged models and their lifecycle.

mod manage;
mod search;

pub use manage::LoggedModelRequest;
pub use search::{LoggedModelSearch, SearchOrder};

pub(crate) use manage::missing;
