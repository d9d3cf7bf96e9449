//! Results that come in any order, given out in the order of the rows.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;

use super::PredictError;

/// Where results wait for their turn.
pub(super) struct Order {
    state: Mutex<State>,
    /// Told when a result has come or the work has ended.
    came: Condvar,
    /// Told when a result was given out.
    gone: Condvar,
    /// Bytes that may wait. Those whose turn it is never wait for others.
    bytes: usize,
}

struct State {
    /// By stream and number in it.
    waiting: BTreeMap<(usize, u64), RecordBatch>,
    bytes: usize,
    /// How many results each stream has, where that is known.
    lengths: HashMap<usize, u64>,
    next: (usize, u64),
    streams: usize,
    failed: Option<PredictError>,
    has_failed: bool,
}

impl Order {
    pub(super) fn new(streams: usize, bytes: usize) -> Self {
        Self {
            state: Mutex::new(State {
                waiting: BTreeMap::new(),
                bytes: 0,
                lengths: HashMap::new(),
                next: (0, 0),
                streams,
                failed: None,
                has_failed: false,
            }),
            came: Condvar::new(),
            gone: Condvar::new(),
            bytes,
        }
    }

    /// Brings a result; waits while too much of later streams waits. `false` where the work has ended.
    pub(super) fn put(&self, stream: usize, number: u64, result: RecordBatch) -> bool {
        let size = result.get_array_memory_size();
        let mut state = self.lock();
        while !state.has_failed && state.bytes + size > self.bytes && state.next != (stream, number) {
            // Of the stream that is given out, all that comes is needed soon: only others wait for long.
            if stream == state.next.0 && state.bytes + size <= 2 * self.bytes {
                break;
            }
            state = self.gone.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.has_failed {
            return false;
        }
        state.bytes += size;
        state.waiting.insert((stream, number), result);
        drop(state);
        self.came.notify_all();
        true
    }

    /// A stream has no more than `length` results.
    pub(super) fn ended(&self, stream: usize, length: u64) {
        self.lock().lengths.insert(stream, length);
        self.came.notify_all();
    }

    /// The work ends with an error, the first that comes.
    pub(super) fn fail(&self, error: PredictError) {
        let mut state = self.lock();
        if !state.has_failed {
            (state.has_failed, state.failed) = (true, Some(error));
        }
        drop(state);
        self.came.notify_all();
        self.gone.notify_all();
    }

    /// The next result; `None` at the end.
    pub(super) fn take(&self) -> Option<Result<RecordBatch, PredictError>> {
        let mut state = self.lock();
        loop {
            if state.has_failed {
                return state.failed.take().map(Err);
            }
            let next = state.next;
            if next.0 >= state.streams {
                return None;
            }
            if let Some(batch) = state.waiting.remove(&next) {
                state.bytes -= batch.get_array_memory_size();
                state.next.1 += 1;
                drop(state);
                self.gone.notify_all();
                return Some(Ok(batch));
            }
            if state.lengths.get(&next.0).is_some_and(|length| *length <= next.1) {
                state.next = (next.0 + 1, 0);
                self.gone.notify_all();
                continue;
            }
            state = self.came.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
