//! The tables that have been opened, one handle each for all who commit.
//!
//! Whoever changes a table holds its handle from the commit to the moment in which readers see
//! it, so that what is published follows the table's log.

use crate::error::StorageError;
use crate::table::Table;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Mutex as AsyncMutex;

#[derive(Debug, Default)]
pub(crate) struct OpenTables {
    handles: Mutex<BTreeMap<Arc<str>, Arc<AsyncMutex<Table>>>>,
}

impl OpenTables {
    pub(crate) fn get(&self, name: &str) -> Option<Arc<AsyncMutex<Table>>> {
        self.handles.lock().get(name).cloned()
    }

    pub(crate) fn insert(&self, table: Table) -> Arc<AsyncMutex<Table>> {
        let name = table.schema().table.clone();
        let handle = Arc::new(AsyncMutex::new(table));
        self.handles.lock().insert(name, handle.clone());
        handle
    }

    pub(crate) fn names(&self) -> Vec<Arc<str>> {
        self.handles.lock().keys().cloned().collect()
    }

    /// The handle of a table that must have been opened.
    pub(crate) fn of(&self, name: &str) -> Result<Arc<AsyncMutex<Table>>, StorageError> {
        self.get(name).ok_or_else(|| StorageError::internal(format!("table {name} is not open")))
    }
}
