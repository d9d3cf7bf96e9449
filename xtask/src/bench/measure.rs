//! What one command used: wall time, CPU time and peak memory of it and of everything it started.
//!
//! The kernel reports the resources of finished children only as a sum and a maximum over all of them, so every
//! measured command gets a small process of its own which has no other children (`cargo xtask measure`).

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use nix::sys::resource::{Usage, UsageWho, getrusage};
use serde::{Deserialize, Serialize};

use crate::process;

/// Options of the hidden command which measures one child.
#[derive(Debug, Args)]
pub struct Options {
    /// Where to write the result as JSON
    #[arg(long)]
    out: PathBuf,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<std::ffi::OsString>,
}

/// What one execution used.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Sample {
    /// Seconds from start to end.
    pub wall: f64,
    /// Seconds of CPU, user and system, of the command and all its descendants.
    pub cpu: f64,
    /// The largest resident set of any one process of them, in bytes.
    pub peak: u64,
}

/// Runs the command of `options` and writes its [`Sample`]. Fails when the command does.
pub fn run(options: &Options) -> Result<()> {
    let [program, arguments @ ..] = options.command.as_slice() else { bail!("no command to measure") };
    let started = Instant::now();
    let status = Command::new(program)
        .args(arguments)
        .status()
        .with_context(|| format!("cannot start `{}`", program.to_string_lossy()))?;
    let wall = started.elapsed().as_secs_f64();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("the kernel reports no resource usage")?;
    if !status.success() {
        bail!("`{}` failed: {status}", program.to_string_lossy());
    }
    let sample = Sample { wall, cpu: seconds(usage), peak: peak_bytes(usage) };
    fs_err::write(&options.out, serde_json::to_vec(&sample)?)?;
    Ok(())
}

fn seconds(usage: Usage) -> f64 {
    let of = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    of(usage.user_time()) + of(usage.system_time())
}

/// `ru_maxrss` is in kilobytes, on macOS in bytes.
fn peak_bytes(usage: Usage) -> u64 {
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    u64::try_from(usage.max_rss()).unwrap_or(0) * unit
}

/// Runs `command` in a measuring process and returns what it used. Output goes to a file in `scratch`, whose last
/// lines are in the error when the command fails.
pub fn measure(command: &Command, scratch: &Path) -> Result<Sample> {
    let result = scratch.join("measured.json");
    let log = scratch.join("measured.log");
    let mut wrapper = Command::new(std::env::current_exe().context("cannot find the running program")?);
    wrapper
        .arg("measure")
        .arg("--out")
        .arg(&result)
        .arg("--")
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapper.env(name, value),
            None => wrapper.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        wrapper.current_dir(folder);
    }
    let output = fs_err::File::create(&log)?.into_parts().0;
    let errors = output.try_clone().context("cannot share the log file")?;
    let status =
        wrapper.stdin(Stdio::null()).stdout(output).stderr(errors).status().context("cannot measure")?;
    if !status.success() {
        let text = String::from_utf8_lossy(&fs_err::read(&log)?).into_owned();
        bail!("`{}` failed:\n{}", process::shown(command), process::last_lines(&text, 20));
    }
    serde_json::from_slice(&fs_err::read(&result)?).context("cannot read the measurement")
}
