//! How models age: what older versions come to on the rows that were held out for a newer one.

use tidemill_core::AgeCurve;
use tidemill_db::models::ModelVersion;
use tidemill_registry::Error;
use tidemill_ui::chart::{LineChart, Series};
use tidemill_ui::{Block, Cell, Empty, Figure, Section, Table, href, number};

use super::ask::Ask;
use super::evidence::Tests;
use super::version::judged;

/// The newest versions among which one with a curve is looked for.
const LOOKED_AT: usize = 5;

/// The curves of the newest version whose tests have any; else how one comes about.
pub(super) async fn of_model(ask: &Ask, versions: &[ModelVersion]) -> Result<Option<Block>, Error> {
    for version in versions.iter().take(LOOKED_AT) {
        let Some(tests) = judged(ask, version).await? else { continue };
        if let Some(section) = section(version, &tests) {
            return Ok(Some(section));
        }
    }
    if versions.is_empty() {
        return Ok(None);
    }
    let empty = Empty::new(
        "It is not known how its versions age",
        "A test of staleness asks older versions about the rows that are held out now; `tidemill run` draws the curve here, of models \
         that `train` steps make:",
    )
    .code("tests:\n  - staleness: {metric: roc_auc, max_age: 30d, max_loss: 0.02}");
    Ok(Some(Block::Section(Section::new("ageing", "Age and quality", vec![Block::Empty(empty)]))))
}

/// The curves of one version; nothing where its tests have none.
pub(super) fn section(version: &ModelVersion, tests: &Tests) -> Option<Block> {
    let curves = tests.results.iter().filter_map(|result| result.ages.as_ref());
    let figures: Vec<Figure> =
        curves.enumerate().map(|(place, curve)| figure(place, version, curve)).collect();
    if figures.is_empty() {
        return None;
    }
    let note = format!(
        "Older versions on the rows that were held out for v{}, as its tests of staleness found them.",
        version.version
    );
    let section = Section::new("ageing", "Age and quality", vec![Block::Figures(figures)]).note(note);
    Some(Block::Section(section))
}

fn figure(place: usize, version: &ModelVersion, curve: &AgeCurve) -> Figure {
    let older = curve.versions.iter().map(|one| (one.days, one.value));
    let last = curve.versions.last().map_or(0.0, |one| one.days);
    let title = format!("{} over age", curve.metric);
    let chart = LineChart {
        title: title.clone(),
        x: "age in days when it was tested".into(),
        y: curve.metric.clone(),
        series: vec![
            Series {
                name: "versions".into(),
                points: std::iter::once((0.0, curve.new)).chain(older).collect(),
            },
            Series { name: "allowed".into(), points: vec![(0.0, curve.allowed), (last, curve.allowed)] },
        ],
        regions: vec![(0.0, curve.max_days.min(last), "judged".into())],
        marked: true,
        size: (560.0, 300.0),
        ..LineChart::default()
    };
    let name = |number: u64| {
        let number = number.to_string();
        Cell::link(href(&["models", &version.model, &number], &[]), format!("v{number}"))
    };
    let own = vec![name(version.version), Cell::Number(0.0), Cell::Number(curve.new), Cell::None];
    let rows = curve.versions.iter().map(|one| {
        let is_judged = if one.days <= curve.max_days { "yes" } else { "too old" };
        vec![name(one.version), Cell::Number(one.days), Cell::Number(one.value), Cell::text(is_judged)]
    });
    let columns = ["version", "age in days", curve.metric.as_str(), "judged"];
    let note = match curve.versions.len() {
        0 => "There was no older version that could be asked yet.".to_owned(),
        _ => format!(
            "A version of at most {} days must come to {}; this one comes to {}.",
            number(curve.max_days),
            number(curve.allowed),
            number(curve.new)
        ),
    };
    Figure {
        id: format!("age-quality-{place}"),
        title: title.clone(),
        note,
        picture: chart.draw(),
        table: Table::new(format!("age_quality_{place}"), title, &columns)
            .with(std::iter::once(own).chain(rows)),
        ..Figure::default()
    }
}
