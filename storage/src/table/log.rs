//! What the table layer needs of a table's log, apart from any one log's format.
//!
//! A log is a row of versions. A handle stands at one version; `append` writes exactly the next
//! one or fails. After a failure the handle does not know whether its change is in the log: it
//! loads again and reads what has come in since, where each change carries its author's id.

use super::files::WrittenFile;
use crate::error::StorageError;
use crate::model::{Position, TableSchema};
use crate::snapshot::DataFile;
use async_trait::async_trait;
use uuid::Uuid;

/// A table at one version.
#[derive(Clone, Debug)]
pub(super) struct LogState {
    pub(super) version: u64,
    pub(super) schema: TableSchema,
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
    pub(super) covered: Option<Covered>,
    pub(super) schema: Option<TableSchema>,
}

/// Up to which position of a log the table has the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Covered {
    pub(super) incarnation: Uuid,
    pub(super) position: Position,
}

/// What a version that is in the log has changed, as far as commits must know.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    /// `None` where it is not ours.
    pub(super) id: Option<Uuid>,
    pub(super) covered: Vec<Covered>,
}

#[async_trait]
pub(super) trait TableLog: std::fmt::Debug + Send + Sync {
    /// Moves the handle to the newest version.
    async fn load(&mut self) -> Result<LogState, StorageError>;

    /// Writes the change as the version after the handle's and moves the handle there. After an
    /// error the change may be in the log or may yet get there.
    async fn append(&mut self, change: &Change) -> Result<(), StorageError>;

    /// What a version changed.
    async fn read(&self, version: u64) -> Result<Entry, StorageError>;

    /// The position covered for an incarnation at the handle's version.
    async fn covered(&self, incarnation: Uuid) -> Result<Option<Position>, StorageError>;
}
