//! One monitor: its figure over time, every window with what it came to, the numbers behind one of them, and its alerts.

use tidemill_core::Timestamp;
use tidemill_db::Listed;
use tidemill_db::monitoring::{AlertFilter, Judged, JudgedFilter};
use tidemill_monitor::window::Window;
use tidemill_monitor::{Detector, Evidence, Level, OverReleases, Verdict, Was};
use tidemill_registry::Error;
use tidemill_ui::{Area, Block, Cell, Crumb, Empty, Facts, Page, Section, Table, Tone, href, moment, number};

use super::Made;
use super::ask::Ask;
use super::monitoring::{
    LIVE, figure, interval, labels, money, past_table, standing_badge, verdict_badge, windows,
};
use super::total;
use crate::monitoring::{Standing, over_releases, standing, verdict};

/// Windows of one page, which are as many as alerts, and those of the picture.
const PAGE: usize = 50;
const DRAWN: usize = 200;

pub(super) async fn series(ask: Ask) -> Made {
    let db = ask.app.registry().db();
    let (endpoint, watch) = (ask.part(0), ask.part(1));
    let stand = standing(db, Some(endpoint)).await?;
    let one = stand.into_iter().find(|one| one.watch == watch).ok_or_else(|| {
        Error::missing(format!("nothing named `{watch}` is watched at the endpoint `{endpoint}`"))
    })?;
    let mut blocks = vec![Block::Section(Section::new("now", "", vec![Block::Facts(facts(&one))]))];
    let drawn = windows(db, &[(endpoint, watch)], DRAWN).await?.pop().unwrap_or_default();
    if let Some(mut figure) = figure("trend", &one, &drawn, true) {
        figure.links.clear();
        blocks.push(Block::Section(Section::new(
            "trend",
            "Over time",
            vec![Block::Figure(Box::new(figure))],
        )));
    }
    let shown = chosen(&ask, &one, drawn).await?;
    if let Some((judged, verdict)) = &shown {
        blocks.extend(evidence(judged, verdict).map(Block::Section));
    }
    if matches!(one.monitor, Some("kpi" | "quality")) {
        let all = over_releases(db, Some(endpoint)).await?;
        blocks.extend(all.iter().find(|of| of.watch == watch).map(|of| Block::Section(releases(&of.found))));
    }
    blocks.push(Block::Section(window_list(&ask, &one).await?));
    if one.monitor.is_some() {
        let filter = AlertFilter {
            endpoint: Some(endpoint.into()),
            watch: Some(watch.into()),
            ..AlertFilter::default()
        };
        let own = db.alerts(&filter, PAGE).await?;
        blocks.push(Block::Section(Section::new(
            "alerts",
            "Its alerts",
            vec![Block::Table(past_table(&own))],
        )));
    }
    Ok(Page {
        title: watch.to_owned(),
        area: Area::Monitoring,
        crumbs: vec![
            Crumb::new("/monitoring", "Monitoring"),
            Crumb::new(href(&["serving", endpoint], &[]), endpoint.to_owned()),
        ],
        badges: vec![standing_badge(&one)],
        lead: match one.monitor {
            Some(_) => String::new(),
            None => "An estimate of quality before the labels are there; it has no alert of its own.".into(),
        },
        blocks,
        live: LIVE.to_vec(),
        ..Page::default()
    })
}

fn facts(one: &Standing) -> Facts {
    let last = one.last.as_ref();
    let verdict = last.map(|last| &last.verdict);
    let text = |cell: Cell| Some(cell).filter(|cell| *cell != Cell::None);
    let version = last.and_then(|last| last.version.clone()).map(|(model, version)| {
        Cell::link(href(&["models", &model, &version], &[]), format!("{model} v{version}"))
    });
    Facts::new("now")
        .maybe("Figure", verdict.and_then(|verdict| verdict.value).map(Cell::Number))
        .maybe("95 % interval", verdict.and_then(|verdict| text(interval(verdict))))
        .maybe("Limit", verdict.and_then(|verdict| verdict.limit).map(Cell::Number))
        .maybe("At risk", verdict.and_then(|verdict| text(money(verdict.at_risk, one.currency.as_deref()))))
        .maybe("Not well since", one.phase.since().map(|since| Cell::Time(since, None)))
        .maybe("Labels there", verdict.and_then(|verdict| text(labels(verdict))))
        .maybe("Answered by", version)
        .with("Windows judged", Cell::Count(one.windows))
        .maybe("Last window until", last.map(|last| Cell::Time(last.window.to, None)))
        .maybe("Restated last", one.restated.as_ref().map(|ago| restated(&ago.window, ago.at)))
        .maybe("How often windows were restated", one.restated.as_ref().map(|ago| Cell::Count(ago.times)))
        .maybe("Why", verdict.map(|verdict| Cell::text(verdict.why.clone())))
}

/// Which window was judged again, and when.
fn restated(window: &Window, at: Timestamp) -> Cell {
    Cell::Text(format!("{} to {}, at {}", short(window.from), short(window.to), short(at)))
}

/// The business number while each version answered, and which metrics went with it.
fn releases(found: &OverReleases) -> Section {
    let means = found.releases.iter().map(|release| {
        vec![
            Cell::link(
                href(&["models", &release.model, &release.version], &[]),
                format!("{} v{}", release.model, release.version),
            ),
            Cell::Time(release.since, None),
            Cell::Count(release.outcomes),
            Cell::Number(release.mean),
        ]
    });
    let columns = ["version", "answers since (UTC)", "outcomes", "mean"];
    let means = Table::new("release_means", "While a version answered", &columns).with(means).or(Empty::new(
        "No version has enough outcomes yet",
        "Thirty outcomes of requests that it answered make a version count.",
    ));
    let rows = found.metrics.iter().map(|relation| {
        vec![
            Cell::text(relation.metric.clone()),
            Cell::Count(relation.releases as u64),
            relation.correlation.map_or(Cell::None, Cell::Number),
            match (relation.low, relation.high) {
                (Some(low), Some(high)) => Cell::Text(format!("{} to {}", number(low), number(high))),
                _ => Cell::None,
            },
            Cell::text(relation.why.clone()),
        ]
    });
    let columns = ["metric", "releases", "rank correlation", "95 % interval", "in words"];
    let metrics =
        Table::new("over_releases", "Metrics that went with it", &columns).with(rows).or(Empty::new(
            "No metrics to set beside it",
            "Metrics are those that are logged with a version, or with the run that made it.",
        ));
    Section::new("releases", "Over releases", vec![Block::Table(metrics), Block::Table(means)])
        .note(found.why.clone())
}

/// The window whose numbers are shown: the one that the address names, or else the last that has any.
async fn chosen(
    ask: &Ask,
    one: &Standing,
    mut drawn: Vec<(Judged, Verdict)>,
) -> Result<Option<(Judged, Verdict)>, Error> {
    let Some(text) = ask.get("window") else {
        let last = drawn.iter().rposition(|(_, verdict)| verdict.evidence.is_some());
        return Ok(last.map(|at| drawn.swap_remove(at)));
    };
    let missing = || Error::missing(format!("there is no window `{text}` of `{}`", one.watch));
    let id: u64 = text.parse().map_err(|_| missing())?;
    let filter = JudgedFilter {
        endpoint: Some(one.endpoint.clone()),
        watch: Some(one.watch.clone()),
        before: Some(id.saturating_add(1)),
    };
    let found = ask.app.registry().db().judged_windows(&filter, 1).await?;
    let judged = found.into_iter().find(|judged| judged.id == id).ok_or_else(missing)?;
    let verdict = verdict(&judged.made.verdict)?;
    Ok(Some((judged, verdict)))
}

async fn window_list(ask: &Ask, one: &Standing) -> Result<Section, Error> {
    let before = ask.place(|text| text.parse::<u64>().ok())?;
    let filter =
        JudgedFilter { endpoint: Some(one.endpoint.clone()), watch: Some(one.watch.clone()), before };
    let mut found = ask.app.registry().db().judged_windows(&filter, PAGE + 1).await?;
    let more = found.len() > PAGE;
    found.truncate(PAGE);
    let mut rows = Vec::with_capacity(found.len());
    for judged in &found {
        let verdict = verdict(&judged.made.verdict)?;
        rows.push(vec![
            Cell::link(
                ask.with(&[("window", &judged.id.to_string())]),
                format!("{} to {}", short(judged.made.from), short(judged.made.to)),
            ),
            Cell::Badge(verdict_badge(verdict.state)),
            verdict.value.map_or(Cell::None, Cell::Number),
            interval(&verdict),
            verdict.restated.map_or(Cell::None, |again| was(&again.first)),
            verdict.limit.map_or(Cell::None, Cell::Number),
            Cell::Count(judged.made.predictions),
            labels(&verdict),
            judged.made.version.clone().map_or(Cell::None, Cell::text),
            money(verdict.at_risk, one.currency.as_deref()),
            Cell::text(verdict.why),
        ]);
    }
    let columns = [
        "window (UTC)",
        "state",
        "figure",
        "95 % interval",
        "at first",
        "limit",
        "predictions",
        "labels there",
        "version",
        "at risk",
        "why",
    ];
    let mut table = Table::new("windows", "Windows", &columns).with(rows).or(Empty::new(
        "No window was judged yet",
        "A window is judged when it is over, a later prediction has come, and its labels must be there.",
    ));
    let next = found.last().filter(|_| more).map(|last| last.id.to_string());
    let total = total::of(ask, Listed::WindowsOf(&one.endpoint, &one.watch)).await?;
    table.pager = Some(ask.pager(next.as_deref(), found.len(), total, ["window", "windows"]));
    Ok(Section::new("windows", "Windows", vec![Block::Table(table)]))
}

/// What a window was when it was judged first.
fn was(first: &Was) -> Cell {
    let state = verdict_badge(first.state).text;
    let figure = first.value.map(|value| format!(" {}", number(value))).unwrap_or_default();
    Cell::Text(format!("{state}{figure} of {}", tidemill_ui::count(first.outcomes)))
}

/// A time to the minute.
fn short(at: Timestamp) -> String {
    let text = moment(at);
    text.get(..16).unwrap_or(&text).to_owned()
}

/// How far something moved.
fn moved_badge(level: Level) -> Cell {
    let (tone, word) = match level {
        Level::Major => (Tone::Bad, "much"),
        Level::Minor => (Tone::Warn, "a little"),
        Level::None => (Tone::Calm, "not"),
        Level::NotJudged => (Tone::Plain, "not judged"),
    };
    Cell::badge(tone, word)
}

/// The numbers behind a window.
fn evidence(judged: &Judged, verdict: &Verdict) -> Option<Section> {
    let facts = Facts::new("evidence");
    let mut blocks = Vec::new();
    match verdict.evidence.as_ref()? {
        Evidence::Drift { against, rows_reference, rows, major_share, p, level, columns, pairs, skipped } => {
            let facts = facts
                .with("Compared with", Cell::text(against.clone()))
                .with("Rows of the reference", Cell::Count(*rows_reference))
                .with("Rows of the window", Cell::Count(*rows))
                .with("Columns that moved much, by importance", percent(*major_share))
                .maybe("Smallest p-value", p.map(Cell::Number))
                .with("Level it had to reach", Cell::Number(*level))
                .maybe(
                    "Not compared",
                    Some(skipped.join(", ")).filter(|text| !text.is_empty()).map(Cell::Text),
                );
            blocks.push(Block::Facts(facts));
            let moved = columns.iter().map(|column| {
                vec![
                    Cell::text(column.column.clone()),
                    moved_badge(column.level),
                    Cell::Number(column.importance),
                    Cell::Number(column.shift),
                    column.p.map_or(Cell::None, Cell::Number),
                    Cell::text(column.why.clone()),
                ]
            });
            let names = ["column", "moved", "importance", "share of rows that moved", "p-value", "why"];
            blocks.push(Block::Table(Table::new("columns", "Columns that moved", &names).with(moved).or(
                Empty::new(
                    "No column moved",
                    "Every column of the window is as in the reference, as far as its rows can tell.",
                ),
            )));
            if !pairs.is_empty() {
                let parted = pairs.iter().map(|pair| {
                    vec![
                        Cell::text(pair.columns.join(" and ")),
                        moved_badge(pair.level),
                        Cell::Number(pair.reference),
                        Cell::Number(pair.current),
                        Cell::Number(pair.p),
                        Cell::text(pair.why.clone()),
                    ]
                });
                let names = ["columns", "parted", "in the reference", "now", "p-value", "why"];
                let title = "Pairs that go together otherwise than they did";
                blocks.push(Block::Table(Table::new("pairs", title, &names).with(parted)));
            }
        }
        Evidence::Quality { predictions, labelled, cost_per_decision, without, estimate } => {
            let mut facts = facts
                .with("Predictions", Cell::Count(*predictions))
                .with("Labels there", Cell::Count(*labelled))
                .maybe("Cost per decision", cost_per_decision.map(Cell::Number))
                .maybe("Had one never acted", without.map(|without| Cell::Number(without.never)))
                .maybe("Had one always acted", without.map(|without| Cell::Number(without.always)));
            if let Some(checked) = estimate {
                facts = facts
                    .with("Estimated before the labels came", Cell::Number(checked.estimated))
                    .with("Error of the estimate", Cell::Number(checked.error));
            }
            blocks.push(Block::Facts(facts));
        }
        Evidence::Estimate { predictions, calibrated_on, assumption } => blocks.push(Block::Facts(
            facts
                .with("Predictions", Cell::Count(*predictions))
                .with("Calibrated on", Cell::Text(format!("{} rows", tidemill_ui::count(*calibrated_on))))
                .with("It is right where", Cell::text(assumption.clone())),
        )),
        Evidence::Service { requests, failed, p99_ms, slow } => blocks.push(Block::Facts(
            facts
                .with("Requests", Cell::Count(*requests))
                .with("Failed", Cell::Count(*failed))
                .maybe("99 % within", p99_ms.map(|ms| Cell::Text(format!("{} ms", number(ms)))))
                .maybe("Slower than the limit", slow.map(Cell::Count)),
        )),
        Evidence::Inputs { requests, invalid, outside, rows, not_finite } => blocks.push(Block::Facts(
            facts
                .with("Requests", Cell::Count(*requests))
                .with("Refused as invalid", Cell::Count(*invalid))
                .with("Outside of the training range", Cell::Count(*outside))
                .with("Rows answered", Cell::Count(*rows))
                .with("Answers that are NaN or infinite", Cell::Count(*not_finite)),
        )),
        Evidence::Kpi { outcomes, expected, windows } => blocks.push(Block::Facts(
            facts
                .with("Outcomes that carry it", Cell::Count(*outcomes))
                .with("Mean of the like windows before", Cell::Number(*expected))
                .with("Like windows before", Cell::Count(*windows)),
        )),
        Evidence::Stream { detector, values, seen, usual, moved_to, values_since, began } => {
            let detector = match detector {
                Detector::Adwin => "ADWIN",
                Detector::PageHinkley => "Page and Hinkley's test",
            };
            blocks.push(Block::Facts(
                facts
                    .with("Changes are noticed by", Cell::text(detector))
                    .with("Values", Cell::Count(*values))
                    .with("Values so far", Cell::Count(*seen))
                    .maybe("Level before", usual.map(Cell::Number))
                    .maybe("Level it moved to", moved_to.map(Cell::Number))
                    .maybe("Values since", values_since.map(Cell::Count))
                    .maybe("Last known time before it", began.map(|began| Cell::Time(began, None))),
            ));
        }
    }
    if let Some(again) = verdict.restated {
        let facts = Facts::new("restated")
            .with("Judged again", Cell::Time(again.at, None))
            .with("How often", Cell::Count(u64::from(again.times)))
            .with("At first", was(&again.first))
            .with("Judged first", Cell::Time(again.first.at, None))
            .with("Before the last time", was(&again.before));
        blocks.push(Block::Facts(facts));
    }
    let title = format!("The window from {} to {}", short(judged.made.from), short(judged.made.to));
    Some(Section::new("evidence", title, blocks).note(verdict.why.clone()))
}

fn percent(share: f64) -> Cell {
    Cell::Text(format!("{} %", number((share * 1000.0).round() / 10.0)))
}
