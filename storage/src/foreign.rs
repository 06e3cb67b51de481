//! Parquet files that others wrote, read as record batches: what an import starts from.
//!
//! Promises: nothing here is one of our tables; a broken file is an error, never a panic.

use crate::error::StorageError;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use std::fs::File;

/// A Parquet file opened for reading from its beginning.
#[derive(Debug)]
pub struct ForeignParquet {
    rows: u64,
    schema: SchemaRef,
    reader: ParquetRecordBatchReader,
}

impl ForeignParquet {
    /// Opens a file whose batches will hold up to `batch_rows` rows.
    pub fn open(file: File, batch_rows: usize) -> Result<Self, StorageError> {
        let unreadable = |error: parquet::errors::ParquetError| {
            StorageError::rejected(format!("not a readable Parquet file: {error}"))
        };
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(unreadable)?;
        let rows = builder.metadata().file_metadata().num_rows();
        let schema = builder.schema().clone();
        let reader = builder.with_batch_size(batch_rows).build().map_err(unreadable)?;
        Ok(Self { rows: u64::try_from(rows).unwrap_or_default(), schema, reader })
    }

    pub fn rows(&self) -> u64 {
        self.rows
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}

impl Iterator for ForeignParquet {
    type Item = Result<RecordBatch, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.reader.next()?;
        Some(batch.map_err(|error| StorageError::rejected(format!("a broken page: {error}"))))
    }
}
