//! The seam to whatever shows a run: a terminal, JSON lines, a server. Nothing here draws.

use tidemill_core::declare::Step;

use crate::{Plan, Planned, StepReport};

/// Receives what happens in a run, in order for each step, from several threads. Methods must be quick.
pub trait Observer: Send + Sync {
    /// The plan is made; nothing has run yet.
    fn plan_ready(&self, _plan: &Plan) {}
    /// A step begins to run or to be restored; `planned` has the final decision and its reason.
    fn step_started(&self, _step: &Step, _planned: &Planned) {}
    /// One line of a step's output, without its end; lines over 8 KiB come in pieces, bytes that are not UTF-8 as
    /// replacement characters.
    fn step_line(&self, _step: &str, _line: &str) {}
    /// An attempt failed and another one follows after `wait`.
    fn step_retry(&self, _step: &str, _failure: &str, _attempt: u32, _wait: std::time::Duration) {}
    /// A step ended, or was found unchanged.
    fn step_finished(&self, _report: &StepReport) {}
    /// Something the user should know once, for example that the kernel has no sandbox.
    fn notice(&self, _message: &str) {}
}

/// Shows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}
