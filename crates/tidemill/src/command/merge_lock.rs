//! `tidemill merge-lock`: Git's merge driver for `tidemill.lock`, which merges step by step.

use tidemill_pipeline::Lock;

use crate::app::LOCK_FILE;
use crate::cli::MergeLock;
use crate::failure::{Exit, Said};
use crate::output::Console;

pub(crate) fn run(args: &MergeLock, console: &Console) -> anyhow::Result<()> {
    let read = |path: &std::path::Path| -> anyhow::Result<Lock> {
        Ok(Lock::parse(&path.display().to_string(), &fs_err::read(path)?)?)
    };
    let merge = Lock::merge(&read(&args.base)?, &read(&args.ours)?, &read(&args.theirs)?);
    fs_err::write(&args.ours, merge.lock.render())?;
    if merge.conflicts.is_empty() {
        return Ok(());
    }
    console.warn(format!("{LOCK_FILE}: both sides changed {}; kept ours", merge.conflicts.join(", ")));
    console.hint("`tidemill run` brings these steps up to date and writes the lock file anew");
    Err(Said(Exit::Failed).into())
}
