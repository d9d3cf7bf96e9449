//! The demo's time: the year of the flights. Only the demo has it; a server that `tidemill up` starts knows the machine's clock alone.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Instant;

use tidemill_core::{Clock, Timestamp};

/// A clock that stands where it is put, until it is let go.
#[derive(Debug)]
pub(super) struct Replayed(Mutex<(Timestamp, Option<Instant>)>);

impl Replayed {
    pub(super) fn at(now: Timestamp) -> Self {
        Self(Mutex::new((now, None)))
    }

    /// Puts it forward.
    pub(super) fn set(&self, now: Timestamp) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0 = now;
    }

    /// From here on it goes as fast as any other.
    pub(super) fn let_go(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1 = Some(Instant::now());
    }
}

impl Clock for Replayed {
    fn now(&self) -> Timestamp {
        let (at, since) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.map_or(at, |since| at.plus(since.elapsed()))
    }
}
