//! The project for its owner, who is not technical: what it decides, what that is worth, whether it is well, what changed and who
//! agreed, and what waits for a decision. One page that can be printed.

use tidemill_core::EventKind;
use tidemill_core::declare::{Better, Costs, Risk};
use tidemill_db::delivery::Rollout;
use tidemill_db::models::ModelVersion;
use tidemill_db::{EventFilter, Order};
use tidemill_registry::Error;
use tidemill_train::report::{CostReport, Report};
use tidemill_ui::{
    Area, Badge, Block, Cell, Empty, Facts, Page, Section, Table, Tone, count, moment, number,
};

use super::Made;
use super::ask::Ask;
use super::projects::Scope;
use super::rivers::Shared;
use super::rollout::{names, release_link, rollout_link, title, titles};
use super::stations::{self, Blocked};
use super::{delivery, earned, evaluation, serving};
use crate::About;
use crate::delivery::{plan_of, quarantines, standing, word_ends};

/// Changes that are listed.
const CHANGES: usize = 10;
/// Decisions that errors are counted in.
const THOUSAND: f64 = 1_000.0;

pub(super) async fn owner(ask: Ask) -> Made {
    let about = ask.app.config().about.clone().unwrap_or_default();
    let shared = Shared::read(&ask).await?;
    let (_, blocked) = stations::look(&ask, &Scope::whole(&ask).await?, &shared);
    let version = champion(&ask, &about).await?;
    let report = match &version {
        Some(version) => evaluation::report(&ask, version).await,
        None => None,
    };
    let decisions = decisions(&ask, &shared.rollouts).await?;
    let title = if about.project.is_empty() { "For the owner".to_owned() } else { about.project.clone() };
    let blocks = vec![
        Block::Section(purpose(&about)),
        Block::Section(money(&ask, &about, version.as_ref(), report.as_ref()).await?),
        Block::Section(health(&blocked, decisions.rows.len())),
        Block::Section(Section::new("decisions", "What needs a decision", vec![Block::Table(decisions)])),
        Block::Section(changes(&ask).await?),
    ];
    Ok(Page {
        title,
        area: Area::Owner,
        lead: format!(
            "As of {} UTC. One page for whoever answers for it; it can be printed.",
            moment(ask.now)
        ),
        blocks,
        live: EventKind::NAMES.to_vec(),
        ..Page::default()
    })
}

/// The version that decides now: what the released model's alias champion points at, or else its newest one.
async fn champion(ask: &Ask, about: &About) -> Result<Option<ModelVersion>, Error> {
    let db = ask.app.registry().db();
    let model = match &about.model {
        Some(model) => model.clone(),
        None => {
            let found = ask.app.registry().search_models("", &[], Some(1), None).await?;
            let Some(first) = found.items.into_iter().next() else { return Ok(None) };
            first.name
        }
    };
    if let Some(version) = db.aliased_version(&model, "champion").await? {
        return Ok(Some(version));
    }
    Ok(db.model_versions_before(&model, None, 1).await?.pop())
}

pub(super) fn purpose(about: &About) -> Section {
    let Some(objective) = &about.objective else {
        return Section::new(
            "purpose",
            "What it decides",
            vec![Block::Empty(
                Empty::new(
                    "The project file does not say what is decided",
                    "Under `objective` it says in one sentence what the model is for, what errors cost and which number it must move:",
                )
                .code("objective:\n  decision: Ring the arrival team for departures that will land late.\n  task: {kind: classification, target: late, positive: 1}\n  costs: {currency: EUR, false_negative: 120, false_positive: 15}"),
            )],
        );
    };
    let mut blocks = Vec::new();
    if let Some(decision) = &objective.decision {
        blocks.push(Block::Text(decision.clone()));
    }
    let kpi = objective.kpi.as_ref().map(|kpi| {
        let unit = kpi.unit.as_ref().map(|unit| format!(" in {unit}")).unwrap_or_default();
        let way = match kpi.better {
            Better::Lower => "less is better",
            Better::Higher => "more is better",
        };
        Cell::Text(format!("{}{unit}, {way}", kpi.name.replace('_', " ")))
    });
    let risk = match objective.risk {
        Risk::Minimal => "minimal: nothing much happens when it is wrong",
        Risk::Limited => "limited: money or comfort",
        Risk::High => "high: safety, rights, or large sums",
    };
    let facts = Facts::new("purpose")
        .with("It predicts", Cell::text(objective.task.target.replace('_', " ")))
        .maybe("The number it must move", kpi)
        .with("Risk", Cell::text(risk))
        .maybe("Answers for it", about.team.clone().map(Cell::text))
        .maybe("Reached at", about.contact.clone().map(Cell::text));
    blocks.push(Block::Facts(facts));
    Section::new("purpose", "What it decides", blocks)
}

/// An amount of money.
pub(super) fn money_text(amount: f64, currency: &str) -> String {
    format!("{} {currency}", number((amount * 100.0).round() / 100.0))
}

async fn money(
    ask: &Ask,
    about: &About,
    version: Option<&ModelVersion>,
    report: Option<&Report>,
) -> Result<Section, Error> {
    let mut blocks = Vec::new();
    let cost = report.and_then(|report| Some((report, report.decision.as_ref()?.cost.as_ref()?)));
    match cost {
        Some((report, cost)) => blocks.extend(worth(report, cost)),
        None if version.is_none() => blocks.push(Block::Empty(Empty::new(
            "No model is registered yet",
            "What decisions are worth is measured when a model is trained and registered.",
        ))),
        None => blocks.push(Block::Empty(Empty::new(
            "What its errors cost is not known",
            "The project file says what each kind of error costs, under `objective`; the next training then measures it.",
        ))),
    }
    let earned = earned::earned(ask.app.registry().db()).await?;
    blocks.extend(earned.iter().enumerate().map(|(at, earned)| earned.block(at)));
    blocks.push(Block::Text(production(ask, earned.is_empty()).await?));
    let section = Section::new("money", "What it is worth", blocks);
    Ok(match version.filter(|_| cost.is_some()) {
        Some(version) => section.note(format!(
            "In testing: measured for {} version {} on records that it did not learn from{}.",
            version.model,
            version.version,
            if about.objective.is_some() {
                ", with the costs of the project file as they were then"
            } else {
                ""
            }
        )),
        None => section,
    })
}

fn worth(report: &Report, cost: &CostReport) -> Vec<Block> {
    let currency = cost.costs.currency.as_deref().unwrap_or("units");
    let range = cost.saving_interval.as_ref().map(|interval| {
        let ends = [interval.lower, interval.upper].map(|end| money_text(end * THOUSAND, currency));
        format!("between {} and {}", ends[0], ends[1])
    });
    let better = if cost.never <= cost.always { "never acting" } else { "always acting" };
    let word = if cost.saving >= 0.0 { "Saved" } else { "Lost" };
    let facts = Facts::new("money")
        .large()
        .with(
            format!("{word} in 1000 decisions"),
            Cell::Text(money_text(cost.saving.abs() * THOUSAND, currency)),
        )
        .maybe("Quite certainly", range.map(Cell::Text))
        .with("Compared with", Cell::text(better))
        .with(
            "Errors still cost",
            Cell::Text(format!("{} in 1000", money_text(cost.model * THOUSAND, currency))),
        );
    let mut blocks = vec![Block::Facts(facts)];
    blocks.extend(errors(report, &cost.costs, currency).map(Block::Table));
    blocks
}

/// How often each kind of error happens in a thousand decisions, and what it costs.
fn errors(report: &Report, costs: &Costs, currency: &str) -> Option<Table> {
    let [first, second] = report.confusion.as_slice() else { return None };
    let ([quiet, alarm], [miss, hit]) = (first.as_slice(), second.as_slice()) else { return None };
    let total = quiet + alarm + miss + hit;
    if total <= 0.0 {
        return None;
    }
    let rows = [
        ("Missed: it should have acted", miss, costs.false_negative),
        ("False alarm: it acted for nothing", alarm, costs.false_positive),
    ];
    let rows = rows.into_iter().map(|(kind, weight, each)| {
        let often = weight / total * THOUSAND;
        vec![
            Cell::text(kind),
            Cell::Number((often * 10.0).round() / 10.0),
            Cell::Text(money_text(each, currency)),
            Cell::Text(money_text(often * each, currency)),
        ]
    });
    Some(
        Table::new(
            "errors",
            "Errors and what they cost",
            &["error", "in 1000 decisions", "each costs", "together"],
        )
        .with(rows),
    )
}

/// What is known from production, in a sentence.
async fn production(ask: &Ask, only_tested: bool) -> Result<String, Error> {
    let totals = serving::totals(ask);
    let (requests, failed) = serving::answered(totals.iter());
    let known = ask.app.registry().db().all_outcome_counts().await?;
    let answered = match requests {
        0 => "No request for a decision came since the server was started.".to_owned(),
        all => format!(
            "Since the server was started {} decisions were asked for and {} could not be answered.",
            count(all),
            count(failed)
        ),
    };
    let outcomes = match (known.matched, known.waiting) {
        (0, 0) => "What came of decisions is not reported back yet, so the money they saved in daily use is not known.".to_owned(),
        (matched, waiting) => format!(
            "What came of {} decisions is known, {} reports wait for their decision{}.",
            count(matched),
            count(waiting),
            if only_tested { "; the money above is from testing, not from these" } else { "" }
        ),
    };
    Ok(format!("{answered} {outcomes}"))
}

fn health(blocked: &[Blocked], decisions: usize) -> Section {
    let (badge, text) = match blocked.len() {
        0 => (
            Badge::new(Tone::Good, "well"),
            "Data, tests, models and delivery are as they should be.".to_owned(),
        ),
        1 => (Badge::new(Tone::Warn, "one thing is not as it should be"), "It is listed below.".to_owned()),
        many => (
            Badge::new(Tone::Warn, format!("{many} things are not as they should be")),
            "They are listed below.".to_owned(),
        ),
    };
    let waits = match decisions {
        0 => String::new(),
        1 => " One thing waits for a decision.".to_owned(),
        many => format!(" {many} things wait for a decision."),
    };
    let mut blocks = vec![
        Block::Facts(Facts::new("health").with("It is", Cell::Badge(badge))),
        Block::Text(format!("{text}{waits}")),
    ];
    if !blocked.is_empty() {
        let rows = blocked.iter().map(|one| vec![one.what.clone(), Cell::text(one.why.clone())]);
        blocks.push(Block::Table(
            Table::new("blocked", "What is not as it should be", &["what", "why"]).with(rows),
        ));
    }
    Section::new("health", "Health", blocks)
}

/// Rollouts that go on only when somebody decides, and quarantines that end when a second person says so, too.
async fn decisions(ask: &Ask, live: &[Rollout]) -> Result<Table, Error> {
    let mut plans = Vec::new();
    for (rollout, why) in delivery::undecided(live, ask.now)? {
        plans.push((rollout, plan_of(rollout)?, standing(rollout, ask.now)?, why));
    }
    let held = quarantines(ask.app.registry().db(), ask.now).await?;
    let kept = held.iter().map(|(entry, _)| entry.release);
    let names = names(ask, plans.iter().flat_map(|(_, plan, ..)| plan.candidates()).chain(kept)).await?;
    let lifts = held.iter().filter_map(|(entry, words)| {
        let word = words.first()?;
        Some(vec![
            Cell::link("/delivery#quarantine", "quarantine"),
            Cell::Text(format!("{} again in {}", title(&names, entry.release), entry.environment)),
            Cell::Text(format!(
                "for another person to say so, too, until {} UTC; {} said: {}",
                moment(word_ends(word)),
                word.by,
                word.reason
            )),
            Cell::Time(word.at, Some(ask.now)),
        ])
    });
    let rows = plans.iter().map(|(rollout, plan, state, why)| {
        vec![
            Cell::Link(rollout_link(rollout.id)),
            Cell::Text(format!("{} for {}", titles(&names, plan, state), rollout.made.environment)),
            Cell::text(why.clone()),
            Cell::Time(rollout.updated_at, Some(ask.now)),
        ]
    });
    let columns = ["where", "what", "waits", "since"];
    let table = Table::new("decisions", "What needs a decision", &columns).with(rows.chain(lifts));
    Ok(table.or(Empty::new(
        "Nothing needs a decision",
        "Releases that wait for approval appear here, with the page on which they are approved.",
    )))
}

async fn changes(ask: &Ask) -> Result<Section, Error> {
    let db = ask.app.registry().db();
    let filter = EventFilter {
        kind: Some("environment.moved".into()),
        limit: Some(CHANGES),
        order: Order::NewestFirst,
        ..EventFilter::default()
    };
    let events = db.events(&filter).await?;
    let moves: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::EnvironmentMoved { environment, from, to, rollout, .. } => {
                Some((event, environment.clone(), *from, *to, *rollout))
            }
            _ => None,
        })
        .collect();
    let digests = moves.iter().flat_map(|(_, _, from, to, _)| from.iter().copied().chain([*to]));
    let names = names(ask, digests).await?;
    let people = delivery::approvals(ask).await?;
    let mut rows = Vec::with_capacity(moves.len());
    for (event, environment, from, to, rollout) in moves {
        // Only environments' last rollouts are read at once.
        let approved = match people.get(&rollout) {
            Some(people) => people.clone(),
            None => db.approvals(rollout).await?,
        };
        let approved = approved.into_iter().map(|approval| approval.by).collect::<Vec<_>>().join(", ");
        rows.push(vec![
            Cell::Time(event.at, Some(ask.now)),
            Cell::text(environment),
            Cell::text(from.map_or_else(|| "nothing".to_owned(), |from| title(&names, from))),
            Cell::Link(release_link(&names, to)),
            Cell::text(if approved.is_empty() { "nobody had to".to_owned() } else { approved }),
            Cell::Link(rollout_link(rollout)),
        ]);
    }
    let columns = ["when", "where", "before", "now", "approved by", "how it went"];
    let table = Table::new("changes", "What changed", &columns).with(rows).or(Empty::new(
        "Nothing changed yet",
        "What environments run, and who agreed to it, is listed here.",
    ));
    Ok(Section::new("changes", "What changed, and who approved", vec![Block::Table(table)]))
}
