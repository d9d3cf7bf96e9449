//! `tidemill data verify`: reads every stored byte and names what is damaged, and which files need it.

use serde_json::json;

use crate::app::App;
use crate::command::gc::roots;
use crate::failure::{Exit, Said};
use crate::output::{BAD, GOOD, bytes, plural};

pub(super) fn run(app: &App<'_>) -> anyhow::Result<()> {
    let store = app.store()?;
    let roots = roots(app, None)?;
    let bar = app.bar();
    let damage = store.verify(&roots, &bar)?;
    drop(bar);
    let stats = store.stats();
    let console = app.console;
    if console.json() {
        console.value(
            &json!({"objects": stats.objects, "stored_bytes": stats.stored_bytes, "damage": damage}),
        )?;
    } else if damage.is_empty() {
        console.line(format!(
            "{} {}, {}",
            console.out(GOOD, "the store is intact:"),
            plural(stats.objects, "object"),
            bytes(stats.stored_bytes)
        ));
    }
    if damage.is_empty() {
        return Ok(());
    }
    if !console.json() {
        for one in &damage {
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
        console.hint(
            "`tidemill data pull` fetches intact copies from the remote; otherwise add the files again",
        );
    }
    Err(Said(Exit::Failed).into())
}
