//! Histories of metrics.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tidemill_core::{RunId, Timestamp};
use tidemill_db::tracking::{HistoryPoint, WholeHistory};

use crate::{Error, Registry, Result, validate};

/// Most runs of one request for several.
const RUNS: usize = 100;
/// Most points of one request for several runs.
const POINTS: usize = 25_000;
/// Most points of each run in a sample.
const SAMPLE: i64 = 2500;

/// Some points of a history, and what to ask for the next ones with.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricPage {
    /// In the order of time, step and value.
    pub points: Vec<HistoryPoint>,
    /// None at the end.
    pub next: Option<String>,
}

impl Registry {
    /// A page of a metric's history. A run or a metric that is not there has none.
    pub async fn metric_page(
        &self,
        run: &str,
        key: &str,
        most: i64,
        token: Option<&str>,
    ) -> Result<MetricPage> {
        let most = usize::try_from(most).ok().filter(|most| *most > 0).ok_or_else(|| {
            Error::invalid(format!(
                "Invalid value {most} for parameter 'max_results' supplied. It must be a positive integer."
            ))
        })?;
        let after = Self::metric_mark(token)?;
        let Ok(run) = validate::run_id(run) else {
            return Ok(MetricPage { points: Vec::new(), next: None });
        };
        let mut points = self.db.metric_history(run, key, after, most.saturating_add(1)).await?;
        let more = points.len() > most;
        points.truncate(most);
        let next = points.last().filter(|_| more).map(write_token);
        Ok(MetricPage { points, next })
    }

    /// Where a page begins: after the point that its token names.
    pub fn metric_mark(token: Option<&str>) -> Result<Option<HistoryPoint>> {
        token.filter(|token| !token.is_empty()).map(read_token).transpose()
    }

    /// The points after `after`, to be read part by part without tokens.
    pub async fn whole_history(
        &self,
        run: &str,
        key: &str,
        after: Option<HistoryPoint>,
    ) -> Result<Option<WholeHistory>> {
        let Ok(run) = validate::run_id(run) else { return Ok(None) };
        Ok(Some(self.db.whole_history(run, key, after).await?))
    }

    /// The histories of one metric of several runs, ordered by run; at most 25,000 points altogether.
    pub async fn metric_bulk(
        &self,
        runs: &[String],
        key: &str,
        most: Option<i64>,
    ) -> Result<Vec<(RunId, Vec<HistoryPoint>)>> {
        if runs.is_empty() {
            return Err(Error::invalid("GetMetricHistoryBulk request must specify at least one run_id."));
        }
        if runs.len() > RUNS {
            let count = runs.len();
            return Err(Error::invalid(format!(
                "GetMetricHistoryBulk request cannot specify more than {RUNS} run_ids. Received {count} run_ids."
            )));
        }
        let mut room = most.map_or(POINTS, |most| usize::try_from(most).unwrap_or(0).min(POINTS));
        let mut ids = known(runs);
        ids.sort_unstable();
        let mut found = Vec::new();
        for run in ids {
            if room == 0 {
                break;
            }
            let points = self.db.metric_history(run, key, None, room).await?;
            room -= points.len();
            found.push((run, points));
        }
        Ok(found)
    }

    /// For charts: at most `most` points of each run, evenly taken, in the order of step, time and value.
    pub async fn metric_samples(
        &self,
        runs: &[String],
        key: &str,
        steps: (Option<i64>, Option<i64>),
        most: Option<i64>,
    ) -> Result<Vec<(RunId, Vec<HistoryPoint>)>> {
        const HINT: &str = "See the API docs for more information about request parameters.";
        if runs.len() > RUNS {
            let count = runs.len();
            return Err(Error::invalid(format!(
                "GetMetricHistoryBulkInterval request must specify at most {RUNS} run_ids. Received {count} run_ids. \
                 {HINT}"
            )));
        }
        let most = most.unwrap_or(SAMPLE);
        if !(1..=SAMPLE).contains(&most) {
            return Err(Error::invalid(format!("max_results must be between 1 and {SAMPLE}. {HINT}")));
        }
        let steps = match steps {
            (Some(from), Some(to)) if from > to => {
                return Err(Error::invalid(format!(
                    "end_step must be greater than start_step. Found start_step={from} and end_step={to}."
                )));
            }
            (Some(from), Some(to)) => Some((from, to)),
            (None, None) => None,
            _ => {
                return Err(Error::invalid(
                    "If either start step or end step are specified, both must be specified.",
                ));
            }
        };
        Ok(self.db.metric_samples(&known(runs), key, steps, most as usize).await?)
    }
}

/// Those that can be runs at all, each once.
fn known(runs: &[String]) -> Vec<RunId> {
    let mut ids = Vec::with_capacity(runs.len());
    for id in runs.iter().filter_map(|run| validate::run_id(run).ok()) {
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    ids
}

/// The last point of a page: the next page begins after it, whatever was logged in between.
fn write_token(point: &HistoryPoint) -> String {
    let text = serde_json::json!([point.step, point.at.millis(), point.value.to_bits()]).to_string();
    STANDARD.encode(text)
}

fn read_token(token: &str) -> Result<HistoryPoint> {
    let bytes =
        STANDARD.decode(token).map_err(|_| Error::invalid("Invalid page token, could not base64-decode"))?;
    let (step, at, bits): (i64, i64, u64) = serde_json::from_slice(&bytes).map_err(|_| {
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        Error::invalid(format!("Invalid page token, decoded value={shown}"))
    })?;
    Ok(HistoryPoint { step, at: Timestamp::from_millis(at), value: f64::from_bits(bits) })
}
