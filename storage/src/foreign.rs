//! Parquet files that are none of our tables: those that others wrote, read as record batches, and
//! those that are written for others.
//!
//! Promises: a broken file is an error, never a panic.

use crate::error::{ErrorKind, StorageError};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
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
        let unreadable = |error: ParquetError| {
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

/// A Parquet file of any columns in the making, Zstandard-compressed.
#[derive(Debug)]
pub struct ParquetExport {
    writer: ArrowWriter<File>,
}

impl ParquetExport {
    pub fn create(file: File, schema: SchemaRef) -> Result<Self, StorageError> {
        let compression = Compression::ZSTD(ZstdLevel::default());
        let properties = WriterProperties::builder().set_compression(compression).build();
        let writer = ArrowWriter::try_new(file, schema, Some(properties)).map_err(not_written)?;
        Ok(Self { writer })
    }

    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), StorageError> {
        self.writer.write(batch).map_err(not_written)
    }

    /// Writes the end; the file is on its disk then.
    pub fn finish(self) -> Result<(), StorageError> {
        let file = self.writer.into_inner().map_err(not_written)?;
        file.sync_all().map_err(|error| not_written(error.into()))
    }
}

fn not_written(error: ParquetError) -> StorageError {
    StorageError::because(ErrorKind::Internal, "the file cannot be written", error)
}
