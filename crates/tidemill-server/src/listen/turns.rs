//! Futures that wake themselves while they are polled.
//!
//! hyper hands a request's body from its connection to the handler through a channel, and one task polls both ends: each body wakes that task
//! twice while it runs. Through the scheduler every such wake is a turn at the end of its queue, and often another thread that is woken to find
//! nothing to do. Here the future is polled again at once instead, as often as leaves others their turn.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::task::AtomicWaker;

/// Polls in a row before other tasks get their turn.
const AT_ONCE: usize = 8;

/// Not polled and not woken.
const RESTING: u8 = 0;
/// Being polled, and not woken since that began.
const POLLED: u8 = 1;
/// To be polled.
const WOKEN: u8 = 2;

/// When one future of a task is polled: where it was woken, and once more where that happened meanwhile.
pub(super) struct Turns {
    shared: Arc<Shared>,
    waker: Waker,
}

struct Shared {
    state: AtomicU8,
    task: AtomicWaker,
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Whoever finds it polled or woken has nothing to do: it is looked at after the poll, and before the next one.
        if self.state.swap(WOKEN, Ordering::AcqRel) == RESTING {
            self.task.wake();
        }
    }
}

impl Turns {
    /// The future has its first turn when it is asked for.
    pub(super) fn new() -> Self {
        let shared = Arc::new(Shared { state: AtomicU8::new(WOKEN), task: AtomicWaker::new() });
        Self { waker: Waker::from(Arc::clone(&shared)), shared }
    }

    /// Lets the future be polled at the next look, since something was changed that it cannot know of.
    pub(super) fn due(&self) {
        self.shared.state.swap(WOKEN, Ordering::AcqRel);
    }

    /// Polls `future`, always the same one, if it was woken. Not to be called again after it was ready.
    pub(super) fn poll<F: Future>(&self, mut future: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Shared { state, task } = &*self.shared;
        // Before the state is looked at: who wakes it from then on finds the task.
        task.register(cx.waker());
        let mut own = Context::from_waker(&self.waker);
        for _ in 0..AT_ONCE {
            if state.compare_exchange(WOKEN, POLLED, Ordering::AcqRel, Ordering::Acquire).is_err() {
                return Poll::Pending;
            }
            if let Poll::Ready(output) = future.as_mut().poll(&mut own) {
                return Poll::Ready(output);
            }
            if state.compare_exchange(POLLED, RESTING, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::Mutex;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl Count {
        fn get(&self) -> usize {
            self.0.load(Ordering::SeqCst)
        }
    }

    #[test]
    fn what_wakes_itself_is_polled_again_without_its_task() {
        let (wakes, polls) = (Arc::new(Count::default()), AtomicUsize::new(0));
        let waker = Waker::from(Arc::clone(&wakes));
        let mut cx = Context::from_waker(&waker);
        let mut three = pin!(poll_fn(|cx| {
            if polls.fetch_add(1, Ordering::SeqCst) == 2 {
                return Poll::Ready("done");
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        }));
        assert_eq!(Turns::new().poll(three.as_mut(), &mut cx), Poll::Ready("done"));
        assert_eq!((polls.load(Ordering::SeqCst), wakes.get()), (3, 0));
    }

    #[test]
    fn what_wakes_itself_for_ever_leaves_others_their_turn() {
        let (wakes, polls) = (Arc::new(Count::default()), AtomicUsize::new(0));
        let waker = Waker::from(Arc::clone(&wakes));
        let mut cx = Context::from_waker(&waker);
        let mut endless = pin!(poll_fn(|cx| {
            polls.fetch_add(1, Ordering::SeqCst);
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        }));
        let turns = Turns::new();
        for round in 1..=3 {
            assert!(turns.poll(endless.as_mut(), &mut cx).is_pending());
            assert_eq!((polls.load(Ordering::SeqCst), wakes.get()), (round * AT_ONCE, round));
        }
    }

    #[test]
    fn only_what_was_woken_is_polled() {
        let (wakes, polls) = (Arc::new(Count::default()), AtomicUsize::new(0));
        let waker = Waker::from(Arc::clone(&wakes));
        let mut cx = Context::from_waker(&waker);
        let kept: Mutex<Option<Waker>> = Mutex::new(None);
        let mut waiting = pin!(poll_fn(|cx| {
            polls.fetch_add(1, Ordering::SeqCst);
            *kept.lock().unwrap() = Some(cx.waker().clone());
            Poll::<()>::Pending
        }));
        let turns = Turns::new();
        let mut look = || {
            assert!(turns.poll(waiting.as_mut(), &mut cx).is_pending());
            (polls.load(Ordering::SeqCst), wakes.get())
        };
        assert_eq!((look(), look()), ((1, 0), (1, 0)));
        // The task is woken once, however often that is asked for.
        kept.lock().unwrap().as_ref().unwrap().wake_by_ref();
        kept.lock().unwrap().as_ref().unwrap().wake_by_ref();
        assert_eq!((look(), look()), ((2, 1), (2, 1)));
        turns.due();
        assert_eq!(look(), (3, 1));
    }

    /// Wakes from other threads, at any moment of a poll, are all followed by a poll.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_wake_is_lost() {
        const STEPS: usize = 20_000;
        let (step, kept) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicWaker::new()));
        let (stepped, woken) = (Arc::clone(&step), Arc::clone(&kept));
        let other = std::thread::spawn(move || {
            for _ in 0..STEPS {
                stepped.fetch_add(1, Ordering::SeqCst);
                woken.wake();
                std::thread::yield_now();
            }
        });
        let task = tokio::spawn(async move {
            let turns = Turns::new();
            let mut all = pin!(poll_fn(|cx| {
                kept.register(cx.waker());
                if step.load(Ordering::SeqCst) == STEPS { Poll::Ready(()) } else { Poll::Pending }
            }));
            poll_fn(|cx| turns.poll(all.as_mut(), cx)).await;
        });
        tokio::time::timeout(std::time::Duration::from_secs(60), task).await.unwrap().unwrap();
        other.join().unwrap();
    }
}
