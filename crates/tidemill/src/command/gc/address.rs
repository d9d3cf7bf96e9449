//! Collecting at the address of a store that several machines share: what is needed there is what all of them say, each of
//! its own folder.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Value, json};
use tidemill_core::{Digest, Progress, Timestamp, Unit};
use tidemill_pipeline::{CachedStep, ContentKind};
use tidemill_store::{Holder, Inventory, OwnClaim, Remote, Root};

use super::remote::{self, AT_ONCE, Done, Records, grace};
use crate::app::App;
use crate::cli::Gc;
use crate::failure::Failure;
use crate::output::{count, plural};

/// What this folder needs, and what it had claimed before that was asked.
#[derive(Default)]
pub(super) struct Own {
    pub(super) needs: Vec<Root>,
    pub(super) claims: Vec<OwnClaim>,
}

/// What a collection there did, or would do.
pub(super) struct There {
    remote: Remote,
    done: Done,
    /// The other folders in front of this store.
    others: Vec<Holder>,
    /// Those of which nothing is kept any more.
    forgotten: Vec<Holder>,
}

pub(super) fn run(args: &Gc, app: &App<'_>, remote: &Remote, own: &Own) -> anyhow::Result<There> {
    let store = app.store()?;
    let bar = app.bar();
    let (mut known, me) = (store.holders(&bar)?, store.holder()?);
    let forgotten = named(args, &known, me.as_deref(), remote)?;
    if args.yes {
        for holder in &forgotten {
            store.forget_holder(&holder.id)?;
        }
        store.declare(&own.needs, &own.claims, grace(args))?;
    }
    let is_me = |holder: &Holder| Some(&holder.id) == me.as_ref();
    let is_gone = |holder: &Holder| forgotten.iter().any(|gone| gone.id == holder.id);
    let read = |inventory: &Inventory| {
        let mut holders = store.holders(&bar)?;
        // A dry run has not said yet what this folder needs.
        holders.retain(|holder| !is_gone(holder) && (args.yes || !is_me(holder)));
        records(args, app, remote, own, holders, inventory, &bar)
    };
    let done = remote::collect(args, app, remote, read)?;
    known.retain(|holder| !is_gone(holder) && !is_me(holder));
    Ok(There { remote: remote.clone(), done, others: known, forgotten })
}

/// The folders that nothing is to be kept for.
fn named(args: &Gc, known: &[Holder], me: Option<&str>, remote: &Remote) -> anyhow::Result<Vec<Holder>> {
    let mut found = Vec::new();
    for name in &args.forget {
        let before = found.len();
        let meant = |holder: &&Holder| holder.label() == *name || holder.id == *name;
        found.extend(known.iter().filter(meant).filter(|holder| Some(holder.id.as_str()) != me).cloned());
        if found.len() == before {
            let labels: Vec<String> = known.iter().map(|holder| format!("`{}`", holder.label())).collect();
            return Err(Failure::usage(format!("no other folder `{name}` is known at {}", remote.url()))
                .hint(format!("these are: {}", labels.join(", ")))
                .into());
        }
    }
    Ok(found)
}

fn records(
    args: &Gc,
    app: &App<'_>,
    remote: &Remote,
    own: &Own,
    holders: Vec<Holder>,
    inventory: &Inventory,
    progress: &dyn Progress,
) -> anyhow::Result<Records> {
    let mut documents = Vec::new();
    let mut locks: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in app.block(remote.list_refs(""))? {
        match name.split('/').collect::<Vec<_>>()[..] {
            ["store.json"] | ["needs", _] | ["claims" | "results", _, _] => {}
            ["datasets", _, _] => documents.push(name.clone()),
            ["locks", project, _] => locks.entry(project.to_owned()).or_default().push(name.clone()),
            _ => return Err(remote::unknown(&name, remote).into()),
        }
    }
    let mut records = app.block(remote::read_records(remote, documents, locks, args.keep_runs))?;
    records.roots.extend(holders.into_iter().flat_map(|holder| holder.roots));
    if !args.yes {
        records.roots.extend(own.needs.iter().cloned());
    }
    let needed: HashSet<Digest> = records.roots.iter().map(|root| root.digest).collect();
    records.results = results(args, app, remote, &needed, inventory, progress)?;
    Ok(records)
}

/// The noted results of steps of which an output is needed by nobody. Young ones stay: their run may be at work.
fn results(
    args: &Gc,
    app: &App<'_>,
    remote: &Remote,
    needed: &HashSet<Digest>,
    inventory: &Inventory,
    progress: &dyn Progress,
) -> anyhow::Result<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    for (name, modified) in app.block(remote.list_refs_by_time("results"))? {
        if inventory.is_older(modified, grace(args)) {
            names.push(name);
        }
    }
    progress.begin("asking", Some(names.len() as u64), Unit::Items);
    let mut old = Vec::new();
    for some in names.chunks(AT_ONCE) {
        if progress.cancelled() {
            return Err(tidemill_store::Error::Cancelled.into());
        }
        for (name, document) in some.iter().zip(app.block(remote.get_refs(some))?) {
            let Some(document) = document else { continue };
            // One that cannot be read is of no use to anybody.
            let whole = serde_json::from_slice::<CachedStep>(&document).is_ok_and(|result| {
                let mut stored = result.outs.values().filter(|content| content.kind != ContentKind::Remote);
                stored.all(|content| needed.contains(&content.digest))
            });
            if !whole {
                old.push(name.clone());
            }
        }
        progress.advance(some.len() as u64);
    }
    Ok(old)
}

impl There {
    pub(super) fn json(&self) -> Value {
        let shown = |holder: &Holder| {
            json!({
                "id": holder.id, "machine": holder.host, "folder": holder.folder,
                "heard_at": Timestamp::from_millis(holder.heard), "contents": holder.roots.len(),
            })
        };
        json!({
            "url": self.remote.url(), "report": self.done.gc, "forgotten_locks": self.done.locks,
            "forgotten_results": self.done.results,
            "others": self.others.iter().map(shown).collect::<Vec<_>>(),
            "forgotten": self.forgotten.iter().map(shown).collect::<Vec<_>>(),
        })
    }

    pub(super) fn report(&self, args: &Gc, app: &App<'_>) {
        let console = app.console;
        remote::report(args, app, &self.remote, &self.done);
        for holder in &self.forgotten {
            console.note(format!("nothing is kept for {}", holder.label()));
        }
        for holder in &self.others {
            console.note(format!(
                "kept for {}, which last said at {} what it needs: {}",
                holder.label(),
                Timestamp::from_millis(holder.heard),
                plural(holder.roots.len() as u64, "content")
            ));
        }
        if !self.others.is_empty() && !args.yes {
            console.hint(&format!(
                "`tidemill gc --yes` on each of these {} machines says anew what it needs; `--forget MACHINE:FOLDER` is \
                 for one that is gone",
                count(self.others.len() as u64)
            ));
        }
    }
}
