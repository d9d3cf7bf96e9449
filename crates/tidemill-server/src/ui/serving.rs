//! Endpoints: what is behind each, what was answered since the server was started, and what was recorded.

use tidemill_core::Timestamp;
use tidemill_db::Listed;
use tidemill_db::records::RecordFilter;
use tidemill_registry::{Code, Error};
use tidemill_serve::ModelState;
use tidemill_serve::gateway::endpoint::EndpointSpec;
use tidemill_serve::gateway::metrics::{ArmLabels, ArmTotals};
use tidemill_serve::gateway::route::Arm;
use tidemill_ui::chart::{Bar, Bars};
use tidemill_ui::{Area, Block, Cell, Crumb, Empty, Facts, Figure, Page, Section, Table, href};

use super::Made;
use super::ask::Ask;
use super::total;
use super::words::model_badge;

const PAGE: usize = 200;

pub(super) fn totals(ask: &Ask) -> Vec<(ArmLabels, ArmTotals)> {
    ask.app.serving().map(|serving| serving.gateway().metrics().totals_by_arm()).unwrap_or_default()
}

pub(super) fn read(text: &str) -> Result<EndpointSpec, Error> {
    serde_json::from_str(text).map_err(|error| {
        Error::new(Code::InternalError, format!("a stored declaration cannot be read: {error}"))
    })
}

pub(super) async fn list(ask: Ask) -> Made {
    let mut found = ask.app.registry().db().endpoints_after(ask.get("page"), PAGE + 1).await?;
    let more = found.len() > PAGE;
    found.truncate(PAGE);
    let totals = totals(&ask);
    let mut rows = Vec::with_capacity(found.len());
    for endpoint in &found {
        // One that cannot be read, as of a newer version, does not take the others from the list.
        let arms = read(&endpoint.spec).map_or_else(|error| error.message, |spec| describe(&spec));
        let own = totals.iter().filter(|(labels, _)| *labels.endpoint == *endpoint.name);
        let (requests, errors) = answered(own);
        rows.push(vec![
            Cell::link(href(&["serving", &endpoint.name], &[]), endpoint.name.clone()),
            Cell::text(arms),
            Cell::Count(requests),
            Cell::Count(errors),
            Cell::Count(endpoint.revision),
            Cell::Time(endpoint.updated_at, Some(ask.now)),
        ]);
    }
    let columns = ["endpoint", "arms", "requests", "errors", "revision", "changed"];
    let mut table = Table::new("endpoints", "Endpoints", &columns).with(rows).or(Empty::new(
        "No endpoint yet",
        "An endpoint is a name that requests for predictions go to, with the versions that answer. Declare one:",
    )
    .code("curl -X PUT http://HOST:PORT/api/v1/endpoints/flights-late -H 'content-type: application/json' \\\n  -d '{\"arms\": [{\"name\": \"champion\", \"model\": \"flights-late\", \"version\": \"@champion\", \"weight\": 1}]}'"));
    let next = found.last().filter(|_| more).map(|last| last.name.as_str());
    let total = total::of(&ask, Listed::Endpoints).await?;
    table.pager = Some(ask.pager(next, found.len(), total, ["endpoint", "endpoints"]));
    let blocks = vec![
        Block::Section(Section::new("list", "", vec![Block::Table(table)]).note(SINCE)),
        Block::Section(Section::new("models", "Models in memory", vec![models(&ask)])),
    ];
    Ok(Page {
        title: "Serving".into(),
        area: Area::Serving,
        lead: "Endpoints answer requests for predictions, and split them between versions.".into(),
        blocks,
        live: LIVE.to_vec(),
        growing: ask.app.serving().is_some(),
        ..Page::default()
    })
}

const LIVE: [&str; 3] = ["endpoint.set", "endpoint.deleted", "alias.moved"];
const SINCE: &str = "Requests and errors are counted since this server was started.";

/// Requests and errors of some arms.
pub(super) fn answered<'a>(arms: impl Iterator<Item = &'a (ArmLabels, ArmTotals)>) -> (u64, u64) {
    arms.fold((0, 0), |(requests, errors), (_, arm)| (requests + arm.requests(), errors + arm.errors()))
}

/// The arms in words: name, version and share of each.
fn describe(spec: &EndpointSpec) -> String {
    let arms = spec.arms.iter().map(|arm| {
        let version = arm.version.as_deref().unwrap_or("newest");
        format!("{}: {} {version}, {}", arm.name, arm.model, share(spec, arm))
    });
    arms.collect::<Vec<_>>().join("; ")
}

/// What an arm gets of the requests.
pub(super) fn share(spec: &EndpointSpec, arm: &Arm) -> String {
    if arm.shadow {
        return "shadow".to_owned();
    }
    format!("{} %", f64::from(spec.shares().get(arm.name.as_str()).copied().unwrap_or(0)) / 100.0)
}

fn models(ask: &Ask) -> Block {
    let statuses = ask.app.serving().map(|serving| serving.gateway().models().statuses()).unwrap_or_default();
    let rows = statuses.iter().map(|status| {
        let (model, version) = (status.model.to_string(), status.version.to_string());
        let loaded = status.loaded.as_deref();
        vec![
            Cell::link(href(&["models", &model], &[]), model),
            Cell::text(version),
            Cell::Badge(model_badge(&status.state)),
            match &status.state {
                ModelState::Failed(why) => Cell::text(why.clone()),
                ModelState::Ready | ModelState::Loading | ModelState::Unloaded => Cell::None,
            },
            loaded.map_or(Cell::None, |loaded| Cell::text(loaded.lane.session().runtime())),
            loaded.map_or(Cell::None, |loaded| Cell::Bytes(loaded.memory)),
            loaded.map_or(Cell::None, |loaded| Cell::Count(loaded.lane.waiting() as u64)),
            status.idle.map_or(Cell::None, |idle| {
                Cell::Duration(u64::try_from(idle.as_millis()).unwrap_or(u64::MAX))
            }),
        ]
    });
    let columns = ["model", "version", "state", "why", "runtime", "memory", "waiting", "idle for"];
    Block::Table(Table::new("models", "Models in memory", &columns).with(rows).or(Empty::new(
        "No model is loaded",
        "A model is loaded when the first request for it comes, or when an endpoint is declared that routes to it.",
    )))
}

pub(super) async fn endpoint(ask: Ask) -> Made {
    let db = ask.app.registry().db();
    let name = ask.part(0);
    let stored = db.endpoint(name).await?;
    let stored = stored.ok_or_else(|| Error::missing(format!("there is no endpoint `{name}`")))?;
    let spec = read(&stored.spec)?;
    let own: Vec<(ArmLabels, ArmTotals)> =
        totals(&ask).into_iter().filter(|(labels, _)| *labels.endpoint == *name).collect();
    let (requests, errors) = answered(own.iter());
    let (parts, _) = db
        .record_parts(&RecordFilter { endpoint: Some(name.to_owned()), ..RecordFilter::default() }, &[])
        .await?;
    let outcomes = db.outcome_counts(name).await?;
    let recorded: u64 = parts.iter().map(|part| part.requests).sum();
    let last: Option<Timestamp> = parts.iter().map(|part| part.last_at).max();
    let facts = Facts::new("figures")
        .large()
        .with("Requests", Cell::Count(requests))
        .with("Errors", Cell::Count(errors))
        .with("Recorded requests", Cell::Count(recorded))
        .with("Last recorded", last.map_or(Cell::None, |last| Cell::Time(last, Some(ask.now))))
        .with("Outcomes joined", Cell::Count(outcomes.matched))
        .with("Outcomes waiting", Cell::Count(outcomes.waiting));
    let mut blocks = vec![
        Block::Section(Section::new("figures", "", vec![Block::Facts(facts)]).note(SINCE)),
        Block::Section(Section::new("arms", "Arms", vec![Block::Table(arms(&spec, &own))])),
    ];
    if let Some(latency) = latency(&own) {
        blocks.push(Block::Section(Section::new("time", "Time to answer", vec![Block::Figures(latency)])));
    }
    let text = serde_json::to_value(&spec).map(|mut value| {
        // Thousands of slots say nothing to a reader; the shares are above.
        if let Some(members) = value.as_object_mut() {
            members.remove("allotment");
        }
        serde_json::to_string_pretty(&value).unwrap_or_default()
    });
    let history = db.endpoint_history(name, None, 50).await?;
    let rows = history.iter().map(|revision| {
        let spec = revision.spec.as_deref().and_then(|spec| read(spec).ok());
        let arms = spec.map_or_else(|| "deleted".to_owned(), |spec| describe(&spec));
        vec![
            Cell::Count(revision.revision),
            Cell::text(arms),
            Cell::text(revision.actor.to_string()),
            Cell::Time(revision.at, Some(ask.now)),
        ]
    });
    let history = Table::new("history", "Declarations", &["revision", "arms", "by", "when"]).with(rows);
    blocks.push(Block::Section(Section::new("revisions", "Declarations", vec![Block::Table(history)])));
    blocks.push(Block::Section(Section::new(
        "spec",
        "As it is declared",
        vec![Block::Code(text.unwrap_or_default())],
    )));
    Ok(Page {
        title: name.to_owned(),
        area: Area::Serving,
        crumbs: vec![Crumb::new("/serving", "Serving")],
        blocks,
        live: LIVE.to_vec(),
        growing: true,
        ..Page::default()
    })
}

fn arms(spec: &EndpointSpec, own: &[(ArmLabels, ArmTotals)]) -> Table {
    let mut rows = Vec::new();
    for arm in &spec.arms {
        let seen: Vec<_> = own.iter().filter(|(labels, _)| *labels.arm == *arm.name).collect();
        let share = share(spec, arm);
        let head = |version: Cell| {
            vec![
                Cell::text(arm.name.clone()),
                Cell::link(href(&["models", &arm.model], &[]), arm.model.clone()),
                Cell::text(arm.version.clone().unwrap_or_else(|| "newest".to_owned())),
                version,
                Cell::text(share.clone()),
            ]
        };
        if seen.is_empty() {
            let mut row = head(Cell::None);
            row.extend([Cell::Count(0), Cell::Count(0), Cell::Count(0), Cell::None, Cell::None, Cell::None]);
            rows.push(row);
        }
        for (labels, totals) in seen {
            let mut row = head(Cell::text(labels.version.to_string()));
            row.extend([
                Cell::Count(totals.requests()),
                Cell::Count(totals.errors()),
                Cell::Count(totals.fell_back),
                totals.quantile(0.5).map_or(Cell::None, at_most),
                totals.quantile(0.99).map_or(Cell::None, at_most),
                wrong(totals),
            ]);
            rows.push(row);
        }
    }
    let columns = [
        "arm",
        "model",
        "named as",
        "version",
        "share",
        "requests",
        "errors",
        "fallback",
        "half within",
        "99 % within",
        "values that training did not have",
    ];
    Table::new("arms", "Arms", &columns).with(rows)
}

/// The upper end of the part of the histogram that a quantile lies in, in seconds.
fn at_most(seconds: f64) -> Cell {
    if seconds.is_infinite() {
        return Cell::text("more than 10 s");
    }
    Cell::Text(format!("{} ms", tidemill_ui::number(seconds * 1000.0)))
}

fn wrong(totals: &ArmTotals) -> Cell {
    let words: Vec<String> = totals
        .violations
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(kind, count)| format!("{} {count}", kind.replace('_', " ")))
        .collect();
    Cell::text(words.join(", "))
}

fn latency(own: &[(ArmLabels, ArmTotals)]) -> Option<Vec<Figure>> {
    let mut figures = Vec::new();
    for (at, (labels, totals)) in own.iter().enumerate().filter(|(_, (_, totals))| totals.requests() > 0) {
        let first = totals.latency.iter().position(|(_, count)| *count > 0)?;
        let last = totals.latency.iter().rposition(|(_, count)| *count > 0)?;
        let shown = &totals.latency[first..=last];
        let name = |bound: f64| {
            if bound.is_infinite() {
                "longer".to_owned()
            } else {
                format!("up to {} ms", tidemill_ui::number(bound * 1000.0))
            }
        };
        let bars =
            shown.iter().map(|(bound, count)| Bar { name: name(*bound), value: *count as f64 }).collect();
        let title = format!("{} ({} {})", labels.arm, labels.model, labels.version);
        let chart = Bars { title: title.clone(), unit: "requests".into(), bars };
        let rows = shown.iter().map(|(bound, count)| vec![Cell::text(name(*bound)), Cell::Count(*count)]);
        let table = Table::new(format!("latency_{at}"), "Time to answer", &["time", "requests"]).with(rows);
        figures.push(Figure {
            id: format!("latency-{at}"),
            title,
            picture: chart.draw(),
            table,
            ..Figure::default()
        });
    }
    (!figures.is_empty()).then_some(figures)
}
