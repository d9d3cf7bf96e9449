//! Expectations on the project's datasets: evaluated, printed, recorded.

use tidemill_core::EventKind;
use tidemill_core::declare::Severity;
use tidemill_data::expect::{Checked, Limits, Surroundings, evaluate_in};
use tidemill_project::{Resolved, ResolvedDataset};

use crate::app::App;
use crate::output::{BAD, CAUTION, Console, FAINT, GOOD, count, plural};
use crate::profile::Datasets;
use crate::table::open;

/// Failing rows that are printed.
const SHOWN: usize = 5;

/// Evaluates the expectations of a dataset; `None` where it declares none.
pub(crate) fn check(
    app: &App<'_>,
    name: &str,
    dataset: &ResolvedDataset,
    declared: &Resolved,
) -> anyhow::Result<Option<Checked>> {
    if dataset.expect.is_empty() {
        return Ok(None);
    }
    let table = open(&app.root, app.runtime().handle(), &dataset.paths, dataset.format)?;
    let limits =
        Limits { spill_dir: Some(app.inside("tmp")), redact: dataset.redact.clone(), ..Limits::default() };
    let others = Datasets::new(app, declared);
    let bar = app.bar();
    let around = Surroundings { now: Some(app.clock.now()), others: &others, progress: &bar };
    let results = evaluate_in(&table, name, &dataset.expect, &limits, &around)?;
    Ok(Some(Checked { dataset: name.to_owned(), rows: table.rows(), results }))
}

/// Keeps how datasets did: the results in the store, and an event of each.
pub(crate) fn record(app: &App<'_>, all: &[Checked]) -> anyhow::Result<()> {
    if all.is_empty() {
        return Ok(());
    }
    let store = app.store()?;
    // Collection must not take what no event names yet.
    let _hold = store.hold()?;
    let mut events = Vec::with_capacity(all.len());
    for checked in all {
        events.push(app.event(EventKind::DataChecked {
            dataset: checked.dataset.clone(),
            passed: checked.passed(),
            failed: checked.failed(),
            warned: checked.warned(),
            evidence: Some(store.put(&checked.to_bytes()?)?),
        }));
    }
    app.record(events).map(drop)
}

/// One line for each broken expectation with its first rows, and one for the rest; all of them with `every`.
pub(crate) fn lines(console: &Console, checked: &Checked, every: bool) -> Vec<String> {
    let mut lines = Vec::new();
    let held = checked.passed();
    let mark = if checked.failed() > 0 {
        console.err(BAD, "✗")
    } else if checked.warned() > 0 {
        console.err(CAUTION, "!")
    } else {
        console.err(GOOD, "✓")
    };
    lines.push(format!(
        "{mark} {}: {} of {} hold on {}",
        checked.dataset,
        held,
        plural(checked.results.len() as u64, "expectation"),
        plural(checked.rows, "row")
    ));
    for result in &checked.results {
        if result.passed {
            if every {
                lines.push(format!("  {} {}", console.err(GOOD, "holds"), result.rule));
            }
            continue;
        }
        let (style, word) = match result.severity {
            Severity::Error => (BAD, "broken"),
            Severity::Warn => (CAUTION, "warning"),
        };
        lines.push(format!("  {} {}", console.err(style, word), result.rule));
        lines.push(format!("    {}", result.message));
        for row in result.sample.iter().take(SHOWN) {
            let cells: Vec<String> =
                row.cells.iter().map(|(name, value)| format!("{name}={value}")).collect();
            lines.push(console.err(FAINT, format!("    row {}: {}", count(row.row), cells.join(", "))));
        }
        if result.sample.len() > SHOWN {
            lines.push(console.err(FAINT, "    `--json` lists more of them"));
        }
        if let Some(hint) = &result.hint {
            lines.push(format!("    hint: {hint}"));
        }
    }
    lines
}
