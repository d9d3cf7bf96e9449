//! `tidemill gc`: removes stored content that nothing refers to, runs, experiments and logged models that were deleted a
//! while ago, and the artifacts of those that are gone for good; where the store is at an address, there as well; or, with
//! `--remote`, what nothing at a remote refers to. Says what it would do unless told `--yes`.

mod address;
mod remote;
mod removed;

use serde_json::json;
use tidemill_core::{EventKind, Timestamp};
use tidemill_db::Keep;
use tidemill_db::tracking::Removal;
use tidemill_store::Root;

use crate::app::App;
use crate::cli::Gc;
use crate::failure::Failure;
use crate::output::{bytes, count};
use crate::roots::{self, Others};
use address::Own;
use removed::Removed;

pub(crate) fn run(args: &Gc, app: &App<'_>) -> anyhow::Result<()> {
    if let Some(name) = &args.remote {
        return remote::run(name, args, app);
    }
    let behind = app.store()?.behind().cloned();
    if behind.is_none() && (args.grace.is_some() || !args.forget.is_empty()) {
        return Err(Failure::usage("this project's store is in a folder, where nothing has a grace period")
            .hint("`--grace` is for a remote that `--remote` names, and both are for a store with a URL")
            .into());
    }
    let bar = app.bar();
    let (mut failed, mut orphans, mut others) = (None, 0, Others::default());
    let mut own = Own::default();
    let wanted = removed::wanted(args, app)?;
    let mut gone = Removed::default();
    let report = app.store()?.gc_with(
        || match needed(app, args, &wanted, &mut gone, &mut orphans, &mut others, &mut own) {
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
            tx.prune(&Keep { runs: Some(keep_runs(args)), project: Some(app.project.project.as_str()) })
                .await?;
            tx.commit(vec![event]).await?;
            anyhow::Ok(())
        })?;
        super::step_log::remove_files_of_gone_runs(app)?;
        for user in &others.gone {
            app.store()?.unregister(&user.id()?)?;
        }
    }
    let there = behind.map(|remote| address::run(args, app, &remote, &own)).transpose()?;
    let console = app.console;
    for user in &others.gone {
        let folder = user.folder().display();
        console.note(format!(
            "{} in `{folder}` used this store and is gone: nothing is kept for it",
            user.label()
        ));
    }
    if console.json() {
        let mut value =
            json!({"dry_run": !args.yes, "report": report, "artifacts": orphans, "deleted": gone.json()});
        if let Some(there) = &there {
            value["there"] = there.json();
        }
        return console.value(&value);
    }
    let verb = if args.yes { "removed" } else { "would remove" };
    console.line(format!(
        "{verb} {} objects, {}; {} objects stay, {}",
        count(report.removed_objects),
        bytes(report.freed_bytes),
        count(report.kept_objects),
        bytes(report.kept_bytes)
    ));
    gone.report(console, verb);
    if orphans > 0 {
        console.line(format!("{verb} {} artifacts of runs and models that are gone", count(orphans)));
    }
    // What is not in a cache is in the store behind it.
    if report.missing > 0 && app.store()?.behind().is_none() {
        console.warn(format!("{} objects that are needed are not in the store", count(report.missing)));
        console.hint("`tidemill data pull` fetches them from the remote");
    }
    if !args.yes && (report.removed_objects > 0 || !gone.is_empty()) {
        console.hint("`tidemill gc --yes` removes them");
    }
    if let Some(there) = &there {
        there.report(args, app);
    }
    Ok(())
}

/// What the folder needs, and what it claimed at the store behind it before that was asked.
fn needed(
    app: &App<'_>,
    args: &Gc,
    wanted: &Removal,
    removed: &mut Removed,
    orphans: &mut u64,
    others: &mut Others,
    own: &mut Own,
) -> anyhow::Result<Vec<Root>> {
    own.claims = app.store()?.own_claims()?;
    let roots = swept_roots(app, args, wanted, removed, orphans, others)?;
    if app.store()?.behind().is_some() {
        own.needs.clone_from(&roots);
    }
    Ok(roots)
}

fn keep_runs(args: &Gc) -> usize {
    usize::try_from(args.keep_runs).unwrap_or(usize::MAX)
}

/// Uploads in parts that did not end within these milliseconds, a week, are given up.
const UPLOAD_MS: i64 = 7 * 24 * 3600 * 1000;

/// What stays once the artifacts that nobody owns any more are gone. They go for good only with `yes`.
fn swept_roots(
    app: &App<'_>,
    args: &Gc,
    wanted: &Removal,
    removed: &mut Removed,
    orphans: &mut u64,
    others: &mut Others,
) -> anyhow::Result<Vec<Root>> {
    if args.yes {
        crate::kept::forget_old(app.home(), app.clock.now())?;
    }
    let mut roots = roots::kept(app, keep_runs(args))?;
    *others = roots::others(app, &args.without)?;
    roots.append(&mut others.roots);
    let db = app.db()?;
    let artifacts = app.block(async {
        let mut tx = db.begin().await?;
        *removed = removed::take(&mut tx, wanted, args.yes).await?;
        let gone = tx.delete_orphaned_artifacts().await?;
        tx.drop_uploads(Timestamp::from_millis(app.clock.now().millis() - UPLOAD_MS)).await?;
        let artifacts = tx.artifact_roots().await?;
        *orphans = gone.iter().map(|(_, files)| files).sum();
        if args.yes {
            let event = |(path, files)| app.event(EventKind::ArtifactsDeleted { path, files });
            let mut events = removed.events(app);
            events.extend(gone.into_iter().map(event));
            tx.commit(events).await?;
        }
        anyhow::Ok(artifacts)
    })?;
    roots.extend(artifacts.into_iter().map(roots::artifact));
    Ok(roots)
}
