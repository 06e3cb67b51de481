//! Counters of the statements of one engine.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use warpline_storage::{Latency, LatencyCounts};

/// What happened since the engine was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueryCounts {
    /// From a statement's planning to the first rows of its answer.
    pub first_rows: LatencyCounts,
    /// Statements that failed before their first rows: a limit met, time over. What could not be
    /// parsed, or was given up by its client, is in neither.
    pub failed: u64,
}

#[derive(Debug, Default)]
pub(crate) struct QueryMetrics {
    first_rows: Latency,
    failed: AtomicU64,
}

impl QueryMetrics {
    pub(crate) fn ended<T, E>(&self, outcome: &Result<T, E>, time: Duration) {
        match outcome {
            Ok(_) => self.first_rows.add(time),
            Err(_) => {
                self.failed.fetch_add(1, Relaxed);
            }
        }
    }

    pub(crate) fn counts(&self) -> QueryCounts {
        QueryCounts { first_rows: self.first_rows.counts(), failed: self.failed.load(Relaxed) }
    }
}
