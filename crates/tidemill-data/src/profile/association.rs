//! What every column has to do with the target, whatever their types, in a table of any width.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::BuildHasherDefault;

use arrow::array::{Array, ArrayRef, Float64Array, RecordBatch};
use rayon::prelude::*;
use tidemill_stats::association::{correlation_ratio, cramers_v};

use super::column::ColumnProfile;
use super::frequent::Taken;
use super::moments::CoMoments;
use super::relations::Centred;
use crate::plain::floats;
use crate::{ColumnType, Error, hash};

/// Most categories of a column that are told apart; with more it names rows rather than groups.
pub(super) const LEVELS: usize = 200;
const SEED: u64 = 0x7461_7267_6574;

/// The columns beside the target.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Associations {
    pub(super) target: u32,
    /// Places of columns with what was counted of them; nothing where there are too many categories.
    pub(super) columns: Vec<(u32, Option<Beside>)>,
}

/// A column beside the target.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Beside {
    /// Both are numbers.
    Numbers(CoMoments),
    /// One is a number: how many there are, their mean and Σ (x − mean)² by the hash of the other one.
    Groups { of_target: bool, groups: BTreeMap<u64, [f64; 3]> },
    /// None is: rows by both hashes, that of the target last.
    Counts(BTreeMap<(u64, u64), u64>),
}

/// How strong it is.
pub(super) enum Strength {
    Correlation(f64),
    CramersV(f64),
    CorrelationRatio(f64),
}

fn is_number(column: &ColumnProfile) -> bool {
    matches!(column.column_type, ColumnType::Int | ColumnType::Float)
}

fn is_category(column: &ColumnProfile) -> bool {
    matches!(column.column_type, ColumnType::String | ColumnType::Bool)
}

impl Associations {
    /// For the target at a place; `correlated` are columns of which the correlation is known already.
    pub(super) fn new(columns: &[ColumnProfile], target: usize, correlated: &[u32]) -> Option<Self> {
        let goal = columns.get(target)?;
        if !is_number(goal) && !is_category(goal) {
            return None;
        }
        let counts_as_number = is_number(goal) || goal.column_type == ColumnType::Bool;
        let beside = |(place, column): (usize, &ColumnProfile)| {
            let empty = match (is_number(column), is_category(column)) {
                (true, _) if counts_as_number => {
                    let is_known = correlated.contains(&(place as u32));
                    (!is_known).then(|| Beside::Numbers(CoMoments::default()))?
                }
                (true, _) => Beside::Groups { of_target: true, groups: BTreeMap::new() },
                (_, true) if is_number(goal) => Beside::Groups { of_target: false, groups: BTreeMap::new() },
                (_, true) => Beside::Counts(BTreeMap::new()),
                _ => return None,
            };
            Some((place as u32, Some(empty)))
        };
        let others = columns.iter().enumerate().filter(|(place, _)| *place != target);
        Some(Self { target: target as u32, columns: others.filter_map(beside).collect() })
    }

    pub(super) fn update(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        let target = batch.column(self.target as usize);
        let wants = |numbers: bool| {
            self.columns.iter().filter_map(|(_, beside)| beside.as_ref()).any(|beside| match beside {
                Beside::Numbers(_) => numbers,
                Beside::Groups { of_target, .. } => *of_target != numbers,
                Beside::Counts(_) => !numbers,
            })
        };
        let numbers =
            wants(true).then(|| Ok::<_, Error>((floats(target)?, Centred::of(target)?))).transpose()?;
        let cells = wants(false).then(|| hash::cells(target, SEED)).transpose()?;
        self.columns.par_iter_mut().try_for_each(|(place, beside)| {
            let Some(found) = beside else { return Ok(()) };
            let array = batch.column(*place as usize);
            let fits = match found {
                Beside::Numbers(moments) => {
                    if let Some((_, centred)) = &numbers {
                        moments.merge(&centred.with(&Centred::of(array)?, batch.num_rows()));
                    }
                    true
                }
                Beside::Groups { of_target: true, groups } => match &cells {
                    Some(cells) => add_groups(groups, (target, cells), &floats(array)?),
                    None => true,
                },
                Beside::Groups { of_target: false, groups } => match &numbers {
                    Some((values, _)) => add_groups(groups, (array, &hash::cells(array, SEED)?), values),
                    None => true,
                },
                Beside::Counts(counts) => match &cells {
                    Some(cells) => add_counts(counts, (array, &hash::cells(array, SEED)?), (target, cells)),
                    None => true,
                },
            };
            if !fits {
                *beside = None;
            }
            Ok(())
        })
    }

    pub(super) fn merge(&mut self, other: &Self) {
        let places = |side: &Self| side.columns.iter().map(|(place, _)| *place).collect::<Vec<_>>();
        if self.target != other.target || places(self) != places(other) {
            self.columns.clear();
            return;
        }
        for ((_, mine), (_, theirs)) in self.columns.iter_mut().zip(&other.columns) {
            let fits = match (mine.as_mut(), theirs) {
                (Some(Beside::Numbers(mine)), Some(Beside::Numbers(theirs))) => {
                    mine.merge(theirs);
                    true
                }
                (
                    Some(Beside::Groups { of_target, groups }),
                    Some(Beside::Groups { of_target: same, groups: theirs }),
                ) if *of_target == *same => {
                    theirs.iter().for_each(|(hash, more)| join(groups.entry(*hash).or_default(), more));
                    groups.len() <= LEVELS
                }
                (Some(Beside::Counts(mine)), Some(Beside::Counts(theirs))) => {
                    theirs.iter().for_each(|(pair, more)| *mine.entry(*pair).or_default() += more);
                    are_few(mine)
                }
                _ => false,
            };
            if !fits {
                *mine = None;
            }
        }
    }
}

impl Beside {
    /// How strong it is, and in how many rows both are there; `None` where it is not defined.
    pub(super) fn strength(&self) -> Option<(Strength, u64)> {
        match self {
            Self::Numbers(moments) => Some((Strength::Correlation(moments.correlation()?), moments.count)),
            Self::Groups { groups, .. } => {
                let all: Vec<(f64, f64, f64)> =
                    groups.values().map(|[n, mean, m2]| (*n, *mean, *m2)).collect();
                let rows = all.iter().map(|(count, _, _)| count).sum::<f64>();
                Some((Strength::CorrelationRatio(correlation_ratio(&all)?.corrected), rows as u64))
            }
            Self::Counts(counts) => {
                let (mut rows, mut columns) = (BTreeMap::new(), BTreeMap::new());
                let place = |places: &mut BTreeMap<u64, usize>, hash: u64| {
                    let next = places.len();
                    *places.entry(hash).or_insert(next)
                };
                let table: Vec<(usize, usize, f64)> = counts
                    .iter()
                    .map(|((a, b), count)| (place(&mut rows, *a), place(&mut columns, *b), *count as f64))
                    .collect();
                let all = counts.values().sum();
                Some((Strength::CramersV(cramers_v(&table)?.corrected), all))
            }
        }
    }
}

/// Adds one side of Σ (x − mean)² to another.
fn join(mine: &mut [f64; 3], more: &[f64; 3]) {
    let n = mine[0] + more[0];
    if n > 0.0 {
        let d = more[1] - mine[1];
        mine[2] += more[2] + d * d * mine[0] * more[0] / n;
        mine[1] += d * more[0] / n;
        mine[0] = n;
    }
}

/// Whether there is room for the groups.
fn add_groups(
    groups: &mut BTreeMap<u64, [f64; 3]>,
    (names, hashes): (&ArrayRef, &[u64]),
    numbers: &Float64Array,
) -> bool {
    let mut found: HashMap<u64, [f64; 3], BuildHasherDefault<Taken>> = HashMap::default();
    let nulls = names.logical_nulls();
    for (row, hash) in hashes.iter().enumerate() {
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) || numbers.is_null(row) {
            continue;
        }
        let value = numbers.value(row);
        if value.is_finite() {
            join(found.entry(*hash).or_default(), &[1.0, value, 0.0]);
        }
    }
    found.iter().for_each(|(hash, more)| join(groups.entry(*hash).or_default(), more));
    groups.len() <= LEVELS
}

/// Whether there is room for the categories.
fn add_counts(
    counts: &mut BTreeMap<(u64, u64), u64>,
    (names, hashes): (&ArrayRef, &[u64]),
    (targets, others): (&ArrayRef, &[u64]),
) -> bool {
    let mut found: HashMap<u64, ((u64, u64), u64), BuildHasherDefault<Taken>> = HashMap::default();
    let (left, right) = (names.logical_nulls(), targets.logical_nulls());
    let is_null =
        |row: usize| [&left, &right].iter().any(|side| side.as_ref().is_some_and(|n| n.is_null(row)));
    for (row, (hash, other)) in hashes.iter().zip(others).enumerate() {
        if !is_null(row) {
            found.entry(hash::mix(*hash, *other)).or_insert(((*hash, *other), 0)).1 += 1;
        }
    }
    found.into_values().for_each(|(pair, more)| *counts.entry(pair).or_default() += more);
    are_few(counts)
}

fn are_few(counts: &BTreeMap<(u64, u64), u64>) -> bool {
    let distinct =
        |side: &dyn Fn(&(u64, u64)) -> u64| counts.keys().map(side).collect::<BTreeSet<u64>>().len();
    distinct(&|pair| pair.0) <= LEVELS && distinct(&|pair| pair.1) <= LEVELS
}
