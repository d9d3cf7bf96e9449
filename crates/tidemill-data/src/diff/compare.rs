//! Matching sorted records of both sides: counts, changed cells, and the first rows of each kind.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::{RowDiff, SAMPLE_ROWS};
use crate::records::{HEAD, Sorted};

/// What was found so far.
pub(super) struct Found {
    /// Without the totals of the sides.
    pub(super) rows: RowDiff,
    pub(super) duplicates_old: u64,
    pub(super) duplicates_new: u64,
    pub(super) changed_cells: Vec<u64>,
    /// Numbers of the first rows only in the new table.
    pub(super) added: BTreeSet<u64>,
    /// Numbers of the first rows only in the old table.
    pub(super) removed: BTreeSet<u64>,
    /// The first changed rows: number in the new table to number in the old one.
    pub(super) changed: BTreeMap<u64, u64>,
}

impl Found {
    pub(super) fn new(cells: usize) -> Self {
        Self {
            rows: RowDiff::default(),
            duplicates_old: 0,
            duplicates_new: 0,
            changed_cells: vec![0; cells],
            added: BTreeSet::new(),
            removed: BTreeSet::new(),
            changed: BTreeMap::new(),
        }
    }

    /// Goes through both sides at once. Rows of equal key match in order of their position; what is left over on
    /// one side was added or removed.
    pub(super) fn compare(&mut self, old: &Sorted, new: &Sorted, keyed: bool) {
        let (mut i, mut j) = (0, 0);
        while i < old.len() || j < new.len() {
            let order = match (i < old.len(), j < new.len()) {
                (true, true) => old.record(i)[..2].cmp(&new.record(j)[..2]),
                (true, false) => Ordering::Less,
                (false, _) => Ordering::Greater,
            };
            let old_end = if order == Ordering::Greater { i } else { old.run(i) };
            let new_end = if order == Ordering::Less { j } else { new.run(j) };
            let matched = (old_end - i).min(new_end - j);
            for k in 0..matched {
                self.matched(old.record(i + k), new.record(j + k));
            }
            for place in i + matched..old_end {
                self.rows.removed += 1;
                remember(&mut self.removed, old.record(place)[2]);
            }
            for place in j + matched..new_end {
                self.rows.added += 1;
                remember(&mut self.added, new.record(place)[2]);
            }
            if keyed {
                self.duplicates_old += (old_end - i).saturating_sub(1) as u64;
                self.duplicates_new += (new_end - j).saturating_sub(1) as u64;
            }
            (i, j) = (old_end, new_end);
        }
    }

    fn matched(&mut self, old: &[u64], new: &[u64]) {
        if old[HEAD..] == new[HEAD..] {
            self.rows.unchanged += 1;
            return;
        }
        self.rows.changed += 1;
        for (cell, count) in self.changed_cells.iter_mut().enumerate() {
            let (word, shift) = (HEAD + cell / 2, cell % 2 * 32);
            *count += u64::from((old[word] ^ new[word]) >> shift & 0xffff_ffff != 0);
        }
        self.changed.insert(new[2], old[2]);
        if self.changed.len() > SAMPLE_ROWS {
            self.changed.pop_last();
        }
    }
}

/// Keeps the least numbers.
fn remember(rows: &mut BTreeSet<u64>, row: u64) {
    rows.insert(row);
    if rows.len() > SAMPLE_ROWS {
        rows.pop_last();
    }
}
