//! The tables: Parquet files under a Delta log, on any object store.
//!
//! Promises: files and the position they cover become visible in one commit or not at all;
//! that position only rises; once a successor has fenced a log's incarnation, no other handle
//! commits under it; a commit whose answer was lost is looked up, never repeated blindly.
//!
//! ```text
//! <store>/<table>/_delta_log/                      the log: what the table is, at each version
//! <store>/<table>/date=YYYY-MM-DD/<name>.parquet   rows of one UTC day, by identity, then time
//!
//! Tables -> Table   write: batches -> parquet.rs -> a file with a name nobody else will use
//!                   commit: files + txn(incarnation, position) -> log.rs -> delta.rs
//! reader.rs         rows of files, chosen or all, back as record batches
//! ```
//! docs/formats/table.md says what lies in the log and the files.

mod delta;
mod files;
mod handle;
mod log;
mod parquet;
mod reader;
mod schema;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use files::{FileAbout, Listed, WrittenFile};
pub(crate) use handle::Table;
pub(crate) use log::Mark;
pub(crate) use parquet::{Seen, Tag, series_end};
pub(crate) use reader::{Groups, KeyRow, newest_keys, read_rows, read_sorted};
pub(crate) use writer::FileWriter;

use crate::error::StorageError;
use crate::model::TableSchema;
use crate::store::{open_store, store_error};
use delta::DeltaLog;
use futures::{StreamExt, TryStreamExt};
use log::TableLog;
use object_store::ObjectStore;
use object_store::path::Path;
use std::collections::HashMap;
use std::sync::Arc;
use url::Url;

/// How many tables are looked for at once.
const LOOKUPS: usize = 16;

/// All tables of a store.
#[derive(Clone, Debug)]
pub(crate) struct Tables {
    store: Arc<dyn ObjectStore>,
}

impl Tables {
    pub(crate) fn open(url: &Url, options: &HashMap<String, String>) -> Result<Self, StorageError> {
        Ok(Self::over(open_store(url, options)?))
    }

    /// The tables in a store that is open already.
    pub(crate) fn over(store: Arc<dyn ObjectStore>) -> Self {
        Self { store }
    }

    pub(crate) fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The names of all tables, sorted.
    pub(crate) async fn names(&self) -> Result<Vec<String>, StorageError> {
        let root = self.store.list_with_delimiter(None).await;
        let folders = root.map_err(|e| store_error("the tables cannot be listed", e))?;
        let folders = futures::stream::iter(folders.common_prefixes);
        let found = folders.map(|folder| self.table_name(folder)).buffer_unordered(LOOKUPS);
        let mut names: Vec<String> =
            found.try_filter_map(async |name| Ok(name)).try_collect().await?;
        names.sort_unstable();
        Ok(names)
    }

    /// The folder's name where it holds a Delta log with anything in it.
    async fn table_name(&self, folder: Path) -> Result<Option<String>, StorageError> {
        let log = folder.clone().join("_delta_log");
        let mut entries = self.store.list(Some(&log));
        while let Some(entry) = entries.next().await {
            let entry = entry.map_err(|e| store_error(format!("{log} cannot be listed"), e))?;
            if matches!(entry.location.extension(), Some("json" | "parquet")) {
                return Ok(folder.filename().map(str::to_owned));
            }
        }
        Ok(None)
    }

    pub(crate) async fn open_table(&self, name: &str) -> Result<Table, StorageError> {
        let log = DeltaLog::new(self.store.clone(), name)?;
        Table::open(Box::new(log), self.store.clone(), name).await
    }

    /// A table as it is now, and its files with all that its log says of them.
    pub(crate) async fn inspect(&self, name: &str) -> Result<(Table, Vec<Listed>), StorageError> {
        let mut log = DeltaLog::new(self.store.clone(), name)?;
        let state = log.load().await?;
        let listed = log.listed()?;
        Ok((Table::at(Box::new(log), state, self.store.clone(), name).await?, listed))
    }

    /// Creates the table, or opens it where another process has just created it: see
    /// [`Table::schema`] for what it is then.
    pub(crate) async fn create_table(&self, schema: &TableSchema) -> Result<Table, StorageError> {
        let log = DeltaLog::new(self.store.clone(), &schema.table)?;
        log.create(schema).await?;
        Table::open(Box::new(log), self.store.clone(), &schema.table).await
    }
}
