//! What the values of a column look like: shares of bins or of frequent values, of one side or of two over the same ones.

use tidemill_core::words::number;

use crate::profile::ColumnStats;
use crate::{ColumnType, Profile, Value};

/// Bins of a histogram.
const BINS: usize = 26;
/// Values that have a share of their own.
const VALUES: usize = 6;

/// Shares of the values of a column, on the side that is looked at and on the one that it is compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Of numbers and times, which leave out the outermost half percent at each end.
    Bins(Bins),
    /// Of texts and truth values: the most frequent ones, most frequent first.
    Values(Vec<Share>),
}

/// Shares of neighbouring bins.
#[derive(Clone, Debug, PartialEq)]
pub struct Bins {
    /// One more than there are bins.
    pub edges: Vec<f64>,
    /// The edges as people read them.
    pub names: Vec<String>,
    /// Whether each bin is one whole number, which is in its middle.
    pub is_single: bool,
    /// Of the reference, where there is one that has the column as numbers.
    pub reference: Option<Vec<f64>>,
    /// Of the side that is looked at.
    pub current: Option<Vec<f64>>,
}

/// The share of a value on both sides.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    /// The value.
    pub value: Value,
    /// In the reference; 0 where there is none.
    pub reference: f64,
    /// On the side that is looked at.
    pub current: f64,
}

/// The shape of the column that `stats` tells of; nothing where nothing is known of its values.
pub fn shape(stats: &ColumnStats, current: &Profile, reference: Option<&Profile>) -> Option<Shape> {
    match stats.column_type {
        ColumnType::Int | ColumnType::Float | ColumnType::Date | ColumnType::Timestamp => {
            bins(stats, current, reference).map(Shape::Bins)
        }
        ColumnType::String | ColumnType::Bool => values(stats, reference).map(Shape::Values),
        ColumnType::Other => None,
    }
}

fn bins(stats: &ColumnStats, current: &Profile, reference: Option<&Profile>) -> Option<Bins> {
    let name = &stats.name;
    let sides = [reference, Some(current)];
    let cut = |probability: f64| {
        sides.iter().flatten().filter_map(move |side| side.quantile(name, probability).map(|found| found.0))
    };
    let finite = |value: &f64| value.is_finite();
    let low = cut(0.005).filter(finite).reduce(f64::min)?;
    let high = cut(0.995).filter(finite).reduce(f64::max)?;
    let edges = edges(stats, low, high);
    let [reference, current] = sides.map(|side| side.and_then(|side| side.shares(name, &edges)));
    let most = [&reference, &current].into_iter().flatten().flatten().copied().reduce(f64::max);
    most.filter(|most| *most > 0.0)?;
    // Bins of single whole numbers are named by these.
    let is_single =
        stats.column_type == ColumnType::Int && edges[1] - edges[0] == 1.0 && edges[0].fract() != 0.0;
    let names = edges.iter().map(|edge| edge_name(stats, *edge)).collect();
    Some(Bins { edges, names, is_single, reference, current })
}

/// The edges: whole numbers of a small range get a bin each.
fn edges(stats: &ColumnStats, low: f64, high: f64) -> Vec<f64> {
    let whole = stats.column_type == ColumnType::Int;
    let (start, width, count) = if whole && high - low < BINS as f64 {
        (low.floor() - 0.5, 1.0, (high - low) as usize + 1)
    } else if high > low {
        (low, (high - low) / BINS as f64, BINS)
    } else {
        let half = (low.abs() * 0.01).max(0.5);
        (low - half, 2.0 * half, 1)
    };
    (0..=count).map(|place| start + width * place as f64).collect()
}

/// A value of a column of numbers or times as people read it.
pub(super) fn edge_name(stats: &ColumnStats, value: f64) -> String {
    match stats.column_type {
        ColumnType::Date | ColumnType::Timestamp => {
            let text = crate::profile::time_text(value as i64, &stats.data_type);
            text.get(..10).map_or_else(|| text.clone(), str::to_owned)
        }
        _ => number(value),
    }
}

/// The most frequent values of either side, each with its share on both.
fn values(stats: &ColumnStats, reference: Option<&Profile>) -> Option<Vec<Share>> {
    let before = reference.and_then(|side| side.describe_column(&stats.name));
    let share = |stats: &ColumnStats, value: &Value| {
        let found = stats.top.iter().find(|top| top.value == *value);
        found.map_or(0.0, |top| top.count as f64 / stats.count.max(1) as f64)
    };
    let mut shares: Vec<Share> = Vec::new();
    for top in before.iter().flat_map(|before| &before.top).chain(&stats.top) {
        if !shares.iter().any(|known| known.value == top.value) {
            let old = before.as_ref().map_or(0.0, |before| share(before, &top.value));
            shares.push(Share {
                value: top.value.clone(),
                reference: old,
                current: share(stats, &top.value),
            });
        }
    }
    shares.sort_by(|a, b| b.reference.max(b.current).total_cmp(&a.reference.max(a.current)));
    shares.truncate(VALUES);
    let most = shares.iter().map(|one| one.reference.max(one.current)).reduce(f64::max);
    most.filter(|most| *most > 0.0)?;
    Some(shares)
}

impl Bins {
    /// What the bin at `place` holds, in words.
    pub fn name(&self, place: usize) -> String {
        let (from, to) = (&self.names[place], &self.names[place + 1]);
        if self.is_single { number(self.edges[place] + 0.5) } else { format!("{from} to {to}") }
    }
}
