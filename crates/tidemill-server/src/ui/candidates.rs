//! The candidates of a rollout with several: how each stands, the verdict on each, and the form that takes one out.

use tidemill_core::{Digest, Timestamp};
use tidemill_db::delivery::RolloutTransition;
use tidemill_deliver::judge::Course;
use tidemill_deliver::rollout::{Candidate, Fate, Plan, State};
use tidemill_ui::{Badge, Block, Cell, Choice, Field, Section, Table, Tone, href};

use super::ask::Ask;
use super::cones::Folded;
use super::rollout::{Names, percent, release_link};
use super::verdict::{self, About, standing_badge};

/// What the judge of each candidate knew over time, with the candidate's name where there are several.
pub(super) type Known<'a> = Vec<(Option<&'a str>, Vec<Course>)>;

/// What became of a candidate.
fn fate_badge(fate: &Fate) -> Badge {
    let tone = match fate {
        Fate::In => Tone::Busy,
        Fate::Dropped { harm: true, .. } => Tone::Bad,
        Fate::Dropped { harm: false, .. } => Tone::Warn,
        Fate::NotChosen { .. } => Tone::Calm,
        Fate::Chosen { .. } => Tone::Good,
    };
    Badge::new(tone, fate.name())
}

/// All candidates side by side; none where there is only one.
pub(super) fn section(plan: &Plan, state: &State, names: &Names) -> Option<Section> {
    let contest = plan.contest.as_ref()?;
    let metrics = plan.judge.iter().flat_map(|judge| &judge.metrics).map(|metric| metric.name.as_str());
    let columns = ["candidate", "state", "share", "copies", "requests in this stage"];
    let columns: Vec<&str> = columns.into_iter().chain(metrics.clone()).chain(["why", "digest"]).collect();
    let rows = state.candidates(plan).into_iter().map(|one| row(&one, metrics.clone(), names));
    let table = Table::new("candidates", "Candidates", &columns).with(rows.collect::<Vec<_>>());
    let note = format!(
        "Each is judged against the incumbent with its part of the error budget. Whoever does harm is taken out alone; the best of those \
         that pass is chosen by `{}`.",
        contest.winner
    );
    Some(Section::new("candidates", "Candidates", vec![Block::Table(table)]).note(note))
}

fn row<'a>(one: &Candidate<'_>, metrics: impl Iterator<Item = &'a str>, names: &Names) -> Vec<Cell> {
    let views = one.judge.map(|judge| judge.view()).unwrap_or_default();
    let standing = |metric: &str| {
        let view = views.iter().find(|view| view.slice.is_none() && view.metric == metric);
        view.map_or(Cell::None, |view| Cell::Badge(standing_badge(view.standing)))
    };
    let mut cells = vec![
        Cell::Link(release_link(names, one.release)),
        one.fate.map_or(Cell::None, |fate| Cell::Badge(fate_badge(fate))),
        Cell::Text(percent(one.share)),
        Cell::Text(percent(one.copies)),
        Cell::Count(one.requests),
    ];
    cells.extend(metrics.map(standing));
    cells.push(Cell::text(one.fate.and_then(Fate::why).unwrap_or_default()));
    cells.push(Cell::Code(one.release.to_string()));
    cells
}

/// The verdict on each candidate, those that are in first.
pub(super) fn verdicts(
    ask: &Ask,
    (plan, state): (&Plan, &State),
    folded: &Folded,
    began: Timestamp,
    phases: &[RolloutTransition],
) -> Vec<Block> {
    let (living, units) = (state.living(plan), verdict::Units::of(ask, plan));
    let mut order: Vec<(usize, &Digest)> =
        folded.cones.iter().map(|(release, _)| release).enumerate().collect();
    order.sort_by_key(|(_, release)| !living.contains(release));
    let mut blocks = Vec::new();
    for (at, release) in order {
        let Some((_, cone)) = folded.cones.get(at) else { continue };
        let about = plan.name_of(*release).map(|name| About { number: at + 1, name });
        blocks.extend(verdict::sections(ask, (cone, folded.is_whole), &units, about, began, phases));
    }
    blocks
}

/// What the judge of each candidate knew over time.
pub(super) fn known<'a>(plan: &'a Plan, folded: Option<&Folded>) -> Known<'a> {
    let cones = folded.into_iter().flat_map(|folded| &folded.cones);
    cones.map(|(release, cone)| (plan.name_of(*release), cone.courses())).collect()
}

/// The numbers of a moment, of every candidate.
pub(super) fn at_moment(known: &Known<'_>, at: Timestamp) -> String {
    let texts = known.iter().filter_map(|(name, courses)| {
        let said = verdict::at_moment(courses, at);
        let said = Some(said).filter(|said| !said.is_empty())?;
        Some(name.map_or_else(|| said.clone(), |name| format!("{name}: {said}")))
    });
    texts.collect::<Vec<_>>().join("; ")
}

/// The form that takes a candidate out, where one can be.
pub(super) fn drop_form(ask: &Ask, id: u64, plan: &Plan, state: &State) -> Option<Block> {
    let living: Vec<Candidate<'_>> =
        state.candidates(plan).into_iter().filter(|one| one.fate == Some(&Fate::In)).collect();
    if living.len() < 2 {
        return None;
    }
    let names = living.iter().filter_map(|one| one.name);
    let candidates = names.enumerate().map(|(at, name)| Choice::new(name, name, at == 0));
    let harm = [
        Choice::new("no", "no; it may be tried again", true),
        Choice::new("yes", "yes; it goes into quarantine", false),
    ];
    let fields = vec![
        Field { choices: candidates.collect(), ..Field::new("candidate", "Candidate", "text") },
        Field { choices: harm.to_vec(), ..Field::new("harm", "Was harm seen", "text") },
        Field::new("reason", "Why it leaves; the others go on", "text"),
    ];
    let action = href(&["ui", "rollouts", &id.to_string(), "drop"], &[]);
    Some(Block::Form(ask.form(action, "Take a candidate out", "Drop", fields)))
}
