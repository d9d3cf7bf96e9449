//! Room for a candidate beside memory: time of the processors, time of a request, and disk for the log of requests. Measured, not declared:
//! the candidate has scored its golden rows on this machine, and the log knows how much was asked in the busiest hour.

use std::collections::BTreeMap;
use std::time::Duration;

use tidemill_core::Digest;
use tidemill_core::words::number;
use tidemill_db::records::{HOUR_MS, RecordFilter};
use tidemill_deliver::rollout::{Plan, Stage};
use tidemill_registry::Error;
use tidemill_serve::gateway::model::Loaded;

use super::mature::back;
use super::recent::sampled;
use crate::App;

/// How far back is looked for the busiest hour.
const SINCE: Duration = Duration::from_secs(7 * 24 * 3_600);
/// The log must have room for so many days like the busiest one.
const DAYS: u64 = 1;

/// What was asked of an endpoint lately.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Load {
    /// Rows a second in the busiest hour.
    rows: f64,
    /// Bytes of the log in the busiest 24 hours.
    log: u64,
}

/// What there is on this machine.
#[derive(Clone, Copy, Debug)]
struct Room {
    /// Processors.
    cores: f64,
    /// How long a request may take.
    timeout: Duration,
    /// Bytes that are free where the log is; none where that cannot be told.
    disk: Option<u64>,
}

/// How long models take for a row, at least; none where they have no golden rows.
#[derive(Clone, Copy, Debug)]
struct Pace {
    candidate: Option<Duration>,
    incumbent: Option<Duration>,
    /// Whether both answer the same requests for some time.
    beside: bool,
}

/// Why there is no room for candidates, each with the one that it is about; what is about none comes first.
pub(super) async fn headroom(
    app: &App,
    plan: &Plan,
    candidates: &[(Digest, &Loaded)],
    incumbent: Option<&Loaded>,
) -> Vec<String> {
    let Some(serving) = app.serving() else { return Vec::new() };
    let load = match load(app, &plan.endpoint).await {
        Ok(load) => load,
        Err(error) => return vec![format!("what was asked of the endpoint cannot be read: {error}")],
    };
    let disk = rustix::fs::statvfs(app.registry().store().dir()).ok();
    let room = Room {
        cores: std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64),
        timeout: serving.gateway().timeout(&plan.endpoint),
        disk: disk.map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize)),
    };
    let beside = plan.stages.iter().any(|stage| matches!(stage, Stage::Shadow { .. }));
    let mut problems: Vec<String> = no_disk(load, room).into_iter().collect();
    for (release, candidate) in candidates {
        let incumbent = incumbent.and_then(|incumbent| incumbent.row_time);
        let pace = Pace { candidate: candidate.row_time, incumbent, beside: beside && incumbent.is_some() };
        let of = plan.prefix(*release);
        problems.extend(too_slow(load, room, pace).into_iter().map(|problem| format!("{of}{problem}")));
    }
    problems
}

/// What the log says was asked.
async fn load(app: &App, endpoint: &str) -> Result<Load, Error> {
    let db = app.registry().db();
    let from = back(app.registry().clock().now(), SINCE);
    let filter =
        RecordFilter { endpoint: Some(endpoint.to_owned()), from: Some(from), ..RecordFilter::default() };
    let (parts, _) = db.record_parts(&filter, &[]).await?;
    let hours: Vec<(i64, u64, u64)> = parts.iter().map(|part| (part.hour, part.rows, part.bytes)).collect();
    Ok(busiest(&hours, sampled(db, endpoint).await))
}

/// The busiest hour and day of hours with rows and bytes, of which `sample` of all were kept.
fn busiest(hours: &[(i64, u64, u64)], sample: f64) -> Load {
    let mut of_hours: BTreeMap<i64, (u64, u64)> = BTreeMap::new();
    for (hour, rows, bytes) in hours {
        let sums = of_hours.entry(*hour).or_default();
        *sums = (sums.0.saturating_add(*rows), sums.1.saturating_add(*bytes));
    }
    let mut found = Load::default();
    for (hour, (rows, _)) in &of_hours {
        found.rows = found.rows.max(*rows as f64 / sample / (HOUR_MS as f64 / 1_000.0));
        let day = of_hours.range(*hour..*hour + 24);
        found.log = found.log.max(day.map(|(_, (_, bytes))| *bytes).fold(0, u64::saturating_add));
    }
    found
}

fn no_disk(load: Load, room: Room) -> Option<String> {
    let needed = load.log.saturating_mul(DAYS);
    let free = room.disk.filter(|free| *free < needed)?;
    let (needed, free) = (tidemill_ui::bytes(needed), tidemill_ui::bytes(free));
    Some(format!(
        "the log of requests grew by {needed} in the busiest day of the last 7, and {free} are free where it is: without it nothing is \
         known of outcomes; make room, or keep less of it with `records` of the endpoint"
    ))
}

fn too_slow(load: Load, room: Room, pace: Pace) -> Vec<String> {
    let Some(own) = pace.candidate else { return Vec::new() };
    let mut problems = Vec::new();
    let millis = |time: Duration| format!("{} ms", number(time.as_secs_f64() * 1e3));
    if own >= room.timeout {
        let (own, most) = (millis(own), millis(room.timeout));
        problems.push(format!(
            "it takes {own} for a row, and a request may take {most} (`timeout_ms` of the endpoint)"
        ));
    }
    let other = pace.incumbent.filter(|_| pace.beside).unwrap_or_default();
    let needed = load.rows * (own + other).as_secs_f64();
    // What runs now takes as long, so it was enough.
    let is_new = pace.incumbent.is_none_or(|incumbent| own > incumbent) || pace.beside;
    if needed > room.cores && is_new {
        let beside = if other.is_zero() {
            String::new()
        } else {
            format!(", and {} for what runs beside it", millis(other))
        };
        problems.push(format!(
            "it needs {} processors in the busiest hour of the last 7 days ({} rows a second, {} for each{beside}), and this server has {}: \
             let `tidemill serve` answer elsewhere, or make it smaller",
            number(needed),
            number(load.rows),
            millis(own),
            number(room.cores)
        ));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_hour_and_day() {
        assert_eq!(busiest(&[], 1.0), Load::default());
        // Two parts of one hour; 24 hours that are not those of a calendar.
        let hours = [(10, 3_600, 100), (10, 3_600, 50), (11, 36, 7), (33, 36, 1_000), (34, 36, 5)];
        assert_eq!(busiest(&hours, 1.0), Load { rows: 2.0, log: 1_157 });
        assert_eq!(busiest(&hours, 0.5).rows, 4.0);
    }

    #[test]
    fn what_there_is_no_room_for() {
        let ms = Duration::from_millis;
        let room = Room { cores: 2.0, timeout: ms(500), disk: Some(1_000_000) };
        let pace = |candidate, incumbent: Option<u64>, beside| Pace {
            candidate: Some(ms(candidate)),
            incumbent: incumbent.map(ms),
            beside,
        };
        let load = Load { rows: 100.0, log: 10 };
        for (pace, wanted) in [
            (pace(10, None, false), &[][..]),
            (pace(20, None, false), &[]),
            (
                pace(21, None, false),
                &[
                    "it needs 2.1 processors in the busiest hour of the last 7 days (100 rows a second, 21 ms for each), and",
                ],
            ),
            (pace(21, Some(25), false), &[]),
            (pace(21, Some(20), false), &["it needs 2.1 processors"]),
            (
                pace(10, Some(15), true),
                &[
                    "it needs 2.5 processors in the busiest hour of the last 7 days (100 rows a second, 10 ms for each, and 15 ms for what runs beside it)",
                ],
            ),
            (
                pace(500, None, false),
                &["it takes 500 ms for a row, and a request may take 500 ms", "it needs 50 processors"],
            ),
        ] {
            let found = too_slow(load, room, pace);
            assert_eq!(found.len(), wanted.len(), "{found:?}");
            assert!(found.iter().zip(wanted).all(|(found, wanted)| found.starts_with(wanted)), "{found:?}");
        }
        let unknown = Pace { candidate: None, incumbent: None, beside: false };
        assert_eq!(too_slow(load, room, unknown), [""; 0], "what was not measured is not judged");
        assert_eq!(no_disk(load, room), None);
        let said = no_disk(Load { log: 2_000_000, ..load }, room).unwrap();
        assert!(
            said.starts_with("the log of requests grew by ") && said.contains("are free where it is"),
            "{said}"
        );
        assert_eq!(no_disk(Load { log: u64::MAX, ..load }, Room { disk: None, ..room }), None);
    }
}
