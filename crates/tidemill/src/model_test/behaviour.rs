//! Tests of what the exported model answers when its inputs change.

use arrow::array::{Array as _, RecordBatch, UInt64Array};
use arrow::compute::take_record_batch;
use tidemill_core::declare::Metric;
use tidemill_project::{DecideBy, DirectionTest, InvarianceTest, MustNot, RobustnessTest};
use tidemill_train::fit::with_answers;
use tidemill_train::probe::{
    self, Changes, compare, is_number, raised, replaced, shuffled, value, values_of, with_missing, with_noise,
};

use super::compared::{known, lost};
use super::floor::LEVEL;
use super::rescore::Answers;
use super::settle::{Found, Unusable, settled};
use super::{Case, Judged, TestResult};
use crate::output::{number, percent, plural};

/// Share of the rows for which a rule must hold.
pub(crate) const SHARE: f64 = 0.95;
/// Values of a column that are tried.
const VALUES: usize = 10;
/// How far a prediction may go the wrong way: exported models answer with 32-bit numbers.
pub(crate) const ROUNDING: f64 = 1e-6;

impl Judged {
    /// The metric on damaged rows against the rows as they are: one result for each kind of damage.
    pub(super) fn robustness(
        &self,
        case: &Case<'_>,
        test: &RobustnessTest,
    ) -> anyhow::Result<Vec<TestResult>> {
        let named = |what: String| format!("{} loses at most {} {what}", test.metric, number(test.max_loss));
        let columns = case.columns(test.columns.as_ref())?;
        let seed = case.training.seed;
        let mut results = Vec::new();
        if let Some(noise) = test.noise {
            let found = self.noisy(case, test, &columns, noise);
            results.push(settled(named(format!("under noise of {} deviations", number(noise))), found)?);
        }
        if let Some(share) = test.missing {
            let damage = |rows: &RecordBatch| with_missing(rows, &columns, share.0, seed);
            let found = self.damaged(case, test, &damage);
            results.push(settled(named(format!("with {} of the values missing", percent(share.0))), found)?);
        }
        for column in test.shuffle.as_ref().map(|columns| columns.as_slice()).unwrap_or_default() {
            let damage = |rows: &RecordBatch| shuffled(rows, column, seed);
            results
                .push(settled(named(format!("with {column} shuffled")), self.damaged(case, test, &damage))?);
        }
        Ok(results)
    }

    fn noisy(
        &self,
        case: &Case<'_>,
        test: &RobustnessTest,
        columns: &[String],
        noise: f64,
    ) -> anyhow::Result<Found> {
        let rows = self.held_out(case)?;
        let mut some = false;
        for column in columns {
            some |= is_number(rows, column)?;
        }
        if !some {
            return Ok(Found::open("none of the columns holds numbers"));
        }
        self.damaged(case, test, &|rows| with_noise(rows, columns, noise, case.training.seed))
    }

    fn damaged(
        &self,
        case: &Case<'_>,
        test: &RobustnessTest,
        damage: &dyn Fn(&RecordBatch) -> tidemill_train::Result<RecordBatch>,
    ) -> anyhow::Result<Found> {
        let metric = known(&test.metric)?;
        let rows = self.held_out(case)?;
        let before = self.answers(case)?;
        let damaged = damage(rows)?;
        let after = self.answers_to(case, &damaged)?;
        let is_refused = |row: usize| {
            let answered = |answers: &Answers| answers.get(row).is_some_and(|answer| answer.is_some());
            answered(before) && !answered(&after)
        };
        let refused = (0..rows.num_rows()).filter(|row| is_refused(*row)).count();
        if refused > 0 {
            // The columns of which no missing value was taken are those that a caller must always give.
            let never = |name: &String| {
                damaged.column_by_name(name).is_some_and(|column| {
                    let mut missing = (0..column.len()).filter(|row| column.is_null(*row)).peekable();
                    missing.peek().is_some() && missing.all(|row| after.get(row).is_none_or(|a| a.is_none()))
                })
            };
            let needed: Vec<String> =
                case.inputs()?.into_iter().filter(never).map(|name| format!("`{name}`")).collect();
            let needed = match needed.len() {
                0 => String::new(),
                _ => format!(": it needs {}, which were never missing where it learned", needed.join(", ")),
            };
            let rows = plural(refused as u64, "damaged row");
            return Ok(Found::new(false, format!("the exported model refuses {rows}{needed}")));
        }
        let level = test.confidence.unwrap_or(LEVEL);
        let decides = test.by == Some(DecideBy::Interval);
        // Resampling costs time, so it is done where somebody asks for it.
        let between = if decides || test.confidence.is_some() {
            Some(self.lost_between(before, &after, metric, level)?)
        } else {
            None
        };
        let (before, after) = (self.measured(before, metric)?, self.measured(&after, metric)?);
        let loss = lost(metric, before, after);
        let ends = between.map(|(low, high)| format!(" ({} to {})", number(low), number(high)));
        let message = format!(
            "from {} to {}, a loss of {}{}",
            number(before),
            number(after),
            number(loss.max(0.0)),
            ends.unwrap_or_default()
        );
        let found = match between.filter(|_| decides) {
            None => Found::new(loss <= test.max_loss, message),
            Some((_, high)) if high <= test.max_loss => Found::new(true, message),
            Some((low, _)) if low > test.max_loss => Found::new(false, message),
            Some(_) => Found::open(format!("no evidence either way: {message}")),
        };
        let found = found.figure("before", before).figure("after", after).figure("loss", loss);
        Ok(match between {
            Some((low, high)) => found.figure("loss_low", low).figure("loss_high", high),
            None => found,
        })
    }

    /// The interval of the loss on the rows that have both answers.
    fn lost_between(
        &self,
        before: &Answers,
        after: &Answers,
        metric: Metric,
        level: f64,
    ) -> anyhow::Result<(f64, f64)> {
        let both = |row: &usize| {
            before.get(*row).zip(after.get(*row)).is_some_and(|(a, b)| a.is_some() && b.is_some())
        };
        let rows: Vec<usize> = (0..before.len()).filter(both).collect();
        let places: UInt64Array = rows.iter().map(|row| *row as u64).collect();
        let predictions = take_record_batch(&self.predictions, &places)?;
        let of = |answers: &Answers| {
            let answers: Vec<Vec<f64>> = rows.iter().filter_map(|row| answers.get(*row)?.clone()).collect();
            with_answers(&predictions, &answers, None)
        };
        let gain = compare(&of(after)?, &of(before)?, metric, level)?.gain;
        Ok((-gain.high, -gain.low))
    }

    /// A metric of answers to the held-out rows; rows without an answer are left out.
    fn measured(&self, answers: &Answers, metric: Metric) -> anyhow::Result<f64> {
        let places = (0_u64..).zip(answers).filter(|(_, answer)| answer.is_some()).map(|(row, _)| row);
        let places: UInt64Array = places.collect();
        let predictions = take_record_batch(&self.predictions, &places)?;
        let answers: Vec<Vec<f64>> = answers.iter().flatten().cloned().collect();
        Ok(value(&with_answers(&predictions, &answers, None)?, metric)?)
    }

    /// Whether a column leaves the prediction as it is.
    pub(super) fn invariance(&self, case: &Case<'_>, test: &InvarianceTest) -> anyhow::Result<TestResult> {
        let name = format!("{} changes the prediction by at most {}", test.column, number(test.max_change));
        settled(name, self.changed(case, test))
    }

    fn changed(&self, case: &Case<'_>, test: &InvarianceTest) -> anyhow::Result<Found> {
        let rows = self.held_out(case)?;
        let values = values_of(rows, &test.column, VALUES)?;
        if !case.inputs()?.contains(&test.column) {
            return Ok(Found::new(true, "the model does not take it"));
        }
        if values.len() < 2 {
            return Ok(Found::open(format!("`{}` has fewer than two values", test.column)));
        }
        let mut variants = Vec::with_capacity(values.len());
        for (_, row) in &values {
            variants.push(self.answers_to(case, &replaced(rows, &test.column, *row)?)?);
        }
        let changes = probe::invariance(self.answers(case)?, &variants, test.max_change);
        let tried = format!(" over {} values", values.len());
        Ok(held(&changes, test.share.map_or(SHARE, |share| share.0), "change", &tried))
    }

    /// Whether the prediction goes one way only.
    pub(super) fn direction(&self, case: &Case<'_>, test: &DirectionTest) -> anyhow::Result<TestResult> {
        let word = match test.must_not {
            MustNot::Rise => "raise",
            MustNot::Fall => "lower",
        };
        settled(format!("more {} must not {word} the prediction", test.column), self.turned(case, test))
    }

    fn turned(&self, case: &Case<'_>, test: &DirectionTest) -> anyhow::Result<Found> {
        let rows = self.held_out(case)?;
        if !is_number(rows, &test.column)? {
            return Err(
                Unusable(format!("column `{}` holds no numbers, so it cannot rise", test.column)).into()
            );
        }
        if !case.inputs()?.contains(&test.column) {
            return Ok(Found::open("the model does not take it"));
        }
        let width = self.width()?;
        if width > 2 {
            return Ok(Found::open(format!("there are {width} classes, and a direction is of one number")));
        }
        let (higher, by) = raised(rows, &test.column, test.raise)?;
        let after = self.answers_to(case, &higher)?;
        let tolerance = test.tolerance.unwrap_or(ROUNDING);
        let must_not_rise = test.must_not == MustNot::Rise;
        let changes = probe::direction(self.answers(case)?, &after, must_not_rise, tolerance);
        let raised = format!(", raised by {}", number(by));
        Ok(held(&changes, test.share.map_or(SHARE, |share| share.0), "step the wrong way", &raised))
    }
}

fn held(changes: &Changes, least: f64, what: &str, more: &str) -> Found {
    let (Some(share), Some((row, worst))) = (changes.share(), changes.worst) else {
        return Found::open("there is no held-out row that the exported model takes");
    };
    let message = format!(
        "holds for {} of {}, at least {} wanted; largest {what} {} (held-out row {}){more}",
        percent(share),
        plural(changes.rows, "row"),
        percent(least),
        number(worst.max(0.0)),
        row + 1
    );
    Found::new(share >= least, message).figure("share", share).figure("largest", worst)
}
