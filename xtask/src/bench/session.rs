//! One session: the binary, the peers, a scratch folder, and the loop that lets tools take turns.
//!
//! Every repetition runs all tools one after the other, so that a slow minute of the machine hits all of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::bench::inputs;
use crate::bench::measure::{Sample, measure};
use crate::bench::peers::Peers;
use crate::bench::report::{Line, Row};
use crate::process;

/// What every case works with.
#[derive(Debug)]
pub(crate) struct Session {
    /// The repository.
    pub(crate) root: PathBuf,
    /// An empty folder for data and projects.
    pub(crate) scratch: PathBuf,
    /// The binary `tidemill` under measurement.
    pub(crate) ours: PathBuf,
    /// The peers; `None` measures Tidemill alone.
    pub(crate) peers: Option<Peers>,
    /// How often each tool takes its turn.
    pub(crate) repeat: usize,
    /// Tiny inputs, which show that a case works and nothing else.
    pub(crate) smoke: bool,
}

impl Session {
    /// `full`, or `tiny` in a smoke run.
    pub(crate) fn size(&self, full: u64, tiny: u64) -> u64 {
        if self.smoke { tiny } else { full }
    }

    /// A new empty folder in the scratch folder.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.scratch.join(name);
        inputs::remove(&folder)?;
        fs_err::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// A new Tidemill project with this text after its name.
    pub(crate) fn project(&self, name: &str, text: &str) -> Result<PathBuf> {
        let folder = self.folder(name)?;
        fs_err::write(folder.join("tidemill.yaml"), format!("project: bench\n{text}"))?;
        Ok(folder)
    }

    /// `tidemill` with these arguments in a project.
    pub(crate) fn tidemill(&self, project: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.ours);
        command.current_dir(project).args(arguments);
        command
    }

    /// Lets the tools take turns and collects what they used.
    pub(crate) fn alternate(&self, scenarios: &[Scenario<'_>]) -> Result<Measured> {
        self.take_turns(self.repeat, scenarios)
    }

    /// As [`Self::alternate`], with so many turns for each tool.
    pub(crate) fn take_turns(&self, turns: usize, scenarios: &[Scenario<'_>]) -> Result<Measured> {
        let mut measured = Measured::default();
        for turn in 1..=turns {
            for scenario in scenarios {
                for phase in &scenario.phases {
                    (phase.prepare)()
                        .with_context(|| format!("preparing `{}` for {}", phase.row, scenario.tool))?;
                    inputs::settle()?;
                    let sample = measure(&(phase.command)(), &self.scratch)?;
                    let value = (phase.value)()?;
                    process::note(format!(
                        "bench: {} {turn}/{turns} {}: {:.3} s",
                        phase.row, scenario.tool, sample.wall
                    ));
                    let entry = measured.series.entry((phase.row, scenario.tool)).or_default();
                    entry.samples.push(sample);
                    entry.values.extend(value);
                }
            }
        }
        Ok(measured)
    }
}

/// The work of one tool: phases in order, which may build on each other.
pub(crate) struct Scenario<'a> {
    /// The tool's name in the table.
    pub(crate) tool: &'static str,
    /// What it does, in order.
    pub(crate) phases: Vec<Phase<'a>>,
}

/// One timed command with what must happen before it.
pub(crate) struct Phase<'a> {
    row: &'static str,
    prepare: Box<dyn Fn() -> Result<()> + 'a>,
    command: Box<dyn Fn() -> Command + 'a>,
    value: Box<dyn Fn() -> Result<Option<f64>> + 'a>,
}

impl<'a> Phase<'a> {
    /// A command which counts for `row`.
    pub(crate) fn new(row: &'static str, command: impl Fn() -> Command + 'a) -> Self {
        Self { row, prepare: Box::new(|| Ok(())), command: Box::new(command), value: Box::new(|| Ok(None)) }
    }

    /// What happens before the clock starts.
    #[must_use]
    pub(crate) fn prepare(mut self, prepare: impl Fn() -> Result<()> + 'a) -> Self {
        self.prepare = Box::new(prepare);
        self
    }

    /// A number to read after the clock stopped, as the size of a store.
    #[must_use]
    pub(crate) fn value(mut self, value: impl Fn() -> Result<f64> + 'a) -> Self {
        self.value = Box::new(move || value().map(Some));
        self
    }
}

/// Samples and values by row and tool.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    series: BTreeMap<(&'static str, &'static str), Series>,
}

#[derive(Debug, Default)]
struct Series {
    samples: Vec<Sample>,
    values: Vec<f64>,
}

impl Measured {
    /// The largest value that was read for a tool in a row.
    pub(crate) fn value(&self, row: &'static str, tool: &'static str) -> Option<f64> {
        largest(self.values(row, tool))
    }

    /// All values that were read for a tool in a row, in the order of the turns.
    pub(crate) fn values(&self, row: &'static str, tool: &'static str) -> &[f64] {
        self.series.get(&(row, tool)).map_or(&[], |series| series.values.as_slice())
    }

    /// The row with every tool that was measured, in the order of `tools`. `note` says what its values mean, where it has any.
    pub(crate) fn row(
        &self,
        name: &'static str,
        title: &str,
        tools: &[&'static str],
        note: impl Fn(&[f64]) -> String,
    ) -> Row {
        let lines = tools.iter().filter_map(|tool| {
            let series = self.series.get(&(name, *tool))?;
            let note = if series.values.is_empty() { String::new() } else { note(&series.values) };
            Some(Line { tool: (*tool).to_owned(), samples: series.samples.clone(), note })
        });
        Row {
            name: name.to_owned(),
            title: title.to_owned(),
            lines: lines.collect(),
            table: None,
            bars: Vec::new(),
        }
    }
}

fn largest(values: &[f64]) -> Option<f64> {
    values.iter().copied().reduce(f64::max)
}

/// The largest of some sizes in megabytes, with the unit, for notes.
pub(crate) fn megabytes(what: &str) -> impl Fn(&[f64]) -> String {
    move |sizes: &[f64]| {
        let bytes = largest(sizes).unwrap_or(f64::NAN);
        format!("{} MB {what}", crate::bench::report::number(bytes / 1e6))
    }
}
