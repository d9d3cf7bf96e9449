//! Outcomes: what became known of a request after it was answered, and how it finds its request.
//!
//! [`OutcomeReader`] reads them from the bytes of a body; the database keeps each as it came, so that none is lost;
//! [`Matcher`] joins those that wait with the log, by request id or by entity and time ([`as_of`]). One that finds
//! nothing waits and is tried again against what arrives later. [`Outcomes`] puts them beside their records.

mod answers;
mod attach;
mod body;
mod counters;
mod declare;
mod join;
mod matcher;

pub use answers::{Answered, Joined, Known, Stretch, Texts, group, joined};
pub use attach::Outcomes;
pub use body::{BodyFormat, OutcomeReader, Rejected};
pub use counters::OutcomeCounters;
pub use declare::OutcomesSpec;
pub use join::{Moment, as_of};
pub use matcher::{Matcher, OutcomeRules, Passed};
