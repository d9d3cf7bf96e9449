//! What must hold of every split, whatever the rows.

use proptest::prelude::*;
use tidemill_core::Hint;
use tidemill_train::split::{By, Draw, Sides, folds, hold_out};

fn complete(sides: &Sides, rows: usize) {
    let mut all: Vec<usize> = sides.train.iter().chain(&sides.test).copied().collect();
    all.sort_unstable();
    assert_eq!(all, (0..rows).collect::<Vec<_>>());
    assert!(sides.train.is_sorted() && sides.test.is_sorted());
    assert!(!sides.train.is_empty() && !sides.test.is_empty());
}

proptest! {
    #[test]
    fn time_holds_out_the_latest_and_parts_no_tie(times in prop::collection::vec(0..30_i64, 2..200), share in 0.05..0.95) {
        match hold_out(By::Time(&times), share, 1, Draw::Test) {
            Ok(sides) => {
                complete(&sides, times.len());
                let latest = sides.train.iter().map(|row| times[*row]).max().unwrap();
                let earliest = sides.test.iter().map(|row| times[*row]).min().unwrap();
                prop_assert!(latest < earliest);
                // No other boundary comes nearer to the share.
                let wanted = (times.len() as f64 * share).round().clamp(1.0, times.len() as f64 - 1.0) as usize;
                for bound in 0..31 {
                    let held = times.iter().filter(|time| **time >= bound).count();
                    let valid = held > 0 && held < times.len();
                    prop_assert!(!valid || held.abs_diff(wanted) >= sides.test.len().abs_diff(wanted));
                }
            }
            Err(error) => {
                prop_assert!(times.iter().all(|time| *time == times[0]));
                prop_assert!(error.to_string().contains("all rows have the same time"));
            }
        }
    }

    #[test]
    fn random_holds_out_the_share(rows in 2..500_usize, share in 0.01..0.99, seed: u64) {
        let sides = hold_out(By::Random(rows), share, seed, Draw::Test).unwrap();
        complete(&sides, rows);
        prop_assert_eq!(sides.test.len(), ((rows as f64 * share).round() as usize).clamp(1, rows - 1));
        prop_assert_eq!(&sides, &hold_out(By::Random(rows), share, seed, Draw::Test).unwrap());
    }

    #[test]
    fn groups_stay_whole(groups in prop::collection::vec(0..9_u32, 20..200), seed: u64) {
        let whole = |sides: &Sides| {
            sides.train.iter().all(|a| sides.test.iter().all(|b| groups[*a] != groups[*b]))
        };
        let sides = hold_out(By::Group(&groups), 0.3, seed, Draw::Test).unwrap();
        complete(&sides, groups.len());
        prop_assert!(whole(&sides));
        for sides in folds(By::Group(&groups), 3, seed).unwrap() {
            complete(&sides, groups.len());
            prop_assert!(whole(&sides));
        }
    }

    #[test]
    fn strata_keep_their_shares(classes in prop::collection::vec(0..3_u32, 60..300), seed: u64) {
        let count = |rows: &[usize], class| rows.iter().filter(|row| classes[**row] == class).count();
        let all: Vec<usize> = (0..classes.len()).collect();
        prop_assume!((0..3).all(|class| count(&all, class) >= 4));
        let sides = hold_out(By::Stratified(&classes), 0.25, seed, Draw::Test).unwrap();
        complete(&sides, classes.len());
        for class in 0..3 {
            let expected = count(&all, class) as f64 * 0.25;
            prop_assert!((count(&sides.test, class) as f64 - expected).abs() <= 1.0);
        }
        let made = folds(By::Stratified(&classes), 4, seed).unwrap();
        for sides in &made {
            complete(sides, classes.len());
            for class in 0..3 {
                let expected = count(&all, class) as f64 / 4.0;
                prop_assert!((count(&sides.test, class) as f64 - expected).abs() <= 1.0);
            }
        }
    }

    #[test]
    fn folds_hold_out_each_row_once(rows in 10..200_usize, count in 2..9_u32, seed: u64) {
        let made = folds(By::Random(rows), count, seed).unwrap();
        let mut held: Vec<usize> = made.iter().flat_map(|sides| sides.test.clone()).collect();
        held.sort_unstable();
        prop_assert_eq!(held, (0..rows).collect::<Vec<_>>());
        let sizes: Vec<usize> = made.iter().map(|sides| sides.test.len()).collect();
        prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
    }

    #[test]
    fn windows_grow_along_time(times in prop::collection::vec(0..500_i64, 80..200), count in 2..6_u32) {
        let made = folds(By::Time(&times), count, 0).unwrap();
        let mut before = 0;
        for sides in &made {
            let latest = sides.train.iter().map(|row| times[*row]).max().unwrap();
            prop_assert!(sides.test.iter().all(|row| times[*row] > latest));
            prop_assert!(sides.train.len() > before);
            before = sides.train.len();
            prop_assert_eq!(sides.train.len(), times.iter().filter(|time| **time <= latest).count());
        }
        let last = made.last().unwrap();
        prop_assert_eq!(last.train.len() + last.test.len(), times.len());
    }
}

#[test]
fn seeds_and_draws_differ() {
    let test = |seed, draw| hold_out(By::Random(100), 0.2, seed, draw).unwrap().test;
    assert_ne!(test(1, Draw::Test), test(2, Draw::Test));
    assert_ne!(test(1, Draw::Test), test(1, Draw::Validation));
}

#[test]
fn splits_that_cannot_be_made() {
    let text = |result: tidemill_train::Result<Sides>| {
        let error = result.unwrap_err();
        format!("{error}; {}", error.hint().unwrap_or_default())
    };
    assert_eq!(
        text(hold_out(By::Random(10), 1.0, 0, Draw::Test)),
        "parameter `test` is 1: it must be above 0 and below 1; "
    );
    assert_eq!(
        text(hold_out(By::Random(10), f64::NAN, 0, Draw::Test)),
        "parameter `test` is NaN: it must be above 0 and below 1; "
    );
    assert_eq!(
        text(hold_out(By::Random(1), 0.5, 0, Draw::Test)),
        "1 rows are too few for a split: at least 2 are needed; give more rows, fewer folds, or a smaller `test` share"
    );
    assert_eq!(
        text(hold_out(By::Group(&[4, 4, 4]), 0.5, 0, Draw::Test)),
        "the split leaves no rows on the test side: all rows are of one group; \
         change `test`, the number of folds, or the split column"
    );
    assert_eq!(
        text(folds(By::Time(&[1, 1, 1, 1, 2]), 2, 0).map(|mut all| all.remove(0))),
        "fold 2 leaves no rows on the test side: there are 2 different times, unevenly spread; \
         change `test`, the number of folds, or the split column"
    );
    assert_eq!(
        text(folds(By::Random(9), 1, 0).map(|mut all| all.remove(0))),
        "parameter `folds` is 1: it must be at least 2; "
    );
}
