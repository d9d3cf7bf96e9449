//! Which of several outcomes of one name a request has: the last one by its time.
//!
//! The time of an outcome is the one that its sender says, else when it came. Of the same time it is the one that came last, unless it only
//! says again what was said of that time before. What is said again changes nothing, so whoever is not sure may send a table twice.

use std::collections::{HashMap, HashSet};

use tidemill_core::Timestamp;

use super::{Outcome, OutcomeState};
use crate::dialect::{self, Rows};
use crate::{Result, Tx};

/// Request, row (−1 for all) and name.
type Key = (String, i64, String);

/// Number and text as they can be compared.
type Value = (Option<u64>, Option<String>);

/// The outcome that a request has of a name.
#[derive(Clone, Debug)]
struct Held {
    id: i64,
    /// The place of the outcome among those that are settled; none of one that was before.
    place: Option<usize>,
    value: Value,
    /// The latest time of all that were said of the request.
    latest: i64,
}

/// What becomes of outcomes that found their requests.
pub(super) struct Decided {
    /// Of each in its order.
    pub(super) states: Vec<OutcomeState>,
    /// Those of before that stand no longer.
    pub(super) replaced: Vec<i64>,
}

/// What requests have already. The order of `CROSS JOIN` is kept by SQLite, which else reads all outcomes of all endpoints where more than a few
/// rows are given; `COALESCE` keeps it from looking for them by their state.
pub(super) const HELD: &str = "SELECT r.matched_id, r.matched_row, r.name,
        CAST(MAX(CASE WHEN o.state = 'matched' THEN o.id END) AS BIGINT),
        MAX(CASE WHEN o.state = 'matched' THEN o.number END), MAX(CASE WHEN o.state = 'matched' THEN o.text END),
        CAST(MAX(COALESCE(o.occurred_at, o.received_at)) AS BIGINT)
    FROM {rows} CROSS JOIN outcome o
    WHERE o.endpoint = r.endpoint AND o.matched_id = r.matched_id AND o.name = r.name
    AND COALESCE(o.matched_row, -1) = r.matched_row
    GROUP BY r.matched_id, r.matched_row, r.name";

/// Which of these were said before of the same time.
const SAID: &str = "SELECT DISTINCT r.place FROM {rows} CROSS JOIN outcome o
    WHERE o.endpoint = r.endpoint AND o.matched_id = r.matched_id AND o.name = r.name
    AND COALESCE(o.matched_row, -1) = r.matched_row
    AND COALESCE(o.occurred_at, o.received_at) = r.said_at
    AND o.number IS NOT DISTINCT FROM r.number AND o.text IS NOT DISTINCT FROM r.text";

/// Request, row, name; number of the outcome, its value, and the latest time of all.
type HeldRow = (String, i64, String, Option<i64>, Option<f64>, Option<String>, Option<i64>);

/// Decides what becomes of outcomes of one endpoint.
pub(super) async fn decided(tx: &mut Tx, endpoint: &str, settled: &[Outcome]) -> Result<Decided> {
    let fail = "look which outcomes requests have";
    let ctx = std::sync::Arc::clone(&tx.transact.ctx);
    let matched: Vec<(usize, &Outcome, Key)> = settled
        .iter()
        .enumerate()
        .filter_map(|(place, outcome)| Some((place, outcome, key(outcome)?)))
        .collect();
    let mut held: HashMap<Key, Held> = HashMap::new();
    if !matched.is_empty() {
        let all: Vec<&Key> = matched.iter().map(|(.., key)| key).collect();
        let rows = about(endpoint, &all);
        let found: Vec<HeldRow> =
            dialect::read_rows(tx.transact.conn(), HELD, &rows).await.map_err(ctx.fail(fail))?;
        for (request, row, name, id, number, text, latest) in found {
            // Where the one that stood is removed, there is none.
            let Some(id) = id else { continue };
            let held_one =
                Held { id, place: None, value: value(number, text), latest: latest.unwrap_or(i64::MIN) };
            held.insert((request, row, name), held_one);
        }
    }
    // Only what says otherwise than what stands can be something that was corrected before.
    let other: Vec<&(usize, &Outcome, Key)> = matched
        .iter()
        .filter(|(_, outcome, key)| {
            held.get(key).is_some_and(|held| held.value != value(outcome.number, outcome.text.clone()))
        })
        .collect();
    let mut said: HashSet<usize> = HashSet::new();
    if !other.is_empty() {
        let all: Vec<&Key> = other.iter().map(|(.., key)| key).collect();
        let rows = about(endpoint, &all)
            .int("place", other.iter().map(|(place, ..)| *place as i64))
            .int("said_at", other.iter().map(|(_, outcome, _)| moment(outcome)))
            .opt_float("number", other.iter().map(|(_, outcome, _)| outcome.number))
            .opt_text("text", other.iter().map(|(_, outcome, _)| outcome.text.as_deref()));
        let found: Vec<(i64,)> =
            dialect::read_rows(tx.transact.conn(), SAID, &rows).await.map_err(ctx.fail(fail))?;
        said.extend(found.into_iter().map(|(place,)| place as usize));
    }
    Ok(decide(settled, held, &said))
}

/// Decides with what requests have already, and the places of those that were said before of the same time.
fn decide(settled: &[Outcome], mut held: HashMap<Key, Held>, said: &HashSet<usize>) -> Decided {
    let mut decided = Decided { states: Vec::with_capacity(settled.len()), replaced: Vec::new() };
    let mut told: HashSet<(Key, i64, Value)> = HashSet::new();
    for (place, outcome) in settled.iter().enumerate() {
        let Some(key) = key(outcome) else {
            let is_given_up = outcome.state == OutcomeState::Unmatched;
            decided.states.push(if is_given_up { OutcomeState::Unmatched } else { OutcomeState::Waiting });
            continue;
        };
        let (at, value) = (moment(outcome), value(outcome.number, outcome.text.clone()));
        let is_again = said.contains(&place) || !told.insert((key.clone(), at, value.clone()));
        let Some(stands) = held.get_mut(&key) else {
            held.insert(key, Held { id: outcome.id, place: Some(place), value, latest: at });
            decided.states.push(OutcomeState::Matched);
            continue;
        };
        let state = if stands.value == value || is_again {
            OutcomeState::Duplicate
        } else if (at, outcome.id) < (stands.latest, stands.id) {
            // It came out of its order: what is later by its time stands already.
            OutcomeState::Corrected
        } else {
            match stands.place.and_then(|place| decided.states.get_mut(place)) {
                Some(state) => *state = OutcomeState::Corrected,
                None => decided.replaced.push(stands.id),
            }
            (stands.id, stands.place, stands.value) = (outcome.id, Some(place), value);
            OutcomeState::Matched
        };
        stands.latest = stands.latest.max(at);
        decided.states.push(state);
    }
    decided
}

fn about<'a>(endpoint: &'a str, keys: &[&'a Key]) -> Rows<'a> {
    Rows::new(keys.len())
        .text("endpoint", keys.iter().map(|_| endpoint))
        .text("matched_id", keys.iter().copied().map(|key| key.0.as_str()))
        .int("matched_row", keys.iter().copied().map(|key| key.1))
        .text("name", keys.iter().copied().map(|key| key.2.as_str()))
}

fn key(outcome: &Outcome) -> Option<Key> {
    let at = outcome.matched.as_ref()?;
    Some((at.request_id.clone(), at.row_number(), outcome.name.clone()))
}

/// One zero, whatever its sign: databases take both for the same.
fn value(number: Option<f64>, text: Option<String>) -> Value {
    (number.map(|number| (number + 0.0).to_bits()), text)
}

/// The time of an outcome.
fn moment(outcome: &Outcome) -> i64 {
    outcome.occurred_at.map_or(outcome.received_at.millis(), Timestamp::millis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcomes::Match;

    /// Outcomes as `value@time`, or `value` for one whose sender says no time and which comes a second after the one before.
    fn outcomes(text: &str) -> Vec<Outcome> {
        let one = |(place, word): (usize, &str)| {
            let (number, at) = word.split_once('@').map_or((word, None), |(number, at)| (number, Some(at)));
            let at = at.map(|at| Timestamp::from_millis(at.parse().unwrap()));
            Outcome {
                id: place as i64 + 1,
                name: "label".to_owned(),
                number: Some(number.parse().unwrap()),
                occurred_at: at,
                received_at: Timestamp::from_millis(1_000 * (place as i64 + 1)),
                matched: Some(Match { request_id: "r".to_owned(), row: None, at: Timestamp::from_millis(0) }),
                ..Outcome::default()
            }
        };
        text.split_whitespace().enumerate().map(one).collect()
    }

    fn told(states: &[OutcomeState]) -> String {
        let letter = |state: &OutcomeState| match state {
            OutcomeState::Waiting => 'w',
            OutcomeState::Matched => 'm',
            OutcomeState::Duplicate => 'd',
            OutcomeState::Corrected => 'c',
            OutcomeState::Unmatched => 'u',
        };
        states.iter().map(letter).collect()
    }

    #[test]
    fn the_last_one_by_its_time_stands() {
        for (sent, expected) in [
            ("1", "m"),
            ("1 1", "md"),
            ("1 0", "cm"),
            ("1 0 0", "cmd"),
            // Nobody says when, so saying the first again later is a statement of its own.
            ("1 0 1", "ccm"),
            ("1@5 0@9", "cm"),
            // It came out of its order.
            ("0@9 1@5", "mc"),
            ("0@9 0@20 1@15", "mdc"),
            // The same time: the one that came last, and what was said of that time before is no news.
            ("1@5 0@5", "cm"),
            ("1@5 0@5 1@5", "cmd"),
            ("1@5 0@5 2@5 0@5 1@5", "ccmdd"),
            ("1@5 0@9 1@5", "cmd"),
            ("0.0 -0.0", "md"),
        ] {
            let found = decide(&outcomes(sent), HashMap::new(), &HashSet::new());
            assert_eq!((told(&found.states).as_str(), found.replaced.len()), (expected, 0), "{sent}");
        }
    }
}
