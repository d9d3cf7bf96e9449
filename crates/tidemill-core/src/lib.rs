//! The vocabulary of Tidemill: digests, names, times, actors, events, and the declarations of a project file.
//!
//! This crate has no IO, no async code and no SQL. Everything that more than one crate must agree on is here
//! as plain data; everything that acts on it lives elsewhere. Time enters only through [`Clock`].

mod actor;
mod canonical;
mod digest;
mod event;
mod evidence;
mod html;
mod name;
mod progress;
mod suggest;
mod time;

pub mod declare;
pub mod words;

pub use actor::{Actor, ActorKind, Identity};
pub use canonical::canonical_json;
pub use digest::{Digest, DigestError, Hasher, Sha256, hex};
pub use event::{Event, EventKind, JobState, NewEvent, OutcomesOfDataset, RunState, SourceKind, StepState};
pub use evidence::{AgeCurve, AgedVersion, Evidence, Facts, Flips, Outcome, TestResult};
pub use html::escape_html;
pub use name::{Name, NameError, RunId};
pub use progress::{Cancel, Progress, Quiet, Unit};
pub use suggest::{closest, did_you_mean};
pub use time::{Clock, FixedClock, SystemClock, Timestamp};

/// An error that can say what to do next.
///
/// Every crate's `Error` implements this, and the binary prints the text after `hint:`.
pub trait Hint: std::error::Error {
    /// The next action for the user, lower case and without a full stop; `None` if there is nothing useful to say.
    fn hint(&self) -> Option<String>;
}
