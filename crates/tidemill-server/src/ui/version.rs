//! A version of a model: where it comes from, what it measured, whether its tests held, where it is used.

use tidemill_core::RunId;
use tidemill_db::models::ModelVersion;
use tidemill_db::tracking::Run;
use tidemill_registry::Error;
use tidemill_serve::gateway::endpoint::EndpointSpec;
use tidemill_ui::{
    Area, Badge, Block, Cell, Crumb, Empty, Facts, Page, Section, Tab, Table, Tone, href, markdown,
};

use super::Made;
use super::ask::Ask;
use super::evidence::Tests;
use super::models::{LIVE, run_cell, tags};
use super::serving::share;
use super::words::find;
use super::{ageing, evaluation, evidence};
use crate::monitoring::metrics_of;

pub(super) async fn version(ask: Ask) -> Made {
    let registry = ask.app.registry();
    let version = registry.version(ask.part(0), ask.part(1)).await?;
    let mut blocks = Vec::new();
    if let Some(text) = version.description.as_deref().filter(|text| !text.is_empty()) {
        blocks.push(Block::Markup(markdown(text)));
    }
    let facts = Facts::new("version")
        .with("Made", Cell::Time(version.created_at, None))
        .with("By", Cell::text(version.user.clone().unwrap_or_default()))
        .with("Run", run_cell(&version))
        .with("Status", Cell::text(version.status.to_lowercase()))
        .maybe("More", version.status_message.clone().map(Cell::Text))
        .with("Source", Cell::text(version.source.clone()))
        .maybe("Content", version.content.map(|digest| Cell::Code(digest.to_string())))
        .maybe("Logged model", version.logged_model.clone().map(Cell::Code))
        .with(
            "Download",
            Cell::Pre(format!(
                "mlflow.artifacts.download_artifacts(\"models:/{}/{}\")",
                version.model, version.version
            )),
        );
    let mut left = vec![Block::Section(Section::new("about", "", vec![Block::Facts(facts)]))];
    left.extend(tags(&version.tags));
    let run = maker(&ask, &version).await?;
    let tests = tests(&ask, run.as_ref()).await?;
    left.extend(tests.as_ref().map(test_section));
    left.push(Block::Section(Section::new("used", "Where it is used", vec![used(&ask, &version).await?])));
    blocks.push(Block::Columns(vec![left, measured(&ask, &version).await?]));
    blocks.extend(tests.and_then(|tests| ageing::section(&version, &tests)));
    blocks.extend(evaluation::sections(&ask, &version).await?);
    let badges = version.aliases.iter().map(|alias| Badge::new(Tone::Plain, alias.clone())).collect();
    Ok(Page { badges, blocks, ..page(&version, false) })
}

/// One of the two pages of a version, empty.
pub(super) fn page(version: &ModelVersion, is_card: bool) -> Page {
    let (model, number) = (version.model.as_str(), version.version.to_string());
    Page {
        title: format!("{model} v{number}"),
        area: Area::Models,
        crumbs: vec![Crumb::new("/models", "Models"), Crumb::new(href(&["models", model], &[]), model)],
        tabs: vec![
            Tab::new(href(&["models", model, &number], &[]), "Overview", !is_card),
            Tab::new(href(&["models", model, &number, "card"], &[]), "Card", is_card),
        ],
        live: [LIVE.as_slice(), &["endpoint.set", "model.tested"]].concat(),
        ..Page::default()
    }
}

/// The run that made it, where it is known.
pub(super) async fn maker(ask: &Ask, version: &ModelVersion) -> Result<Option<Run>, Error> {
    let Some(run) = version.run.as_deref().and_then(|run| run.parse::<RunId>().ok()) else { return Ok(None) };
    Ok(ask.app.registry().db().tracked_run(run).await?)
}

/// Metrics of the logged model, or else of the run that made it.
pub(super) async fn measured(ask: &Ask, version: &ModelVersion) -> Result<Vec<Block>, Error> {
    let metrics = metrics_of(ask.app.registry().db(), version).await?;
    let rows = metrics.iter().map(|metric| {
        vec![
            Cell::text(metric.key.clone()),
            Cell::Number(metric.value),
            Cell::text(metric.dataset_name.clone().unwrap_or_default()),
        ]
    });
    let table = Table::new("metrics", "Metrics", &["metric", "value", "measured on"])
        .with(rows)
        .or(Empty::new("No metrics", "Neither the model nor the run that made it has any."));
    Ok(vec![Block::Section(Section::new("measured", "Metrics", vec![Block::Table(table)]))])
}

/// The tests of a version.
pub(super) async fn judged(ask: &Ask, version: &ModelVersion) -> Result<Option<Tests>, Error> {
    tests(ask, maker(ask, version).await?.as_ref()).await
}

/// The tests of the pipeline's run that made it.
pub(super) async fn tests(ask: &Ask, run: Option<&Run>) -> Result<Option<Tests>, Error> {
    let Some(tracked) = run else { return Ok(None) };
    let Some(pipeline) = find(&tracked.tags, "tidemill.run").and_then(|run| run.parse().ok()) else {
        return Ok(None);
    };
    let Some(found) = evidence::tests(&ask.app, Some(pipeline)).await? else { return Ok(None) };
    // One project is about one model; tests of another step say nothing about this one.
    if find(&tracked.tags, "tidemill.step").is_some_and(|step| !found.step.is_empty() && step != found.step) {
        return Ok(None);
    }
    Ok(Some(found))
}

pub(super) fn test_section(tests: &Tests) -> Block {
    let section = Section::new("tests", "Tests", vec![Block::Table(evidence::table(tests))]);
    Block::Section(
        section.more(href(&["pipelines", &tests.run.to_string()], &[]), "the run that judged them"),
    )
}

pub(super) async fn used(ask: &Ask, version: &ModelVersion) -> Result<Block, Error> {
    let mut rows = Vec::new();
    for endpoint in ask.app.registry().db().endpoints_after(None, 1000).await? {
        let Ok(spec) = serde_json::from_str::<EndpointSpec>(&endpoint.spec) else { continue };
        for arm in spec.arms.iter().filter(|arm| arm.model == version.model) {
            let wanted = arm.version.clone().unwrap_or_else(|| "newest".to_owned());
            let by_alias = wanted
                .strip_prefix('@')
                .is_some_and(|alias| version.aliases.iter().any(|known| known == alias));
            if by_alias || wanted == version.version.to_string() {
                rows.push(vec![
                    Cell::link(href(&["serving", &endpoint.name], &[]), endpoint.name.clone()),
                    Cell::text(arm.name.clone()),
                    Cell::text(wanted),
                    Cell::Text(share(&spec, arm)),
                ]);
            }
        }
    }
    let table = Table::new("used", "Endpoints", &["endpoint", "arm", "named as", "share"]);
    Ok(Block::Table(table.with(rows).or(Empty::new(
        "No endpoint routes to this version by its number or an alias",
        "Requests that name the model itself are answered by its newest version.",
    ))))
}
