//! Changes of associations: how often they are told where there is none, and whether those that are there are heard.

use tidemill_stats::dependence::{Beside, Cells, Change, MISSING, change};
use tidemill_stats::random::Random;

/// Two columns that have to do with each other, or do not.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Normal values with this correlation.
    Normal(f64),
    /// The spread of the second grows with the first, both have heavy tails: Fisher's formula is far off.
    Heavy,
    /// Whole numbers with many ties.
    Ties,
    /// A rare truth value, and a number that is larger where it holds.
    Rare,
    /// Categories of which one is more frequent with the other's first, some missing.
    Categories,
}

fn cells(kind: Kind, rows: usize, random: &mut Random) -> (Cells, Cells) {
    let (mut x, mut y) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for _ in 0..rows {
        let (a, b) = (random.normal(), random.normal());
        match kind {
            Kind::Normal(r) => {
                x.push(a);
                y.push(r * a + (1.0 - r * r).sqrt() * b);
            }
            Kind::Heavy => {
                x.push((2.0 * a).exp());
                y.push(b * a.exp() / random.unit().max(1e-9));
            }
            Kind::Ties => {
                x.push((1.5 * a).floor());
                y.push(if random.unit() < 0.6 { 0.0 } else { (a + b).floor() });
            }
            Kind::Rare => {
                let holds = random.unit() < 0.12;
                left.push(u32::from(holds));
                y.push(b + 2.0 * f64::from(u8::from(holds)));
            }
            Kind::Categories => {
                let (one, other) = (random.below(4), random.below(3));
                left.push(if random.unit() < 0.05 { MISSING } else { one });
                right.push(if one == 0 && random.unit() < 0.4 { 0 } else { other });
            }
        }
    }
    let of = |numbers: Vec<f64>, codes: Vec<u32>| {
        if codes.is_empty() { Cells::Numbers(numbers) } else { Cells::Categories(codes) }
    };
    (of(x, left), of(y, right))
}

/// The change from rows of one kind to rows of another; `None` where they cannot be compared.
fn compared(before: (Kind, usize), after: (Kind, usize), seed: u64, repetition: u64) -> Option<Change> {
    let mut random = Random::new(seed, repetition);
    let (first, second) = (cells(before.0, before.1, &mut random), cells(after.0, after.1, &mut random));
    let (a, b) = (Beside::new(first.0, second.0)?, Beside::new(first.1, second.1)?);
    change(&a, &b, 100.0)
}

/// 1,000 repetitions without a change: shares of p-values below 1 % and 0.1 %.
fn check_calm(rows: (usize, usize)) {
    for kind in [Kind::Normal(0.0), Kind::Normal(0.7), Kind::Heavy, Kind::Ties, Kind::Rare, Kind::Categories]
    {
        let found: Vec<f64> = (0..1_000)
            .filter_map(|repetition| compared((kind, rows.0), (kind, rows.1), 3, repetition))
            .map(|change| change.p)
            .collect();
        let share =
            |level: f64| found.iter().filter(|p| **p < level).count() as f64 / found.len().max(1) as f64;
        println!("{kind:?} {rows:?}: {} compared, {} and {}", found.len(), share(0.01), share(0.001));
        assert!(found.len() > 900, "{kind:?} {rows:?}: {}", found.len());
        // What 1,000 repetitions of the true rate show in 999 of 1,000 simulations.
        assert!(
            share(0.01) <= 0.0205 && share(0.001) <= 0.005,
            "{kind:?} {rows:?}: {} {}",
            share(0.01),
            share(0.001)
        );
    }
}

#[test]
fn without_a_change_250_rows_tell_of_one_as_seldom_as_declared() {
    check_calm((250, 250));
}

#[test]
fn without_a_change_a_small_window_beside_a_large_reference_tells_of_one_as_seldom_as_declared() {
    check_calm((1_500, 250));
}

#[test]
fn changes_are_heard() {
    for (before, after) in [(Kind::Normal(0.6), Kind::Normal(0.0)), (Kind::Normal(0.3), Kind::Normal(-0.3))] {
        let heard = (0..200)
            .filter_map(|repetition| compared((before, 1_000), (after, 300), 4, repetition))
            .filter(|change| change.p < 1e-3)
            .count();
        assert!(heard >= 195, "{before:?} {after:?}: {heard} of 200");
    }
}
