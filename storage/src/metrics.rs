//! Counters of one open store.

mod latency;

pub use latency::{LATENCY_BOUNDS, Latency, LatencyCounts};

use crate::log::Entry;
use crate::model::{Block, Timestamp};
use crate::snapshot::{DataFile, Level};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

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
    /// Whether the log waits for room on its disk.
    pub log_full: bool,
    /// How often it had to begin to.
    pub log_waits: u64,
    /// Bytes of rows in memory now, those that only a running query holds included.
    pub buffer_bytes: u64,
    /// Bytes of the newest rows of series in files, kept for `latest`.
    pub latest_bytes: u64,
    pub flushes: u64,
    pub flush_failures: u64,
    pub flushed_rows: u64,
    pub flushed_bytes: u64,
    pub merges: u64,
    /// Rows that merges wrote, and bytes that they read and wrote.
    pub merged_rows: u64,
    pub merge_read_bytes: u64,
    pub merge_written_bytes: u64,
    pub merge_micros: u64,
    /// Rows and bytes that rollups wrote.
    pub rolled_rows: u64,
    pub rolled_bytes: u64,
    pub roll_micros: u64,
    /// Rows removed because their time was up.
    pub expired_rows: u64,
    /// Data files deleted after they were replaced or left behind.
    pub deleted_files: u64,
    /// Merges, rollups and removals that failed; each is tried again.
    pub maintenance_failures: u64,
    pub tables: u64,
    pub series: u64,
    pub files: u64,
    /// Files and their bytes by level: flush, hour, day.
    pub levels: [LevelMetrics; 3],
    /// How long the newest row of the oldest file that no merge has taken lies back.
    pub merge_lag: Duration,
    /// From a batch's coming to its being durable, the wait for memory included.
    pub durable: LatencyCounts,
    /// Writing and syncing a group of batches to the log.
    pub log_sync: LatencyCounts,
    /// A flush, from its seal until its files are shown, tries that failed included.
    pub flush: LatencyCounts,
    /// Committing the files of a flush to a table.
    pub table_commit: LatencyCounts,
}

/// The files of one level of all tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LevelMetrics {
    pub files: u64,
    pub bytes: u64,
}

impl Metrics {
    /// Takes a table's files into what the store holds.
    pub(crate) fn add_files(&mut self, files: &[Arc<DataFile>], now: Timestamp) {
        self.files += files.len() as u64;
        for file in files {
            let level = &mut self.levels[file.level as usize];
            level.files += 1;
            level.bytes += file.bytes;
            if file.level == Level::Flush {
                let behind = now.saturating_sub(file.times.last).max(0).cast_unsigned();
                self.merge_lag = self.merge_lag.max(Duration::from_micros(behind));
            }
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) rows: AtomicU64,
    pub(crate) values: AtomicU64,
    pub(crate) batches: AtomicU64,
    pub(crate) duplicate_batches: AtomicU64,
    pub(crate) log_bytes: AtomicU64,
    pub(crate) log_syncs: AtomicU64,
    pub(crate) log_full: AtomicBool,
    pub(crate) log_waits: AtomicU64,
    pub(crate) flushes: AtomicU64,
    pub(crate) flush_failures: AtomicU64,
    pub(crate) flushed_rows: AtomicU64,
    pub(crate) flushed_bytes: AtomicU64,
    pub(crate) merges: AtomicU64,
    pub(crate) merged_rows: AtomicU64,
    pub(crate) merge_read_bytes: AtomicU64,
    pub(crate) merge_written_bytes: AtomicU64,
    pub(crate) merge_micros: AtomicU64,
    pub(crate) rolled_rows: AtomicU64,
    pub(crate) rolled_bytes: AtomicU64,
    pub(crate) roll_micros: AtomicU64,
    pub(crate) expired_rows: AtomicU64,
    pub(crate) deleted_files: AtomicU64,
    pub(crate) maintenance_failures: AtomicU64,
    pub(crate) durable: Latency,
    pub(crate) log_sync: Latency,
    pub(crate) flush: Latency,
    pub(crate) table_commit: Latency,
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
            log_full: self.log_full.load(Relaxed),
            log_waits: self.log_waits.load(Relaxed),
            flushes: self.flushes.load(Relaxed),
            flush_failures: self.flush_failures.load(Relaxed),
            flushed_rows: self.flushed_rows.load(Relaxed),
            flushed_bytes: self.flushed_bytes.load(Relaxed),
            merges: self.merges.load(Relaxed),
            merged_rows: self.merged_rows.load(Relaxed),
            merge_read_bytes: self.merge_read_bytes.load(Relaxed),
            merge_written_bytes: self.merge_written_bytes.load(Relaxed),
            merge_micros: self.merge_micros.load(Relaxed),
            rolled_rows: self.rolled_rows.load(Relaxed),
            rolled_bytes: self.rolled_bytes.load(Relaxed),
            roll_micros: self.roll_micros.load(Relaxed),
            expired_rows: self.expired_rows.load(Relaxed),
            deleted_files: self.deleted_files.load(Relaxed),
            maintenance_failures: self.maintenance_failures.load(Relaxed),
            durable: self.durable.counts(),
            log_sync: self.log_sync.counts(),
            flush: self.flush.counts(),
            table_commit: self.table_commit.counts(),
            ..Metrics::default()
        }
    }
}
