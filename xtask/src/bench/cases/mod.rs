//! The tasks that are measured, one module each. The bars are those of the project's plan.

use anyhow::Result;

use crate::bench::report::Row;
use crate::bench::session::Session;

mod add_big;
mod add_small;
mod boosting;
mod features;
mod memory;
mod remote;
mod steps;

/// One task.
pub(super) struct Case {
    /// The name on the command line.
    pub(super) name: &'static str,
    /// Measures it.
    pub(super) measure: fn(&Session) -> Result<Vec<Row>>,
}

/// All tasks, in the order in which a session measures them.
pub(super) const CASES: [Case; 7] = [
    Case { name: "add-big", measure: add_big::measure },
    Case { name: "add-small", measure: add_small::measure },
    Case { name: "steps", measure: steps::measure },
    Case { name: "remote", measure: remote::measure },
    Case { name: "features", measure: features::measure },
    Case { name: "boosting", measure: boosting::measure },
    Case { name: "memory", measure: memory::measure },
];
