//! A classifier that learns to tell the rows of two tables apart: what it can tell them by is a shift, whether or not a single column or
//! a pair of them shows it.
//!
//! Boosted trees learn from the first of five parts and answer the second, learn from both and answer the third, and so on: no row is
//! answered by trees that saw it, and the test over all parts holds its level whatever the trees do
//! ([`told_apart`]). Rows count as independent of one another.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use indexmap::IndexMap;
use tidemill_core::Progress;
use tidemill_core::declare::{GbdtParams, Metric};
use tidemill_stats::drift::{Answered, DomainClassifier, told_apart};

use crate::frame::{ClassLabel, Frame, FrameSchema, Selection, Table, Target};
use crate::gbdt::{GbdtModel, Sample, train};
use crate::importance::{Setting, permutation};
use crate::metric::{Decision, Scored, Truth};
use crate::model::{Predictor as _, Scores};
use crate::{Error, Result};

/// With fewer rows of a side there is nothing to learn and to check.
pub const FEW: usize = 200;
/// Parts of the rows. The first is only learned from.
const PARTS: usize = 5;
/// Below this p-value it is asked which columns tell the sides apart.
const ASKED_BELOW: f64 = 0.05;
/// Rows of a part that are asked for it.
const MOST_ASKED: usize = 1_000;
/// A column that is named costs this share of what the first one costs when it is shuffled.
const LEAST_SHARE: f64 = 0.1;
/// Columns that are named.
const MOST_NAMED: usize = 20;
const SEED: u64 = 0x6a6f_696e_7473;

/// A part of the rows and what trees that learned from the parts before it make of them.
struct Part {
    model: GbdtModel,
    frame: Frame,
    is_current: Vec<bool>,
    scores: Vec<f64>,
    learned: usize,
}

/// How well boosted trees tell rows of the one side from rows of the other that they did not learn from, and by which columns: every
/// column of `schema`, which all batches have. The same rows give the same answer. `None` with fewer than [`FEW`] rows of a side.
///
/// It takes four trainings of 30 trees with at most 15 leaves; rows and columns are the caller's to bound.
///
/// # Errors
/// A column whose type trees cannot take; [`Error::Cancelled`].
pub fn tell_apart(
    schema: SchemaRef,
    reference: Vec<RecordBatch>,
    current: Vec<RecordBatch>,
    progress: &dyn Progress,
) -> Result<Option<DomainClassifier>> {
    let rows = |batches: &[RecordBatch]| batches.iter().map(RecordBatch::num_rows).sum::<usize>();
    let (before, after) = (rows(&reference), rows(&current));
    if before.min(after) < FEW {
        return Ok(None);
    }
    let table = Table::new(schema, [reference, current].concat())?;
    let target = Target::Classes {
        codes: (0..before + after).map(|row| u32::from(row >= before)).collect(),
        classes: vec![ClassLabel::Bool(false), ClassLabel::Bool(true)],
    };
    // Rows come evenly drawn, so every fifth one of each side is a part like any other.
    let part_of = |row: usize| if row < before { row % PARTS } else { (row - before) % PARTS };
    let chosen = |is_in: &dyn Fn(usize) -> bool| -> Vec<usize> {
        (0..before + after).filter(|row| is_in(part_of(*row))).collect()
    };
    let params = GbdtParams { rounds: 30, max_leaves: 15, max_bins: 63, ..GbdtParams::default() };
    let mut parts: Vec<Part> = Vec::with_capacity(PARTS - 1);
    for number in 1..PARTS {
        if progress.cancelled() {
            return Err(Error::Cancelled);
        }
        let (learned, held) = (chosen(&|part| part < number), chosen(&|part| part == number));
        // Categories are those of the rows that are learned from.
        let columns = FrameSchema::learn(&table, Some(&learned), Selection::default())?;
        let all = columns.frame(&table)?;
        let (features, labels) = (all.take(&learned), target.take(&learned));
        let sample = Sample { frame: &features, target: &labels, weights: None };
        let model = train(sample, None, &params, SEED + number as u64, &tidemill_core::Quiet)?.model;
        let frame = all.take(&held);
        let scores = of_current(&model.scores(&frame));
        let is_current = held.iter().map(|row| *row >= before).collect();
        parts.push(Part { model, frame, is_current, scores, learned: learned.len() });
    }
    let answered: Vec<Answered<'_>> = parts
        .iter()
        .map(|part| Answered { is_current: &part.is_current, scores: &part.scores, learned: part.learned })
        .collect();
    let Some(found) = told_apart(&answered) else { return Ok(None) };
    if found.p.is_none_or(|p| p >= ASKED_BELOW) {
        return Ok(Some(found));
    }
    Ok(Some(DomainClassifier { columns: told_by(&parts, progress)?, ..found }))
}

/// The probability that a row is of the current side.
fn of_current(scores: &Scores) -> Vec<f64> {
    scores.column(1)
}

/// The columns without which the area is smaller, the one that it loses most without first.
fn told_by(parts: &[Part], progress: &dyn Progress) -> Result<Vec<String>> {
    let mut losses: IndexMap<String, f64> = IndexMap::new();
    let decision = Decision::default();
    for (number, part) in parts.iter().enumerate() {
        let step = part.frame.rows().div_ceil(MOST_ASKED).max(1);
        let asked: Vec<usize> = (0..part.frame.rows()).step_by(step).collect();
        let known = Scored {
            truth: Truth::Classes {
                values: asked.iter().map(|row| u32::from(part.is_current[*row])).collect(),
                classes: 2,
            },
            answers: asked.iter().map(|row| part.scores[*row]).collect(),
            weights: None,
        };
        let setting =
            Setting { metric: Metric::RocAuc, decision: &decision, repeats: 1, seed: SEED + number as u64 };
        let frame = part.frame.take(&asked);
        let found = permutation(&part.model, &frame, &known, of_current, setting, progress)?;
        for column in found {
            *losses.entry(column.column).or_default() += column.mean;
        }
    }
    losses.sort_by(|one, loss, other, theirs| theirs.total_cmp(loss).then_with(|| one.cmp(other)));
    let most = losses.values().next().copied().unwrap_or_default();
    let counts = |loss: f64| loss > 0.0 && loss >= LEAST_SHARE * most;
    Ok(losses
        .into_iter()
        .filter(|(_, loss)| counts(*loss))
        .map(|(column, _)| column)
        .take(MOST_NAMED)
        .collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, StringArray};
    use tidemill_core::{Cancel, Quiet};
    use tidemill_stats::random::Random;

    use super::*;

    fn batch(columns: impl IntoIterator<Item = (&'static str, ArrayRef)>) -> RecordBatch {
        let nullable = columns.into_iter().map(|(name, array)| (name, array, true));
        RecordBatch::try_from_iter_with_nullable(nullable).unwrap()
    }

    /// Rows of two numbers, a truth value and a category with gaps; `shift` moves the first number.
    fn rows(count: usize, shift: f64, item: u64) -> RecordBatch {
        let mut random = Random::new(21, item);
        let (mut numbers, mut others, mut flags, mut kinds) = (vec![], vec![], vec![], vec![]);
        for _ in 0..count {
            numbers.push(random.normal() + shift);
            others.push((2.0 * random.normal()).exp());
            flags.push(f64::from(random.below(2)));
            kinds.push((random.unit() > 0.05).then(|| ["air", "sea", "rail"][random.below(3) as usize]));
        }
        let columns: [(&str, ArrayRef); 4] = [
            ("other", Arc::new(Float64Array::from(others))),
            ("number", Arc::new(Float64Array::from(numbers))),
            ("flag", Arc::new(Float64Array::from(flags))),
            ("kind", Arc::new(StringArray::from(kinds))),
        ];
        batch(columns)
    }

    /// Rows of four truth values. `tied` says that the third follows from the first two, which no pair of columns shows.
    fn flags(count: usize, tied: bool, item: u64) -> RecordBatch {
        let mut random = Random::new(22, item);
        let mut flags: [Vec<f64>; 4] = Default::default();
        for _ in 0..count {
            let [a, b, free, d] = [0, 1, 2, 3].map(|_| random.below(2));
            let c = if tied { a ^ b } else { free };
            for (column, flag) in flags.iter_mut().zip([a, b, c, d]) {
                column.push(f64::from(flag));
            }
        }
        let arrays = flags.map(|flag| Arc::new(Float64Array::from(flag)) as ArrayRef);
        batch(["a", "b", "c", "d"].into_iter().zip(arrays))
    }

    fn told(reference: &RecordBatch, current: &RecordBatch) -> Option<DomainClassifier> {
        let (before, after) = (vec![reference.clone()], vec![current.clone()]);
        tell_apart(reference.schema(), before, after, &Quiet).unwrap()
    }

    #[test]
    fn what_only_three_columns_together_show_is_told_by_these_three() {
        let (before, after) = (flags(1_000, false, 1), flags(1_000, true, 2));
        let found = told(&before, &after).unwrap();
        // Half of the cells of the reference are empty now: who knows them has an area of 3/4.
        assert!((0.68..0.8).contains(&found.auc) && found.lower > 0.6, "{found:?}");
        assert!(found.p.is_some_and(|p| p < 1e-9), "{found:?}");
        let mut names = found.columns.clone();
        names.sort();
        assert_eq!(names, ["a", "b", "c"], "{found:?}");
        // The same rows give the same answer, in other batches, too.
        let parts = vec![before.slice(0, 130), before.slice(130, 870)];
        let again = tell_apart(before.schema(), parts, vec![after], &Quiet).unwrap();
        assert_eq!(again, Some(found));
    }

    #[test]
    fn a_column_that_moved_is_the_one_that_is_named() {
        let found = told(&rows(800, 0.0, 3), &rows(800, 1.0, 4)).unwrap();
        // Φ(1/√2) is the area of two normal distributions one deviation apart.
        assert!((0.7..0.79).contains(&found.auc), "{found:?}");
        assert_eq!(found.columns, ["number"], "{found:?}");
    }

    #[test]
    fn few_rows_are_not_told_apart_and_work_can_be_stopped() {
        assert_eq!(told(&rows(199, 0.0, 1), &rows(900, 3.0, 2)), None);
        let same = rows(200, 0.0, 5);
        let found = told(&same, &same).unwrap();
        assert!(found.p.is_some_and(|p| p > 0.1) && found.columns.is_empty(), "{found:?}");
        let stopped = Cancel::new();
        stopped.cancel();
        let found = tell_apart(same.schema(), vec![same.clone()], vec![same], &stopped);
        assert!(matches!(found, Err(Error::Cancelled)), "{found:?}");
    }

    /// 250 repetitions without a difference: p-values below a level come as often as it says, however few rows there are and however unequal
    /// the sides.
    #[test]
    fn luck_is_told_as_often_as_the_level_says() {
        for (before, after) in [(220, 220), (1_000, 200)] {
            let found: Vec<DomainClassifier> = (0..250)
                .filter_map(|item| {
                    let seed = 1_000 * before as u64 + 2 * item;
                    told(&rows(before, 0.0, seed), &rows(after, 0.0, seed + 1))
                })
                .collect();
            assert_eq!(found.len(), 250);
            let below = |level: f64| found.iter().filter(|it| it.p.is_some_and(|p| p < level)).count();
            let outside = found.iter().filter(|it| it.lower > 0.5).count();
            let shares = (below(0.5), below(0.05), below(0.01), outside);
            // What the true rate shows in 999 of 1,000 simulations: of 5 %, 1 % and, for the lower end of the interval, half a percent.
            assert!(shares.1 <= 24 && shares.2 <= 9 && shares.3 <= 6, "{before} {after}: {shares:?}");
            assert!(shares.0 >= 100, "{before} {after}: {shares:?}");
        }
    }
}
