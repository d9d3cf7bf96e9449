//! What the rivers of a page are made of, read once however many projects there are.

use std::collections::BTreeMap;

use tidemill_db::Dataset;
use tidemill_db::delivery::{Environment, Rollout};
use tidemill_db::models::RegisteredModel;
use tidemill_registry::Error;
use tidemill_serve::ModelState;
use tidemill_serve::gateway::metrics::{ArmLabels, ArmTotals};

use super::ask::Ask;
use super::expectations::{self, Checked};
use super::rollout::{Names, names};
use super::stations::Blocked;
use super::{delivery, monitoring, serving};

/// Registered models and endpoints that are looked at.
const MODELS: i64 = 1_000;
const ENDPOINTS: usize = 1_000;

/// Everything that belongs to some project.
pub(super) struct Shared {
    pub(super) datasets: Vec<Dataset>,
    /// The newest check of each dataset, by its name.
    pub(super) checks: BTreeMap<String, Checked>,
    /// Alerts that fire, by money, with their endpoints.
    pub(super) firing: Vec<(String, Blocked)>,
    pub(super) models: Vec<RegisteredModel>,
    /// Endpoints with the models that answer there; none where the declaration cannot be read.
    pub(super) endpoints: Vec<(String, Vec<String>)>,
    pub(super) environments: Vec<Environment>,
    /// Rollouts that are not over.
    pub(super) rollouts: Vec<Rollout>,
    /// What those of them wait for that go on only when somebody decides, by number.
    pub(super) undecided: BTreeMap<u64, String>,
    /// The releases of environments and rollouts.
    pub(super) names: Names,
    /// What was answered, by endpoint and arm.
    pub(super) totals: Vec<(ArmLabels, ArmTotals)>,
    /// Versions that were asked for: model, version, state.
    pub(super) loaded: Vec<(String, String, ModelState)>,
}

impl Shared {
    pub(super) async fn read(ask: &Ask) -> Result<Self, Error> {
        let registry = ask.app.registry();
        let db = registry.db();
        let environments = db.environments().await?;
        let rollouts = delivery::on_their_way(ask).await?;
        let candidates = rollouts.iter().map(|rollout| rollout.made.candidate);
        let names = names(ask, environments.iter().map(|one| one.release).chain(candidates)).await?;
        let undecided = delivery::undecided(&rollouts, ask.now)?;
        let undecided = undecided.into_iter().map(|(rollout, why)| (rollout.id, why)).collect();
        let endpoints = db.endpoints_after(None, ENDPOINTS).await?.into_iter().map(|endpoint| {
            let arms = serving::read(&endpoint.spec).map(|spec| spec.arms).unwrap_or_default();
            (endpoint.name, arms.into_iter().map(|arm| arm.model).collect())
        });
        let endpoints = endpoints.collect();
        let statuses = ask.app.serving().map(|serving| serving.gateway().models().statuses());
        let loaded = statuses
            .into_iter()
            .flatten()
            .map(|status| (status.model.to_string(), status.version.to_string(), status.state))
            .collect();
        Ok(Self {
            datasets: db.datasets().await?,
            checks: expectations::newest(ask).await?,
            firing: monitoring::firing(ask).await?,
            models: registry.search_models("", &[], Some(MODELS), None).await?.items,
            endpoints,
            undecided,
            names,
            totals: serving::totals(ask),
            loaded,
            environments,
            rollouts,
        })
    }
}
