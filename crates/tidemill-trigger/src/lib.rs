//! What starts work: when a schedule fires, which event sets off which trigger, and who may call a webhook.
//!
//! ```text
//! outside ── a source ──▶ source.changed ─┐
//!                                         ├─▶ signals ── react ──▶ wait, fire or suppress
//! our own state changes (data, models) ───┘
//! ```
//!
//! Everything here is a plain function from what is known to what follows: no clock, no network, no database. The server
//! reads the log, calls [`react`] and [`due`], and records what they say; so every rule can be tested as a table.

pub mod alertmanager;
pub mod cloudevent;
pub mod hook;
pub mod message;
mod react;
mod rule;
mod schedule;
mod signal;

pub use react::{LOOP_LIMIT, Pending, QUEUE, Reaction, State, TriggerState, due, react};
pub use rule::{Rule, Rules};
pub use schedule::{BadSchedule, MISSED_MOST, Schedule};
pub use signal::{Signal, signals};

/// Short texts about an event, by name.
pub type Details = std::collections::BTreeMap<String, String>;

/// The longest text that is kept of what came from outside, in bytes.
pub const DETAIL: usize = 256;

/// `text` without control characters and no longer than [`DETAIL`], for the log.
pub fn detail(text: &str) -> String {
    let mut plain: String = text.chars().filter(|c| !c.is_control()).collect();
    let mut end = plain.len().min(DETAIL);
    while !plain.is_char_boundary(end) {
        end -= 1;
    }
    plain.truncate(end);
    plain
}
