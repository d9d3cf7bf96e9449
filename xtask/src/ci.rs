//! `cargo xtask ci`: everything a change must pass, on a fresh clone and on a developer's machine alike.
//!
//! The order is chosen so that the cheapest check fails first, and nothing is compiled twice: where all stages run, clippy is what compiles
//! the workspace and rustdoc reads the libraries that come of it (`.ci/rustc`). Stages that are named run on their own, with what
//! a developer's own `cargo clippy`, `cargo test` and `cargo doc` have built.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{codegen, process, setup, tidy, workspace};

/// Options of `cargo xtask ci`.
#[derive(Debug, Default, Args)]
pub struct Options {
    /// Go on after a failed stage and list all failures at the end
    #[arg(long)]
    pub keep_going: bool,
    /// Only these stages
    #[arg(value_name = "STAGE", value_parser = STAGES.map(|stage| stage.name))]
    pub only: Vec<String>,
}

struct Stage {
    name: &'static str,
    work: fn(&Context) -> Result<()>,
    /// Whether the build does it where all stages run.
    built: bool,
}

const fn stage(name: &'static str, work: fn(&Context) -> Result<()>) -> Stage {
    Stage { name, work, built: false }
}

const fn built(name: &'static str, work: fn(&Context) -> Result<()>) -> Stage {
    Stage { name, work, built: true }
}

const STAGES: [Stage; 9] = [
    stage("setup", |context| setup::run(&context.root, &setup::Options::default())),
    stage("fmt", |context| context.run(&["fmt", "--all", "--check"])),
    stage("tidy", |context| tidy::run(&context.root)),
    built("clippy", |context| {
        context.run(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])
    }),
    stage("build", |context| context.binary().map(drop)),
    stage("test", test),
    stage("postgres", test_postgres),
    built("doc", doc),
    stage("codegen", check_generated),
];

/// What stages share.
struct Context {
    root: PathBuf,
    /// Whether lints and documentation come with the build.
    at_once: bool,
}

impl Context {
    fn cargo(&self, arguments: &[&str]) -> Command {
        let mut cargo = workspace::cargo(&self.root, arguments);
        if self.at_once {
            check_as_built(&mut cargo, &self.root);
        }
        cargo
    }

    fn run(&self, arguments: &[&str]) -> Result<()> {
        process::run(&mut self.cargo(arguments))
    }

    /// What builds all that the other stages run, so that nothing is compiled again with other features.
    fn everything(&self) -> Command {
        self.cargo(&["test", "--workspace", "--no-run"])
    }

    /// The binary as the tests build it; a second call finds it built.
    fn binary(&self) -> Result<PathBuf> {
        workspace::binary_of(self.everything())
    }
}

/// Has a command of cargo that builds find what `cargo clippy -- -D warnings` and `cargo doc` would, in whatever workspace it runs.
/// `root` is where our repository is.
pub fn check_as_built(cargo: &mut Command, root: &Path) {
    cargo.env("RUSTC_WORKSPACE_WRAPPER", root.join(".ci/rustc"));
    // What cargo hands to clippy.
    cargo.env("CLIPPY_ARGS", "-Dwarnings");
}

/// Runs the stages and prints how long each took.
pub fn run(root: &Path, options: &Options) -> Result<()> {
    let context = Context { root: root.to_path_buf(), at_once: options.only.is_empty() };
    let begin = Instant::now();
    let mut passed = 0;
    let mut failed: Vec<&str> = Vec::new();
    for stage in STAGES {
        if !options.only.is_empty() && !options.only.iter().any(|name| name == stage.name) {
            continue;
        }
        if context.at_once && stage.built {
            process::note(format!("ci: {} is part of the build", stage.name));
            continue;
        }
        process::note(format!("ci: {} …", stage.name));
        let started = Instant::now();
        let result = (stage.work)(&context);
        report(stage.name, started.elapsed(), &result);
        match result {
            Ok(()) => passed += 1,
            Err(error) if options.keep_going => {
                process::note(format!("error: {error:#}"));
                failed.push(stage.name);
            }
            Err(error) => return Err(error).context(format!("stage `{}`", stage.name)),
        }
    }
    let total = process::duration(begin.elapsed());
    if !failed.is_empty() {
        bail!("after {total}, stages that failed: {}", failed.join(", "));
    }
    process::note(format!("ci: all {passed} stages are fine after {total}"));
    Ok(())
}

fn report(name: &str, time: Duration, result: &Result<()>) {
    let verdict = if result.is_ok() { "ok" } else { "FAILED" };
    process::note(format!("ci: {name} {verdict} ({})", process::duration(time)));
}

/// nextest where it is installed: it runs each test in its own process and stops one that hangs.
fn test(context: &Context) -> Result<()> {
    if process::available("cargo-nextest", "--version") {
        context.run(&["nextest", "run", "--workspace"])
    } else {
        context.run(&["test", "--workspace", "--lib", "--bins", "--tests", "--examples"])
    }
}

/// The server's own tests once more, on PostgreSQL. The program that holds them is run itself: `cargo test` of one package
/// would build everything again with other features.
fn test_postgres(context: &Context) -> Result<()> {
    let tests = workspace::tests_of(context.everything(), "tidemill-server", "it")?;
    let mut command = Command::new(tests);
    command.current_dir(context.root.join("crates/tidemill-server"));
    command.env("TIDEMILL_TEST_DATABASE", "postgres");
    process::run(&mut command)
}

fn doc(context: &Context) -> Result<()> {
    process::run(context.cargo(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
}

fn check_generated(context: &Context) -> Result<()> {
    codegen::with_binary(&context.root, &context.binary()?, &codegen::Options { check: true })
}
