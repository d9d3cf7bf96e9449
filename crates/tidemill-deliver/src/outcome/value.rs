//! One answer against what was true.

use super::Quality;

/// What an arm answered to one row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The score of the positive class.
    pub score: Option<f64>,
    /// The class that was named, as text.
    pub class: Option<String>,
    /// Whether somebody acted on it, where that was recorded with the answer.
    pub decision: Option<bool>,
}

/// What was true of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Label {
    /// A number or a truth value.
    Number(f64),
    /// A text.
    Text(String),
}

impl Label {
    /// Whether it is the positive one.
    pub fn is(&self, positive: &str) -> bool {
        match self {
            Self::Text(text) => text == positive,
            Self::Number(number) => {
                let known = match positive {
                    "true" => Some(1.0),
                    "false" => Some(0.0),
                    text => text.parse::<f64>().ok(),
                };
                known == Some(*number)
            }
        }
    }
}

impl Answer {
    /// Whether somebody acts on it: as was recorded, else by its score where it has one, else by the class that it names.
    pub fn acts(&self, threshold: f64, positive: &str) -> Option<bool> {
        match (self.score, &self.class) {
            _ if self.decision.is_some() => self.decision,
            (Some(score), _) => Some(score >= threshold),
            (None, Some(class)) => Some(class == positive || number_is(class, positive)),
            (None, None) => None,
        }
    }

    /// How bad it is.
    pub(super) fn badness(
        &self,
        quality: Quality,
        is_positive: bool,
        threshold: f64,
        positive: &str,
    ) -> Option<f64> {
        let truth = f64::from(u8::from(is_positive));
        match quality {
            Quality::ErrorRate => {
                self.acts(threshold, positive).map(|acts| f64::from(u8::from(acts != is_positive)))
            }
            Quality::Brier => {
                self.score.map(|score| rounded((score.clamp(0.0, 1.0) - truth).powi(2), 1_000.0))
            }
            Quality::LogLoss => self.score.map(|score| {
                let of_truth = if is_positive { score } else { 1.0 - score };
                rounded(-libm::log(of_truth.clamp(0.001, 0.999)), 100.0)
            }),
        }
    }
}

fn number_is(class: &str, positive: &str) -> bool {
    class.parse().is_ok_and(|number| Label::Number(number).is(positive))
}

/// Few distinct values, so that a look stays small.
fn rounded(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
}
