//! Rows that are durable in the log and not yet in files.

use crate::model::TableSchema;
use crate::snapshot::TimeRange;
use arrow::array::RecordBatch;
use std::sync::Arc;

/// The buffered rows of one table at one instant.
#[derive(Clone, Debug)]
pub struct BufferSlice {
    schema: Arc<TableSchema>,
}

impl BufferSlice {
    pub fn empty(schema: Arc<TableSchema>) -> Self {
        Self { schema }
    }

    /// An upper bound of the rows: repeated keys count each time.
    pub fn rows(&self) -> usize {
        0
    }

    pub fn times(&self) -> Option<TimeRange> {
        None
    }

    /// Where rows lie that may repeat keys of files.
    pub fn late_times(&self) -> Option<TimeRange> {
        None
    }

    /// Rows with `times`, sorted by identity, then time, keys unique; `columns` index the table's
    /// Arrow schema.
    pub fn scan(
        &self,
        columns: &[usize],
        _times: TimeRange,
    ) -> impl Iterator<Item = RecordBatch> + Send + use<> {
        assert!(columns.iter().all(|c| *c < self.schema.arrow().fields().len()));
        std::iter::empty()
    }
}
