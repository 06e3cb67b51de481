//! Raw rows to rows of a tier.
//!
//! Promises: each row of a tier stands for the rows of one run; batches may be cut anywhere. What
//! is held is the buckets of one series and a batch, never more raw rows than a batch has.

use super::table::Table;
use super::tier::Tier;
use crate::error::StorageError;
use crate::model::TableSchema;
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;

/// Takes batches of raw rows and gives batches of a tier's.
#[derive(Debug)]
pub struct Reducer {
    table: Table,
}

impl Reducer {
    /// `schema` is the tier's table as it is: `tier_schema`, maybe with columns of another time
    /// when its fields were thought to be of other kinds.
    pub fn new(raw: &TableSchema, tier: Tier, schema: &TableSchema) -> Result<Self, StorageError> {
        Ok(Self { table: Table::new(raw, tier, schema)? })
    }

    /// Takes rows that follow those before by identity, then time, each key once; columns are
    /// found by name, and are NULL where the batch lacks them. Rows out of order are an internal
    /// error.
    pub fn push(&mut self, batch: &RecordBatch) -> Result<Option<RecordBatch>, StorageError> {
        if batch.num_rows() == 0 {
            return Ok(None);
        }
        let times = batch.column_by_name("time");
        let times = times.and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
        let times = times.ok_or_else(|| StorageError::internal("rows without a column of time"))?;
        self.table.reduce(batch, times.values())?;
        Ok(self.table.ready())
    }

    /// The rows that are left when no more come.
    pub fn finish(&mut self) -> Option<RecordBatch> {
        self.table.finish()
    }
}

/// An iterator over a tier's batches, sorted by identity, part and time. Ends after an error.
#[derive(Debug)]
pub struct Reduce<I> {
    reducer: Reducer,
    batches: Option<I>,
}

impl<I> Reduce<I> {
    pub fn new(
        raw: &TableSchema,
        tier: Tier,
        schema: &TableSchema,
        batches: impl IntoIterator<IntoIter = I>,
    ) -> Result<Self, StorageError> {
        let reducer = Reducer::new(raw, tier, schema)?;
        Ok(Self { reducer, batches: Some(batches.into_iter()) })
    }
}

impl<I: Iterator<Item = Result<RecordBatch, StorageError>>> Iterator for Reduce<I> {
    type Item = Result<RecordBatch, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        let reducer = &mut self.reducer;
        next(&mut self.batches, |batch| match batch {
            Some(batch) => reducer.push(&batch),
            None => Ok(reducer.finish()),
        })
    }
}

/// The next batch that `stage` makes of those that come; `None` says that no more come.
pub(super) fn next<I: Iterator<Item = Result<RecordBatch, StorageError>>>(
    batches: &mut Option<I>,
    mut stage: impl FnMut(Option<RecordBatch>) -> Result<Option<RecordBatch>, StorageError>,
) -> Option<Result<RecordBatch, StorageError>> {
    while let Some(more) = batches {
        let batch = more.next().transpose();
        let ended = !matches!(batch, Ok(Some(_)));
        let made = batch.and_then(&mut stage);
        if ended || made.is_err() {
            *batches = None;
        }
        if let Some(made) = made.transpose() {
            return Some(made);
        }
    }
    None
}
