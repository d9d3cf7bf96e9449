//! Traces, spans, assessments.
