//! One file for each command. They open what they need through `App`, act, and print.

mod alias_log;
mod check;
mod ci;
mod completions;
pub(crate) mod data;
mod demo;
mod diff;
mod docs;
mod endpoint;
mod freeze;
mod gc;
mod import;
mod init;
mod log;
mod merge_lock;
mod monitor;
mod outcomes;
mod predict;
mod quarantine;
mod records;
mod release;
mod report;
mod reproduce;
mod rollout;
pub(crate) mod run;
mod signed_in;
mod status;
mod step_log;
mod trigger;
mod up;
pub(crate) mod why;

pub(crate) use demo::Demo;
pub(crate) use endpoint::Endpoint;
pub(crate) use freeze::Freeze;
pub(crate) use monitor::Monitor;
pub(crate) use outcomes::Outcomes;
pub(crate) use predict::Predict;
pub(crate) use quarantine::Quarantine;
pub(crate) use records::Records;
pub(crate) use release::Release;
pub(crate) use report::Report;
pub(crate) use rollout::Rollout;
pub(crate) use signed_in::SignIn;
pub(crate) use why::Why;

use crate::app::App;
use crate::cli::{Cli, Command};
use crate::output::Console;

/// Runs the command that was typed.
pub(crate) fn dispatch(cli: Cli, console: &Console) -> anyhow::Result<()> {
    let open = || App::open(&cli.global, console);
    match &cli.command {
        Command::Demo(args) => demo::run(args, &cli.global, console),
        Command::Init(args) => init::run(args, &cli.global, console),
        Command::Check(args) => check::run(args, &open()?),
        Command::Run(args) => run::run(args, &open()?),
        Command::Status(args) => status::run(args, &open()?),
        Command::Diff(args) => diff::run(args, &open()?),
        Command::Log(args) => log::run(args, &open()?),
        Command::Data(args) => data::run(args, &open()?),
        Command::Gc(args) => gc::run(args, &open()?),
        Command::Reproduce(args) => reproduce::run(args, &open()?),
        Command::Ci(args) => {
            let mut app = open()?;
            signed_in::adopt(&mut app, &args.who)?;
            ci::run(args, &app)
        }
        Command::Trigger(args) => trigger::run(args, &open()?),
        Command::Up(args) => up::run(args, &cli.global, console),
        Command::Serve(args) => up::serve_alone(args, &cli.global, console),
        Command::Endpoint(args) => endpoint::run(args, &cli.global, console),
        Command::Predict(args) => predict::run(args, &cli.global, console),
        Command::Outcomes(args) => outcomes::run(args, &cli.global, console),
        Command::Records(args) => records::run(args, &cli.global, console),
        Command::Release(args) => {
            let mut app = open()?;
            signed_in::adopt(&mut app, args.who())?;
            release::run(args, &app)
        }
        Command::Rollout(args) => rollout::run(args, open, console),
        Command::Monitor(args) => monitor::run(args, &cli.global, console),
        Command::Freeze(args) => freeze::run(args, &open()?),
        Command::Quarantine(command) => quarantine::run(command, open()?),
        Command::Why(args) => why::run(args, &open()?),
        Command::Report(args) => report::run(args, &cli.global, console),
        Command::Import(args) => import::run(args, &cli.global, console),
        Command::MergeLock(args) => merge_lock::run(args, console),
        Command::Schema => docs::schema(console),
        Command::Completions { shell } => {
            completions::run(*shell);
            Ok(())
        }
        Command::Docs { page } => docs::run(*page, console),
    }
}

/// Prints all diagnostics of a project file.
pub(crate) fn print_report(report: &tidemill_project::Report, console: &Console) {
    if console.json() {
        // Printing a value that was just made from plain data cannot fail.
        let _ = console.json_line(&serde_json::json!({ "error": report }));
    }
    console.problem(&report.render(console.err_color()));
}
