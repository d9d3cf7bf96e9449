//! What a plan will do, before it does it: its own judge on traffic that is drawn anew from what was seen, many times over.
//!
//! How often does it roll a healthy candidate back, how often does a harmful one pass, and how long does either take? Everything is a pure
//! function of scene, candidate and seed. Here is no statistic of its own: looks go to [`Judge`](crate::judge::Judge), stages end by
//! their [`Until`](crate::rollout::Until), as in a rollout.
//!
//! What is simplified, and said in the guide: metrics are drawn independently of each other, people agree at once, arms are assigned by
//! request, looks are as close as those of a server only at the beginning of a stage ([`GROWTH`], [`SLICE_GROWTH`]), and requests are alike in
//! all slices but the one that is harmed.

mod known;
mod pace;
mod play;
mod power;
mod run;
mod sliced;
mod source;
mod summary;
#[cfg(test)]
mod tests;

pub use known::{DISAGREEMENT, Known};
pub use pace::Pace;
pub use play::{Ending, GROWTH, Passed, Run, Scene};
pub use power::{Adequacy, Otherwise, Power, adequacy, span};
pub use run::{Harms, MOST_REPETITIONS, SimulateError, simulate};
pub use sliced::{Column, SLICE_GROWTH};
pub use source::{Distribution, Harm, MOST_POINTS, Source};
pub use summary::{Part, Quantiles, StageSummary, Summary};
