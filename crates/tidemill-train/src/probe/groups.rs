//! Whether groups are treated alike.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use tidemill_stats::quality::{Confusion, Fairness, Group, fairness};

use super::column;
use crate::fit::{read, texts};
use crate::metric::Truth;
use crate::{Error, Result};

/// Groups with more values than this are not groups of people but names.
const MOST: usize = 100;

/// Groups and the gaps between them.
#[derive(Clone, Debug, PartialEq)]
pub struct Groups {
    /// Groups with enough rows, by name.
    pub groups: Vec<Group>,
    /// Groups with fewer.
    pub small: usize,
    /// Gaps between the groups.
    pub fairness: Fairness,
}

/// Groups the predictions for two classes by a column of `rows`, which are the rows that they are about, and compares
/// groups of at least `min_rows` rows with intervals at `level`. Rows count by their weight where there is one.
///
/// # Errors
/// [`Error::UnknownColumn`], [`Error::Unfit`] for other predictions or a column with too many values.
pub fn groups(
    predictions: &RecordBatch,
    rows: &RecordBatch,
    attribute: &str,
    min_rows: usize,
    level: f64,
) -> Result<Groups> {
    let (scored, about) = read(predictions)?;
    let Truth::Classes { values, classes: 2 } = &scored.truth else {
        return Err(Error::Unfit("fairness is of positive answers, and there are not two classes".into()));
    };
    // A column that is missing is one of the rows, not of the predictions.
    column(rows, attribute)?;
    let names = texts(rows, attribute)?;
    if names.len() != values.len() {
        return Err(Error::Unfit("predictions and rows are not of the same rows".into()));
    }
    let labels = scored.labels(about.threshold);
    let mut counts: BTreeMap<String, (usize, Confusion)> = BTreeMap::new();
    for (row, name) in names.into_iter().enumerate() {
        let name = name.unwrap_or_else(|| "missing".to_owned());
        let (count, confusion) = counts.entry(name).or_default();
        *count += 1;
        let weight = scored.weights.as_ref().map_or(1.0, |weights| weights[row]);
        confusion.add(values[row] == 1, labels[row] == 1, weight);
    }
    if counts.len() > MOST {
        return Err(Error::Unfit(format!(
            "column `{attribute}` has {} values, at most {MOST} make groups: cut it into groups in a step before",
            counts.len()
        )));
    }
    let all = counts.len();
    let groups: Vec<Group> = counts
        .into_iter()
        .filter(|(_, (rows, _))| *rows >= min_rows)
        .map(|(name, (_, counts))| Group { name, counts })
        .collect();
    let fairness = fairness(&groups, level);
    Ok(Groups { small: all - groups.len(), groups, fairness })
}
