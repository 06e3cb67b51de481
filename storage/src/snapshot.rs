//! What a query sees: for each table its files at one version and the buffer beside them.
//!
//! A snapshot never changes. A row that was acknowledged before it was taken is in it exactly
//! once: either in a file or in the buffer, because both are published in one step.

use crate::buffer::{BufferSlice, MICROSECONDS_PER_DAY, TagValues};
use crate::error::StorageError;
use crate::latest::{Latest, StoredLatest};
use crate::model::{TableSchema, Timestamp};
use crate::rollup::Tier;
use chrono::{NaiveDate, NaiveTime};
use object_store::ObjectStore;
use object_store::path::Path;
use std::collections::BTreeMap;
use std::sync::Arc;
use url::Url;
use uuid::Uuid;

#[derive(Clone, Debug)]
pub struct Snapshot {
    tables: Arc<BTreeMap<Arc<str>, Arc<TableSnapshot>>>,
}

/// One table in a snapshot.
#[derive(Clone, Debug)]
pub struct TableSnapshot {
    pub schema: Arc<TableSchema>,
    /// The Delta version that `files` is.
    pub version: u64,
    /// In commit order.
    pub files: Arc<[Arc<DataFile>]>,
    pub buffer: BufferSlice,
    /// The table's rollups, narrower buckets first.
    pub tiers: Vec<TierSnapshot>,
    pub(crate) stored_latest: Arc<StoredLatest>,
    pub store: Arc<dyn ObjectStore>,
    /// The name `store` goes by in DataFusion's registry: scheme and authority, no address.
    pub store_url: Url,
}

/// A rollup of a table, as far as it can stand for the table's rows.
#[derive(Clone, Debug)]
pub struct TierSnapshot {
    pub tier: Tier,
    /// The tier's own table. Its files have each key once: they need no resolution.
    pub table: Arc<TableSnapshot>,
    /// The tier has all buckets that end at or before this time, but for those in `dirty`.
    pub until: Timestamp,
    /// Whole buckets before `until` of which the tier lacks rows: disjoint, ascending.
    pub dirty: Vec<TimeRange>,
}

/// A committed Parquet file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFile {
    /// From the store's root.
    pub path: Path,
    pub bytes: u64,
    pub rows: u64,
    pub times: TimeRange,
    pub order: FileOrder,
    /// Incarnation of the log whose rows these are; files that were merged from several logs have
    /// an id of their merge instead.
    pub writer: Uuid,
    pub kind: FileKind,
    pub level: Level,
    /// The UTC day of all rows.
    pub date: NaiveDate,
}

/// How often the rows of a file have been merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As one flush wrote them.
    Flush,
    /// The flushes of about an hour.
    Hour,
    /// A whole day, or as much of it as is not larger than a file should be.
    Day,
}

/// Whether a file can repeat keys of earlier files of its writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileKind {
    /// Each row is newer than anything its series had in earlier files: keys are disjoint.
    Monotone,
    /// Rows at or before their series' newest flushed time: they may repeat keys.
    Late,
}

/// The order of writes between files: later wins. Ordered by commit, late after monotone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileOrder {
    pub version: u64,
    pub kind: FileKind,
}

/// Times from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    pub first: Timestamp,
    pub last: Timestamp,
}

impl Snapshot {
    pub fn new(tables: BTreeMap<Arc<str>, Arc<TableSnapshot>>) -> Self {
        Self { tables: Arc::new(tables) }
    }

    pub fn table(&self, name: &str) -> Option<&Arc<TableSnapshot>> {
        self.tables.get(name)
    }

    pub fn tables(&self) -> impl Iterator<Item = &Arc<TableSnapshot>> {
        self.tables.values()
    }
}

impl TableSnapshot {
    /// A table with files, in commit order, and nothing in its buffer.
    pub fn of_files(
        schema: Arc<TableSchema>,
        version: u64,
        files: Arc<[Arc<DataFile>]>,
        store: Arc<dyn ObjectStore>,
    ) -> Self {
        let stored_latest = StoredLatest::of_files(schema.clone(), files.clone());
        Self {
            version,
            files,
            buffer: BufferSlice::empty(schema.clone()),
            tiers: Vec::new(),
            stored_latest: Arc::new(stored_latest),
            store,
            store_url: store_url(),
            schema,
        }
    }

    /// For each identity with these tags the row of the greatest time, with the last write of each
    /// attribute and field within that key.
    ///
    /// It comes from memory, except that the first call after files came that this process has
    /// not written reads the keys of all of them.
    pub async fn latest(&self, tags: &[TagValues]) -> Result<Latest, StorageError> {
        let stored = self.stored_latest.rows(&self.store).await?;
        let (schema, buffered) = (self.schema.clone(), self.buffer.latest());
        Ok(match tags {
            [] => Latest::over(schema, &stored, buffered),
            _ => Latest::chosen(schema, &stored, buffered, tags),
        })
    }
}

impl TierSnapshot {
    /// Whether the tier has the bucket that begins at `start`, of a table whose days before
    /// `kept_from` are gone.
    pub(crate) fn has(&self, start: Timestamp, kept_from: Timestamp) -> bool {
        let bucket = TimeRange { first: start, last: start.saturating_add(self.tier.width - 1) };
        start >= kept_from
            && bucket.last < self.until
            && !self.dirty.iter().any(|range| range.meets(bucket))
    }
}

/// Paths of files begin at the store's root, wherever that is: within this process it needs a
/// name and no address.
pub(crate) fn store_url() -> Url {
    Url::parse("warpline://store/").expect("a constant URL")
}

impl TimeRange {
    pub const ALL: Self = Self { first: Timestamp::MIN, last: Timestamp::MAX };

    /// The times of a UTC day.
    pub(crate) fn of_day(date: NaiveDate) -> Self {
        let first = date.and_time(NaiveTime::MIN).and_utc().timestamp_micros();
        Self { first, last: first + MICROSECONDS_PER_DAY - 1 }
    }

    pub fn contains(self, time: Timestamp) -> bool {
        self.first <= time && time <= self.last
    }

    pub fn meets(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// The times in both.
    pub fn overlap(self, other: Self) -> Option<Self> {
        self.meets(other)
            .then(|| Self { first: self.first.max(other.first), last: self.last.min(other.last) })
    }

    /// The smallest range that holds both.
    #[must_use]
    pub fn span(self, other: Self) -> Self {
        Self { first: self.first.min(other.first), last: self.last.max(other.last) }
    }
}
