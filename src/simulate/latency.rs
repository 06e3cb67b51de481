//! How long frames take to become durable: a histogram that all streams share.
//!
//! Buckets grow by an eighth of an octave, so a quantile read from it is at most 9 % too high.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

const PER_OCTAVE: f64 = 8.0;
/// The last bucket ends beyond an hour.
const BUCKETS: usize = 256;

#[derive(Debug)]
pub(super) struct Latencies {
    buckets: [AtomicU64; BUCKETS],
}

/// From handing a frame to its stream to knowing it durable.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Latency {
    pub p50: Duration,
    pub p99: Duration,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { buckets: std::array::from_fn(|_| AtomicU64::new(0)) }
    }
}

impl Latencies {
    pub(super) fn record(&self, latency: Duration) {
        let octaves = (latency.as_micros() as f64 + 1.0).log2();
        let bucket = ((octaves * PER_OCTAVE) as usize).min(BUCKETS - 1);
        self.buckets[bucket].fetch_add(1, Relaxed);
    }

    /// `None` where nothing was recorded.
    pub(super) fn latency(&self) -> Option<Latency> {
        let counts: Vec<u64> = self.buckets.iter().map(|bucket| bucket.load(Relaxed)).collect();
        let all: u64 = counts.iter().sum();
        (all > 0)
            .then(|| Latency { p50: quantile(&counts, all, 50), p99: quantile(&counts, all, 99) })
    }
}

/// The upper end of the bucket that holds the `percent`th percentile.
fn quantile(counts: &[u64], all: u64, percent: u64) -> Duration {
    let rank = (all * percent).div_ceil(100);
    let mut below = 0;
    let bucket = counts.iter().position(|count| {
        below += count;
        below >= rank
    });
    let octaves = (bucket.unwrap_or(BUCKETS - 1) + 1) as f64 / PER_OCTAVE;
    Duration::from_micros((octaves.exp2() - 1.0) as u64)
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        write!(
            f,
            "latency p50_ms={:.3} p99_ms={:.3}",
            milliseconds(self.p50),
            milliseconds(self.p99)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_close_from_above() {
        let latencies = Latencies::default();
        assert_eq!(latencies.latency(), None);
        for milliseconds in 1..=100 {
            latencies.record(Duration::from_millis(milliseconds));
        }
        let Latency { p50, p99 } = latencies.latency().expect("some were recorded");
        for (found, exact) in [(p50, 50.0), (p99, 99.0)] {
            let ratio = found.as_secs_f64() * 1e3 / exact;
            assert!((1.0..1.1).contains(&ratio), "{found:?} for {exact} ms");
        }
    }

    #[test]
    fn nothing_is_too_long() {
        let latencies = Latencies::default();
        latencies.record(Duration::MAX);
        assert!(latencies.latency().is_some());
    }
}
