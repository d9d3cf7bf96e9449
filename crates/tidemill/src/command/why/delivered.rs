//! What became of a version: releases, gates, rollouts, and where it is now.

use std::collections::BTreeSet;

use tidemill_core::{Digest, Event, EventKind};
use tidemill_db::delivery::{Release, Rollout, RolloutFilter};
use tidemill_db::models::ModelVersion;
use tidemill_server::delivery::{plan_of, record_in_words, state_of};

use super::{Chain, Part};
use crate::output::plural;

impl Chain<'_, '_> {
    /// What became of the version: releases, gates, rollouts, and where it is now.
    pub(super) fn delivered(&mut self, version: &ModelVersion, releases: &[Release]) -> anyhow::Result<()> {
        let mut own = BTreeSet::new();
        for release in releases {
            own.insert(release.digest);
            let created = self.events(&format!("release:{}", release.digest), Some("release.created"))?;
            let what = format!("release {} by {}", release.digest.short(), release.author.name);
            match created.first() {
                Some(event) => self.event(Part::Release, event, what),
                None => self.fact(Part::Release, release.created_at, what),
            }
        }
        for rollout in self.rollouts(&own)? {
            self.rollout(&rollout)?;
            self.fate(&rollout, &own)?;
        }
        self.now(version, &own)
    }

    /// The rollouts of these releases, oldest first.
    fn rollouts(&self, releases: &BTreeSet<Digest>) -> anyhow::Result<Vec<Rollout>> {
        let mut found: Vec<Rollout> = Vec::new();
        for release in releases {
            let filter = RolloutFilter { release: Some(*release), ..RolloutFilter::default() };
            found.extend(self.app.block(self.app.db()?.rollouts(&filter, usize::MAX))?);
        }
        found.sort_by_key(|rollout| rollout.id);
        Ok(found)
    }

    fn rollout(&mut self, rollout: &Rollout) -> anyhow::Result<()> {
        let db = self.app.db()?;
        let events = self.events(&format!("rollout:{}", rollout.id), None)?;
        for gate in self.app.block(db.gate_results(rollout.id))? {
            let said = if gate.passed { "passed" } else { "did not pass" };
            let evidence =
                gate.evidence.map(|digest| format!(", evidence {}", digest.short())).unwrap_or_default();
            let detail = if gate.detail.is_empty() { String::new() } else { format!(": {}", gate.detail) };
            let what = format!("rollout {}: `{}` {said}{detail}{evidence}", rollout.id, gate.gate);
            self.fact(Part::Gates, gate.at, what);
        }
        for event in &events {
            if let EventKind::RolloutApproved { role, identity, .. } = &event.kind {
                let (id, by, how) = (rollout.id, &event.actor.name, identity.words());
                let what = format!("rollout {id}: approved by {by} as {role}, {how}");
                self.event(Part::Gates, event, what);
            }
        }
        for event in &events {
            let what = match &event.kind {
                EventKind::RolloutStarted { endpoint, environment, incumbent, rivals, .. } => {
                    let beside = match rivals.len() {
                        0 => String::new(),
                        others => format!(", tried beside {}", plural(others as u64, "other")),
                    };
                    let against = incumbent.map_or("nothing ran there".to_owned(), |incumbent| {
                        format!("against release {}", incumbent.short())
                    });
                    format!("rollout {} at `{endpoint}` in `{environment}`, {against}{beside}", rollout.id)
                }
                EventKind::RolloutMoved { from, to, why, evidence, .. } => {
                    let evidence =
                        evidence.map(|digest| format!(", evidence {}", digest.short())).unwrap_or_default();
                    format!("rollout {}: {from} -> {to}: {why}{evidence}", rollout.id)
                }
                kind => match record_in_words(kind) {
                    Some(record) => format!("rollout {}: record in Git: {record}", rollout.id),
                    None => continue,
                },
            };
            self.event(Part::Rollout, event, what);
        }
        Ok(())
    }

    /// What became of the version where it was one of several candidates, which is not what became of the rollout.
    fn fate(&mut self, rollout: &Rollout, releases: &BTreeSet<Digest>) -> anyhow::Result<()> {
        let (plan, state) = (plan_of(rollout)?, state_of(rollout)?);
        for one in state.candidates(&plan).iter().filter(|one| releases.contains(&one.release)) {
            let Some((fate, at)) = one.fate.and_then(|fate| Some((fate, fate.at()?))) else { continue };
            let (name, why) = (one.name.unwrap_or_default(), fate.why().unwrap_or_default());
            let what = format!("rollout {}: {name} is {}: {why}", rollout.id, fate.name());
            self.fact(Part::Rollout, at, what);
        }
        Ok(())
    }

    fn now(&mut self, version: &ModelVersion, releases: &BTreeSet<Digest>) -> anyhow::Result<()> {
        let db = self.app.db()?;
        let before = self.links.len();
        for environment in self.app.block(db.environments())? {
            if releases.contains(&environment.release) {
                let what = format!(
                    "`{}` runs it at `{}`, by rollout {}",
                    environment.name, environment.endpoint, environment.rollout
                );
                self.fact(Part::Now, environment.updated_at, what);
            } else if let Some(event) = self.left(&environment.name, &environment.endpoint, releases)? {
                let what = format!(
                    "`{}` no longer runs it at `{}`; release {} does",
                    environment.name,
                    environment.endpoint,
                    environment.release.short()
                );
                self.event(Part::Now, &event, what);
            }
        }
        for quarantine in self.app.block(db.quarantines())? {
            if releases.contains(&quarantine.release) {
                let what = format!("in quarantine in `{}`: {}", quarantine.environment, quarantine.reason);
                self.fact(Part::Now, quarantine.at, what);
            }
        }
        if !version.aliases.is_empty() {
            let words = if version.aliases.len() == 1 { "alias" } else { "aliases" };
            let what = format!("{words} {}", version.aliases.join(", "));
            self.fact(Part::Now, version.updated_at, what);
        }
        if self.links.len() == before {
            let tried = plural(releases.len() as u64, "release");
            let what = format!("no environment runs it, and no alias points at it ({tried})");
            self.fact(Part::Now, version.updated_at, what);
        }
        Ok(())
    }

    /// When an environment last went from one of these releases to another.
    fn left(
        &self,
        environment: &str,
        endpoint: &str,
        releases: &BTreeSet<Digest>,
    ) -> anyhow::Result<Option<Event>> {
        let moved = self.events(&format!("environment:{environment}"), Some("environment.moved"))?;
        Ok(moved.into_iter().rev().find(|event| match &event.kind {
            EventKind::EnvironmentMoved { endpoint: at, from: Some(from), .. } => {
                at == endpoint && releases.contains(from)
            }
            _ => false,
        }))
    }
}
