//! `cargo xtask fuzz`: one fuzz target for a while, through cargo-fuzz.
//!
//! The targets are in `fuzz/`, a package outside of the workspace, because they need compiler flags that nothing else
//! does. The same entry points run on mutated seeds in this crate's tests, without cargo-fuzz.

use std::path::Path;

use anyhow::{Result, bail};
use clap::Args;

use crate::{process, workspace};

/// Options of `cargo xtask fuzz`.
#[derive(Debug, Args)]
pub struct Options {
    /// The target, a file name in `fuzz/fuzz_targets`; all are listed where none is named
    pub target: Option<String>,
    /// How long to look for a crash
    #[arg(long, default_value_t = 60, value_name = "N")]
    pub seconds: u64,
}

/// Runs one target until the time is over or it crashes.
pub fn run(root: &Path, options: &Options) -> Result<()> {
    let targets = targets(root)?;
    let Some(target) = &options.target else {
        return process::say(targets.join("\n"));
    };
    if !targets.contains(target) {
        bail!("there is no fuzz target `{target}`; there are {}", targets.join(", "));
    }
    if !process::available("cargo-fuzz", "--version") {
        bail!("fuzzing needs cargo-fuzz; run `cargo install cargo-fuzz`");
    }

    // The targets are built with the versions that we ship.
    fs_err::copy(root.join("Cargo.lock"), root.join("fuzz/Cargo.lock"))?;
    let corpus = root.join("fuzz/corpus").join(target);
    fs_err::create_dir_all(&corpus)?;
    let mut command = workspace::cargo(root, &["fuzz", "run", target]);
    command.arg(&corpus);
    let seeds = root.join("fuzz/seeds").join(target);
    if seeds.is_dir() {
        command.arg(&seeds);
    }
    command
        .arg("--")
        .arg(format!("-max_total_time={}", options.seconds))
        .args(["-timeout=10", "-rss_limit_mb=2048"]);
    // Sanitizer flags are unstable; this lets a stable compiler take them.
    command.env("RUSTC_BOOTSTRAP", "1");
    process::run(&mut command)
}

/// Names of all targets, sorted.
pub fn targets(root: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs_err::read_dir(root.join("fuzz/fuzz_targets"))? {
        if let Some(name) = entry?.file_name().to_string_lossy().strip_suffix(".rs") {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}
