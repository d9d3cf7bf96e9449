//! The values that traces are written and read as.

use tidemill_core::Timestamp;

use crate::tracking::KeyValue;

/// The tag that is also a trace's name.
pub const NAME_TAG: &str = "mlflow.traceName";
/// The entry of the metadata that is also a trace's session.
pub const SESSION_KEY: &str = "mlflow.trace.session";
/// The entry of the metadata that names the run which a trace was made in.
pub const RUN_KEY: &str = "mlflow.sourceRun";
/// The entry of the metadata with the tokens that a trace used.
pub const TOKENS_KEY: &str = "mlflow.trace.tokenUsage";
/// The entry of the metadata with what a trace cost.
pub const COST_KEY: &str = "mlflow.trace.cost";

/// How a trace stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TraceState {
    /// Nobody has said.
    #[default]
    Unspecified,
    /// Ended well.
    Ok,
    /// Ended with an error.
    Error,
    /// Its root span has not ended.
    InProgress,
}

/// What a trace or a span used. Nothing where it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Tokens: input, output, total, read from a cache, written to a cache, and those of the last written for longer.
    pub tokens: [Option<i64>; 6],
    /// Costs in USD: input, output, total.
    pub costs: [Option<f64>; 3],
}

/// The names of [`Usage::tokens`] in JSON.
pub const TOKEN_NAMES: [&str; 6] = [
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "cache_creation_input_tokens_above_1hr",
];
/// The names of [`Usage::costs`] in JSON.
pub const COST_NAMES: [&str; 3] = ["input_cost", "output_cost", "total_cost"];

/// What a list of traces shows of each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TraceInfo {
    /// Its identifier, `tr-…`.
    pub id: String,
    /// Its experiment.
    pub experiment: i64,
    /// What the client calls it.
    pub client_request_id: Option<String>,
    /// How it stands.
    pub state: TraceState,
    /// When it began.
    pub at: Timestamp,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<i64>,
    /// The beginning of what it was asked.
    pub request_preview: Option<String>,
    /// The beginning of what it answered.
    pub response_preview: Option<String>,
    /// By key. The name is the tag [`NAME_TAG`].
    pub tags: Vec<KeyValue>,
    /// By key. The session is the entry [`SESSION_KEY`].
    pub metadata: Vec<KeyValue>,
    /// By time.
    pub assessments: Vec<Assessment>,
}

/// What the client says about a whole trace. It overrides what spans say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewTrace {
    /// All that is to be read again.
    pub info: TraceInfo,
    /// What it used, where the client says it.
    pub usage: Usage,
}

/// A span.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Span {
    /// 16 hexadecimal digits.
    pub id: String,
    /// The span that it is a part of.
    pub parent: Option<String>,
    /// Its name.
    pub name: String,
    /// What kind of work it is, for example `LLM`.
    pub kind: String,
    /// `OK`, `ERROR` or `UNSET`.
    pub status: String,
    /// Nanoseconds UTC.
    pub started_ns: i64,
    /// Nanoseconds UTC; nothing while it runs.
    pub ended_ns: Option<i64>,
    /// The model that was asked.
    pub model: Option<String>,
    /// Who runs the model.
    pub provider: Option<String>,
    /// What it used.
    pub usage: Usage,
    /// All of it as JSON, whose form is the caller's matter.
    pub body: String,
}

/// Spans of one trace that arrived together, and what follows from them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpanBatch {
    /// The trace. It is made where it is not there.
    pub trace: String,
    /// The experiment of a trace that is made.
    pub experiment: i64,
    /// The spans.
    pub spans: Vec<Span>,
    /// How the trace stands, where the root span is among them.
    pub state: Option<TraceState>,
    /// The beginning of what the root span was asked.
    pub request_preview: Option<String>,
    /// The beginning of what the root span answered.
    pub response_preview: Option<String>,
    /// Set, in this order.
    pub tags: Vec<KeyValue>,
    /// Set where the trace has no such tag.
    pub default_tags: Vec<KeyValue>,
    /// Set where the trace has no such entry.
    pub default_metadata: Vec<KeyValue>,
}

/// What is needed to show spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSpan {
    /// The trace.
    pub trace: String,
    /// As it was written.
    pub body: String,
}

/// What an assessment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssessmentKind {
    /// How good the trace was.
    Feedback,
    /// What the trace should have given.
    Expectation,
    /// That the trace shows a known issue.
    Issue,
}

/// What a person or a program says about a trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Assessment {
    /// Its identifier, `a-…`.
    pub id: String,
    /// The trace.
    pub trace: String,
    /// What it says.
    pub kind: AssessmentKind,
    /// What is judged.
    pub name: String,
    /// The judgement as JSON.
    pub value: String,
    /// The judgement as a number for charts: yes is 1.
    pub number: Option<f64>,
    /// Whether the judgement itself is a number.
    pub is_number: bool,
    /// Why there is no judgement, as JSON.
    pub error: Option<String>,
    /// `HUMAN`, `LLM_JUDGE` or `CODE`.
    pub source_kind: String,
    /// Who.
    pub source: Option<String>,
    /// The run that made it.
    pub run: Option<String>,
    /// The span that it is about.
    pub span: Option<String>,
    /// Why.
    pub rationale: Option<String>,
    /// The assessment that it replaces.
    pub overrides: Option<String>,
    /// Whether no other replaces it.
    pub is_valid: bool,
    /// A JSON object.
    pub metadata: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl TraceState {
    /// All, in the order of MLflow's numbers, from 0.
    pub const ALL: [Self; 4] = [Self::Unspecified, Self::Ok, Self::Error, Self::InProgress];

    /// As stored and as MLflow writes it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unspecified => "STATE_UNSPECIFIED",
            Self::Ok => "OK",
            Self::Error => "ERROR",
            Self::InProgress => "IN_PROGRESS",
        }
    }

    /// From [`Self::word`].
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }
}

impl AssessmentKind {
    /// As stored, and as filters call it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Feedback => "feedback",
            Self::Expectation => "expectation",
            Self::Issue => "issue",
        }
    }

    /// From [`Self::word`].
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Feedback, Self::Expectation, Self::Issue].into_iter().find(|kind| kind.word() == word)
    }
}

impl Usage {
    /// Whether anything is known.
    pub fn has_tokens(&self) -> bool {
        self.tokens.iter().any(Option::is_some)
    }

    /// Whether anything is known.
    pub fn has_costs(&self) -> bool {
        self.costs.iter().any(Option::is_some)
    }

    /// The entries of a trace's metadata that show it.
    pub fn metadata(&self) -> Vec<KeyValue> {
        let tokens = self.tokens.iter().zip(TOKEN_NAMES);
        let tokens = tokens.filter_map(|(count, name)| count.map(|count| format!("\"{name}\": {count}")));
        let costs = self.costs.iter().zip(COST_NAMES);
        let costs = costs.filter_map(|(cost, name)| cost.map(|cost| format!("\"{name}\": {cost:?}")));
        let entry = |key: &str, fields: Vec<String>| {
            (!fields.is_empty())
                .then(|| KeyValue { key: key.to_owned(), value: format!("{{{}}}", fields.join(", ")) })
        };
        [entry(TOKENS_KEY, tokens.collect()), entry(COST_KEY, costs.collect())]
            .into_iter()
            .flatten()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_shown_as_json() {
        let usage = Usage {
            tokens: [Some(3), Some(4), Some(7), None, None, None],
            costs: [None, Some(0.5), Some(2.0)],
        };
        let shown: Vec<_> = usage.metadata().into_iter().map(|entry| entry.value).collect();
        assert_eq!(
            shown,
            [
                r#"{"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}"#,
                r#"{"output_cost": 0.5, "total_cost": 2.0}"#
            ]
        );
        assert!(Usage::default().metadata().is_empty());
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        for state in TraceState::ALL {
            assert_eq!(TraceState::from_word(state.word()), Some(state));
        }
        assert_eq!(AssessmentKind::from_word("issue"), Some(AssessmentKind::Issue));
        assert_eq!(AssessmentKind::from_word("Issue"), None);
    }
}
