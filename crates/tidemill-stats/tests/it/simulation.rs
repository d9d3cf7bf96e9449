//! Error rates by simulation: how often the battery cries without drift, and how often it hears what is there.

use tidemill_stats::correlation::pearson;
use tidemill_stats::drift::{Column, Level, Measured, Pair, Rules, Values, Verdict, judge, measure};
use tidemill_stats::random::Random;
use tidemill_stats::sample::{Sample, sorted};

/// Largest rate that 200 repetitions of a true rate of 5 % show in 99 of 100 simulations: .05 + 2.33·√(.05·.95/200).
const BOUND: f64 = 0.086;

const NAMES: [&str; 20] = [
    "n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8", "n9", "c0", "c1", "c2", "c3", "c4", "c5", "c6",
    "c7", "c8", "c9",
];

/// What happens to the current side.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shift {
    None,
    /// Column 0 moves by so many standard deviations.
    Mean(f64),
    /// The standard deviation of column 0 is multiplied.
    Spread(f64),
    /// So large a share of column 10 goes from its first to its second category.
    Swap(f64),
    /// So large a share of column 10 gets a category of its own.
    NewCategory(f64),
    /// So large a share of column 3 is missing in addition.
    Missing(f64),
    /// Columns 0 and 1 lose their correlation of so much.
    Correlation(f64),
    /// So large a share of column 0 becomes ten times as large.
    Unit(f64),
}

/// One side: ten numeric columns of different shapes, ten categorical ones from 2 to 200 categories, some values missing.
#[derive(Clone)]
struct Side {
    numbers: Vec<Vec<f64>>,
    counts: Vec<Vec<f64>>,
    missing: Vec<u64>,
    rows: usize,
}

fn side(rows: usize, shift: Shift, seed: u64, item: u64) -> Side {
    let mut random = Random::new(seed, item);
    let mut missing = vec![0; 20];
    let numbers = (0..10)
        .map(|column| {
            (0..rows)
                .map(|_| {
                    let normal = random.normal();
                    match column {
                        0 | 1 => normal,
                        2 => normal.exp(),
                        3 => random.unit(),
                        4 => (-3.0 * random.unit().max(1e-12).ln()).floor(),
                        5 => f64::from(random.below(5)),
                        6 => normal / random.unit().max(1e-6),
                        7 => f64::from(u8::from(random.unit() < 0.02)) * normal,
                        8 => (normal * 100.0).round() / 100.0,
                        _ => 42.0,
                    }
                })
                .collect()
        })
        .collect();
    let counts = [2_u32, 2, 3, 5, 10, 20, 50, 100, 200, 4]
        .into_iter()
        .map(|categories| {
            let mut counts = vec![0.0; categories as usize + 1];
            for _ in 0..rows {
                let u = random.unit();
                // Squares make the later categories rare.
                counts[(u * u * f64::from(categories)) as usize] += 1.0;
            }
            counts
        })
        .collect();
    let mut side = Side { numbers, counts, missing: vec![0; 20], rows };
    apply(&mut side, shift, &mut random);
    for (column, share) in [(3, 0.05), (4, 0.002), (6, 0.3)] {
        let extra = if let (3, Shift::Missing(extra)) = (column, shift) { extra } else { 0.0 };
        side.numbers[column].retain(|_| random.unit() >= share + extra);
        missing[column] = (rows - side.numbers[column].len()) as u64;
    }
    side.missing = missing;
    side
}

fn apply(side: &mut Side, shift: Shift, random: &mut Random) {
    let rows = side.rows as f64;
    match shift {
        Shift::None | Shift::Missing(_) => {}
        Shift::Mean(by) => side.numbers[0].iter_mut().for_each(|x| *x += by),
        Shift::Spread(by) => side.numbers[0].iter_mut().for_each(|x| *x *= by),
        Shift::Unit(share) => {
            side.numbers[0].iter_mut().for_each(|x| *x *= if random.unit() < share { 10.0 } else { 1.0 });
        }
        Shift::Swap(share) => {
            let moved = (share * rows).min(side.counts[4][0]);
            side.counts[4][0] -= moved;
            side.counts[4][1] += moved;
        }
        Shift::NewCategory(share) => {
            side.counts[4][0] -= (share * rows).round();
            side.counts[4][10] += (share * rows).round();
        }
        Shift::Correlation(_) => {}
    }
}

/// Makes columns 0 and 1 correlate by `r`.
fn correlate(side: &mut Side, r: f64) {
    let (first, rest) = side.numbers.split_at_mut(1);
    for (x, y) in first[0].iter().zip(&mut rest[0]) {
        *y = r * x + (1.0 - r * r).sqrt() * *y;
    }
}

fn compare(reference: Side, current: Side, rules: &Rules, with_pairs: bool) -> Verdict {
    let whole = [0, 1, 2, 5, 8];
    let mut pairs = Vec::new();
    for (place, a) in whole.into_iter().enumerate() {
        for b in whole.into_iter().skip(place + 1).filter(|_| with_pairs) {
            let r = |side: &Side| pearson(&side.numbers[a], &side.numbers[b]).unwrap();
            pairs.push(Pair {
                columns: (NAMES[a], NAMES[b]),
                reference: r(&reference),
                current: r(&current),
                sampled: None,
            });
        }
    }
    let (reference, current) = (sorted_side(reference), sorted_side(current));
    let measured = (0..20).map(|column| measured(&reference, &current, column, rules)).collect();
    judge(measured, &pairs, None, rules)
}

fn sorted_side(side: Side) -> Side {
    Side { numbers: side.numbers.into_iter().map(sorted).collect(), ..side }
}

/// One column of two sides whose numbers are sorted.
fn measured(reference: &Side, current: &Side, column: usize, rules: &Rules) -> Measured {
    let values = if column < 10 {
        let (reference, current) =
            (Sample::exact(&reference.numbers[column]), Sample::exact(&current.numbers[column]));
        Values::Numeric { reference, current, moments: None }
    } else {
        let (reference, current) = (&reference.counts[column - 10], &current.counts[column - 10]);
        Values::Categorical { labels: &[], reference, current, complete: true }
    };
    let column = Column {
        name: NAMES[column],
        importance: None,
        missing_reference: reference.missing[column],
        missing_current: current.missing[column],
        values,
    };
    measure(&column, rules)
}

/// Shares of repetitions in which anything was significant in columns, in pairs, and in which the table was major.
fn alarms(rows: (usize, usize), repetitions: u64, shift: Shift, seed: u64) -> (f64, f64, f64) {
    let rules = Rules::default();
    let (mut columns, mut pairs, mut major) = (0.0, 0.0, 0.0);
    for repetition in 0..repetitions {
        let mut reference = side(rows.0, Shift::None, seed, 2 * repetition);
        let current = side(rows.1, shift, seed, 2 * repetition + 1);
        if let Shift::Correlation(r) = shift {
            correlate(&mut reference, r);
        }
        let verdict = compare(reference, current, &rules, true);
        columns += f64::from(u8::from(verdict.columns_level >= Level::Minor));
        pairs += f64::from(u8::from(verdict.joint_level >= Level::Minor));
        major += f64::from(u8::from(verdict.level == Level::Major));
    }
    let of = |count: f64| count / repetitions as f64;
    (of(columns), of(pairs), of(major))
}

/// 200 repetitions without drift: anything significant in columns, and a table that is major for whatever reason.
fn check_calm(rows: (usize, usize)) {
    let (columns, pairs, major) = alarms(rows, 200, Shift::None, 11);
    println!("no drift, {rows:?} rows: columns {columns:.3}, pairs {pairs:.3}, major {major:.3}");
    assert!(columns <= BOUND && pairs <= 0.05 && major <= BOUND, "{rows:?}: {columns} {pairs} {major}");
}

#[test]
fn without_drift_200_rows_cry_at_most_as_often_as_declared() {
    check_calm((200, 200));
}

#[test]
fn without_drift_1000_rows_cry_at_most_as_often_as_declared() {
    check_calm((1_000, 1_000));
}

#[test]
fn without_drift_10000_rows_cry_at_most_as_often_as_declared() {
    check_calm((10_000, 10_000));
}

#[test]
fn without_drift_unequal_sides_cry_at_most_as_often_as_declared() {
    check_calm((200, 2_000));
    check_calm((2_000, 200));
}

/// Shares of repetitions in which each shift makes the table major. All of them happen to the same rows: twenty columns are measured once, and
/// of each shift the one that it touches, so that 200 repetitions cost little more than 200 comparisons.
fn heard(rows: usize, repetitions: u64, shifts: &[Shift], seed: u64) -> Vec<f64> {
    let rules = Rules::default();
    let mut major = vec![0.0; shifts.len()];
    for repetition in 0..repetitions {
        let reference = sorted_side(side(rows, Shift::None, seed, 2 * repetition));
        let calm = sorted_side(side(rows, Shift::None, seed, 2 * repetition + 1));
        let without: Vec<Measured> =
            (0..20).map(|column| measured(&reference, &calm, column, &rules)).collect();
        for (place, shift) in shifts.iter().enumerate() {
            let mut random = Random::new(seed + 1, repetition);
            let mut current = calm.clone();
            apply(&mut current, *shift, &mut random);
            let column = match shift {
                Shift::Swap(_) | Shift::NewCategory(_) => 14,
                Shift::Missing(extra) => {
                    current.numbers[3].retain(|_| random.unit() >= *extra);
                    current.missing[3] = (rows - current.numbers[3].len()) as u64;
                    3
                }
                _ => 0,
            };
            if column == 0 {
                current.numbers[0] = sorted(std::mem::take(&mut current.numbers[0]));
            }
            let mut columns = without.clone();
            columns[column] = measured(&reference, &current, column, &rules);
            let level = judge(columns, &[], None, &rules).level;
            major[place] += f64::from(u8::from(level == Level::Major));
        }
    }
    major.into_iter().map(|count| count / repetitions as f64).collect()
}

/// 200 repetitions of each shift: nine in ten are heard.
fn check_heard(rows: usize, shifts: &[Shift]) {
    for (shift, major) in shifts.iter().zip(heard(rows, 200, shifts, 12)) {
        println!("{shift:?} at {rows} rows: major {major:.3}");
        assert!(major >= 0.9, "{shift:?} at {rows} rows: {major}");
    }
}

#[test]
fn what_is_there_is_heard_in_1000_rows() {
    check_heard(
        1_000,
        &[
            Shift::Mean(0.5),
            Shift::Spread(1.5),
            Shift::Swap(0.15),
            Shift::NewCategory(0.02),
            Shift::Missing(0.10),
            Shift::Unit(0.05),
        ],
    );
    let (.., major) = alarms((1_000, 1_000), 200, Shift::Correlation(0.5), 12);
    assert!(major >= 0.9, "{major}");
}

#[test]
fn what_is_there_is_heard_in_10000_rows() {
    check_heard(
        10_000,
        &[
            Shift::Mean(0.15),
            Shift::Spread(1.3),
            Shift::Swap(0.06),
            Shift::NewCategory(0.002),
            Shift::Missing(0.02),
            Shift::Unit(0.02),
        ],
    );
}

#[test]
fn pairs_that_part_are_heard_in_10000_rows() {
    let (.., major) = alarms((10_000, 10_000), 200, Shift::Correlation(0.2), 12);
    println!("correlation of 0.2 lost at 10000 rows: major {major:.3}");
    assert!(major >= 0.9, "{major}");
}
