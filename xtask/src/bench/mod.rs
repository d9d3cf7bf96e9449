//! `cargo xtask bench`: Tidemill and its peers on the same tasks, in one session, in turns.
//!
//! A case is a function from a `Session` to rows; each row has its own bars. Results are printed and, for full
//! sizes, appended to `docs/benchmarks.md` together with the machine and the versions.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::workspace::Profile;
use crate::{process, workspace};

pub mod measure;

mod cases;
mod inputs;
mod machine;
mod peers;
mod report;
mod server;
mod session;

use cases::{CASES, Case};
use peers::{Environment, Peers};
use report::Row;
use session::Session;

/// Where results of full sessions go.
const RESULTS: &str = "docs/benchmarks.md";

/// Options of `cargo xtask bench`.
#[derive(Debug, Default, Args)]
pub struct Options {
    /// Cases to measure, alone or by the word before the dash; all where none is named
    #[arg(value_name = "CASE", value_parser = names())]
    pub cases: Vec<String>,
    /// Tiny inputs and one repetition: shows that the cases work; nothing is recorded
    #[arg(long)]
    pub smoke: bool,
    /// Measure Tidemill alone
    #[arg(long)]
    pub no_peers: bool,
    /// How often each tool takes its turn
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub repeat: usize,
    /// Where the data goes; the system's temporary folder where not given
    #[arg(long, value_name = "DIR")]
    pub scratch: Option<PathBuf>,
    /// Measure this binary instead of building one
    #[arg(long, value_name = "FILE")]
    pub binary: Option<PathBuf>,
    /// Print rows as JSON
    #[arg(long)]
    pub json: bool,
    /// Do not append the results to docs/benchmarks.md
    #[arg(long)]
    pub no_record: bool,
}

/// Measures the cases, prints the rows and records them.
pub fn run(root: &Path, options: &Options) -> Result<()> {
    let cases: Vec<&Case> = CASES.iter().filter(|case| selected(case, &options.cases)).collect();
    let wanted: Vec<Environment> = cases.iter().map(|case| case.peers).collect();
    let needs_nothing = wanted.iter().all(|wanted| *wanted == Environment::Rules);
    let ours = match &options.binary {
        Some(path) => fs_err::canonicalize(path)?,
        None if needs_nothing => PathBuf::new(),
        None => workspace::binary(root, if options.smoke { Profile::Dev } else { Profile::Release })?,
    };
    let peers = if options.no_peers || needs_nothing { None } else { Some(Peers::prepare(root, &wanted)?) };
    let session_of = |scratch: &Path| Session {
        root: root.to_path_buf(),
        scratch: scratch.to_path_buf(),
        ours: ours.clone(),
        peers: peers.clone(),
        repeat: if options.smoke { 1 } else { options.repeat.max(1) },
        smoke: options.smoke,
    };
    let rows = in_scratch(options.scratch.as_deref(), |scratch| {
        let head = machine::describe(scratch);
        let rows = measure_cases(&session_of(scratch), &cases)?;
        Ok((head, rows))
    })?;
    let (mut head, rows) = rows;
    head.extend(peers.as_ref().map(|peers| format!("peers: {}", peers.versions())));
    head.push(format!("command: `{}`", command_line(options)));

    if options.json {
        process::say(serde_json::to_string_pretty(&rows)?)?;
    } else {
        process::say(report::markdown(&rows))?;
    }
    if !options.smoke && !options.no_record {
        record(root, &head, &rows)?;
    }
    Ok(())
}

fn in_scratch<T>(parent: Option<&Path>, work: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("tidemill-bench-");
    let folder = match parent {
        Some(parent) => builder.tempdir_in(parent),
        None => builder.tempdir(),
    };
    let folder = folder.context("cannot make a folder for the data")?;
    // Symbolic links in the path would make two names for one file.
    let path = fs_err::canonicalize(folder.path())?;
    work(&path)
}

/// Words before the dash that select several cases.
const GROUPS: [&str; 3] = ["server", "serve", "postgres"];

fn names() -> Vec<&'static str> {
    CASES.iter().map(|case| case.name).chain(GROUPS).collect()
}

/// Whether a case is named, alone or by its group; all are where nothing is.
fn selected(case: &Case, names: &[String]) -> bool {
    let group = case.name.split_once('-').map_or(case.name, |(group, _)| group);
    let by_group = |name: &str| GROUPS.contains(&name) && name == group;
    names.is_empty() || names.iter().any(|name| name == case.name || by_group(name))
}

fn measure_cases(session: &Session, cases: &[&Case]) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for case in cases {
        process::note(format!("bench: {}", case.name));
        let found = (case.measure)(session).with_context(|| format!("case `{}`", case.name))?;
        if found.is_empty() {
            bail!("case `{}` measured nothing", case.name);
        }
        rows.extend(found);
    }
    Ok(rows)
}

/// Appends a session to the results.
fn record(root: &Path, head: &[String], rows: &[Row]) -> Result<()> {
    let path = root.join(RESULTS);
    let before = fs_err::read_to_string(&path).unwrap_or_else(|_| "# Benchmarks\n".to_owned());
    let facts: Vec<String> = head.iter().map(|line| format!("- {line}\n")).collect();
    let table = report::markdown(rows);
    let text = format!("{before}\n## {}\n\n{}\n{}\n", machine::today(), facts.concat(), table.trim_end());
    fs_err::write(&path, text)?;
    process::note(format!("bench: appended to {RESULTS}"));
    Ok(())
}

/// The command that measures the same again.
fn command_line(options: &Options) -> String {
    let mut text = "cargo xtask bench".to_owned();
    for case in &options.cases {
        text.push(' ');
        text.push_str(case);
    }
    if options.no_peers {
        text.push_str(" --no-peers");
    }
    format!("{text} --repeat {}", options.repeat)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_selected_by_name_and_by_group() {
        let chosen = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            CASES.iter().filter(|case| selected(case, &names)).map(|case| case.name).collect::<Vec<_>>()
        };
        assert_eq!(chosen(&[]).len(), CASES.len());
        assert_eq!(chosen(&["steps"]), ["steps"]);
        let server = chosen(&["server"]);
        let serve = chosen(&["serve"]);
        assert!(serve.len() == 7 && serve.iter().all(|name| name.starts_with("serve-")), "{serve:?}");
        assert!(server.len() > 3 && server.iter().all(|name| name.starts_with("server-")), "{server:?}");
    }
}
