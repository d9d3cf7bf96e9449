//! `tidemill data push` and `pull`: stored content to and from a remote store.

use serde_json::json;
use tidemill_core::{Digest, EventKind, Name};
use tidemill_db::{DatasetVersion, Db};
use tidemill_pipeline::{ContentKind, Lock};
use tidemill_store::{NAMED_WITHIN, Remote, Root, Transfer as Moved};

use super::remote::{self, RemoteLock, RemoteVersion};
use super::{find, reference};
use crate::app::{App, LOCK_FILE};
use crate::cli::Transfer;
use crate::failure::Failure;
use crate::output::{bytes, count, plural};

pub(super) fn push(args: &Transfer, app: &App<'_>) -> anyhow::Result<()> {
    let remote = remote::open(app, args.remote.as_deref())?;
    let versions = local_versions(args, app)?;
    let mut roots: Vec<Root> = versions.iter().map(root_of).collect();
    let locked = if args.datasets.is_empty() { locked(app)? } else { None };
    roots.extend(locked.iter().flat_map(|locked| locked.roots.iter().cloned()));
    let mut moved: Option<Moved> = None;
    loop {
        let began = app.clock.now();
        let bar = app.bar();
        let sent = app.block(app.store()?.push(&remote, &roots, &bar))?;
        drop(bar);
        // Names come after the content that they name: whoever sees a version can fetch it.
        app.block(write_names(app, &remote, &versions, locked.as_ref()))?;
        let moved = moved.get_or_insert_default();
        moved.present = if moved.objects == 0 { sent.present } else { moved.present };
        moved.objects += sent.objects;
        moved.bytes += sent.bytes;
        moved.packs += sent.packs;
        // Before it was named, a collection there may have removed what was there when this push began.
        if app.clock.now().since(began) < NAMED_WITHIN {
            break;
        }
    }
    let moved = moved.unwrap_or_default();
    let event = app.event(EventKind::StorePushed { remote: remote.url().to_owned(), bytes: moved.bytes });
    app.record(vec![event])?;
    report(app, "sent", "to", &remote, &moved, versions.len())
}

/// Writes the documents of these versions and of the lock file, those that are not there.
async fn write_names(
    app: &App<'_>,
    remote: &Remote,
    versions: &[DatasetVersion],
    locked: Option<&Locked>,
) -> anyhow::Result<()> {
    for version in versions {
        let ours = RemoteVersion::of(version);
        // Somebody else may give the same number to another content at this moment.
        if let Some(theirs) = remote.create_ref(&ours.document(), &serde_json::to_vec(&ours)?).await? {
            let theirs: RemoteVersion = serde_json::from_slice(&theirs)?;
            if theirs.content != ours.content {
                return Err(conflict(&version.dataset, version.version, remote).into());
            }
        }
    }
    let Some(locked) = locked else { return Ok(()) };
    let project = &app.project.project;
    let ours = RemoteLock::new(app, &locked.roots);
    let name = ours.document(project, &locked.digest);
    let there = remote.list_refs(&RemoteLock::folder(project)).await?;
    if there.last().is_none_or(|newest| RemoteLock::lock_of(newest) != RemoteLock::lock_of(&name)) {
        remote.put_ref(&name, &serde_json::to_vec(&ours)?).await?;
    }
    Ok(())
}

pub(super) fn pull(args: &Transfer, all_versions: bool, app: &App<'_>) -> anyhow::Result<()> {
    let remote = remote::open(app, args.remote.as_deref())?;
    let held = app.store()?.hold()?;
    let wanted = app.block(remote_versions(args, all_versions, app.db()?, &remote))?;
    let mut roots: Vec<Root> = wanted.fetch.iter().map(RemoteVersion::root).collect();
    if args.datasets.is_empty() {
        roots.extend(locked(app)?.into_iter().flat_map(|locked| locked.roots));
    }
    let bar = app.bar();
    let moved = app.block(app.store()?.pull(&remote, &roots, &bar))?;
    drop(bar);
    let added = app.block(record(app, app.db()?, wanted.unknown, &remote, &moved))?;
    drop(held);
    report(app, "fetched", "from", &remote, &moved, added)
}

/// What a pull is about.
#[derive(Default)]
struct Wanted {
    /// Versions whose content is fetched: those named, or the newest or every one of each dataset.
    fetch: Vec<RemoteVersion>,
    /// Versions whose names are not known here, oldest first and without gaps.
    unknown: Vec<RemoteVersion>,
}

async fn remote_versions(
    args: &Transfer,
    all_versions: bool,
    db: &Db,
    remote: &Remote,
) -> anyhow::Result<Wanted> {
    let mut asked = Vec::new();
    if args.datasets.is_empty() {
        asked.extend(remote::datasets(remote).await?.into_iter().map(|name| (name, None)));
    }
    for text in &args.datasets {
        let (name, version) = reference(text)?;
        asked.push((name.to_string(), version));
    }
    let mut wanted = Wanted::default();
    for (name, version) in asked {
        let all = remote::versions(remote, &name).await?;
        let newest = all.last().map_or(0, |last| last.version);
        let number = version.unwrap_or(newest);
        let Some(named) = all.iter().find(|theirs| theirs.version == number) else {
            return Err(not_there(remote, &name, newest).await?.into());
        };
        if all_versions && version.is_none() {
            wanted.fetch.extend(all.iter().cloned());
        } else {
            wanted.fetch.push(named.clone());
        }
        for theirs in all {
            match db.dataset_version(&theirs.dataset, Some(theirs.version)).await? {
                Some(ours) if ours.content != theirs.content => {
                    return Err(conflict(&theirs.dataset, theirs.version, remote).into());
                }
                Some(_) => {}
                None => wanted.unknown.push(theirs),
            }
        }
    }
    Ok(wanted)
}

/// Says what the remote has instead of the version that was asked for.
async fn not_there(remote: &Remote, name: &str, newest: u64) -> anyhow::Result<Failure> {
    if newest > 0 {
        return Ok(Failure::new(format!("`{name}` at {} has versions 1 to {newest}", remote.url())));
    }
    let known = remote::datasets(remote).await?;
    let meant = tidemill_core::did_you_mean(name, known.iter().map(String::as_str));
    Ok(Failure::new(format!("there is no dataset `{name}` at {}", remote.url())).hint_maybe(meant))
}

/// Records the versions that were not known here; their numbers stay what they are at the remote.
pub(super) async fn record(
    app: &App<'_>,
    db: &Db,
    unknown: Vec<RemoteVersion>,
    remote: &Remote,
    moved: &Moved,
) -> anyhow::Result<usize> {
    let mut events =
        vec![app.event(EventKind::StorePulled { remote: remote.url().to_owned(), bytes: moved.bytes })];
    let mut added = 0;
    let mut tx = db.begin().await?;
    for theirs in unknown {
        let number = theirs.version;
        let new = theirs.into_new();
        let put = tx.put_dataset_version(&new).await?;
        if put.version != number {
            // Dropping the transaction leaves nothing behind.
            return Err(conflict(&new.dataset, number, remote).into());
        }
        if put.created {
            added += 1;
            events.push(app.event(EventKind::DatasetVersionCreated {
                dataset: new.dataset.to_string(),
                version: number,
                content: new.content,
                bytes: new.bytes,
                rows: new.rows,
            }));
        }
    }
    tx.commit(events).await?;
    Ok(added)
}

fn local_versions(args: &Transfer, app: &App<'_>) -> anyhow::Result<Vec<DatasetVersion>> {
    let db = app.db()?;
    let mut versions = Vec::new();
    if args.datasets.is_empty() {
        for dataset in app.block(db.datasets())? {
            versions.extend(app.block(db.dataset_versions(&dataset.name))?);
        }
    }
    for text in &args.datasets {
        let (name, version) = reference(text)?;
        let last = find(app, &name, version)?.version;
        versions.extend(app.block(db.dataset_versions(&name))?.into_iter().filter(|v| v.version <= last));
    }
    versions.sort_by(|a, b| (&a.dataset, a.version).cmp(&(&b.dataset, b.version)));
    Ok(versions)
}

/// What the lock file names: inputs and outputs of every step.
struct Locked {
    digest: Digest,
    roots: Vec<Root>,
}

fn locked(app: &App<'_>) -> anyhow::Result<Option<Locked>> {
    let Ok(bytes) = fs_err::read(app.root.join(LOCK_FILE)) else { return Ok(None) };
    let mut roots: Vec<(Digest, bool, String)> = Vec::new();
    for (step, locked) in Lock::parse(LOCK_FILE, &bytes)?.steps {
        for (path, content) in locked.record.deps.iter().chain(&locked.outs) {
            if content.kind != ContentKind::Remote {
                let tree = content.kind == ContentKind::Folder;
                roots.push((content.digest, tree, format!("{step}: {path}")));
            }
        }
    }
    roots.sort();
    roots.dedup_by_key(|root| root.0);
    let roots = roots.into_iter().map(|(digest, tree, label)| Root { digest, tree, label }).collect();
    Ok(Some(Locked { digest: Digest::of(&bytes), roots }))
}

fn root_of(version: &DatasetVersion) -> Root {
    let label = format!("{}@{}", version.dataset, version.version);
    Root { digest: version.content, tree: version.kind == "tree", label }
}

fn conflict(dataset: &Name, version: u64, remote: &Remote) -> Failure {
    Failure::new(format!("{dataset}@{version} here is not {dataset}@{version} at {}", remote.url())).hint(
        "two people added a version at the same time; get yours with `data get --out`, pull into a fresh clone, and add it there",
    )
}

fn report(
    app: &App<'_>,
    verb: &str,
    where_to: &str,
    remote: &Remote,
    moved: &Moved,
    versions: usize,
) -> anyhow::Result<()> {
    if app.console.json() {
        return app.console.value(&json!({
            "remote": remote.url(), "objects": moved.objects, "present": moved.present, "bytes": moved.bytes,
            "packs": moved.packs, "versions": versions,
        }));
    }
    app.console.line(format!(
        "{verb} {} in {} {where_to} {}; {} objects were there already",
        bytes(moved.bytes),
        plural(moved.objects, "object"),
        remote.url(),
        count(moved.present)
    ));
    Ok(())
}
