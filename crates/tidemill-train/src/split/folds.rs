//! Cross-validation: several splits whose held-out sides do not overlap.

use super::hold_out::by_class;
use super::{By, Sides, Ticks};
use crate::random::{Purpose, Random};
use crate::{Error, Result};

/// Makes `count` folds.
///
/// Random, grouped and stratified folds hold out every row exactly once. Time gives growing windows: the rows are cut
/// into `count + 1` parts of about equal size along time, and fold `i` learns from the first `i` parts and is tested on
/// the next one, so the first part is never held out.
///
/// # Errors
/// [`Error::Parameter`] for fewer than 2 folds, [`Error::TooFewRows`], [`Error::EmptySide`] for too few groups or times,
/// [`Error::EmptyClass`] for a class with fewer rows than folds (stratified; named by its number).
pub fn folds(by: By<'_>, count: u32, seed: u64) -> Result<Vec<Sides>> {
    let folds = count as usize;
    if folds < 2 {
        return Err(Error::Parameter {
            parameter: "folds".into(),
            value: count.to_string(),
            expected: "it must be at least 2".into(),
        });
    }
    let rows = by.rows();
    let least = if matches!(by, By::Time(_)) { folds + 1 } else { folds };
    if rows < least {
        return Err(Error::TooFewRows { rows, what: "cross-validation", least });
    }
    let mut random = Random::new(seed, Purpose::Fold, 0);
    let fold_of = match by {
        By::Time(times) => return windows(times, folds),
        By::Random(_) => {
            let mut order: Vec<usize> = (0..rows).collect();
            random.shuffle(&mut order);
            deal(rows, &order, folds)
        }
        By::Group(groups) => balance(groups, folds, &mut random)?,
        By::Stratified(classes) => {
            let mut order = Vec::with_capacity(rows);
            for (class, mut members) in by_class(classes).into_iter().enumerate() {
                if (1..folds).contains(&members.len()) {
                    let what = format!("fold {}", members.len() + 1);
                    return Err(Error::EmptyClass { class: class.to_string(), side: "test", what });
                }
                random.shuffle(&mut members);
                order.append(&mut members);
            }
            deal(rows, &order, folds)
        }
    };
    (0..folds)
        .map(|fold| {
            let held: Vec<bool> = fold_of.iter().map(|of| *of as usize == fold).collect();
            Sides::from_flags(&held, &format!("fold {}", fold + 1), "")
        })
        .collect()
}

/// Deals rows like cards, so that each fold gets its share of any run of the order.
fn deal(rows: usize, order: &[usize], folds: usize) -> Vec<u32> {
    let mut fold_of = vec![0; rows];
    order.iter().enumerate().for_each(|(at, row)| fold_of[*row] = (at % folds) as u32);
    fold_of
}

/// Gives each group, the largest first, to the fold with the fewest rows; equal sizes in random order.
fn balance(groups: &[u32], folds: usize, random: &mut Random) -> Result<Vec<u32>> {
    let count = groups.iter().max().map_or(0, |group| *group as usize + 1);
    let mut sizes = vec![0_usize; count];
    groups.iter().for_each(|group| sizes[*group as usize] += 1);
    let mut order: Vec<usize> = (0..count).filter(|group| sizes[*group] > 0).collect();
    if order.len() < folds {
        let detail = format!("there are {} groups for {folds} folds", order.len());
        return Err(Error::EmptySide { what: format!("fold {folds}"), side: "test", detail });
    }
    random.shuffle(&mut order);
    order.sort_by_key(|group| std::cmp::Reverse(sizes[*group]));
    let mut filled = vec![0_usize; folds];
    let mut fold_of = vec![0_u32; count];
    for group in order {
        let fold = (0..folds).min_by_key(|fold| filled[*fold]).unwrap_or(0);
        filled[fold] += sizes[group];
        fold_of[group] = fold as u32;
    }
    Ok(groups.iter().map(|group| fold_of[*group as usize]).collect())
}

fn windows(times: &[i64], folds: usize) -> Result<Vec<Sides>> {
    let ticks = Ticks::new(times);
    let rows = times.len();
    let mut bounds: Vec<usize> = Vec::with_capacity(folds + 1);
    for part in 1..=folds {
        let cut = ticks.nearest(rows * part / (folds + 1));
        match cut {
            Some(cut) if bounds.last().is_none_or(|last| cut > *last) => bounds.push(cut),
            _ => {
                let detail = format!("there are {} different times, unevenly spread", ticks.cuts.len() + 1);
                return Err(Error::EmptySide { what: format!("fold {part}"), side: "test", detail });
            }
        }
    }
    bounds.push(rows);
    let window = |ends: &[usize]| {
        let side = |range: &[usize]| {
            let mut rows = range.to_vec();
            rows.sort_unstable();
            rows
        };
        Sides { train: side(&ticks.order[..ends[0]]), test: side(&ticks.order[ends[0]..ends[1]]) }
    };
    Ok(bounds.windows(2).map(window).collect())
}
