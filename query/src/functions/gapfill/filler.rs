//! Cuts sorted rows into series and fills each when its last row is there.

use super::series::Filling;
use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{concat_batches, partition};
use arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryReservation;
use std::collections::VecDeque;

/// Rows go in by `take` and come out by `next`, which answers `None` when it needs more.
#[derive(Debug)]
pub(super) struct Filler {
    filling: Filling,
    held: MemoryReservation,
    /// How many rows come out at once.
    rows: usize,
    keys: RowConverter,
    /// Runs of one series each, as they came.
    waiting: VecDeque<(Option<OwnedRow>, RecordBatch)>,
    /// The series that is being gathered.
    key: Option<OwnedRow>,
    series: Vec<RecordBatch>,
    filled: VecDeque<RecordBatch>,
    done: bool,
}

impl Filler {
    pub(super) fn new(filling: Filling, held: MemoryReservation, rows: usize) -> Result<Self> {
        let fields = filling.keys.iter().map(|key| filling.schema.field(*key).data_type());
        let keys = RowConverter::new(fields.cloned().map(SortField::new).collect())?;
        Ok(Self {
            filling,
            held,
            rows,
            keys,
            waiting: VecDeque::new(),
            key: None,
            series: Vec::new(),
            filled: VecDeque::new(),
            done: false,
        })
    }

    pub(super) fn take(&mut self, batch: &RecordBatch) -> Result<()> {
        if self.filling.keys.is_empty() {
            self.waiting.push_back((None, batch.clone()));
            return Ok(());
        }
        let columns = self.filling.keys.iter().map(|key| ArrayRef::clone(batch.column(*key)));
        let columns: Vec<ArrayRef> = columns.collect();
        let rows = self.keys.convert_columns(&columns)?;
        for run in partition(&columns)?.ranges() {
            let key = rows.row(run.start).owned();
            self.waiting.push_back((Some(key), batch.slice(run.start, run.len())));
        }
        Ok(())
    }

    pub(super) fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.filled.pop_front() {
                return Ok(Some(batch));
            }
            let Some((key, run)) = self.waiting.pop_front() else {
                return Ok(None);
            };
            if key != self.key {
                self.fill()?;
                self.key = key;
            }
            self.held.try_grow(run.get_array_memory_size())?;
            self.series.push(run);
        }
    }

    /// There are no more rows: the last series is whole.
    pub(super) fn end(&mut self) -> Result<()> {
        self.done = true;
        self.fill()
    }

    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// Without keys there is one series, even if it has no rows.
    fn fill(&mut self) -> Result<()> {
        if self.series.is_empty() && !self.filling.keys.is_empty() {
            return Ok(());
        }
        let series = match self.series.first() {
            Some(first) => concat_batches(&first.schema(), &self.series)?,
            None => RecordBatch::new_empty(self.filling.schema.clone()),
        };
        self.series.clear();
        let filled = self.filling.filled(&series)?;
        self.held.try_resize(filled.get_array_memory_size())?;
        for start in (0..filled.num_rows()).step_by(self.rows) {
            let rows = self.rows.min(filled.num_rows() - start);
            self.filled.push_back(filled.slice(start, rows));
        }
        Ok(())
    }
}
