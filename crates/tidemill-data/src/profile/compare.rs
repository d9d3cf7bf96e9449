//! What a comparison with another profile needs of a column.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use tidemill_stats::dependence::Cells;
use tidemill_stats::sample::Moments;

use super::column::ColumnProfile;
use super::frequent::{Frequent, Sample};
use super::mask::{mask, outline};
use super::rows::{bits, short};
use super::words::Words;
use super::{Profile, describe};
use crate::ColumnType;
use crate::drift::inputs::{Categories, InputValues, Side, TextSides};

/// The name of all values that are not counted one by one.
const OTHERS: &str = "(all others)";

impl Profile {
    /// Names and Arrow's types of the columns.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.columns.iter().map(|column| (column.name.as_str(), column.data_type.as_str()))
    }

    /// Nulls and NaN of a column.
    pub(crate) fn missing(&self, name: &str) -> Option<u64> {
        self.find(name).map(|column| column.nulls + column.numbers.nan)
    }

    /// The numbers of a column, as far as they are kept.
    pub(crate) fn side(&self, name: &str) -> Option<Side> {
        let column = self.find(name)?;
        let sketch = &column.numbers.quantiles;
        let (values, weights) = sketch.points();
        let moments = &column.numbers.moments;
        let n = moments.count as f64;
        Some(Side {
            values,
            weights: (!sketch.is_exact()).then_some(weights),
            rank_error: sketch.rank_error(),
            rows: sketch.count(),
            // Moments leave infinities out, so they are not those of the sample where there are any.
            moments: (moments.count == sketch.count() && moments.count > 0).then(|| Moments {
                count: n,
                mean: moments.mean,
                variance: moments.m2 / n,
            }),
        })
    }

    /// The counts of the values of a column on both sides.
    pub(crate) fn categories(&self, current: &Self, name: &str) -> Option<Categories> {
        let (before, after) = (self.find(name)?, current.find(name)?);
        let complete =
            before.frequent.exact_distinct().is_some() && after.frequent.exact_distinct().is_some();
        let mut places: HashMap<u64, usize> = HashMap::new();
        let mut found = Categories { labels: Vec::new(), reference: vec![], current: vec![], complete };
        let mut all: Vec<(u64, String)> = Vec::new();
        for column in [before, after] {
            let error = column.frequent.error();
            let kept = column.frequent.entries().filter(|(_, _, count)| complete || *count > error);
            all.extend(kept.map(|(hash, value, _)| {
                let value = describe::show(value, column.column_type, &column.data_type);
                (hash, value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            }));
        }
        // In one order, whatever the order of the maps.
        all.sort_by(|a, b| a.1.cmp(&b.1).then(a.0.cmp(&b.0)));
        all.dedup_by_key(|(hash, _)| *hash);
        for (hash, label) in all {
            places.entry(hash).or_insert_with(|| {
                found.labels.push(label);
                found.labels.len() - 1
            });
        }
        let counts = |column: &ColumnProfile| {
            let mut counts = vec![0.0; places.len()];
            let mut rest = column.count.saturating_sub(column.numbers.nan);
            for (hash, _, count) in column.frequent.entries() {
                if let Some(&place) = places.get(&hash) {
                    counts[place] = count as f64;
                    rest = rest.saturating_sub(count);
                }
            }
            if !complete {
                counts.push(rest as f64);
            }
            counts
        };
        found.reference = counts(before);
        found.current = counts(after);
        if !complete {
            found.labels.push(OTHERS.to_owned());
        }
        Some(found)
    }

    /// What a column of categories is compared by: its values, and where hardly any comes twice, what else is known of texts.
    pub(crate) fn category_values(&self, current: &Self, name: &str) -> Option<InputValues> {
        let categories = self.categories(current, name)?;
        let (before, after) = (self.find(name)?, current.find(name)?);
        let are_texts = [before, after].iter().all(|column| column.column_type == ColumnType::String);
        if !are_texts || !categories.are_rare() {
            return Some(InputValues::Categorical(categories));
        }
        let lengths = (self.side(name)?, current.side(name)?);
        let shapes = before.outlines().zip(after.outlines()).map(|(old, new)| {
            let all: BTreeMap<&String, ()> = old.keys().chain(new.keys()).map(|key| (key, ())).collect();
            let counts = |side: &BTreeMap<String, u64>| -> Vec<f64> {
                all.keys().map(|key| side.get(*key).copied().unwrap_or(0) as f64).collect()
            };
            (counts(&old), counts(&new))
        });
        let unseen = before.all_words().zip(after.all_words()).and_then(|(old, new)| old.unseen(&new));
        Some(InputValues::Text(categories, TextSides { lengths, shapes, unseen }))
    }

    /// The shares of a column's numbers between neighbouring edges.
    pub(crate) fn shares(&self, name: &str, edges: &[f64]) -> Option<Vec<f64>> {
        let (values, weights) = self.find(name)?.numbers.quantiles.points();
        let total: f64 = weights.iter().sum();
        let mut shares = vec![0.0; edges.len().checked_sub(1)?];
        let bins = shares.len();
        for (value, weight) in values.iter().zip(weights) {
            let place = edges.partition_point(|edge| edge <= value);
            // The last bin has its upper edge too.
            let place = if edges.last() == Some(value) { bins } else { place };
            if (1..=bins).contains(&place) {
                shares[place - 1] += weight / total;
            }
        }
        (total > 0.0).then_some(shares)
    }

    /// The counts of a column between the deciles of [`ProfileOptions::reference`](super::ProfileOptions::reference), and
    /// the number of values outside of its quantiles .005 and .995; `None` without a reference.
    pub fn reference_counts(&self, name: &str) -> Option<(Vec<u64>, u64)> {
        let bins = self.find(name)?.numbers.bins.as_ref()?;
        Some((bins.counts.clone(), bins.outside))
    }

    /// The sampled values of a column: its numbers, or codes of its categories. `None` without a sample of it.
    pub(crate) fn sampled(&self, name: &str, are_numbers: bool) -> Option<Cells> {
        let sample = self.rows_sampled()?;
        let place = self.columns.iter().position(|column| column.name == name)? as u32;
        if are_numbers {
            return sample.numbers_of(place).map(Cells::Numbers);
        }
        sample.codes_of(place).map(Cells::Categories)
    }

    /// The value of a column with this code, where it is among the frequent ones.
    pub(crate) fn label_of(&self, name: &str, code: u32) -> Option<String> {
        let column = self.find(name)?;
        let is_it = |hash: u64, value: &Sample| match value {
            Sample::Float(number) => bits(Some(*number)) == code,
            Sample::Int(number) if column.column_type == ColumnType::Int => {
                bits(Some(*number as f64)) == code
            }
            _ => short(hash) == code,
        };
        let (_, value, _) = column.frequent.entries().find(|&(hash, value, _)| is_it(hash, value))?;
        let value = describe::show(value, column.column_type, &column.data_type);
        Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    }

    /// Pairs of columns with r and the number of rows.
    pub(crate) fn correlations(&self) -> Vec<([String; 2], f64, u64)> {
        describe::correlations(self).into_iter().map(|pair| (pair.columns, pair.r, pair.rows)).collect()
    }
}

impl ColumnProfile {
    /// The words of texts, of as many as were kept; nothing of a profile from before they were.
    fn all_words(&self) -> Option<Cow<'_, Words>> {
        match &self.words {
            Some(words) => Some(Cow::Borrowed(words)),
            None => self.frequent.exact_distinct().map(|_| Cow::Owned(self.vocabulary())),
        }
    }

    /// Outlines of texts with their counts, where values or shapes were all counted.
    fn outlines(&self) -> Option<BTreeMap<String, u64>> {
        let mut found = BTreeMap::new();
        let mut shape = String::new();
        let mut add = |text: &str, count: u64| {
            mask(text, &mut shape);
            *found.entry(outline(&shape)).or_default() += count;
        };
        // A mask has the mask that it is.
        let counted = |one: &&Frequent| one.error() == 0 && one.exact_distinct().is_some();
        let exact = Some(&self.frequent).filter(counted).or(self.masks.as_ref().filter(counted))?;
        for (value, count) in exact.values() {
            if let Sample::Text(text) = value {
                add(text, count);
            }
        }
        Some(found)
    }
}
