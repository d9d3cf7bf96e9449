//! Spans of requests: how long a request was checked, waited, ran and was recorded, and where it stands in its caller's
//! trace (W3C Trace Context). What becomes of them is the tracer's business.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidemill_core::Timestamp;

use super::id;

/// Takes spans. Never blocks and never fails: one that cannot keep up counts what it drops.
pub trait Tracer: Send + Sync {
    /// Whether a request is traced; `sampled` is what its caller decided, where it says so.
    fn wants(&self, sampled: Option<bool>) -> bool;

    /// Takes the span of a request that came to its end.
    fn span(&self, span: RequestSpan);
}

/// A request that came to its end.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestSpan {
    /// The trace, the caller's or a new one.
    pub trace: [u8; 16],
    /// This span.
    pub span: [u8; 8],
    /// The caller's span.
    pub parent: Option<[u8; 8]>,
    /// When the request came.
    pub start: Timestamp,
    /// From there to the answer.
    pub took: Duration,
    /// The endpoint, or the model that was asked directly.
    pub endpoint: String,
    /// The arm that answered.
    pub arm: Option<Arc<str>>,
    /// The version that answered; empty where none did.
    pub version: String,
    /// The request's id.
    pub request_id: String,
    /// Rows of the request.
    pub rows: usize,
    /// Why it was not answered.
    pub error: Option<String>,
    /// Its parts, in order.
    pub phases: Vec<Phase>,
}

/// A part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase {
    /// `load`, `validate`, `queue`, `run` or `record`.
    pub name: &'static str,
    /// When it began, from the request's start.
    pub from: Duration,
    /// When it ended.
    pub to: Duration,
    /// Its span.
    pub span: [u8; 8],
}

/// The marks of a request, as far as it came.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Marks {
    /// The model was ready.
    pub(super) ready: Option<Duration>,
    /// The request was laid out and looked at.
    pub(super) checked: Option<Duration>,
    /// The call began.
    pub(super) called: Option<Duration>,
    /// The call ended.
    pub(super) ran: Option<Duration>,
}

impl Marks {
    /// The parts between the marks, and the record from `kept` to the end.
    pub(super) fn phases(self, kept: Duration, end: Duration) -> Vec<Phase> {
        let marks =
            [("load", self.ready), ("validate", self.checked), ("queue", self.called), ("run", self.ran)];
        let mut from = Duration::ZERO;
        let mut phases: Vec<Phase> = Vec::with_capacity(5);
        for (name, to) in marks {
            let Some(to) = to else { break };
            phases.push(Phase { name, from, to: to.max(from), span: id::span() });
            from = to.max(from);
        }
        phases.push(Phase { name: "record", from: kept, to: end, span: id::span() });
        phases
    }
}

/// A request's place in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Context {
    pub(super) trace: [u8; 16],
    pub(super) parent: Option<[u8; 8]>,
    sampled: Option<bool>,
}

impl Context {
    /// As `traceparent` says; a new trace where it says nothing that can be read.
    pub(super) fn of(traceparent: Option<&String>) -> Self {
        traceparent.and_then(|text| Self::parse(text)).unwrap_or_else(|| Self {
            trace: id::trace(),
            parent: None,
            sampled: None,
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let version = bytes::<1>(parts.next()?)?;
        let (trace, parent) = (bytes::<16>(parts.next()?)?, bytes::<8>(parts.next()?)?);
        let [flags] = bytes::<1>(parts.next()?)?;
        // Version 255 is forbidden, zeros name nothing, and version 0 has four parts.
        let is_wrong = version == [255] || trace == [0; 16] || parent == [0; 8];
        let is_long = version == [0] && parts.next().is_some();
        (!is_wrong && !is_long).then_some(Self { trace, parent: Some(parent), sampled: Some(flags & 1 == 1) })
    }

    /// Whether the tracer wants it.
    pub(super) fn wanted(self, tracer: &dyn Tracer) -> bool {
        tracer.wants(self.sampled)
    }
}

/// Lower-case hexadecimal digits.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != N * 2 || digits.iter().any(|digit| !matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// A request that is traced.
#[derive(Clone, Copy, Debug)]
pub(super) struct Traced {
    pub(super) context: Context,
    pub(super) begun: Instant,
    pub(super) start: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_trace_goes_on() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned();
        let context = Context::of(Some(&text));
        assert_eq!((context.trace[0], context.trace[15]), (0x4b, 0x36));
        assert_eq!((context.parent.unwrap()[7], context.sampled), (0xb7, Some(true)));
        for wrong in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            let context = Context::of(Some(&wrong.to_owned()));
            assert_eq!((context.parent, context.sampled), (None, None), "{wrong}");
            assert_ne!(context.trace, [0; 16]);
        }
    }

    #[test]
    fn parts_follow_each_other_as_far_as_a_request_came() {
        let ms = Duration::from_millis;
        let marks = Marks { ready: Some(ms(1)), checked: Some(ms(3)), ..Marks::default() };
        let phases = marks.phases(ms(4), ms(5));
        let shown: Vec<_> = phases.iter().map(|phase| (phase.name, phase.from, phase.to)).collect();
        assert_eq!(shown, [("load", ms(0), ms(1)), ("validate", ms(1), ms(3)), ("record", ms(4), ms(5))]);
        assert_ne!(phases[0].span, phases[1].span);
    }
}
