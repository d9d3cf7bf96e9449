//! `tidemill diff`: what changed in data, code, parameters and metrics between two runs, commits or the workspace.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};
use tidemill_db::RunRecord;
use tidemill_pipeline::{Change, Content, ContentKind, Lock, LockedStep};
use tidemill_store::Entry;
use tidemill_train::metric;
use tidemill_train::report::Report;

use crate::app::{App, LOCK_FILE, git};
use crate::cli::{Data, Diff};
use crate::command::status::{planned, read_lock};
use crate::failure::Failure;
use crate::output::{Align, BAD, CAUTION, FAINT, GOOD, STRONG, Table, bytes, number};
use crate::step::train::file;

/// Metric files above this size are not metrics.
const METRICS_UP_TO: u64 = 1 << 20;

pub(crate) fn run(args: &Diff, app: &App<'_>) -> anyhow::Result<()> {
    let dataset = |text: &str| text.contains('@') && !text.contains('{');
    if let Some(from) = args.from.as_deref().filter(|from| dataset(from)) {
        let diff = Data::Diff { from: from.to_owned(), to: args.to.clone(), key: Vec::new() };
        return crate::command::data::run(&diff, app);
    }
    let old = match &args.from {
        Some(text) => side(text, app)?,
        None => Side { label: LOCK_FILE.to_owned(), lock: read_lock(app)? },
    };
    let new = match &args.to {
        Some(text) => side(text, app)?,
        None => workspace(app)?,
    };
    let steps = compare(app, &old.lock, &new.lock)?;
    if app.console.json() {
        return app.console.value(&json!({"from": old.label, "to": new.label, "steps": steps}));
    }
    print(app, &old.label, &new.label, &steps);
    Ok(())
}

/// One side of the comparison.
struct Side {
    label: String,
    lock: Lock,
}

/// A run (its id, the beginning of it, or `last`) or a Git commit.
fn side(text: &str, app: &App<'_>) -> anyhow::Result<Side> {
    match find_run(text, app) {
        Ok(run) => Ok(Side { label: format!("run {}", run.id.short()), lock: recorded_lock(&run, app)? }),
        Err(error) => {
            let prefix = git(&app.root, &["rev-parse", "--show-prefix"]).unwrap_or_default();
            let Some(lock) = git(&app.root, &["show", &format!("{text}:{prefix}{LOCK_FILE}")]) else {
                let known =
                    git(&app.root, &["rev-parse", "--verify", "--quiet", &format!("{text}^{{commit}}")]);
                if known.is_some() {
                    return Err(Failure::new(format!("commit `{text}` has no {LOCK_FILE}"))
                        .hint("compare with a commit at which the lock file was committed, or with a run")
                        .into());
                }
                return Err(error);
            };
            Ok(Side {
                label: text.to_owned(),
                lock: Lock::parse(&format!("{text}:{LOCK_FILE}"), lock.as_bytes())?,
            })
        }
    }
}

/// The run that a text names.
pub(crate) fn find_run(text: &str, app: &App<'_>) -> anyhow::Result<RunRecord> {
    let db = app.db()?;
    if text == "last" {
        return app
            .block(db.runs_of(app.project.project.as_str(), 1))?
            .into_iter()
            .next()
            .ok_or_else(|| Failure::new("nothing has run yet").hint("`tidemill run` is the first").into());
    }
    Ok(app.block(db.run(text))?)
}

/// The lock file that a run wrote.
pub(crate) fn recorded_lock(run: &RunRecord, app: &App<'_>) -> anyhow::Result<Lock> {
    let short = run.id.short();
    let digest = run.lock.ok_or_else(|| {
        Failure::new(format!("run {short} wrote no lock file: it {}", run.state.past()))
            .hint("`tidemill log runs` lists the runs; choose one that succeeded")
    })?;
    let text = app.store()?.get(&digest).map_err(|error| {
        anyhow::Error::from(error).context(format!("the lock file of run {short} is not in the store"))
    })?;
    Ok(Lock::parse(&format!("run {short}"), &text)?)
}

/// What the workspace holds now: the records of what would run, and outputs where they are up to date.
fn workspace(app: &App<'_>) -> anyhow::Result<Side> {
    let resolved = app.resolve(&[])?;
    let (_, plan) = planned(app, &resolved)?;
    let steps = plan
        .steps
        .into_iter()
        .filter_map(|planned| {
            let record = planned.record?;
            Some((planned.step, LockedStep { record, outs: planned.outs }))
        })
        .collect();
    Ok(Side { label: "workspace".to_owned(), lock: Lock { steps } })
}

/// What became of one step.
#[derive(Serialize)]
struct StepDiff {
    step: String,
    change: &'static str,
    /// What it is keyed on, where that differs, in words.
    reasons: Vec<String>,
    changes: Vec<Change>,
    outputs: Vec<OutDiff>,
    metrics: Vec<MetricDiff>,
}

#[derive(Serialize)]
struct OutDiff {
    path: String,
    old: Option<Content>,
    new: Option<Content>,
}

#[derive(Serialize)]
struct MetricDiff {
    metric: String,
    old: Option<f64>,
    new: Option<f64>,
}

fn compare(app: &App<'_>, old: &Lock, new: &Lock) -> anyhow::Result<Vec<StepDiff>> {
    let names: BTreeSet<&String> = old.steps.keys().chain(new.steps.keys()).collect();
    let mut steps = Vec::new();
    for name in names {
        let (a, b) = (old.steps.get(name), new.steps.get(name));
        let (change, changes) = match (a, b) {
            (Some(a), Some(b)) => ("changed", b.record.changes_since(&a.record)),
            (None, _) => ("added", Vec::new()),
            (_, None) => ("removed", Vec::new()),
        };
        let outputs = outputs(a, b);
        if change == "changed" && changes.is_empty() && outputs.is_empty() {
            continue;
        }
        steps.push(StepDiff {
            step: name.clone(),
            change,
            reasons: changes.iter().map(ToString::to_string).collect(),
            changes,
            metrics: metrics(app, &outputs)?,
            outputs,
        });
    }
    Ok(steps)
}

fn outputs(old: Option<&LockedStep>, new: Option<&LockedStep>) -> Vec<OutDiff> {
    let empty = BTreeMap::new();
    let a = old.map_or(&empty, |step| &step.outs);
    let b = new.map_or(&empty, |step| &step.outs);
    // Outputs of a step that would run again are not known yet: that is no difference.
    if new.is_some() && b.is_empty() {
        return Vec::new();
    }
    let paths: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    paths
        .into_iter()
        .map(|path| OutDiff { path: path.clone(), old: a.get(path).copied(), new: b.get(path).copied() })
        .filter(|out| out.old.map(|c| c.digest) != out.new.map(|c| c.digest))
        .collect()
}

/// Numbers of the outputs that are metric files or model folders, where they differ.
fn metrics(app: &App<'_>, outputs: &[OutDiff]) -> anyhow::Result<Vec<MetricDiff>> {
    let mut found = Vec::new();
    for out in outputs {
        let old = out.old.map(|content| numbers(app, &out.path, &content)).transpose()?.unwrap_or_default();
        let new = out.new.map(|content| numbers(app, &out.path, &content)).transpose()?.unwrap_or_default();
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for name in names {
            let (old, new) = (old.get(name).copied(), new.get(name).copied());
            if old != new {
                found.push(MetricDiff { metric: name.clone(), old, new });
            }
        }
    }
    Ok(found)
}

/// The numbers in a stored content: metrics of a training report, or of a small JSON file.
fn numbers(app: &App<'_>, path: &str, content: &Content) -> anyhow::Result<BTreeMap<String, f64>> {
    let store = app.store()?;
    let entry = Entry::from(content);
    if !store.has(&entry)? {
        return Ok(BTreeMap::new());
    }
    let mut numbers = BTreeMap::new();
    match content.kind {
        ContentKind::Folder => {
            let files = store.files(&entry)?;
            let report = files.iter().find(|(name, _)| name.as_os_str() == file::REPORT);
            let Some((_, report)) = report else { return Ok(numbers) };
            let Ok(report) = serde_json::from_slice::<Report>(&store.get(&report.digest)?) else {
                return Ok(numbers);
            };
            for value in &report.test {
                numbers.extend(value.value.map(|number| (metric::name(value.metric).to_owned(), number)));
            }
            if let Some(cost) = report.decision.and_then(|decision| decision.cost) {
                numbers.insert("cost per decision".to_owned(), cost.model);
            }
        }
        ContentKind::File if is_json(path) && content.bytes <= METRICS_UP_TO => {
            if let Ok(value) = serde_json::from_slice::<Value>(&store.get(&content.digest)?) {
                crate::command::run::flatten(&value, String::new(), &mut |name, number| {
                    numbers.insert(name, number);
                });
            }
        }
        ContentKind::File | ContentKind::Executable | ContentKind::Remote => {}
    }
    Ok(numbers)
}

/// Whether a file's name says that it is JSON.
fn is_json(path: &str) -> bool {
    std::path::Path::new(path).extension().is_some_and(|end| end.eq_ignore_ascii_case("json"))
}

fn print(app: &App<'_>, old: &str, new: &str, steps: &[StepDiff]) {
    let console = app.console;
    console.line(format!("{old} → {new}"));
    if steps.is_empty() {
        console.line("nothing differs");
    }
    for step in steps {
        let style = match step.change {
            "added" => GOOD,
            "removed" => BAD,
            _ => CAUTION,
        };
        console.line(format!("{} {}", console.out(style, step.change), console.out(STRONG, &step.step)));
        for reason in &step.reasons {
            console.line(format!("  {reason}"));
        }
        for out in &step.outputs {
            let size = |content: Option<Content>| content.map_or_else(|| "–".to_owned(), |c| bytes(c.bytes));
            let sizes = console.out(FAINT, format!("{} → {}", size(out.old), size(out.new)));
            console.line(format!("  output {}  {sizes}", out.path));
        }
        let mut table = Table::new(&[
            ("  metric", Align::Left),
            ("old", Align::Right),
            ("new", Align::Right),
            ("change", Align::Right),
        ]);
        for metric in &step.metrics {
            let show = |x: Option<f64>| x.map_or_else(|| "–".to_owned(), number);
            let change = metric.old.zip(metric.new).map(|(old, new)| Signed(new - old).to_string());
            table.row([
                format!("  {}", metric.metric),
                show(metric.old),
                show(metric.new),
                change.unwrap_or_default(),
            ]);
        }
        if !table.is_empty() {
            console.table(&table);
        }
    }
}

/// A number with its sign.
struct Signed(f64);

impl std::fmt::Display for Signed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.0 > 0.0 { "+" } else { "" };
        write!(f, "{sign}{}", number(self.0))
    }
}
