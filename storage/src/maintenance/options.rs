//! What maintenance may cost and when it is due.

use crate::merge::held_bytes;
use crate::rollup::FieldKinds;
use crate::snapshot::DataFile;
use crate::table::{ROW_GROUP_BYTES, ROW_GROUP_ROWS};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const LEAST_FILES: usize = 4;
const MOST_FILES: usize = 64;

/// Merging, rollups, retention and the deletion of files that nothing needs.
#[derive(Clone, Debug)]
pub struct MaintenanceOptions {
    /// Whether it happens by itself.
    pub background: bool,
    /// How often it looks for what is due.
    pub interval: Duration,
    /// Bytes that one merge may take. Less means fewer files a merge, and so more merges.
    pub merge_memory: u64,
    /// The size that merged files grow to. Larger files are fewer; while one is written it lies
    /// in memory.
    pub file_size: u64,
    /// How long files stay in the store after they were replaced, for readers of the files that
    /// stand at an older version. Statements of this server keep theirs however long they run.
    pub delete_after: Duration,
    /// How long rows are kept.
    pub retention: Retention,
    /// Whether tables get rollups where their rows are dense enough.
    pub rollups: bool,
    /// Which fields are counters and which are gauges: what rollups keep of them.
    pub kinds: FieldKinds,
}

/// How long rows are kept, by days of their time; `None` is for ever.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    pub raw: Option<Duration>,
    pub minute: Option<Duration>,
    pub hour: Option<Duration>,
    /// Tables by name, tiers too, that are kept for another time.
    pub tables: BTreeMap<String, Option<Duration>>,
}

impl Retention {
    /// How long a table, or a tier, keeps its rows.
    pub(crate) fn of(&self, table: &str) -> Option<Duration> {
        if let Some(own) = self.tables.get(table) {
            return *own;
        }
        match table {
            tier if tier.ends_with("_1m") => self.minute,
            tier if tier.ends_with("_1h") => self.hour,
            _ => self.raw,
        }
    }

    /// The longest that rows are kept which come in now; `None` is for ever.
    pub(crate) fn longest(&self) -> Option<Duration> {
        let raw = |name: &&String| !name.ends_with("_1m") && !name.ends_with("_1h");
        let own = self.tables.iter().filter(|(name, _)| raw(name)).map(|(_, keep)| *keep);
        own.chain([self.raw]).try_fold(Duration::ZERO, |longest, keep| Some(longest.max(keep?)))
    }
}

impl Default for MaintenanceOptions {
    fn default() -> Self {
        Self {
            background: true,
            interval: Duration::from_secs(10),
            merge_memory: 192 << 20,
            file_size: 128 << 20,
            delete_after: Duration::from_hours(1),
            retention: Retention::default(),
            rollups: true,
            kinds: FieldKinds::default(),
        }
    }
}

/// What one merge may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MergeLimits {
    pub(crate) memory: u64,
    pub(crate) target_bytes: u64,
    /// Bytes of a decoded row.
    pub(crate) row_bytes: u64,
}

impl MergeLimits {
    /// How many of the files one merge may have: of each a row group and some decoded rows are
    /// in memory at a time, beside the decoded rows of a row group that is written.
    pub(crate) fn files(&self, files: &[Arc<DataFile>]) -> usize {
        let rows: u64 = files.iter().map(|file| file.rows).sum();
        let bytes: u64 = files.iter().map(|file| file.bytes).sum();
        let group_rows = ROW_GROUP_ROWS as u64;
        let group = bytes * group_rows.min(rows / files.len().max(1) as u64) / rows.max(1);
        let each = group + held_bytes(self.row_bytes as usize) as u64;
        let written = (group_rows * self.row_bytes).min(ROW_GROUP_BYTES as u64);
        let room = self.memory.saturating_sub(self.target_bytes / 2 + written);
        (room / each.max(1)).clamp(LEAST_FILES as u64, MOST_FILES as u64) as usize
    }
}
