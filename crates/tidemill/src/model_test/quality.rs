//! Tests of how good the model is for whom, and whether it knows.

use tidemill_project::{CalibrationTest, FairnessTest, SliceLoss, WorstSliceTest};
use tidemill_stats::quality::Gap;
use tidemill_stats::slices::Search;
use tidemill_train::metric;
use tidemill_train::probe::{Coded, Loss, calibrated, coded, groups, losses, row_weights, worst};

use super::settle::{Found, settled};
use super::{Case, Judged, Outcome, TestResult};
use crate::output::{number, percent, plural};

/// Rows below which a slice or a group is not judged.
pub(crate) const LEAST: u64 = 100;
/// Bins of a calibration error.
pub(crate) const BINS: u32 = 15;
/// Conditions of a slice.
pub(crate) const DEPTH: u32 = 2;
/// Level of intervals.
const LEVEL: f64 = 0.95;
/// Slices that are looked at in full: the search keeps these of the highest score.
const KEPT: usize = 50;
/// Slices that a message names.
const NAMED: usize = 3;

impl Judged {
    /// Columns of the held-out rows as conditions of slices.
    pub(super) fn coded(&self, case: &Case<'_>, columns: &[String], rare: u64) -> anyhow::Result<Vec<Coded>> {
        let rows = self.held_out(case)?;
        let rare = usize::try_from(rare)?;
        let of = |column: &String| {
            let mut found = coded(rows, column, rare)?;
            if case.hidden.contains(column) {
                conceal(column, &mut found);
            }
            Ok(found)
        };
        columns.iter().map(of).collect()
    }

    /// The slices that are worst, whichever columns describe them.
    pub(super) fn worst_slice(&self, case: &Case<'_>, test: &WorstSliceTest) -> anyhow::Result<TestResult> {
        let name =
            format!("{} in every slice at most {} above the rest", word(test.loss), number(test.max_worse));
        settled(name, self.searched(case, test))
    }

    fn searched(&self, case: &Case<'_>, test: &WorstSliceTest) -> anyhow::Result<Found> {
        let loss = match test.loss.unwrap_or_default() {
            SliceLoss::Error => Loss::Error,
            SliceLoss::LogLoss => Loss::LogLoss,
            SliceLoss::Cost => Loss::Cost,
        };
        let columns = case.columns(test.columns.as_ref())?;
        let search = Search {
            support: test.min_rows.unwrap_or(LEAST),
            depth: test.depth.unwrap_or(DEPTH) as usize,
            top: KEPT,
            difference: test.max_worse,
            ..Search::default()
        };
        let losses = losses(&self.predictions, loss)?;
        if (losses.len() as u64) < 2 * search.support {
            let rows = plural(losses.len() as u64, "held-out row");
            return Ok(Found::open(format!("{rows} are too few for slices of {}", search.support)));
        }
        let weights = row_weights(&self.predictions)?;
        let coded = self.coded(case, &columns, search.support)?;
        let slices = worst(&coded, &losses, weights.as_deref(), &search)?;
        let weight = |row: usize| weights.as_ref().map_or(1.0, |weights| weights[row]);
        let (mut sum, mut total) = (0.0, 0.0);
        for (row, loss) in losses.iter().enumerate() {
            (sum, total) = (sum + weight(row) * loss, total + weight(row));
        }
        let mean = sum / total;
        let flagged = slices.iter().filter(|slice| slice.is_flagged).count();
        let Some(worst) = slices.first() else {
            return Ok(Found::new(
                true,
                format!("no slice is worse than the rest; {} overall", number(mean)),
            ));
        };
        let shown: Vec<String> = slices
            .iter()
            .take(if flagged > 0 { flagged.min(NAMED) } else { 1 })
            .map(|slice| {
                format!(
                    "{}: {} against {} on {} (p {})",
                    slice.conditions,
                    number(slice.mean),
                    number(slice.others),
                    plural(slice.rows, "row"),
                    number(slice.p)
                )
            })
            .collect();
        let head = match flagged {
            0 if worst.worse() > test.max_worse => "none beyond chance; worst is".to_owned(),
            0 => "none beyond the limit; worst is".to_owned(),
            some => format!("{} worse;", plural(some as u64, "slice")),
        };
        Ok(Found::new(flagged == 0, format!("{head} {}", shown.join("; ")))
            .figure("overall", mean)
            .figure("flagged", flagged as f64)
            .figure("worst", worst.mean)
            .figure("others", worst.others)
            .figure("worst_rows", worst.rows as f64)
            .figure("p", worst.p))
    }

    /// Whether probabilities mean what they say, overall and for every value of the named columns.
    pub(super) fn calibration(
        &self,
        case: &Case<'_>,
        test: &CalibrationTest,
    ) -> anyhow::Result<Vec<TestResult>> {
        let mut results = self.calibration_of(test, None, "")?;
        for column in test.by.as_ref().map(|by| by.as_slice()).unwrap_or_default() {
            let least = test.min_rows.unwrap_or(LEAST);
            let name = format!("calibration for every {column}");
            let coded = match self.coded(case, std::slice::from_ref(column), least) {
                Ok(mut coded) => coded.swap_remove(0),
                Err(error) => {
                    results.push(settled(name, Err(error))?);
                    continue;
                }
            };
            for (code, condition) in coded.conditions.iter().enumerate() {
                let rows: Vec<u32> = (0_u32..)
                    .zip(&coded.codes)
                    .filter(|(_, other)| **other as usize == code)
                    .map(|(row, _)| row)
                    .collect();
                if rows.len() as u64 >= least {
                    results.extend(self.calibration_of(test, Some(&rows), &format!(" where {condition}"))?);
                }
            }
        }
        Ok(results)
    }

    fn calibration_of(
        &self,
        test: &CalibrationTest,
        rows: Option<&[u32]>,
        place: &str,
    ) -> anyhow::Result<Vec<TestResult>> {
        let name = format!("calibration error at most {}{place}", number(test.max_error));
        let bins = test.bins.unwrap_or(BINS) as usize;
        let found = match calibrated(&self.predictions, rows, bins) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(vec![TestResult::new(name, Outcome::NotJudged, "there are no rows")]),
            Err(error) => return Ok(vec![settled(name, Err(error.into()))?]),
        };
        let (error, chance) = (found.figures.ece, found.chance);
        let count = found.figures.bins.iter().map(|bin| bin.rows).sum::<f64>();
        let message = format!(
            "{} on {}, by chance up to {}; largest of a bin {}, Brier score {}",
            number(error),
            plural(count as u64, "row"),
            number(chance),
            number(found.figures.largest),
            number(found.figures.brier)
        );
        let judged = if error <= test.max_error {
            Found::new(true, message)
        } else if error <= chance {
            Found::open(format!("no evidence: {message}"))
        } else {
            Found::new(false, message)
        };
        let judged = judged
            .figure("error", error)
            .figure("by_chance", chance)
            .figure("largest", found.figures.largest)
            .figure("brier", found.figures.brier)
            .figure("rows", count);
        let mut results = vec![judged.named(name)];
        if test.min_slope.is_some() || test.max_slope.is_some() {
            let (_, bounds) = super::within(0.0, test.min_slope, test.max_slope);
            let name = format!("calibration slope {bounds}{place}");
            let slope = match found.slope {
                None => {
                    Found::open("no line can be drawn: one class only, or classes that are fully told apart")
                }
                Some(slope) => {
                    let interval = slope.interval(LEVEL);
                    let good = test.min_slope.is_none_or(|min| interval.high >= min)
                        && test.max_slope.is_none_or(|max| interval.low <= max);
                    let message = format!(
                        "{} ({} to {})",
                        number(interval.estimate),
                        number(interval.low),
                        number(interval.high)
                    );
                    Found::new(good, message)
                        .figure("slope", interval.estimate)
                        .figure("slope_low", interval.low)
                        .figure("slope_high", interval.high)
                }
            };
            results.push(slope.named(name));
        }
        Ok(results)
    }

    /// Whether groups are treated alike: one result for each attribute and limit.
    pub(super) fn fairness(&self, case: &Case<'_>, test: &FairnessTest) -> anyhow::Result<Vec<TestResult>> {
        let least = usize::try_from(test.min_rows.unwrap_or(LEAST))?;
        let mut results = Vec::new();
        for attribute in test.attributes.as_slice() {
            let found = groups(&self.predictions, self.held_out(case)?, attribute, least, LEVEL);
            let found = match found {
                Ok(found) => found,
                Err(error) => {
                    results.push(settled(format!("fairness over {attribute}"), Err(error.into()))?);
                    continue;
                }
            };
            let small = match found.small {
                0 => String::new(),
                some => format!("; {} with fewer than {least} rows left out", plural(some as u64, "group")),
            };
            let is_hidden = case.hidden.contains(attribute);
            let names: Vec<String> = (1..)
                .zip(&found.groups)
                .map(
                    |(at, group)| {
                        if is_hidden { format!("group {at} (not shown)") } else { group.name.clone() }
                    },
                )
                .collect();
            let name = |at: usize| names.get(at).map_or("", String::as_str);
            let fairness = &found.fairness;
            let differences = [
                ("demographic parity", test.demographic_parity, fairness.demographic_parity.as_ref()),
                ("equal opportunity", test.equal_opportunity, fairness.equal_opportunity.as_ref()),
                ("equalized odds", test.equalized_odds, fairness.equalized_odds_difference()),
            ];
            for (criterion, limit, gap) in differences {
                let Some(limit) = limit else { continue };
                let test = format!("{criterion} over {attribute} at most {}", number(limit));
                results.push(difference(gap, limit, &name, &small).named(test));
            }
            if let Some(limit) = test.parity_ratio {
                let test = format!("parity ratio over {attribute} at least {}", number(limit));
                results.push(ratio(fairness.demographic_parity.as_ref(), limit, &name, &small).named(test));
            }
        }
        Ok(results)
    }
}

/// Takes the values out of conditions; their numbers still tell them apart.
fn conceal(column: &str, found: &mut Coded) {
    for (at, condition) in (1..).zip(&mut found.conditions) {
        *condition = format!("{column} has value {at} (not shown)");
    }
}

fn word(loss: Option<SliceLoss>) -> &'static str {
    match loss.unwrap_or_default() {
        SliceLoss::Error => "error",
        SliceLoss::LogLoss => metric::name(tidemill_core::declare::Metric::LogLoss),
        SliceLoss::Cost => "cost",
    }
}

const TOO_FEW: &str = "fewer than two groups have enough rows";

/// A difference against its limit: within it, beyond it for sure, or not told apart from it.
fn difference<'n>(gap: Option<&Gap>, limit: f64, name: &dyn Fn(usize) -> &'n str, small: &str) -> Found {
    let Some(gap) = gap else { return Found::open(format!("{TOO_FEW}{small}")) };
    let rate = |at: usize| gap.rates.get(at).copied().flatten().map_or(f64::NAN, |rate| rate.estimate);
    let (interval, low, high) = (gap.difference, gap.lowest, gap.highest);
    let message = format!(
        "{} ({} to {}): {} {}, {} {}{small}",
        number(interval.estimate),
        number(interval.low),
        number(interval.high),
        name(low),
        percent(rate(low)),
        name(high),
        percent(rate(high))
    );
    let found = if interval.estimate <= limit {
        Found::new(true, message)
    } else if gap.exceeds(limit) {
        Found::new(false, message)
    } else {
        Found::open(format!("no evidence either way: {message}"))
    };
    found.figure("difference", interval.estimate).figure("low", interval.low).figure("high", interval.high)
}

fn ratio<'n>(gap: Option<&Gap>, limit: f64, name: &dyn Fn(usize) -> &'n str, small: &str) -> Found {
    let Some((gap, interval)) = gap.and_then(|gap| Some((gap, gap.ratio?))) else {
        return Found::open(format!("{TOO_FEW}, or none has a positive answer{small}"));
    };
    let message = format!(
        "{} ({} to {}): {} against {}{small}",
        number(interval.estimate),
        number(interval.low),
        if interval.high < f64::MAX { number(interval.high) } else { "any".to_owned() },
        name(gap.lowest),
        name(gap.highest)
    );
    let found = if interval.estimate >= limit {
        Found::new(true, message)
    } else if gap.falls_below(limit) {
        Found::new(false, message)
    } else {
        Found::open(format!("no evidence either way: {message}"))
    };
    found.figure("ratio", interval.estimate).figure("low", interval.low).figure("high", interval.high)
}
