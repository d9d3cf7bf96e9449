//! A rollout: its stages, its verdict, what keeps it from going on, what may be done, and everything that happened to it.

use std::collections::HashMap;

use tidemill_core::{Digest, EventKind, Timestamp};
use tidemill_db::delivery::{GateResult, Release, Rollout, RolloutTransition};
use tidemill_db::{EventFilter, Order};
use tidemill_deliver::rollout::{Ending, Hold, Phase, Plan, Route, Stage, State, Until, words};
use tidemill_registry::Error;
use tidemill_ui::{
    Area, Badge, Block, Cell, Crumb, Facts, Field, Link, Page, Section, Stages, Table, Tone, count, href,
};

use super::ask::Ask;
use super::candidates::{self, Known};
use super::words::{long, phase_badge};
use super::{Made, cones};
use crate::delivery::{plan_of, record_in_words, recorded, standing};

/// Events after which pages of delivery are not up to date.
pub(super) const LIVE: [&str; 12] = [
    "release.created",
    "rollout.started",
    "rollout.moved",
    "rollout.approved",
    "environment.moved",
    "environment.recorded",
    "environment.unrecorded",
    "release.quarantined",
    "quarantine.lift_asked",
    "quarantine.lifted",
    "freeze.set",
    "freeze.lifted",
];
/// Events of one rollout that are looked through for who did what.
const EVENTS: usize = 500;

/// Model and version of releases, by digest.
pub(super) type Names = HashMap<Digest, Release>;

/// What releases are called.
pub(super) async fn names(ask: &Ask, digests: impl Iterator<Item = Digest>) -> Result<Names, Error> {
    let mut wanted: Vec<Digest> = digests.collect();
    wanted.sort_unstable();
    wanted.dedup();
    let found = ask.app.registry().db().releases_of(&wanted).await?;
    Ok(found.into_iter().map(|release| (release.digest, release)).collect())
}

/// A release in words: model and version where they are known.
pub(super) fn title(names: &Names, release: Digest) -> String {
    names.get(&release).map_or_else(|| release.short(), |known| format!("{} v{}", known.model, known.version))
}

/// What a rollout is of, in words: the release, the one that was chosen of several, or the first and how many more.
pub(super) fn titles(names: &Names, plan: &Plan, state: &State) -> String {
    let more = match (&plan.contest, state.winner()) {
        (Some(contest), None) => format!(" and {} more", contest.candidates.len() - 1),
        _ => String::new(),
    };
    format!("{}{more}", title(names, state.winner().unwrap_or(plan.candidate)))
}

/// The link to a release.
pub(super) fn release_link(names: &Names, release: Digest) -> Link {
    Link::new(href(&["delivery", "releases", &release.to_string()], &[]), title(names, release))
}

/// The links to releases.
pub(super) fn release_cell(names: &Names, releases: &[Digest]) -> Cell {
    match releases {
        [one] => Cell::Link(release_link(names, *one)),
        several => Cell::Many(several.iter().map(|one| Cell::Link(release_link(names, *one))).collect()),
    }
}

/// The link to a rollout.
pub(super) fn rollout_link(id: u64) -> Link {
    Link::new(href(&["delivery", "rollouts", &id.to_string()], &[]), format!("rollout {id}"))
}

pub(super) async fn rollout(ask: Ask) -> Made {
    let db = ask.app.registry().db();
    let missing = || Error::missing(format!("there is no rollout {}", ask.part(0)));
    let id: u64 = ask.part(0).parse().map_err(|_| missing())?;
    let found = db.rollout(id).await?.ok_or_else(missing)?;
    let (plan, state) = (plan_of(&found)?, standing(&found, ask.now)?);
    let names = names(&ask, plan.candidates().into_iter().chain(plan.incumbent)).await?;
    let phases = db.rollout_transitions(id).await?;
    let moments: Vec<Timestamp> = phases.iter().map(|phase| phase.at).collect();
    let folded = cones::fold(&ask, &found, &plan, &moments).await?;
    let known = candidates::known(&plan, folded.as_ref());

    let mut facts = figures(&ask, &found, &plan, &state, &names);
    for release in state.living(&plan) {
        let Some(agreement) = state.agreement(release) else { continue };
        let of =
            if plan.contest.is_some() { format!(" of {}", title(&names, release)) } else { String::new() };
        facts = facts.with(format!("Agreed as a shadow{of}"), Cell::Text(agreement.words()));
    }
    if let Some(said) = recorded(db, id).await?.and_then(|event| record_in_words(&event.kind)) {
        facts = facts.with("Record in Git", Cell::text(said));
    }
    let mut blocks = vec![
        Block::Section(Section::new("figures", "", vec![Block::Facts(facts)])),
        Block::Section(Section::new("stages", "Stages", vec![Block::Stages(stages(&plan, &state, &phases))])),
    ];
    blocks.extend(candidates::section(&plan, &state, &names).map(Block::Section));
    if !found.is_over && !state.phase.is_over() {
        blocks.push(Block::Section(decisions(&ask, id, &plan, &state)));
    }
    if let Some(folded) = &folded {
        blocks.extend(candidates::verdicts(&ask, (&plan, &state), folded, found.made.at, &phases));
    }
    blocks.push(Block::Section(timeline(&ask, id, &phases, &known).await?));
    blocks.push(Block::Columns(vec![
        vec![Block::Section(Section::new("traffic", "Traffic", vec![Block::Table(traffic(&state, &names))]))],
        vec![Block::Section(people(&ask, id, &plan, &state).await?)],
    ]));
    blocks.push(Block::Section(gates(&ask, id).await?));
    Ok(Page {
        title: format!("Rollout {id}: {} at {}", titles(&names, &plan, &state), plan.endpoint),
        area: Area::Delivery,
        crumbs: vec![Crumb::new("/delivery", "Delivery")],
        badges: vec![badge(&found, &state)],
        lead: lead(&found, &state, &ask),
        blocks,
        live: LIVE.to_vec(),
        growing: !found.is_over,
        ..Page::default()
    })
}

/// How a rollout stands.
pub(super) fn badge(rollout: &Rollout, state: &State) -> Badge {
    if rollout.is_waiting {
        Badge::new(Tone::Busy, "waiting for another rollout")
    } else {
        phase_badge(state.phase.name())
    }
}

fn lead(rollout: &Rollout, state: &State, ask: &Ask) -> String {
    if rollout.is_waiting {
        return "It begins when no other rollout of the endpoint is on its way.".into();
    }
    match (&state.phase, &state.hold) {
        (Phase::Complete, _) => "It is over: the release answers all requests.".into(),
        (Phase::RolledBack, _) => "It is over: requests went back, and the release is in quarantine.".into(),
        (Phase::Aborted, _) => "It is over: somebody ended it.".into(),
        (Phase::Superseded, _) => "It is over: another rollout took its place.".into(),
        (Phase::Refused, _) => {
            "It is over: the release did not pass the checks before its first request.".into()
        }
        (Phase::GoingBack { .. }, _) => "Requests are going back to the release that had them.".into(),
        (_, Some(hold)) => format!("It waits: {}.", held(hold, ask.now)),
        (_, None) => "It goes on by itself.".into(),
    }
}

/// What keeps a rollout from going on, in words.
pub(super) fn held(hold: &Hold, now: Timestamp) -> String {
    match hold {
        Hold::Traffic => "the last change of traffic is being brought about".into(),
        Hold::Freeze { id, reason } => format!("freeze {id}: {reason}"),
        Hold::Window { opens: Some(opens) } => {
            format!("for the hours in which it may get more requests: in {}", long(opens.since(now)))
        }
        Hold::Window { opens: None } => {
            "for the hours in which it may get more requests: none in the next two weeks".into()
        }
        Hold::Verdict { why } => format!("for the judge: {}", words(why)),
        Hold::Samples { have, need } => format!("for requests: {} of {}", count(*have), count(*need)),
        Hold::Time { until } => format!("for time to pass: {} left", long(until.since(now))),
        Hold::Candidates { waiting } => {
            let texts = waiting.iter().map(|one| format!("{} waits {}", one.name, held(&one.hold, now)));
            format!("for all candidates: {}", texts.collect::<Vec<_>>().join("; "))
        }
        Hold::Approvals { have, need, role } => {
            format!("for {need} approval(s) of the role {role}: {have} so far")
        }
        Hold::TimedOut { why } if why.is_empty() => "the stage ran out of time; somebody must decide".into(),
        Hold::TimedOut { why } => format!("the stage ran out of time; somebody must decide: {}", words(why)),
    }
}

/// Whether it goes on only when somebody decides.
pub(super) fn waits_for_people(hold: &Hold) -> bool {
    matches!(hold, Hold::Approvals { .. } | Hold::Freeze { .. } | Hold::TimedOut { .. })
}

/// A share of requests that is given in ten thousandths.
pub(super) fn percent(share: u32) -> String {
    format!("{} %", tidemill_ui::number(f64::from(share) / 100.0))
}

fn figures(ask: &Ask, rollout: &Rollout, plan: &Plan, state: &State, names: &Names) -> Facts {
    let of = state.winner().map_or_else(|| plan.candidates(), |winner| vec![winner]);
    Facts::new("rollout")
        .large()
        .with("Environment", Cell::text(plan.environment.clone()))
        .with("Endpoint", Cell::link(href(&["serving", &plan.endpoint], &[]), plan.endpoint.clone()))
        .with(if of.len() > 1 { "Candidates" } else { "Candidate" }, release_cell(names, &of))
        .with(
            "Incumbent",
            plan.incumbent.map_or(Cell::text("none"), |incumbent| Cell::Link(release_link(names, incumbent))),
        )
        .with("Share of requests", Cell::Text(percent(state.given(plan))))
        .with("Held out until the end", Cell::Text(percent(plan.holdout)))
        .with("Led to it by rules", routes(plan))
        .with("Requests in this stage", Cell::Count(state.requests))
        .with("Began", Cell::Time(rollout.made.at, Some(ask.now)))
        .with("Author", Cell::text(plan.authors().join(", ")))
}

/// Requests that are led to the candidate.
fn routes(plan: &Plan) -> Cell {
    let words: Vec<String> = plan.routes.iter().map(Route::words).collect();
    if words.is_empty() { Cell::text("none") } else { Cell::Text(words.join("; ")) }
}

fn until(until: &Until) -> String {
    let mut parts = Vec::new();
    if until.verdict {
        parts.push("the judge says advance".to_owned());
    }
    if until.samples > 1 {
        parts.push(format!("{} requests were seen", count(until.samples)));
    }
    if !until.at_least.is_zero() {
        parts.push(format!("{} passed", long(until.at_least)));
    }
    if parts.is_empty() {
        parts.push("a request was answered".to_owned());
    }
    let late = until.at_most.map(|most| format!("; after {} a person decides", long(most)));
    format!("over when {}{}", parts.join(" and "), late.unwrap_or_default())
}

fn stages(plan: &Plan, state: &State, phases: &[RolloutTransition]) -> Stages {
    let each = if plan.contest.is_some() { " each" } else { "" };
    let over = state.phase.is_over() || matches!(state.phase, Phase::GoingBack { .. });
    let complete = state.phase == Phase::Complete;
    // Before the first stage the number is the first stage's too.
    let begun = phases.iter().any(|phase| !matches!(phase.to.as_str(), "pending" | "preflight"));
    let items = plan.stages.iter().enumerate().map(|(at, stage)| {
        let (name, detail, share) = match stage {
            Stage::Shadow { share, until: end } => (format!("shadow {}", percent(*share)), until(end), None),
            Stage::Canary { share, until: end } => {
                (format!("canary {}{each}", percent(*share)), until(end), Some(f64::from(*share) / 10_000.0))
            }
            Stage::Gate { approve } => {
                let people = if approve.people.is_empty() {
                    String::new()
                } else {
                    format!(": {}", approve.people.join(", "))
                };
                ("gate".to_owned(), format!("{} of role {}{people}", approve.count, approve.role), None)
            }
            Stage::Full { settle } if settle.is_zero() => ("full".to_owned(), String::new(), Some(1.0)),
            Stage::Full { settle } => {
                ("full".to_owned(), format!("the incumbent stays ready for {}", long(*settle)), Some(1.0))
            }
        };
        let here = begun && at == state.stage && !over;
        let mark = match (begun, at.cmp(&state.stage)) {
            _ if complete => Badge::new(Tone::Good, "passed"),
            (false, _) | (true, std::cmp::Ordering::Greater) => {
                Badge::new(Tone::Plain, if over { "not reached" } else { "to come" })
            }
            (true, std::cmp::Ordering::Less) => Badge::new(Tone::Good, "passed"),
            (true, std::cmp::Ordering::Equal) if over => ended(&state.phase),
            (true, std::cmp::Ordering::Equal) => match &state.hold {
                Some(hold) if waits_for_people(hold) => Badge::new(Tone::Warn, "waits for people"),
                _ => Badge::new(Tone::Busy, "goes on"),
            },
        };
        tidemill_ui::Stage { name, detail, state: mark, share, here }
    });
    Stages::new("stages", "Stages of the rollout", items.collect())
}

fn ended(phase: &Phase) -> Badge {
    match phase {
        Phase::RolledBack | Phase::GoingBack { then: Ending::RolledBack } => {
            Badge::new(Tone::Bad, "ended here: harm")
        }
        Phase::Refused => Badge::new(Tone::Bad, "refused"),
        _ => Badge::new(Tone::Warn, "ended here"),
    }
}

/// What may be done now. Who may do it is decided where it is done.
fn decisions(ask: &Ask, id: u64, plan: &Plan, state: &State) -> Section {
    let form = |action: &str, label: &str, button: &str, fields: Vec<Field>| {
        let action = href(&["ui", "rollouts", &id.to_string(), action], &[]);
        Block::Form(ask.form(action, label, button, fields))
    };
    let reason = |label: &str| vec![Field::new("reason", label, "text")];
    let mut blocks = Vec::new();
    let awaited = state.inputs(plan);
    if state.phase == Phase::Awaiting {
        let inputs = Field { value: awaited.to_string(), ..Field::new("inputs", "", "hidden") };
        blocks.push(Block::Text(format!(
            "{} made what is released and cannot approve it. You agree to exactly this release and plan, {}.",
            plan.authors().join(", "),
            awaited.short()
        )));
        blocks.push(form("approve", "Approve the rollout", "Approve", vec![inputs]));
    }
    if matches!(state.hold, Some(Hold::TimedOut { .. })) {
        blocks.push(form(
            "proceed",
            "Let the stage pass",
            "Proceed",
            reason("Why it may go on without proof"),
        ));
    }
    blocks.extend(candidates::drop_form(ask, id, plan, state));
    blocks.push(Block::Columns(vec![
        vec![form(
            "abort",
            "End the rollout",
            "Abort",
            reason("Why it ends; the release may be tried again"),
        )],
        vec![form(
            "rollback",
            "Roll back",
            "Roll back",
            reason("Which harm was seen; the release goes into quarantine"),
        )],
    ]));
    Section::new("decide", "Decide", blocks).note("What you do and why stands in the log under your name.")
}

fn traffic(state: &State, names: &Names) -> Table {
    let row = |release: Digest, share: String, how: &str| {
        vec![
            Cell::Link(release_link(names, release)),
            Cell::text(share),
            Cell::text(how),
            Cell::Code(release.to_string()),
        ]
    };
    let table = &state.traffic;
    let answering = table.arms.iter().map(|(release, share)| row(*release, percent(*share), "answers"));
    let shadow = table.shown().map(|(release, share)| row(release, percent(share), "gets copies"));
    let warm = table.warm.iter().map(|release| row(*release, "0 %".into(), "is kept ready"));
    Table::new("traffic", "Traffic that is wanted now", &["release", "share", "how", "digest"])
        .with(answering.chain(shadow).chain(warm))
        .or(tidemill_ui::Empty::new(
            "No traffic yet",
            "The first stage gives the release its first requests.",
        ))
}

/// Every phase with who brought it about and what the judge knew then.
async fn timeline(
    ask: &Ask,
    id: u64,
    phases: &[RolloutTransition],
    known: &Known<'_>,
) -> Result<Section, Error> {
    let filter = EventFilter {
        subject: Some(format!("rollout:{id}")),
        limit: Some(EVENTS),
        order: Order::NewestFirst,
        ..EventFilter::default()
    };
    let events = ask.app.registry().db().events(&filter).await?;
    let event = |phase: &RolloutTransition| {
        events.iter().find(|event| {
            matches!(&event.kind, EventKind::RolloutMoved { to, from, why, .. }
                if *to == phase.to && *from == phase.from && *why == phase.why)
                && event.at == phase.at
        })
    };
    let rows = phases.iter().rev().map(|phase| {
        let event = event(phase);
        vec![
            Cell::Time(phase.at, Some(ask.now)),
            Cell::Badge(phase_badge(&phase.from)),
            Cell::Badge(phase_badge(&phase.to)),
            Cell::Count(phase.stage + 1),
            Cell::text(phase.why.clone()),
            Cell::text(candidates::at_moment(known, phase.at)),
            event.map_or(Cell::None, |event| Cell::text(event.actor.to_string())),
            event.map_or(Cell::None, |event| {
                Cell::link(href(&["log", &event.seq.to_string()], &[]), format!("event {}", event.seq))
            }),
        ]
    });
    let columns = ["when", "from", "to", "stage", "why", "what the judge knew", "by", "in the log"];
    let table = Table::new("phases", "Phases", &columns).with(rows).or(tidemill_ui::Empty::new(
        "Nothing happened yet",
        "The server that serves the endpoint takes the rollout on.",
    ));
    Ok(Section::new("timeline", "What happened", vec![Block::Table(table)])
        .more(href(&["log"], &[("subject", &format!("rollout:{id}"))]), "in the log"))
}

async fn people(ask: &Ask, id: u64, plan: &Plan, state: &State) -> Result<Section, Error> {
    let rows = ask.app.registry().db().approvals(id).await?.into_iter().map(|approval| {
        let state = if state.winner().is_some() && approval.inputs == state.inputs(plan) {
            Badge::new(Tone::Good, "of the one that was chosen")
        } else if approval.inputs == plan.inputs {
            Badge::new(Tone::Good, "of this plan")
        } else {
            Badge::new(Tone::Warn, "of another plan")
        };
        vec![
            Cell::text(approval.by),
            Cell::text(approval.role),
            Cell::Badge(state),
            Cell::Time(approval.at, Some(ask.now)),
        ]
    });
    let table = Table::new("approvals", "Approvals", &["who", "role", "what", "when"]).with(rows).or(
        tidemill_ui::Empty::new(
            "Nobody approved it",
            "Stages of the kind gate wait for approvals; this plan may have none.",
        ),
    );
    Ok(Section::new("people", "Approvals", vec![Block::Table(table)]))
}

/// What a gate said: its name, how it came out, what it found, the evidence, and when.
pub(super) fn gate_cells(ask: &Ask, gate: GateResult) -> Vec<Cell> {
    let (tone, word) = if gate.passed { (Tone::Good, "passed") } else { (Tone::Bad, "refused") };
    vec![
        Cell::text(gate.gate),
        Cell::badge(tone, word),
        Cell::text(gate.detail),
        gate.evidence.map_or(Cell::None, |digest| Cell::Code(digest.to_string())),
        Cell::Time(gate.at, Some(ask.now)),
    ]
}

async fn gates(ask: &Ask, id: u64) -> Result<Section, Error> {
    let results = ask.app.registry().db().gate_results(id).await?;
    let rows = results.into_iter().map(|gate| gate_cells(ask, gate));
    let table = Table::new("gates", "Gates", &["gate", "outcome", "what was found", "evidence", "when"])
        .with(rows)
        .or(tidemill_ui::Empty::new(
            "No gate was asked yet",
            "Before its first request the candidate is loaded and compared with the incumbent.",
        ));
    Ok(Section::new("gates", "Gates", vec![Block::Table(table)]))
}
