//! What a project file declares and more than one crate acts on, as plain data: steps, trainings,
//! expectations, the objective, triggers. The project crate parses them, the others perform them.

mod between;
mod expect;
mod objective;
mod records;
mod step;
mod train;
mod trigger;
mod window;

pub use between::Between;
pub use expect::{Bounds, Comparison, DriftLevel, Expectation, Order, Rule, Severity, age};
pub use objective::{Better, Costs, Kpi, Objective, Risk, Task, TaskKind};
pub use records::RecordsInput;
pub use step::{Action, DataFormat, EnvSource, Input, Out, Retry, Sandbox, Step};
pub use train::{
    Algorithm, Cv, GbdtParams, LinearParams, Metric, Search, SearchMethod, Split, SplitBy, Training,
};
pub use trigger::{
    BrokerKind, Concurrency, MessageSource, Missed, RateLimit, Secret, Trigger, TriggerAction, When,
};
pub use window::Window;

/// The most inputs by which the judge of a rollout groups requests.
pub const MOST_SLICED: usize = 8;
