//! Monitoring: what is watched, windows that were judged, alerts, and the outbox of those who are told of them.
//!
//! What a declaration, a memory, a verdict or a receiver says is the caller's matter: they are texts here.

mod alerts;
mod outbox;
mod sets;
mod windows;

pub use alerts::{Alert, AlertFilter, NewAlert};
pub use outbox::{AlertDelivery, NewAlertDelivery};
pub use sets::{MonitorSet, Stream};
pub use windows::{Judged, JudgedFilter, NewJudged, Resting, RestsOn, Series};
