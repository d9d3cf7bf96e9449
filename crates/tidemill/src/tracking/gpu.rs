//! What GPUs do, as `nvidia-smi` tells it. A driver that hangs must not take the other readings along, and one call that
//! fails must not end all later ones.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::system::{MEGABYTE, Reading, share};

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(2);
/// When it is tried again after a failure.
const PAUSE: Duration = Duration::from_secs(60);
/// How often it is looked whether there is an answer.
const LOOK: Duration = Duration::from_millis(5);

/// The GPUs of the machine.
pub(super) struct Gpus {
    program: PathBuf,
    limit: Duration,
    pause: Duration,
    /// There is no such program.
    absent: bool,
    /// Not asked before this.
    next: Option<Instant>,
    /// Gave no answer in time and has not ended yet; the system may be unable to end it.
    hung: Option<Child>,
}

impl Default for Gpus {
    fn default() -> Self {
        Self::of("nvidia-smi", LIMIT, PAUSE)
    }
}

impl Gpus {
    fn of(program: impl Into<PathBuf>, limit: Duration, pause: Duration) -> Self {
        Self { program: program.into(), limit, pause, absent: false, next: None, hung: None }
    }

    /// What they do now; nothing where that cannot be told.
    pub(super) fn read(&mut self) -> Vec<Reading> {
        if let Some(child) = &mut self.hung {
            if matches!(child.try_wait(), Ok(None)) {
                return Vec::new();
            }
            self.hung = None;
        }
        if self.absent || self.next.is_some_and(|next| Instant::now() < next) {
            return Vec::new();
        }
        match self.ask() {
            Ok(text) => {
                self.next = None;
                readings(&text)
            }
            Err(error) => {
                self.absent = error.kind() == std::io::ErrorKind::NotFound;
                self.next = Some(Instant::now() + self.pause);
                Vec::new()
            }
        }
    }

    fn ask(&mut self) -> std::io::Result<String> {
        let mut child = Command::new(&self.program)
            .arg("--query-gpu=index,utilization.gpu,memory.used,memory.total,power.draw,power.limit")
            .arg("--format=csv,noheader,nounits")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let until = Instant::now() + self.limit;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if Instant::now() >= until {
                // Waiting for its end might take as long as it hangs.
                drop(child.kill());
                self.hung = Some(child);
                return Err(std::io::ErrorKind::TimedOut.into());
            }
            std::thread::sleep(LOOK);
        };
        if !status.success() {
            return Err(std::io::Error::other("it failed"));
        }
        // A few lines, which the pipe held until now.
        let mut text = String::new();
        if let Some(mut output) = child.stdout.take() {
            output.read_to_string(&mut text)?;
        }
        Ok(text)
    }
}

/// One line per GPU: index, utilisation in percent, memory used and total in MiB, power drawn and allowed in W. What a
/// GPU does not know (`[N/A]`) is left out.
fn readings(text: &str) -> Vec<Reading> {
    const MEBIBYTE: f64 = 1_048_576.0;
    let mut readings = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let [index, utilisation, used, total, power, limit] = fields[..] else { continue };
        let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
        let mut add = |name: &str, value: Option<f64>| {
            readings.extend(value.map(|value| (format!("system/gpu_{index}_{name}"), value)));
        };
        let percent = |part: Option<f64>, whole: Option<f64>| Some(share(part?, whole?));
        add("utilization_percentage", number(utilisation));
        add("memory_usage_megabytes", number(used).map(|used| used * MEBIBYTE / MEGABYTE));
        add("memory_usage_percentage", percent(number(used), number(total)));
        add("power_usage_watts", number(power));
        add("power_usage_percentage", percent(number(power), number(limit)));
    }
    readings
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use super::*;

    fn program(folder: &Path, script: &str) -> PathBuf {
        let path = folder.join("nvidia-smi");
        // Written beside and renamed: a file that is open for writing cannot be started.
        fs_err::write(folder.join("new"), format!("#!/bin/sh\n{script}\n")).unwrap();
        fs_err::set_permissions(folder.join("new"), std::fs::Permissions::from_mode(0o755)).unwrap();
        fs_err::rename(folder.join("new"), &path).unwrap();
        path
    }

    #[test]
    fn gpus_are_read_as_far_as_they_tell() {
        let readings = readings("0, 35, 1024, 24576, 71.50, 350.00\n1, [N/A], 0, 24576, [N/A], [N/A]\n");
        let names: Vec<&str> = readings.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "system/gpu_0_utilization_percentage",
                "system/gpu_0_memory_usage_megabytes",
                "system/gpu_0_memory_usage_percentage",
                "system/gpu_0_power_usage_watts",
                "system/gpu_0_power_usage_percentage",
                "system/gpu_1_memory_usage_megabytes",
                "system/gpu_1_memory_usage_percentage",
            ]
        );
        assert_eq!(readings[1].1, 1024.0 * 1.048_576);
        assert_eq!(super::readings("No devices were found"), []);
    }

    #[test]
    fn a_call_that_failed_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut gpus = Gpus::of(program(folder.path(), "exit 9"), LIMIT, Duration::ZERO);
        assert_eq!(gpus.read(), []);
        program(folder.path(), "echo '0, 35, 0, 1, 1, 1'");
        assert_eq!(gpus.read()[0], ("system/gpu_0_utilization_percentage".to_owned(), 35.0));
        // With a pause it is not asked each time.
        gpus.pause = Duration::from_secs(60);
        program(folder.path(), "exit 9");
        assert_eq!(gpus.read(), []);
        program(folder.path(), "echo '0, 35, 0, 1, 1, 1'");
        assert_eq!(gpus.read(), []);
        let mut none = Gpus::of(folder.path().join("none"), LIMIT, Duration::ZERO);
        assert_eq!(none.read(), []);
        assert!(none.absent);
    }

    #[test]
    fn a_driver_that_hangs_holds_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let hanging = program(folder.path(), "exec sleep 60");
        let mut gpus = Gpus::of(hanging, Duration::from_millis(50), Duration::ZERO);
        let begun = Instant::now();
        assert_eq!(gpus.read(), []);
        assert!(gpus.hung.is_some());
        program(folder.path(), "echo '0, 35, 0, 1, 1, 1'");
        gpus.limit = Duration::from_secs(5);
        while gpus.read().is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(10), "it is asked again once it has ended");
            std::thread::sleep(LOOK);
        }
    }
}
