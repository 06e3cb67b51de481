//! The handle that ingest and query hold.

use crate::error::StorageError;
use crate::model::{Batch, Layout, ProducerId, SchemaConflict, Sequence};
use crate::snapshot::Snapshot;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use url::Url;

/// Where and how a store is kept.
#[derive(Clone, Debug)]
pub struct StorageOptions {
    /// The log lives under it, and the tables too unless `store_url` says otherwise.
    pub data_dir: PathBuf,
    pub store_url: Url,
    pub store_options: HashMap<String, String>,
    pub memory_budget: usize,
    pub flush_bytes: usize,
    pub flush_interval: Duration,
    pub segment_bytes: u64,
    pub future_limit: Duration,
    pub limits: Limits,
}

#[derive(Clone, Debug)]
pub struct Limits {
    pub tables: usize,
    pub columns: usize,
    pub series: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { tables: 1_000, columns: 4_096, series: 10_000_000 }
    }
}

impl StorageOptions {
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        let data_dir = data_dir.into();
        let absolute = std::path::absolute(data_dir.join("store")).expect("a path");
        Self {
            store_url: Url::from_directory_path(absolute).expect("an absolute path"),
            data_dir,
            store_options: HashMap::new(),
            memory_budget: 2 << 30,
            flush_bytes: 256 << 20,
            flush_interval: Duration::from_mins(10),
            segment_bytes: 256 << 20,
            future_limit: Duration::from_mins(5),
            limits: Limits::default(),
        }
    }
}

/// How far a producer's sequences have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Acknowledged {
    /// In the log, synced to disk.
    pub durable: Sequence,
    /// Committed in the tables.
    pub stored: Sequence,
}

/// A layout as the store takes it.
#[derive(Clone, Debug)]
pub struct Admission {
    pub layout: Arc<Layout>,
    pub refused: Vec<SchemaConflict>,
}

/// Counters since the store was opened.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub rows: u64,
    pub values: u64,
    pub batches: u64,
    pub duplicate_batches: u64,
    pub log_bytes: u64,
    pub log_syncs: u64,
    pub buffer_bytes: u64,
    pub flushes: u64,
    pub flushed_rows: u64,
    pub flushed_bytes: u64,
}

#[derive(Clone, Debug)]
pub struct Storage;

#[expect(clippy::unused_async, clippy::todo)]
impl Storage {
    pub async fn open(_options: StorageOptions) -> Result<Self, StorageError> {
        todo!()
    }
    pub async fn admit(&self, _layout: &Layout) -> Result<Admission, StorageError> {
        todo!()
    }
    pub fn producer(&self, _id: &ProducerId) -> watch::Receiver<Acknowledged> {
        todo!()
    }
    pub async fn append(&self, _batch: Batch) -> Result<(), StorageError> {
        todo!()
    }
    pub fn snapshot(&self) -> Snapshot {
        todo!()
    }
    pub async fn flush(&self) -> Result<(), StorageError> {
        todo!()
    }
    pub async fn close(&self) -> Result<(), StorageError> {
        todo!()
    }
    pub fn metrics(&self) -> Metrics {
        todo!()
    }
}
