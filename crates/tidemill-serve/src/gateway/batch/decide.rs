//! Whether to run what waits now or to wait for more: decided from numbers, without a clock.

use std::time::Duration;

/// What a worker sees when it looks at the queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    /// Requests that wait.
    pub(super) requests: usize,
    /// Their rows.
    pub(super) rows: usize,
    /// How long the oldest one has waited.
    pub(super) oldest: Duration,
    /// How long ago the newest one came.
    pub(super) newest: Duration,
    /// The usual time between two requests, where it is known.
    pub(super) gap: Option<Duration>,
    /// The time until a call must begin so that every request is answered before its deadline.
    pub(super) slack: Duration,
    /// Whether waiting has been worth it lately, or may be tried again.
    pub(super) is_promising: bool,
}

/// What a worker does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing waits.
    Idle,
    /// Run what waits.
    Run,
    /// Look again when another request comes, or after this time.
    Wait(Duration),
}

/// Decides. A call takes at most `max_batch` rows, and a request waits at most `max_wait` for others.
pub(super) fn decide(view: View, max_batch: usize, max_wait: Duration) -> Decision {
    if view.requests == 0 {
        return Decision::Idle;
    }
    let left = max_wait.saturating_sub(view.oldest).min(view.slack);
    if view.rows >= max_batch || left.is_zero() || !view.is_promising {
        return Decision::Run;
    }
    // Nobody is likely to come in time; or a stream that has been coming has stopped.
    let Some(gap) = view.gap.filter(|gap| *gap <= left) else { return Decision::Run };
    let patience = (gap * 2).saturating_sub(view.newest);
    if patience.is_zero() { Decision::Run } else { Decision::Wait(left.min(patience)) }
}

/// Learns whether waiting is worth it. Clients that each wait for their answer before they ask again can look like a
/// stream that never comes: after fruitless waits, waiting is tried ever more rarely.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    fruitless: u32,
    skip: u32,
}

impl Pace {
    /// Whether the next batch may wait.
    pub(super) fn is_promising(self) -> bool {
        self.skip == 0
    }

    /// A batch was run; `waited` is whether requests joined it while it waited, none where it did not wait.
    pub(super) fn after(&mut self, waited: Option<bool>) {
        match waited {
            Some(true) => *self = Self::default(),
            Some(false) => {
                self.fruitless = (self.fruitless + 1).min(6);
                self.skip = 1 << self.fruitless;
            }
            None => self.skip = self.skip.saturating_sub(1),
        }
    }
}

/// A mean that forgets: each value moves it by an eighth.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mean(Option<Duration>);

impl Mean {
    /// Adds a value; a second counts for any longer time.
    pub(super) fn add(&mut self, value: Duration) {
        let value = value.min(Duration::from_secs(1));
        self.0 = Some(match self.0 {
            None => value,
            Some(mean) => (mean * 7 + value) / 8,
        });
    }

    /// The mean, if there was a value.
    pub(super) const fn get(&self) -> Option<Duration> {
        self.0
    }
}

/// When `waiting` requests will be through, each taking `each` of one of `workers`: what `Retry-After` says.
pub(super) fn expected_wait(waiting: usize, each: Option<Duration>, workers: usize) -> Duration {
    let each = each.unwrap_or(Duration::from_millis(10));
    let rounds = u32::try_from(waiting / workers.max(1)).unwrap_or(u32::MAX).saturating_add(1);
    each.saturating_mul(rounds).clamp(Duration::from_millis(1), Duration::from_secs(60))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_table_of_decisions() {
        let calm = View {
            requests: 1,
            rows: 1,
            oldest: ms(0),
            newest: ms(0),
            gap: Some(ms(1)),
            slack: ms(1000),
            is_promising: true,
        };
        for (why, view, expect) in [
            ("nothing there", View { requests: 0, rows: 0, ..calm }, Decision::Idle),
            ("a stream", calm, Decision::Wait(ms(2))),
            ("full", View { rows: 8, ..calm }, Decision::Run),
            ("more than full", View { rows: 80, ..calm }, Decision::Run),
            ("waited enough", View { oldest: ms(5), ..calm }, Decision::Run),
            ("the rest of the budget", View { oldest: ms(4), ..calm }, Decision::Wait(ms(1))),
            ("a deadline is near", View { slack: ms(0), ..calm }, Decision::Run),
            ("a deadline comes before the budget", View { slack: ms(1), ..calm }, Decision::Wait(ms(1))),
            ("nothing known of the stream", View { gap: None, ..calm }, Decision::Run),
            ("nobody comes in time", View { gap: Some(ms(6)), ..calm }, Decision::Run),
            ("the stream has stopped", View { newest: ms(2), ..calm }, Decision::Run),
            ("the stream may have stopped", View { newest: ms(1), ..calm }, Decision::Wait(ms(1))),
            ("waiting never helped", View { is_promising: false, ..calm }, Decision::Run),
        ] {
            assert_eq!(decide(view, 8, ms(5)), expect, "{why}");
        }
        assert_eq!(decide(calm, 8, ms(0)), Decision::Run, "no budget");
    }

    #[test]
    fn fruitless_waits_become_rare_and_a_good_one_forgets_them() {
        let mut pace = Pace::default();
        let mut waits = 0;
        for _ in 0..1000 {
            let waited = pace.is_promising().then_some(false);
            waits += u32::from(waited.is_some());
            pace.after(waited);
        }
        assert!((10..30).contains(&waits), "{waits}");
        while !pace.is_promising() {
            pace.after(None);
        }
        pace.after(Some(true));
        assert!(pace.is_promising());
    }

    #[test]
    fn means_and_expected_waits() {
        let mut mean = Mean::default();
        assert_eq!(mean.get(), None);
        mean.add(ms(8));
        mean.add(ms(16));
        assert_eq!(mean.get(), Some(ms(9)));
        mean.add(Duration::from_secs(100));
        assert!(mean.get().unwrap() < ms(140));
        assert_eq!(expected_wait(100, Some(ms(10)), 2), ms(510));
        assert_eq!(expected_wait(usize::MAX, Some(ms(10)), 1), Duration::from_secs(60));
        assert_eq!(expected_wait(0, Some(Duration::ZERO), 1), ms(1));
    }
}
