//! Counters of one open store.

use crate::log::Entry;
use crate::model::Block;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What happened since the store was opened, and what it holds now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Rows made durable.
    pub rows: u64,
    /// Values made durable: rows times columns, absent ones included.
    pub values: u64,
    pub batches: u64,
    /// Batches dropped because their sequence had been taken already.
    pub duplicate_batches: u64,
    /// Bytes of log on disk now.
    pub log_bytes: u64,
    pub log_syncs: u64,
    /// Bytes of rows in memory now, those that only a running query holds included.
    pub buffer_bytes: u64,
    /// Bytes of the newest rows of series in files, kept for `latest`.
    pub latest_bytes: u64,
    pub flushes: u64,
    pub flush_failures: u64,
    pub flushed_rows: u64,
    pub flushed_bytes: u64,
    pub tables: u64,
    pub series: u64,
    pub files: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) rows: AtomicU64,
    pub(crate) values: AtomicU64,
    pub(crate) batches: AtomicU64,
    pub(crate) duplicate_batches: AtomicU64,
    pub(crate) log_bytes: AtomicU64,
    pub(crate) log_syncs: AtomicU64,
    pub(crate) flushes: AtomicU64,
    pub(crate) flush_failures: AtomicU64,
    pub(crate) flushed_rows: AtomicU64,
    pub(crate) flushed_bytes: AtomicU64,
}

impl Counters {
    pub(crate) fn count(&self, entry: &Entry) {
        let rows: usize = entry.blocks.iter().map(Block::rows).sum();
        let values: usize =
            entry.blocks.iter().map(|block| block.rows() * block.layout().columns().len()).sum();
        self.rows.fetch_add(rows as u64, Relaxed);
        self.values.fetch_add(values as u64, Relaxed);
        self.batches.fetch_add(1, Relaxed);
    }

    /// The counters; what the store holds now is left at 0.
    pub(crate) fn read(&self) -> Metrics {
        Metrics {
            rows: self.rows.load(Relaxed),
            values: self.values.load(Relaxed),
            batches: self.batches.load(Relaxed),
            duplicate_batches: self.duplicate_batches.load(Relaxed),
            log_bytes: self.log_bytes.load(Relaxed),
            log_syncs: self.log_syncs.load(Relaxed),
            flushes: self.flushes.load(Relaxed),
            flush_failures: self.flush_failures.load(Relaxed),
            flushed_rows: self.flushed_rows.load(Relaxed),
            flushed_bytes: self.flushed_bytes.load(Relaxed),
            ..Metrics::default()
        }
    }
}
