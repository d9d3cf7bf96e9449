//! `tidemill rollout`: what has to do with releases that get their traffic stage by stage.

mod judge;

use clap::Subcommand;

use crate::output::Console;

#[derive(Debug, Subcommand)]
pub(crate) enum Rollout {
    /// Judge canaries of any router: JSON lines in, one decision out for each
    Judge(judge::Judge),
}

pub(crate) fn run(rollout: &Rollout, console: &Console) -> anyhow::Result<()> {
    match rollout {
        Rollout::Judge(args) => judge::run(args, console),
    }
}
