//! Warnings: what in the table or in the result somebody should look at.

use std::collections::HashMap;

use crate::frame::{ColumnData, Frame, NO_LEVEL, Target};
use crate::report::{ClassReport, CostReport};

/// Training rows that are looked at for columns which give the target away.
const LEAK_ROWS: usize = 20_000;
/// Fewer rows of a class than this make every figure about it vague.
const FEW: u64 = 50;

/// What is odd about the columns of the training rows.
pub(super) fn columns(frame: &Frame, target: &Target) -> Vec<String> {
    let mut notes = Vec::new();
    let step = frame.rows().div_ceil(LEAK_ROWS).max(1);
    for column in frame.columns() {
        let name = &column.name;
        if is_constant(&column.data) {
            notes.push(format!("column `{name}` has one value only in the training rows: it cannot help"));
            continue;
        }
        if let ColumnData::Category { codes, levels } = &column.data
            && codes.len() >= 20
            && levels.len() * 2 > codes.len()
        {
            notes.push(format!(
                "column `{name}` has {} categories in {} training rows: is it an identifier?",
                levels.len(),
                codes.len()
            ));
            continue;
        }
        if gives_away(&column.data, target, step) {
            notes.push(format!(
                "column `{name}` alone predicts the target perfectly: does it leak the answer?"
            ));
        }
    }
    notes
}

/// Columns with many more unknown or missing categories in the test rows than in the training rows.
pub(super) fn unseen(train: &Frame, test: &Frame) -> Vec<String> {
    let share = |data: &ColumnData| match data {
        ColumnData::Category { codes, .. } if !codes.is_empty() => {
            codes.iter().filter(|code| **code == NO_LEVEL).count() as f64 / codes.len() as f64
        }
        _ => 0.0,
    };
    train
        .columns()
        .iter()
        .zip(test.columns())
        .filter_map(|(train, test)| {
            let more = share(&test.data) - share(&train.data);
            (more > 0.05).then(|| {
                format!(
                    "column `{}`: {:.0} % more test rows than training rows have a missing category or one that \
                     training never saw",
                    train.name,
                    100.0 * more
                )
            })
        })
        .collect()
}

/// Classes with few rows.
pub(super) fn few(classes: &[ClassReport]) -> Vec<String> {
    let mut notes = Vec::new();
    for class in classes {
        for (rows, side) in [(class.train_rows, "training"), (class.test_rows, "test")] {
            if rows == 0 {
                notes.push(format!("class `{}` has no {side} rows: averages leave it out", class.class));
            } else if rows < FEW {
                notes.push(format!(
                    "class `{}` has only {rows} {side} rows: figures about it are vague",
                    class.class
                ));
            }
        }
    }
    notes
}

/// A model that does not pay.
pub(super) fn cost(cost: &CostReport) -> Option<String> {
    let (baseline, name) =
        if cost.always < cost.never { (cost.always, "always") } else { (cost.never, "never") };
    (cost.model >= baseline).then(|| {
        format!(
            "the model's decisions cost {:.4} each on the test rows, {name} acting costs {baseline:.4}: it does not pay",
            cost.model
        )
    })
}

fn is_constant(data: &ColumnData) -> bool {
    match data {
        ColumnData::Numeric(values) => {
            values.iter().all(|value| *value == values[0] || (value.is_nan() && values[0].is_nan()))
        }
        ColumnData::Category { codes, .. } => codes.iter().all(|code| *code == codes[0]),
    }
}

/// Whether the target follows from the column on every looked-at row, and not just because most values are unique.
fn gives_away(data: &ColumnData, target: &Target, step: usize) -> bool {
    match (data, target) {
        (ColumnData::Numeric(values), Target::Regression(truth)) => {
            let pairs = values.iter().zip(truth).step_by(step).filter(|(value, _)| value.is_finite());
            is_line(&pairs.map(|(value, truth)| (*value, *truth)).collect::<Vec<_>>())
        }
        (ColumnData::Numeric(values), Target::Classes { codes, .. }) => {
            let pairs = values.iter().zip(codes).step_by(step).filter(|(value, _)| !value.is_nan());
            parts_classes(pairs.map(|(value, code)| (*value, *code)).collect())
        }
        (ColumnData::Category { codes: levels, .. }, Target::Classes { codes, .. }) => {
            let mut class_of: HashMap<u32, u32> = HashMap::new();
            let mut rows = 0_usize;
            for (level, class) in levels.iter().zip(codes).step_by(step) {
                rows += 1;
                if *class_of.entry(*level).or_insert(*class) != *class {
                    return false;
                }
            }
            class_of.len() * 5 < rows
        }
        (ColumnData::Category { .. }, Target::Regression(_)) => false,
    }
}

/// Whether the points lie on one rising or falling line.
fn is_line(points: &[(f64, f64)]) -> bool {
    let n = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / n, y + point.1 / n));
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for point in points {
        xx += (point.0 - x).powi(2);
        yy += (point.1 - y).powi(2);
        xy += (point.0 - x) * (point.1 - y);
    }
    points.len() >= 20 && xx > 0.0 && yy > 0.0 && xy * xy > (1.0 - 1e-9) * xx * yy
}

/// Whether the classes are separate ranges of the number.
fn parts_classes(mut points: Vec<(f64, u32)>) -> bool {
    points.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let classes = points.iter().map(|point| point.1).collect::<std::collections::HashSet<_>>().len();
    let changes = points.windows(2).filter(|pair| pair[0].1 != pair[1].1).count();
    let overlap = points.windows(2).any(|pair| pair[0].1 != pair[1].1 && pair[0].0 == pair[1].0);
    points.len() >= 20 && classes > 1 && changes + 1 == classes && !overlap
}
