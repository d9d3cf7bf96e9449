//! A line of the filter, and everything that can be wrong with it.

use serde::Deserialize;
use serde_json::Value;

use crate::judge::Sample;

/// The longest line, in bytes.
pub const MAX_LINE: usize = 64 * 1024;

/// Counts above this are not exact in JSON numbers of other programs.
const MOST: f64 = 9_007_199_254_740_992.0;

/// One look of one run.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) run: String,
    pub(super) seq: u64,
    pub(super) metric: MetricLine,
    pub(super) baseline: ArmLine,
    pub(super) canary: ArmLine,
}

/// The metric as a line declares it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MetricLine {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    direction: Direction,
    #[serde(rename = "type")]
    pub(super) value_type: ValueType,
    pub(super) alpha: f64,
    pub(super) effect_scale: f64,
    #[serde(default)]
    pub(super) effect_relative: bool,
    #[serde(default)]
    pub(super) margin: Option<f64>,
    #[serde(default)]
    pub(super) margin_relative: Option<bool>,
    #[serde(skip)]
    pub(super) higher_is_better: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Direction {
    #[default]
    LowerIsBetter,
    HigherIsBetter,
}

/// What the values of a metric are.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ValueType {
    /// 0 or 1.
    Binary,
    /// Any numbers.
    Continuous,
}

/// What one arm did since the look before.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ArmLine {
    n: f64,
    sum: f64,
    sumsq: f64,
}

/// Run, number and reason, as far as they are known.
type Wrong = (Option<String>, Option<u64>, String);

/// Reads a line.
pub(super) fn parse(text: &[u8]) -> Result<Line, Wrong> {
    let nothing = |error: String| (None, None, error);
    let text = std::str::from_utf8(text).map_err(|_| nothing("the line is not UTF-8".into()))?;
    if text.trim().is_empty() {
        return Err(nothing("the line is empty".into()));
    }
    let value: Value =
        serde_json::from_str(text).map_err(|error| nothing(format!("the line is not JSON: {error}")))?;
    let Value::Object(mut fields) = value else {
        return Err(nothing("the line is not a JSON object".into()));
    };
    let run = match fields.get("run") {
        Some(Value::String(run)) => Some(run.clone()),
        Some(Value::Number(run)) => Some(run.to_string()),
        _ => None,
    };
    let seq = fields.get("seq").and_then(Value::as_u64);
    let wrong = |error: String| (run.clone(), seq, error);
    let Some(run_name) = run.clone() else {
        return Err(wrong("`run` is missing, or is no text".into()));
    };
    let Some(number) = seq else {
        return Err(wrong("`seq` is missing, or is no whole number from 0".into()));
    };
    let mut part = |name: &str| fields.remove(name).ok_or_else(|| wrong(format!("`{name}` is missing")));
    let (metric, baseline, canary) = (part("metric")?, part("baseline")?, part("canary")?);
    let mut metric: MetricLine =
        serde_json::from_value(metric).map_err(|error| wrong(format!("`metric`: {error}")))?;
    metric.higher_is_better = metric.direction == Direction::HigherIsBetter;
    let arm = |name: &str, value: Value| {
        serde_json::from_value::<ArmLine>(value).map_err(|error| wrong(format!("`{name}`: {error}")))
    };
    Ok(Line {
        metric,
        baseline: arm("baseline", baseline)?,
        canary: arm("canary", canary)?,
        run: run_name,
        seq: number,
    })
}

impl ArmLine {
    /// The arm's part of a look.
    pub(super) fn sample(&self, arm: &str, values: ValueType) -> Result<Sample, String> {
        let Self { n, sum, sumsq } = *self;
        let whole = |number: f64| (0.0..MOST).contains(&number) && number.fract() == 0.0;
        if !whole(n) {
            return Err(format!("`{arm}.n` is {n}, but must be a whole number from 0"));
        }
        match values {
            ValueType::Binary => {
                if !whole(sum) || sum > n {
                    return Err(format!(
                        "`{arm}.sum` is {sum}, but of {n} values that are 0 or 1 it must be a whole number from 0 to {n}"
                    ));
                }
                if sumsq != sum {
                    return Err(format!(
                        "`{arm}.sumsq` is {sumsq}, but of values that are 0 or 1 it is `sum`, which is {sum}"
                    ));
                }
                Ok(Sample::Counts { n: n as u64, events: sum as u64 })
            }
            ValueType::Continuous => {
                let least = if n > 0.0 { sum * sum / n } else { 0.0 };
                if sumsq < least - 1e-9 * least.abs().max(1e-300)
                    || (n == 0.0 && (sum != 0.0 || sumsq != 0.0))
                {
                    return Err(format!(
                        "`{arm}.sumsq` is {sumsq}, but {n} values with the sum {sum} have squares of at least {least}"
                    ));
                }
                Ok(Sample::Moments { n: n as u64, sum, sumsq })
            }
        }
    }
}
