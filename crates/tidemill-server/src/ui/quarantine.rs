//! Quarantine on the page of delivery: what must not run, who would let it, and the form with which to say so.

use tidemill_db::delivery::{Quarantine, QuarantineWord};
use tidemill_ui::{Block, Cell, Choice, Field, Section, Table, moment};

use super::ask::Ask;
use super::rollout::{Names, release_link, title};
use crate::delivery::word_ends;

/// Releases of which one can be chosen in the form; the command line knows all.
const MOST: usize = 100;

/// The section; nothing where no release is in quarantine.
pub(super) fn section(
    ask: &Ask,
    standing: &[(Quarantine, Vec<QuarantineWord>)],
    names: &Names,
) -> Option<Section> {
    if standing.is_empty() {
        return None;
    }
    let rows = standing.iter().map(|(entry, words)| {
        let who: Vec<String> = words
            .iter()
            .map(|word| format!("{}: {} (until {} UTC)", word.by, word.reason, moment(word_ends(word))))
            .collect();
        vec![
            Cell::Link(release_link(names, entry.release)),
            Cell::text(entry.environment.clone()),
            Cell::text(entry.reason.clone()),
            Cell::Time(entry.at, Some(ask.now)),
            Cell::text(who.join("; ")),
            Cell::Code(entry.release.to_string()),
        ]
    });
    let columns = ["release", "environment", "why", "since", "would lift it", "digest"];
    let table = Table::new("quarantine", "Quarantine", &columns).with(rows);
    let choices = standing.iter().take(MOST).map(|(entry, _)| {
        let text = format!("{} in {}", title(names, entry.release), entry.environment);
        Choice::new(format!("{} {}", entry.release, entry.environment), text, false)
    });
    let fields = vec![
        Field { choices: choices.collect(), ..Field::new("release", "Release", "text") },
        Field::new("reason", "Why it may run again", "text"),
    ];
    let form = ask.form("/ui/quarantines/lift".into(), "End a quarantine", "Let it run again", fields);
    let note = "Releases that did harm; they are not released there again, and neither is what answers the same. A quarantine \
                ends when two people have said so.";
    Some(Section::new("quarantine", "Quarantine", vec![Block::Table(table), Block::Form(form)]).note(note))
}
