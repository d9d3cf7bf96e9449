//! The judge of a rollout: per metric evidence of harm and of safety, one budget for errors, and one verdict.
//!
//! Looks are taken up in order; the judge is a fold over them, so the same looks give the same verdicts, byte for byte.

mod cone;
mod difference;
mod means;
mod metric;
mod panel;
mod sample;
mod slices;
mod spec;
#[cfg(test)]
mod tests;

pub use cone::{Cone, Course, Forecast, Reading, Split};
pub use metric::{Evidence, MetricState, Traffic};
pub use panel::{Decision, Judge, Look, MetricView, Observation, Standing, Verdict, Why};
pub use sample::Sample;
pub use slices::Slice;
pub use spec::{
    AGREEMENT, Amount, Better, ERRORS, Kind, LATENCY, Metric, REFUSALS, SCORES_APART, Slices, Spec,
    SpecError, Tier,
};
