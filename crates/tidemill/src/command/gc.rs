//! `tidemill gc`: removes stored content that nothing refers to, and the artifacts of runs and logged models that are gone
//! for good. Says what it would do unless told `--yes`.

use std::collections::BTreeMap;

use serde_json::json;
use tidemill_core::{Digest, EventKind, Timestamp};
use tidemill_db::Keep;
use tidemill_pipeline::{ContentKind, Lock};
use tidemill_store::{Root, Store};

use crate::app::{App, LOCK_FILE};
use crate::cli::Gc;
use crate::output::{bytes, count};

pub(crate) fn run(args: &Gc, app: &App<'_>) -> anyhow::Result<()> {
    let keep = usize::try_from(args.keep_runs).unwrap_or(usize::MAX);
    let bar = app.bar();
    let (mut failed, mut orphans) = (None, 0);
    let report = app.store()?.gc_with(
        || match swept_roots(app, keep, args.yes, &mut orphans) {
            Ok(roots) => Ok(roots),
            Err(error) => {
                // Without its roots a collection must not go on; the store is told to stop, the cause is ours.
                failed = Some(error);
                Err(tidemill_store::Error::Cancelled)
            }
        },
        !args.yes,
        &bar,
    );
    drop(bar);
    if let Some(error) = failed {
        return Err(error);
    }
    let report = report?;
    if args.yes {
        let event =
            app.event(EventKind::StoreSwept { objects: report.removed_objects, bytes: report.freed_bytes });
        let db = app.db()?;
        app.block(async {
            let mut tx = db.begin().await?;
            tx.prune(&Keep { runs: Some(keep) }).await?;
            tx.commit(vec![event]).await?;
            anyhow::Ok(())
        })?;
        super::step_log::remove_files_of_gone_runs(app)?;
    }
    let console = app.console;
    if console.json() {
        return console.value(&json!({"dry_run": !args.yes, "report": report, "artifacts": orphans}));
    }
    let verb = if args.yes { "removed" } else { "would remove" };
    console.line(format!(
        "{verb} {} objects, {}; {} objects stay, {}",
        count(report.removed_objects),
        bytes(report.freed_bytes),
        count(report.kept_objects),
        bytes(report.kept_bytes)
    ));
    if orphans > 0 {
        console.line(format!("{verb} {} artifacts of runs and models that are gone", count(orphans)));
    }
    if report.missing > 0 {
        console.warn(format!("{} objects that are needed are not in the store", count(report.missing)));
        console.hint("`tidemill data pull` fetches them from the remote");
    }
    if !args.yes && report.removed_objects > 0 {
        console.hint("`tidemill gc --yes` removes them");
    }
    Ok(())
}

/// Uploads in parts that did not end within these milliseconds, a week, are given up.
const UPLOAD_MS: i64 = 7 * 24 * 3600 * 1000;

/// What stays once the artifacts that nobody owns any more are gone. They go for good only with `yes`.
fn swept_roots(app: &App<'_>, keep: usize, yes: bool, orphans: &mut u64) -> anyhow::Result<Vec<Root>> {
    let mut roots = pipeline_roots(app, Some(keep))?;
    let db = app.db()?;
    let artifacts = app.block(async {
        let mut tx = db.begin().await?;
        let gone = tx.delete_orphaned_artifacts().await?;
        tx.drop_uploads(Timestamp::from_millis(app.clock.now().millis() - UPLOAD_MS)).await?;
        let artifacts = tx.artifact_roots().await?;
        *orphans = gone.iter().map(|(_, files)| files).sum();
        if yes {
            let event = |(path, files)| app.event(EventKind::ArtifactsDeleted { path, files });
            tx.commit(gone.into_iter().map(event).collect()).await?;
        }
        anyhow::Ok(artifacts)
    })?;
    roots.extend(artifacts.into_iter().map(artifact_root));
    Ok(roots)
}

/// Where everything that must stay is reached from: dataset versions, the runs that are kept, the lock file, artifacts.
pub(crate) fn roots(app: &App<'_>, keep_runs: Option<usize>) -> anyhow::Result<Vec<Root>> {
    let mut roots = pipeline_roots(app, keep_runs)?;
    roots.extend(app.block(app.db()?.artifact_roots())?.into_iter().map(artifact_root));
    Ok(roots)
}

fn artifact_root((digest, path): (Digest, String)) -> Root {
    Root { digest, tree: false, label: format!("artifact {path}") }
}

fn pipeline_roots(app: &App<'_>, keep_runs: Option<usize>) -> anyhow::Result<Vec<Root>> {
    let store = app.store()?;
    let mut labels: BTreeMap<(Digest, bool), String> = BTreeMap::new();
    let mut add = |digest, tree, label: String| {
        labels.entry((digest, tree)).or_insert(label);
    };
    let db = app.db()?;
    for dataset in app.block(db.datasets())? {
        for version in app.block(db.dataset_versions(&dataset.name))? {
            add(version.content, version.kind == "tree", format!("{}@{}", dataset.name, version.version));
        }
    }
    let mut locks = Vec::new();
    if let Ok(bytes) = fs_err::read(app.root.join(LOCK_FILE)) {
        locks.push((LOCK_FILE.to_owned(), bytes));
    }
    for digest in app.block(db.roots(&Keep { runs: keep_runs }))? {
        if !store.contains(&digest)? {
            continue;
        }
        add(digest, is_tree(store, &digest), digest.short());
    }
    for run in app.block(db.runs(keep_runs.unwrap_or(usize::MAX)))? {
        if let Some(lock) = run.lock
            && let Ok(bytes) = store.get(&lock)
        {
            locks.push((format!("run {}", run.id.short()), bytes));
        }
    }
    for (label, bytes) in locks {
        // A lock file that cannot be read protects nothing, and must stop a collection rather than lose data.
        for (step, locked) in &Lock::parse(&label, &bytes)?.steps {
            for (path, content) in locked.record.deps.iter().chain(&locked.outs) {
                if content.kind != ContentKind::Remote {
                    add(
                        content.digest,
                        content.kind == ContentKind::Folder,
                        format!("{label}: {step}: {path}"),
                    );
                }
            }
        }
    }
    for (content, profile) in app.block(db.profiles())? {
        let described = [false, true].into_iter().find_map(|tree| labels.get(&(content, tree)).cloned());
        // A profile that is not here can be made again, so it is never missed.
        if let Some(label) = described.filter(|_| store.contains(&profile).unwrap_or(false)) {
            labels.entry((profile, false)).or_insert_with(|| format!("profile of {label}"));
        }
    }
    Ok(labels.into_iter().map(|((digest, tree), label)| Root { digest, tree, label }).collect())
}

fn is_tree(store: &Store, digest: &Digest) -> bool {
    store.tree(digest).is_ok()
}
