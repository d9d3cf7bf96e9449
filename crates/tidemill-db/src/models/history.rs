//! Where aliases pointed over time, read from the log. The log outlives the model: the history of a deleted one can
//! still be read, and a renamed one takes its history along.

use tidemill_core::{Actor, Event, EventKind, Timestamp};

use crate::{Db, EventFilter, Result};

/// An alias that was pointed at a version, moved, or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasMove {
    /// The event's place in the log.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// The model's name at that time.
    pub model: String,
    /// The version before.
    pub from: Option<u64>,
    /// The version after; none where the alias was removed, or the model went on under another name.
    pub to: Option<u64>,
}

impl Db {
    /// Every move of an alias of the model, as it happened.
    pub async fn alias_history(&self, model: &str, alias: &str) -> Result<Vec<AliasMove>> {
        let renames = self.of_kind("model.renamed", None).await?;
        let mut moves = Vec::new();
        let mut left = Vec::new();
        // From the newest name back to the oldest: the events of each name count before it was given away.
        let (mut name, mut before) = (model.to_owned(), u64::MAX);
        loop {
            let born = self.last_birth(&name, before).await?;
            let came = renames.iter().rev().find_map(|event| match &event.kind {
                EventKind::ModelRenamed { model, to } if *to == name && event.seq < before => {
                    Some((event.seq, model.clone()))
                }
                _ => None,
            });
            // Of a name that came by renaming, only what followed belongs to this model.
            let came = came.filter(|(seq, _)| born.is_none_or(|born| born < *seq));
            let after = came.as_ref().map_or(0, |(seq, _)| *seq);
            let within = |seq: u64| seq > after && seq < before;
            let events = self.of_kind("alias.moved", Some(&name)).await?;
            moves.extend(
                events
                    .into_iter()
                    .filter(|event| within(event.seq))
                    .filter_map(|event| alias_move(event, alias)),
            );
            left.extend(
                renames
                    .iter()
                    .filter(|event| within(event.seq) && event.kind.subject() == format!("model:{name}")),
            );
            match came {
                Some((seq, old)) => (name, before) = (old, seq),
                None => break,
            }
        }
        moves.sort_by_key(|one| one.seq);
        for event in left {
            // Nobody found the alias under this name from then on.
            let EventKind::ModelRenamed { model, .. } = &event.kind else { continue };
            let place = moves.partition_point(|one| one.seq < event.seq);
            let from = place.checked_sub(1).and_then(|last| moves[last].to);
            if from.is_some() {
                let (seq, at, actor) = (event.seq, event.at, event.actor.clone());
                moves.insert(place, AliasMove { seq, at, actor, model: model.clone(), from, to: None });
            }
        }
        Ok(moves)
    }

    /// The version that an alias of the model pointed at after the event of this number.
    pub async fn alias_at_seq(&self, model: &str, alias: &str, seq: u64) -> Result<Option<u64>> {
        let moves = self.alias_history(model, alias).await?;
        Ok(moves.iter().rev().find(|one| one.seq <= seq).and_then(|one| one.to))
    }

    /// The version that an alias of the model pointed at at this time, with what happened in that millisecond.
    pub async fn alias_at_time(&self, model: &str, alias: &str, at: Timestamp) -> Result<Option<u64>> {
        let moves = self.alias_history(model, alias).await?;
        Ok(moves.iter().rev().find(|one| one.at <= at).and_then(|one| one.to))
    }

    async fn of_kind(&self, kind: &str, model: Option<&str>) -> Result<Vec<Event>> {
        let filter = EventFilter {
            kind: Some(kind.to_owned()),
            subject: model.map(|model| format!("model:{model}")),
            ..EventFilter::default()
        };
        self.events(&filter).await
    }

    /// When a model of this name was last registered before an event.
    async fn last_birth(&self, name: &str, before: u64) -> Result<Option<u64>> {
        let births = self.of_kind("model.registered", Some(name)).await?;
        Ok(births.iter().map(|event| event.seq).filter(|seq| *seq < before).max())
    }
}

fn alias_move(event: Event, wanted: &str) -> Option<AliasMove> {
    let Event { seq, at, actor, kind, .. } = event;
    match kind {
        EventKind::AliasMoved { model, alias, from, to } if alias == wanted => {
            Some(AliasMove { seq, at, actor, model, from, to })
        }
        _ => None,
    }
}
