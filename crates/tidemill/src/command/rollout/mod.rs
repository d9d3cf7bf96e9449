//! `tidemill rollout`: what has to do with releases that get their traffic stage by stage.

mod act;
mod judge;
mod simulate;
mod status;

use clap::Subcommand;

use crate::app::App;
use crate::output::Console;

#[derive(Debug, Subcommand)]
pub(crate) enum Rollout {
    /// List rollouts, or show one with its judge's evidence
    Status(status::Status),
    /// Agree to a rollout that waits for it; never the release's author
    Approve(act::Approve),
    /// Let a stage pass that has run out of time; never the release's author
    Proceed(act::Proceed),
    /// End a rollout; the release may be tried again
    Abort(act::Reasoned),
    /// End a rollout and put its release into quarantine
    Rollback(act::Reasoned),
    /// Take one of several candidates out; the others go on
    Drop(act::Drop),
    /// Compute a rollout anew from its log, and compare
    Replay(act::Replay),
    /// Play the plan of an environment on traffic like that of the last days: errors, and time to the verdict
    Simulate(Box<simulate::Simulate>),
    /// Judge canaries of any router: JSON lines in, one decision out for each
    Judge(judge::Judge),
}

pub(crate) fn run<'a>(
    rollout: &Rollout,
    open: impl Fn() -> anyhow::Result<App<'a>>,
    console: &Console,
) -> anyhow::Result<()> {
    match rollout {
        Rollout::Status(args) => status::run(args, &open()?),
        Rollout::Approve(args) => act::approve(args, &open()?),
        Rollout::Proceed(args) => act::proceed(args, &open()?),
        Rollout::Abort(args) => act::abort(args, &open()?),
        Rollout::Rollback(args) => act::rollback(args, &open()?),
        Rollout::Drop(args) => act::drop(args, &open()?),
        Rollout::Replay(args) => act::replay(args, &open()?),
        Rollout::Simulate(args) => simulate::run(args, &open()?),
        Rollout::Judge(args) => judge::run(args, console),
    }
}
