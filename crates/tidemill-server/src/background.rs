//! Work that goes on beside requests: loops that deliver, watch and tidy up.
//!
//! A loop is registered before or while the server answers, and ends when the server stops. It is given a token and must
//! return soon after that is cancelled; what it cannot finish it finds again at the next start.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

/// The loops of one server. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Background {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Background {
    /// Starts a loop. Must be called inside of a runtime.
    pub fn spawn<F>(&self, name: &'static str, work: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (work, stop) = (work(self.stop.clone()), self.stop.clone());
        let watched = async move {
            work.await;
            // A loop that ends by itself has nothing to do any more, or panicked, which the runtime reports.
            if !stop.is_cancelled() {
                tracing::debug!(loop.name = name, "a background loop ended");
            }
        };
        self.tasks.spawn(watched.instrument(tracing::info_span!("background", loop.name = name)));
    }

    /// Resolves when the server is about to stop: for answers without an end, for example a stream of events.
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Asks every loop to end.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits for the loops; `false` if some go on after `limit`.
    pub(crate) async fn wait(&self, limit: Duration) -> bool {
        self.tasks.close();
        tokio::time::timeout(limit, self.tasks.wait()).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test]
    async fn loops_end_when_they_are_asked_to() {
        let (background, ended) = (Background::default(), Arc::new(AtomicBool::new(false)));
        let flag = Arc::clone(&ended);
        background.spawn("tidy", |stop| async move {
            stop.cancelled().await;
            flag.store(true, Ordering::SeqCst);
        });
        background.spawn("stubborn", |_| std::future::pending());
        background.stop();
        assert!(!background.wait(Duration::from_millis(50)).await, "one loop never ends");
        assert!(ended.load(Ordering::SeqCst), "the other one did");
    }
}
