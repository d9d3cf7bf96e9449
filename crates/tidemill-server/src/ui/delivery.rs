//! Delivery: what every environment runs, which rollouts are on their way, releases, freezes and quarantine.

use std::collections::HashMap;

use tidemill_core::{Digest, EventKind, Timestamp};
use tidemill_db::delivery::{Approval, Environment, Freeze, Rollout, RolloutFilter};
use tidemill_db::{EventFilter, Listed, Order};
use tidemill_deliver::rollout::State;
use tidemill_registry::Error;
use tidemill_ui::chart::{Span, Spans};
use tidemill_ui::{Area, Block, Cell, Crumb, Empty, Field, Figure, Page, Section, Table, Tone, count, href};

use super::Made;
use super::ask::Ask;
use super::rollout::{
    LIVE, Names, badge, held, names, percent, release_cell, release_link, rollout_link, waits_for_people,
};
use super::total;
use crate::delivery::{plan_of, quarantines, standing};

/// Rollouts of one page.
const PAGE: usize = 50;
/// Releases of one page; fewer on the page of all.
const RELEASES: usize = 100;
const NEWEST: usize = 10;
/// Rollouts that are on their way and are looked at.
const ON_THEIR_WAY: usize = 200;
/// Events in which freezes that are over are looked for.
const PAST: usize = 200;

/// Rollouts that are not over.
pub(super) async fn on_their_way(ask: &Ask) -> Result<Vec<Rollout>, Error> {
    let filter = RolloutFilter { is_live: true, ..RolloutFilter::default() };
    Ok(ask.app.registry().db().rollouts(&filter, ON_THEIR_WAY).await?)
}

pub(super) async fn list(ask: Ask) -> Made {
    let db = ask.app.registry().db();
    let before = ask.place(|text| text.parse::<u64>().ok())?;
    let mut rollouts = db.rollouts(&RolloutFilter { before, ..RolloutFilter::default() }, PAGE + 1).await?;
    let more = rollouts.len() > PAGE;
    rollouts.truncate(PAGE);
    let (environments, live) = (db.environments().await?, on_their_way(&ask).await?);
    let quarantines = quarantines(db, ask.now).await?;
    let wanted =
        environments.iter().map(|one| one.release).chain(quarantines.iter().map(|(one, _)| one.release));
    let mut made = Vec::new();
    for rollout in rollouts.iter().chain(&live) {
        made.extend(plan_of(rollout)?.candidates());
    }
    let names = names(&ask, wanted.chain(made)).await?;
    let releases = db.releases(None, None, NEWEST).await?;

    let mut rows = Vec::with_capacity(rollouts.len());
    for rollout in &rollouts {
        rows.push(row(&ask, rollout, &names)?);
    }
    let mut table = Table::new("rollouts", "Rollouts", &COLUMNS).with(rows).or(Empty::new(
        "Nothing was released yet",
        "A release gets its requests stage by stage, as the project file says, and goes back where it does harm:",
    )
    .code("tidemill release flights-late@1 --to staging"));
    let next = rollouts.last().filter(|_| more).map(|last| last.id.to_string());
    let total = total::of(&ask, Listed::Rollouts).await?;
    table.pager = Some(ask.pager(next.as_deref(), rollouts.len(), total, ["rollout", "rollouts"]));

    let environments = environment_table(&ask, &environments, &live, &names).await?;
    let mut blocks = vec![
        Block::Section(
            Section::new("environments", "Environments", vec![Block::Table(environments)])
                .note("What each environment runs, named by digest, since when, and who agreed to it."),
        ),
        Block::Section(Section::new("rollouts", "Rollouts", vec![Block::Table(table)])),
        Block::Section(
            Section::new("releases", "Releases", vec![Block::Table(release_table(&ask, &releases))])
                .more("/delivery/releases", "all releases"),
        ),
        Block::Section(freezes(&ask).await?),
    ];
    blocks.extend(super::quarantine::section(&ask, &quarantines, &names).map(Block::Section));
    Ok(Page {
        title: "Delivery".into(),
        area: Area::Delivery,
        lead: "Releases on their way to requests: what runs where, what is moving, and what waits for whom."
            .into(),
        blocks,
        live: LIVE.to_vec(),
        growing: !live.is_empty(),
        ..Page::default()
    })
}

const COLUMNS: [&str; 8] =
    ["rollout", "release", "endpoint", "environment", "state", "share of requests", "waits", "changed"];

fn row(ask: &Ask, rollout: &Rollout, names: &Names) -> Result<Vec<Cell>, Error> {
    let (plan, state) = (plan_of(rollout)?, standing(rollout, ask.now)?);
    let of = state.winner().map_or_else(|| plan.candidates(), |winner| vec![winner]);
    Ok(vec![
        Cell::Link(rollout_link(rollout.id)),
        release_cell(names, &of),
        Cell::text(rollout.made.endpoint.clone()),
        Cell::text(rollout.made.environment.clone()),
        Cell::Badge(badge(rollout, &state)),
        Cell::Text(percent(state.given(&plan))),
        Cell::text(waits(rollout, &state, ask.now)),
        Cell::Time(rollout.updated_at, Some(ask.now)),
    ])
}

/// What a rollout waits for; nothing where it is over or goes on.
pub(super) fn waits(rollout: &Rollout, state: &State, now: Timestamp) -> String {
    if rollout.is_waiting {
        return "for another rollout of the endpoint".into();
    }
    if state.phase.is_over() {
        return String::new();
    }
    state.hold.as_ref().map(|hold| held(hold, now)).unwrap_or_default()
}

/// Rollouts that go on only when somebody decides, with what they wait for.
pub(super) fn undecided(live: &[Rollout], now: Timestamp) -> Result<Vec<(&Rollout, String)>, Error> {
    let mut found = Vec::new();
    for rollout in live.iter().filter(|rollout| !rollout.is_waiting) {
        let state = standing(rollout, now)?;
        if let Some(hold) = state.hold.as_ref().filter(|hold| waits_for_people(hold)) {
            found.push((rollout, held(hold, now)));
        }
    }
    Ok(found)
}

/// Who agreed to what environments run now, by rollout.
pub(super) async fn approvals(ask: &Ask) -> Result<HashMap<u64, Vec<Approval>>, Error> {
    let mut people: HashMap<u64, Vec<Approval>> = HashMap::new();
    for (rollout, approval) in ask.app.registry().db().environment_approvals().await? {
        people.entry(rollout).or_default().push(approval);
    }
    Ok(people)
}

async fn environment_table(
    ask: &Ask,
    environments: &[Environment],
    live: &[Rollout],
    names: &Names,
) -> Result<Table, Error> {
    let people = approvals(ask).await?;
    let rows = environments.iter().map(|one| {
        let approved = people.get(&one.rollout).map(|approvals| {
            let texts = approvals.iter().map(|approval| format!("{} ({})", approval.by, approval.role));
            texts.collect::<Vec<_>>().join(", ")
        });
        let coming = live
            .iter()
            .filter(|rollout| rollout.made.environment == one.name && rollout.made.endpoint == one.endpoint);
        let coming: Vec<Cell> = coming.map(|rollout| Cell::Link(rollout_link(rollout.id))).collect();
        vec![
            Cell::text(one.name.clone()),
            Cell::link(href(&["serving", &one.endpoint], &[]), one.endpoint.clone()),
            Cell::Link(release_link(names, one.release)),
            names
                .get(&one.release)
                .and_then(|release| threshold(&release.body))
                .map_or(Cell::None, Cell::Number),
            Cell::Code(one.release.to_string()),
            Cell::Time(one.updated_at, Some(ask.now)),
            Cell::text(approved.unwrap_or_else(|| "nobody had to".into())),
            Cell::Link(rollout_link(one.rollout)),
            if coming.is_empty() { Cell::None } else { Cell::Many(coming) },
        ]
    });
    let columns = [
        "environment",
        "endpoint",
        "runs",
        "threshold",
        "digest",
        "since",
        "approved by",
        "brought by",
        "on its way",
    ];
    Ok(Table::new("environments", "Environments", &columns).with(rows).or(Empty::new(
        "No environment runs a release yet",
        "An environment is named in the project file, under `release`; its first rollout gives it what it runs.",
    )))
}

/// From which score on a release answers the positive class.
fn threshold(body: &str) -> Option<f64> {
    serde_json::from_str::<tidemill_deliver::release::Release>(body).ok()?.threshold
}

fn release_table(ask: &Ask, releases: &[tidemill_db::delivery::Release]) -> Table {
    let rows = releases.iter().map(|release| {
        let digest = release.digest.to_string();
        let version = release.version.to_string();
        vec![
            Cell::link(href(&["delivery", "releases", &digest], &[]), release.digest.short()),
            Cell::link(
                href(&["models", &release.model, &version], &[]),
                format!("{} v{version}", release.model),
            ),
            threshold(&release.body).map_or(Cell::None, Cell::Number),
            Cell::text(release.author.to_string()),
            Cell::Time(release.created_at, Some(ask.now)),
            Cell::Code(digest),
        ]
    });
    Table::new("releases", "Releases", &["release", "model", "threshold", "made by", "made", "digest"])
        .with(rows)
        .or(Empty::new(
            "No release yet",
            "A release is a model version with its threshold, named by the digest of everything that belongs to it.",
        ))
}

pub(super) async fn releases(ask: Ask) -> Made {
    let before = ask.place(place)?;
    let mut found = ask.app.registry().db().releases(ask.get("model"), before, RELEASES + 1).await?;
    let more = found.len() > RELEASES;
    found.truncate(RELEASES);
    let mut table = release_table(&ask, &found);
    let next =
        found.last().filter(|_| more).map(|last| format!("{}-{}", last.created_at.millis(), last.digest));
    let total = total::of(&ask, ask.get("model").map_or(Listed::Releases, Listed::ReleasesOf)).await?;
    table.pager = Some(ask.pager(next.as_deref(), found.len(), total, ["release", "releases"]));
    Ok(Page {
        title: "Releases".into(),
        area: Area::Delivery,
        crumbs: vec![Crumb::new("/delivery", "Delivery")],
        blocks: vec![Block::Section(Section::new("list", "", vec![Block::Table(table)]))],
        live: vec!["release.created"],
        ..Page::default()
    })
}

fn place(text: &str) -> Option<(Timestamp, Digest)> {
    let (at, digest) = text.split_once('-')?;
    Some((Timestamp::from_millis(at.parse().ok()?), digest.parse().ok()?))
}

/// Freezes that hold, are to come, or are over: as a calendar, as rows, and with the forms that set and lift them.
async fn freezes(ask: &Ask) -> Result<Section, Error> {
    let standing = ask.app.registry().db().freezes().await?;
    let past = past(ask, &standing).await?;
    let state = |freeze: &Freeze| match freeze.until {
        _ if freeze.from > ask.now => (Tone::Busy, "to come"),
        Some(until) if until <= ask.now => (Tone::Calm, "over"),
        _ => (Tone::Warn, "holds"),
    };
    let all: Vec<(Freeze, bool)> = standing
        .into_iter()
        .map(|freeze| (freeze, true))
        .chain(past.into_iter().map(|freeze| (freeze, false)))
        .collect();
    let spans = all.iter().map(|(freeze, _)| Span {
        name: format!("{} {}", freeze.endpoint.as_deref().unwrap_or("all endpoints"), freeze.reason),
        from: freeze.from,
        until: freeze.until,
        tone: state(freeze).0,
    });
    let picture = Spans { title: "Freezes".into(), now: ask.now, spans: spans.collect() }.draw();
    let rows = all.iter().map(|(freeze, _)| {
        let (tone, word) = state(freeze);
        vec![
            Cell::Count(freeze.id),
            Cell::badge(tone, word),
            Cell::text(freeze.endpoint.clone().unwrap_or_else(|| "all endpoints".into())),
            Cell::text(freeze.reason.clone()),
            Cell::text(freeze.owner.clone()),
            Cell::Time(freeze.from, None),
            freeze.until.map_or(Cell::text("lifted by hand"), |until| Cell::Time(until, None)),
        ]
    });
    let columns = ["freeze", "state", "endpoint", "why", "by", "from", "until"];
    let table = Table::new("freezes", "Freezes", &columns).with(rows);
    let mut blocks = Vec::new();
    if all.is_empty() {
        blocks.push(Block::Empty(Empty::new(
            "Nothing is frozen",
            "While a freeze holds no release gets more requests; going back is always possible.",
        )));
    } else {
        blocks.push(Block::Figure(Box::new(Figure {
            id: "calendar".into(),
            title: "Freeze calendar".into(),
            picture,
            note: match all.len().checked_sub(Spans::MOST) {
                None | Some(0) => String::new(),
                Some(more) => {
                    format!("The first {}; {} more stand in the table.", Spans::MOST, count(more as u64))
                }
            },
            numbers: Some("#freezes".into()),
            wide: true,
            ..Figure::default()
        })));
        blocks.push(Block::Table(table));
    }
    let fields = vec![
        Field::new("reason", "Why", "text"),
        Field { value: "all".into(), ..Field::new("endpoint", "Endpoint, or all", "text") },
        Field { value: "now".into(), ..Field::new("from", "From, UTC", "text") },
        Field { value: "until lifted".into(), ..Field::new("until", "Until, UTC", "text") },
    ];
    blocks.push(Block::Form(ask.form("/ui/freezes".into(), "Freeze traffic", "Freeze", fields)));
    let holding =
        all.iter().filter(|(freeze, lasts)| *lasts && freeze.until.is_none_or(|until| until > ask.now));
    for (freeze, _) in holding.take(20) {
        let action = href(&["ui", "freezes", &freeze.id.to_string(), "lift"], &[]);
        let label = format!("Lift freeze {}", freeze.id);
        blocks.push(Block::Form(ask.form(action, &label, &label, Vec::new())));
    }
    Ok(Section::new("freezes", "Freezes", blocks))
}

/// Freezes that were lifted, from the log.
async fn past(ask: &Ask, standing: &[Freeze]) -> Result<Vec<Freeze>, Error> {
    let of = |kind: &str| EventFilter {
        kind: Some(kind.into()),
        limit: Some(PAST),
        order: Order::NewestFirst,
        ..EventFilter::default()
    };
    let db = ask.app.registry().db();
    let lifted = db.events(&of("freeze.lifted")).await?;
    if lifted.is_empty() {
        return Ok(Vec::new());
    }
    let ends: HashMap<u64, Timestamp> = lifted
        .iter()
        .filter_map(|event| match event.kind {
            EventKind::FreezeLifted { freeze } => Some((freeze, event.at)),
            _ => None,
        })
        .collect();
    let set = db.events(&of("freeze.set")).await?;
    Ok(set
        .into_iter()
        .filter_map(|event| match event.kind {
            EventKind::FreezeSet { freeze, endpoint, reason, since, until }
                if standing.iter().all(|one| one.id != freeze) && ends.contains_key(&freeze) =>
            {
                let end = ends.get(&freeze).copied();
                let until = [until, end].into_iter().flatten().min();
                // One that was lifted before it began was never there, which shows as a time without length.
                let from = since.unwrap_or(event.at);
                let from = end.map_or(from, |end| from.min(end));
                Some(Freeze { id: freeze, endpoint, reason, owner: event.actor.name, from, until })
            }
            _ => None,
        })
        .collect())
}
