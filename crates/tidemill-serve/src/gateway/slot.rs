//! The place of one version of a model: loaded, to be loaded, unloaded or failed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio::sync::Mutex as AsyncMutex;

use super::model::Loaded;
use crate::{InferError, ModelState};

/// The place of one version of a model, loaded or not.
pub struct Slot {
    /// The model.
    pub model: Arc<str>,
    /// The version.
    pub version: Arc<str>,
    pub(super) loaded: ArcSwapOption<Loaded>,
    /// Milliseconds after the gateway began.
    pub(super) last_used: AtomicU64,
    pub(super) state: Mutex<State>,
    /// Held while it is loaded.
    pub(super) loading: AsyncMutex<()>,
}

#[derive(Clone, Debug)]
pub(super) enum State {
    /// It is loaded, or will be when it is asked for.
    Lazy,
    Loading,
    Unloaded,
    Failed {
        why: String,
        until: Instant,
    },
}

/// How a model stands.
#[derive(Clone, Debug)]
pub struct ModelStatus {
    /// The model.
    pub model: Arc<str>,
    /// The version.
    pub version: Arc<str>,
    /// Whether it can answer.
    pub state: ModelState,
    /// What is loaded.
    pub loaded: Option<Arc<Loaded>>,
    /// How long ago it was asked last; none if never.
    pub idle: Option<Duration>,
}

impl Slot {
    /// Of a version that is loaded when it is asked for.
    pub(super) fn new(model: &str, version: &str) -> Self {
        Self {
            model: model.into(),
            version: version.into(),
            loaded: ArcSwapOption::empty(),
            last_used: AtomicU64::new(0),
            state: Mutex::new(State::Lazy),
            loading: AsyncMutex::default(),
        }
    }

    pub(super) fn touch(&self, began: Instant, now: Instant) {
        let millis =
            u64::try_from(now.saturating_duration_since(began).as_millis()).unwrap_or(u64::MAX).max(1);
        // A line that many threads write is slow; ten milliseconds are as good.
        if millis.saturating_sub(self.last_used.load(Ordering::Relaxed)) >= 10 {
            self.last_used.store(millis, Ordering::Relaxed);
        }
    }

    pub(super) fn set(&self, state: State) {
        *lock(&self.state) = state;
    }

    /// Whether a load may be tried.
    pub(super) fn may_load(&self, again: bool) -> Result<(), InferError> {
        let (model, version) = (&self.model, &self.version);
        match lock(&self.state).clone() {
            State::Unloaded => Err(InferError::Unavailable {
                message: format!("model `{model}` version `{version}` was unloaded; ask to load it first"),
                retry_after: None,
            }),
            State::Failed { why, until } if !again && Instant::now() < until => {
                let retry_after = Some(until.saturating_duration_since(Instant::now()));
                Err(InferError::Unavailable { message: why, retry_after })
            }
            State::Lazy | State::Loading | State::Failed { .. } => Ok(()),
        }
    }

    /// Whether it can answer.
    pub fn model_state(&self) -> ModelState {
        match lock(&self.state).clone() {
            State::Unloaded => ModelState::Unloaded,
            _ if self.loaded.load().is_some() => ModelState::Ready,
            State::Lazy | State::Loading => ModelState::Loading,
            State::Failed { why, .. } => ModelState::Failed(why),
        }
    }

    pub(super) fn status(&self, began: Instant) -> ModelStatus {
        let used = self.last_used.load(Ordering::Relaxed);
        ModelStatus {
            model: Arc::clone(&self.model),
            version: Arc::clone(&self.version),
            state: self.model_state(),
            loaded: self.loaded.load_full(),
            idle: (used > 0).then(|| began.elapsed().saturating_sub(Duration::from_millis(used))),
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
