//! Rows of a tier to rows of a wider one.
//!
//! Promises: equals what `Reducer` makes of the raw rows, but for totals of doubles, whose
//! additions have another order: of n rows they differ by at most n * 2^-51 times the sum of the
//! magnitudes of what is added. Where a part says NULL beside a count above zero, so does the whole,
//! even if the raw rows know better. What is held is the rows of one series and a batch.

use super::cut::Rows;
use super::lane::{Lane, Values, column_of};
use super::reduce::next;
use super::table::Table;
use super::tier::{FIRST_TIME, LAST_TIME, ROWS, Tier};
use super::whole::WholeSeries;
use crate::error::StorageError;
use crate::model::{FieldType, TableSchema, Timestamp};
use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, TimeUnit};
use warpline_kernel::strictly_increasing;

/// Takes batches of a tier's rows and gives batches of a wider one's.
#[derive(Debug)]
pub struct Combiner {
    whole: WholeSeries,
    table: Table,
    /// The narrower tier's table.
    from: String,
}

impl Combiner {
    /// `from` is the narrower tier's table, `schema` that of `tier`, whose buckets are made of
    /// whole buckets of the narrower one.
    pub fn new(
        raw: &TableSchema,
        from: &TableSchema,
        tier: Tier,
        schema: &TableSchema,
    ) -> Result<Self, StorageError> {
        let table = Table::new(raw, tier, schema)?;
        Ok(Self { whole: WholeSeries::new(raw), table, from: from.table.to_string() })
    }

    /// Takes rows that follow those before by identity, part, then time, each key once.
    pub fn push(&mut self, batch: &RecordBatch) -> Result<Option<RecordBatch>, StorageError> {
        if batch.num_rows() == 0 {
            return Ok(None);
        }
        if let Some(whole) = self.whole.push(batch)? {
            self.add(&whole)?;
        }
        Ok(self.table.ready())
    }

    /// The rows that are left when no more come.
    pub fn finish(&mut self) -> Result<Option<RecordBatch>, StorageError> {
        if let Some(whole) = self.whole.finish()? {
            self.add(&whole)?;
        }
        Ok(self.table.finish())
    }

    /// Adds the rows of whole series.
    fn add(&mut self, batch: &RecordBatch) -> Result<(), StorageError> {
        let first_times = self.int64(batch, FIRST_TIME)?;
        let Some(order) = self.order_in_time(batch, first_times.all())? else {
            return self.add_in_time(batch);
        };
        let batch = take_record_batch(batch, &order).expect("rows of the batch");
        self.add_in_time(&batch)
    }

    fn add_in_time(&mut self, batch: &RecordBatch) -> Result<(), StorageError> {
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let times: Values<i64> = self.present(batch, "time", &utc)?;
        let weights: Values<i32> = self.present(batch, ROWS, &FieldType::Int32.arrow())?;
        let (first, last) = (self.int64(batch, FIRST_TIME)?, self.int64(batch, LAST_TIME)?);
        let rows = Rows {
            times: times.all(),
            first_times: first.all(),
            last_times: last.all(),
            weights: Some(weights.all()),
        };
        self.table.combine(batch, rows)
    }

    /// The order by series and time, if it is not that of the rows: parts come after one another.
    fn order_in_time(
        &self,
        batch: &RecordBatch,
        times: &[Timestamp],
    ) -> Result<Option<UInt32Array>, StorageError> {
        let starts = self.table.tags(batch)?.series_changes();
        let mut order: Vec<u32> = Vec::new();
        let mut start = 0;
        for end in starts.into_iter().map(|row| row as usize).chain([times.len()]) {
            if !strictly_increasing(&times[start..end]) {
                if order.is_empty() {
                    order.extend(0..times.len() as u32);
                }
                order[start..end].sort_by_key(|row| times[*row as usize]);
            }
            start = end;
        }
        Ok((!order.is_empty()).then(|| order.into()))
    }

    fn int64(&self, batch: &RecordBatch, name: &str) -> Result<Values<i64>, StorageError> {
        self.present(batch, name, &FieldType::Int64.arrow())
    }

    /// A column that has a value in each row.
    fn present<T: Lane>(
        &self,
        batch: &RecordBatch,
        name: &str,
        data_type: &DataType,
    ) -> Result<Values<T>, StorageError> {
        let values = Values::of(&column_of(batch, name, data_type)?);
        if values.has_nulls() {
            return Err(StorageError::corrupt(format!(
                "table {} has rows without a value of {name:?}",
                self.from
            )));
        }
        Ok(values)
    }
}

/// An iterator over a tier's batches, sorted by identity, part and time. Ends after an error.
#[derive(Debug)]
pub struct Combine<I> {
    combiner: Combiner,
    batches: Option<I>,
}

impl<I> Combine<I> {
    pub fn new(
        raw: &TableSchema,
        from: &TableSchema,
        tier: Tier,
        schema: &TableSchema,
        batches: impl IntoIterator<IntoIter = I>,
    ) -> Result<Self, StorageError> {
        let combiner = Combiner::new(raw, from, tier, schema)?;
        Ok(Self { combiner, batches: Some(batches.into_iter()) })
    }
}

impl<I: Iterator<Item = Result<RecordBatch, StorageError>>> Iterator for Combine<I> {
    type Item = Result<RecordBatch, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        let combiner = &mut self.combiner;
        next(&mut self.batches, |batch| match batch {
            Some(batch) => combiner.push(&batch),
            None => combiner.finish(),
        })
    }
}
