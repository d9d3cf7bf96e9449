//! Monitoring: what fires by the money at risk, how every monitor stands, which columns drift, and figures over time.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use tidemill_core::{Digest, Timestamp};
use tidemill_db::monitoring::{Alert, AlertFilter, Judged};
use tidemill_db::{Db, Listed};
use tidemill_monitor::alert::{Phase, Weight, order};
use tidemill_monitor::{Evidence, State, Verdict};
use tidemill_registry::Error;
use tidemill_ui::chart::{Trend, TrendPoint};
use tidemill_ui::{
    Area, Badge, Block, Cell, Empty, Figure, Heat, HeatColumn, Link, Page, Section, Table, Tone, href,
    moment, number,
};

use super::Made;
use super::ask::Ask;
use super::owner::money_text;
use super::stations::Blocked;
use super::total;
use crate::monitoring::{Standing, standing, verdict};

/// Alerts that stand open, and those of one page of the past.
const OPEN: usize = 200;
const PAGE: usize = 50;
/// Series that are drawn, and windows of one picture.
const DRAWN: usize = 12;
const WINDOWS: usize = 60;
/// Windows and columns of a heat map.
const HEAT: usize = 20;
const ROWS: usize = 40;
/// The share of rows that would have to change from which on a column is marked.
const MOVED: f64 = 0.1;

pub(super) const LIVE: [&str; 5] =
    ["monitors.declared", "windows.evaluated", "windows.restated", "alert.firing", "alert.resolved"];

pub(super) async fn list(ask: Ask) -> Made {
    let db = ask.app.registry().db();
    let stand = standing(db, None).await?;
    let mut blocks = vec![
        Block::Section(
            Section::new("open", "Alerts", vec![Block::Table(open_table(&open(db).await?))])
                .note("What fires now, by the money at risk, and what is about to."),
        ),
        Block::Section(
            Section::new("monitors", "Monitors", vec![Block::Table(standing_table(&stand))])
                .note("Each with its last window. Windows are judged when they are over and their labels must be there."),
        ),
    ];
    let (mut figures, mut heats) = (Vec::new(), Vec::new());
    let judged = stand.iter().filter(|one| one.windows > 0).count();
    let drawn: Vec<&Standing> = stand.iter().filter(|one| one.windows > 0).take(DRAWN).collect();
    let named: Vec<(&str, &str)> =
        drawn.iter().map(|one| (one.endpoint.as_str(), one.watch.as_str())).collect();
    for (one, windows) in drawn.iter().zip(windows(db, &named, WINDOWS).await?) {
        if one.monitor == Some("drift") {
            heats.extend(heat(&format!("moved-{}", heats.len()), one, &windows).map(Block::Section));
        }
        let id = format!("trend-{}", figures.len());
        figures.extend(figure(&id, one, &windows, false));
    }
    blocks.extend(heats);
    if !figures.is_empty() {
        let mut note = String::from(
            "The figure of each window with its 95 % interval. A triangle breaks the rule; an upright line is where another version \
             began to answer.",
        );
        if judged > drawn.len() {
            let _ = write!(
                note,
                " Of {judged} monitors with windows the first {DRAWN} are drawn here; each has a page of its own, to which its name above leads."
            );
        }
        blocks.push(Block::Section(
            Section::new("figures", "Over time", vec![Block::Figures(figures)]).note(note),
        ));
    }
    blocks.push(Block::Section(past(&ask).await?));
    Ok(Page {
        title: "Monitoring".into(),
        area: Area::Monitoring,
        lead: "What is watched in production: data, predictions, quality, service and the business number."
            .into(),
        blocks,
        live: LIVE.to_vec(),
        ..Page::default()
    })
}

/// The page of a series.
pub(super) fn series_href(endpoint: &str, watch: &str) -> String {
    href(&["monitoring", endpoint, watch], &[])
}

/// How an alert stands.
pub(super) fn phase_badge(name: &str) -> Badge {
    let tone = match name {
        "firing" => Tone::Bad,
        "pending" => Tone::Warn,
        "resolved" => Tone::Good,
        _ => Tone::Calm,
    };
    Badge::new(tone, name)
}

/// How a monitor stands: its alert, or that nothing is known yet.
pub(super) fn standing_badge(one: &Standing) -> Badge {
    match (&one.phase, &one.last) {
        (Phase::Quiet, None) => Badge::new(Tone::Plain, "no window yet"),
        (Phase::Quiet, Some(last)) if last.verdict.state == State::NoData => {
            Badge::new(Tone::Plain, "no data")
        }
        (Phase::Quiet, Some(last)) if last.verdict.state == State::Broken => Badge::new(Tone::Warn, "broken"),
        (Phase::Quiet, Some(_)) => Badge::new(Tone::Good, "ok"),
        (phase, _) => phase_badge(phase.name()),
    }
}

/// What a verdict came to.
pub(super) fn verdict_badge(state: State) -> Badge {
    match state {
        State::Ok => Badge::new(Tone::Good, "ok"),
        State::Broken => Badge::new(Tone::Bad, "broken"),
        State::NoData => Badge::new(Tone::Plain, "no data"),
    }
}

/// An amount of money.
pub(super) fn money(amount: Option<f64>, currency: Option<&str>) -> Cell {
    let Some(amount) = amount.map(f64::round) else { return Cell::None };
    Cell::Text(currency.map_or_else(|| number(amount), |currency| money_text(amount, currency)))
}

async fn in_state(db: &Db, state: &str) -> Result<Vec<Alert>, Error> {
    let filter = AlertFilter { state: Some(state.into()), ..AlertFilter::default() };
    Ok(db.alerts(&filter, OPEN).await?)
}

/// Alerts that fire, by money.
async fn by_money(db: &Db) -> Result<Vec<Alert>, Error> {
    let weight = |alert: &Alert| Weight { at_risk: alert.made.at_risk, since: alert.made.since };
    let mut firing = in_state(db, "firing").await?;
    firing.sort_by(|a, b| order(weight(a), weight(b)));
    Ok(firing)
}

/// Alerts that fire, by money, and then those that are about to.
async fn open(db: &Db) -> Result<Vec<Alert>, Error> {
    let mut open = by_money(db).await?;
    open.extend(in_state(db, "pending").await?);
    Ok(open)
}

/// What fires now, by money, with its endpoint, for the pages that say what is not well.
pub(super) async fn firing(ask: &Ask) -> Result<Vec<(String, Blocked)>, Error> {
    let firing = by_money(ask.app.registry().db()).await?;
    let said = |alert: Alert| {
        let what = Cell::link(
            series_href(&alert.made.endpoint, &alert.made.watch),
            format!("{} of {}", alert.made.watch, alert.made.endpoint),
        );
        let why = match (alert.made.at_risk, &alert.made.currency) {
            (Some(risk), Some(currency)) => {
                let risk = money_text(risk.round(), currency);
                format!("{}; about {risk} at risk in the last window", alert.made.why)
            }
            _ => alert.made.why,
        };
        (alert.made.endpoint, Blocked { what, why })
    };
    Ok(firing.into_iter().map(said).collect())
}

fn series_cell(endpoint: &str, watch: &str) -> Cell {
    Cell::link(series_href(endpoint, watch), watch.to_owned())
}

fn open_table(alerts: &[Alert]) -> Table {
    let rows = alerts.iter().map(|alert| {
        vec![
            Cell::Badge(phase_badge(&alert.state)),
            series_cell(&alert.made.endpoint, &alert.made.watch),
            Cell::link(href(&["serving", &alert.made.endpoint], &[]), alert.made.endpoint.clone()),
            money(alert.made.at_risk, alert.made.currency.as_deref()),
            Cell::text(alert.made.why.clone()),
            Cell::Time(alert.made.since, None),
        ]
    });
    let columns = ["state", "monitor", "endpoint", "at risk in the last window", "why", "since (UTC)"];
    Table::new("open", "Alerts that are open", &columns).with(rows).or(Empty::new(
        "Nothing fires",
        "An alert opens when the rule of a monitor is broken for as long as the project file says.",
    ))
}

/// How many labels of a window are there.
pub(super) fn labels(verdict: &Verdict) -> Cell {
    match verdict.evidence {
        Some(Evidence::Quality { predictions, labelled, .. }) => Cell::Text(format!(
            "{} of {} ({} %)",
            tidemill_ui::count(labelled),
            tidemill_ui::count(predictions),
            (100 * labelled).checked_div(predictions).unwrap_or(0)
        )),
        _ => Cell::None,
    }
}

/// Both ends of an interval.
pub(super) fn interval(verdict: &Verdict) -> Cell {
    match (verdict.low, verdict.high) {
        (Some(low), Some(high)) => Cell::Text(format!("{} to {}", number(low), number(high))),
        (Some(low), None) => Cell::Text(format!("from {}", number(low))),
        (None, Some(high)) => Cell::Text(format!("up to {}", number(high))),
        (None, None) => Cell::None,
    }
}

fn standing_table(stand: &[Standing]) -> Table {
    let rows = stand.iter().map(|one| {
        let last = one.last.as_ref();
        let verdict = last.map(|last| &last.verdict);
        vec![
            series_cell(&one.endpoint, &one.watch),
            Cell::link(href(&["serving", &one.endpoint], &[]), one.endpoint.clone()),
            Cell::Badge(standing_badge(one)),
            verdict.and_then(|verdict| verdict.value).map_or(Cell::None, Cell::Number),
            verdict.map_or(Cell::None, interval),
            verdict.and_then(|verdict| verdict.limit).map_or(Cell::None, Cell::Number),
            verdict.map_or(Cell::None, labels),
            last.map_or(Cell::None, |last| Cell::Time(last.window.to, None)),
            verdict.map_or(Cell::None, |verdict| Cell::text(verdict.why.clone())),
        ]
    });
    let columns = [
        "monitor",
        "endpoint",
        "state",
        "figure",
        "95 % interval",
        "limit",
        "labels there",
        "window until (UTC)",
        "why",
    ];
    Table::new("monitors", "Monitors", &columns).with(rows).or(Empty::new(
        "Nothing is watched yet",
        "Monitors stand in the project file, and watch the endpoint of its release:",
    )
    .code("monitors:\n  - drift: {window: 1d, for: 2d}\n  - quality: {metric: roc_auc, min: 0.65, outcomes: {delay: 12h}}\n  - service: {p99_ms: 50, errors: 0.1%}"))
}

/// The last windows of series, which are named by endpoint and watch, the oldest first, with what they came to.
pub(super) async fn windows(
    db: &Db,
    series: &[(&str, &str)],
    most: usize,
) -> Result<Vec<Vec<(Judged, Verdict)>>, Error> {
    let read = |judged: Judged| {
        let verdict = verdict(&judged.made.verdict)?;
        Ok((judged, verdict))
    };
    let found = db.last_windows(series, most).await?;
    found.into_iter().map(|windows| windows.into_iter().rev().map(read).collect()).collect()
}

/// Where another version began to answer, by the end of the window.
fn changes(windows: &[(Judged, Verdict)]) -> Vec<(Timestamp, String)> {
    let mut before: Option<&str> = None;
    let mut found = Vec::new();
    for (judged, _) in windows {
        let Some(version) = judged.made.version.as_deref() else { continue };
        if before.is_some_and(|before| before != version) {
            found.push((judged.made.to, format!("v{version}")));
        }
        before = Some(version);
    }
    found
}

/// The figure of a series over its windows; nothing where none was measured.
pub(super) fn figure(id: &str, one: &Standing, windows: &[(Judged, Verdict)], wide: bool) -> Option<Figure> {
    if windows.iter().all(|(_, verdict)| verdict.value.is_none()) {
        return None;
    }
    let points = windows.iter().map(|(judged, verdict)| TrendPoint {
        at: judged.made.to,
        value: verdict.value,
        low: verdict.low,
        high: verdict.high,
        broken: verdict.state == State::Broken,
    });
    let title = format!("{} of {}", one.watch, one.endpoint);
    let limit = windows.iter().rev().find_map(|(_, verdict)| verdict.limit);
    let chart = Trend {
        wide,
        title: title.clone(),
        y: match &one.unit {
            Some(unit_of) => format!("{}, {unit_of}", unit(&one.watch)),
            None => unit(&one.watch).to_owned(),
        },
        points: points.collect(),
        limit,
        marks: changes(windows),
    };
    let rows = windows.iter().map(|(judged, verdict)| {
        vec![
            Cell::Time(judged.made.to, None),
            verdict.value.map_or(Cell::None, Cell::Number),
            interval(verdict),
            Cell::Badge(verdict_badge(verdict.state)),
            judged.made.version.clone().map_or(Cell::None, Cell::text),
        ]
    });
    let table =
        Table::new(id, title.clone(), &["until", "figure", "95 % interval", "state", "version"]).with(rows);
    Some(Figure {
        id: id.to_owned(),
        title,
        picture: chart.draw(),
        table,
        wide,
        links: vec![Link::new(series_href(&one.endpoint, &one.watch), "every window")],
        ..Figure::default()
    })
}

/// What the figure of a series is.
fn unit(watch: &str) -> &str {
    match watch.split(['#', ':']).next().unwrap_or(watch) {
        "drift" | "prediction_drift" => "share moved (by importance)",
        "quality" | "estimate" | "kpi" => watch.split_once(':').map_or(watch, |(_, name)| name),
        "service" if watch.contains("p99") => "99th percentile in ms",
        "service" => "share of requests that failed",
        "inputs" => "share of requests",
        "stale" => "age in days",
        "stream" => "mean since the last change",
        _ => watch,
    }
}

/// Columns that moved, by window; `name` is what their numbers are called.
fn heat(name: &str, one: &Standing, windows: &[(Judged, Verdict)]) -> Option<Section> {
    let shown = &windows[windows.len().saturating_sub(HEAT)..];
    let changed: BTreeMap<Timestamp, String> = changes(windows).into_iter().collect();
    let mut columns = Vec::new();
    let mut by_name: BTreeMap<&str, Vec<Option<f64>>> = BTreeMap::new();
    for (judged, verdict) in shown {
        let Some(Evidence::Drift { columns: moved, .. }) = &verdict.evidence else { continue };
        for column in moved {
            let values = by_name.entry(column.column.as_str()).or_default();
            values.resize(columns.len(), None);
            values.push(Some(column.shift));
        }
        let from = moment(judged.made.from);
        columns.push(HeatColumn {
            head: Link::new(
                href(&["monitoring", &one.endpoint, &one.watch], &[("window", &judged.id.to_string())]),
                from.get(5..16).unwrap_or(&from).to_owned(),
            ),
            mark: changed.get(&judged.made.to).cloned().unwrap_or_default(),
        });
    }
    let mut rows: Vec<(String, Vec<Option<f64>>)> = by_name
        .into_iter()
        .map(|(name, mut values)| {
            values.resize(columns.len(), None);
            (name.to_owned(), values)
        })
        .collect();
    let most = |values: &[Option<f64>]| values.iter().flatten().copied().fold(0.0, f64::max);
    rows.sort_by(|a, b| most(&b.1).total_cmp(&most(&a.1)).then(a.0.cmp(&b.0)));
    rows.truncate(ROWS);
    if rows.is_empty() {
        return None;
    }
    let heat = Heat {
        caption: "Share of rows that would have to change for a column to be as in its reference".into(),
        columns,
        rows,
        most: 0.5,
        limit: MOVED,
        ..Heat::default()
    }
    .numbered(name);
    let id = Digest::of(format!("{}\0{}", one.endpoint, one.watch).as_bytes()).short();
    // A second monitor of the same kind has a name of its own.
    let which = if one.watch == "drift" { String::new() } else { format!(" ({})", one.watch) };
    Some(Section::new(format!("heat-{id}"), format!("Drift of {}{which}", one.endpoint), vec![Block::Heat(heat)]).note(
        format!(
            "Columns that moved in each window, by where the window begins. From {MOVED} on a number is marked; an empty place did not \
             move; a triangle is where another version began to answer."
        ),
    ))
}

/// The newest alerts, for the home page; nothing where none ever fired.
pub(super) async fn last(ask: &Ask, most: usize) -> Result<Option<Section>, Error> {
    let alerts = ask.app.registry().db().alerts(&AlertFilter::default(), most).await?;
    if alerts.is_empty() {
        return Ok(None);
    }
    // Why stands where something waits for somebody, and on the page of the monitor.
    let rows = alerts.iter().map(|alert| at_a_glance(alert).to_vec());
    let table = Block::Table(Table::new("alerts", "Last alerts", &GLANCE).with(rows));
    Ok(Some(Section::new("alerts", "Last alerts", vec![table]).more("/monitoring", "all alerts")))
}

/// All alerts, the newest first.
async fn past(ask: &Ask) -> Result<Section, Error> {
    let before = ask.place(|text| text.parse::<u64>().ok())?;
    let filter = AlertFilter { before, ..AlertFilter::default() };
    let mut alerts = ask.app.registry().db().alerts(&filter, PAGE + 1).await?;
    let more = alerts.len() > PAGE;
    alerts.truncate(PAGE);
    let next = alerts.last().filter(|_| more).map(|last| last.id.to_string());
    let mut table = past_table(&alerts);
    let total = total::of(ask, Listed::Alerts).await?;
    table.pager = Some(ask.pager(next.as_deref(), alerts.len(), total, ["alert", "alerts"]));
    Ok(Section::new("past", "All alerts", vec![Block::Table(table)]))
}

/// The columns of an alert without its number and its reason.
const GLANCE: [&str; 6] = ["state", "monitor", "endpoint", "since (UTC)", "over", "at risk"];

/// An alert in [`GLANCE`].
fn at_a_glance(alert: &Alert) -> [Cell; 6] {
    [
        Cell::Badge(phase_badge(&alert.state)),
        series_cell(&alert.made.endpoint, &alert.made.watch),
        Cell::text(alert.made.endpoint.clone()),
        Cell::Time(alert.made.since, None),
        alert.ended_at.map_or(Cell::None, |ended| Cell::Time(ended, None)),
        money(alert.made.at_risk, alert.made.currency.as_deref()),
    ]
}

pub(super) fn past_table(alerts: &[Alert]) -> Table {
    let rows = alerts.iter().map(|alert| {
        let (number, why) = (Cell::Count(alert.id), Cell::text(alert.made.why.clone()));
        std::iter::once(number).chain(at_a_glance(alert)).chain([why]).collect()
    });
    let columns = [&["alert"][..], &GLANCE, &["why"]].concat();
    Table::new("alerts", "Alerts", &columns)
        .with(rows)
        .or(Empty::new("No alert yet", "Everything that fired, and when it was over, is listed here."))
}
