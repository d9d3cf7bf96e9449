//! `tidemill completions`: a completion script for a shell.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::Cli;

pub(crate) fn run(shell: Shell) {
    clap_complete::generate(shell, &mut Cli::command(), "tidemill", &mut std::io::stdout());
}
