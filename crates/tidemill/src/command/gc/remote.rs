//! `tidemill gc --remote`: what nothing at a remote refers to, in two goes that lie a grace period apart.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use serde_json::json;
use tidemill_core::EventKind;
use tidemill_store::{Inventory, NAMED_WITHIN, Remote, RemoteGc, Root};

use crate::app::{App, LOCK_FILE};
use crate::cli::Gc;
use crate::command::data::remote::{self, RemoteLock};
use crate::failure::Failure;
use crate::output::{bytes, count, duration, plural};

/// Documents read at a time.
pub(super) const AT_ONCE: usize = 16;
/// The grace period where none is given.
const GRACE: Duration = Duration::from_hours(24);

pub(super) fn grace(args: &Gc) -> Duration {
    args.grace.unwrap_or(GRACE)
}

pub(super) fn run(name: &str, args: &Gc, app: &App<'_>) -> anyhow::Result<()> {
    let remote = remote::open(app, Some(name))?;
    let console = app.console;
    let done = collect(args, app, &remote, |_| app.block(records(app, &remote, args.keep_runs)))?;
    if console.json() {
        let report = json!({
            "dry_run": !args.yes, "remote": remote.url(), "report": done.gc, "forgotten_locks": done.locks,
        });
        return console.value(&report);
    }
    report(args, app, &remote, &done);
    Ok(())
}

/// What a collection did.
pub(super) struct Done {
    pub(super) gc: RemoteGc,
    /// Older lock files that are named no longer.
    pub(super) locks: u64,
    /// Results of steps that are named no longer.
    pub(super) results: u64,
}

/// Collects at a remote; `read` tells what it is for, and is asked when it is known what lies there.
pub(super) fn collect(
    args: &Gc,
    app: &App<'_>,
    remote: &Remote,
    read: impl Fn(&Inventory) -> anyhow::Result<Records>,
) -> anyhow::Result<Done> {
    let (store, console, grace) = (app.store()?, app.console, grace(args));
    if args.yes && grace < NAMED_WITHIN * 2 {
        console.warn(format!(
            "with a grace period of less than {} nobody may push to {} meanwhile",
            duration(NAMED_WITHIN * 2),
            remote.url()
        ));
    }
    let mut total = RemoteGc::default();
    let (mut locks, mut results) = (0, 0);
    // Without a grace period what is condemned goes at once.
    let goes = if args.yes && grace.is_zero() { 2 } else { 1 };
    for _ in 0..goes {
        let inventory = app.block(store.inventory(remote, !args.yes))?;
        // What a push names later than this was sent, or looked for, within the grace period.
        let records = read(&inventory)?;
        if args.yes {
            app.block(async {
                for document in records.old.iter().chain(&records.results) {
                    remote.delete_ref(document).await?;
                }
                anyhow::Ok(())
            })?;
        }
        locks += records.old.len() as u64;
        results += records.results.len() as u64;
        let bar = app.bar();
        let swept = store.sweep(remote, &inventory, &records.roots, grace, !args.yes, &bar);
        let swept = app.block(swept)?;
        drop(bar);
        total = RemoteGc {
            removed_packs: total.removed_packs + swept.removed_packs,
            removed_bytes: total.removed_bytes + swept.removed_bytes,
            copied_packs: total.copied_packs + swept.copied_packs,
            spared_packs: total.spared_packs + swept.spared_packs,
            ..swept
        };
    }
    if args.yes {
        let (packs, bytes) = (total.removed_packs, total.removed_bytes);
        app.record(vec![app.event(EventKind::RemoteSwept {
            remote: remote.url().to_owned(),
            packs,
            bytes,
        })])?;
    }
    Ok(Done { gc: total, locks, results })
}

pub(super) fn report(args: &Gc, app: &App<'_>, remote: &Remote, done: &Done) {
    let Done { gc, locks, results } = done;
    let console = app.console;
    let verb = if args.yes { "" } else { "would be " };
    let packs = |n: u64, size: u64| format!("{}, {}", plural(n, "pack"), bytes(size));
    console.line(format!(
        "{verb}removed from {}: {}; {} objects are needed, {}",
        remote.url(),
        packs(gc.removed_packs, gc.removed_bytes),
        count(gc.kept_objects),
        bytes(gc.kept_bytes)
    ));
    let grace = duration(grace(args));
    if gc.condemned_packs > 0 {
        console.line(format!(
            "{verb}condemned: {}; a collection after {grace} removes them unless they are needed then",
            packs(gc.condemned_packs, gc.condemned_bytes)
        ));
    }
    if gc.copied_packs > 0 {
        let verb = if args.yes { "was" } else { "would be" };
        let copied = plural(gc.copied_packs, "pack");
        console.line(format!("what is needed of {copied} {verb} copied into new ones"));
    }
    if gc.waiting_packs > 0 {
        let waiting = packs(gc.waiting_packs, gc.waiting_bytes);
        console.line(format!("condemned less than {grace} ago: {waiting}"));
    }
    if gc.young_packs > 0 {
        let young = packs(gc.young_packs, gc.young_bytes);
        console.line(format!("not needed, but sent less than {grace} ago: {young}"));
    }
    if gc.spared_packs > 0 {
        console.line(format!("needed again: {} that had been condemned", plural(gc.spared_packs, "pack")));
    }
    if *locks > 0 {
        console.line(format!("{verb}forgotten: what {} named", plural(*locks, "older lock file")));
    }
    if *results > 0 {
        console.line(format!("{verb}forgotten: {} of which something is gone", plural(*results, "result")));
    }
    if gc.missing > 0 {
        console.warn(format!("{} objects that are needed are not at {}", count(gc.missing), remote.url()));
        console.hint("`tidemill data push` on a machine that has them sends them");
    }
    if !args.yes && gc.removed_packs + gc.condemned_packs + locks + results > 0 {
        console.hint("add `--yes` to do it");
    }
}

/// What a remote says that it is for.
pub(super) struct Records {
    pub(super) roots: Vec<Root>,
    /// Documents of lock files that are no longer among the newest of their project.
    pub(super) old: Vec<String>,
    /// Documents of results of steps of which not everything is needed.
    pub(super) results: Vec<String>,
}

async fn records(app: &App<'_>, remote: &Remote, keep: u64) -> anyhow::Result<Records> {
    let mut documents = Vec::new();
    let mut locks: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let names = remote.list_refs("").await?;
    if names.iter().any(|name| name == "store.json") {
        return Err(shared(remote).into());
    }
    for name in names {
        let project = match name.split('/').collect::<Vec<_>>()[..] {
            ["datasets", _, _] => None,
            ["locks", project, _] => Some(project.to_owned()),
            _ => return Err(unknown(&name, remote).into()),
        };
        match project {
            None => documents.push(name),
            Some(project) => locks.entry(project).or_default().push(name),
        }
    }
    let project = app.project.project.as_str();
    if !locks.contains_key(project) && app.root.join(LOCK_FILE).exists() {
        return Err(Failure::new(format!("nothing at {} says what runs of `{project}` need", remote.url()))
            .hint("push from here first: `tidemill data push` says it since this version")
            .into());
    }
    read_records(remote, documents, locks, keep).await
}

/// What these versions, and of the lock files of each project the newest, are for.
pub(super) async fn read_records(
    remote: &Remote,
    mut documents: Vec<String>,
    locks: BTreeMap<String, Vec<String>>,
    keep: u64,
) -> anyhow::Result<Records> {
    let mut old = Vec::new();
    for names in locks.into_values() {
        let mut seen = HashSet::new();
        // Their names begin with the time.
        for name in names.into_iter().rev() {
            let lock = RemoteLock::lock_of(&name).to_owned();
            if seen.contains(&lock) || seen.len() as u64 >= keep.max(1) {
                old.push(name);
            } else {
                seen.insert(lock);
                documents.push(name);
            }
        }
    }
    let mut roots = Vec::new();
    for names in documents.chunks(AT_ONCE) {
        let read = names.iter().map(|name| remote.get_ref(name));
        for (name, bytes) in names.iter().zip(futures::future::try_join_all(read).await?) {
            // Another collection may have removed the document of an older lock file just now.
            let Some(bytes) = bytes else { continue };
            roots.extend(remote::roots_of(name, &bytes).ok_or_else(|| unknown(name, remote))?);
        }
    }
    Ok(Records { roots, old, results: Vec::new() })
}

/// What servers, runs and caches keep in a store that is at this address is in no document of it.
fn shared(remote: &Remote) -> Failure {
    Failure::new(format!("{} is the store of a project (`store.url`), and not only pushed to", remote.url()))
        .hint("`tidemill gc` in a project whose store it is collects there, too")
}

/// What is not understood may name something that must stay.
pub(super) fn unknown(name: &str, remote: &Remote) -> Failure {
    Failure::new(format!("`{name}` at {} is nothing that this version can read", remote.url()))
        .hint("update Tidemill here, or remove the document if nobody needs it; nothing was removed")
}
