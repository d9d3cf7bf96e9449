//! The search for the worst slices: against all conjunctions one by one, and its false alarms.

use tidemill_stats::random::Random;
use tidemill_stats::slices::{Codes, Search, Slice, worst_slices};

struct Table {
    columns: Vec<Vec<u32>>,
    loss: Vec<f64>,
    weights: Option<Vec<f64>>,
}

/// Six columns of 2 to 7 codes; rows with codes (1, 2) in columns 1 and 3 are wrong more often by `extra`.
fn table(rows: usize, extra: f64, seed: u64) -> Table {
    let mut random = Random::new(seed, rows as u64);
    let columns: Vec<Vec<u32>> =
        (2..8).map(|levels| (0..rows).map(|_| random.below(levels)).collect()).collect();
    let loss = (0..rows)
        .map(|row| {
            let planted = columns[1][row] == 1 && columns[3][row] == 2;
            f64::from(u8::from(random.unit() < 0.15 + if planted { extra } else { 0.0 }))
        })
        .collect();
    Table { columns, loss, weights: None }
}

fn search(table: &Table, search: &Search) -> Vec<Slice> {
    let columns: Vec<Codes<'_>> =
        table.columns.iter().zip(2..).map(|(codes, levels)| Codes { codes, levels }).collect();
    worst_slices(&columns, &table.loss, table.weights.as_deref(), search).unwrap()
}

/// Score and conditions of every conjunction with support, the best first.
fn all_slices(table: &Table, by: &Search) -> Vec<(f64, Vec<(usize, u32)>)> {
    let weight = |row: usize| table.weights.as_ref().map_or(1.0, |weights| weights[row]);
    let of = |rows: &mut dyn Iterator<Item = usize>| -> (f64, f64) {
        rows.fold((0.0, 0.0), |(size, loss), row| (size + weight(row), loss + weight(row) * table.loss[row]))
    };
    let (whole, lost) = of(&mut (0..table.loss.len()));
    let overall = lost / whole;
    let mut stack: Vec<Vec<(usize, u32)>> = vec![vec![]];
    let mut found = Vec::new();
    while let Some(conditions) = stack.pop() {
        if conditions.len() < by.depth {
            let first = conditions.last().map_or(0, |last| last.0 + 1);
            for column in first..table.columns.len() {
                for code in 0..column as u32 + 2 {
                    stack.push(conditions.iter().copied().chain([(column, code)]).collect());
                }
            }
        }
        let rows: Vec<usize> = (0..table.loss.len())
            .filter(|row| conditions.iter().all(|(column, code)| table.columns[*column][*row] == *code))
            .collect();
        if !conditions.is_empty() && rows.len() as u64 >= by.support {
            let (inside, lost) = of(&mut rows.iter().copied());
            let (mean, size) = (lost / inside, whole / inside);
            found.push((by.weight * (mean / overall - 1.0) - (1.0 - by.weight) * (size - 1.0), conditions));
        }
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    found
}

#[test]
fn pruning_loses_nothing() {
    for (seed, depth, support) in [(1, 1, 100), (2, 2, 50), (3, 3, 30), (4, 3, 10), (5, 3, 10), (6, 2, 50)] {
        let mut table = table(2_000, 0.3, seed);
        let mut random = Random::new(seed, 7);
        table.weights = (seed > 4).then(|| (0..2_000).map(|_| 0.1 + 5.0 * random.unit()).collect());
        let by = Search { depth, support, top: 12, ..Search::default() };
        let (found, all) = (search(&table, &by), all_slices(&table, &by));
        assert_eq!(found.len(), 12.min(all.len()));
        for (slice, expected) in found.iter().zip(&all) {
            assert!((slice.score - expected.0).abs() < 1e-9, "{slice:?} {expected:?}");
        }
    }
}

#[test]
fn a_planted_slice_is_found_and_flagged() {
    let table = table(10_000, 0.4, 5);
    let found = search(&table, &Search::default());
    let top = &found[0];
    assert_eq!(top.conditions, [(1, 1), (3, 2)]);
    assert!(top.flagged && top.p_adjusted < 1e-10 && top.effect > 0.8, "{top:?}");
    assert!((top.mean - 0.55).abs() < 0.06 && (top.others - 0.15).abs() < 0.02);
}

/// Rows of weight two are two rows in every mean; what chance does is not fooled by them.
#[test]
fn weights_are_rows_in_means_and_no_more_evidence() {
    let mut once = table(4_000, 0.4, 8);
    let twice = |values: &[f64]| values.iter().flat_map(|value| [*value; 2]).collect::<Vec<f64>>();
    let doubled = Table {
        columns: once
            .columns
            .iter()
            .map(|codes| codes.iter().flat_map(|code| [*code; 2]).collect())
            .collect(),
        loss: twice(&once.loss),
        weights: None,
    };
    let plain = search(&once, &Search::default());
    once.weights = Some(vec![2.0; 4_000]);
    let (weighted, counted) = (search(&once, &Search::default()), search(&doubled, &Search::default()));
    assert_eq!(weighted[0].conditions, counted[0].conditions);
    let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
    for ((weighted, counted), plain) in weighted.iter().zip(&counted).zip(&plain) {
        assert!(near(weighted.mean, counted.mean) && near(weighted.others, counted.others), "{weighted:?}");
        assert_eq!((weighted.rows, counted.rows), (plain.rows, 2 * plain.rows));
        assert!(near(weighted.p, plain.p), "{weighted:?} {plain:?}");
    }
}

/// Without a bad slice at most 5 % of 200 searches flag one (8.6 % with the error of 200 repetitions).
#[test]
fn noise_is_not_flagged() {
    let by = Search { difference: 0.0, ..Search::default() };
    let alarms =
        (0..200).filter(|seed| search(&table(2_000, 0.0, 100 + seed), &by).iter().any(|s| s.flagged)).count();
    println!("slices flagged in noise: {alarms} of 200 searches");
    assert!(alarms <= 17, "{alarms}");
}
