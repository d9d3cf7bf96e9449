//! Whether inputs or predictions of a window look as the reference does.

use serde::{Deserialize, Serialize};
use tidemill_stats::drift::{ColumnDrift, Level, PairDrift, Verdict as Battery};
use tidemill_stats::multiple::Lord;

use crate::verdict::{Evidence, Exposure, Moved, Parted, State, Verdict};

/// A window beside its reference, as the battery of tests sees them.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// Which of the two.
    pub side: Side,
    /// What it was compared with, in words: `the data that late@3 was trained on`.
    pub against: String,
    /// Rows of the reference.
    pub rows_reference: u64,
    /// Rows of the window.
    pub rows: u64,
    /// Columns that were not compared, with the reason.
    pub skipped: Vec<String>,
    /// The battery's verdict. Its rules hold the share that is needed.
    pub battery: Battery,
}

/// Which side of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// What it is given.
    Inputs,
    /// What it answers.
    Predictions,
}

/// Columns that are named.
const NAMED: usize = 20;

/// Judges a window. False alarms are controlled over columns by the battery, and over windows by `lord`: a window is a discovery
/// only where its p-value is below the level that all windows before it left. It is the least of the tests of columns, of the categories that
/// appeared or vanished, of the pairs of columns, and of the classifier, times how many of these four there are.
pub(crate) fn judge(compared: &Compared, lord: &mut Lord, exposure: Exposure) -> Verdict {
    let battery = &compared.battery;
    let tested: Vec<f64> = battery.columns.iter().filter_map(|column| column.p_adjusted).collect();
    let pairs = battery.pairs.iter().map(|pair| pair.p_adjusted).reduce(f64::min);
    let told = battery.classifier.as_ref().and_then(|found| found.p);
    let families = [tested.iter().copied().reduce(f64::min), battery.domain_p, pairs, told];
    let count = families.iter().flatten().count() as f64;
    let p = families.into_iter().flatten().reduce(f64::min).map(|least| (least * count).min(1.0));
    let level = lord.level();
    let is_new = p.is_some_and(|p| lord.judge(p));
    let moved: Vec<Moved> = battery
        .columns
        .iter()
        .filter(|column| matches!(column.level, Level::Major | Level::Minor))
        .take(NAMED)
        .map(moved)
        .collect();
    let parted: Vec<Parted> = battery
        .pairs
        .iter()
        .filter(|pair| matches!(pair.level, Level::Major | Level::Minor))
        .take(NAMED)
        .map(parted)
        .collect();
    // Of a pair that parted neither column need have moved by itself, nor of those that a classifier goes by.
    let share = if battery.joint_level == Level::Major { battery.joint_share } else { battery.major_share };
    let evidence = Evidence::Drift {
        against: compared.against.clone(),
        rows_reference: compared.rows_reference,
        rows: compared.rows,
        major_share: battery.major_share,
        p,
        level,
        columns: moved,
        pairs: parted,
        skipped: compared.skipped.clone(),
    };
    let what = match compared.side {
        Side::Inputs => "inputs",
        Side::Predictions => "predictions",
    };
    let against = &compared.against;
    let (state, why) = match battery.level {
        Level::NotJudged => {
            let rows = compared.rows.min(compared.rows_reference);
            (State::NoData, format!("{rows} rows are too few to compare {what} with {against}"))
        }
        Level::Major if is_new => {
            (State::Broken, format!("{what} moved against {against}: {}", battery.reason))
        }
        Level::Major => {
            (State::Ok, format!("{}; not more than so many windows show by luck (LORD++)", battery.reason))
        }
        Level::Minor | Level::None => (State::Ok, battery.reason.clone()),
    };
    let at_risk = if state == State::Broken { exposure.of_share(share) } else { None };
    let classifier = battery.classifier.clone();
    Verdict { value: Some(share), at_risk, evidence: Some(evidence), classifier, ..Verdict::of(state, why) }
}

fn moved(column: &ColumnDrift) -> Moved {
    Moved {
        column: column.name.clone(),
        level: column.level,
        importance: column.importance,
        shift: column.shift,
        p: column.p_adjusted,
        why: column.reason.clone(),
    }
}

fn parted(pair: &PairDrift) -> Parted {
    Parted {
        columns: [pair.columns.0.clone(), pair.columns.1.clone()],
        level: pair.level,
        reference: pair.reference,
        current: pair.current,
        p: pair.p_adjusted,
        why: pair.words(),
    }
}
