//! Logged models and their lifecycle.

mod manage;

pub use manage::LoggedModelRequest;

pub(crate) use manage::missing;
