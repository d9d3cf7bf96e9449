//! The time within which the head of a request must have come, for one connection.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

/// A timer for deadlines of which one holds at a time, each later than the last. hyper sets one for each request and drops it with the head;
/// here the runtime's timer stays set for the first of them, and is set anew only when that one is over.
#[derive(Clone, Debug, Default)]
pub(super) struct HeadTimer(Arc<Mutex<Option<Pin<Box<tokio::time::Sleep>>>>>);

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Until { deadline: deadline.into(), timer: self.clone() })
    }
}

struct Until {
    deadline: tokio::time::Instant,
    timer: HeadTimer,
}

impl Sleep for Until {}

impl Future for Until {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline;
        let mut kept = self.timer.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sleep = kept.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_deadline_is_its_own() {
        let timer = HeadTimer::default();
        let begun = Instant::now();
        let (first, second) = (begun + Duration::from_millis(50), begun + Duration::from_millis(400));
        // The head came before the first deadline, which is forgotten.
        let mut early = timer.sleep_until(first);
        assert!(futures::poll!(early.as_mut()).is_pending());
        drop(early);
        timer.sleep_until(second).await;
        assert!(Instant::now() >= second, "it ended after {:?}", begun.elapsed());
        // One that is over already is; an earlier one than that which is set does not wait for it.
        tokio::time::timeout(Duration::from_secs(30), timer.sleep_until(first)).await.unwrap();
        let mut late = timer.sleep_until(Instant::now() + Duration::from_secs(600));
        assert!(futures::poll!(late.as_mut()).is_pending());
        let soon = timer.sleep_until(Instant::now() + Duration::from_millis(20));
        tokio::time::timeout(Duration::from_secs(30), soon).await.unwrap();
    }
}
