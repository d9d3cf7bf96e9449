//! Effects that may take long, each in a task of its own: a rollout that goes back waits for no model of another one.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::JoinHandle;

/// How long one that was just begun is waited for: most are done by then, since their models are loaded.
const PATIENCE: Duration = Duration::from_millis(50);

/// Effects of one kind that are being brought about, by rollout.
pub(super) struct Slow<T> {
    running: BTreeMap<u64, Running<T>>,
}

/// The effect by its number, and its task, which ends when nobody wants it any more.
struct Running<T> {
    due: u64,
    task: JoinHandle<T>,
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<T> Default for Slow<T> {
    fn default() -> Self {
        Self { running: BTreeMap::new() }
    }
}

impl<T: Send + 'static> Slow<T> {
    /// Forgets rollouts that are over.
    pub(super) fn keep(&mut self, is_live: impl Fn(u64) -> bool) {
        self.running.retain(|rollout, _| is_live(*rollout));
    }

    /// Rollouts whose effect has come about since it was asked for.
    pub(super) fn ready(&self) -> impl Iterator<Item = u64> {
        self.running.iter().filter(|(_, one)| one.task.is_finished()).map(|(rollout, _)| *rollout)
    }

    /// What came of an effect of a rollout, which is begun where it was not; nothing while it goes on, and it is to be asked for again. With
    /// `waits` it is waited for. An error says that its task was lost.
    pub(super) async fn of<F>(
        &mut self,
        (rollout, due): (u64, u64),
        waits: bool,
        work: impl FnOnce() -> F,
    ) -> Option<Result<T, String>>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let is_new = self.running.get(&rollout).is_none_or(|running| running.due != due);
        if is_new {
            self.running.insert(rollout, Running { due, task: tokio::spawn(work()) });
        }
        let running = self.running.get_mut(&rollout)?;
        let done = if waits {
            (&mut running.task).await
        } else if is_new {
            tokio::time::timeout(PATIENCE, &mut running.task).await.ok()?
        } else if running.task.is_finished() {
            (&mut running.task).await
        } else {
            return None;
        };
        self.running.remove(&rollout);
        Some(done.map_err(|error| error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_that_hangs_keeps_nobody_waiting() {
        let mut slow: Slow<u64> = Slow::default();
        assert_eq!(slow.of((2, 1), false, std::future::pending::<u64>).await, None);
        assert_eq!(slow.of((1, 7), false, || async { 5 }).await, Some(Ok(5)));
        let begin = std::time::Instant::now();
        assert_eq!(slow.of((2, 1), false, || async { 6 }).await, None, "it goes on, and is not begun again");
        assert!(begin.elapsed() < PATIENCE, "it is waited for once");
        assert_eq!(
            slow.of((2, 2), true, || async { 8 }).await,
            Some(Ok(8)),
            "another effect takes its place"
        );
        let later = || async {
            tokio::time::sleep(2 * PATIENCE).await;
            9
        };
        assert_eq!(slow.of((3, 1), false, later).await, None);
        tokio::time::sleep(4 * PATIENCE).await;
        assert_eq!(slow.ready().collect::<Vec<_>>(), [3]);
        assert_eq!(slow.of((3, 1), false, later).await, Some(Ok(9)));
        slow.keep(|_| false);
        assert!(slow.running.is_empty());
    }
}
