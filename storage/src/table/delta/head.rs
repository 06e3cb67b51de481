//! What a handle knows of the version where it stands.
//!
//! Promises: a commit of ours costs nothing that grows with the log. What it changes is noted
//! here, and the log is read again only where something is asked for the first time.

use super::delta_error;
use crate::error::StorageError;
use crate::machine::now;
use crate::model::Timestamp;
use crate::table::files::in_store;
use crate::table::log::{Change, Mark};
use deltalake::DeltaTableError;
use deltalake::kernel::Metadata;
use deltalake::logstore::LogStoreRef;
use deltalake::table::config::TablePropertiesExt;
use deltalake::table::state::DeltaTableState;
use futures::TryStreamExt;
use object_store::path::Path;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// A version is free where nothing lies in its place, unless what lay there was cleaned up. That
/// takes days: a handle that has heard nothing of the log for this long reads it first.
const TRUSTED_FOR: Duration = Duration::from_hours(24);

pub(super) struct Head {
    table: Arc<str>,
    log_store: LogStoreRef,
    version: u64,
    metadata: Metadata,
    /// The log as it was read last: at this version or an older one.
    read: DeltaTableState,
    heard: Timestamp,
    /// Those that were looked up or set since.
    marks: HashMap<String, Option<i64>>,
    /// Once asked for: files that were removed, and when, in milliseconds since 1970.
    removed: Option<Vec<(Path, i64)>>,
}

impl Head {
    pub(super) fn new(table: &Arc<str>, log_store: &LogStoreRef, read: DeltaTableState) -> Self {
        let (table, log_store) = (table.clone(), log_store.clone());
        let (version, metadata, marks) = (read.version(), read.metadata().clone(), HashMap::new());
        Self { table, log_store, version, metadata, read, heard: now(), marks, removed: None }
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The log as it was read last: what says so holds until another program's version comes in.
    pub(super) fn last_read(&self) -> &DeltaTableState {
        &self.read
    }

    /// Whether the next version is free if nothing lies in its place.
    pub(super) fn is_recent(&self) -> bool {
        u128::from(now().abs_diff(self.heard)) < TRUSTED_FOR.as_micros()
    }

    #[cfg(test)]
    pub(super) fn age(&mut self) {
        self.heard -= TRUSTED_FOR.as_micros() as Timestamp;
    }

    /// Moves to the version that the change has become.
    pub(super) fn advance(&mut self, change: &Change, metadata: Option<Metadata>) {
        (self.version, self.heard) = (change.version, now());
        self.metadata = metadata.unwrap_or_else(|| self.metadata.clone());
        for Mark { name, value } in &change.marks {
            self.marks.insert(name.clone(), Some(*value));
        }
        if let Some(removed) = &mut self.removed {
            let at = now() / 1_000;
            removed.extend(change.removed.iter().map(|file| (file.path.clone(), at)));
        }
    }

    pub(super) async fn mark(&mut self, name: &str) -> Result<Option<i64>, StorageError> {
        if let Some(known) = self.marks.get(name) {
            return Ok(*known);
        }
        self.read_up().await?;
        let found = self.read.transaction_version(&self.log_store, name).await;
        let found = found.map_err(|e| self.unread(e))?;
        self.marks.insert(name.to_owned(), found);
        Ok(found)
    }

    /// Files that were removed no longer ago than other programs are told of.
    pub(super) async fn removed(&mut self) -> Result<&[(Path, i64)], StorageError> {
        if self.removed.is_none() {
            self.removed = Some(self.read_removed().await?);
        }
        let kept = self.read.table_config().deleted_file_retention_duration();
        let since = now() / 1_000 - i64::try_from(kept.as_millis()).unwrap_or(i64::MAX);
        let removed = self.removed.get_or_insert_default();
        removed.retain(|(_, at)| *at > since);
        Ok(removed)
    }

    async fn read_removed(&mut self) -> Result<Vec<(Path, i64)>, StorageError> {
        self.read_up().await?;
        let tombstones = self.read.all_tombstones(&self.log_store).try_collect::<Vec<_>>().await;
        let tombstones = tombstones.map_err(|e| self.unread(e))?;
        let removed = tombstones.iter().map(|view| {
            Ok((in_store(&self.table, &view.path())?, view.deletion_timestamp().unwrap_or(0)))
        });
        removed.collect()
    }

    /// Reads the log at this version.
    async fn read_up(&mut self) -> Result<(), StorageError> {
        if self.read.version() != self.version {
            let read = DeltaTableState::try_new(&self.log_store, Some(self.version)).await;
            self.read = read.map_err(|e| self.unread(e))?;
        }
        Ok(())
    }

    fn unread(&self, error: DeltaTableError) -> StorageError {
        delta_error(&self.table, "cannot be read", error)
    }
}
