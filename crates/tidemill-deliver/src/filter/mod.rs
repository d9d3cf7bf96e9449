//! The judge as a filter: JSON lines in, exactly one JSON line out for each. For use with any other router.
//!
//! A line is one look of one run: what both arms did since the look before. Runs interleave freely. A run keeps some hundred numbers,
//! whatever its traffic. Nothing here reads or writes: lines come and go as text.

mod line;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde::Serialize;

use crate::judge::{Amount, Better, Kind, MetricState, Sample, Traffic};
use line::{Line, ValueType};

pub use line::MAX_LINE;

/// What a line is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// Neither is proven yet.
    Continue,
    /// The canary does harm above the margin.
    Rollback,
    /// The canary is proven to be better than the margin.
    Promote,
}

#[derive(Serialize)]
struct Answer<'a> {
    run: &'a str,
    seq: u64,
    decision: Decision,
}

#[derive(Serialize)]
struct Refusal<'a> {
    run: Option<&'a str>,
    seq: Option<u64>,
    error: &'a str,
}

/// All runs that were seen.
#[derive(Debug)]
pub struct Filter {
    runs: HashMap<String, Run>,
    most_runs: usize,
    refused: u64,
}

#[derive(Debug)]
struct Run {
    kind: Kind,
    alpha: f64,
    metric: String,
    state: Option<Box<MetricState>>,
    decision: Decision,
    seq: u64,
    /// Fingerprint of the last line, so that one that is delivered twice is counted once.
    last: u64,
}

impl Filter {
    /// A filter for at most so many runs.
    pub fn new(most_runs: usize) -> Self {
        Self { runs: HashMap::new(), most_runs, refused: 0 }
    }

    /// How many lines were answered with an error.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// The answer to a line, without the end of line. A line that is wrong changes nothing.
    pub fn answer(&mut self, text: &[u8]) -> String {
        let answered = if text.len() > MAX_LINE {
            Err((None, None, format!("the line is longer than {MAX_LINE} bytes")))
        } else {
            line::parse(text).and_then(|line| {
                let decision = self
                    .take(&line, fingerprint(text))
                    .map_err(|error| (Some(line.run.clone()), Some(line.seq), error))?;
                Ok((line.run, line.seq, decision))
            })
        };
        let written = match answered {
            Ok((run, seq, decision)) => serde_json::to_string(&Answer { run: &run, seq, decision }),
            Err((run, seq, error)) => {
                self.refused += 1;
                serde_json::to_string(&Refusal { run: run.as_deref(), seq, error: &error })
            }
        };
        written.unwrap_or_else(|_| {
            r#"{"run":null,"seq":null,"error":"the answer cannot be written"}"#.to_owned()
        })
    }

    fn take(&mut self, line: &Line, print: u64) -> Result<Decision, String> {
        let (kind, alpha, values) = (line.kind()?, line.metric.alpha, line.metric.value_type);
        let baseline = line.baseline.sample("baseline", values)?;
        let canary = line.canary.sample("canary", values)?;
        if !self.runs.contains_key(&line.run) {
            if self.runs.len() >= self.most_runs {
                return Err(format!("more than {} runs; start another filter for more", self.most_runs));
            }
            let run = Run {
                state: Some(Box::new(MetricState::new(&kind))),
                kind: kind.clone(),
                alpha,
                metric: line.metric.name.clone(),
                decision: Decision::Continue,
                seq: line.seq,
                last: 0,
            };
            self.runs.insert(line.run.clone(), run);
        } else if let Some(run) = self.runs.get(&line.run) {
            if run.metric != line.metric.name || run.kind != kind || run.alpha != alpha {
                return Err(
                    "`metric` is not what it was in this run's first line; judge another metric as another run".into()
                );
            }
            if line.seq == run.seq && print == run.last {
                return Ok(run.decision);
            }
            if line.seq <= run.seq {
                return Err(format!("`seq` is {}, but this run is at {} already", line.seq, run.seq));
            }
        }
        let Some(run) = self.runs.get_mut(&line.run) else { return Err("the run is not there".into()) };
        (run.seq, run.last) = (line.seq, print);
        run.take(&canary, &baseline);
        Ok(run.decision)
    }
}

impl Run {
    fn take(&mut self, canary: &Sample, baseline: &Sample) {
        let Some(state) = &mut self.state else { return };
        state.update(&self.kind, Traffic { stratum: 0, share: None }, canary, baseline);
        let (evidence, needed) = (state.evidence(), -libm::log(self.alpha));
        self.decision = if evidence.ln_harm >= needed {
            Decision::Rollback
        } else if evidence.ln_safe >= needed {
            Decision::Promote
        } else {
            return;
        };
        // A decision is final; what led to it is not needed any more.
        self.state = None;
    }
}

fn fingerprint(text: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

impl Line {
    /// The metric as the judge knows it. Without a margin the question is whether the canary is worse or better at all.
    fn kind(&self) -> Result<Kind, String> {
        let metric = &self.metric;
        let amount = |number: f64, relative: bool| {
            if relative { Amount::Relative(number) } else { Amount::Absolute(number) }
        };
        if !(metric.alpha > 0.0 && metric.alpha < 1.0) {
            return Err(format!("`metric.alpha` is {}, but must be above 0 and below 1", metric.alpha));
        }
        let better = if metric.higher_is_better { Better::Higher } else { Better::Lower };
        let limit = match metric.margin {
            Some(margin) => amount(margin, metric.margin_relative.unwrap_or(metric.effect_relative)),
            None => Amount::Absolute(0.0),
        };
        let effect = amount(metric.effect_scale, metric.effect_relative);
        let kind = match metric.value_type {
            ValueType::Binary => Kind::Binary { better, tolerate: limit, reject: limit, effect },
            ValueType::Continuous => Kind::Continuous { better, tolerate: limit, reject: limit, effect },
        };
        kind.check()
            .map_err(|problem| format!("`metric`: {}", problem.replace("`effect`", "`effect_scale`")))?;
        Ok(kind)
    }
}
