//! `tidemill demo`, the whole year: how long it takes and what it needs.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::bench::report::{Line, Row, number};
use crate::bench::session::{Phase, Scenario, Session};

const DEMO: &str = "demo";
const OURS: [&str; 1] = [crate::bench::server::OURS];
/// Three minutes on two cores, in a gigabyte.
const LIMIT: (f64, f64) = (180.0, 1_000.0);

/// Measures the row.
pub(in super::super) fn measure(session: &Session) -> Result<Vec<Row>> {
    let folder = session.folder(DEMO)?;
    let arguments: &[&str] = if session.smoke {
        &["demo", "--json", "--share", "10", "--months", "1"]
    } else {
        &["demo", "--json"]
    };
    let phase = Phase::new(DEMO, || session.tidemill(&folder, arguments));
    let scenarios = [Scenario { tool: OURS[0], phases: vec![phase.value(|| saved(session))] }];
    let measured = session.alternate(&scenarios)?;
    let note = |saved: &[f64]| {
        let least = saved.iter().copied().reduce(f64::min).unwrap_or_default();
        format!(
            "no request failed, the mis-joined release went back; {} less than never to retrain",
            number(least)
        )
    };
    let row = measured.row(DEMO, "April to December of the flights, request by request", &OURS, note);
    let (wall, peak) =
        row.line(OURS[0]).map_or((0.0, 0.0), |line| (Line::wall(line), line.peak() as f64 / 1e6));
    Ok(vec![row.below("wall", wall, LIMIT.0, "s").below("peak", peak, LIMIT.1, "MB")])
}

/// What the year cost less than it would have without any retraining, in the objective's currency. The demo's JSON is the end of what it
/// printed.
fn saved(session: &Session) -> Result<f64> {
    let printed = fs_err::read_to_string(session.scratch.join("measured.log"))?;
    let begin = printed.find("\n{").context("the demo printed no JSON")?;
    let told: Value = serde_json::from_str(&printed[begin..]).context("cannot read what the demo printed")?;
    ensure!(told["failed"] == 0, "requests failed: {}", told["failed"]);
    let rollouts = told["rollouts"].as_array().context("the demo tells of no rollout")?;
    let harmful = rollouts.iter().find(|one| one["is_harmful"] == true);
    if !session.smoke {
        ensure!(
            harmful.is_some_and(|one| one["phase"] == "rolled-back"),
            "the mis-joined release stayed: {harmful:?}"
        );
    }
    let cost = |policy: usize| told["policies"][policy]["cost"].as_f64().context("a policy without its cost");
    Ok(cost(1)? - cost(0)?)
}
