//! The inference gateway: from a request to a model's answer.
//!
//! An [`Endpoint`] chooses an arm (`route`), the arm's model is ready or gets ready (`models`), the
//! request is laid out for it (`plan`) and looked at (`validate`), it waits its turn (`batch`), and what comes out is
//! counted, recorded, and shown to shadows. What the gateway does not know: protocols, HTTP, the registry, the
//! database. Models come through [`source::ModelSource`], runtimes through [`loader::Loader`], records leave through
//! [`crate::Recorder`].

pub mod allot;
mod answer;
pub mod batch;
pub mod compared;
mod convert;
pub mod decision;
pub mod endpoint;
pub mod fallback;
pub mod folder;
pub mod golden;
mod id;
pub mod led;
pub mod loader;
pub mod manifest;
pub mod metrics;
pub mod model;
pub mod models;
pub mod plan;
pub mod route;
pub mod settings;
mod shadow;
pub mod signature;
pub mod slices;
pub mod slot;
pub mod source;
pub mod trace;
pub mod units;
pub mod validate;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use tidemill_core::Clock;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::{IndexEntry, InferError, Inference, ModelMetadata, ModelState, Recorder, Request, Response};
use endpoint::{Endpoint, EndpointSpec};
use loader::Loader;
use metrics::{ArmMeter, Metrics};
use models::Models;
use settings::Settings;
use shadow::{Role, Shadow, Stage};
use slices::Slices;
use source::{ModelSource, Which};
use trace::Tracer;
use units::Units;

/// The most models that are remembered as asked directly.
const MOST_DIRECT: usize = 10_000;
/// How long the metadata of a model that is not loaded is waited for.
const LOAD: Duration = Duration::from_secs(300);

/// What a gateway is made of.
pub struct Parts {
    /// Where models come from.
    pub source: Arc<dyn ModelSource>,
    /// What prepares them.
    pub loader: Arc<dyn Loader>,
    /// What keeps records; none for no inference log.
    pub recorder: Option<Arc<dyn Recorder>>,
    /// Where the time of records comes from.
    pub clock: Arc<dyn Clock>,
    /// Limits.
    pub settings: Settings,
}

/// Leaves the entries whose names are wanted.
fn keep<T>(map: &ArcSwap<HashMap<Box<str>, Arc<T>>>, is_wanted: impl Fn(&str) -> bool) {
    if map.load().keys().all(|name| is_wanted(name)) {
        return;
    }
    map.rcu(|before| {
        let mut after = HashMap::clone(before);
        after.retain(|name, _| is_wanted(name));
        after
    });
}

/// Answers requests for predictions. Clones share it.
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
}

struct Inner {
    endpoints: ArcSwap<HashMap<Box<str>, Arc<Endpoint>>>,
    direct: ArcSwap<HashMap<Box<str>, Arc<Endpoint>>>,
    /// What is counted by values of inputs, by endpoint.
    slices: ArcSwap<HashMap<Box<str>, Arc<Slices>>>,
    /// What is counted of sticky keys, by endpoint.
    units: ArcSwap<HashMap<Box<str>, Arc<Units>>>,
    /// Held while endpoints are changed.
    changing: Mutex<()>,
    stage: Stage,
    clock: Arc<dyn Clock>,
    settings: Settings,
    tracer: OnceLock<Arc<dyn Tracer>>,
    in_flight: AtomicUsize,
    is_draining: AtomicBool,
    all_gone: Notify,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("in_flight", &self.in_flight()).finish_non_exhaustive()
    }
}

impl Gateway {
    /// A gateway without endpoints. Must be called inside of a runtime.
    pub fn new(parts: Parts) -> Self {
        let metrics = Arc::new(Metrics::default());
        let Parts { source, loader, recorder, clock, settings } = parts;
        let models = Models::new(source, loader, settings.clone(), Arc::clone(&metrics));
        let stage = Stage { models, recorder, metrics, runtime: Handle::current() };
        Self {
            inner: Arc::new(Inner {
                endpoints: ArcSwap::default(),
                direct: ArcSwap::default(),
                slices: ArcSwap::default(),
                units: ArcSwap::default(),
                changing: Mutex::new(()),
                stage,
                clock,
                settings,
                tracer: OnceLock::new(),
                in_flight: AtomicUsize::new(0),
                is_draining: AtomicBool::new(false),
                all_gone: Notify::new(),
            }),
        }
    }

    /// Tells `tracer` of every request from now on; only the first that is given counts.
    pub fn trace(&self, tracer: Arc<dyn Tracer>) {
        // A second one is a mistake of the program that harms nobody.
        let _ = self.inner.tracer.set(tracer);
    }

    /// Its counters.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.inner.stage.metrics
    }

    /// Its models.
    pub fn models(&self) -> &Arc<Models> {
        &self.inner.stage.models
    }

    /// Counts requests of an endpoint by the values of some inputs from now on, up to `most` of each, those of `known` first; or goes on
    /// with what is counted already.
    pub fn slices(
        &self,
        endpoint: &str,
        columns: &[String],
        most: usize,
        known: impl Fn(&str) -> Vec<String>,
    ) -> Arc<Slices> {
        if let Some(slices) = self.inner.slices.load().get(endpoint)
            && slices.columns() == columns
        {
            return Arc::clone(slices);
        }
        let new = Arc::new(Slices::new(columns, most, known));
        self.inner.slices.rcu(|slices| {
            let mut after = HashMap::clone(slices);
            after.insert(endpoint.into(), Arc::clone(&new));
            after
        });
        new
    }

    /// Counts the keys that requests of an endpoint are drawn by from now on, for `owner`; or goes on with what is counted for it already.
    pub fn units(&self, endpoint: &str, owner: u64) -> Arc<Units> {
        if let Some(units) = self.inner.units.load().get(endpoint)
            && units.owner() == owner
        {
            return Arc::clone(units);
        }
        let new = Arc::new(Units::new(owner));
        self.inner.units.rcu(|units| {
            let mut after = HashMap::clone(units);
            after.insert(endpoint.into(), Arc::clone(&new));
            after
        });
        new
    }

    /// Endpoints whose requests are counted by the values of inputs, with their counters.
    pub fn sliced(&self) -> Vec<(String, Arc<Slices>)> {
        let slices = self.inner.slices.load();
        slices.iter().map(|(endpoint, slices)| (endpoint.to_string(), Arc::clone(slices))).collect()
    }

    /// Stops counting by values of inputs where that is not wanted any more.
    pub fn keep_slices(&self, is_wanted: impl Fn(&str) -> bool) {
        keep(&self.inner.slices, is_wanted);
    }

    /// Stops counting keys where that is not wanted any more.
    pub fn keep_units(&self, is_wanted: impl Fn(&str) -> bool) {
        keep(&self.inner.units, is_wanted);
    }

    /// An endpoint that is set.
    pub fn endpoint(&self, name: &str) -> Option<Arc<Endpoint>> {
        self.inner.endpoints.load().get(name).cloned()
    }

    /// How long a request to an endpoint may take, where its caller does not say less.
    pub fn timeout(&self, endpoint: &str) -> Duration {
        let declared = self.endpoint(endpoint).and_then(|endpoint| endpoint.timeout);
        declared.unwrap_or(self.inner.settings.timeout)
    }

    /// The names of the endpoints that are set.
    pub fn endpoints(&self) -> Vec<String> {
        self.inner.endpoints.load().keys().map(|name| name.to_string()).collect()
    }

    /// Loads the models behind a declaration, so that no request waits for them after it is set.
    ///
    /// # Errors
    ///
    /// Of the first model that cannot answer.
    pub async fn prepare(&self, spec: &EndpointSpec) -> Result<(), InferError> {
        for (model, which) in spec.targets() {
            self.models().ready(model, &which, false, Instant::now() + LOAD).await?;
        }
        Ok(())
    }

    /// Sets an endpoint: requests from now on go by it. A revision that is not newer than the one that is set is
    /// ignored, since changes may arrive by two ways.
    ///
    /// # Errors
    ///
    /// Where the declaration was not settled, or records cannot be kept as it says.
    pub fn set_endpoint(&self, name: &str, revision: u64, spec: EndpointSpec) -> Result<(), String> {
        let inner = &self.inner;
        {
            let _held = inner.changing.lock().unwrap_or_else(PoisonError::into_inner);
            let before = inner.endpoints.load();
            if before.get(name).is_some_and(|endpoint| endpoint.revision >= revision) {
                return Ok(());
            }
            let shadow = |arm: &route::Arm, endpoint: &Arc<str>, counted: &Arc<ArmMeter>| {
                let role = Role {
                    counted: Arc::clone(counted),
                    threshold: arm.threshold,
                    endpoint: Arc::clone(endpoint),
                    arm: arm.name.as_str().into(),
                    model: arm.model.as_str().into(),
                    which: Which::parse(arm.version.as_deref()),
                };
                Shadow::start(inner.stage.clone(), role, inner.settings.shadow_queue)
            };
            // First, so that no record of the new declaration is kept by the old one's rules.
            if let Some(recorder) = &inner.stage.recorder {
                recorder.declare(name, &spec.records)?;
            }
            let endpoint = Endpoint::new(name, revision, spec, shadow)?;
            let mut after = HashMap::clone(&before);
            after.insert(name.into(), Arc::new(endpoint));
            inner.endpoints.store(Arc::new(after));
        }
        self.forget_unused();
        Ok(())
    }

    /// Removes an endpoint.
    pub fn remove_endpoint(&self, name: &str) {
        {
            let _held = self.inner.changing.lock().unwrap_or_else(PoisonError::into_inner);
            let mut after = HashMap::clone(&self.inner.endpoints.load());
            after.remove(name);
            self.inner.endpoints.store(Arc::new(after));
        }
        self.forget_unused();
    }

    /// A model, its versions or aliases may have changed.
    pub async fn refresh(&self, model: &str) {
        self.models().refresh(model).await;
    }

    /// Requests that are being answered.
    pub fn in_flight(&self) -> usize {
        self.inner.in_flight.load(Ordering::SeqCst)
    }

    /// Takes no more requests and waits for those that are being answered; `false` if some are not within `limit`.
    pub async fn drain(&self, limit: Duration) -> bool {
        self.inner.is_draining.store(true, Ordering::SeqCst);
        let gone = async {
            loop {
                let notified = self.inner.all_gone.notified();
                if self.in_flight() == 0 {
                    return;
                }
                notified.await;
            }
        };
        tokio::time::timeout(limit, gone).await.is_ok()
    }

    fn forget_unused(&self) {
        let endpoints = self.inner.endpoints.load();
        let arms = || endpoints.values().flat_map(|endpoint| &endpoint.arms);
        self.models().route(arms().map(|arm| (&*arm.model, &arm.which)));
        self.models().keep(|model, which| arms().any(|arm| &*arm.model == model && arm.which == *which));
    }

    /// The endpoint of a request and the arm that it asks for by name or version.
    fn find(&self, name: &str, version: Option<&str>) -> Found {
        let endpoints = self.inner.endpoints.load();
        match (endpoints.get(name), version) {
            (Some(endpoint), None) => {
                return Found { endpoint: Arc::clone(endpoint), arm: None, is_new: false };
            }
            (Some(endpoint), Some(version)) => {
                if let Some(arm) = endpoint.arm_of(version) {
                    return Found { endpoint: Arc::clone(endpoint), arm: Some(arm), is_new: false };
                }
            }
            (None, _) => {}
        }
        self.direct(name, version)
    }

    /// The way to a model without an endpoint.
    fn direct(&self, model: &str, version: Option<&str>) -> Found {
        let key = version.map(|version| format!("{model}\0{version}"));
        let key = key.as_deref().unwrap_or(model);
        if let Some(endpoint) = self.inner.direct.load().get(key) {
            return Found { endpoint: Arc::clone(endpoint), arm: Some(0), is_new: false };
        }
        let endpoint = Arc::new(Endpoint::direct(model, Which::parse(version)));
        Found { endpoint, arm: Some(0), is_new: true }
    }

    /// Remembers a way that led to an answer; names that nobody has are not remembered.
    fn remember(&self, endpoint: &Arc<Endpoint>, version: Option<&str>) {
        let key = match version {
            Some(version) => format!("{}\0{version}", endpoint.name),
            None => endpoint.name.to_string(),
        };
        self.inner.direct.rcu(|direct| {
            let mut after = if direct.len() < MOST_DIRECT { HashMap::clone(direct) } else { HashMap::new() };
            after.entry(key.as_str().into()).or_insert_with(|| Arc::clone(endpoint));
            after
        });
    }

    /// Model and version behind a name, of an endpoint the arm with the most requests.
    fn target(&self, name: &str, version: Option<&str>) -> Target {
        let Found { endpoint, arm, .. } = self.find(name, version);
        let is_direct = endpoint.table.is_none();
        let arm = arm.unwrap_or_else(|| endpoint.main_arm());
        match endpoint.arms.get(arm) {
            Some(arm) => Target { model: Arc::clone(&arm.model), which: arm.which.clone(), is_direct },
            None => Target { model: name.into(), which: Which::parse(version), is_direct },
        }
    }
}

/// Where a name leads to.
struct Found {
    endpoint: Arc<Endpoint>,
    /// The arm that is asked for; none where the routing says it.
    arm: Option<usize>,
    /// Whether it is a way to a model that is not remembered yet.
    is_new: bool,
}

/// A model that is asked about.
struct Target {
    model: Arc<str>,
    which: Which,
    /// Whether no endpoint is in front of it.
    is_direct: bool,
}

#[async_trait]
impl Inference for Gateway {
    async fn infer(&self, request: Request) -> Result<Response, InferError> {
        self.answer(request).await
    }

    fn is_ready(&self) -> bool {
        !self.inner.is_draining.load(Ordering::Relaxed)
    }

    async fn model_state(&self, model: &str, version: Option<&str>) -> Result<ModelState, InferError> {
        let Target { model, which, is_direct } = self.target(model, version);
        let slot = self.models().slot(&model, &which, is_direct).await?;
        let state = slot.model_state();
        if state == ModelState::Loading {
            // Who asks whether a model is ready wants to use it.
            let models = Arc::clone(self.models());
            tokio::spawn(async move { models.ensure(slot, false).await.map(drop) });
        }
        Ok(state)
    }

    async fn metadata(&self, name: &str, version: Option<&str>) -> Result<Arc<ModelMetadata>, InferError> {
        let Target { model, which, is_direct } = self.target(name, version);
        let loaded = self.models().ready(&model, &which, is_direct, Instant::now() + LOAD).await?;
        let metadata = loaded.metadata.load_full();
        if *metadata.name == *name {
            return Ok(metadata);
        }
        Ok(Arc::new(ModelMetadata { name: name.to_owned(), ..ModelMetadata::clone(&metadata) }))
    }

    async fn index(&self, only_ready: bool) -> Result<Vec<IndexEntry>, InferError> {
        let listed = self.models().source().list().await.map_err(models::from_source)?;
        let known: HashMap<(Arc<str>, Arc<str>), ModelState> = self
            .models()
            .statuses()
            .into_iter()
            .map(|status| ((status.model, status.version), status.state))
            .collect();
        let state = |model: &str, version: &str| {
            known.get(&(model.into(), version.into())).cloned().unwrap_or(ModelState::Loading)
        };
        let mut entries: Vec<IndexEntry> = Vec::new();
        for source::Listed { model, versions } in listed {
            entries.extend(versions.into_iter().map(|version| {
                let state = state(&model, &version);
                IndexEntry { name: model.clone(), version, state }
            }));
        }
        let endpoints = self.inner.endpoints.load_full();
        for endpoint in endpoints.values() {
            let Some(arm) = endpoint.arms.get(endpoint.main_arm()) else { continue };
            let entry = match self.models().slot(&arm.model, &arm.which, false).await {
                Ok(slot) => (slot.version.to_string(), slot.model_state()),
                Err(error) => (String::new(), ModelState::Failed(error.to_string())),
            };
            if !entries.iter().any(|known| *known.name == *endpoint.name && known.version == entry.0) {
                entries.push(IndexEntry {
                    name: endpoint.name.to_string(),
                    version: entry.0,
                    state: entry.1,
                });
            }
        }
        entries.retain(|entry| !only_ready || entry.state == ModelState::Ready);
        Ok(entries)
    }

    async fn load(&self, name: &str) -> Result<(), InferError> {
        let endpoint = self.endpoint(name);
        let targets: Vec<(Arc<str>, Which)> = match &endpoint {
            Some(endpoint) => {
                endpoint.arms.iter().map(|arm| (Arc::clone(&arm.model), arm.which.clone())).collect()
            }
            None => vec![(name.into(), Which::Default)],
        };
        let is_direct = endpoint.is_none();
        for (model, which) in targets {
            self.models().load(&model, &which, is_direct).await?;
        }
        Ok(())
    }

    async fn unload(&self, name: &str) -> Result<(), InferError> {
        match self.endpoint(name) {
            Some(endpoint) => {
                for model in endpoint.models() {
                    self.models().unload(model).await?;
                }
                Ok(())
            }
            None => self.models().unload(name).await,
        }
    }
}
