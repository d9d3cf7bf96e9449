//! Running other programs and talking to the person at the terminal.
//!
//! Progress goes to stderr and results to stdout, as everywhere in Tidemill. Nothing here interprets output.

use std::ffi::OsStr;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// Writes one progress line to stderr. A closed stderr is not an error of the task at hand.
pub fn note(text: impl AsRef<str>) {
    let _ = writeln!(std::io::stderr(), "{}", text.as_ref());
}

/// Writes one line of results to stdout.
pub fn say(text: impl AsRef<str>) -> Result<()> {
    writeln!(std::io::stdout(), "{}", text.as_ref()).context("cannot write to stdout")
}

/// The command line of `command` as a person would type it, for messages.
pub fn shown(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for arg in command.get_args() {
        let arg = arg.to_string_lossy();
        let plain =
            !arg.is_empty() && arg.chars().all(|c| c.is_ascii_alphanumeric() || "-_./=:@,+".contains(c));
        text.push(' ');
        if plain {
            text.push_str(&arg);
        } else {
            text.push('\'');
            text.push_str(&arg.replace('\'', r"'\''"));
            text.push('\'');
        }
    }
    text
}

/// The cargo that runs us, or the one on `PATH`, without what it told us of our own package. Build scripts that look at that (the one of
/// `ring`) would run again after each change between `cargo xtask` and a cargo from a shell, and whatever needs them, which is most
/// of the workspace, would be compiled again.
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    std::env::vars_os().filter(|(name, _)| is_of_our_package(name)).for_each(|(name, _)| {
        cargo.env_remove(name);
    });
    cargo
}

fn is_of_our_package(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|of| name.starts_with(of)))
}

/// Runs `command` with its output passed through, and fails when it does.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", shown(command));
    }
    Ok(())
}

/// Runs `command` and returns its stdout; on failure the error carries the last lines of its stderr.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed: {}\n{}", shown(command), output.status, last_lines(&stderr, 20));
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("`{}` printed bytes that are not text", shown(command)))
}

/// Whether `program` can be started at all with `arg` (usually `--version`).
pub fn available(program: &str, arg: &str) -> bool {
    Command::new(program)
        .arg(arg)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// A duration as a person reads it: `0.8 s`, `42 s`, `3 min 05 s`.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 10.0 {
        format!("{seconds:.1} s")
    } else if seconds < 119.5 {
        format!("{seconds:.0} s")
    } else {
        let whole = seconds.round() as u64;
        format!("{} min {:02} s", whole / 60, whole % 60)
    }
}

/// The last `count` lines of `text`.
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_readable() {
        for (millis, expected) in
            [(0, "0.0 s"), (840, "0.8 s"), (42_000, "42 s"), (119_600, "2 min 00 s"), (185_000, "3 min 05 s")]
        {
            assert_eq!(duration(Duration::from_millis(millis)), expected);
        }
    }

    #[test]
    fn cargo_is_not_told_of_our_package() {
        for (name, expected) in
            [("CARGO_PKG_NAME", true), ("CARGO_MANIFEST_DIR", true), ("CARGO_HOME", false)]
        {
            assert_eq!(is_of_our_package(OsStr::new(name)), expected, "{name}");
        }
        let cargo = cargo();
        let removed = cargo.get_envs().filter(|(_, value)| value.is_none()).count();
        assert_eq!(removed, std::env::vars_os().filter(|(name, _)| is_of_our_package(name)).count());
    }

    #[test]
    fn shown_commands_can_be_pasted_into_a_shell() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo it's", "a.b", ""]);
        assert_eq!(shown(&command), r"sh -c 'echo it'\''s' a.b ''");
    }
}
