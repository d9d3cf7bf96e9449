//! What would have fired: the windows of the past, judged as the loop would have, without writing anything.

use tidemill_core::Timestamp;
use tidemill_db::Db;
use tidemill_monitor::alert::Change;
use tidemill_monitor::window::Window;
use tidemill_monitor::{Declaration, Memory, Verdict};
use tidemill_registry::Registry;
use tidemill_serve::record::{LogError, Reader};

use super::due::{Known, Now, due_windows};
use super::judge::{Sources, judge_windows};
use super::reference::References;
use super::spans::Spans;

/// What a backtest came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Backtest {
    /// Every window, in the order of series and time.
    pub windows: Vec<Fired>,
}

/// A window of the past.
#[derive(Clone, Debug, PartialEq)]
pub struct Fired {
    /// The series.
    pub watch: String,
    /// The window.
    pub window: Window,
    /// Its predictions.
    pub predictions: u64,
    /// What it comes to.
    pub verdict: Verdict,
    /// What would have become of the alert.
    pub change: Option<Change>,
}

/// Judges every window of the records of an endpoint that came at or after `from` and before `to`, with labels as they are known
/// today. Windows that are not over, or not mature, are left out.
///
/// # Errors
///
/// What database, store and log refuse.
pub async fn backtest(
    registry: &Registry,
    reader: &Reader,
    scratch: std::path::PathBuf,
    declaration: &Declaration,
    (from, to): (Option<Timestamp>, Option<Timestamp>),
) -> Result<Backtest, LogError> {
    let db: &Db = registry.db();
    let mut known: Vec<Known> =
        declaration.watches().into_iter().map(|watch| (watch, Memory::default())).collect();
    let mut spans = Spans::new(known.iter().map(|(watch, _)| watch));
    spans.read_all(reader, &declaration.endpoint, (from, to)).await?;
    let is_dated = spans.is_dated(None);
    let arrived = registry.clock().now();
    let watermark = spans.latest_said().filter(|_| is_dated).map_or(arrived, |latest| latest.min(arrived));
    let now = Now { watermark, arrived, is_dated, has_begun: !spans.is_empty(), live: None };
    let mut references = References::new(registry, scratch);
    let (mut windows, mut last) = (Vec::new(), std::collections::BTreeMap::new());
    loop {
        let due = due_windows(&known, &spans, now);
        if due.iter().all(Vec::is_empty) {
            break;
        }
        let mut sources = Sources { db, reader, store: None, references: &mut references, last: &mut last };
        let made =
            judge_windows(&mut sources, declaration, &mut known, (&due, &spans), now, (from, to)).await?;
        windows.extend(made.into_iter().map(|made| Fired {
            watch: made.watch.id,
            window: made.window,
            predictions: made.predictions,
            verdict: made.remembered.verdict,
            change: made.remembered.change,
        }));
    }
    windows.sort_by(|a, b| a.watch.cmp(&b.watch).then(a.window.cmp(&b.window)));
    Ok(Backtest { windows })
}
