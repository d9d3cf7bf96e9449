//! The limit of durable writes: what it takes the disk to keep them.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::bench::measure::Sample;
use crate::bench::report::Line;
use crate::bench::server::own_cpu;
use crate::bench::session::Session;

/// What SQLite writes for one changed page.
const FRAME: usize = 24 + 4096;
/// The file is written over and over, as a write-ahead log is.
const FRAMES: u64 = 4096;

/// Syncs of one page, one after the other, for a thousand writes of so many clients: each of them waits for its write to be on
/// the disk, so no more than one of each is in a sync.
pub(super) fn limit(session: &Session, clients: usize) -> Result<Line> {
    let path = session.scratch.join("disk-limit");
    let frame = [1_u8; FRAME];
    let mut file = fs_err::OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
    for _ in 0..FRAMES {
        file.write_all(&frame)?;
    }
    file.sync_all()?;
    let mut samples = Vec::new();
    for _ in 0..session.repeat {
        let (time, begin, own) = (Duration::from_millis(session.size(3000, 100)), Instant::now(), own_cpu()?);
        let mut syncs = 0_u64;
        while begin.elapsed() < time {
            file.seek(SeekFrom::Start(syncs % FRAMES * FRAME as u64))?;
            file.write_all(&frame)?;
            file.sync_data()?;
            syncs += 1;
        }
        ensure!(syncs > 0, "the disk synced nothing within {time:?}");
        let share = 1000.0 / clients as f64 / syncs as f64;
        let (wall, cpu) = (begin.elapsed().as_secs_f64() * share, (own_cpu()? - own) * share);
        samples.push(Sample { wall, cpu, peak: 0 });
    }
    drop(file);
    fs_err::remove_file(&path)?;
    let note = "the limit: a sync of one page for a write of each client".to_owned();
    Ok(Line { tool: "disk".to_owned(), samples, note })
}
