//! The card of a version: one page, also as Markdown, that says what a model is for, what it learned from, how good it is and for
//! whom it is worse.
//!
//! The parts are those of M. Mitchell et al., Model Cards for Model Reporting, FAT* 2019; every number is measured or missing.

use tidemill_core::Outcome;
use tidemill_db::models::ModelVersion;
use tidemill_db::tracking::Run;
use tidemill_train::report::{CostReport, Report};
use tidemill_ui::{Block, Cell, Facts, Page, Section, Table, number};

use super::ask::Ask;
use super::evidence::Tests;
use super::models::run_cell;
use super::owner::{money_text, purpose};
use super::words::{choice, find};
use super::{Made, evaluation, slices, version};

pub(super) async fn card(ask: Ask) -> Made {
    let version = ask.app.registry().version(ask.part(0), ask.part(1)).await?;
    let run = version::maker(&ask, &version).await?;
    let report = evaluation::report(&ask, &version).await;
    let about = ask.app.config().about.clone().unwrap_or_default();
    let is_own = about.model.as_deref() == Some(version.model.as_str());
    let mut blocks = Vec::new();
    if let Some(text) = version.description.as_deref().filter(|text| !text.is_empty()) {
        blocks.push(Block::Text(text.to_owned()));
    }
    blocks.push(Block::Section(details(&version, run.as_ref(), report.as_ref())));
    if is_own {
        blocks.push(Block::Section(purpose(&about)));
    }
    blocks.extend(learned(run.as_ref(), report.as_ref()));
    match &report {
        Some(report) => blocks.extend(quality(report)),
        None => blocks.extend(version::measured(&ask, &version).await?),
    }
    if let Some(report) = &report
        && let Some(rows) = evaluation::predictions(&ask, &version).await?
    {
        let (columns, searched) = (slices::columns(&ask, report, &rows), slices::searched(rows.num_rows()));
        let (unit, mut found) = slices::bad(report, rows, columns).await?;
        found.retain(|slice| slice.is_flagged);
        let section = if found.is_empty() {
            let text = "No part of the test rows is worse than the rest beyond chance.";
            Section::new("worse", "For whom it is worse", vec![Block::Text(text.into())])
        } else {
            Section::new("worse", "For whom it is worse", vec![Block::Table(slices::table(&unit, &found))])
        };
        blocks.push(Block::Section(section.note(searched)));
    }
    let tests = version::tests(&ask, run.as_ref()).await?;
    blocks.push(Block::Section(limits(tests.as_ref(), report.as_ref())));
    blocks.extend(tests.as_ref().map(version::test_section));
    blocks.push(Block::Section(Section::new(
        "used",
        "Where it is used",
        vec![version::used(&ask, &version).await?],
    )));
    Ok(Page {
        lead: "The card of this version. It can be printed, or kept as Markdown.".into(),
        blocks,
        ..version::page(&version, true)
    })
}

/// What it is.
fn details(version: &ModelVersion, run: Option<&Run>, report: Option<&Report>) -> Section {
    let tag = |key: &str| run.and_then(|run| find(&run.tags, key)).map(str::to_owned);
    let algorithm = report.and_then(|report| choice(&report.algorithm));
    let facts = Facts::new("details")
        .with("Made", Cell::Time(version.created_at, None))
        .maybe("By", version.user.clone().filter(|user| !user.is_empty()).map(Cell::Text))
        .maybe("Known as", (!version.aliases.is_empty()).then(|| Cell::Text(version.aliases.join(", "))))
        .maybe("Algorithm", algorithm.map(Cell::text))
        .with("Run", run_cell(version))
        .maybe("Commit", tag("mlflow.source.git.commit").map(Cell::Code))
        .maybe("Content", version.content.map(|digest| Cell::Code(digest.to_string())));
    Section::new("details", "What it is", vec![Block::Facts(facts)])
}

/// What it learned from.
fn learned(run: Option<&Run>, report: Option<&Report>) -> Option<Block> {
    let mut blocks = Vec::new();
    if let Some(report) = report {
        let split = &report.split;
        let by =
            [choice(&split.by), split.column.clone()].into_iter().flatten().collect::<Vec<_>>().join(" by ");
        let facts = Facts::new("learned")
            .with("Rows learned from", Cell::Count(split.train_rows))
            .with("Rows held out to test", Cell::Count(split.test_rows))
            .with("Held out", Cell::text(by))
            .with("Predicts", Cell::text(report.task.target.clone()))
            .with("Columns", Cell::text(report.task.features.join(", ")));
        blocks.push(Block::Facts(facts));
    }
    if let Some(run) = run.filter(|run| !run.datasets.is_empty()) {
        let rows = run.datasets.iter().map(|dataset| {
            let used = find(&dataset.tags, "mlflow.data.context").unwrap_or_default();
            vec![Cell::text(dataset.name.clone()), Cell::text(used), Cell::Code(dataset.digest.clone())]
        });
        let table = Table::new("datasets", "Datasets", &["dataset", "used for", "digest"]).with(rows);
        blocks.push(Block::Table(table));
    }
    if let Some(run) = run.filter(|run| !run.params.is_empty()) {
        let rows =
            run.params.iter().map(|pair| vec![Cell::text(pair.key.clone()), Cell::text(pair.value.clone())]);
        blocks.push(Block::Table(Table::new("params", "Parameters", &["parameter", "value"]).with(rows)));
    }
    (!blocks.is_empty()).then(|| Block::Section(Section::new("learned", "What it learned from", blocks)))
}

/// How good it is, on rows that it did not learn from.
fn quality(report: &Report) -> Option<Block> {
    let cell = |value: Option<f64>| value.map_or(Cell::None, Cell::Number);
    let rows = report.test.iter().map(|value| {
        let trained = report.train.iter().find(|other| other.metric == value.metric);
        vec![
            Cell::text(tidemill_train::metric::name(value.metric)),
            cell(value.value),
            cell(value.interval.map(|interval| interval.lower)),
            cell(value.interval.map(|interval| interval.upper)),
            cell(trained.and_then(|other| other.value)),
        ]
    });
    let heads = ["metric", "on test rows", "from (95 %)", "to (95 %)", "on rows learned from"];
    let mut blocks = vec![Block::Table(Table::new("quality", "Metrics", &heads).with(rows))];
    if let Some(decision) = &report.decision {
        let mut facts = Facts::new("decision")
            .with("Acts from a probability of", Cell::Number(decision.threshold))
            .with("That it is", Cell::Text(format!("{} = {}", report.task.target, decision.positive)));
        if let Some(cost) = &decision.cost {
            facts = costs(facts, cost);
        }
        blocks.push(Block::Facts(facts));
    }
    Some(Block::Section(Section::new("quality", "How good it is", blocks)))
}

fn costs(facts: Facts, cost: &CostReport) -> Facts {
    let unit = cost.costs.currency.as_deref().unwrap_or("units");
    let between = |interval: &Option<tidemill_train::metric::Interval>| {
        interval.map_or_else(String::new, |of| format!(" ({} to {})", number(of.lower), number(of.upper)))
    };
    let amount =
        |value: f64, interval| Cell::Text(format!("{}{}", money_text(value, unit), between(interval)));
    facts
        .with("A decision costs", amount(cost.model, &cost.model_interval))
        .with("Never acting costs", amount(cost.never, &cost.never_interval))
        .with("Always acting costs", amount(cost.always, &cost.always_interval))
        .with("It saves per decision", amount(cost.saving, &cost.saving_interval))
}

/// What is known to be wrong, and what is not known.
fn limits(tests: Option<&Tests>, report: Option<&Report>) -> Section {
    let mut lines: Vec<String> = report.map(|report| report.warnings.clone()).unwrap_or_default();
    if report.is_none() {
        lines.push("It was not trained by a step `train`, so there are no held-out rows to look at.".into());
    }
    match tests {
        None => lines.push("It was registered without tests.".into()),
        Some(found) => {
            let of = |wanted: Outcome, word: &str| {
                let those = found.results.iter().filter(move |result| result.outcome == wanted);
                those
                    .map(|result| format!("{word}: {} – {}", result.test, result.message))
                    .collect::<Vec<_>>()
            };
            lines.extend(of(Outcome::Failed, "Failed"));
            lines.extend(of(Outcome::NotJudged, "Not judged"));
        }
    }
    if lines.is_empty() {
        lines.push("Nothing: all tests that are declared hold.".into());
    }
    let rows = lines.into_iter().map(|line| vec![Cell::Text(line)]);
    let table = Table::new("limits", "Limits", &["what is known"]).with(rows);
    Section::new("limits", "What to look out for", vec![Block::Table(table)])
}
