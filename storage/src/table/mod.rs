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

mod bounds;
mod chunk;
mod delta;
mod encodings;
mod files;
mod handle;
mod log;
mod pages;
mod parquet;
mod reader;
mod schema;
#[cfg(test)]
pub(crate) mod simulated;
mod tags;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use chunk::Effort;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use delta::fuzzing;
pub(crate) use files::{FileAbout, Listed, WrittenFile};
pub(crate) use handle::Table;
pub(crate) use log::Mark;
pub(crate) use parquet::{ROW_GROUP_BYTES, ROW_GROUP_ROWS, Seen, Tag, row_bytes, series_end};
pub(crate) use reader::{Groups, KeyRow, newest_keys, read_rows, read_sorted};
pub(crate) use writer::FileWriter;

use crate::error::StorageError;
use crate::model::TableSchema;
use crate::snapshot::Level;
use crate::store::open_store;
use arrow::array::RecordBatch;
use bytes::Bytes;
use delta::{DeltaLog, DeltaLogs};
use log::{TableLog, TableLogs};
use object_store::ObjectStore;
use std::collections::HashMap;
use std::sync::Arc;
use url::Url;

/// All tables of a store.
#[derive(Clone, Debug)]
pub(crate) struct Tables {
    store: Arc<dyn ObjectStore>,
    logs: Arc<dyn TableLogs>,
}

impl Tables {
    pub(crate) fn open(url: &Url, options: &HashMap<String, String>) -> Result<Self, StorageError> {
        Ok(Self::over(open_store(url, options)?))
    }

    /// The tables in a store that is open already.
    pub(crate) fn over(store: Arc<dyn ObjectStore>) -> Self {
        let logs = Arc::new(DeltaLogs::new(store.clone()));
        Self { store, logs }
    }

    pub(crate) fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The names of all tables, sorted.
    pub(crate) async fn names(&self) -> Result<Vec<String>, StorageError> {
        self.logs.names().await
    }

    pub(crate) async fn open_table(&self, name: &str) -> Result<Table, StorageError> {
        Table::open(self.logs.open(name)?, self.store.clone(), name).await
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
        let log = self.logs.create(schema).await?;
        Table::open(log, self.store.clone(), &schema.table).await
    }
}

/// Rows as one Parquet file of a table, `None` where there are none. They are sorted by identity,
/// then time, with unique keys.
///
/// For measuring: what a table's files take, without a table.
pub fn encoded(
    schema: &TableSchema,
    rows: impl Iterator<Item = RecordBatch>,
    level: Level,
) -> Result<Option<Bytes>, StorageError> {
    let effort = if level == Level::Flush { Effort::Little } else { Effort::Much };
    Ok(parquet::encode(schema, rows, effort)?.map(|(bytes, _)| bytes.into()))
}
