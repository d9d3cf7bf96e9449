//! Whether a plan can decide in the time that it has: one of the gates before the first request.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::play::{Ending, Scene};
use super::run::{Harms, SimulateError, simulate};
use super::summary::{Summary, quantile};

/// Runs that are enough to tell days from hours.
const RUNS: u64 = 200;
/// The part of healthy candidates that must pass in time: the usual power of a test.
const ENOUGH: f64 = 0.8;
/// Times beyond this are told as "more than".
const LONGEST: Duration = Duration::from_secs(180 * 24 * 3_600);
const SEED: u64 = 1;

/// What is demanded of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Power {
    /// In so long most healthy candidates must have passed all stages.
    pub decide_within: Duration,
    /// What happens to a plan that cannot.
    #[serde(default)]
    pub otherwise: Otherwise,
}

/// What happens to a plan that cannot decide in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Otherwise {
    /// The gate says so, and the rollout begins.
    #[default]
    Warn,
    /// The rollout does not begin.
    Refuse,
}

/// Whether it can.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adequacy {
    /// Most healthy candidates pass in time.
    pub is_enough: bool,
    /// The part of healthy candidates that pass in time, from 0 to 1.
    pub in_time: f64,
    /// Hours in which four of five pass; none where that is longer than half a year.
    pub hours: Option<f64>,
    /// Requests an hour that it was reckoned with.
    pub an_hour: f64,
    /// The metric that is waited for most often.
    pub slowest: Option<String>,
    /// The same in words.
    pub words: String,
}

/// Plays a few hundred rollouts of a healthy candidate, as long as `goes_on` says so. The scene's horizon is not looked at.
///
/// # Errors
///
/// Where the judge cannot be, or `goes_on` ended it.
pub fn adequacy(
    scene: &Scene,
    power: Power,
    goes_on: &(dyn Fn() -> bool + Sync),
) -> Result<Adequacy, SimulateError> {
    let an_hour = scene.pace.mean();
    // Of what nothing can be seen nothing is decided, however long it takes.
    let unseen = scene
        .judge
        .metrics
        .iter()
        .zip(&scene.sources)
        .find(|(metric, source)| source.is_none() && metric.needs_proof());
    let horizon = if unseen.is_some() || an_hour <= 0.0 {
        power.decide_within
    } else {
        LONGEST.max(power.decide_within)
    };
    let scene = Scene { horizon, ..scene.clone() };
    let runs = simulate(&scene, &Harms::default(), (SEED, RUNS), 1, goes_on)?;
    let most = hours(power.decide_within);
    let mut times: Vec<Option<f64>> =
        runs.iter().map(|run| (run.ending == Ending::Shipped).then(|| run.hours())).collect();
    let in_time = times.iter().flatten().filter(|hours| **hours <= most).count() as f64 / times.len() as f64;
    let needed = quantile(&mut times, ENOUGH);
    let summary = Summary::of(&scene.judge, &runs);
    let slowest = summary.waited_for.first().map(|(metric, _)| metric.clone());
    let is_enough = in_time >= ENOUGH;
    let unseen = unseen.map(|(metric, _)| metric.name.as_str());
    let timed_out = summary.timed_out.count;
    let words = Words { an_hour, in_time, needed, most, slowest: slowest.as_deref(), unseen, timed_out };
    let words = if is_enough { words.enough() } else { words.too_little() };
    Ok(Adequacy { is_enough, in_time, hours: needed, an_hour, slowest, words })
}

struct Words<'a> {
    an_hour: f64,
    in_time: f64,
    needed: Option<f64>,
    most: f64,
    slowest: Option<&'a str>,
    unseen: Option<&'a str>,
    timed_out: u64,
}

impl Words<'_> {
    fn enough(&self) -> String {
        format!(
            "at {} this plan decides in {} (it has {}): {:.0} % of healthy candidates pass in time",
            requests(self.an_hour),
            self.needed.map_or_else(|| "time".to_owned(), span),
            span(self.most),
            100.0 * self.in_time
        )
    }

    fn too_little(&self) -> String {
        let (traffic, most) = (requests(self.an_hour), span(self.most));
        if self.an_hour <= 0.0 {
            return format!(
                "no requests were seen, so this plan decides nothing in {most}: send requests first, or say what to expect \
                with `tidemill rollout simulate --traffic`"
            );
        }
        if let Some(metric) = self.unseen {
            return format!(
                "nothing is known of `{metric}` in recent traffic, so it may never be decided: send its outcomes first, or \
                say what to expect with `tidemill rollout simulate --assume`"
            );
        }
        let what = self.slowest.map_or_else(|| "all stages".to_owned(), |metric| format!("`{metric}`"));
        let remedy =
            "raise the shares, widen `reject`, prove it in a shadow (`until: verdict`), or allow more time";
        if 2 * self.timed_out > RUNS {
            return format!(
                "at {traffic} the longest time of a stage (`max`) is over before {what} is decided in {:.0} % of runs, and a \
                person would have to: {remedy}",
                100.0 * self.timed_out as f64 / RUNS as f64
            );
        }
        let needed = self.needed.map_or_else(
            || format!("more than {}", span(hours(LONGEST))),
            |needed| format!("about {}", span(needed)),
        );
        format!("at {traffic} this plan needs {needed} to decide {what}, and has {most}: {remedy}")
    }
}

fn hours(duration: Duration) -> f64 {
    duration.as_secs_f64() / 3_600.0
}

fn requests(an_hour: f64) -> String {
    if an_hour >= 10.0 {
        format!("{an_hour:.0} requests an hour")
    } else {
        format!("{an_hour:.1} requests an hour")
    }
}

/// A length of time for people.
pub fn span(hours: f64) -> String {
    match hours {
        hours if hours >= 72.0 => format!("{:.0} days", hours / 24.0),
        hours if hours >= 10.0 => format!("{hours:.0} h"),
        hours if hours >= 1.0 => format!("{hours:.1} h"),
        hours if hours >= 1.0 / 60.0 => format!("{:.0} min", 60.0 * hours),
        hours => format!("{:.0} s", (3_600.0 * hours).max(1.0)),
    }
}
