//! What the project's triggers do next.

use tidemill_core::JobState;
use tidemill_registry::Error;
use tidemill_ui::{Cell, Section, Table, Tone};

use super::ask::Ask;

/// Triggers that fire by the clock, have something waiting, or whose jobs are open; nothing where there are no triggers.
pub(super) async fn section(ask: &Ask) -> Result<Option<Section>, Error> {
    let Some(triggers) = &ask.app.config().triggers else { return Ok(None) };
    let rules = triggers.rules();
    if rules.rules.is_empty() {
        return Ok(None);
    }
    let (pending, open) = triggers.standing().await?;
    let mut rows = Vec::new();
    for rule in &rules.rules {
        let name = rule.trigger.name.clone();
        let (kind, event) = rule.words();
        let next = rule.schedule.as_ref().and_then(|(schedule, _)| schedule.next_fire(ask.now));
        let waiting = pending.get(&name);
        let own = || open.iter().filter(|job| job.trigger == name);
        let state = match (own().find(|job| job.state == JobState::Running), own().count()) {
            (Some(job), _) => Cell::badge(Tone::Busy, format!("job {} runs", job.id)),
            (None, 1) => Cell::badge(Tone::Busy, "1 job waits"),
            (None, many @ 2..) => Cell::badge(Tone::Busy, format!("{many} jobs wait")),
            (None, 0) if waiting.is_some() => Cell::badge(Tone::Busy, "waits for more events"),
            (None, 0) => Cell::None,
        };
        let at = waiting.map(|waiting| waiting.due).into_iter().chain(next).min();
        rows.push((
            at,
            vec![
                Cell::text(name),
                Cell::text(format!("{kind}: {event}")),
                at.map_or_else(|| Cell::text("when it happens"), |at| Cell::Time(at, None)),
                state,
            ],
        ));
    }
    // What comes soonest stands first; what waits for an event has no time.
    rows.sort_by_key(|(at, _)| (at.is_none(), *at));
    let table = Table::new("next", "What comes next", &["trigger", "on", "next", "state"])
        .with(rows.into_iter().map(|(_, row)| row));
    Ok(Some(Section::new("next", "What comes next", vec![tidemill_ui::Block::Table(table)])))
}
