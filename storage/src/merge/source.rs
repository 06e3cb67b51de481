//! One file of a merge: a batch of it, and where the merge stands in that batch.

use super::gather::Place;
use crate::error::StorageError;
use crate::machine::wait;
use crate::model::{TableSchema, Timestamp};
use crate::snapshot::{DataFile, TimeRange};
use crate::table::{Tag, read_sorted, row_bytes, series_end};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use futures::StreamExt;
use object_store::ObjectStore;
use std::sync::Arc;
use tokio::runtime::Handle;

/// What is read at a time: a reader's own copies take several times as much. Rows of rollups are
/// wide.
const READ_BYTES: usize = 512 << 10;
const READ_ROWS: usize = 2_048;
const LEAST_ROWS: usize = 128;

/// Rows that are read at a time where each takes so many bytes.
pub(super) fn read_rows(row_bytes: usize) -> usize {
    (READ_BYTES / row_bytes).clamp(LEAST_ROWS, READ_ROWS)
}

/// The rows of a file that may lie in `times`, and maybe others. Reads happen on the runtime that
/// this is called on; the iterator must run where it may block.
pub(crate) async fn batches_of(
    store: Arc<dyn ObjectStore>,
    file: Arc<DataFile>,
    table: Arc<TableSchema>,
    times: Arc<[TimeRange]>,
) -> Result<Batches, StorageError> {
    let rows = read_rows(row_bytes(&table.arrow()));
    let mut batches = read_sorted(store, file, table, rows, times).await?;
    let runtime = Handle::current();
    Ok(Box::new(std::iter::from_fn(move || wait(&runtime, batches.next()))))
}

/// Sorted batches of all columns of a table.
pub(crate) type Batches = Box<dyn Iterator<Item = Result<RecordBatch, StorageError>> + Send>;

pub(super) struct Source {
    batches: Batches,
    late: bool,
    identities: usize,
    /// `None` before the first batch and after the last.
    batch: Option<RecordBatch>,
    /// The batch's number among those that are held.
    held: usize,
    row: usize,
    /// The row after the last of the series that `row` is of.
    end: usize,
    identity: Vec<String>,
    /// Whether `row` is of the series that is being merged.
    continues: bool,
    ended: bool,
}

impl Source {
    pub(super) fn new(table: &TableSchema, batches: Batches, late: bool) -> Self {
        let identities = table.identity.len();
        Self {
            batches,
            late,
            identities,
            batch: None,
            held: 0,
            row: 0,
            end: 0,
            identity: Vec::new(),
            continues: false,
            ended: false,
        }
    }

    pub(super) fn is_late(&self) -> bool {
        self.late
    }

    /// The identity of the row that the merge stands at; `None` at the end.
    pub(super) fn identity(&self) -> Option<&[String]> {
        self.batch.is_some().then_some(&self.identity)
    }

    /// The time of the row that the merge stands at, which there must be.
    pub(super) fn time(&self) -> Timestamp {
        self.times()[self.row]
    }

    /// The series that the source stands at is being merged.
    pub(super) fn begin(&mut self) {
        self.continues = true;
    }

    pub(super) fn continues(&self) -> bool {
        self.continues
    }

    pub(super) fn place(&self) -> Place {
        Place { batch: self.held, row: self.row }
    }

    /// The rows of the series from here on that are before a time, at most `room`.
    pub(super) fn run(&self, before: Option<Timestamp>, room: usize) -> (Place, usize) {
        let times = &self.times()[self.row..self.end];
        let rows = before.map_or(times.len(), |before| times.partition_point(|t| *t < before));
        (self.place(), rows.min(room))
    }

    pub(super) fn advance(&mut self, rows: usize) {
        self.row += rows;
    }

    /// Sees to it that the source stands at a row, or at its end, and knows the row's series.
    pub(super) fn load(&mut self, held: &mut Vec<RecordBatch>) -> Result<(), StorageError> {
        if self.ended || self.row < self.end {
            return Ok(());
        }
        if self.batch.as_ref().is_none_or(|batch| self.row == batch.num_rows()) {
            let has_rows = |batch: &Result<RecordBatch, StorageError>| {
                batch.as_ref().map_or(true, |batch| batch.num_rows() > 0)
            };
            self.batch = self.batches.find(has_rows).transpose()?;
            let Some(batch) = &self.batch else {
                (self.ended, self.continues) = (true, false);
                return Ok(());
            };
            self.row = 0;
            self.held = held.len();
            held.push(batch.clone());
        }
        self.find_series();
        Ok(())
    }

    fn find_series(&mut self) {
        let batch = self.batch.as_ref().expect("a source stands in a batch");
        let keys = &batch.columns()[1..=self.identities];
        let tags: Vec<Tag> = keys.iter().map(|column| Tag::of(column)).collect();
        self.end = series_end(&tags, self.row, batch.num_rows());
        let same = tags.iter().map(|tag| tag.value(self.row)).eq(&self.identity);
        self.continues &= same;
        if !same {
            self.identity = tags.iter().map(|tag| tag.value(self.row).to_owned()).collect();
        }
    }

    fn times(&self) -> &[Timestamp] {
        let batch = self.batch.as_ref().expect("a source stands in a batch");
        batch.column(0).as_primitive::<TimestampMicrosecondType>().values()
    }

    /// Moves the batch that the source stands in to those that are kept.
    pub(super) fn keep(&mut self, held: &[RecordBatch], kept: &mut Vec<RecordBatch>) {
        if self.batch.is_some() {
            kept.push(held[self.held].clone());
            self.held = kept.len() - 1;
        }
    }
}
