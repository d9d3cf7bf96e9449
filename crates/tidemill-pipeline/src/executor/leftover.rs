//! Process groups that outlived a killed Tidemill: noted while they run, ended by the next run.
//!
//! A note names the group with the start of its leader, the Tidemill that started it, and the boot of the machine, so
//! that a number which the system has given to somebody else since is left alone, and so is the work of another
//! Tidemill that is alive. Without `/proc` nothing is noted.

use std::path::PathBuf;

use fs_err as fs;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::Error;

#[derive(Debug)]
pub(super) struct Leftovers {
    folder: PathBuf,
}

/// A note of a running group, removed when dropped.
pub(super) struct Note(Option<PathBuf>);

impl Drop for Note {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // A note that stays names a group that is gone, which the next run finds out.
            let _ = fs::remove_file(path);
        }
    }
}

impl Leftovers {
    pub(super) const fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Notes a group. Best effort: a run does not fail because it cannot note what it started.
    pub(super) fn note(&self, group: Pid) -> Note {
        let own = rustix::process::getpid();
        let facts = (start_of(group), start_of(own), boot());
        let (Some(start), Some(own_start), Some(boot)) = facts else { return Note(None) };
        let path = self.folder.join(group.as_raw_nonzero().to_string());
        let text = format!("{start} {} {own_start} {boot}", own.as_raw_nonzero());
        let written = fs::write(&path, &text)
            .or_else(|_| fs::create_dir_all(&self.folder).and_then(|()| fs::write(&path, &text)));
        Note(written.is_ok().then_some(path))
    }

    /// Kills the noted groups that are still there and forgets all notes. Returns how many were there.
    pub(super) fn end(&self) -> Result<usize, Error> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        let mut ended = 0;
        for entry in entries {
            let path = entry?.path();
            let group = path.file_name().and_then(|name| name.to_str()?.parse().ok()).and_then(Pid::from_raw);
            let note = fs::read_to_string(&path).unwrap_or_default();
            if let (Some(group), Some(noted)) = (group, Noted::parse(&note))
                && boot().as_deref() == Some(noted.boot)
            {
                if start_of(noted.owner) == Some(noted.owner_start) {
                    continue;
                }
                // While any member lives the number is not given away, so without a leader the group is still ours.
                let ours = start_of(group).is_none_or(|start| start == noted.start);
                if ours && kill_process_group(group, Signal::KILL).is_ok() {
                    ended += 1;
                }
            }
            fs::remove_file(&path)?;
        }
        Ok(ended)
    }
}

/// The text of a note: start of the leader, the Tidemill that started it and its start, the boot.
struct Noted<'a> {
    start: u64,
    owner: Pid,
    owner_start: u64,
    boot: &'a str,
}

impl<'a> Noted<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut words = text.split(' ');
        let start = words.next()?.parse().ok()?;
        let owner = words.next()?.parse().ok().and_then(Pid::from_raw)?;
        let owner_start = words.next()?.parse().ok()?;
        Some(Self { start, owner, owner_start, boot: words.next()? })
    }
}

/// When a process started, in clock ticks since boot: field 22 of `/proc/PID/stat`, counted after the name, which
/// is in parentheses and may hold anything.
fn start_of(process: Pid) -> Option<u64> {
    let stat = fs::read(format!("/proc/{}/stat", process.as_raw_nonzero())).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(19)?.parse().ok()
}

fn boot() -> Option<String> {
    Some(fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned())
}
