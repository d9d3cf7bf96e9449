//! `cargo xtask ci`: everything a change must pass, on a fresh clone and on a developer's machine alike.
//!
//! The order is chosen so that the cheapest check fails first and nothing is compiled twice: clippy and rustdoc share
//! the metadata of dependencies, and everything that runs shares one build for tests.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::workspace::Profile;
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
}

const STAGES: [Stage; 9] = [
    Stage { name: "setup", work: |context| setup::run(&context.root, &setup::Options::default()) },
    Stage { name: "fmt", work: |context| context.cargo(&["fmt", "--all", "--check"]) },
    Stage { name: "tidy", work: |context| tidy::run(&context.root) },
    Stage { name: "clippy", work: clippy },
    Stage { name: "build", work: |context| context.binary().map(drop) },
    Stage { name: "test", work: test },
    Stage { name: "postgres", work: test_postgres },
    Stage { name: "doc", work: doc },
    Stage { name: "codegen", work: check_generated },
];

/// What stages share.
struct Context {
    root: PathBuf,
}

impl Context {
    fn cargo(&self, arguments: &[&str]) -> Result<()> {
        process::run(Command::new(process::cargo()).current_dir(&self.root).args(arguments))
    }

    /// The binary as the tests build it; a second call finds it built.
    fn binary(&self) -> Result<PathBuf> {
        workspace::binary(&self.root, Profile::Test)
    }
}

/// Runs the stages and prints how long each took.
pub fn run(root: &Path, options: &Options) -> Result<()> {
    let context = Context { root: root.to_path_buf() };
    let begin = Instant::now();
    let mut passed = 0;
    let mut failed: Vec<&str> = Vec::new();
    for stage in STAGES {
        if !options.only.is_empty() && !options.only.iter().any(|name| name == stage.name) {
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

fn clippy(context: &Context) -> Result<()> {
    context.cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])
}

/// nextest where it is installed: it runs each test in its own process and stops one that hangs.
fn test(context: &Context) -> Result<()> {
    if process::available("cargo-nextest", "--version") {
        context.cargo(&["nextest", "run", "--workspace"])
    } else {
        context.cargo(&["test", "--workspace", "--lib", "--bins", "--tests", "--examples"])
    }
}

/// The server's own tests once more, on PostgreSQL. The program that holds them is run itself: `cargo test` of one package
/// would build everything again with other features.
fn test_postgres(context: &Context) -> Result<()> {
    let tests = workspace::tests_of(&context.root, "tidemill-server", "it")?;
    let mut command = Command::new(tests);
    command.current_dir(context.root.join("crates/tidemill-server"));
    command.env("TIDEMILL_TEST_DATABASE", "postgres");
    process::run(&mut command)
}

fn doc(context: &Context) -> Result<()> {
    let mut command = Command::new(process::cargo());
    command.current_dir(&context.root).args(["doc", "--workspace", "--no-deps"]);
    process::run(&mut command)
}

fn check_generated(context: &Context) -> Result<()> {
    codegen::with_binary(&context.root, &context.binary()?, &codegen::Options { check: true })
}
