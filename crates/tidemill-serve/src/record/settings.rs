//! How the log is kept, and what each endpoint declares about it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use twox_hash::XxHash3_64;

use super::redact::{Redact, Redactor};

/// How the log is kept.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// The folder of the segments. One process at a time writes into it.
    pub dir: PathBuf,
    /// The file of the secret that hashes are made with; made when something is to be hashed for the first time.
    pub redact_key: PathBuf,
    /// Records reach the disk at the latest this long after they were taken. One sync serves all records since the
    /// last; files of several endpoints are synced one after another.
    pub flush: Duration,
    /// At most so many records wait for the writer; further ones are counted and dropped.
    pub queue_records: usize,
    /// At most so many bytes wait for the writer, near enough; further records are counted and dropped.
    pub queue_bytes: usize,
    /// When a segment is closed and becomes Parquet.
    pub roll: Roll,
}

impl LogSettings {
    /// The defaults for a folder: flushed every second, 65,536 records or 256 MiB waiting.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        let dir = dir.into();
        Self {
            redact_key: dir.join("redact.key"),
            dir,
            flush: Duration::from_secs(1),
            queue_records: 65_536,
            queue_bytes: 256 << 20,
            roll: Roll::default(),
        }
    }
}

/// When a segment is closed and becomes Parquet: as soon as one of these is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roll {
    /// Rows of requests.
    pub rows: u64,
    /// Bytes of the segment.
    pub bytes: u64,
    /// Time since the segment was begun.
    pub age: Duration,
}

impl Default for Roll {
    fn default() -> Self {
        Self { rows: 500_000, bytes: 128 << 20, age: Duration::from_mins(15) }
    }
}

/// What an endpoint declares about its records.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointRules {
    /// The share of requests that is recorded, 0 to 1.
    pub sample: f64,
    /// Columns that are not kept as they are, by the name of the input, output or header; `entity` is what the
    /// request is about.
    pub redact: BTreeMap<String, Redact>,
    /// Records older than this are removed; kept for good where it is not given.
    pub keep: Option<Duration>,
    /// The oldest records are removed while those in the store have more bytes than this.
    pub keep_bytes: Option<u64>,
}

impl Default for EndpointRules {
    fn default() -> Self {
        Self { sample: 1.0, redact: BTreeMap::new(), keep: None, keep_bytes: None }
    }
}

/// The rules of all endpoints, as a value that is swapped as a whole.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    endpoints: BTreeMap<String, Rule>,
    /// Of endpoints that have none of their own.
    default: Option<Box<Rule>>,
}

type Rule = (EndpointRules, Option<Arc<Redactor>>);

impl Rules {
    /// Rules by endpoint; an endpoint without any is recorded as a whole and kept for good. `key` is needed where
    /// something is to be hashed.
    pub fn new(endpoints: BTreeMap<String, EndpointRules>, key: &super::RedactKey) -> Self {
        let endpoints = endpoints.into_iter().map(|(name, rules)| (name, rule(rules, Some(key))));
        Self { endpoints: endpoints.collect(), default: None }
    }

    /// Rules by endpoint, and those of endpoints without any. Without `key` nothing can be hashed or left out; it is
    /// needed where something is to be hidden.
    pub(super) fn with_default(
        endpoints: BTreeMap<String, EndpointRules>,
        default: EndpointRules,
        key: Option<&super::RedactKey>,
    ) -> Self {
        let endpoints = endpoints.into_iter().map(|(name, rules)| (name, rule(rules, key)));
        Self { endpoints: endpoints.collect(), default: Some(Box::new(rule(default, key))) }
    }

    fn rule(&self, endpoint: &str) -> Option<&Rule> {
        self.endpoints.get(endpoint).or(self.default.as_deref())
    }

    /// What an endpoint declares.
    pub fn of(&self, endpoint: &str) -> Option<&EndpointRules> {
        self.rule(endpoint).map(|(rules, _)| rules)
    }

    /// What hides values of an endpoint, where something is to be hidden.
    pub fn redactor(&self, endpoint: &str) -> Option<&Arc<Redactor>> {
        self.rule(endpoint)?.1.as_ref()
    }

    /// Endpoints with rules of their own.
    pub fn endpoints(&self) -> impl Iterator<Item = &str> {
        self.endpoints.keys().map(String::as_str)
    }

    /// Whether a request is in the sample: the same answer in every process, for an answer and its shadows.
    pub fn samples(&self, endpoint: &str, id: &str) -> bool {
        let Some(rules) = self.of(endpoint) else { return true };
        if rules.sample >= 1.0 {
            return true;
        }
        // A seed of its own, so that a sample and a split of traffic by the same id are independent.
        let hash = XxHash3_64::oneshot_with_seed(0x7265_636f_7264_7331, id.as_bytes());
        // 53 bits, as many as a float holds.
        ((hash >> 11) as f64) < rules.sample * (1_u64 << 53) as f64
    }
}

fn rule(rules: EndpointRules, key: Option<&super::RedactKey>) -> Rule {
    let key = key.filter(|_| !rules.redact.is_empty());
    let redactor = key.map(|key| Arc::new(Redactor::new(&rules.redact, key)));
    (rules, redactor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::RedactKey;

    fn share(sample: f64) -> f64 {
        let rules = EndpointRules { sample, ..EndpointRules::default() };
        let rules = Rules::new([("a".to_owned(), rules)].into(), &RedactKey::from_bytes([0; 32]));
        let taken = (0..20_000).filter(|i| rules.samples("a", &format!("request-{i}"))).count();
        taken as f64 / 20_000.0
    }

    #[test]
    fn a_sample_has_its_share_and_is_monotone() {
        for (declared, low, high) in [(0.0, 0.0, 0.0), (0.1, 0.09, 0.11), (0.5, 0.48, 0.52), (1.0, 1.0, 1.0)]
        {
            let share = share(declared);
            assert!((low..=high).contains(&share), "{declared}: {share}");
        }
        let rule = |sample| {
            let rules = EndpointRules { sample, ..EndpointRules::default() };
            Rules::new([("a".to_owned(), rules)].into(), &RedactKey::from_bytes([0; 32]))
        };
        let (small, large) = (rule(0.2), rule(0.4));
        for i in 0..1000 {
            let id = i.to_string();
            assert!(!small.samples("a", &id) || large.samples("a", &id), "{id}");
        }
        assert!(small.samples("another endpoint", "x"));
    }
}
