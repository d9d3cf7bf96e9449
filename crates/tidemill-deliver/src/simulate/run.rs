//! Many runs of one candidate, on several threads, the same whatever their number is.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tidemill_stats::random::Random;

use super::play::{Run, Scene, play};
use super::sliced::Within;
use super::source::{Distribution, Harm};
use crate::judge::{Judge, Slice, SpecError};

/// The most runs of one candidate: each keeps a few numbers until all are done.
pub const MOST_REPETITIONS: u64 = 100_000;

/// Why nothing is simulated.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SimulateError {
    /// The judge cannot be.
    #[error(transparent)]
    Judge(#[from] SpecError),
    /// A harm that no metric has.
    #[error("metric `{0}` has no such harm, or nothing is known of it")]
    Harm(String),
    /// A slice of which nothing is known.
    #[error("nothing is known of the slice `{0}`")]
    Slice(Slice),
    /// It was stopped.
    #[error("the simulation was stopped")]
    Stopped,
}

/// How a candidate differs from the incumbent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Harms {
    /// By the place of their metric.
    pub by: Vec<(usize, Harm)>,
    /// The slice in which it does, healthy elsewhere; none where it does everywhere.
    pub within: Option<Slice>,
}

/// Plays `repetitions` rollouts of a candidate with these harms on so many threads. Repetition *n* of a seed is always the same. After each,
/// `goes_on` says whether there is to be another one.
///
/// # Errors
///
/// Where the judge cannot be, there is no such harm or slice, or `goes_on` ended it.
pub fn simulate(
    scene: &Scene,
    harms: &Harms,
    (seed, repetitions): (u64, u64),
    threads: usize,
    goes_on: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<Run>, SimulateError> {
    let mut spec = scene.judge.clone();
    spec.error_budget /= scene.candidates.max(1) as f64;
    let judge = Judge::new(spec)?;
    let harmed = candidate(scene, &harms.by)?;
    let within = harms.within.clone().map(|slice| within(scene, slice, harmed.clone())).transpose()?;
    let candidate = if within.is_some() { candidate(scene, &[])? } else { harmed };
    let repetitions = repetitions.min(MOST_REPETITIONS);
    let (next, stopped) = (AtomicU64::new(0), AtomicBool::new(false));
    let runs: Mutex<Vec<(u64, Run)>> = Mutex::new(Vec::with_capacity(repetitions as usize));
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, repetitions.max(1) as usize) {
            scope.spawn(|| {
                while !stopped.load(Ordering::Relaxed) {
                    let repetition = next.fetch_add(1, Ordering::Relaxed);
                    if repetition >= repetitions {
                        return;
                    }
                    let mut random = Random::new(seed, repetition);
                    let run = play(scene, judge.clone(), (&candidate, within.as_ref()), &mut random);
                    // A thread that ended badly ends the scope too, so the list is whole wherever it is read.
                    runs.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((repetition, run));
                    if !goes_on() {
                        stopped.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let mut runs = runs.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    if (runs.len() as u64) < repetitions {
        return Err(SimulateError::Stopped);
    }
    runs.sort_unstable_by_key(|(repetition, _)| *repetition);
    Ok(runs.into_iter().map(|(_, run)| run).collect())
}

/// A candidate that is so in one slice.
fn within(
    scene: &Scene,
    slice: Slice,
    candidate: Vec<Option<Distribution>>,
) -> Result<Within, SimulateError> {
    let column = scene.slices.iter().find(|column| column.name == slice.column);
    let share = column
        .and_then(|column| column.share(slice.value.as_deref()))
        .ok_or_else(|| SimulateError::Slice(slice.clone()))?;
    Ok(Within { slice, share, candidate })
}

/// What the candidate is like in each metric.
fn candidate(scene: &Scene, harms: &[(usize, Harm)]) -> Result<Vec<Option<Distribution>>, SimulateError> {
    let metrics = scene.judge.metrics.iter().zip(&scene.sources).enumerate();
    metrics
        .map(|(at, (metric, source))| {
            let harm = harms.iter().find(|(of, _)| *of == at).map(|(_, harm)| *harm);
            let refused = || SimulateError::Harm(metric.name.clone());
            match (source, harm) {
                (None, None) => Ok(None),
                (None, Some(_)) => Err(refused()),
                (Some(source), harm) => {
                    source.harmed(&metric.kind, harm.unwrap_or(Harm::None)).map(Some).ok_or_else(refused)
                }
            }
        })
        .collect()
}
