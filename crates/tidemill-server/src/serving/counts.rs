//! What gateways next to the traffic count for the rollouts of the server that they follow.
//!
//! A gateway tells each second what it counted of each arm since it last did, by the revision of the endpoint that drew the requests. The
//! server adds it to what it counted itself by the same revision, so a rollout's judge sees the requests of all of them; what came by
//! another table of shares is left out, there as here. Reports are numbered: one whose answer was lost is sent again and counts once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Number;
use tidemill_registry::{Code, Error};
use tidemill_serve::gateway::Gateway;
use tidemill_serve::gateway::compared::{Compared, DISTANCES};
use tidemill_serve::gateway::metrics::LATENCY;
use tidemill_serve::gateway::slices::{Slices, Tally};
use utoipa::ToSchema;

use super::slices::{ArmKey, MOST_SLICES, SliceCounts, ToldSlices};

/// Gateways that are known at once; one that was not heard of for long is forgotten first.
const MOST_GATEWAYS: usize = 1_000;
/// Arms of one report.
pub(crate) const MOST_ARMS: usize = 10_000;
/// Requests of one report: more than any gateway answers in a second, and few enough that no sum of reports is too large.
const MOST_COUNTED: u64 = 1_000_000_000;
/// Buckets of latencies.
pub(super) const BUCKETS: usize = LATENCY.len() + 1;
/// The bounds of older gateways, which have 16 buckets and say none.
const FIRST: [u64; 15] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    10_000_000,
];
/// The bounds of gateways that have 18 buckets and say none.
const SECOND: [u64; 17] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];
/// The most bounds that a gateway can have.
const MOST_BOUNDS: usize = 200;

/// What a gateway counted since its last report.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Report {
    /// The gateway, by a name that it gives itself when it starts.
    #[schema(min_length = 1, max_length = 64)]
    pub(crate) gateway: String,
    /// The number of the report; one that is not above the last one is not counted again.
    #[serde(deserialize_with = "whole")]
    pub(crate) seq: u64,
    /// By arm.
    #[schema(max_items = 10_000)]
    pub(crate) arms: Vec<Counts>,
}

/// What was counted of one arm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ArmCounts)]
pub(crate) struct Counts {
    /// The endpoint.
    pub(crate) endpoint: String,
    /// Its revision, by whose shares the requests were drawn.
    #[serde(deserialize_with = "whole")]
    pub(crate) revision: u64,
    /// The arm.
    pub(crate) arm: String,
    /// Requests that the model answered.
    #[serde(deserialize_with = "whole")]
    pub(crate) answered: u64,
    /// Requests that it did not answer through no fault of the caller.
    #[serde(deserialize_with = "whole")]
    pub(crate) failed: u64,
    /// Requests that it refused: wrong by what it takes, or more than it has room for.
    #[serde(default, deserialize_with = "whole", skip_serializing_if = "is_none")]
    #[schema(required = false)]
    pub(crate) refused: u64,
    /// Rows that it answered as a shadow beside the arm that answered the caller, where it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) compared: Option<Agreed>,
    /// Requests by how long they took: a number for each of `bounds_us`, and one for all that took longer.
    #[schema(min_items = 2, max_items = 201)]
    #[serde(deserialize_with = "wholes")]
    pub(crate) latencies: Vec<u64>,
    /// Up to how many microseconds requests of a bucket took, rising. Where they are not given: 50, 100, 250, 500, 1,000, 2,500, 5,000,
    /// 10,000, 25,000, 50,000, 100,000, 250,000, 500,000, 1,000,000, 2,500,000, 5,000,000 and 10,000,000; of 16 buckets the same without
    /// 2,500,000 and 5,000,000.
    #[serde(default, deserialize_with = "wholes", skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 200, required = false)]
    pub(crate) bounds_us: Vec<u64>,
    /// The same by the values of inputs that the server has asked for; at most 5,000 of all arms together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 5_000, required = false)]
    pub(crate) slices: Vec<SliceCounts>,
}

/// How far a shadow agreed with the arm that answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ArmAgreement)]
pub(crate) struct Agreed {
    /// Rows with the same decision.
    #[serde(deserialize_with = "whole")]
    pub(crate) same: u64,
    /// Rows with another one.
    #[serde(deserialize_with = "whole")]
    pub(crate) different: u64,
    /// Rows by how far their scores were apart, in steps of 0.005, the last one for one and more.
    #[schema(min_items = 201, max_items = 201)]
    #[serde(deserialize_with = "wholes")]
    pub(crate) apart: Vec<u64>,
}

impl From<Compared> for Agreed {
    fn from(Compared { same, different, apart }: Compared) -> Self {
        Self { same, different, apart }
    }
}

impl Agreed {
    fn counted(&self, sane: impl Fn(u64) -> u64) -> Compared {
        let apart = self.apart.iter().map(|count| sane(*count)).collect();
        Compared { same: sane(self.same), different: sane(self.different), apart }
    }
}

/// Whether a number is not sent: who does not know it yet takes what is sent without it.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it like this")]
pub(crate) fn is_none(count: &u64) -> bool {
    *count == 0
}

/// A whole number, however JSON writes it: `512` and `512.0` are one.
pub(super) fn whole<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    of(&Number::deserialize(from)?)
}

pub(super) fn wholes<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u64>, D::Error> {
    Vec::<Number>::deserialize(from)?.iter().map(of).collect()
}

fn of<E: serde::de::Error>(number: &Number) -> Result<u64, E> {
    const MOST: u64 = i64::MAX as u64;
    let whole = |number: f64| {
        (number.fract() == 0.0 && (0.0..=MOST as f64).contains(&number)).then_some(number as u64)
    };
    let found = number.as_u64().or_else(|| number.as_f64().and_then(whole)).filter(|found| *found <= MOST);
    found.ok_or_else(|| E::custom(format!("expected a whole number from 0 to {MOST}, not `{number}`")))
}

impl Counts {
    /// Latencies of this arm, of all its requests or of some, in the buckets of this server. What took up to a bound is counted as if it had taken that long, so nothing looks faster
    /// than it was.
    ///
    /// # Errors
    ///
    /// Says which buckets are expected.
    fn own_latencies(&self, latencies: &[u64]) -> Result<[u64; BUCKETS], String> {
        let bounds: &[u64] = match (self.bounds_us.as_slice(), latencies.len()) {
            ([], 16) => &FIRST,
            ([], 18) => &SECOND,
            ([], _) => {
                return Err(format!("{} buckets without `bounds_us`, expected 18", latencies.len()));
            }
            (bounds, _) => bounds,
        };
        if bounds.len() > MOST_BOUNDS || !bounds.is_sorted_by(|one, next| one < next) {
            return Err(format!("`bounds_us` are at most {MOST_BOUNDS}, each above the one before"));
        }
        if latencies.len() != bounds.len() + 1 {
            let (found, expected) = (latencies.len(), bounds.len() + 1);
            return Err(format!("{found} buckets, expected {expected} with {} bounds", bounds.len()));
        }
        let mut own = [0_u64; BUCKETS];
        let places = bounds.iter().map(|bound| LATENCY.partition_point(|own| own < bound));
        for (count, place) in latencies.iter().zip(places.chain([LATENCY.len()])) {
            if let Some(sum) = own.get_mut(place) {
                *sum = sum.saturating_add((*count).min(MOST_COUNTED)).min(MOST_COUNTED);
            }
        }
        Ok(own)
    }

    /// What is new since `before`; nothing where nothing is.
    fn since(mut self, before: Option<&Self>) -> Option<Self> {
        if let Some(before) = before {
            self.answered = self.answered.saturating_sub(before.answered);
            self.failed = self.failed.saturating_sub(before.failed);
            self.refused = self.refused.saturating_sub(before.refused);
            for (now, before) in self.latencies.iter_mut().zip(&before.latencies) {
                *now = now.saturating_sub(*before);
            }
            if let (Some(now), Some(before)) = (&mut self.compared, &before.compared) {
                *now = now.counted(|count| count).since(&before.counted(|count| count)).into();
            }
        }
        self.compared = self.compared.take().filter(|compared| !compared.counted(|count| count).is_empty());
        let counted = self.answered + self.failed + self.refused + self.latencies.iter().sum::<u64>();
        (counted > 0 || self.compared.is_some()).then_some(self)
    }

    /// The same arm with nothing counted.
    fn empty(&self) -> Self {
        let (endpoint, arm) = (self.endpoint.clone(), self.arm.clone());
        let (revision, bounds_us) = (self.revision, self.bounds_us.clone());
        Self { endpoint, revision, arm, latencies: vec![0; BUCKETS], bounds_us, ..Self::default() }
    }
}

/// No more than can be.
fn sane(count: u64) -> u64 {
    count.min(MOST_COUNTED)
}

/// The last report of each gateway.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reported(Arc<Mutex<HashMap<String, (u64, u64)>>>);

impl Reported {
    /// Adds a report to what the gateway of this server counted; gives how many arms it was about that are there by the same revision.
    ///
    /// # Errors
    ///
    /// Says what of the report cannot be.
    pub(crate) fn take(&self, gateway: &Gateway, report: &Report) -> Result<usize, Error> {
        if report.gateway.is_empty() || report.gateway.chars().count() > 64 {
            return Err(Error::invalid("the name of the gateway has 1 to 64 characters"));
        }
        if report.arms.len() > MOST_ARMS {
            let found = report.arms.len();
            return Err(Error::invalid(format!("a report has at most {MOST_ARMS} arms, not {found}")));
        }
        // A schema cannot say how two lists go together, so this is no matter of the form.
        let wrong = |arm: &Counts, why: String| {
            let why = format!("`{}`, `{}`, latencies: {why}", arm.endpoint, arm.arm);
            Error::new(Code::InvalidState, why)
        };
        let slices: usize = report.arms.iter().map(|arm| arm.slices.len()).sum();
        if slices > MOST_SLICES {
            let why = format!("a report has at most {MOST_SLICES} slices of all arms together, not {slices}");
            return Err(Error::new(Code::InvalidState, why));
        }
        let own =
            |arm: &Counts, latencies: &[u64]| arm.own_latencies(latencies).map_err(|why| wrong(arm, why));
        let latencies = report.arms.iter().map(|arm| own(arm, &arm.latencies));
        let latencies: Vec<[u64; BUCKETS]> = latencies.collect::<Result<_, _>>()?;
        let of_slices = |arm: &Counts| -> Result<Vec<Tally>, Error> {
            let tally = |slice: &SliceCounts| -> Result<Tally, Error> {
                Ok(slice.tally(own(arm, &slice.latencies)?, sane))
            };
            arm.slices.iter().map(tally).collect()
        };
        let tallies: Vec<Vec<Tally>> = report.arms.iter().map(of_slices).collect::<Result<_, _>>()?;
        let is_short =
            |arm: &&Counts| arm.compared.as_ref().is_some_and(|found| found.apart.len() != DISTANCES);
        if let Some(wrong) = report.arms.iter().find(is_short) {
            let (endpoint, arm) = (&wrong.endpoint, &wrong.arm);
            let why = format!("`{endpoint}`, `{arm}`: expected {DISTANCES} counts of differences");
            return Err(Error::invalid(why));
        }
        // Held until everything is added: the same report on two connections counts once.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = known.values().map(|(_, turn)| *turn).max().unwrap_or_default() + 1;
        let last = known.insert(report.gateway.clone(), (report.seq, turn));
        if let Some((seq, _)) = last.filter(|(seq, _)| *seq >= report.seq) {
            known.insert(report.gateway.clone(), (seq, turn));
            return Ok(0);
        }
        if known.len() > MOST_GATEWAYS
            && let Some(oldest) =
                known.iter().min_by_key(|(_, (_, turn))| *turn).map(|(name, _)| name.clone())
        {
            known.remove(&oldest);
        }
        let mut counted = 0;
        let sliced: HashMap<String, Arc<Slices>> = gateway.sliced().into_iter().collect();
        for ((counts, latencies), tallies) in report.arms.iter().zip(&latencies).zip(&tallies) {
            let endpoint =
                gateway.endpoint(&counts.endpoint).filter(|found| found.revision == counts.revision);
            let arm = endpoint.as_ref().and_then(|endpoint| {
                endpoint.arms.iter().find(|arm| arm.name.as_deref() == Some(counts.arm.as_str()))
            });
            if let Some(arm) = arm {
                arm.counted.add(sane(counts.answered), sane(counts.failed), latencies);
                arm.counted.add_refused(sane(counts.refused));
                if let Some(compared) = &counts.compared {
                    arm.counted.add_compared(&compared.counted(sane));
                }
                if let Some(slices) = sliced.get(&counts.endpoint) {
                    for (slice, tally) in counts.slices.iter().zip(tallies) {
                        slices.add(&counts.arm, &slice.column, slice.value.as_deref(), tally);
                    }
                }
                counted += 1;
            }
        }
        Ok(counted)
    }
}

/// What a gateway has told.
#[derive(Debug)]
pub(super) struct Telling {
    name: String,
    seq: u64,
    /// What it had counted when it last told, by endpoint, revision and arm.
    told: HashMap<ArmKey, Counts>,
    /// The same by the values of inputs.
    sliced: ToldSlices,
    /// A report that was not acknowledged yet.
    waiting: Option<Report>,
}

impl Telling {
    /// Of a gateway that has told nothing.
    pub(super) fn new() -> Self {
        let (told, sliced) = (HashMap::new(), ToldSlices::default());
        Self { name: tidemill_registry::uuid(), seq: 0, told, sliced, waiting: None }
    }

    /// What is to be sent: the report that waits, or what is new since the last one.
    pub(super) fn next(&mut self, gateway: &Gateway) -> Option<&Report> {
        if self.waiting.is_none() {
            let (now, mut arms) = (counted(gateway), Vec::new());
            let mut sliced = self.sliced.since(gateway);
            for (key, counts) in &now {
                let (new, slices) = (counts.clone().since(self.told.get(key)), sliced.remove(key));
                arms.extend(match (new, slices) {
                    (Some(counts), Some(slices)) => Some(Counts { slices, ..counts }),
                    (None, Some(slices)) => Some(Counts { slices, ..counts.empty() }),
                    (new, None) => new,
                });
            }
            // Tables that are gone are forgotten with what they counted.
            self.told = now;
            arms.truncate(MOST_ARMS);
            if arms.is_empty() {
                return None;
            }
            self.seq += 1;
            self.waiting = Some(Report { gateway: self.name.clone(), seq: self.seq, arms });
        }
        self.waiting.as_ref()
    }

    /// The report was taken, or nobody wants it.
    pub(super) fn done(&mut self) {
        self.waiting = None;
    }
}

/// What a gateway has counted of its endpoints by the declarations that are in effect.
fn counted(gateway: &Gateway) -> HashMap<ArmKey, Counts> {
    let mut found = HashMap::new();
    for name in gateway.endpoints() {
        let Some(endpoint) = gateway.endpoint(&name) else { continue };
        for arm in &endpoint.arms {
            let Some(arm_name) = arm.name.as_deref() else { continue };
            let counts = Counts {
                endpoint: name.clone(),
                revision: endpoint.revision,
                arm: arm_name.to_owned(),
                answered: arm.counted.answers(),
                failed: arm.counted.failures(),
                refused: arm.counted.refusals(),
                compared: arm.counted.compared().map(Agreed::from),
                latencies: arm.counted.latencies().into_iter().map(|(_, count)| count).collect(),
                // Older servers know this field not, and these bounds.
                bounds_us: if LATENCY[..] == SECOND[..] { Vec::new() } else { LATENCY.to_vec() },
                slices: Vec::new(),
            };
            found.insert((name.clone(), endpoint.revision, arm_name.to_owned()), counts);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_whole_however_they_are_written() {
        let of = |seq: &str| {
            let report = format!(r#"{{"gateway": "g", "seq": {seq}, "arms": []}}"#);
            serde_json::from_str::<Report>(&report).ok().map(|report| report.seq)
        };
        assert_eq!((of("512"), of("512.0"), of("5e2")), (Some(512), Some(512), Some(500)));
        for wrong in ["-1", "0.5", "9223372036854775808", "1e300", "\"7\"", "null"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn buckets_of_other_bounds_are_counted_in_those_that_are_as_slow() {
        let own = |latencies: Vec<u64>, bounds_us: &[u64]| {
            let counts = Counts { bounds_us: bounds_us.to_vec(), ..Counts::default() };
            counts.own_latencies(&latencies).map(|own| own.to_vec())
        };
        let eighteen: Vec<u64> = (1..=18).collect();
        assert_eq!(own(eighteen.clone(), &[]).unwrap(), eighteen);
        // An older gateway: its last bucket but one ends at ten seconds and begins at one.
        let mut expected: Vec<u64> = (1..=14).collect();
        expected.extend([0, 0, 15, 16]);
        assert_eq!(own((1..=16).collect(), &[]).unwrap(), expected);
        // A newer one, with finer and with coarser bounds.
        let newer = own(vec![1, 2, 4, 8, 16], &[75, 100, 3_000, 60_000_000]).unwrap();
        let mut expected = vec![0; 18];
        (expected[1], expected[6], expected[17]) = (1 + 2, 4, 8 + 16);
        assert_eq!(newer, expected);
        assert_eq!(own(vec![u64::MAX, 1], &[50]).unwrap()[0], MOST_COUNTED);
        for (latencies, bounds, why) in [
            (vec![0; 17], &[][..], "17 buckets without `bounds_us`"),
            (vec![0; 3], &[5, 5][..], "each above the one before"),
            (vec![0; 3], &[5][..], "3 buckets, expected 2"),
        ] {
            let error = own(latencies, bounds).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn only_what_is_new_is_told() {
        let counts = |answered, slow| {
            let mut latencies = vec![0; BUCKETS];
            latencies[3] = slow;
            let (endpoint, arm) = ("e".into(), "a".into());
            let bounds_us = Vec::new();
            Counts {
                endpoint,
                revision: 2,
                arm,
                answered,
                failed: 1,
                refused: answered,
                compared: Some(Agreed {
                    same: answered,
                    different: 1,
                    apart: (0..DISTANCES as u64).map(|at| if at == 2 { answered } else { 0 }).collect(),
                }),
                latencies,
                bounds_us,
                slices: Vec::new(),
            }
        };
        assert_eq!(counts(5, 6).since(None), Some(counts(5, 6)));
        let new = counts(9, 10).since(Some(&counts(5, 6))).unwrap();
        assert_eq!((new.answered, new.failed, new.refused, new.latencies[3]), (4, 0, 4, 4));
        let compared = new.compared.unwrap();
        assert_eq!((compared.same, compared.different, compared.apart[2]), (4, 0, 4));
        assert_eq!(counts(5, 6).since(Some(&counts(5, 6))), None);
    }
}
