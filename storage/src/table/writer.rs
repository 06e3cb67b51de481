//! Writes data files that await their commit.
//!
//! Promises: a file that is answered lies in the store, whole and synced, under a name that no
//! other file will ever have.

use super::files::{FileAbout, WrittenFile, new_path};
use super::parquet::encode;
use crate::error::StorageError;
use crate::machine::blocking;
use crate::model::TableSchema;
use crate::store::store_error;
use arrow::array::RecordBatch;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use std::sync::Arc;

/// Writes files of one table in the columns that it had at one version.
#[derive(Clone, Debug)]
pub(crate) struct FileWriter {
    pub(super) schema: Arc<TableSchema>,
    pub(super) store: Arc<dyn ObjectStore>,
}

impl FileWriter {
    pub(crate) fn schema(&self) -> &Arc<TableSchema> {
        &self.schema
    }

    pub(crate) fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// Writes rows into a file; `None` where there are none. The rows are sorted by identity, then
    /// time, with unique keys, all on the day of `about`.
    pub(crate) async fn write(
        &self,
        batches: impl Iterator<Item = Result<RecordBatch, StorageError>> + Send + 'static,
        about: FileAbout,
    ) -> Result<Option<WrittenFile>, StorageError> {
        let schema = self.schema.clone();
        let encoding = blocking(move || {
            let mut failure = None;
            let rows = batches.map_while(|batch| batch.map_err(|e| failure = Some(e)).ok());
            let encoded = encode(&schema, rows, about.effort);
            failure.map_or(encoded, Err)
        });
        let Some((payload, contents)) = encoding.await? else { return Ok(None) };
        let path = new_path(&about);
        let bytes = payload.content_length() as u64;
        let checksum = payload.iter().fold(0, |sum, piece| crc32c::crc32c_append(sum, piece));
        let file = WrittenFile { about, path, bytes, checksum, contents };
        let location = Path::from(format!("{}/{}", self.schema.table, file.path));
        let put = self.store.put(&location, payload).await;
        put.map_err(|e| store_error(format!("{location} was not written"), e))?;
        Ok(Some(file))
    }

    /// Deletes files that no commit will name; answers how many. One that stays is deleted as an
    /// orphan later.
    pub(crate) async fn discard(&self, files: &[WrittenFile]) -> u64 {
        let mut deleted = 0;
        for file in files {
            let location = Path::from(format!("{}/{}", self.schema.table, file.path));
            match self.store.delete(&location).await {
                Ok(()) => deleted += 1,
                Err(error) => tracing::debug!(%location, %error, "an orphan was not deleted"),
            }
        }
        deleted
    }
}
