//! Sorted batches cut anew so that no series is torn apart.

use super::tags::BatchTags;
use crate::error::{ErrorKind, StorageError};
use crate::model::TableSchema;
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;

/// Holds the last series until another begins.
#[derive(Debug)]
pub(super) struct WholeSeries {
    raw: TableSchema,
    /// Rows of one series.
    held: Vec<RecordBatch>,
}

impl WholeSeries {
    pub(super) fn new(raw: &TableSchema) -> Self {
        Self { raw: raw.clone(), held: Vec::new() }
    }

    /// The rows of all series that have ended.
    pub(super) fn push(
        &mut self,
        batch: &RecordBatch,
    ) -> Result<Option<RecordBatch>, StorageError> {
        let tags = BatchTags::of(&self.raw, batch)?;
        let change = tags.series_changes().last().map(|row| *row as usize);
        let start = match (change, self.held.last()) {
            (Some(change), _) => change,
            (None, None) => 0,
            (None, Some(held)) => {
                let before = BatchTags::of(&self.raw, held)?;
                if tags.same_series(0, &before, held.num_rows() - 1) {
                    self.held.push(batch.clone());
                    return Ok(None);
                }
                0
            }
        };
        if start > 0 {
            self.held.push(batch.slice(0, start));
        }
        let ended = self.finish()?;
        self.held.push(batch.slice(start, batch.num_rows() - start));
        Ok(ended)
    }

    /// The rows of the series held.
    pub(super) fn finish(&mut self) -> Result<Option<RecordBatch>, StorageError> {
        let held = std::mem::take(&mut self.held);
        match held.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(one.clone())),
            [first, ..] => concat_batches(first.schema_ref(), &held).map(Some).map_err(|error| {
                let what = format!("rollups of table {} differ in columns", self.raw.table);
                StorageError::because(ErrorKind::Internal, what, error)
            }),
        }
    }
}
