//! What the table layer needs of a table's log, apart from any one log's format.
//!
//! A log is a row of versions. A handle stands at one version; `append` writes exactly the next
//! one or fails. After a failure the handle does not know whether its change is in the log: it
//! loads again and reads what has come in since, where each change carries its author's id.

use super::files::WrittenFile;
use crate::error::StorageError;
use crate::model::{Position, TableSchema, Timestamp};
use crate::snapshot::DataFile;
use async_trait::async_trait;
use object_store::path::Path;
use std::sync::Arc;
use uuid::Uuid;

/// A table at one version.
#[derive(Clone, Debug)]
pub(super) struct LogState {
    pub(super) version: u64,
    pub(super) schema: TableSchema,
    /// What tells this table from any other of its name.
    pub(super) id: Arc<str>,
    /// See [`Change::deduplicated_until`].
    pub(super) deduplicated_until: Option<Timestamp>,
    /// In no order.
    pub(super) files: Vec<DataFile>,
}

/// What one version is to change.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) id: Uuid,
    /// The version that the change is to become.
    pub(super) version: u64,
    pub(super) files: Vec<WrittenFile>,
    pub(super) removed: Vec<Arc<DataFile>>,
    /// Whether the table has other rows afterwards, not the same ones in other files.
    pub(super) changes_rows: bool,
    pub(super) marks: Vec<Mark>,
    pub(super) schema: Option<TableSchema>,
    /// The time before which the files need no resolution, where it is to be another.
    pub(super) deduplicated_until: Option<Timestamp>,
}

/// A number that a table keeps under a name, from one change to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) name: String,
    pub(crate) value: i64,
}

/// Before the incarnation, in the name of the mark that is the covered position.
const COVERED: &str = "warpline:";

/// Up to which position of a log the table has the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Covered {
    pub(super) incarnation: Uuid,
    pub(super) position: Position,
}

impl Covered {
    pub(super) fn name(incarnation: Uuid) -> String {
        format!("{COVERED}{incarnation}")
    }

    pub(super) fn mark(self) -> Mark {
        Mark { name: Self::name(self.incarnation), value: self.position.cast_signed() }
    }

    pub(super) fn of(mark: &Mark) -> Option<Self> {
        let incarnation = mark.name.strip_prefix(COVERED)?.parse().ok()?;
        Some(Self { incarnation, position: mark.value.cast_unsigned() })
    }
}

/// What a version that is in the log has changed, as far as commits must know.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    /// `None` where it is not ours.
    pub(super) id: Option<Uuid>,
    pub(super) marks: Vec<Mark>,
}

/// The logs of all tables of a store.
#[async_trait]
pub(super) trait TableLogs: std::fmt::Debug + Send + Sync {
    /// The names of all tables, sorted.
    async fn names(&self) -> Result<Vec<String>, StorageError>;

    /// The log of a table, not loaded yet.
    fn open(&self, table: &str) -> Result<Box<dyn TableLog>, StorageError>;

    /// Begins the log of a table, unless it is there already, and opens it.
    async fn create(&self, schema: &TableSchema) -> Result<Box<dyn TableLog>, StorageError>;
}

#[async_trait]
pub(super) trait TableLog: std::fmt::Debug + Send + Sync {
    /// Moves the handle to the newest version.
    async fn load(&mut self) -> Result<LogState, StorageError>;

    /// Whether the handle heard of the log lately: only then does `append` try.
    fn is_recent(&self) -> bool {
        true
    }

    /// Writes the change as the version after the handle's and moves the handle there. After an
    /// error the change may be in the log or may yet get there.
    async fn append(&mut self, change: &Change) -> Result<(), StorageError>;

    /// What a version changed.
    async fn read(&self, version: u64) -> Result<Entry, StorageError>;

    /// The mark's value at the handle's version.
    async fn mark(&mut self, name: &str) -> Result<Option<i64>, StorageError>;

    /// Files that were removed and may still lie in the store, and when, in milliseconds since
    /// 1970.
    async fn removed(&mut self) -> Result<&[(Path, i64)], StorageError>;
}
