//! `tidemill run --sweep`: one run for each combination of values, and their results side by side.

use std::collections::BTreeMap;

use serde_json::json;
use tidemill_core::RunState;
use tidemill_core::declare::Action;
use tidemill_project::Resolved;
use tidemill_train::metric;

use super::summary::metric_values;
use super::{Done, once};
use crate::app::{App, key_value};
use crate::cli::Run;
use crate::failure::{Exit, Failure, Said};
use crate::model_test::report;
use crate::output::{Align, BAD, GOOD, Table, number};

/// More combinations than this are a mistake in the command line rather than a wish.
const MOST: usize = 10_000;

pub(super) fn run(args: &Run, app: &App<'_>) -> anyhow::Result<()> {
    let combinations = combinations(&args.sweep)?;
    // Combinations are tried; which of them is worth a version is for people to say.
    let args = &Run { no_register: true, ..args.clone() };
    let mut table =
        Table::new(&[("parameters", Align::Left), ("run", Align::Left), ("results", Align::Left)]);
    let mut values = Vec::new();
    let mut good = true;
    for (i, overrides) in combinations.iter().enumerate() {
        if app.cancel.is_cancelled() {
            return Err(Failure::cancelled().into());
        }
        let label = overrides.join(" ");
        app.console.note(format!("[{}/{}] {label}", i + 1, combinations.len()));
        let mut params = args.params.clone();
        params.extend(overrides.iter().cloned());
        let resolved = app.resolve(&params)?;
        let done = once(args, app, &resolved)?;
        if args.dry_run {
            if app.console.json() {
                values.push(json!({"parameters": overrides, "steps": done.plan.steps}));
            } else {
                crate::command::status::print_plan(app.console, &done.plan);
            }
            continue;
        }
        let results = results(app, &resolved, &done)?;
        good &= done.good();
        let state = done.report.as_ref().map_or(RunState::Succeeded, |run| run.state);
        let style = if state == RunState::Succeeded { GOOD } else { BAD };
        let shown: Vec<String> =
            results.iter().map(|(name, value)| format!("{name}={}", number(*value))).collect();
        let word = done.report.as_ref().map_or("up to date", |run| run.state.past());
        table.row([label.clone(), app.console.out(style, word), shown.join("  ")]);
        values.push(json!({
            "parameters": overrides, "run": done.report.as_ref().map(|run| run.run), "state": state, "results": results,
        }));
    }
    if app.console.json() {
        app.console.value(&values)?;
    } else if !args.dry_run {
        app.console.table(&table);
    }
    if good { Ok(()) } else { Err(Said(Exit::Failed).into()) }
}

/// Every combination of the values, the last key changing fastest.
fn combinations(sweep: &[String]) -> anyhow::Result<Vec<Vec<String>>> {
    let mut all: Vec<Vec<String>> = vec![Vec::new()];
    for text in sweep {
        let (key, values) = key_value(text)?;
        let values: Vec<&str> = values.split(',').map(str::trim).filter(|value| !value.is_empty()).collect();
        if values.is_empty() {
            return Err(Failure::usage(format!("`--sweep {text}` has no values"))
                .hint("for example `--sweep train.gbdt.rounds=50,100`")
                .into());
        }
        if all.len() * values.len() > MOST {
            return Err(Failure::usage(format!("the sweep has more than {MOST} combinations")).into());
        }
        all = all
            .iter()
            .flat_map(|before| {
                values.iter().map(|value| {
                    let mut next = before.clone();
                    next.push(format!("{key}={value}"));
                    next
                })
            })
            .collect();
    }
    Ok(all)
}

/// The headline metric and cost of every model, and every number of the metric files.
fn results(app: &App<'_>, resolved: &Resolved, done: &Done) -> anyhow::Result<BTreeMap<String, f64>> {
    let mut results = BTreeMap::new();
    if done.report.as_ref().is_some_and(|run| run.state != RunState::Succeeded) {
        return Ok(results);
    }
    for step in resolved.steps.iter().filter(|step| matches!(step.action, Action::Train(_))) {
        let Some(out) = step.outs.first() else { continue };
        let report = report(&app.root.join(&out.path))?;
        if let Some(value) = report.test.first()
            && let Some(number) = value.value
        {
            results.insert(format!("{}.{}", step.name, metric::name(value.metric)), number);
        }
        if let Some(cost) = report.decision.as_ref().and_then(|decision| decision.cost.as_ref()) {
            results.insert(format!("{}.cost", step.name), cost.model);
        }
    }
    for (step, name, value) in metric_values(&app.root, &resolved.steps) {
        results.insert(format!("{step}.{name}"), value);
    }
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn combinations_multiply() {
        let all = combinations(&["a=1,2".to_owned(), "b = x , y".to_owned()]).unwrap();
        assert_eq!(all, [["a=1", "b=x"], ["a=1", "b=y"], ["a=2", "b=x"], ["a=2", "b=y"]]);
        assert!(combinations(&["a=".to_owned()]).is_err());
        assert!(combinations(&["a".to_owned()]).is_err());
        let many = vec!["a=1,2,3,4,5,6,7,8,9,10".to_owned(); 5];
        assert!(combinations(&many).is_err());
    }
}
