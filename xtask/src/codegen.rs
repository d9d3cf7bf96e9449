//! Files that are generated from the code and committed: the JSON Schema and the reference pages.
//!
//! The binary writes them (`tidemill docs PAGE`), since it alone knows every command and every key. This module only
//! puts them where they belong, or compares.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};
use clap::Args;

use crate::{process, workspace};

/// Options of `cargo xtask codegen`.
#[derive(Debug, Default, Args)]
pub struct Options {
    /// Fail when a file is out of date instead of writing it
    #[arg(long)]
    pub check: bool,
}

/// Where each page of `tidemill docs PAGE` lives.
const PAGES: [(&str, &str); 3] = [
    ("cli", "docs/reference/cli.md"),
    ("project-file", "docs/reference/project-file.md"),
    ("schema", "docs/reference/tidemill.schema.json"),
];

/// Writes or checks every generated file with a freshly built binary.
pub fn run(root: &Path, options: &Options) -> Result<()> {
    with_binary(root, &workspace::binary(root, workspace::Profile::Dev)?, options)
}

/// Writes or checks every generated file with the given binary.
pub fn with_binary(root: &Path, binary: &Path, options: &Options) -> Result<()> {
    let mut outdated = Vec::new();
    for (page, path) in PAGES {
        // Help text is wrapped to the terminal; a fixed width makes it the same everywhere.
        let mut command = Command::new(binary);
        command.args(["docs", page]).env("COLUMNS", "100").env("NO_COLOR", "1");
        let text = process::output(&mut command)?;
        let file = root.join(path);
        if fs_err::read_to_string(&file).is_ok_and(|there| there == text) {
            continue;
        }
        if options.check {
            outdated.push(path);
        } else {
            write(&file, &text)?;
            process::note(format!("codegen: wrote {path}"));
        }
    }
    if !outdated.is_empty() {
        bail!("out of date: {}; run `cargo xtask codegen` and commit the result", outdated.join(", "));
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs_err::create_dir_all(folder)?;
    }
    let temporary = path.with_extension("part");
    fs_err::write(&temporary, text)?;
    fs_err::rename(&temporary, path)?;
    Ok(())
}
