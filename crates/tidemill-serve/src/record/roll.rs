//! Closed segments become Parquet in the store, each exactly once, and old records leave.
//!
//! The order is: files into the store (held against collection), one transaction that lists them together with the
//! segment's name, then the segment's file is removed. Killed before the transaction, the segment is rolled again, to
//! the same bytes; killed after it, the next start finds the name listed and only removes the file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tidemill_core::{Clock, Quiet, Timestamp};
use tidemill_db::Db;
use tidemill_db::records::NewRecordPart;
use tidemill_store::{AddOptions, Store};

use super::plan::Plan;
use super::segment::{SEALED, list, segment_name};
use super::{InferenceLog, LogError, stored};
use crate::priority::give_way;

/// Turns closed segments into Parquet.
#[derive(Clone)]
pub struct Roller {
    log: InferenceLog,
    db: Db,
    store: Store,
    clock: Arc<dyn Clock>,
}

/// What [`Roller::roll`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rolled {
    /// Segments.
    pub segments: u64,
    /// Parquet files.
    pub parts: u64,
    /// Rows in them.
    pub rows: u64,
}

/// What [`Roller::sweep`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Parts of the log.
    pub parts: u64,
    /// Outcomes.
    pub outcomes: u64,
}

/// How often old records are looked for.
const SWEEP: Duration = Duration::from_mins(10);
/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_secs(30);

impl Roller {
    /// For the segments of a log.
    pub fn new(log: InferenceLog, db: Db, store: Store, clock: Arc<dyn Clock>) -> Self {
        Self { log, db, store, clock }
    }

    /// Rolls segments whenever one is closed, and removes what is old, until it is dropped. Failures are logged and tried
    /// again.
    pub async fn run(&self) {
        let mut swept: Option<tokio::time::Instant> = None;
        loop {
            if let Err(error) = self.roll().await {
                tracing::error!(error = %error, "segments of the inference log could not become Parquet; they are kept");
                tokio::time::sleep(PAUSE).await;
            }
            if swept.is_none_or(|at| at.elapsed() >= SWEEP) {
                swept = Some(tokio::time::Instant::now());
                if let Err(error) = self.sweep().await {
                    tracing::error!(error = %error, "old records could not be removed");
                }
            }
            // A notice that came while we were at work is kept; time also passes for what another process closed.
            let _ = tokio::time::timeout(PAUSE, self.log.sealed()).await;
        }
    }

    /// Rolls every segment that is closed.
    ///
    /// # Errors
    ///
    /// What store, database or disk refuse; segments that are not rolled stay.
    pub async fn roll(&self) -> Result<Rolled, LogError> {
        let sealed: Vec<PathBuf> = list(&self.log.settings().dir)?
            .into_iter()
            .map(|(path, _)| path)
            .filter(|path| path.extension().is_some_and(|kind| kind == SEALED))
            .collect();
        let names: Vec<String> = sealed.iter().map(|path| segment_name(path)).collect();
        let (_, listed) = self.db.record_parts(&none(), &names).await?;
        let mut rolled = Rolled::default();
        for (path, name) in sealed.iter().zip(&names) {
            if !listed.contains(name) {
                let made = match self.roll_one(path, name).await {
                    Ok(made) => made,
                    Err(LogError::Damaged(why) | LogError::Foreign { why, .. }) => {
                        // One segment must not keep the others from becoming Parquet; nothing of it is thrown away.
                        tracing::error!(
                            segment = name,
                            why,
                            "a segment cannot be read; it is set aside as `.bad`"
                        );
                        fs_err::rename(path, path.with_extension("bad"))
                            .map_err(LogError::io("set aside", path))?;
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                rolled.segments += made.segments;
                rolled.parts += made.parts;
                rolled.rows += made.rows;
            }
            fs_err::remove_file(path).map_err(LogError::io("remove", path))?;
        }
        Ok(rolled)
    }

    async fn roll_one(&self, path: &Path, name: &str) -> Result<Rolled, LogError> {
        let hold = self.store.hold()?;
        let (store, segment) = (self.store.clone(), path.to_owned());
        let parts = giving_way(&format!("rolling `{name}`"), move || make_parts(&segment, &store)).await?;
        let is_new = self.db.add_record_parts(name, self.clock.now(), &parts).await?;
        drop(hold);
        let rows = parts.iter().map(|part| part.rows).sum();
        Ok(if is_new { Rolled { segments: 1, parts: parts.len() as u64, rows } } else { Rolled::default() })
    }

    /// Removes records and outcomes that are older than their endpoint keeps them, and the oldest records where there are
    /// more than it keeps. Files leave the store with its next collection.
    ///
    /// # Errors
    ///
    /// What the database refuses.
    pub async fn sweep(&self) -> Result<Swept, LogError> {
        let now = self.clock.now();
        let before = |keep: Duration| {
            Timestamp::from_millis(
                now.millis().saturating_sub(i64::try_from(keep.as_millis()).unwrap_or(i64::MAX)),
            )
        };
        let mut swept = Swept::default();
        let rules = self.log.rules();
        let mut endpoints: BTreeSet<String> = rules.endpoints().map(str::to_owned).collect();
        endpoints.extend(self.db.record_endpoints().await?);
        for endpoint in &endpoints {
            let Some(rules) = rules.of(endpoint) else { continue };
            if let Some(keep) = rules.keep {
                swept.parts += self.db.drop_record_parts(endpoint, before(keep), now).await?;
                swept.outcomes += self.db.drop_outcomes(endpoint, before(keep), now).await?;
            }
            if let Some(bytes) = rules.keep_bytes {
                swept.parts += self.db.drop_record_parts_beyond(endpoint, bytes, now).await?;
            }
        }
        let present: Vec<String> =
            list(&self.log.settings().dir)?.iter().map(|(path, _)| segment_name(path)).collect();
        // A day is long after the file of a rolled segment is gone.
        self.db.drop_record_segments(before(Duration::from_secs(86_400)), &present).await?;
        Ok(swept)
    }
}

/// How far the thread of the roller stands behind those that answer requests: with all processors busy it gets about a quarter of what one of
/// them gets, so that it lags behind rather than they.
const BEHIND: i32 = 6;

/// Does work on threads of its own that give way to all others; `doing` says what, for where it panics.
async fn giving_way<T: Send + 'static>(
    doing: &str,
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    let (done, result) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("roller".to_owned()).spawn(move || {
        give_way(BEHIND, "the roller");
        // Nobody waits any more where the roller was stopped.
        let _ = done.send(alone(work));
    });
    thread.map_err(LogError::io("start a thread of the roller of", Path::new("the log")))?;
    result.await.map_err(|_| LogError::Damaged(format!("{doing} failed: it panicked")))?
}

/// Does on one thread what is otherwise spread over those of the process, on which it would give way to nobody. A new thread stands where the one
/// stands that starts it.
fn alone<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    match rayon::ThreadPoolBuilder::new().num_threads(1).thread_name(|_| "roller".to_owned()).build() {
        Ok(pool) => pool.install(work),
        Err(error) => {
            tracing::debug!(%error, "the roller has no thread of its own");
            work()
        }
    }
}

/// A filter that no part fits, for asking about segments only.
fn none() -> tidemill_db::records::RecordFilter {
    tidemill_db::records::RecordFilter { after: i64::MAX, ..Default::default() }
}

/// Writes the tables of a segment into the store; durable on return.
fn make_parts(segment: &Path, store: &Store) -> Result<Vec<NewRecordPart>, LogError> {
    let Some(mut plan) = Plan::read(segment)? else { return Ok(Vec::new()) };
    let endpoint = plan.endpoint();
    let scratch = tempfile::tempdir().map_err(LogError::io("make a scratch folder for", segment))?;
    let mut parts = Vec::new();
    let mut paths = Vec::new();
    for index in 0..plan.groups.len() {
        let Some(group) = plan.groups.get(index) else { continue };
        let schema = plan.schema(group);
        let versions = serde_json::Value::from(group.versions.clone()).to_string();
        let part = NewRecordPart {
            endpoint: endpoint.to_string(),
            hour: group.hour,
            first_at: group.first(),
            last_at: group.last(),
            requests: group.requests(),
            rows: group.rows,
            bytes: 0,
            digest: tidemill_core::Digest::of(b""),
            versions,
        };
        let path = scratch.path().join(format!("{index}.parquet"));
        let Some(rows) = plan.rows(index) else { continue };
        stored::write_table(&schema, rows, &path)?;
        paths.push(path);
        parts.push(part);
    }
    let entries = store.add_many(&paths, &AddOptions::default(), &Quiet)?;
    for (part, entry) in parts.iter_mut().zip(entries) {
        (part.digest, part.bytes) = (entry.digest, entry.bytes);
    }
    Ok(parts)
}
