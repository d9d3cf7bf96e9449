//! Monitoring of models in production: windows, what each monitor makes of one, and alerts.
//!
//! Every decision is a pure function of state, observations and time: [`window`] says which windows are due, [`judge()`] what one of
//! them comes to, [`alert`] what becomes of the monitor's alert. This crate has no IO, no clock and no SQL; the server reads the
//! inference log, asks, and keeps what was decided.
//!
//! Two rules hold throughout:
//!
//! - No data means hold: a window that cannot be judged neither fires nor resolves an alert.
//! - Time is that of the predictions. It is the wall clock's where requests do not say when they happened.

pub mod alert;
mod declare;
mod drift;
mod export;
mod judge;
mod kpi;
mod levels;
mod message;
mod quality;
mod releases;
mod restate;
mod scale;
mod stream;
mod verdict;
pub mod window;

pub use declare::{Declaration, Kind, Watch};
pub use drift::{Compared, Side};
pub use export::{grafana_dashboard, prometheus_rules};
pub use judge::{Memory, Remembered, Seen, judge};
pub use kpi::Series;
pub use levels::{InputsSeen, ServiceSeen, StaleSeen};
pub use message::{AGAIN, Message, Notice};
pub use quality::{Calibration, Checked, Estimated, Labels, QualitySeen, measure, metric_of};
pub use releases::{AnsweredBy, Metrics, OverReleases, Relation, ReleaseMean, Releases, over_releases};
pub use restate::{Again, Ago, Restated, Was, restate, turn};
pub use tidemill_project::{Columns, Detector, Monitor, Receiver, Reference, StreamOf};
pub use tidemill_stats::drift::{DomainClassifier, Level};
pub use verdict::{Evidence, Exposure, Moved, Parted, State, Verdict, Without};
