//! What came of it, for people and for programs.

use serde_json::{Value, json};
use tidemill_deliver::judge::{Kind, LATENCY, REFUSALS};
use tidemill_deliver::rollout::Stage;
use tidemill_deliver::simulate::{Part, Quantiles, Summary, span};

use super::{Played, Simulate, candidates};
use crate::app::App;
use crate::output::{Align, Table, count, number, plural};

/// More healthy candidates than this without a verdict are worth a warning.
const OFTEN_OPEN: f64 = 0.2;

pub(super) fn people(played: &Played, app: &App<'_>) -> anyhow::Result<()> {
    let console = app.console;
    head(played, app);
    let mut table = Table::new(&[
        ("candidate", Align::Left),
        ("shipped", Align::Right),
        ("rolled back", Align::Right),
        ("no verdict", Align::Right),
        ("median", Align::Right),
        ("9 of 10", Align::Right),
        ("requests", Align::Right),
    ]);
    for (candidate, summary) in &played.results {
        let name = candidate
            .metric
            .as_ref()
            .map_or_else(|| candidate.amount.clone(), |metric| format!("{metric} {}", candidate.amount));
        table.row([
            name,
            part(summary.shipped),
            part(summary.rolled_back),
            format!("{:.1} %", 100.0 * open(summary)),
            time(summary.hours.median),
            time(summary.hours.p90),
            median(summary.requests),
        ]);
    }
    console.table(&table);
    let Some((_, healthy)) = played.results.first() else { return Ok(()) };
    console.line("");
    console.line(format!("a healthy candidate, stage by stage ({})", plural(healthy.repetitions, "rollout")));
    let mut stages = Table::new(&[
        ("stage", Align::Left),
        ("came to it", Align::Right),
        ("went on", Align::Right),
        ("rolled back", Align::Right),
        ("median", Align::Right),
        ("9 of 10", Align::Right),
        ("requests", Align::Right),
        ("of the candidate", Align::Right),
    ]);
    for stage in &healthy.stages {
        stages.row([
            played.scene.stages.get(stage.stage).map(stage_name).unwrap_or_default(),
            count(stage.entered),
            count(stage.advanced),
            count(stage.rolled_back),
            time(stage.hours.median),
            time(stage.hours.p90),
            median(stage.requests),
            median(stage.candidate),
        ]);
    }
    console.table(&stages);
    verdict(played, app);
    Ok(())
}

fn head(played: &Played, app: &App<'_>) {
    let console = app.console;
    let judge = &played.scene.judge;
    let stages: Vec<String> = played.scene.stages.iter().map(stage_name).collect();
    let split = match played.scene.candidates {
        0 | 1 => String::new(),
        several => format!(", split among {several} candidates of which one is played"),
    };
    console.line(format!(
        "`{}` in `{}`: {}; error budget {} %{split}",
        played.endpoint,
        played.environment,
        stages.join(", "),
        number(100.0 * judge.error_budget)
    ));
    let an_hour = number(played.scene.pace.mean());
    match &played.recent {
        Some(recent) if recent.requests > 0 => {
            let sampled = if recent.sample < 1.0 {
                format!(", {} % of them recorded", number(100.0 * recent.sample))
            } else {
                String::new()
            };
            let outcomes = if recent.rows > 0 {
                format!(", {} with outcomes", plural(recent.rows, "row"))
            } else {
                String::new()
            };
            console.line(format!(
                "{an_hour} requests an hour; {} since {}{sampled}{outcomes}",
                plural(recent.requests, "request"),
                recent.from
            ));
        }
        _ => console.line(format!("{an_hour} requests an hour, as assumed")),
    }
    for (metric, source) in judge.metrics.iter().zip(&played.scene.sources) {
        let Some(source) = source else { continue };
        let what = match &metric.kind {
            Kind::EventRate { tolerate, reject, .. } => {
                let slow = played
                    .recent
                    .as_ref()
                    .and_then(|recent| recent.slow_us)
                    .filter(|_| metric.name == LATENCY);
                let slow = slow.filter(|slow| *slow < u64::MAX).map_or_else(String::new, |slow| {
                    format!(" (slower than {} ms)", number(slow as f64 / 1_000.0))
                });
                format!(
                    "{} % of requests{slow}; tolerates {}x, rejects {}x",
                    number(100.0 * source.level),
                    number(*tolerate),
                    number(*reject)
                )
            }
            Kind::BoundedMean { reject, .. } | Kind::Paired { reject, .. } => {
                let known = if source.delay > 0.0 {
                    format!(", known after {}", span(source.delay))
                } else {
                    String::new()
                };
                let same =
                    if matches!(metric.kind, Kind::Paired { .. }) { " on the same requests" } else { "" };
                format!("mean {}; rejects {} more{same}{known}", number(source.level), number(*reject))
            }
            _ => format!("mean {}", number(source.level)),
        };
        console.line(format!("  {}: {what}", metric.name));
    }
    for by in judge.slices.iter().flat_map(|slices| &slices.by) {
        let known = played.scene.slices.iter().find(|column| column.name == *by);
        console.line(match known {
            Some(column) => {
                let values = column.values.iter().take(3).map(|(value, share)| {
                    format!("{} {} %", value.as_deref().unwrap_or("others"), number(100.0 * share))
                });
                let more = if column.values.len() > 3 { ", …" } else { "" };
                format!("  slices by {by}: {}{more}", values.collect::<Vec<_>>().join(", "))
            }
            None => format!("  slices by {by}: not played, since nothing is known of it; see `--slice`"),
        });
    }
    console.line("");
}

/// What it comes to, in a few sentences.
fn verdict(played: &Played, app: &App<'_>) {
    let console = app.console;
    let Some((_, healthy)) = played.results.first() else { return };
    let budget = played.scene.judge.error_budget / played.scene.candidates.max(1) as f64;
    let its = if played.scene.candidates > 1 { "its part of the budget" } else { "the budget" };
    console.line("");
    console.line(format!(
        "false rollback: {} of healthy candidates; {its} is {} %",
        part(healthy.rolled_back),
        number(100.0 * budget)
    ));
    for (candidate, summary) in &played.results {
        let Some((slice, _)) = summary.slices.first() else { continue };
        let name = candidate.metric.as_ref().map_or("healthy", String::as_str);
        console.line(format!(
            "{name} {}: {} of {} for a slice alone, most often {slice}",
            if candidate.metric.is_some() { candidate.amount.as_str() } else { "candidates" },
            summary.slices.iter().map(|(_, runs)| runs).sum::<u64>(),
            plural(summary.rolled_back.count, "rollback"),
        ));
    }
    for (candidate, summary) in played.results.iter().filter(|(candidate, _)| candidate.is_limit) {
        let metric = candidate.metric.as_deref().unwrap_or_default();
        console.line(format!(
            "missed: {} of candidates at the `reject` limit of {metric} were shipped",
            part(summary.shipped)
        ));
    }
    for (candidate, summary) in &played.results {
        let (name, wrong) = match &candidate.metric {
            None => ("a healthy candidate", summary.rolled_back),
            Some(metric) if candidate.is_limit => (metric.as_str(), summary.shipped),
            Some(_) => continue,
        };
        if wrong.low > budget {
            console.warn(format!(
                "more errors than the budget allows were seen for {name}; please report this plan"
            ));
        }
    }
    let open = open(healthy);
    if open > OFTEN_OPEN {
        let waited = healthy.waited_for.first().map(|(metric, _)| candidates::base(metric).to_owned());
        let waited = waited.map_or_else(String::new, |metric| format!("; they wait for `{metric}`"));
        console.warn(format!(
            "{:.0} % of healthy candidates have no verdict after {}{waited}",
            100.0 * open,
            span(played.scene.horizon.as_secs_f64() / 3_600.0)
        ));
        console.hint(
            "raise the shares, widen `reject`, prove it in a shadow (`until: verdict`), or give it more time",
        );
    }
}

fn stage_name(stage: &Stage) -> String {
    let percent = |share: u32| number(f64::from(share) / 100.0);
    match stage {
        Stage::Shadow { .. } => "shadow".to_owned(),
        Stage::Canary { share, .. } => format!("canary {} %", percent(*share)),
        Stage::Gate { .. } => "gate".to_owned(),
        Stage::Full { .. } => "full".to_owned(),
    }
}

/// A share with its interval.
fn part(part: Part) -> String {
    format!("{:.1} % ({:.1}–{:.1})", 100.0 * part.share, 100.0 * part.low, 100.0 * part.high)
}

/// The part of rollouts that had no verdict.
fn open(summary: &Summary) -> f64 {
    summary.timed_out.share + summary.undecided.share
}

/// The middle number of requests.
fn median(requests: Quantiles) -> String {
    requests.median.map_or_else(|| "-".to_owned(), |median| count(median as u64))
}

fn time(hours: Option<f64>) -> String {
    hours.map_or_else(|| "-".to_owned(), span)
}

pub(super) fn json(args: &Simulate, played: &Played, app: &App<'_>) -> anyhow::Result<()> {
    let recent = played.recent.as_ref().map(|recent| {
        json!({
            "from": recent.from.to_string(), "until": recent.until.to_string(), "requests": recent.requests,
            "failed": recent.failed, "slow_us": recent.slow_us, "rows_with_outcomes": recent.rows, "recorded": recent.sample,
        })
    });
    let metrics: Vec<Value> = played
        .scene
        .judge
        .metrics
        .iter()
        .zip(&played.scene.sources)
        .filter(|(metric, _)| metric.name != REFUSALS)
        .map(|(metric, source)| json!({"metric": metric, "seen": source}))
        .collect();
    let candidates: Vec<Value> = played
        .results
        .iter()
        .map(|(candidate, summary)| {
            json!({
                "metric": candidate.metric, "harm": candidate.amount, "at_limit": candidate.is_limit, "summary": summary,
            })
        })
        .collect();
    let assumed: serde_json::Map<String, Value> =
        args.assume.iter().map(|one| (one.name.clone(), json!(one.figure))).collect();
    app.console.value(&json!({
        "environment": played.environment, "endpoint": played.endpoint, "seed": args.seed,
        "repetitions": args.repetitions, "horizon_hours": played.scene.horizon.as_secs_f64() / 3_600.0,
        "error_budget": played.scene.judge.error_budget, "tried_together": played.scene.candidates,
        "requests_an_hour": played.scene.pace.mean(),
        "stages": played.scene.stages, "recent": recent, "assumed": assumed,
        "disagreement": played.known.disagreement, "metrics": metrics, "candidates": candidates,
        "slices": played.scene.judge.slices, "slices_played": played.scene.slices,
    }))
}
