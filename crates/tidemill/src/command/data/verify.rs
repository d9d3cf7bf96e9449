//! `tidemill data verify`: reads every byte that is stored here, or with `--remote` there, and names what is damaged, and
//! which files need it.

use serde_json::json;
use tidemill_store::{Damage, RemoteRepair};

use super::remote;
use crate::app::App;
use crate::failure::{Exit, Said};
use crate::output::{BAD, GOOD, bytes, count, plural};

pub(super) fn run(repair: bool, app: &App<'_>) -> anyhow::Result<()> {
    let store = app.store()?;
    let bar = app.bar();
    let found_again = if repair { store.reindex(&bar)? } else { 0 };
    let roots = crate::roots::own(app)?;
    let damage = store.verify(&roots, &bar)?;
    let taken_out = if repair { store.discard(&damage)? } else { 0 };
    drop(bar);
    let stats = store.stats();
    let console = app.console;
    if console.json() {
        console.value(&json!({
            "objects": stats.objects, "stored_bytes": stats.stored_bytes, "damage": damage,
            "found_again": found_again, "taken_out": taken_out,
        }))?;
    } else {
        if found_again > 0 {
            let objects = plural(found_again, "object");
            console.line(format!("{objects} of packs without a readable index found again"));
        }
        if damage.is_empty() {
            console.line(format!(
                "{} {}, {}",
                console.out(GOOD, "the store is intact:"),
                plural(stats.objects, "object"),
                bytes(stats.stored_bytes)
            ));
        }
        print(&damage, taken_out, repair, app);
    }
    if damage.is_empty() { Ok(()) } else { Err(Said(Exit::Failed).into()) }
}

/// The same at a remote; the store's own address where no name is given, or else the remote of the project.
pub(super) fn elsewhere(name: &str, repair: bool, app: &App<'_>) -> anyhow::Result<()> {
    let (store, console) = (app.store()?, app.console);
    let remote = match (name, store.behind()) {
        ("", Some(behind)) => behind.clone(),
        ("", None) => remote::open(app, None)?,
        (name, _) => remote::open(app, Some(name))?,
    };
    let roots = crate::roots::own_everywhere(app)?;
    let bar = app.bar();
    let check = app.block(store.verify_remote(&remote, &roots, &bar))?;
    let repaired = if repair && !check.damage.is_empty() {
        Some(app.block(store.repair_remote(&remote, &check.damage, &bar))?)
    } else {
        None
    };
    drop(bar);
    let intact = check.damage.is_empty() && check.missing == 0;
    if console.json() {
        console.value(&json!({
            "remote": remote.url(), "packs": check.packs, "objects": check.objects, "bytes": check.bytes,
            "damage": check.damage, "missing": check.missing, "repaired": repaired,
        }))?;
    } else {
        if intact {
            console.line(format!(
                "{} {}, {}",
                console.out(GOOD, format!("what is at {} is intact:", remote.url())),
                plural(check.objects, "object"),
                bytes(check.bytes)
            ));
        }
        list(&check.damage, app);
        if check.missing > 0 {
            console.warn(format!(
                "{} objects that are needed are not at {}",
                count(check.missing),
                remote.url()
            ));
        }
        match repaired {
            Some(done) => report(&done, app),
            None if !check.damage.is_empty() => console.hint(
                "`--repair` puts what is whole here in its place, and takes out the rest, so that it can be sent again",
            ),
            None => {}
        }
    }
    if intact { Ok(()) } else { Err(Said(Exit::Failed).into()) }
}

fn report(done: &RemoteRepair, app: &App<'_>) {
    let console = app.console;
    if done.replaced > 0 {
        console.line(format!("{} replaced by what is whole here", plural(done.replaced, "damaged object")));
    }
    if done.found_again > 0 {
        let objects = plural(done.found_again, "object");
        console.line(format!("{objects} of packs without a readable index found again"));
    }
    if done.taken_out > 0 {
        console.line(format!("{} taken out", plural(done.taken_out, "damaged object")));
        console.hint(
            "a machine that has them sends them again: `tidemill data push`, `tidemill data add` of the same files, or \
             `tidemill run` of the steps that make them",
        );
    }
}

fn list(damage: &[Damage], app: &App<'_>) {
    let console = app.console;
    for one in damage {
        let object = one.object.map(|object| format!("object {}", object.short())).unwrap_or_default();
        let place = if one.pack.is_empty() {
            object
        } else {
            format!("{} at byte {} {object}", one.pack, one.offset)
        };
        console.line(format!("{} {}: {}", console.out(BAD, "damaged"), place.trim_end(), one.what));
        for file in one.needed_by.iter().take(10) {
            console.line(format!("  needed by {file}"));
        }
        if one.needed_by.len() > 10 {
            console.line(format!("  and {} more", one.needed_by.len() - 10));
        }
    }
}

fn print(damage: &[Damage], taken_out: u64, repair: bool, app: &App<'_>) {
    let console = app.console;
    list(damage, app);
    if taken_out > 0 {
        console.line(format!("{} taken out of the store", plural(taken_out, "damaged object")));
    }
    if damage.is_empty() {
        return;
    }
    let missing = |one: &Damage| one.pack.is_empty();
    if repair || damage.iter().all(missing) {
        console.hint(
            "`tidemill data pull` fetches intact copies from the remote; `tidemill data add` of the same files stores \
             them again, and `tidemill run` the outputs of steps",
        );
    } else {
        console.hint(
            "`tidemill data verify --repair` takes out what is damaged, so that it can be pulled, added or made again",
        );
    }
}
