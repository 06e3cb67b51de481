//! Reads blocks as record batches in key order.

use super::columns::{Column, Ticks};
use super::fill::Fill;
use super::generation::Newest;
use super::rows::{RowAddress, RowOrder, SeriesRows, TickRun, Walk};
use super::{Generation, TagValues};
use crate::model::TableSchema;
use crate::snapshot::TimeRange;
use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use std::sync::Arc;

/// Rows of a batch.
const BATCH_ROWS: usize = 32_768;

/// Which rows of a generation are wanted, by what their series had before it.
#[derive(Clone, Debug)]
pub(crate) enum Keep {
    All,
    /// Newer than anything before.
    Monotone(Arc<Newest>),
    /// The others.
    Late(Arc<Newest>),
}

/// An iterator of record batches: rows by identity, then time, one per key.
#[derive(Debug)]
pub(crate) struct Scan {
    schema: SchemaRef,
    walk: Walk,
    fill: Fill,
    /// The series being read, and how many of its rows have been.
    rows: SeriesRows,
    taken: usize,
}

/// The rows of one batch, in order.
#[derive(Default)]
struct Collected {
    parts: Vec<Part>,
    keys: usize,
}

enum Part {
    Ticks(TickRun),
    /// Rows with whether each continues the key before it.
    Rows(Vec<(RowAddress, bool)>),
}

impl Scan {
    pub(crate) fn new(
        table: Arc<TableSchema>,
        generations: &[Generation],
        columns: &[usize],
        times: TimeRange,
        keep: Keep,
        tags: &[TagValues],
    ) -> Self {
        let order = Arc::new(RowOrder::new(generations, times, keep, tags));
        Self::part(order, (0, 1), table, columns)
    }

    /// One of several parts that an order is read in.
    pub(super) fn part(
        order: Arc<RowOrder>,
        part: (usize, usize),
        table: Arc<TableSchema>,
        columns: &[usize],
    ) -> Self {
        let schema = table.arrow().project(columns).expect("columns of the table's schema");
        Self {
            schema: Arc::new(schema),
            walk: Walk::new(order, part),
            fill: Fill::new(table, columns),
            rows: SeriesRows::default(),
            taken: 0,
        }
    }

    fn collect(&mut self) -> Collected {
        let mut collected = Collected::default();
        while collected.keys < BATCH_ROWS {
            if self.taken < self.rows.addresses.len() {
                self.take_rows(&mut collected);
            } else if let Some(run) = self.walk.next_ticks() {
                collected.keys += run.rows();
                collected.parts.push(Part::Ticks(run));
            } else {
                self.taken = 0;
                if !self.walk.next_series(&mut self.rows) {
                    break;
                }
            }
        }
        collected
    }

    /// Rows of the present series, as many as the batch has room for; a key is not torn apart.
    fn take_rows(&mut self, collected: &mut Collected) {
        if !matches!(collected.parts.last(), Some(Part::Rows(_))) {
            collected.parts.push(Part::Rows(Vec::new()));
        }
        let Some(Part::Rows(rows)) = collected.parts.last_mut() else { unreachable!() };
        while self.taken < self.rows.addresses.len() {
            let times = &self.rows.times;
            let continues = self.taken > 0 && times[self.taken - 1] == times[self.taken];
            if !continues && collected.keys >= BATCH_ROWS {
                return;
            }
            rows.push((self.rows.addresses[self.taken], continues));
            collected.keys += usize::from(!continues);
            self.taken += 1;
        }
    }

    fn map_layouts(&mut self, collected: &Collected) {
        for part in &collected.parts {
            match part {
                Part::Ticks(run) => self.fill.map(&run.entry),
                Part::Rows(rows) => {
                    for (address, _) in rows {
                        self.fill.map(&self.walk.order().block(address.block).entry);
                    }
                }
            }
        }
    }

    fn columns(&self, collected: &Collected) -> Vec<Column> {
        let mut columns = self.fill.columns(collected.keys);
        for part in &collected.parts {
            match part {
                Part::Ticks(run) => self.move_ticks(run, &mut columns),
                Part::Rows(rows) => {
                    let rows = rows.iter().map(|(address, continues)| {
                        (self.walk.order().block(address.block), address.row, *continues)
                    });
                    self.fill.move_rows(rows, &mut columns);
                }
            }
        }
        columns
    }

    fn move_ticks(&self, run: &TickRun, columns: &mut [Column]) {
        let blocks = run.ticks.iter().map(|block| &self.walk.order().block(*block).block).collect();
        let ticks = Ticks::new(&run.entry, self.fill.map_of(&run.entry), blocks);
        for (number, column) in columns.iter_mut().enumerate() {
            column.extend_ticks(&ticks, number);
        }
    }
}

impl Iterator for Scan {
    type Item = RecordBatch;

    fn next(&mut self) -> Option<RecordBatch> {
        let collected = self.collect();
        if collected.keys == 0 {
            return None;
        }
        self.map_layouts(&collected);
        let arrays = self.columns(&collected).into_iter().map(Column::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(collected.keys));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options);
        Some(batch.expect("the columns were built from the schema"))
    }
}
