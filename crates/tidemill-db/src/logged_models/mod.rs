//! Logged models: folders of files that a training made, with parameters, metrics and tags.
//!
//! Functions that change something say `false` or `None` where the thing is not there.

mod read;
mod search;
mod types;
mod write;

pub use search::{DatasetName, LoggedModelOrder, LoggedModelQuery};
pub use types::{LoggedModel, LoggedModelStatus, NewLoggedModel};
