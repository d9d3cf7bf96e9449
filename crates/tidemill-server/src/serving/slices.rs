//! What gateways next to the traffic count by the values of inputs, for the judges of the server that they follow.
//!
//! The server says in its answer to a report which inputs it wants that of, so a gateway that nobody asks counts nothing by them. What it
//! counted under one table of shares is told under no other: what came between its last report and a change is left out, as it is in the
//! server itself.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidemill_core::declare::MOST_SLICED;
use tidemill_serve::gateway::Gateway;
use tidemill_serve::gateway::slices::{Slices, Tally};
use utoipa::ToSchema;

use super::counts::{BUCKETS, is_none, whole, wholes};

/// Slices of one report. What does not fit comes with the next one.
pub(crate) const MOST_SLICES: usize = 5_000;
/// The most values of an input that a gateway tells apart, whatever it is asked.
const MOST_VALUES: u64 = 1_000;

/// An arm of an endpoint by one of its declarations: name, revision, arm.
pub(super) type ArmKey = (String, u64, String);

/// What was counted of an arm by a value of an input.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SliceCounts {
    /// The input.
    #[schema(max_length = 200)]
    pub(crate) column: String,
    /// Its value; all values that are not told apart where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub(crate) value: Option<String>,
    /// Requests that the model answered.
    #[serde(default, deserialize_with = "whole", skip_serializing_if = "is_none")]
    #[schema(required = false)]
    pub(crate) answered: u64,
    /// Requests that it did not answer through no fault of the caller.
    #[serde(default, deserialize_with = "whole", skip_serializing_if = "is_none")]
    #[schema(required = false)]
    pub(crate) failed: u64,
    /// Requests that it refused.
    #[serde(default, deserialize_with = "whole", skip_serializing_if = "is_none")]
    #[schema(required = false)]
    pub(crate) refused: u64,
    /// Requests by how long they took, in the buckets of the arm.
    #[serde(deserialize_with = "wholes")]
    #[schema(min_items = 2, max_items = 201)]
    pub(crate) latencies: Vec<u64>,
}

impl SliceCounts {
    /// The same with latencies in the buckets of this server and numbers that can be.
    pub(super) fn tally(&self, latencies: [u64; BUCKETS], sane: impl Fn(u64) -> u64) -> Tally {
        let (answered, failed, refused) = (sane(self.answered), sane(self.failed), sane(self.refused));
        Tally { answered, failed, refused, latencies }
    }

    fn of((column, value): (String, Option<String>), tally: Tally) -> Self {
        let Tally { answered, failed, refused, latencies } = tally;
        Self { column, value, answered, failed, refused, latencies: latencies.to_vec() }
    }
}

/// The inputs of an endpoint by whose values a server wants requests counted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
pub(crate) struct SlicesWanted {
    /// The endpoint.
    endpoint: String,
    /// The inputs.
    by: Vec<String>,
    /// How many values of each are told apart.
    most: u64,
}

/// What this server wants to be told, since it judges by it.
pub(crate) fn wanted(gateway: &Gateway) -> Vec<SlicesWanted> {
    let of = |(endpoint, slices): (String, Arc<Slices>)| SlicesWanted {
        endpoint,
        by: slices.columns().to_vec(),
        most: slices.most() as u64,
    };
    let mut all: Vec<SlicesWanted> = gateway.sliced().into_iter().map(of).collect();
    all.sort_unstable_by(|one, other| one.endpoint.cmp(&other.endpoint));
    all
}

/// Counts by what a server wants, and by nothing else any more.
pub(super) fn follow(gateway: &Gateway, wanted: &[SlicesWanted]) {
    gateway.keep_slices(|endpoint| wanted.iter().any(|one| one.endpoint == endpoint));
    for one in wanted.iter().filter(|one| gateway.endpoint(&one.endpoint).is_some()) {
        let by = &one.by[..one.by.len().min(MOST_SLICED)];
        gateway.slices(&one.endpoint, by, one.most.min(MOST_VALUES) as usize, |_| Vec::new());
    }
}

/// What was told of slices, by endpoint and arm.
#[derive(Debug, Default)]
pub(super) struct ToldSlices(HashMap<(String, String), Told>);

#[derive(Debug)]
struct Told {
    revision: u64,
    /// The counters that it was read from.
    slices: Arc<Slices>,
    counted: BTreeMap<(String, Option<String>), Tally>,
}

impl ToldSlices {
    /// What is new since it was last asked for.
    pub(super) fn since(&mut self, gateway: &Gateway) -> HashMap<ArmKey, Vec<SliceCounts>> {
        let (mut found, mut after) = (HashMap::new(), HashMap::new());
        let mut room = MOST_SLICES;
        for (name, slices) in gateway.sliced() {
            let Some(endpoint) = gateway.endpoint(&name) else { continue };
            let revision = endpoint.revision;
            for arm in endpoint.arms.iter().filter_map(|arm| arm.name.as_deref()) {
                let key = (name.clone(), arm.to_owned());
                let mut counted = slices.counted(arm);
                let is_same = |told: &&Told| told.revision == revision && Arc::ptr_eq(&told.slices, &slices);
                if let Some(told) = self.0.get(&key).filter(is_same) {
                    let new = since(&mut counted, &told.counted, &mut room);
                    if !new.is_empty() {
                        found.insert((name.clone(), revision, arm.to_owned()), new);
                    }
                }
                after.insert(key, Told { revision, slices: Arc::clone(&slices), counted });
            }
        }
        self.0 = after;
        found
    }
}

/// What is new since `before`, as far as there is room; what there is none for stays in `now` as it was.
fn since(
    now: &mut BTreeMap<(String, Option<String>), Tally>,
    before: &BTreeMap<(String, Option<String>), Tally>,
    room: &mut usize,
) -> Vec<SliceCounts> {
    let (nothing, mut new) = (Tally::default(), Vec::new());
    for (slice, tally) in now.iter_mut() {
        let known = before.get(slice).unwrap_or(&nothing);
        let Some(more) = tally.since(known) else { continue };
        if *room == 0 {
            tally.clone_from(known);
            continue;
        }
        *room -= 1;
        new.push(SliceCounts::of(slice.clone(), more));
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tallies(all: &[(&str, u64)]) -> BTreeMap<(String, Option<String>), Tally> {
        let tally = |answered| Tally { answered, ..Tally::default() };
        all.iter()
            .map(|(value, count)| (("x".to_owned(), Some((*value).to_owned())), tally(*count)))
            .collect()
    }

    #[test]
    fn what_does_not_fit_comes_with_the_next_report() {
        let before = tallies(&[("a", 1), ("b", 2)]);
        let mut now = tallies(&[("a", 4), ("b", 2), ("c", 5), ("d", 6)]);
        let mut room = 2;
        let told: Vec<(String, u64)> = since(&mut now, &before, &mut room)
            .into_iter()
            .map(|new| (new.value.unwrap(), new.answered))
            .collect();
        assert_eq!((told, room), (vec![("a".to_owned(), 3), ("c".to_owned(), 5)], 0));
        assert_eq!(now, tallies(&[("a", 4), ("b", 2), ("c", 5), ("d", 0)]));
        let mut later = tallies(&[("a", 4), ("b", 2), ("c", 5), ("d", 7)]);
        let told = since(&mut later, &now, &mut 9);
        assert_eq!((told.len(), told[0].answered), (1, 7));
    }
}
