//! On what a session was measured: processor, memory, kernel, file system, versions.

use std::path::Path;
use std::process::Command;

use crate::process;

/// Lines that describe the machine and the programs, for the head of a session. What cannot be found out is left out.
pub(crate) fn describe(scratch: &Path) -> Vec<String> {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let mut lines = Vec::new();
    if let Some(model) = field("/proc/cpuinfo", "model name") {
        lines.push(format!("processor: {model}, {cores} cores"));
    }
    if let Some(kilobytes) =
        field("/proc/meminfo", "MemTotal").and_then(|text| text.split(' ').next()?.parse().ok())
    {
        let kilobytes: f64 = kilobytes;
        lines.push(format!("memory: {:.0} GB", kilobytes * 1024.0 / 1e9));
    }
    let kernel = process::output(Command::new("uname").arg("-sr"));
    let file_system = process::output(Command::new("stat").args(["-f", "-c", "%T"]).arg(scratch));
    if let (Ok(kernel), Ok(file_system)) = (kernel, file_system) {
        lines.push(format!("system: {}, {} for the data", kernel.trim(), file_system.trim()));
    }
    if let Some(load) =
        fs_err::read_to_string("/proc/loadavg").ok().as_deref().and_then(|text| text.split(' ').next())
    {
        lines.push(format!("load average at the start: {load}"));
    }
    lines
}

/// Today's date in UTC as `date` prints it.
pub(crate) fn today() -> String {
    process::output(Command::new("date").args(["-u", "+%Y-%m-%d"]))
        .map_or_else(|_| "undated".to_owned(), |text| text.trim().to_owned())
}

/// The value after `name` and a colon in a file of `/proc`.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs_err::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
