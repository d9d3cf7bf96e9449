//! `cargo xtask`: the command line over the functions of this crate. Nothing is decided here.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use xtask::{bench, ci, codegen, fuzz, process, setup, tidy, workspace};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "All automation of the repository", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Make what the tests need besides Rust: a Python environment and PostgreSQL's server programs
    Setup(setup::Options),
    /// Check the rules of the repository that the compiler does not know
    Tidy,
    /// Write generated files anew, or fail when they are out of date
    Codegen(codegen::Options),
    /// Everything a change must pass, in the order in which it fails fastest
    Ci(ci::Options),
    /// Run one fuzz target with cargo-fuzz
    Fuzz(fuzz::Options),
    /// Measure Tidemill and its peers side by side
    Bench(bench::Options),
    /// Run a command and write what it used to a file
    #[command(hide = true)]
    Measure(bench::measure::Options),
}

fn main() -> ExitCode {
    match run(Cli::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            process::note(format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    let root = workspace::root();
    match task {
        Task::Setup(options) => setup::run(&root, &options),
        Task::Tidy => tidy::run(&root),
        Task::Codegen(options) => codegen::run(&root, &options),
        Task::Ci(options) => ci::run(&root, &options),
        Task::Fuzz(options) => fuzz::run(&root, &options),
        Task::Bench(options) => bench::run(&root, &options),
        Task::Measure(options) => bench::measure::run(&options),
    }
}
