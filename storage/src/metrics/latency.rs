//! How long something takes, time after time: a histogram that many threads add to.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds of the buckets, in microseconds; what takes longer is in `count` alone.
pub const LATENCY_BOUNDS: [u64; 15] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

#[derive(Debug, Default)]
pub struct Latency {
    within: [AtomicU64; LATENCY_BOUNDS.len()],
    beyond: AtomicU64,
    micros: AtomicU64,
}

/// A histogram at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LatencyCounts {
    /// How many took at most the bound of the same place in [`LATENCY_BOUNDS`].
    pub at_most: [u64; LATENCY_BOUNDS.len()],
    pub count: u64,
    /// What all took together.
    pub micros: u64,
}

impl Latency {
    pub fn add(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = LATENCY_BOUNDS.partition_point(|bound| *bound < micros);
        self.within.get(bucket).unwrap_or(&self.beyond).fetch_add(1, Relaxed);
        self.micros.fetch_add(micros, Relaxed);
    }

    pub fn counts(&self) -> LatencyCounts {
        let mut count = 0;
        let at_most = self.within.each_ref().map(|within| {
            count += within.load(Relaxed);
            count
        });
        count += self.beyond.load(Relaxed);
        LatencyCounts { at_most, count, micros: self.micros.load(Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::{LATENCY_BOUNDS, Latency};
    use std::time::Duration;

    #[test]
    fn a_bound_holds_what_takes_as_long_and_no_longer() {
        let latency = Latency::default();
        for micros in [0, 1_000, 1_001, 60_000_000, 60_000_001] {
            latency.add(Duration::from_micros(micros));
        }
        let counts = latency.counts();
        assert_eq!(counts.at_most[..3], [2, 3, 3]);
        assert_eq!(counts.at_most[LATENCY_BOUNDS.len() - 1], 4);
        assert_eq!((counts.count, counts.micros), (5, 120_002_002));
    }
}
