//! Where and how a store is kept. Each setting says what it costs.

use crate::maintenance::MaintenanceOptions;
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

#[derive(Clone, Debug)]
pub struct StorageOptions {
    /// The log lives in `log/` under it, and the tables in `store/` unless `store_url` says
    /// otherwise.
    pub data_dir: PathBuf,
    /// `file:///`, `memory:///`, `s3://`, `gs://` or `az://`.
    pub store_url: Url,
    /// The object store's own configuration, such as `endpoint` or `region`.
    pub store_options: HashMap<String, String>,
    /// Bytes that buffered rows may take. Past it appends wait. More memory means rarer flushes,
    /// larger files and longer replay.
    pub memory_budget: usize,
    /// Buffered bytes that start a flush. More than half the budget counts as half of it, so that
    /// rows can still come in while a flush runs.
    pub flush_bytes: usize,
    /// The longest that rows wait for a flush. Each flush makes a file per table and day, so
    /// shorter means more files; until it, rows are safe in the log alone.
    pub flush_interval: Duration,
    /// Bytes of a log segment. The log is freed by whole segments.
    pub segment_bytes: u64,
    /// How far ahead of this machine's clock a row may lie. One from a clock that runs an hour
    /// ahead would make an hour of true rows late.
    pub future_limit: Duration,
    pub limits: Limits,
    pub maintenance: MaintenanceOptions,
}

/// What one store may hold. Meeting a limit refuses what would pass it and nothing else.
#[derive(Clone, Debug)]
pub struct Limits {
    pub tables: usize,
    /// Fields and attributes of one table.
    pub columns: usize,
    /// Series of all tables together; one costs about 200 bytes of memory.
    pub series: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { tables: 1_000, columns: 4_096, series: 10_000_000 }
    }
}

impl StorageOptions {
    /// The defaults, with the tables in `store/` beside the log.
    ///
    /// # Panics
    /// Where there is no current folder to make a relative `data_dir` absolute.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        let data_dir = data_dir.into();
        let store = std::path::absolute(data_dir.join("store")).expect("a current folder");
        Self {
            store_url: Url::from_directory_path(store).expect("an absolute path"),
            data_dir,
            store_options: HashMap::new(),
            memory_budget: 640 << 20,
            flush_bytes: 320 << 20,
            flush_interval: Duration::from_mins(10),
            segment_bytes: 128 << 20,
            future_limit: Duration::from_mins(5),
            limits: Limits::default(),
            maintenance: MaintenanceOptions::default(),
        }
    }
}
