//! Numbers of versions in a store that machines share: learnt before one is looked for, and claimed at the store before one
//! is given here, so that no number ever means two contents.

use std::collections::BTreeMap;

use tidemill_db::{DatasetVersion, NewDatasetVersion};
use tidemill_store::{Remote, Transfer};

use super::remote::{self, RemoteVersion};
use super::transfer::record;
use crate::app::App;

/// Records the versions that others added to the store behind this project's, if there is one.
pub(super) fn learn(app: &App<'_>) -> anyhow::Result<()> {
    let Some(store) = app.store()?.behind() else { return Ok(()) };
    let db = app.db()?;
    app.block(async {
        let datasets = db.datasets().await?;
        let latest: BTreeMap<&str, u64> =
            datasets.iter().map(|dataset| (dataset.name.as_str(), dataset.latest)).collect();
        let mut unknown = Vec::new();
        for name in store.list_refs("datasets").await? {
            let Some((dataset, number)) = remote::parts(&name) else { continue };
            if number > latest.get(dataset).copied().unwrap_or(0) {
                unknown.extend(remote::version(store, &name, dataset).await?);
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        unknown.sort_by(|a, b| (&a.dataset, a.version).cmp(&(&b.dataset, b.version)));
        record(app, db, unknown, store, &Transfer::default()).await.map(drop)
    })
}

/// Makes the next number of the dataset mean this content at the store behind this project's, if there is one. The
/// content is there already. Two machines that add at once get two numbers.
pub(super) fn claim(app: &App<'_>, new: &NewDatasetVersion) -> anyhow::Result<()> {
    let Some(store) = app.store()?.behind() else { return Ok(()) };
    loop {
        learn(app)?;
        let latest = app.block(app.db()?.dataset_version(&new.dataset, None))?;
        // Held already, perhaps claimed by us in a run that was killed.
        if latest.as_ref().is_some_and(|latest| latest.content == new.content) {
            return Ok(());
        }
        let number = latest.map_or(1, |latest| latest.version + 1);
        if app.block(write(store, new, number))? {
            return Ok(());
        }
    }
}

/// Whether the number was free, or is given to this very content.
async fn write(store: &Remote, new: &NewDatasetVersion, number: u64) -> anyhow::Result<bool> {
    let ours = RemoteVersion::of(&DatasetVersion {
        dataset: new.dataset.clone(),
        version: number,
        content: new.content,
        kind: new.kind.clone(),
        bytes: new.bytes,
        files: new.files,
        rows: new.rows,
        schema: new.schema.clone(),
        source: new.source.clone(),
        message: new.message.clone(),
        created_at: new.created_at,
        actor: new.actor.clone(),
    });
    Ok(store.create_ref(&ours.document(), &serde_json::to_vec(&ours)?).await?.is_none())
}
