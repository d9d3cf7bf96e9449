//! Requests counted by the value of an input, while somebody judges groups of them by themselves.
//!
//! Values are told apart for all arms alike and in the order in which they come, up to a number; all others are counted together. So
//! what is held does not grow with requests, and a value means the same for every arm.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::metrics::{LATENCY, bucket, is_failure, is_refusal, is_timed};
use super::route::first;
use crate::{InferError, Named};

/// The longest text that is the name of a group, in bytes.
const LONGEST: usize = 64;
/// What stands for a value that is missing.
const MISSING: &str = "null";
/// The group of requests that were refused and of which the value could not be read. It has a place beside those of values.
pub const UNREAD: &str = "(not read)";

/// The name of the group of a value; none where it is no name, and belongs to all others.
pub fn name(value: &str) -> Option<&str> {
    match value {
        "" | "NaN" => Some(MISSING),
        _ if value.len() > LONGEST || value.chars().any(char::is_control) => None,
        _ => Some(value),
    }
}

/// What was counted of one arm in one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests that the model answered.
    pub answered: u64,
    /// Requests that it did not answer for a reason of its own or of the server.
    pub failed: u64,
    /// Requests that were refused: wrong by what the model takes, or more than it has room for.
    pub refused: u64,
    /// Requests by how long they took, in the buckets of [`LATENCY`] and one for all beyond.
    pub latencies: [u64; LATENCY.len() + 1],
}

impl Tally {
    /// What was counted since `before`; none where nothing was.
    pub fn since(&self, before: &Self) -> Option<Self> {
        let mut latencies = self.latencies;
        for (now, before) in latencies.iter_mut().zip(before.latencies) {
            *now = now.saturating_sub(before);
        }
        let new = Self {
            answered: self.answered.saturating_sub(before.answered),
            failed: self.failed.saturating_sub(before.failed),
            refused: self.refused.saturating_sub(before.refused),
            latencies,
        };
        (new != Self::default()).then_some(new)
    }

    fn add(&mut self, other: &Self) {
        self.answered = self.answered.saturating_add(other.answered);
        self.failed = self.failed.saturating_add(other.failed);
        self.refused = self.refused.saturating_add(other.refused);
        for (sum, more) in self.latencies.iter_mut().zip(other.latencies) {
            *sum = sum.saturating_add(more);
        }
    }
}

/// Counters of an endpoint's requests by the values of some inputs.
#[derive(Debug)]
pub struct Slices {
    columns: Vec<String>,
    most: usize,
    counted: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    /// Of each column the place of each value; that of all others is 0.
    values: Vec<HashMap<Box<str>, usize>>,
    /// By arm, of each column by place.
    arms: HashMap<Arc<str>, Vec<Vec<Tally>>>,
    /// By arm, of each column those that were refused without a value.
    unread: HashMap<Arc<str>, Vec<Tally>>,
}

/// The groups of one request.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    slices: Arc<Slices>,
    /// Of each column; none where the request has no such value.
    places: Arc<[Option<usize>]>,
}

impl Slices {
    /// Counters of up to `most` values of each column, those of `known` first.
    pub(super) fn new(columns: &[String], most: usize, known: impl Fn(&str) -> Vec<String>) -> Self {
        let places = |column: &String| {
            let known = known(column).into_iter().filter(|value| value != UNREAD).take(most).enumerate();
            known.map(|(at, value)| (value.into_boxed_str(), at + 1)).collect()
        };
        let values = columns.iter().map(places).collect();
        let counted = Mutex::new(Counted { values, ..Counted::default() });
        Self { columns: columns.to_vec(), most, counted }
    }

    /// The inputs.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// How many values of each input are told apart.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Adds what another gateway counted of an arm in a group; the value is none for all that have no name there. A value for which there is no
    /// room here belongs to all others. Says whether the input is counted here.
    pub fn add(&self, arm: &str, column: &str, value: Option<&str>, tally: &Tally) -> bool {
        let Some(at) = self.columns.iter().position(|known| known == column) else { return false };
        let mut counted = self.lock();
        let Counted { values, arms, unread } = &mut *counted;
        if value == Some(UNREAD) {
            let of_arm = unread.entry(Arc::from(arm)).or_default();
            of_arm.resize_with(self.columns.len(), Tally::default);
            if let Some(known) = of_arm.get_mut(at) {
                known.add(tally);
            }
            return true;
        }
        let place = match (value.and_then(name), values.get_mut(at)) {
            (Some(value), Some(known)) => self.place(known, value),
            _ => 0,
        };
        let columns = arms.entry(Arc::from(arm)).or_default();
        columns.resize_with(self.columns.len(), Vec::new);
        if let Some(tallies) = columns.get_mut(at) {
            if tallies.len() <= place {
                tallies.resize_with(place + 1, Tally::default);
            }
            if let Some(known) = tallies.get_mut(place) {
                known.add(tally);
            }
        }
        true
    }

    /// The place of a value; that of all others where there is no room for it.
    fn place(&self, known: &mut HashMap<Box<str>, usize>, value: &str) -> usize {
        if let Some(place) = known.get(value) {
            return *place;
        }
        if known.len() >= self.most {
            return 0;
        }
        let place = known.len() + 1;
        known.insert(value.into(), place);
        place
    }

    /// The groups of a request with these inputs, by their first row.
    pub(super) fn mark(self: &Arc<Self>, inputs: &[Named]) -> Mark {
        // No value at all, a value that is no name, or a name.
        let values: Vec<_> = self
            .columns
            .iter()
            .map(|column| {
                let input = inputs.iter().find(|input| input.name == *column);
                let value = input.and_then(|input| first(&input.tensor))?;
                Some(std::str::from_utf8(&value).ok().and_then(name).map(str::to_owned))
            })
            .collect();
        let mut counted = self.lock();
        let places = values
            .into_iter()
            .zip(&mut counted.values)
            .map(|(value, known)| Some(value?.map_or(0, |value| self.place(known, &value))));
        let places = places.collect();
        drop(counted);
        Mark { slices: Arc::clone(self), places }
    }

    /// What was counted of an arm, by column and value; the value is none for all others.
    pub fn counted(&self, arm: &str) -> BTreeMap<(String, Option<String>), Tally> {
        let counted = self.lock();
        let mut found = BTreeMap::new();
        for (column, tally) in self.columns.iter().zip(counted.unread.get(arm).into_iter().flatten()) {
            if *tally != Tally::default() {
                found.insert((column.clone(), Some(UNREAD.to_owned())), tally.clone());
            }
        }
        let of_values = counted.arms.get(arm).into_iter().flatten();
        for ((column, values), tallies) in self.columns.iter().zip(&counted.values).zip(of_values) {
            let named = values.iter().map(|(value, place)| (Some(value.to_string()), *place));
            for (value, place) in named.chain([(None, 0)]) {
                if let Some(tally) = tallies.get(place) {
                    found.insert((column.clone(), value), tally.clone());
                }
            }
        }
        found
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mark {
    /// The model of an arm answered, or did not.
    pub(super) fn count(&self, arm: &Arc<str>, error: Option<&InferError>, took: Duration) {
        let took = is_timed(error).then_some(took);
        let is = |kind: fn(&InferError) -> bool| u64::from(error.is_some_and(kind));
        self.add(arm, [u64::from(error.is_none()), is(is_failure), is(is_refusal)], took);
    }

    /// The caller went before the arm had answered.
    pub(super) fn cancelled(&self, arm: &Arc<str>, took: Duration) {
        self.add(arm, [0; 3], Some(took));
    }

    fn add(&self, arm: &Arc<str>, [answered, failed, refused]: [u64; 3], took: Option<Duration>) {
        let bucket = took.map(bucket);
        let mut counted = self.slices.lock();
        let Counted { values, arms, unread } = &mut *counted;
        let columns = match arms.get_mut(arm) {
            Some(columns) => columns,
            None => arms.entry(Arc::clone(arm)).or_default(),
        };
        columns.resize_with(self.places.len(), Vec::new);
        for (at, (tallies, place)) in columns.iter_mut().zip(&*self.places).enumerate() {
            // Of a request that the model took a value may be missing; of one that it did not nobody knows what it would have been.
            let place = match (place, values.get_mut(at)) {
                (Some(place), _) => *place,
                (None, Some(known)) if refused == 0 => self.slices.place(known, MISSING),
                _ => {
                    let of_arm = unread.entry(Arc::clone(arm)).or_default();
                    of_arm.resize_with(self.places.len(), Tally::default);
                    of_arm[at].refused += refused;
                    continue;
                }
            };
            if tallies.len() <= place {
                tallies.resize_with(place + 1, Tally::default);
            }
            let tally = &mut tallies[place];
            tally.answered += answered;
            tally.failed += failed;
            tally.refused += refused;
            if let Some(count) = bucket.and_then(|bucket| tally.latencies.get_mut(bucket)) {
                *count += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tidemill_runtime::{Tensor, Values};

    use super::*;

    fn inputs(origin: &str) -> Vec<Named> {
        let values = Values::Bytes(vec![origin.as_bytes().to_vec()]);
        vec![Named { name: "origin".into(), tensor: Tensor::new(vec![1], values).unwrap() }]
    }

    #[test]
    fn values_are_counted_by_arm_up_to_a_number_and_the_others_together() {
        let slices = Arc::new(Slices::new(&["origin".to_owned()], 2, |_| vec!["LGA".into()]));
        let (old, new): (Arc<str>, Arc<str>) = ("old".into(), "new".into());
        let took = Duration::from_millis(3);
        let failed = InferError::Model("no".into());
        let wrong = InferError::Invalid("no".into());
        for origin in ["JFK", "BOS", "LGA", "JFK", "a\nb", &"x".repeat(65)] {
            slices.mark(&inputs(origin)).count(&old, None, took);
        }
        slices.mark(&inputs("LGA")).count(&new, Some(&failed), took);
        slices.mark(&inputs("LGA")).count(&new, Some(&wrong), took);
        slices.mark(&inputs("LGA")).cancelled(&new, took);
        slices.mark(&[]).count(&new, None, took);
        let of = |arm: &str| -> Vec<(String, u64, u64, u64)> {
            let counted = slices.counted(arm).into_iter();
            let shown = |((_, value), tally): ((String, Option<String>), Tally)| {
                let value = value.unwrap_or_else(|| "others".into());
                (value, tally.answered, tally.failed, tally.latencies.iter().sum())
            };
            counted.map(shown).collect()
        };
        let row = |value: &str, answered, failed, timed| (value.to_owned(), answered, failed, timed);
        assert_eq!(of("old"), [row("others", 3, 0, 3), row("JFK", 2, 0, 2), row("LGA", 1, 0, 1)]);
        assert_eq!(of("new"), [row("others", 1, 0, 1), row("LGA", 0, 1, 2)], "no room is left for `null`");
        // What is refused is in the group of its value, or in one of its own where the value is not there.
        let busy = InferError::TooMany { message: "no".into(), retry_after: took };
        slices.mark(&[]).count(&new, Some(&wrong), took);
        slices.mark(&inputs("JFK")).count(&new, Some(&busy), took);
        slices.mark(&inputs("nowhere")).count(&new, Some(&wrong), took);
        let refused = slices.counted("new").into_iter().map(|((_, value), tally)| (value, tally.refused));
        let named = |value: &str, refused| (Some(value.to_owned()), refused);
        let wanted = [(None, 1), named(UNREAD, 1), named("JFK", 1), named("LGA", 1)];
        assert_eq!(refused.collect::<Vec<_>>(), wanted);
        assert!(of("nobody").is_empty());
    }

    /// What came elsewhere falls to the same groups as what came here.
    #[test]
    fn what_others_counted_is_added() {
        let slices = Arc::new(Slices::new(&["origin".to_owned()], 2, |_| Vec::new()));
        let arm: Arc<str> = "old".into();
        slices.mark(&inputs("LGA")).count(&arm, None, Duration::from_millis(3));
        let mut tally = Tally { answered: 5, failed: 1, refused: 2, ..Tally::default() };
        tally.latencies[3] = 6;
        for value in [Some("LGA"), Some("JFK"), Some("BOS"), None, Some("a\nb"), Some(UNREAD)] {
            assert!(slices.add("old", "origin", value, &tally), "{value:?}");
        }
        assert!(!slices.add("old", "carrier", Some("LGA"), &tally));
        let counted = slices.counted("old").into_iter();
        let found: Vec<_> = counted
            .map(|((_, value), tally)| {
                (value, tally.answered, tally.refused, tally.latencies.iter().sum::<u64>())
            })
            .collect();
        let row = |value: Option<&str>, answered, refused, timed| {
            (value.map(str::to_owned), answered, refused, timed)
        };
        let wanted = [
            row(None, 15, 6, 18),
            row(Some(UNREAD), 5, 2, 6),
            row(Some("JFK"), 5, 2, 6),
            row(Some("LGA"), 6, 2, 7),
        ];
        assert_eq!(found, wanted);
        let more = Tally { answered: 7, ..tally.clone() };
        assert_eq!(more.since(&tally), Some(Tally { answered: 2, ..Tally::default() }));
        assert_eq!((tally.since(&tally), tally.since(&more)), (None, None));
    }

    #[test]
    fn what_is_missing_is_a_group_too() {
        assert_eq!(
            [name(""), name("NaN"), name("LGA"), name("a\u{1b}[31m")],
            [Some("null"), Some("null"), Some("LGA"), None]
        );
    }
}
