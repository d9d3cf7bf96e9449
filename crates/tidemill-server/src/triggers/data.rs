//! Files of datasets: watched where the system tells of changes, and looked at now and then where it does not.
//!
//! What counts is not that something was written but that the files are other ones than before: their names, sizes and
//! times, kept in the database. So nothing that changed while no server ran is passed over.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tidemill_core::declare::When;
use tidemill_core::{SourceKind, Timestamp};
use tidemill_db::Result;
use tokio_util::sync::CancellationToken;

use super::watch::Watch;
use super::{Folder, Triggers, system};

const SOURCE: &str = "data";
/// So long nothing may be written before files count as complete.
const SETTLE: Duration = Duration::from_millis(100);
/// A stream of writes without a pause is not waited for longer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked whether something is due.
const TICK: Duration = Duration::from_secs(1);

pub(super) async fn run(triggers: Triggers, stop: CancellationToken) {
    let mut generation = triggers.inner.generation.subscribe();
    let mut watched: BTreeSet<Folder> = BTreeSet::new();
    let mut watch = Watch::default();
    let mut looked: BTreeMap<String, Timestamp> = BTreeMap::new();
    loop {
        let datasets = datasets(&triggers);
        let folders: BTreeSet<Folder> =
            datasets.iter().flat_map(|of| triggers.host().folders(&of.paths)).collect();
        if folders != watched {
            watch = Watch::new(&folders);
            watched = folders;
            // What appeared before it was watched was not told of.
            looked.clear();
        }
        for of in &datasets {
            let now = triggers.now();
            let is_due = looked.get(&of.name).is_none_or(|last| now.since(*last) >= of.poll || now < *last);
            if !is_due {
                continue;
            }
            match look(&triggers, of).await {
                Ok(()) => drop(looked.insert(of.name.clone(), now)),
                // What was not recorded is looked at again at once, not only when it is due.
                Err(error) => {
                    tracing::warn!(dataset = of.name, "a change of the data cannot be recorded: {error}");
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => break,
            changed = generation.changed() => {
                if changed.is_err() {
                    break;
                }
                looked.clear();
            }
            () = watch.written() => {
                settle(&mut watch).await;
                // Only what the system tells of; the rest waits until it is due.
                looked.retain(|name, _| datasets.iter().all(|of| of.name != *name || of.is_remote));
            }
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

/// A dataset that a trigger listens for.
struct Dataset {
    name: String,
    paths: Vec<String>,
    poll: Duration,
    /// In an object store, which tells nothing by itself.
    is_remote: bool,
}

fn datasets(triggers: &Triggers) -> Vec<Dataset> {
    let mut found: Vec<Dataset> = Vec::new();
    for rule in &triggers.rules().rules {
        let When::Data { dataset, paths, poll } = &rule.trigger.when else { continue };
        if found.iter().all(|of| of.name != *dataset) {
            let is_remote = paths.iter().any(|path| path.contains("://") && !path.starts_with("file://"));
            found.push(Dataset { name: dataset.clone(), paths: paths.clone(), poll: *poll, is_remote });
        }
    }
    found
}

/// Waits until nothing is written any more.
async fn settle(watch: &mut Watch) {
    let quiet = async { while tokio::time::timeout(SETTLE, watch.written()).await.is_ok() {} };
    // Whoever writes without a pause is not waited for.
    let _ = tokio::time::timeout(PATIENCE, quiet).await;
}

async fn look(t: &Triggers, of: &Dataset) -> Result<()> {
    let stamp = match t.host().stamp(&of.paths).await {
        Ok(stamp) => stamp,
        Err(why) => {
            tracing::warn!(dataset = of.name, "the files cannot be looked at: {why}");
            return Ok(());
        }
    };
    let known = t.db().source_offset(t.project(), SOURCE, &of.name).await?;
    let Some(known) = known else {
        return t.db().begin_source(t.project(), SOURCE, &of.name, &stamp, t.now()).await;
    };
    if known == stamp {
        return Ok(());
    }
    let mut tx = t.db().begin().await?;
    if tx.source_offset(t.project(), SOURCE, &of.name).await?.as_deref() == Some(stamp.as_str()) {
        return Ok(());
    }
    tx.move_source(t.project(), SOURCE, &of.name, &stamp, t.now()).await?;
    let details = [("files".to_owned(), stamp)].into();
    tx.commit(vec![t.changed(system(), SourceKind::Data, &of.name, details)]).await?;
    Ok(())
}
