//! How the data that runs read differ, and where that is told in full.

use std::collections::BTreeMap;

use tidemill_core::Name;
use tidemill_db::DatasetVersion;
use tidemill_db::tracking::{InputDataset, Run};
use tidemill_registry::Error;
use tidemill_ui::{Block, Cell, Section, Table};

use super::ask::Ask;
use super::difference;

/// Datasets that are listed.
const MOST: usize = 50;
/// Digits of the digest that steps note of what they read: half of it.
const NOTED: usize = 32;

/// The datasets that runs read in different contents, with the first two of them; nothing where all of them read the same.
pub(super) async fn section(ask: &Ask, runs: &[Run]) -> Result<Option<Section>, Error> {
    let mut read: BTreeMap<&str, Vec<&InputDataset>> = BTreeMap::new();
    for dataset in runs.iter().flat_map(|run| &run.datasets) {
        let contents = read.entry(dataset.name.as_str()).or_default();
        if contents.iter().all(|known| known.digest != dataset.digest) {
            contents.push(dataset);
        }
    }
    read.retain(|_, contents| contents.len() > 1);
    if read.is_empty() {
        return Ok(None);
    }
    let latest = ask.app.registry().db().latest_dataset_versions().await?;
    let mut rows = Vec::new();
    for (name, contents) in read.iter().take(MOST) {
        let [from, to, ..] = contents[..] else { continue };
        let difference = match versions(ask, &latest, [from, to]).await? {
            Some((dataset, [from, to])) => {
                Cell::link(difference::place(dataset.as_str(), from, to), format!("v{from} → v{to}"))
            }
            None => Cell::None,
        };
        rows.push(vec![
            Cell::text(*name),
            Cell::Code(from.digest.clone()),
            Cell::Code(to.digest.clone()),
            Cell::Count(contents.len() as u64),
            difference,
        ]);
    }
    let columns = ["dataset", "first content", "second content", "contents", "what changed"];
    let table = Table::new("data", "Data that differ", &columns).with(rows);
    let mut note = "Datasets of which the runs read different contents, in the order of the runs.".to_owned();
    if read.len() > MOST {
        note += &format!(" The first {MOST} of {} are listed.", read.len());
    }
    Ok(Some(Section::new("data", "Data that differ", vec![Block::Table(table)]).note(note)))
}

/// The dataset and its versions that two contents are; nothing where they are not versioned here.
async fn versions(
    ask: &Ask,
    latest: &[DatasetVersion],
    contents: [&InputDataset; 2],
) -> Result<Option<(Name, [u64; 2])>, Error> {
    let are_noted = contents.iter().all(|one| one.source_type == "tidemill");
    let known = latest.iter().find(|known| known.source == contents[0].name).filter(|_| are_noted);
    let Some(known) = known else { return Ok(None) };
    let all = ask.app.registry().db().dataset_versions(&known.dataset).await?;
    let [from, to] = contents.map(|one| {
        let found = all.iter().find(|version| is_content(one, version));
        found.map(|version| version.version)
    });
    Ok(from.zip(to).map(|(from, to)| (known.dataset.clone(), [from, to])))
}

/// Whether it is this version that a step noted to have read.
pub(super) fn is_content(read: &InputDataset, version: &DatasetVersion) -> bool {
    read.digest.len() == NOTED && version.content.hex().starts_with(&read.digest)
}
