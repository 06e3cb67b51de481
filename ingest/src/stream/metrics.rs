//! Counters of all streams of one server, for /metrics.

use crate::frame::Reason;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Totals since start, `open` excepted. Read them with [`WireMetrics::counts`].
#[derive(Debug, Default)]
pub struct WireMetrics {
    pub(super) open: AtomicU64,
    pub(super) streams: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) messages: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) layouts: AtomicU64,
    pub(super) frames: AtomicU64,
    pub(super) blocks: AtomicU64,
    pub(super) rows: AtomicU64,
    pub(super) values: AtomicU64,
    refused: [AtomicU64; Reason::ALL.len()],
}

/// The counters at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireCounts {
    /// Streams open now.
    pub open: u64,
    /// Streams opened.
    pub streams: u64,
    /// Streams that the server ended with an error.
    pub failed: u64,
    pub messages: u64,
    pub bytes: u64,
    pub layouts: u64,
    pub frames: u64,
    /// Blocks, rows and values handed to the store, resent ones included.
    pub blocks: u64,
    pub rows: u64,
    pub values: u64,
    /// What was refused, each in its reason's own unit, in the order of [`Reason::ALL`].
    pub refused: [(Reason, u64); Reason::ALL.len()],
}

impl WireMetrics {
    pub fn counts(&self) -> WireCounts {
        WireCounts {
            open: self.open.load(Relaxed),
            streams: self.streams.load(Relaxed),
            failed: self.failed.load(Relaxed),
            messages: self.messages.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            layouts: self.layouts.load(Relaxed),
            frames: self.frames.load(Relaxed),
            blocks: self.blocks.load(Relaxed),
            rows: self.rows.load(Relaxed),
            values: self.values.load(Relaxed),
            refused: Reason::ALL.map(|r| (r, self.refused[r as usize].load(Relaxed))),
        }
    }

    pub(super) fn refused(&self, reason: Reason, count: u64) {
        self.refused[reason as usize].fetch_add(count, Relaxed);
    }
}
