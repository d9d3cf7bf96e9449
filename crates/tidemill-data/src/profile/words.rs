//! The words of texts: in how many rows each is, of as many words as there is room for.
//!
//! Which words are kept is told by their hashes: all up to a bound, which is halved when they are too many. So a text of any size needs a few
//! kilobytes, two sketches have the words in common that both could keep, and they merge.

use std::collections::BTreeMap;

use twox_hash::XxHash3_64;

use crate::value::LONGEST;

/// Seed of the hashes; all profiles share it.
const SEED: u64 = 0x776f_7264_735f_7469;
/// The least and the most words that are kept of a column.
const FEWEST: usize = 256;
const MOST: usize = 4096;

/// Words with the numbers of rows that hold them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Words {
    limit: usize,
    /// Words with a greater hash are not kept.
    bound: u64,
    /// Texts that were looked at.
    rows: u64,
    counts: BTreeMap<u64, u64>,
}

/// Room that is used again for each text.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    word: String,
    hashes: Vec<u64>,
}

/// Words of a reference that it holds once, and words of what is compared with it that it does not hold, each with the number of all
/// words and of rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Unseen {
    pub(crate) once: f64,
    pub(crate) reference: (f64, f64),
    pub(crate) new: f64,
    pub(crate) current: (f64, f64),
}

impl Words {
    /// For a column of which so many values are counted.
    pub(super) fn new(values: usize) -> Self {
        Self { limit: (values / 2).clamp(FEWEST, MOST), bound: u64::MAX, rows: 0, counts: BTreeMap::new() }
    }

    /// Adds a text that came so often. Of a long one the beginning counts, as far as values are kept.
    pub(super) fn add(&mut self, text: &str, times: u64, scratch: &mut Scratch) {
        let Scratch { word, hashes } = scratch;
        hashes.clear();
        words(text, word, |hash| hashes.push(hash));
        hashes.sort_unstable();
        hashes.dedup();
        for hash in hashes.iter().take_while(|hash| **hash <= self.bound) {
            *self.counts.entry(*hash).or_default() += times;
        }
        self.rows += times;
        self.shrink();
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.limit = self.limit.min(other.limit);
        self.rows += other.rows;
        for (hash, count) in &other.counts {
            *self.counts.entry(*hash).or_default() += count;
        }
        self.lower(self.bound.min(other.bound));
        self.shrink();
    }

    fn shrink(&mut self) {
        while self.counts.len() > self.limit {
            self.lower(self.bound / 2);
        }
    }

    fn lower(&mut self, bound: u64) {
        self.bound = bound;
        if let Some(above) = bound.checked_add(1) {
            drop(self.counts.split_off(&above));
        }
    }

    /// What of `current` this reference does not know, beside what is to be expected: of rows like its own those words are new that
    /// it holds in one row alone. `None` where a side has no words.
    pub(super) fn unseen(&self, current: &Self) -> Option<Unseen> {
        let bound = self.bound.min(current.bound);
        let sum = |counts: &BTreeMap<u64, u64>| counts.range(..=bound).map(|(_, count)| *count).sum::<u64>();
        let once = self.counts.range(..=bound).filter(|(_, count)| **count == 1).count();
        let new = current.counts.range(..=bound).filter(|(hash, _)| !self.counts.contains_key(hash));
        let found = Unseen {
            once: once as f64,
            reference: (sum(&self.counts) as f64, self.rows as f64),
            new: new.map(|(_, count)| *count).sum::<u64>() as f64,
            current: (sum(&current.counts) as f64, current.rows as f64),
        };
        (found.reference.0 > 0.0 && found.current.0 > 0.0).then_some(found)
    }

    /// What bytes hold: limit, bound, rows, and words in the order of their hashes.
    pub(super) fn parts(&self) -> (usize, u64, u64, impl ExactSizeIterator<Item = (u64, u64)>) {
        (self.limit, self.bound, self.rows, self.counts.iter().map(|(hash, count)| (*hash, *count)))
    }

    /// From what bytes hold; `None` of what cannot be.
    pub(super) fn from_parts(limit: usize, bound: u64, rows: u64, counts: Vec<(u64, u64)>) -> Option<Self> {
        let is_fit = (FEWEST..=MOST).contains(&limit)
            && counts.len() <= limit
            && counts.is_sorted_by(|a, b| a.0 < b.0)
            && counts.last().is_none_or(|(hash, _)| *hash <= bound);
        is_fit.then(|| Self { limit, bound, rows, counts: counts.into_iter().collect() })
    }
}

/// The hashes of the words of a text, in small letters: letters and digits that follow one another.
fn words(text: &str, word: &mut String, mut each: impl FnMut(u64)) {
    word.clear();
    let hash = |word: &str| XxHash3_64::oneshot_with_seed(SEED, word.as_bytes());
    for (place, c) in text.chars().enumerate() {
        // Values are cut here when they are kept; a word that goes on is not known.
        if place == LONGEST {
            return;
        }
        if c.is_alphanumeric() {
            word.extend(c.to_lowercase());
        } else if !word.is_empty() {
            each(hash(word));
            word.clear();
        }
    }
    if !word.is_empty() {
        each(hash(word));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::shorten;

    fn of(texts: &[&str]) -> Words {
        let (mut words, mut scratch) = (Words::new(0), Scratch::default());
        texts.iter().for_each(|text| words.add(text, 1, &mut scratch));
        words
    }

    #[test]
    fn words_are_counted_once_a_row_whatever_stands_between() {
        let words = of(&["Red shoes, red!", "the RED-shoe", ""]);
        assert_eq!((words.counts.len(), words.rows), (4, 3));
        assert_eq!(words.counts.values().copied().max(), Some(2), "red is in two rows");
        let found = of(&["a b", "a c"]).unseen(&of(&["a d e", "b"])).unwrap();
        assert_eq!((found.once, found.reference), (2.0, (4.0, 2.0)));
        assert_eq!((found.new, found.current), (2.0, (4.0, 2.0)));
        assert_eq!(of(&["…"]).unseen(&of(&["a"])), None);
    }

    #[test]
    fn a_text_that_is_kept_shortened_has_the_words_that_it_had() {
        let long: String = (0..90).map(|number| format!("w{number} ")).collect();
        assert_eq!(of(&[&long]), of(&[&shorten(long.clone())]));
        let exact = "x".repeat(LONGEST);
        assert_eq!(of(&[&exact]).counts.len(), 1);
        assert_eq!(of(&[&format!("{exact}y")]).counts.len(), 0, "half a word is none");
    }

    #[test]
    fn there_is_room_for_any_number_of_words_and_parts_add_up() {
        let texts: Vec<String> = (0..5_000).map(|row| format!("word{row} row{} all", row / 2)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let whole = of(&texts);
        assert!(whole.counts.len() <= FEWEST && whole.counts.len() > FEWEST / 4, "{}", whole.counts.len());
        let mut sum = of(&texts[..2_000]);
        sum.merge(&of(&texts[2_000..]));
        sum.lower(sum.bound.min(whole.bound));
        let mut same = whole.clone();
        same.lower(sum.bound);
        assert_eq!(sum, same);
        let (limit, bound, rows, counts) = whole.parts();
        assert_eq!(Words::from_parts(limit, bound, rows, counts.collect()), Some(whole.clone()));
        assert_eq!(Words::from_parts(limit, 0, rows, vec![(1, 1)]), None);
        assert_eq!(Words::from_parts(limit, 9, rows, vec![(2, 1), (1, 1)]), None);
    }
}
