//! One split into two sides.

use super::{By, Sides, Ticks};
use crate::random::{Purpose, Random};
use crate::{Error, Result};

/// What is drawn, so that the test rows and the validation rows do not depend on each other's random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draw {
    /// The test rows.
    Test,
    /// The rows that stop the boosting or choose the threshold.
    Validation,
}

/// Holds out about `share` of the rows.
///
/// * time: the latest rows; the boundary is the change of time that comes nearest to the share;
/// * random: exactly the rounded share;
/// * group: groups in random order as long as they bring the number of rows nearer to the share;
/// * stratified: the rounded share in total, each class by its largest remainder.
///
/// # Errors
/// [`Error::Parameter`] for a share that is not above 0 and below 1, [`Error::EmptySide`], [`Error::EmptyClass`] for a
/// class with one row (stratified; named by its number), [`Error::TooFewRows`].
pub fn hold_out(by: By<'_>, share: f64, seed: u64, draw: Draw) -> Result<Sides> {
    let (purpose, what, parameter) = match draw {
        Draw::Test => (Purpose::Split, "the split", "test"),
        Draw::Validation => (Purpose::Validation, "the validation split", "validation_share"),
    };
    if !(share > 0.0 && share < 1.0) {
        return Err(Error::Parameter {
            parameter: parameter.into(),
            value: share.to_string(),
            expected: "it must be above 0 and below 1".into(),
        });
    }
    let rows = by.rows();
    if rows < 2 {
        return Err(Error::TooFewRows { rows, what: "a split", least: 2 });
    }
    let wanted = ((rows as f64 * share).round() as usize).clamp(1, rows - 1);
    let mut random = Random::new(seed, purpose, 0);
    match by {
        By::Time(times) => latest(times, wanted, what),
        By::Random(_) => {
            let mut order: Vec<usize> = (0..rows).collect();
            random.shuffle(&mut order);
            flag(rows, &order[..wanted], what, "")
        }
        By::Group(groups) => whole_groups(groups, wanted, &mut random, what),
        By::Stratified(classes) => within_classes(classes, wanted, &mut random, what),
    }
}

fn flag(rows: usize, test: &[usize], what: &str, detail: &str) -> Result<Sides> {
    let mut held = vec![false; rows];
    test.iter().for_each(|row| held[*row] = true);
    Sides::from_flags(&held, what, detail)
}

fn latest(times: &[i64], wanted: usize, what: &str) -> Result<Sides> {
    let ticks = Ticks::new(times);
    let Some(cut) = ticks.nearest(times.len() - wanted) else {
        return Err(Error::EmptySide {
            what: what.into(),
            side: "test",
            detail: "all rows have the same time".into(),
        });
    };
    flag(times.len(), &ticks.order[cut..], what, "")
}

fn whole_groups(groups: &[u32], wanted: usize, random: &mut Random, what: &str) -> Result<Sides> {
    let count = groups.iter().max().map_or(0, |group| *group as usize + 1);
    let mut sizes = vec![0_usize; count];
    groups.iter().for_each(|group| sizes[*group as usize] += 1);
    let mut order: Vec<usize> = (0..count).filter(|group| sizes[*group] > 0).collect();
    if order.len() < 2 {
        return Err(Error::EmptySide {
            what: what.into(),
            side: "test",
            detail: "all rows are of one group".into(),
        });
    }
    random.shuffle(&mut order);
    let mut chosen = vec![false; count];
    let mut rows = 0;
    // The last group always stays, so that the training side is never empty.
    for group in &order[..order.len() - 1] {
        let more = rows + sizes[*group];
        if rows == 0 || more.abs_diff(wanted) < rows.abs_diff(wanted) {
            chosen[*group] = true;
            rows = more;
        }
        if rows >= wanted {
            break;
        }
    }
    let held: Vec<bool> = groups.iter().map(|group| chosen[*group as usize]).collect();
    Sides::from_flags(&held, what, "")
}

fn within_classes(classes: &[u32], wanted: usize, random: &mut Random, what: &str) -> Result<Sides> {
    let mut members = by_class(classes);
    let shares = apportion(&members.iter().map(Vec::len).collect::<Vec<_>>(), wanted, what)?;
    let mut held = vec![false; classes.len()];
    for (rows, share) in members.iter_mut().zip(shares) {
        random.shuffle(rows);
        rows[..share].iter().for_each(|row| held[*row] = true);
    }
    Sides::from_flags(&held, what, "")
}

/// The rows of each class, in table order.
pub(super) fn by_class(classes: &[u32]) -> Vec<Vec<usize>> {
    let count = classes.iter().max().map_or(0, |class| *class as usize + 1);
    let mut members = vec![Vec::new(); count];
    classes.iter().enumerate().for_each(|(row, class)| members[*class as usize].push(row));
    members
}

/// Seats of each class out of `wanted` by largest remainder, at least one and never the whole class.
fn apportion(sizes: &[usize], wanted: usize, what: &str) -> Result<Vec<usize>> {
    let total: usize = sizes.iter().sum();
    if let Some(class) = sizes.iter().position(|size| *size == 1) {
        return Err(Error::EmptyClass { class: class.to_string(), side: "test", what: what.into() });
    }
    let quota: Vec<f64> = sizes.iter().map(|size| *size as f64 * wanted as f64 / total as f64).collect();
    let most = |class: usize| sizes[class].saturating_sub(1);
    let mut seats: Vec<usize> = (0..sizes.len())
        .map(|class| (quota[class].floor() as usize).clamp(usize::from(sizes[class] > 0), most(class)))
        .collect();
    let mut by_remainder: Vec<usize> = (0..sizes.len()).collect();
    by_remainder.sort_by(|a, b| quota[*b].fract().total_cmp(&quota[*a].fract()).then(a.cmp(b)));
    let mut left = wanted.saturating_sub(seats.iter().sum());
    for class in by_remainder {
        if left > 0 && seats[class] < most(class) {
            seats[class] += 1;
            left -= 1;
        }
    }
    Ok(seats)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_gets_its_share() {
        assert_eq!(apportion(&[70, 20, 10], 20, "").unwrap(), [14, 4, 2]);
        assert_eq!(apportion(&[7, 2, 3], 3, "").unwrap(), [1, 1, 1]);
        assert_eq!(apportion(&[97, 2], 20, "").unwrap(), [19, 1]);
        assert_eq!(apportion(&[3, 0, 3], 3, "").unwrap(), [2, 0, 1]);
        assert!(apportion(&[5, 1], 2, "the split").is_err());
    }
}
