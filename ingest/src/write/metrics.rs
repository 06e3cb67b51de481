//! Counters of what is written by other protocols, for /metrics.

use super::answer::Failure;
use crate::refused::{Reason, Refused};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How a request was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Protocol {
    RemoteWrite1,
    RemoteWrite2,
    /// InfluxDB's line protocol; its fields count as samples.
    Lines,
    Otlp,
    /// Arrow Flight; each batch counts as a request.
    Flight,
}

impl Protocol {
    pub const ALL: [Self; 5] =
        [Self::RemoteWrite1, Self::RemoteWrite2, Self::Lines, Self::Otlp, Self::Flight];

    /// The word used in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::RemoteWrite1 => "remote_write_1",
            Self::RemoteWrite2 => "remote_write_2",
            Self::Lines => "influx",
            Self::Otlp => "otlp",
            Self::Flight => "flight",
        }
    }
}

/// Totals since start.
#[derive(Debug, Default)]
pub struct WriteMetrics {
    requests: [AtomicU64; Protocol::ALL.len()],
    bytes: [AtomicU64; Protocol::ALL.len()],
    samples: [AtomicU64; Protocol::ALL.len()],
    refused: [AtomicU64; Reason::ALL.len()],
    stale: AtomicU64,
}

/// The counters at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteCounts {
    /// Requests that were taken, in part at least; bytes of their bodies; samples read from them.
    pub requests: [(Protocol, u64); Protocol::ALL.len()],
    pub bytes: [(Protocol, u64); Protocol::ALL.len()],
    pub samples: [(Protocol, u64); Protocol::ALL.len()],
    /// What was refused, each in its reason's own unit.
    pub refused: [(Reason, u64); Reason::ALL.len()],
    /// Samples that said that their series has ended.
    pub stale: u64,
    /// Series remembered by their labels or lines.
    pub series: u64,
}

impl Default for WriteCounts {
    fn default() -> Self {
        WriteMetrics::default().counts(0)
    }
}

impl WriteMetrics {
    pub(super) fn request(&self, protocol: Protocol, bytes: usize, samples: u64) {
        self.requests[protocol as usize].fetch_add(1, Relaxed);
        self.bytes[protocol as usize].fetch_add(bytes as u64, Relaxed);
        self.samples[protocol as usize].fetch_add(samples, Relaxed);
    }

    pub(super) fn stale(&self, count: u64) {
        self.stale.fetch_add(count, Relaxed);
    }

    pub(super) fn refused(&self, refused: &Refused) {
        for reason in Reason::ALL {
            self.refused[reason as usize].fetch_add(refused.count(reason), Relaxed);
        }
    }

    pub(super) fn failed(&self, failure: &Failure) {
        if let Some(reason) = failure.reason() {
            self.refused[reason as usize].fetch_add(1, Relaxed);
        }
    }

    pub(super) fn counts(&self, series: u64) -> WriteCounts {
        let by_protocol = |counters: &[AtomicU64]| {
            Protocol::ALL.map(|protocol| (protocol, counters[protocol as usize].load(Relaxed)))
        };
        WriteCounts {
            requests: by_protocol(&self.requests),
            bytes: by_protocol(&self.bytes),
            samples: by_protocol(&self.samples),
            refused: Reason::ALL.map(|r| (r, self.refused[r as usize].load(Relaxed))),
            stale: self.stale.load(Relaxed),
            series,
        }
    }
}
