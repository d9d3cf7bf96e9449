//! CPU time and memory of a process and everything it started, as the kernel counts them in `/proc`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// How often memory is looked at where several processes share it.
const LOOK: Duration = Duration::from_millis(250);

/// A process and its descendants.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tree {
    root: u32,
}

/// Looks at a tree until it is told to end.
pub(crate) struct Watch {
    tree: Tree,
    cpu: f64,
    ends: Arc<AtomicBool>,
    most: Arc<Mutex<u64>>,
    thread: JoinHandle<()>,
}

impl Tree {
    /// The tree below process `root`.
    pub(crate) fn of(root: u32) -> Self {
        Self { root }
    }

    /// The processes that are there now.
    pub(crate) fn members(self) -> Vec<u32> {
        let mut parents: Vec<(u32, u32)> = Vec::new();
        for entry in fs_err::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            if let Some(parent) = stat(process).and_then(|fields| fields.get(1)?.parse().ok()) {
                parents.push((process, parent));
            }
        }
        let mut members = vec![self.root];
        let mut seen = 0;
        while seen < members.len() {
            let parent = members[seen];
            members.extend(parents.iter().filter(|(_, above)| *above == parent).map(|(process, _)| *process));
            seen += 1;
        }
        members
    }

    /// Seconds of CPU since the start, of all members and of those of their children that have ended.
    pub(crate) fn cpu(self) -> Result<f64> {
        let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.context("no clock ticks")?;
        let of = |process| {
            let fields = stat(process)?;
            // utime, stime, cutime and cstime are fields 14 to 17 of the line, the state is field 3.
            fields.get(11..15)?.iter().map(|field| field.parse::<u64>().ok()).sum::<Option<u64>>()
        };
        let sum: u64 = self.members().into_iter().filter_map(of).sum();
        Ok(sum as f64 / ticks as f64)
    }

    /// Bytes of memory now. What several processes share is counted once.
    pub(crate) fn memory(self) -> u64 {
        self.members()
            .into_iter()
            .filter_map(|process| kilobytes(process, "smaps_rollup", "Pss:"))
            .sum::<u64>()
            * 1024
    }

    /// Begins to count.
    pub(crate) fn watch(self) -> Result<Watch> {
        // Sets the kernel's own record of the largest resident set back.
        for process in self.members() {
            let _ = fs_err::write(format!("/proc/{process}/clear_refs"), "5");
        }
        let (ends, most) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(0)));
        let (until, record) = (ends.clone(), most.clone());
        let thread = std::thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                let now = self.memory();
                let mut most = record.lock().unwrap_or_else(PoisonError::into_inner);
                *most = now.max(*most);
                drop(most);
                std::thread::park_timeout(LOOK);
            }
        });
        Ok(Watch { tree: self, cpu: self.cpu()?, ends, most, thread })
    }
}

impl Watch {
    /// Seconds of CPU and the largest memory in bytes since the beginning.
    pub(crate) fn end(self) -> Result<(f64, u64)> {
        let cpu = self.tree.cpu()? - self.cpu;
        self.ends.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        self.thread.join().ok().context("looking at memory panicked")?;
        let looked = *self.most.lock().unwrap_or_else(PoisonError::into_inner);
        // A process alone has a record of the kernel, which misses nothing.
        let recorded = match self.tree.members().as_slice() {
            [alone] => kilobytes(*alone, "status", "VmHWM:").unwrap_or(0) * 1024,
            _ => 0,
        };
        Ok((cpu, looked.max(recorded)))
    }
}

/// The fields of `/proc/PROCESS/stat` from the state on: the name before it may contain anything.
fn stat(process: u32) -> Option<Vec<String>> {
    let text = fs_err::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

/// A line of a file of `/proc/PROCESS` which holds kilobytes.
fn kilobytes(process: u32, file: &str, name: &str) -> Option<u64> {
    let text = fs_err::read_to_string(format!("/proc/{process}/{file}")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_cpu_and_memory() {
        let tree = Tree::of(std::process::id());
        assert!(tree.members().contains(&std::process::id()));
        let watch = tree.watch().unwrap();
        let mut block = vec![1_u8; 30_000_000];
        let (begin, before) = (std::time::Instant::now(), tree.cpu().unwrap());
        // However little of the machine there is for this process.
        while tree.cpu().unwrap() - before < 0.1 && begin.elapsed() < Duration::from_mins(1) {
            block.rotate_left(1);
        }
        let (cpu, peak) = watch.end().unwrap();
        assert!(cpu >= 0.05, "{cpu}");
        assert!(peak > 30_000_000 && block.len() == 30_000_000, "{peak}");
    }
}
