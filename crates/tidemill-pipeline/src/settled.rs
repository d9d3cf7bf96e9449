//! Whether a folder is still as it was when it was looked at.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use fs_err as fs;

/// File systems note times in steps; a folder that changed so shortly before it was looked at may have changed once more within
/// the same step.
pub(crate) const SETTLED: Duration = Duration::from_millis(50);

/// Device, inode and the time of the last change, in seconds and nanoseconds.
pub(crate) type Stamp = (u64, u64, i64, i64);

/// By which a folder whose entries changed is told; none if they changed just now or it cannot be read.
#[expect(clippy::disallowed_methods, reason = "compared with what the file system noted, never stored")]
pub(crate) fn settled(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    let changed = metadata.modified().ok()?;
    let is_settled = SystemTime::now().duration_since(changed).is_ok_and(|age| age > SETTLED);
    is_settled.then(|| (metadata.dev(), metadata.ino(), metadata.mtime(), metadata.mtime_nsec()))
}
