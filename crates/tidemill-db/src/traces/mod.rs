//! Traces, their spans, and what people and programs say about them.
//!
//! A trace may be told of by the client as a whole ([`NewTrace`]) and by spans that arrive before, after or without it
//! ([`SpanBatch`]). All that arrives is merged; the same span again changes nothing. These are observations, which have
//! no events; only the deletion of traces has one.
//!
//! Spans are rows with their full text: searches look into it, and a trace is read with one statement.

mod assessments;
mod chart;
mod page;
mod queue;
mod read;
mod search;
mod types;
mod usage;
mod write;

pub use chart::{Bucket, Chart, ChartFilter, Dimension, Measure, View};
pub use page::{After, Page};
pub(crate) use queue::TraceQueue;
pub use search::TraceQuery;
pub(crate) use search::compare;
pub use types::{
    Assessment, AssessmentKind, COST_KEY, COST_NAMES, NAME_TAG, NewTrace, RUN_KEY, SESSION_KEY, Span,
    SpanBatch, StoredSpan, TOKEN_NAMES, TOKENS_KEY, TraceInfo, TraceState, Usage,
};
