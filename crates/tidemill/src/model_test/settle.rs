//! From what a test found to its result: a test that cannot be made is not passed, and says why.

use std::collections::BTreeMap;

use tidemill_core::{AgeCurve, Hint as _};
use tidemill_train::probe::Compared;

use super::{Outcome, TestResult, outcome};

/// An exported model or a comparison that cannot be used, in words.
#[derive(Debug)]
pub(super) struct Unusable(pub(super) String);

impl std::fmt::Display for Unusable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unusable {}

/// What a test found.
pub(super) struct Found {
    outcome: Outcome,
    message: String,
    figures: BTreeMap<String, f64>,
    ages: Option<AgeCurve>,
    waits: bool,
}

impl Found {
    /// Passed or failed.
    pub(super) fn new(good: bool, message: impl Into<String>) -> Self {
        Self::of(outcome(good), message)
    }

    /// Nothing to judge on.
    pub(super) fn open(message: impl Into<String>) -> Self {
        Self::of(Outcome::NotJudged, message)
    }

    /// Nothing to compare with yet, which is as it must be for the first version of a model.
    pub(super) fn waiting(message: impl Into<String>) -> Self {
        Self { waits: true, ..Self::open(message) }
    }

    /// Of an outcome that is known.
    pub(super) fn of(outcome: Outcome, message: impl Into<String>) -> Self {
        Self { outcome, message: message.into(), figures: BTreeMap::new(), ages: None, waits: false }
    }

    /// Adds a number for programs, if it is finite.
    pub(super) fn figure(mut self, name: &str, value: f64) -> Self {
        if value.is_finite() {
            self.figures.insert(name.to_owned(), value);
        }
        self
    }

    /// Adds the numbers of two models by one metric.
    pub(super) fn compared(self, by: &Compared) -> Self {
        self.figure("new", by.new)
            .figure("old", by.old)
            .figure("gain", by.gain.estimate)
            .figure("gain_low", by.gain.low)
            .figure("gain_high", by.gain.high)
    }

    /// With what older versions come to.
    pub(super) fn aged(mut self, ages: AgeCurve) -> Self {
        self.ages = Some(ages);
        self
    }

    pub(super) fn named(self, test: String) -> TestResult {
        TestResult {
            test,
            outcome: self.outcome,
            message: self.message,
            figures: self.figures,
            ages: self.ages,
            waits: self.waits,
        }
    }
}

/// The result of a test from what it found. What the trainer's crate or the exported model refuse fails the test, with
/// the reason; a figure that is not defined on the rows is not judged. Other errors (a file that cannot be read) are not
/// about the model.
pub(super) fn settled(test: String, found: anyhow::Result<Found>) -> anyhow::Result<TestResult> {
    let error = match found {
        Ok(found) => return Ok(found.named(test)),
        Err(error) => error,
    };
    if let Some(why) = error.downcast_ref::<Unusable>() {
        return Ok(TestResult::new(test, Outcome::Failed, why.to_string()));
    }
    match error.downcast_ref::<tidemill_train::Error>() {
        Some(undefined @ tidemill_train::Error::MetricUndefined { .. }) => {
            Ok(TestResult::new(test, Outcome::NotJudged, undefined.to_string()))
        }
        Some(tidemill_train::Error::Cancelled) | None => Err(error),
        Some(refused) => {
            let hint = refused.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
            Ok(TestResult::new(test, Outcome::Failed, format!("{refused}{hint}")))
        }
    }
}
