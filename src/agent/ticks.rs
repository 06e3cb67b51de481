//! When ticks are: whole multiples of an interval by the machine's clock, each once.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tracing::warn;
use warpline_storage::model::Timestamp;

/// No source is asked more often.
pub(super) const SHORTEST: Duration = Duration::from_millis(1);

/// Ticks that were missed are told together.
const TOLD_EVERY: Duration = Duration::from_mins(1);

/// The ticks of one source; each source has its own, so that a slow one misses its own alone.
#[derive(Debug)]
pub(super) struct Ticks {
    source: String,
    interval: Duration,
    last: Timestamp,
    missed: i64,
    told: Option<Instant>,
}

impl Ticks {
    /// Ticks from now on; `source` is whom the log names when some are missed.
    pub(super) fn new(source: String, interval: Duration) -> Self {
        Self { source, interval, last: now(), missed: 0, told: None }
    }

    /// Waits for the next tick and returns its time.
    pub(super) async fn next(&mut self) -> Timestamp {
        let now = now();
        if stepped_back(now, self.last, self.interval) {
            let back = micros_between(now, self.last);
            warn!("the clock is {back:?} back: {} goes on by it", self.source);
            self.last = now;
        }
        let tick = next_tick(now, self.last, self.interval);
        self.miss((tick - self.last) / self.interval.as_micros() as i64 - 1);
        tokio::time::sleep(micros_between(now, tick)).await;
        self.last = tick;
        tick
    }

    fn miss(&mut self, ticks: i64) {
        self.missed += ticks;
        if self.missed > 0 && self.told.is_none_or(|told| told.elapsed() >= TOLD_EVERY) {
            warn!("{}: {} ticks were missed: it was too slow", self.source, self.missed);
            self.missed = 0;
            self.told = Some(Instant::now());
        }
    }
}

/// How long a source may take at most: it must be done before the next tick.
pub(super) fn patience(timeout: Duration, interval: Duration) -> Duration {
    timeout.min(interval * 9 / 10)
}

pub(super) fn now() -> Timestamp {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as Timestamp)
}

/// Whether the last tick is so far ahead of the clock that waiting for the next would be a gap.
fn stepped_back(now: Timestamp, last: Timestamp, interval: Duration) -> bool {
    micros_between(now, last) > interval
}

fn micros_between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::from_micros((to - from).max(0).cast_unsigned())
}

/// The next multiple of the interval after both times.
fn next_tick(now: Timestamp, last: Timestamp, interval: Duration) -> Timestamp {
    let step = interval.as_micros() as i64;
    (now.max(last).div_euclid(step) + 1) * step
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_whole_multiples() {
        let second = Duration::from_secs(1);
        assert_eq!(next_tick(1_500_000, 0, second), 2_000_000);
        assert_eq!(next_tick(2_000_000, 2_000_000, second), 3_000_000, "never the same twice");
        assert_eq!(next_tick(1_900_000, 2_000_000, second), 3_000_000, "nor after a step back");
        assert_eq!(next_tick(7_300_000, 2_000_000, second), 8_000_000, "missed ones are passed");
    }

    #[test]
    fn a_clock_that_steps_back_far_is_followed() {
        let second = Duration::from_secs(1);
        assert!(!stepped_back(1_000_000, 1_000_000, second));
        assert!(!stepped_back(1_900_000, 2_000_000, second), "a small step makes no tick twice");
        assert!(stepped_back(1_000_000, 3_601_000_000, second));
        assert!(!stepped_back(3_601_000_000, 1_000_000, second), "missed ticks are no step back");
    }

    #[test]
    fn a_source_is_given_up_before_the_next_tick() {
        let second = Duration::from_secs(1);
        assert_eq!(patience(Duration::from_secs(10), second), Duration::from_millis(900));
        assert_eq!(patience(Duration::from_millis(200), second), Duration::from_millis(200));
    }
}
