//! Datasets that the project declares as outcomes of endpoints: the server sends itself each new version, once.
//!
//! Versions are found in the database, so it does not matter which process recorded them or whether a server ran then. That a version was
//! read is noted together with the event that says so; one whose reading was cut off is sent again, and what is sent twice is stored once.
//! What is done with rows is the same as `tidemill outcomes` does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tidemill_core::{Actor, Cancel, EventKind, NewEvent, OutcomesOfDataset};
use tidemill_db::outcomes::{OutcomeTable, TableKey, TableRead};
use tidemill_db::{DatasetVersion, EventFilter, Order};
use tidemill_registry::Registry;
use tidemill_server::OutcomeApi;
use tidemill_store::Store;
use tokio_util::sync::CancellationToken;

use super::triggers::{Stamp, read, stamp};
use crate::command::outcomes::{Mapping, Receiver, Sent, Unsent, send, settled};
use crate::home::Home;
use crate::outcome_tables::{Declared, declared};
use crate::profile::Source;

/// How often it is looked for new versions.
const LOOK: Duration = Duration::from_secs(1);
/// So long a dataset rests after something was in the way, such as a store that is away or an endpoint that is not there yet.
const REST: Duration = Duration::from_secs(30);
/// How long the server may take to join what is new, before it is told how that went.
const SETTLE: Duration = Duration::from_secs(60);

/// Reads the datasets that a project declares.
pub(super) struct Tables {
    root: PathBuf,
    registry: Registry,
    api: OutcomeApi,
    /// Where versions are laid out to be read; goes with the server.
    scratch: PathBuf,
    /// Until when a dataset rests.
    resting: BTreeMap<(String, String), Instant>,
}

/// What came of a version.
enum Read {
    Through(Sent),
    /// It holds no outcomes as they are declared, and never will.
    Refused(String),
}

/// For those of the project whose server this is; none where it is the server of no project.
pub(super) fn open(home: &Home, registry: &Registry, api: OutcomeApi, scratch: &Path) -> Option<Tables> {
    Some(Tables {
        root: home.project.clone()?,
        registry: registry.clone(),
        api,
        scratch: scratch.join("outcomes"),
        resting: BTreeMap::new(),
    })
}

/// Whether a project declares some, for a gateway alone, which does not read them.
pub(super) fn is_declared(home: &Home) -> bool {
    let project = home.project.as_deref().and_then(|root| read(root).ok());
    project.is_some_and(|project| !declared(&project).is_empty())
}

impl Tables {
    /// Goes on until it is stopped. A project file that cannot be read leaves everything as it was; the triggers say why.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut seen: Option<Stamp> = None;
        let mut tables = Vec::new();
        while !stop.is_cancelled() {
            let now = stamp(&self.root);
            if now.is_some() && now != seen {
                seen = now;
                if let Ok(project) = read(&self.root) {
                    tables = declared(&project);
                    self.resting.clear();
                }
            }
            self.look_at_all(&tables, &stop).await;
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Looks at all that do not rest. How far they are read is asked once, and only of them.
    async fn look_at_all(&mut self, tables: &[Declared], stop: &CancellationToken) {
        self.resting.retain(|_, until| Instant::now() < *until);
        let due: Vec<&Declared> =
            tables.iter().filter(|table| !self.resting.contains_key(&name(table))).collect();
        let keys: Vec<TableKey> = due.iter().map(|table| table.key(0)).collect();
        let known = self.registry.db().outcome_tables_of(&keys).await.map_err(anyhow::Error::from);
        for table in due {
            let looked = match &known {
                Ok(known) => {
                    let known = known.iter().find(|known| table.key(known.key.version) == known.key);
                    self.look(table, known, stop).await
                }
                Err(error) => Err(anyhow::anyhow!("{error:#}")),
            };
            if stop.is_cancelled() {
                return;
            }
            if let Err(error) = looked {
                tracing::warn!(
                    endpoint = table.endpoint, dataset = %table.dataset,
                    "outcomes cannot be read now and are tried again in {} seconds: {error:#}", REST.as_secs()
                );
                self.resting.insert(name(table), Instant::now() + REST);
            }
        }
    }

    /// Reads the versions that are new: of a declaration that is new the newest one, and from then on each. `known` is the version that is
    /// read, or was.
    async fn look(
        &self,
        table: &Declared,
        known: Option<&OutcomeTable>,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let db = self.registry.db();
        let newest = db.dataset_version(&table.dataset, None).await?.map_or(0, |newest| newest.version);
        let first = match known {
            None if newest == 0 => {
                // Whatever comes is new, also where several come before the next look.
                db.begin_outcome_table(&table.key(0), self.registry.clock().now()).await?;
                return Ok(());
            }
            None => newest,
            Some(known) if known.key.version == 0 || known.ended_at.is_some() => known.key.version + 1,
            Some(known) => known.key.version,
        };
        for version in first..=newest {
            if stop.is_cancelled() {
                return Ok(());
            }
            if let Some(found) = db.dataset_version(&table.dataset, Some(version)).await? {
                self.join(table, found, stop).await?;
            }
        }
        Ok(())
    }

    /// Reads one version, and notes how that went.
    async fn join(
        &self,
        table: &Declared,
        found: DatasetVersion,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let (db, clock) = (self.registry.db(), self.registry.clock());
        let key = table.key(found.version);
        let cause = self.recorded(&found).await?;
        let after = db.begin_outcome_table(&key, clock.now()).await?;
        let cancel = Cancel::new();
        let receiver = Receiver::here(
            self.api.clone(),
            table.endpoint.clone(),
            Actor::system("outcomes"),
            cancel.clone(),
        );
        let (table, store, scratch) = (table.clone(), self.registry.store().clone(), self.scratch.clone());
        // Whoever stops the server is told at once, and what is under way ends at the next part.
        let stopped = cancel.clone();
        let runtime = tokio::runtime::Handle::current();
        let mut work = tokio::task::spawn_blocking(move || {
            read_version(&table, &found, (&store, &scratch, &cancel), |rows, mapping| {
                runtime.block_on(async {
                    let sent = send(&receiver, rows, mapping, &cancel).await?;
                    let after = u64::try_from(after).unwrap_or_default();
                    // Also where nothing is new: a server that was killed stored them and may have joined none.
                    settled(&receiver, after, SETTLE).await.map_err(Unsent::Server)?;
                    Ok(sent)
                })
            })
        });
        let read = tokio::select! {
            read = &mut work => read,
            () = stop.cancelled() => {
                stopped.cancel();
                work.await
            }
        };
        self.note(&key, after, read??, cause).await
    }

    /// Notes that a version was read, with the event that says so.
    async fn note(&self, key: &TableKey, after: i64, read: Read, cause: Option<u64>) -> anyhow::Result<()> {
        let (db, clock) = (self.registry.db(), self.registry.clock());
        let until = db.newest_outcome().await?;
        let (endpoint, dataset, version) = (key.endpoint.clone(), key.dataset.to_string(), key.version);
        let (counted, error, kind) = match read {
            Read::Refused(why) => {
                tracing::warn!(endpoint, dataset, version, "no outcomes: {why}");
                let kind = EventKind::OutcomesRefused { endpoint, dataset, version, why: why.clone() };
                (TableRead::default(), Some(why), kind)
            }
            Read::Through(sent) => {
                let counts = db.outcome_counts_between(&endpoint, (after, Some(until))).await?;
                let new =
                    counts.matched + counts.waiting + counts.duplicate + counts.corrected + counts.unmatched;
                // What was stored before a kill counts as known to the one that went on; it came of this version all the same.
                let all = sent.accepted + sent.known;
                let accepted = new.min(all);
                let counted = TableRead {
                    rows: sent.rows,
                    skipped: sent.skipped,
                    accepted,
                    known: all - accepted,
                    rejected: sent.rejected,
                };
                tracing::info!(endpoint, dataset, version, accepted, "read a dataset as outcomes");
                let kind = EventKind::OutcomesRead(OutcomesOfDataset {
                    endpoint,
                    dataset,
                    version,
                    rows: counted.rows,
                    skipped: counted.skipped,
                    known: counted.known,
                    rejected: counted.rejected,
                    matched: counts.matched,
                    late: counts.late,
                    duplicate: counts.duplicate,
                    corrected: counts.corrected,
                    unmatched: counts.unmatched,
                    waiting: counts.waiting,
                });
                (counted, None, kind)
            }
        };
        let event = NewEvent { at: clock.now(), actor: Actor::system("outcomes"), kind, cause };
        db.end_outcome_table(key, &counted, error.as_deref(), until, event).await?;
        Ok(())
    }

    /// The event with which a version was recorded.
    async fn recorded(&self, version: &DatasetVersion) -> anyhow::Result<Option<u64>> {
        let filter = EventFilter {
            subject: Some(format!("dataset:{}", version.dataset)),
            kind: Some("dataset.version.created".to_owned()),
            order: Order::NewestFirst,
            limit: Some(RECENT),
            ..EventFilter::default()
        };
        let events = self.registry.db().events(&filter).await?;
        let is_it = |kind: &EventKind| matches!(kind, EventKind::DatasetVersionCreated { version: number, .. } if *number == version.version);
        Ok(events.into_iter().find(|event| is_it(&event.kind)).map(|event| event.seq))
    }
}

/// What a dataset as it is declared for an endpoint is called here.
fn name(table: &Declared) -> (String, String) {
    (table.endpoint.clone(), format!("{} {}", table.dataset, table.declaration))
}

/// Versions among which the event of one is looked for; older ones have no cause.
const RECENT: usize = 100;

/// Scratch folders made by this process.
static MADE: AtomicU64 = AtomicU64::new(0);

/// Lays a version out and has its rows sent.
fn read_version(
    table: &Declared,
    found: &DatasetVersion,
    (store, scratch, cancel): (&Store, &Path, &Cancel),
    sent: impl FnOnce(&tidemill_data::Table, &Mapping) -> Result<Sent, Unsent>,
) -> anyhow::Result<Read> {
    let folder = scratch.join(MADE.fetch_add(1, Ordering::Relaxed).to_string());
    let mut source = Source::of_version(found, table.data.as_ref());
    source.lay_out(&folder, store, cancel)?;
    let rows = match source.rows() {
        Ok(rows) => rows,
        Err(error) => return Ok(Read::Refused(format!("it cannot be read as a table: {error:#}"))),
    };
    let mapping = match Mapping::new(&rows, &table.columns) {
        Ok(mapping) => mapping,
        Err(error) => return Ok(Read::Refused(format!("{error:#}"))),
    };
    match sent(&rows, &mapping) {
        Ok(sent) => Ok(Read::Through(sent)),
        Err(Unsent::Rows(error)) => Ok(Read::Refused(format!("{error:#}"))),
        Err(Unsent::Server(failure)) => Err(failure.into()),
    }
}
