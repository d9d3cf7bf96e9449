//! What gateways next to the traffic count for the rollouts of the server that they follow.
//!
//! A gateway tells each second what it counted of each arm since it last did, by the revision of the endpoint that drew the requests. The
//! server adds it to what it counted itself by the same revision, so a rollout's judge sees the requests of all of them; what came by
//! another table of shares is left out, there as here. Reports are numbered: one whose answer was lost is sent again and counts once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Number;
use tidemill_serve::gateway::Gateway;
use tidemill_serve::gateway::metrics::LATENCY;
use utoipa::ToSchema;

/// Gateways that are known at once; one that was not heard of for long is forgotten first.
const MOST_GATEWAYS: usize = 1_000;
/// Arms of one report.
pub(crate) const MOST_ARMS: usize = 10_000;
/// Requests of one report: more than any gateway answers in a second, and few enough that no sum of reports is too large.
const MOST_COUNTED: u64 = 1_000_000_000;
/// Buckets of latencies.
const BUCKETS: usize = LATENCY.len() + 1;

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
    /// Requests by how long they took: up to 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1,000, 2,500,
    /// 5,000 and 10,000 milliseconds, and longer.
    #[schema(min_items = 18, max_items = 18)]
    #[serde(deserialize_with = "wholes")]
    pub(crate) latencies: Vec<u64>,
}

/// Not sent, so that a server that does not know it yet takes the report.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it like this")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

/// A whole number, however JSON writes it: `512` and `512.0` are one.
fn whole<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    of(&Number::deserialize(from)?)
}

fn wholes<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u64>, D::Error> {
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
    /// What is new since `before`; nothing where nothing is.
    fn since(mut self, before: Option<&Self>) -> Option<Self> {
        if let Some(before) = before {
            self.answered = self.answered.saturating_sub(before.answered);
            self.failed = self.failed.saturating_sub(before.failed);
            self.refused = self.refused.saturating_sub(before.refused);
            for (now, before) in self.latencies.iter_mut().zip(&before.latencies) {
                *now = now.saturating_sub(*before);
            }
        }
        (self.answered + self.failed + self.refused + self.latencies.iter().sum::<u64>() > 0).then_some(self)
    }
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
    pub(crate) fn take(&self, gateway: &Gateway, report: &Report) -> Result<usize, String> {
        if report.gateway.is_empty() || report.gateway.chars().count() > 64 {
            return Err("the name of the gateway has 1 to 64 characters".to_owned());
        }
        if report.arms.len() > MOST_ARMS {
            return Err(format!("a report has at most {MOST_ARMS} arms, not {}", report.arms.len()));
        }
        if let Some(wrong) = report.arms.iter().find(|arm| arm.latencies.len() != BUCKETS) {
            let (endpoint, arm, found) = (&wrong.endpoint, &wrong.arm, wrong.latencies.len());
            return Err(format!("`{endpoint}`, `{arm}`: {found} buckets of latencies, expected {BUCKETS}"));
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
        for counts in &report.arms {
            let endpoint =
                gateway.endpoint(&counts.endpoint).filter(|found| found.revision == counts.revision);
            let arm = endpoint.as_ref().and_then(|endpoint| {
                endpoint.arms.iter().find(|arm| arm.name.as_deref() == Some(counts.arm.as_str()))
            });
            if let Some(arm) = arm {
                let sane = |count: u64| count.min(MOST_COUNTED);
                let latencies: Vec<u64> = counts.latencies.iter().copied().map(sane).collect();
                arm.counted.add(sane(counts.answered), sane(counts.failed), &latencies);
                arm.counted.add_refused(sane(counts.refused));
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
    told: HashMap<(String, u64, String), Counts>,
    /// A report that was not acknowledged yet.
    waiting: Option<Report>,
}

impl Telling {
    /// Of a gateway that has told nothing.
    pub(super) fn new() -> Self {
        Self { name: tidemill_registry::uuid(), seq: 0, told: HashMap::new(), waiting: None }
    }

    /// What is to be sent: the report that waits, or what is new since the last one.
    pub(super) fn next(&mut self, gateway: &Gateway) -> Option<&Report> {
        if self.waiting.is_none() {
            let (now, mut arms) = (counted(gateway), Vec::new());
            for (key, counts) in &now {
                arms.extend(counts.clone().since(self.told.get(key)));
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
fn counted(gateway: &Gateway) -> HashMap<(String, u64, String), Counts> {
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
                latencies: arm.counted.latencies().into_iter().map(|(_, count)| count).collect(),
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
    fn only_what_is_new_is_told() {
        let counts = |answered, slow| {
            let mut latencies = vec![0; BUCKETS];
            latencies[3] = slow;
            let (endpoint, arm) = ("e".into(), "a".into());
            Counts { endpoint, revision: 2, arm, answered, failed: 1, refused: answered, latencies }
        };
        assert_eq!(counts(5, 6).since(None), Some(counts(5, 6)));
        let new = counts(9, 10).since(Some(&counts(5, 6))).unwrap();
        assert_eq!((new.answered, new.failed, new.refused, new.latencies[3]), (4, 0, 4, 4));
        assert_eq!(counts(5, 6).since(Some(&counts(5, 6))), None);
    }
}
