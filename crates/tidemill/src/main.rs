//! The command line of Tidemill: reads what was typed, runs one command, and says how it went.

mod app;
mod cli;
mod command;
mod data_check;
mod failure;
mod git;
mod home;
mod job;
mod journal;
mod kept;
mod laid_out;
mod model_test;
mod monitors;
mod outcome_tables;
mod output;
mod profile;
mod records;
mod roots;
mod serving;
mod step;
mod table;
mod tracking;
mod users;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use cli::{Cli, Command, LogFormat};
use failure::{Said, causes, exit_of, hint_of};
use output::Console;

fn main() -> ExitCode {
    let cli = Cli::parse();
    log_to_stderr(&cli.command);
    let console = Console::new(&cli.global);
    match command::dispatch(cli, &console) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error, &console);
            ExitCode::from(exit_of(&error) as u8)
        }
    }
}

/// Diagnostics, with `TIDEMILL_LOG=debug` or any filter of `tracing`. Without it commands are silent; a server, which
/// has no other way to say that something is wrong, logs warnings and errors.
fn log_to_stderr(command: &Command) {
    let (default, json) = match command {
        Command::Up(args) => (Some("warn"), args.listening.log_format == LogFormat::Json),
        Command::Serve(args) => (Some("warn"), args.listening.log_format == LogFormat::Json),
        _ => (None, false),
    };
    let filter = match (EnvFilter::try_from_env("TIDEMILL_LOG"), default) {
        (Ok(filter), _) => filter,
        (Err(_), Some(default)) => EnvFilter::new(default),
        (Err(_), None) => return,
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if json {
        log.json().flatten_event(true).with_span_list(false).init();
    } else {
        log.with_ansi(std::io::stderr().is_terminal()).init();
    }
}

fn report(error: &anyhow::Error, console: &Console) {
    if error.is::<Said>() {
        return;
    }
    if let Some(report) = error.downcast_ref::<tidemill_project::Report>() {
        command::print_report(report, console);
        return;
    }
    console.error(&error.to_string(), &causes(error), hint_of(error).as_deref());
}
