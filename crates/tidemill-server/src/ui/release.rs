//! A release: everything that belongs to it, the evidence that it stands on, and where it went.

use tidemill_core::Digest;
use tidemill_db::delivery::RolloutFilter;
use tidemill_deliver::release::Release;
use tidemill_registry::{Code, Error};
use tidemill_ui::{Area, Badge, Block, Cell, Crumb, Empty, Facts, Page, Section, Table, Tone, href};

use super::Made;
use super::ask::Ask;
use super::delivery::waits;
use super::rollout::{LIVE, badge, gate_cells, rollout_link};
use crate::delivery::{plan_of, standing};

/// Rollouts of one release that are listed.
const ROLLOUTS: usize = 50;

pub(super) async fn release(ask: Ask) -> Made {
    let db = ask.app.registry().db();
    let missing = || Error::missing(format!("there is no release `{}`", ask.part(0)));
    let digest: Digest = ask.part(0).parse().map_err(|_| missing())?;
    let kept = db.release(digest).await?.ok_or_else(missing)?;
    let body: Release = serde_json::from_str(&kept.body).map_err(|error| {
        Error::new(Code::InternalError, format!("release {digest} cannot be read: {error}"))
    })?;
    let version = kept.version.to_string();
    let facts = Facts::new("release")
        .with(
            "Model",
            Cell::link(href(&["models", &kept.model, &version], &[]), format!("{} v{version}", kept.model)),
        )
        .with("Content", Cell::Pre(body.content.to_string()))
        .with(
            "Threshold",
            body.threshold.map_or(Cell::text("none: scores are answered as they are"), Cell::Number),
        )
        .with("Signature", body.signature.map_or(Cell::None, |digest| Cell::Pre(digest.to_string())))
        .with("Runtime", Cell::text(body.runtime.clone()))
        .with("Commit", body.commit.clone().map_or(Cell::None, Cell::Pre))
        .with("Made by", Cell::text(kept.author.to_string()))
        .with("Made", Cell::Time(kept.created_at, Some(ask.now)))
        .with("Digest", Cell::Pre(digest.to_string()));
    let rows = body
        .evidence
        .iter()
        .map(|(name, digest)| vec![Cell::text(name.clone()), Cell::Code(digest.to_string())]);
    let evidence = Table::new("evidence", "Evidence", &["what", "digest"]).with(rows).or(Empty::new(
        "No evidence is part of this release",
        "What gates found is with its rollouts below; tests of the model are on the page of its version.",
    ));
    let filter = RolloutFilter { release: Some(digest), ..RolloutFilter::default() };
    let rollouts = db.rollouts(&filter, ROLLOUTS).await?;
    let (mut rows, mut gates) = (Vec::new(), Vec::new());
    for rollout in &rollouts {
        let (plan, state) = (plan_of(rollout)?, standing(rollout, ask.now)?);
        // Where it was one of several, what became of the rollout is not what became of it.
        let own = state.candidates(&plan).into_iter().find(|one| one.release == digest);
        let own = own.and_then(|one| Some(format!("{}: {}", one.fate?.name(), one.fate?.why()?)));
        rows.push(vec![
            Cell::Link(rollout_link(rollout.id)),
            Cell::text(rollout.made.environment.clone()),
            Cell::text(rollout.made.endpoint.clone()),
            Cell::Badge(badge(rollout, &state)),
            Cell::text(own.unwrap_or_else(|| waits(rollout, &state, ask.now))),
            Cell::Time(rollout.made.at, Some(ask.now)),
        ]);
    }
    for (rollout, gate) in db.gate_results_of(digest, 200).await? {
        let mut row = vec![Cell::Link(rollout_link(rollout))];
        row.extend(gate_cells(&ask, gate));
        gates.push(row);
    }
    let columns = ["rollout", "environment", "endpoint", "state", "waits", "began"];
    let rollouts = Table::new("rollouts", "Rollouts", &columns)
        .with(rows)
        .or(Empty::new("It went nowhere", "No rollout was begun with this release."));
    let columns = ["rollout", "gate", "outcome", "what was found", "evidence", "when"];
    let gates = Table::new("gates", "Gates", &columns)
        .with(gates)
        .or(Empty::new("No gate was asked", "Gates are asked when a rollout begins."));
    let quarantined = db.quarantines().await?.into_iter().filter(|one| one.release == digest);
    let badges =
        quarantined.map(|one| Badge::new(Tone::Bad, format!("in quarantine in {}", one.environment)));
    Ok(Page {
        title: format!("Release {} of {} v{version}", digest.short(), kept.model),
        area: Area::Delivery,
        crumbs: vec![Crumb::new("/delivery", "Delivery"), Crumb::new("/delivery/releases", "Releases")],
        badges: badges.collect(),
        lead: "Nothing of a release ever changes: another threshold or another model is another release."
            .into(),
        blocks: vec![
            Block::Section(Section::new("about", "", vec![Block::Facts(facts)])),
            Block::Section(Section::new("rollouts", "Rollouts", vec![Block::Table(rollouts)])),
            Block::Section(Section::new("gates", "Gates", vec![Block::Table(gates)])),
            Block::Section(Section::new("evidence", "Evidence", vec![Block::Table(evidence)])),
        ],
        live: LIVE.to_vec(),
        ..Page::default()
    })
}
