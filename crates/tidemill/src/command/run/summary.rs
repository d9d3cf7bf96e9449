//! What came of a run: steps, model quality, money, tests, where the outputs are.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};
use tidemill_core::declare::{Action, Step};
use tidemill_core::{RunState, StepState};
use tidemill_pipeline::{RunReport, StepReport};
use tidemill_project::Resolved;
use tidemill_train::metric;
use tidemill_train::report::{CostReport, Report};

use super::{Done, Registered};
use crate::app::App;
use crate::model_test::{Evidence, Outcome, report};
use crate::output::{
    Align, BAD, CAUTION, Console, FAINT, GOOD, STRONG, Table, count, duration, number, plural,
};

pub(crate) fn print(app: &App<'_>, resolved: &Resolved, done: &Done) -> anyhow::Result<()> {
    let console = app.console;
    if console.json() {
        return console.value(&value(app, resolved, done)?);
    }
    if let Some(run) = &done.report {
        failures(console, run);
    }
    console.line(headline(console, done));
    let failed = done.report.as_ref().is_some_and(|run| run.state != RunState::Succeeded);
    if failed {
        return Ok(());
    }
    models(app, &resolved.steps)?;
    metric_files(app, &resolved.steps);
    if let Some(evidence) = &done.evidence {
        tests(console, evidence);
    }
    if let Some(registered) = &done.registered {
        console.line("");
        console.line(match registered {
            Registered::New { model, version } => {
                format!(
                    "{} {}",
                    console.out(GOOD, "registered"),
                    console.out(STRONG, format!("{model}@{version}"))
                )
            }
            Registered::Known { model, version } => format!("{model}@{version} is of the same content"),
            Registered::Refused { model, why } => format!("no new version of {model}: {why}"),
        });
    }
    outputs(app, &resolved.steps);
    Ok(())
}

/// One sentence about the run.
fn headline(console: &Console, done: &Done) -> String {
    let Some(run) = &done.report else {
        let steps = plural(done.plan.steps.len() as u64, "step");
        return format!("{} {steps} up to date", console.out(GOOD, "nothing to do:"));
    };
    let number = |state: StepState| run.steps.iter().filter(|step| step.state == state).count() as u64;
    let parts: Vec<String> = [
        (StepState::Ran, "ran"),
        (StepState::Restored, "restored"),
        (StepState::Unchanged, "unchanged"),
        (StepState::Failed, "failed"),
        (StepState::Cancelled, "stopped"),
        (StepState::Skipped, "skipped"),
    ]
    .iter()
    .filter(|(state, _)| number(*state) > 0)
    .map(|(state, word)| format!("{} {word}", count(number(*state))))
    .collect();
    let style = if run.state == RunState::Succeeded { GOOD } else { BAD };
    format!(
        "run {} {} in {}: {}",
        run.run.short(),
        console.out(style, run.state.past()),
        duration(std::time::Duration::from_millis(run.duration_ms)),
        parts.join(", ")
    )
}

/// Every failed step with the end of its log, its exit code and how to run just it again.
pub(crate) fn failures(console: &Console, run: &RunReport) {
    for step in run.steps.iter().filter(|step| step.state == StepState::Failed) {
        let Some(failure) = &step.failure else { continue };
        let mut text = format!("\n{}: {}", console.err(BAD.bold(), "error"), failure.message);
        if !failure.tail.is_empty() {
            let _ = write!(text, "\n{}", console.err(FAINT, "the end of its log:"));
            for line in &failure.tail {
                let _ = write!(text, "\n  {line}");
            }
        }
        console.problem(&text);
        if let Some(hint) = &failure.hint {
            console.hint(&hint.replace("; ", "\n"));
        }
    }
}

/// Quality and money of every trained model.
fn models(app: &App<'_>, steps: &[Step]) -> anyhow::Result<()> {
    let mut reports = Vec::new();
    for step in steps.iter().filter(|step| matches!(step.action, Action::Train(_))) {
        let Some(out) = step.outs.first() else { continue };
        let folder = app.root.join(&out.path);
        if folder.is_dir() {
            reports.push((step.name.clone(), report(&folder)?));
        }
    }
    if reports.is_empty() {
        return Ok(());
    }
    let console = app.console;
    console.line("");
    let mut table = Table::new(&[
        ("model", Align::Left),
        ("algorithm", Align::Left),
        ("rows", Align::Right),
        ("held out", Align::Right),
        ("metric", Align::Left),
        ("value", Align::Right),
        ("95 % interval", Align::Left),
    ]);
    for (step, report) in &reports {
        for (i, value) in report.test.iter().take(METRICS_SHOWN).enumerate() {
            let first = |text: String| if i == 0 { text } else { String::new() };
            table.row([
                first(step.clone()),
                first(word(&report.algorithm)),
                first(count(report.split.train_rows)),
                first(count(report.split.test_rows)),
                metric::name(value.metric).to_owned(),
                value.value.map_or_else(|| "–".to_owned(), number),
                value
                    .interval
                    .as_ref()
                    .map(|i| format!("{} to {}", number(i.lower), number(i.upper)))
                    .unwrap_or_default(),
            ]);
        }
    }
    console.table(&table);
    for (step, report) in &reports {
        if let Some(cost) = report.decision.as_ref().and_then(|decision| decision.cost.as_ref()) {
            costs(console, step, report, cost);
        }
    }
    for (step, report) in &reports {
        for warning in &report.warnings {
            console.warn(format!("{step}: {warning}"));
        }
    }
    Ok(())
}

/// Metrics of a model in the summary; the report has them all.
const METRICS_SHOWN: usize = 4;

fn word<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

/// What decisions cost, against doing nothing and acting always.
fn costs(console: &Console, step: &str, report: &Report, cost: &CostReport) {
    let unit = cost.costs.currency.clone().map(|unit| format!("{unit} ")).unwrap_or_default();
    let threshold = report.decision.as_ref().map_or(0.5, |decision| decision.threshold);
    console.line("");
    console.line(format!(
        "{} costs {} per decision (acts on {} at threshold {})",
        console.out(STRONG, step),
        console.out(STRONG, format!("{unit}{}", number(cost.model))),
        crate::output::percent(cost.acted),
        number(threshold)
    ));
    console.line(format!(
        "  never acting costs {unit}{}, always acting {unit}{}",
        number(cost.never),
        number(cost.always)
    ));
    let interval = cost
        .saving_interval
        .as_ref()
        .map(|i| format!(" (95 % interval {} to {})", number(i.lower), number(i.upper)))
        .unwrap_or_default();
    let style = if cost.saving > 0.0 { GOOD } else { BAD };
    console.line(format!(
        "  against the better of these it saves {}{interval}",
        console.out(style, format!("{unit}{}", number(cost.saving)))
    ));
}

/// Numbers from the metric files that steps wrote.
fn metric_files(app: &App<'_>, steps: &[Step]) {
    let mut table = Table::new(&[("step", Align::Left), ("metric", Align::Left), ("value", Align::Right)]);
    for (step, name, value) in metric_values(&app.root, steps) {
        table.row([step, name, number(value)]);
    }
    if !table.is_empty() {
        app.console.line("");
        app.console.table(&table);
    }
}

/// Step, dotted name and value of every number in the metric files; files that are missing or malformed give none.
pub(crate) fn metric_values(root: &Path, steps: &[Step]) -> Vec<(String, String, f64)> {
    let mut values = Vec::new();
    for step in steps {
        for out in step.outs.iter().filter(|out| out.metrics) {
            let Ok(bytes) = fs_err::read(root.join(&out.path)) else { continue };
            if let Ok(value) = serde_json::from_slice(&bytes) {
                flatten(&value, String::new(), &mut |name, number| {
                    values.push((step.name.clone(), name, number));
                });
            }
        }
    }
    values
}

/// Every number of a JSON value with its dotted name.
pub(crate) fn flatten(value: &Value, path: String, found: &mut dyn FnMut(String, f64)) {
    match value {
        Value::Number(number) => {
            if let Some(number) = number.as_f64() {
                found(path, number);
            }
        }
        Value::Object(map) => {
            for (key, value) in map {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                flatten(value, path, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) => {}
    }
}

fn tests(console: &Console, evidence: &Evidence) {
    console.line("");
    console.line(format!(
        "tests of {}: {} passed, {} failed, {} not judged",
        console.out(STRONG, &evidence.step),
        evidence.count(Outcome::Passed),
        evidence.count(Outcome::Failed),
        evidence.count(Outcome::NotJudged)
    ));
    for result in &evidence.results {
        let mark = match result.outcome {
            Outcome::Passed => console.out(GOOD, "✓"),
            Outcome::Failed => console.out(BAD, "✗"),
            Outcome::NotJudged => console.out(CAUTION, "?"),
        };
        console.line(format!("  {mark} {}: {}", result.test, result.message));
    }
}

fn outputs(app: &App<'_>, steps: &[Step]) {
    let outs: Vec<String> = steps.iter().flat_map(|s| &s.outs).map(|out| out.path.clone()).collect();
    if !outs.is_empty() {
        app.console.line("");
        app.console.line(format!("outputs in {}: {}", app.root.display(), shortened(&outs)));
    }
}

fn shortened(outs: &[String]) -> String {
    const SHOWN: usize = 8;
    match outs.len() {
        0..=SHOWN => outs.join(", "),
        more => format!("{} and {} more", outs[..SHOWN].join(", "), more - SHOWN),
    }
}

/// The same for programs.
pub(crate) fn value(app: &App<'_>, resolved: &Resolved, done: &Done) -> anyhow::Result<Value> {
    let mut models = serde_json::Map::new();
    for step in resolved.steps.iter().filter(|step| matches!(step.action, Action::Train(_))) {
        let Some(out) = step.outs.first() else { continue };
        let folder = app.root.join(&out.path);
        if folder.is_dir() {
            models.insert(step.name.clone(), serde_json::to_value(report(&folder)?)?);
        }
    }
    let run = done.report.as_ref().map(|run| {
        json!({
            "id": run.run, "state": run.state, "duration_ms": run.duration_ms,
            "steps": run.steps.iter().map(step_json).collect::<Vec<_>>(),
        })
    });
    let metrics: Vec<Value> = metric_values(&app.root, &resolved.steps)
        .into_iter()
        .map(|(step, name, value)| json!({"step": step, "metric": name, "value": value}))
        .collect();
    Ok(json!({
        "run": run, "up_to_date": done.report.is_none(), "models": models, "metrics": metrics,
        "tests": done.evidence, "registered": done.registered,
    }))
}

fn step_json(step: &StepReport) -> Value {
    let failure = step.failure.as_ref().map(|failure| {
        json!({
            "message": failure.message, "hint": failure.hint, "exit_code": failure.exit_code, "tail": failure.tail,
        })
    });
    let mut value = serde_json::to_value(step).unwrap_or_default();
    if let (Some(map), Some(failure)) = (value.as_object_mut(), failure) {
        map.insert("failure".to_owned(), failure);
    }
    value
}
