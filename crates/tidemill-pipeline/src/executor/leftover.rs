//! Processes that outlived a killed Tidemill, ended by the next run before it does anything.
//!
//! A run is noted in a file before its first command starts, and every process of a command carries the run's
//! identifier in its environment. So nothing is missed, not even a command that started in the instant of the kill,
//! which may otherwise write an output while the next run reads it. The note names the Tidemill that runs, its start
//! and the boot of the machine, so that the work of one that is alive is left alone. Without `/proc` nothing is noted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use fs_err as fs;
use rustix::process::{Pid, Signal, getpid, kill_process, kill_process_group};

use super::Job;
use crate::Error;

/// The variable that says to which run a process belongs.
pub(crate) const RUN_VARIABLE: &str = "TIDEMILL_RUN_ID";

/// How long killed processes may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a process may be between two programs: while it starts another one it has, for an instant, no environment.
/// Some programs clear theirs for good, so it is not waited for without end.
const BETWEEN_PROGRAMS: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(super) struct Leftovers {
    folder: PathBuf,
    noted: Mutex<BTreeSet<PathBuf>>,
}

impl Leftovers {
    pub(super) const fn new(folder: PathBuf) -> Self {
        Self { folder, noted: Mutex::new(BTreeSet::new()) }
    }

    /// Notes the run of a job that is about to start, once.
    pub(super) fn note(&self, job: &Job) -> Result<(), Error> {
        let Some(run) = job.env.get(RUN_VARIABLE).and_then(|run| run.to_str()) else { return Ok(()) };
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.folder.join(run);
        if noted.contains(&path) {
            return Ok(());
        }
        if let (Some(start), Some(boot)) = (facts(getpid()).map(|facts| facts.start), boot()) {
            fs::create_dir_all(&self.folder)?;
            fs::write(&path, format!("{} {start} {boot}", getpid().as_raw_nonzero()))?;
            noted.insert(path);
        }
        Ok(())
    }

    /// Kills what runs of dead Tidemills left, waits until it is gone, and forgets them. Returns the number of
    /// process groups that were there.
    pub(super) fn end(&self) -> Result<usize, Error> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        let mut ended = 0;
        for entry in entries {
            let entry = entry?;
            let note = fs::read_to_string(entry.path()).unwrap_or_default();
            let noted = Noted::parse(&note);
            let here = noted.as_ref().is_some_and(|noted| boot().as_deref() == Some(noted.boot));
            if let (Some(noted), true) = (&noted, here)
                && facts(noted.owner).is_some_and(|facts| facts.start == noted.start)
            {
                continue;
            }
            // A torn note was written by a Tidemill that died while it did so.
            if here || noted.is_none() {
                ended += end_run(&entry.file_name().to_string_lossy())?;
            }
            fs::remove_file(entry.path())?;
        }
        Ok(ended)
    }
}

impl Drop for Leftovers {
    fn drop(&mut self) {
        for path in self.noted.get_mut().unwrap_or_else(PoisonError::into_inner).iter() {
            // A note that stays is found to be of no use by the next run.
            let _ = fs::remove_file(path);
        }
    }
}

/// The text of a note: the Tidemill that runs, when it started, the boot.
struct Noted<'a> {
    owner: Pid,
    start: u64,
    boot: &'a str,
}

impl<'a> Noted<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut words = text.split(' ');
        let owner = words.next()?.parse().ok().and_then(Pid::from_raw)?;
        let start = words.next()?.parse().ok()?;
        Some(Self { owner, start, boot: words.next().filter(|boot| boot.len() == 36)? })
    }
}

fn end_run(run: &str) -> Result<usize, Error> {
    let mark = format!("{RUN_VARIABLE}={run}");
    let begin = Instant::now();
    let mut killed = BTreeMap::new();
    let mut groups = BTreeSet::new();
    loop {
        let found = marked(&mark)?;
        for (process, seen) in &found.ours {
            // The one failure is that it is gone already.
            let _ = kill_process(*process, Signal::KILL);
            killed.insert(process.as_raw_nonzero(), (*process, seen.start));
            if groups.insert(seen.group.as_raw_nonzero()) {
                let _ = kill_process_group(seen.group, Signal::KILL);
            }
        }
        // A process that dies gives up its environment, and with it the mark, before its files and locks.
        killed.retain(|_, (process, start)| {
            facts(*process).is_some_and(|now| now.start == *start && !now.ended)
        });
        let unsure = found.unsure && begin.elapsed() < BETWEEN_PROGRAMS;
        if killed.is_empty() && found.ours.is_empty() && !unsure {
            return Ok(groups.len());
        }
        if begin.elapsed() >= PATIENCE {
            let first = killed.keys().next().map_or_else(String::new, |process| format!(" {process}"));
            let message = format!("process{first} of an earlier run does not end although it was killed");
            return Err(Error::Internal(message));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What [`marked`] found.
struct Marked {
    /// Living processes with the mark in their environment.
    ours: Vec<(Pid, Facts)>,
    /// There is a living process without any environment: it may be between two programs.
    unsure: bool,
}

fn marked(mark: &str) -> Result<Marked, Error> {
    let mut found = Marked { ours: Vec::new(), unsure: false };
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(process) = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else {
            continue;
        };
        // Processes of others cannot be read, and are not ours.
        let Ok(environ) = fs::read(format!("/proc/{}/environ", process.as_raw_nonzero())) else { continue };
        let ours = environ.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes());
        if !(ours || environ.is_empty()) || process == getpid() {
            continue;
        }
        match facts(process) {
            Some(facts) if facts.ended || facts.of_kernel => {}
            Some(facts) if ours => found.ours.push((process, facts)),
            Some(_) => found.unsure = true,
            None => {}
        }
    }
    Ok(found)
}

/// What `/proc/PID/stat` says of a process.
struct Facts {
    /// It has ended and waits for its parent.
    ended: bool,
    /// It is a thread of the kernel, which has no environment.
    of_kernel: bool,
    group: Pid,
    /// When it started, in clock ticks since boot.
    start: u64,
}

/// `PF_KTHREAD` of Linux's `include/linux/sched.h`.
const KERNEL_THREAD: u32 = 0x0020_0000;

/// Fields are counted after the name, which is in parentheses and may hold anything: state, parent, group, …
fn facts(process: Pid) -> Option<Facts> {
    let stat = fs::read(format!("/proc/{}/stat", process.as_raw_nonzero())).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let group = fields.get(2)?.parse().ok().and_then(Pid::from_raw)?;
    let flags: u32 = fields.get(6)?.parse().ok()?;
    Some(Facts {
        ended: matches!(*fields.first()?, "Z" | "X"),
        of_kernel: flags & KERNEL_THREAD != 0,
        group,
        start: fields.get(19)?.parse().ok()?,
    })
}

fn boot() -> Option<String> {
    Some(fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned())
}
