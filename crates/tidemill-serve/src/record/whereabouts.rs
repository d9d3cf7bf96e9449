//! In which parts of an endpoint's log requests are, in memory: outcomes that name their request are looked up in those parts alone.

use std::collections::{BTreeSet, HashSet};
use std::hash::{BuildHasher as _, RandomState};

use tidemill_db::records::RecordPart;
use tidemill_store::Store;

use super::{LogError, stored};

/// Requests of all endpoints together that are remembered, 8 bytes each: 32 MB. Of more, the oldest parts are forgotten and read each
/// time.
pub(crate) const MOST: usize = 4 << 20;

/// The part of a request, by a hash of its name: a part that holds it is never missed, one that does not may be named, rarely.
#[derive(Debug, Default)]
pub(crate) struct Whereabouts {
    hasher: RandomState,
    /// Parts up to this number are forgotten.
    forgotten: i64,
    /// Parts up to this number are in here or forgotten.
    known: i64,
    /// Hash and number of the part in one, 32 bits each, sorted; a run is less than half as long as the one before it, so that there
    /// are few, and a request is moved seldom.
    runs: Vec<Vec<u64>>,
}

impl Whereabouts {
    /// Parts up to this number are in here or forgotten.
    pub(crate) fn known(&self) -> i64 {
        self.known
    }

    /// Parts up to this number may hold anything.
    pub(crate) fn forgotten(&self) -> i64 {
        self.forgotten
    }

    /// Requests that are remembered.
    pub(crate) fn len(&self) -> usize {
        self.runs.iter().map(Vec::len).sum()
    }

    /// Takes up parts that were listed after [`known`](Self::known); only their names of requests are read.
    pub(crate) fn learn(&mut self, parts: &[RecordPart], store: &Store) -> Result<(), LogError> {
        let mut run = Vec::new();
        for part in parts {
            if part.id <= self.forgotten {
                continue;
            }
            let names = stored::requests(store, part.digest, part.bytes)?;
            self.add(part.id, names.iter().flat_map(|column| column.iter().flatten()), &mut run);
            // A log that is read for the first time may hold far more than is kept.
            if run.len() > MOST {
                self.take(std::mem::take(&mut run));
                self.forget_half();
            }
        }
        self.take(run);
        Ok(())
    }

    fn add<'a>(&mut self, part: i64, names: impl Iterator<Item = &'a str>, run: &mut Vec<u64>) {
        self.known = self.known.max(part);
        let Ok(number) = u32::try_from(part) else {
            self.forgotten = self.forgotten.max(part);
            return;
        };
        run.extend(names.map(|name| self.hash(name) | u64::from(number)));
    }

    fn take(&mut self, mut run: Vec<u64>) {
        while let Some(before) = self.runs.pop_if(|before| before.len() <= 2 * run.len()) {
            run.extend(before);
        }
        // Rows and answers of one request lie side by side.
        run.sort_unstable();
        run.dedup();
        if !run.is_empty() {
            self.runs.push(run);
        }
    }

    /// The upper half is of the name, the lower half is free for the part.
    fn hash(&self, name: &str) -> u64 {
        self.hasher.hash_one(name) & !u64::from(u32::MAX)
    }

    /// The parts that hold any of these requests, as far as they are not forgotten.
    pub(crate) fn holding(&self, names: &HashSet<&str>) -> BTreeSet<i64> {
        let mut parts = BTreeSet::new();
        for hash in names.iter().map(|name| self.hash(name)) {
            for run in &self.runs {
                let from = run.partition_point(|entry| *entry < hash);
                let same = run.iter().skip(from).take_while(|entry| **entry & !u64::from(u32::MAX) == hash);
                parts.extend(same.map(|entry| i64::from(number(*entry))));
            }
        }
        parts.retain(|part| *part > self.forgotten);
        parts
    }

    /// Forgets the older half of what is remembered.
    pub(crate) fn forget_half(&mut self) {
        let mut parts: Vec<u32> = self.runs.iter().flatten().copied().map(number).collect();
        let middle = parts.len() / 2;
        if parts.is_empty() {
            return;
        }
        let (_, last, _) = parts.select_nth_unstable(middle);
        let last = *last;
        self.forgotten = self.forgotten.max(i64::from(last));
        for run in &mut self.runs {
            run.retain(|entry| number(*entry) > last);
            run.shrink_to_fit();
        }
        self.runs.retain(|run| !run.is_empty());
    }
}

/// The part of an entry.
fn number(entry: u64) -> u32 {
    (entry & u64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(parts: std::ops::Range<i64>) -> Whereabouts {
        let mut places = Whereabouts::default();
        for part in parts {
            let mut run = Vec::new();
            let names: Vec<String> = (0..10).map(|i| format!("r{}", part * 10 + i)).collect();
            // Each twice: a shadow answered it too.
            places.add(part, names.iter().chain(&names).map(String::as_str), &mut run);
            places.take(run);
        }
        places
    }

    #[test]
    fn requests_lead_to_their_parts() {
        let places = learned(1..200);
        assert_eq!((places.known(), places.forgotten(), places.len()), (199, 0, 1990));
        assert!(places.runs.len() < 8, "{}", places.runs.len());
        assert_eq!(places.holding(&HashSet::from(["r15", "r1234", "r1235"])), BTreeSet::from([1, 123]));
        assert!(places.holding(&HashSet::from(["nobody"])).is_empty());
    }

    #[test]
    fn what_is_forgotten_is_said_to_be() {
        let mut places = learned(1..101);
        places.forget_half();
        assert_eq!(places.forgotten(), 51);
        assert_eq!(places.len(), 490);
        assert!(places.holding(&HashSet::from(["r15"])).is_empty());
        assert_eq!(places.holding(&HashSet::from(["r525"])), BTreeSet::from([52]));
        let mut run = Vec::new();
        places.add(i64::from(u32::MAX) + 1, std::iter::once("late"), &mut run);
        assert_eq!(places.forgotten(), i64::from(u32::MAX) + 1, "it is read each time");
    }
}
