//! Artifacts: files of runs and logged models. Their bytes are content of the store, so that what is logged twice is
//! stored once; the database says which path holds which content.
//!
//! * [`ArtifactPath`] is a path that cannot lead anywhere else; [`Place`] is what the URI of a run stands for.
//! * [`ArtifactWriter`] takes a file as it arrives. Small files of many writers are stored and recorded together.
//! * [`Content`] is a file to be read, of the store or of a local folder that may be read.
//! * Files that arrive in parts are in `multipart.rs`.

mod intake;
mod list;
mod local;
mod multipart;
mod path;
mod place;
mod queue;
mod read;
mod write;

pub use intake::Intake;
pub use list::{FileInfo, Listing};
pub use multipart::PartReceipt;
pub use path::ArtifactPath;
pub use place::Place;
pub(crate) use queue::Queue;
pub use read::{Content, Piece, Pieces};
pub use write::{ArtifactWriter, PartWriter};
