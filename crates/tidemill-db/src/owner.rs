//! Which process owns a running pipeline run, so that a crashed one can be told from a slow one.

use serde::{Deserialize, Serialize};

/// A process, named so that it cannot be mistaken for a later one with the same number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The machine's name.
    pub host: String,
    /// The process number.
    pub pid: u32,
    /// The kernel's boot id; empty where the system has none.
    pub boot: String,
    /// The process's start time in clock ticks after boot; 0 where it cannot be read.
    pub started: u64,
}

impl Owner {
    /// This process.
    pub fn current() -> Self {
        let pid = std::process::id();
        Self {
            host: read("/proc/sys/kernel/hostname"),
            pid,
            boot: read("/proc/sys/kernel/random/boot_id"),
            started: start_ticks(pid).unwrap_or(0),
        }
    }

    /// Whether the process still runs. `None` where it cannot be known: it belongs to another machine, or this
    /// system has no `/proc`.
    pub fn is_alive(&self) -> Option<bool> {
        let here = Self::current();
        if here.boot.is_empty() || self.host != here.host {
            return None;
        }
        if self.boot != here.boot {
            return Some(false);
        }
        Some(start_ticks(self.pid).is_some_and(|started| started == self.started))
    }
}

fn read(path: &str) -> String {
    fs_err::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}

/// Field 22 of `/proc/PID/stat` (proc_pid_stat(5)); `None` for a process that is gone or only waits to be reaped.
fn start_ticks(pid: u32) -> Option<u64> {
    let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses and may itself contain spaces and parentheses.
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    if matches!(*fields.first()?, "Z" | "X") {
        return None;
    }
    fields.get(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_a_reused_number_is_not() {
        let me = Owner::current();
        assert!(me.started > 0 && !me.boot.is_empty() && !me.host.is_empty(), "{me:?}");
        assert_eq!(me.is_alive(), Some(true));
        assert_eq!(Owner { started: me.started + 1, ..me.clone() }.is_alive(), Some(false));
        assert_eq!(Owner { boot: "another".to_owned(), ..me.clone() }.is_alive(), Some(false));
        assert_eq!(Owner { host: "another".to_owned(), ..me }.is_alive(), None);
    }

    #[test]
    fn a_child_that_ended_is_not_alive() -> std::io::Result<()> {
        let mut child = std::process::Command::new("sleep").arg("60").spawn()?;
        let owner =
            Owner { pid: child.id(), started: start_ticks(child.id()).unwrap_or(0), ..Owner::current() };
        assert_eq!(owner.is_alive(), Some(true));
        child.kill()?;
        child.wait()?;
        assert_eq!(owner.is_alive(), Some(false));
        Ok(())
    }
}
