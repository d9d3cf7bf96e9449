//! System metrics: what the machine and a step's processes use, under the names that MLflow's pages know.
//!
//! Reading is here; when it is read and where it goes is the tracker's matter. Names without a step in them speak of
//! the whole machine, as in MLflow; those that begin with `system/step_` of the step's own processes.

use std::collections::BTreeMap;
use std::time::Instant;

use sysinfo::{
    CpuRefreshKind, DiskRefreshKind, Disks, MemoryRefreshKind, Networks, ProcessRefreshKind,
    ProcessesToUpdate, System, UpdateKind,
};

use super::gpu::Gpus;

/// A measured value and its name.
pub(crate) type Reading = (String, f64);

/// MLflow counts a megabyte as a million bytes.
pub(super) const MEGABYTE: f64 = 1e6;

/// What is read again and again. Rates are since the reading before.
pub(crate) struct Machine {
    system: System,
    disks: Disks,
    networks: Networks,
    /// Bytes received and sent since the first reading.
    network: (u64, u64),
    gpus: Gpus,
}

impl Machine {
    /// Takes the first reading, which later rates are measured against.
    pub(crate) fn new() -> Self {
        let mut machine = Self {
            system: System::new(),
            disks: Disks::new_with_refreshed_list_specifics(DiskRefreshKind::nothing().with_storage()),
            networks: Networks::new_with_refreshed_list(),
            network: (0, 0),
            gpus: Gpus::default(),
        };
        machine.system.refresh_cpu_specifics(CpuRefreshKind::nothing().with_cpu_usage());
        machine.refresh_processes();
        machine
    }

    fn refresh_processes(&mut self) {
        let kind =
            ProcessRefreshKind::nothing().with_cpu().with_memory().with_environ(UpdateKind::OnlyIfNotSet);
        self.system.refresh_processes_specifics(ProcessesToUpdate::All, true, kind);
    }

    /// The machine as a whole.
    pub(crate) fn read(&mut self) -> Vec<Reading> {
        self.system.refresh_cpu_specifics(CpuRefreshKind::nothing().with_cpu_usage());
        self.system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        self.disks.refresh_specifics(false, DiskRefreshKind::nothing().with_storage());
        self.networks.refresh(false);
        self.refresh_processes();
        for network in self.networks.list().values() {
            self.network.0 += network.received();
            self.network.1 += network.transmitted();
        }
        let mut readings = Vec::with_capacity(10);
        let mut add = |name: &str, value: f64| readings.push((format!("system/{name}"), value));
        add("cpu_utilization_percentage", f64::from(self.system.global_cpu_usage()));
        let (used, total) = (self.system.used_memory() as f64, self.system.total_memory() as f64);
        add("system_memory_usage_megabytes", used / MEGABYTE);
        add("system_memory_usage_percentage", share(used, total));
        let disk = self.disks.list().iter().max_by_key(|disk| {
            // The file system that holds the project: the longest mount point that the current folder lies below.
            let here = std::env::current_dir().unwrap_or_default();
            if here.starts_with(disk.mount_point()) { disk.mount_point().as_os_str().len() + 1 } else { 0 }
        });
        if let Some(disk) = disk {
            let (free, total) = (disk.available_space() as f64, disk.total_space() as f64);
            add("disk_usage_megabytes", (total - free) / MEGABYTE);
            add("disk_usage_percentage", share(total - free, total));
            add("disk_available_megabytes", free / MEGABYTE);
        }
        add("network_receive_megabytes", self.network.0 as f64 / MEGABYTE);
        add("network_transmit_megabytes", self.network.1 as f64 / MEGABYTE);
        readings.extend(self.gpus.read());
        readings
    }

    /// The processes of the step `step` of the run `run`, told by the variables that each of them inherits; for a step
    /// that runs inside of this process, this one.
    pub(crate) fn read_step(&self, run: &str, step: &str, inside: bool) -> Vec<Reading> {
        let (run, step) = (format!("TIDEMILL_RUN_ID={run}"), format!("TIDEMILL_STEP={step}"));
        let own = sysinfo::get_current_pid().ok();
        let has = |process: &sysinfo::Process, wanted: &str| {
            process.environ().iter().any(|variable| variable.to_str() == Some(wanted))
        };
        let mut memory = 0;
        let mut cpu = 0.0;
        let mut count = 0;
        for (id, process) in self.system.processes() {
            // Threads are listed as processes of their own, with the memory of all.
            if process.thread_kind().is_some() {
                continue;
            }
            let ours = if inside { Some(*id) == own } else { has(process, &run) && has(process, &step) };
            if ours {
                memory += process.memory();
                cpu += f64::from(process.cpu_usage());
                count += 1;
            }
        }
        if count == 0 {
            return Vec::new();
        }
        vec![
            ("system/step_cpu_utilization_percentage".to_owned(), cpu),
            ("system/step_memory_megabytes".to_owned(), memory as f64 / MEGABYTE),
            ("system/step_processes".to_owned(), f64::from(count)),
        ]
    }
}

pub(super) fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { 100.0 * part / whole } else { 0.0 }
}

/// The highest of each step metric, for the end of a step.
#[derive(Debug, Default)]
pub(crate) struct Peaks(BTreeMap<String, f64>);

impl Peaks {
    /// Takes readings of a step.
    pub(crate) fn see(&mut self, readings: &[Reading]) {
        for (name, value) in readings {
            let peak = self.0.entry(name.clone()).or_insert(f64::MIN);
            *peak = peak.max(*value);
        }
    }

    /// `NAME_peak` of each.
    pub(crate) fn readings(&self) -> Vec<Reading> {
        self.0.iter().map(|(name, value)| (format!("{name}_peak"), *value)).collect()
    }
}

/// When a step is sampled: often at first, so that short steps have a curve, then every ten seconds as MLflow does.
#[derive(Debug)]
pub(crate) struct Rhythm {
    started: Instant,
    next: Instant,
}

impl Rhythm {
    const OFTEN: std::time::Duration = std::time::Duration::from_secs(1);
    const SELDOM: std::time::Duration = std::time::Duration::from_secs(10);

    /// A step begins now.
    pub(crate) fn new(now: Instant) -> Self {
        Self { started: now, next: now + Self::OFTEN }
    }

    /// Whether it is time; sets the next one.
    pub(crate) fn due(&mut self, now: Instant) -> bool {
        if now < self.next {
            return false;
        }
        let young = now.duration_since(self.started) < 3 * Self::SELDOM;
        self.next = now + if young { Self::OFTEN } else { Self::SELDOM };
        true
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_machine_has_sensible_numbers() {
        let mut machine = Machine::new();
        let readings: BTreeMap<String, f64> = machine.read().into_iter().collect();
        let percent = readings["system/system_memory_usage_percentage"];
        assert!(percent > 0.0 && percent <= 100.0, "{readings:?}");
        assert!(readings["system/disk_available_megabytes"] > 0.0, "{readings:?}");
        assert!(readings.contains_key("system/network_receive_megabytes"), "{readings:?}");
        let own: BTreeMap<String, f64> = machine.read_step("-", "-", true).into_iter().collect();
        assert_eq!(own["system/step_processes"], 1.0);
        assert!(own["system/step_memory_megabytes"] > 1.0, "{own:?}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn processes_of_a_step_are_found_by_what_they_inherit() {
        let mut child = Command::new("sh")
            .args(["-c", "sleep 30 & exec sleep 30"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .env("TIDEMILL_RUN_ID", "r")
            .env("TIDEMILL_STEP", "a=b")
            .spawn()
            .unwrap();
        let mut machine = Machine::new();
        let until = Instant::now() + Duration::from_secs(10);
        let found = loop {
            machine.read();
            let found: BTreeMap<String, f64> = machine.read_step("r", "a=b", false).into_iter().collect();
            if found.get("system/step_processes") == Some(&2.0) || Instant::now() > until {
                break found;
            }
        };
        assert_eq!(machine.read_step("r", "a", false), []);
        let group = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
        child.wait().unwrap();
        assert_eq!(found["system/step_processes"], 2.0);
    }

    #[test]
    fn a_long_step_is_sampled_less_often() {
        let start = Instant::now();
        let mut rhythm = Rhythm::new(start);
        let samples = (0..1200).filter(|tenth| rhythm.due(start + Duration::from_millis(100 * tenth)));
        assert_eq!(samples.count(), 29 + 9);
    }

    #[test]
    fn peaks_are_the_highest() {
        let mut peaks = Peaks::default();
        peaks.see(&[("a".to_owned(), 1.0)]);
        peaks.see(&[("a".to_owned(), 3.0), ("b".to_owned(), -1.0)]);
        peaks.see(&[("a".to_owned(), 2.0)]);
        assert_eq!(peaks.readings(), [("a_peak".to_owned(), 3.0), ("b_peak".to_owned(), -1.0)]);
    }
}
