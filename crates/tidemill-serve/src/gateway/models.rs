//! The life of models: loaded when they are first asked for, loaded again without a gap, unloaded when room is needed.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;

use super::loader::{Loader, on_own_thread};
use super::metrics::Metrics;
use super::model::{Loaded, load};
use super::settings::Settings;
use super::slot::{ModelStatus, Slot, State, lock};
use super::source::{ModelSource, SourceError, Which};
use crate::{InferError, ModelState};

/// The most ways to models that are remembered; beyond, those that no endpoint uses are looked up again.
const MOST_WAYS: usize = 10_000;

/// All models of a gateway.
pub struct Models {
    source: Arc<dyn ModelSource>,
    loader: Arc<dyn Loader>,
    settings: Settings,
    metrics: Arc<Metrics>,
    /// What each way of asking for a model leads to. Copied for a change, so that requests read it without a lock.
    ways: ArcSwap<Ways>,
    /// Held while the ways are changed.
    changing: Mutex<()>,
    slots: Mutex<HashMap<(Box<str>, Box<str>), Arc<Slot>>>,
    /// What the arms of endpoints are.
    routed: ArcSwap<HashSet<(Box<str>, Which)>>,
    loads: Semaphore,
    /// Held while room is made and a model put into it.
    settling: Mutex<()>,
    began: Instant,
}

type Ways = HashMap<Box<str>, HashMap<Which, Way>>;

#[derive(Clone)]
struct Way {
    slot: Arc<Slot>,
    /// Whether a caller asked for it without an endpoint.
    is_direct: Arc<AtomicBool>,
}

impl Models {
    /// None is loaded yet.
    pub fn new(
        source: Arc<dyn ModelSource>,
        loader: Arc<dyn Loader>,
        settings: Settings,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let loads = Semaphore::new(settings.loads_at_once.max(1));
        Arc::new(Self {
            source,
            loader,
            settings,
            metrics,
            ways: ArcSwap::default(),
            changing: Mutex::new(()),
            slots: Mutex::default(),
            routed: ArcSwap::default(),
            loads,
            settling: Mutex::new(()),
            began: Instant::now(),
        })
    }

    /// The models that were asked for.
    pub fn names(&self) -> Vec<String> {
        self.ways.load().keys().map(|model| model.to_string()).collect()
    }

    /// Bytes that loaded models may occupy together, where there is a limit.
    pub fn memory_budget(&self) -> Option<u64> {
        self.settings.memory_budget
    }

    /// Where models come from.
    pub fn source(&self) -> &Arc<dyn ModelSource> {
        &self.source
    }

    /// The model if it is loaded: the way of nearly all requests. `now` is the time of the request.
    pub fn loaded(&self, model: &str, which: &Which, now: Instant) -> Option<Arc<Loaded>> {
        let ways = self.ways.load();
        let slot = &ways.get(model)?.get(which)?.slot;
        let loaded = slot.loaded.load_full()?;
        slot.touch(self.began, now);
        Some(loaded)
    }

    /// The model, loaded first where it is not; waits for that until `deadline`.
    pub async fn ready(
        self: &Arc<Self>,
        model: &str,
        which: &Which,
        is_direct: bool,
        deadline: Instant,
    ) -> Result<Arc<Loaded>, InferError> {
        let now = Instant::now();
        if let Some(loaded) = self.loaded(model, which, now) {
            return Ok(loaded);
        }
        let slot = self.slot(model, which, is_direct).await?;
        slot.touch(self.began, now);
        let (name, version) = (Arc::clone(&slot.model), Arc::clone(&slot.version));
        match tokio::time::timeout_at(deadline.into(), self.ensure(slot, false)).await {
            Ok(loaded) => loaded,
            Err(_) => Err(InferError::Unavailable {
                message: format!("model `{name}` version `{version}` is being loaded"),
                retry_after: Some(Duration::from_secs(1)),
            }),
        }
    }

    /// The place of a version, looked up where it is not known yet.
    pub async fn slot(&self, model: &str, which: &Which, is_direct: bool) -> Result<Arc<Slot>, InferError> {
        if let Some(way) = self.ways.load().get(model).and_then(|ways| ways.get(which)) {
            if is_direct && !way.is_direct.load(Ordering::Relaxed) {
                way.is_direct.store(true, Ordering::Relaxed);
            }
            return Ok(Arc::clone(&way.slot));
        }
        let version = self.source.resolve(model, which).await.map_err(from_source)?;
        let slot = self.place(model, &version);
        let way = Way { slot: Arc::clone(&slot), is_direct: Arc::new(AtomicBool::new(is_direct)) };
        self.change(|ways| {
            if ways.values().map(HashMap::len).sum::<usize>() >= MOST_WAYS {
                ways.retain(|_, ways| {
                    ways.retain(|_, way| !way.is_direct.load(Ordering::Relaxed));
                    !ways.is_empty()
                });
            }
            ways.entry(model.into()).or_default().entry(which.clone()).or_insert(way);
        });
        Ok(slot)
    }

    /// Loads a version where it is not loaded, or in any case. Requests that come meanwhile are answered by what was
    /// loaded before. It goes on where the caller goes.
    pub async fn ensure(self: &Arc<Self>, slot: Arc<Slot>, again: bool) -> Result<Arc<Loaded>, InferError> {
        let models = Arc::clone(self);
        let task = tokio::spawn(async move { models.load_one(&slot, again).await });
        task.await.unwrap_or_else(|_| Err(InferError::Internal("loading the model was cut off".to_owned())))
    }

    /// Loads what is behind a name anew, also where it was unloaded on request.
    pub async fn load(
        self: &Arc<Self>,
        model: &str,
        which: &Which,
        is_direct: bool,
    ) -> Result<Arc<Loaded>, InferError> {
        self.refresh(model).await;
        let slot = self.slot(model, which, is_direct).await?;
        slot.set(State::Lazy);
        self.ensure(slot, true).await
    }

    /// Unloads every version of a model; it is not loaded again until somebody asks for that.
    pub async fn unload(&self, model: &str) -> Result<(), InferError> {
        let versions = self.source.versions(model).await.map_err(from_source)?;
        for version in versions {
            let slot = self.place(model, &version);
            // A load that is going on ends first, or it would undo this.
            let _held = slot.loading.lock().await;
            slot.set(State::Unloaded);
            dismiss(slot.loaded.swap(None));
        }
        Ok(())
    }

    /// Looks again what each way to a model leads to. A new version is loaded before requests go to it; where that
    /// fails, they stay where they were.
    pub async fn refresh(self: &Arc<Self>, model: &str) {
        let Some(ways) = self.ways.load().get(model).cloned() else { return };
        for (which, way) in ways {
            match self.source.resolve(model, &which).await {
                Ok(version) if *version == *way.slot.version => {}
                Ok(version) => {
                    let next = self.place(model, &version);
                    if way.slot.loaded.load().is_some()
                        && let Err(error) = self.ensure(Arc::clone(&next), false).await
                    {
                        tracing::error!(model, version, %error, "a new version cannot answer; the old one goes on");
                        continue;
                    }
                    self.change(|ways| {
                        if let Some(way) = ways.get_mut(model).and_then(|ways| ways.get_mut(&which)) {
                            way.slot = next;
                        }
                    });
                }
                Err(SourceError::NotFound(_)) => self.change(|ways| {
                    if let Some(ways) = ways.get_mut(model) {
                        ways.remove(&which);
                    }
                }),
                Err(error) => tracing::warn!(model, %error, "cannot look which version is meant now"),
            }
        }
        self.sweep();
        let loaded: Vec<Arc<Loaded>> = lock(&self.slots)
            .values()
            .filter(|slot| *slot.model == *model)
            .filter_map(|slot| slot.loaded.load_full())
            .collect();
        if loaded.is_empty() {
            return;
        }
        if let Ok(versions) = self.source.versions(model).await {
            loaded.iter().for_each(|loaded| loaded.set_versions(versions.clone()));
        }
    }

    /// Forgets ways that neither an endpoint nor a caller uses.
    pub fn keep(&self, is_used: impl Fn(&str, &Which) -> bool) {
        self.change(|ways| {
            ways.retain(|model, ways| {
                ways.retain(|which, way| way.is_direct.load(Ordering::Relaxed) || is_used(model, which));
                !ways.is_empty()
            });
        });
        self.sweep();
    }

    /// How a way to a model stands.
    pub async fn state(&self, model: &str, which: &Which) -> Result<ModelState, InferError> {
        Ok(self.slot(model, which, true).await?.model_state())
    }

    /// Every version that was asked for.
    pub fn statuses(&self) -> Vec<ModelStatus> {
        let mut statuses: Vec<ModelStatus> =
            lock(&self.slots).values().map(|slot| slot.status(self.began)).collect();
        statuses.sort_by(|a, b| (&a.model, &a.version).cmp(&(&b.model, &b.version)));
        statuses
    }

    async fn load_one(&self, slot: &Arc<Slot>, again: bool) -> Result<Arc<Loaded>, InferError> {
        let _held = slot.loading.lock().await;
        if let Some(loaded) = slot.loaded.load_full()
            && !again
        {
            return Ok(loaded);
        }
        slot.may_load(again)?;
        let _permit = self.loads.acquire().await.map_err(|_| cut_off())?;
        slot.set(State::Loading);
        let loaded = match self.read(slot).await {
            Ok(loaded) => self.settle(slot, loaded),
            Err(why) => Err(why),
        };
        match loaded {
            Ok(loaded) => {
                slot.set(State::Lazy);
                self.metrics.loads.fetch_add(1, Ordering::Relaxed);
                let Loaded { model, version, memory, .. } = &*loaded;
                tracing::info!(%model, %version, memory, "loaded a model");
                Ok(loaded)
            }
            Err(why) => {
                self.metrics.load_failures.fetch_add(1, Ordering::Relaxed);
                let Slot { model, version, .. } = &**slot;
                let why = format!("model `{model}` version `{version}` cannot be loaded: {why}");
                tracing::error!("{why}");
                slot.set(State::Failed {
                    why: why.clone(),
                    until: Instant::now() + self.settings.load_pause,
                });
                Err(InferError::Unavailable { message: why, retry_after: Some(self.settings.load_pause) })
            }
        }
    }

    async fn read(&self, slot: &Arc<Slot>) -> Result<Loaded, String> {
        let (model, version) = (&slot.model, &slot.version);
        let versions = self.source.versions(model).await.map_err(|error| error.to_string())?;
        let bundle = self.source.fetch(model, version).await.map_err(|error| error.to_string())?;
        let (loader, metrics) = (Arc::clone(&self.loader), Arc::clone(&self.metrics));
        match on_own_thread(move || load(bundle, versions, &*loader, &metrics)).await {
            Ok(Some(loaded)) => loaded,
            Ok(None) => Err("its runtime panicked".to_owned()),
            Err(error) => Err(format!("no thread can be started for it: {error}")),
        }
    }

    /// Puts a model into its place, after room was made for it. One at a time, or two would take the same room.
    fn settle(&self, slot: &Arc<Slot>, loaded: Loaded) -> Result<Arc<Loaded>, String> {
        let _held = lock(&self.settling);
        let loaded = Arc::new(loaded);
        if let Err(why) = self.make_room(slot, loaded.memory) {
            dismiss([loaded]);
            return Err(why);
        }
        dismiss(slot.loaded.swap(Some(Arc::clone(&loaded))));
        Ok(loaded)
    }

    /// Says what the arms of endpoints are from now on: what they use is not unloaded to make room while it is warm.
    pub fn route<'a>(&self, arms: impl Iterator<Item = (&'a str, &'a Which)>) {
        let routed = arms.map(|(model, which)| (model.into(), which.clone())).collect();
        self.routed.store(Arc::new(routed));
    }

    /// The slots of endpoints' arms.
    fn routed_slots(&self) -> Vec<Arc<Slot>> {
        let (ways, routed) = (self.ways.load(), self.routed.load());
        let slot = |(model, which): &(Box<str>, Which)| Some(Arc::clone(&ways.get(model)?.get(which)?.slot));
        routed.iter().filter_map(slot).collect()
    }

    /// Unloads the least recently used models until there is room for one more; those of endpoints' arms only where they were idle for
    /// long, or the candidate of a rollout would drive out the release that answers.
    fn make_room(&self, slot: &Arc<Slot>, memory: u64) -> Result<(), String> {
        let Some(budget) = self.settings.memory_budget else { return Ok(()) };
        if memory > budget {
            return Err(format!("it occupies {memory} bytes and all models together may occupy {budget}"));
        }
        let others: Vec<Arc<Slot>> =
            lock(&self.slots).values().filter(|other| !Arc::ptr_eq(other, slot)).map(Arc::clone).collect();
        let mut others: Vec<(u64, u64, Arc<Slot>)> = others
            .into_iter()
            .filter_map(|other| {
                let memory = other.loaded.load().as_ref()?.memory_now();
                Some((other.last_used.load(Ordering::Relaxed), memory, other))
            })
            .collect();
        let mut occupied: u64 = others.iter().map(|(_, memory, _)| memory).sum();
        let routed = self.routed_slots();
        let is_routed = |other: &Arc<Slot>| routed.iter().any(|slot| Arc::ptr_eq(slot, other));
        let is_warm = |used: u64, other: &Arc<Slot>| {
            let idle = self.began.elapsed().saturating_sub(Duration::from_millis(used));
            is_routed(other) && idle < self.settings.keep_warm
        };
        let warm: u64 = others.iter().filter(|(used, _, other)| is_warm(*used, other)).map(|one| one.1).sum();
        if warm.saturating_add(memory) > budget {
            return Err(format!(
                "it occupies {memory} bytes, the models that endpoints use now {warm}, and all together may occupy \
                 {budget}; raise `--model-memory`, or delete an endpoint"
            ));
        }
        others.retain(|(used, _, other)| !is_warm(*used, other));
        others.sort_by_key(|(used, _, other)| (is_routed(other), *used));
        for (_, freed, other) in others {
            if occupied.saturating_add(memory) <= budget {
                break;
            }
            dismiss(other.loaded.swap(None));
            occupied -= freed;
            self.metrics.evictions.fetch_add(1, Ordering::Relaxed);
            tracing::info!(model = %other.model, version = %other.version, "unloaded a model to make room");
        }
        Ok(())
    }

    /// The place of a version, made where there is none.
    fn place(&self, model: &str, version: &str) -> Arc<Slot> {
        let mut slots = lock(&self.slots);
        let slot = slots
            .entry((model.into(), version.into()))
            .or_insert_with(|| Arc::new(Slot::new(model, version)));
        Arc::clone(slot)
    }

    /// Unloads what no way leads to any more. Versions that were unloaded on request stay known.
    fn sweep(&self) {
        let ways = self.ways.load();
        let is_used = |slot: &Arc<Slot>| {
            let mut ways = ways.get(&*slot.model).into_iter().flat_map(HashMap::values);
            ways.any(|way| Arc::ptr_eq(&way.slot, slot))
        };
        let mut unused = Vec::new();
        lock(&self.slots).retain(|_, slot| {
            let stays = is_used(slot)
                || slot.loading.try_lock().is_err()
                || matches!(*lock(&slot.state), State::Unloaded);
            if !stays {
                unused.push(Arc::clone(slot));
            }
            stays
        });
        dismiss(unused);
    }

    fn change(&self, change: impl FnOnce(&mut Ways)) {
        let _held = lock(&self.changing);
        let mut ways = Ways::clone(&self.ways.load());
        change(&mut ways);
        self.ways.store(Arc::new(ways));
    }
}

/// What a caller hears of an error of the source.
pub fn from_source(error: SourceError) -> InferError {
    match error {
        SourceError::NotFound(message) => InferError::NotFound(message),
        SourceError::Broken(message) => InferError::Unavailable { message, retry_after: None },
        SourceError::Unavailable(message) => {
            InferError::Unavailable { message, retry_after: Some(Duration::from_secs(1)) }
        }
    }
}

/// Lets go of what is not used any more, where that may take its time: the workers of a model end with it.
fn dismiss<T: Send + 'static>(unused: impl IntoIterator<Item = T>) {
    let unused: Vec<T> = unused.into_iter().collect();
    if unused.is_empty() {
        return;
    }
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(move || drop(unused))),
        Err(_) => drop(unused),
    }
}

fn cut_off() -> InferError {
    InferError::Internal("loading the model was cut off".to_owned())
}

#[cfg(test)]
mod tests;
