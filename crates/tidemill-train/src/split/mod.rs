//! Which rows are learnt from and which are held out.
//!
//! All functions return row numbers in rising order, are decided by the seed alone, and refuse to leave a side
//! empty. Whether each side has all classes is asked with [`check_classes`]. Tables and columns are elsewhere: what
//! the split needs of them comes as one number a row.

mod folds;
mod hold_out;

pub use folds::folds;
pub use hold_out::{Draw, hold_out};

use crate::{Error, Result};

/// By what rows are assigned.
#[derive(Clone, Copy, Debug)]
pub enum By<'a> {
    /// The latest rows are held out; one time a row. Rows of one time stay together.
    Time(&'a [i64]),
    /// Rows are drawn at random, out of so many.
    Random(usize),
    /// Whole groups are drawn; one group number a row.
    Group(&'a [u32]),
    /// Rows are drawn at random within each class; one class number a row.
    Stratified(&'a [u32]),
}

impl By<'_> {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Self::Time(times) => times.len(),
            Self::Random(rows) => *rows,
            Self::Group(keys) | Self::Stratified(keys) => keys.len(),
        }
    }
}

/// The two sides of a split or of a fold, each in rising order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sides {
    /// Rows to learn from.
    pub train: Vec<usize>,
    /// Rows to test or validate on.
    pub test: Vec<usize>,
}

impl Sides {
    /// The same sides as row numbers of a larger table, of which `rows[i]` is row `i`.
    #[must_use]
    pub fn within(&self, rows: &[usize]) -> Self {
        let map = |side: &[usize]| side.iter().map(|row| rows[*row]).collect();
        Self { train: map(&self.train), test: map(&self.test) }
    }

    /// Sides from the flag of each row: held out or not.
    fn from_flags(held: &[bool], what: &str, detail: &str) -> Result<Self> {
        let side = |flag: bool| (0..held.len()).filter(|row| held[*row] == flag).collect::<Vec<_>>();
        let sides = Self { train: side(false), test: side(true) };
        for (rows, side) in [(&sides.train, "training"), (&sides.test, "test")] {
            if rows.is_empty() {
                return Err(Error::EmptySide { what: what.into(), side, detail: detail.into() });
            }
        }
        Ok(sides)
    }
}

/// Refuses sides that lack a class: the training side must have every class that occurs, the test side too where there
/// are two classes. Returns the classes that the test side lacks.
///
/// # Errors
/// [`Error::EmptyClass`], naming the class by `label`.
pub fn check_classes(
    sides: &Sides,
    classes: &[u32],
    count: usize,
    what: &str,
    label: impl Fn(usize) -> String,
) -> Result<Vec<usize>> {
    let present = |rows: &[usize]| {
        let mut seen = vec![false; count];
        rows.iter().for_each(|row| seen[classes[*row] as usize] = true);
        seen
    };
    let (train, test) = (present(&sides.train), present(&sides.test));
    let empty =
        |class: usize, side: &'static str| Error::EmptyClass { class: label(class), side, what: what.into() };
    if let Some(class) = (0..count).find(|class| !train[*class]) {
        return Err(empty(class, "training"));
    }
    let lacking: Vec<usize> = (0..count).filter(|class| !test[*class]).collect();
    match lacking.first() {
        Some(class) if count == 2 => Err(empty(*class, "test")),
        _ => Ok(lacking),
    }
}

/// The groups of rows with one time, in rising order of time: `(rows before, rows up to and with)`.
struct Ticks {
    /// Row numbers by time, rows of one time in table order.
    order: Vec<usize>,
    /// Places in `order` where a new time begins, without 0 and the end.
    cuts: Vec<usize>,
}

impl Ticks {
    fn new(times: &[i64]) -> Self {
        let mut order: Vec<usize> = (0..times.len()).collect();
        order.sort_by_key(|row| times[*row]);
        let cuts = (1..order.len()).filter(|at| times[order[*at]] != times[order[*at - 1]]).collect();
        Self { order, cuts }
    }

    /// The cut nearest to `at`, the earlier one of two equally near; `None` where all rows have one time.
    fn nearest(&self, at: usize) -> Option<usize> {
        let after = self.cuts.partition_point(|cut| *cut < at);
        let above = self.cuts.get(after).copied();
        let below = after.checked_sub(1).map(|before| self.cuts[before]);
        match (below, above) {
            (Some(below), Some(above)) => Some(if above - at < at - below { above } else { below }),
            (below, above) => below.or(above),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_never_parts_rows_of_one_time() {
        let ticks = Ticks::new(&[5, 1, 1, 5, 5, 9]);
        assert_eq!(ticks.order, [1, 2, 0, 3, 4, 5]);
        assert_eq!(ticks.cuts, [2, 5]);
        for (at, cut) in [(0, 2), (2, 2), (3, 2), (4, 5), (5, 5), (6, 5)] {
            assert_eq!(ticks.nearest(at), Some(cut), "{at}");
        }
        assert_eq!(Ticks::new(&[3, 3, 3]).nearest(1), None);
    }

    #[test]
    fn classes_that_a_side_lacks() {
        let sides = Sides { train: vec![0, 1, 2], test: vec![3] };
        let name = |class: usize| format!("c{class}");
        let text = |classes: &[u32], count| {
            check_classes(&sides, classes, count, "the split", name).map_err(|error| error.to_string())
        };
        assert_eq!(
            text(&[0, 1, 0, 1], 2),
            Err("class `c0` has no rows on the test side of the split".into())
        );
        assert_eq!(
            text(&[0, 0, 0, 1], 2),
            Err("class `c1` has no rows on the training side of the split".into())
        );
        assert_eq!(text(&[0, 1, 2, 1], 3), Ok(vec![0, 2]));
    }
}
