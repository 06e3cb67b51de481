//! Reads blocks as record batches in key order.

use super::columns::{Column, ColumnMap, RowRef, Wanted};
use super::generation::Newest;
use super::rows::{RowAddress, RowOrder, SeriesRows};
use super::{Buffered, Generation};
use crate::model::TableSchema;
use crate::snapshot::TimeRange;
use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use std::collections::HashMap;
use std::sync::Arc;

/// Rows of a batch.
const BATCH_ROWS: usize = 32_768;
/// Rows handed to each column in turn: small enough for their blocks to stay in the cache.
const STRIPE_ROWS: usize = 1_024;

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
    table: Arc<TableSchema>,
    schema: SchemaRef,
    wanted: Vec<Wanted>,
    order: RowOrder,
    /// By the layout's number in its table.
    maps: HashMap<u32, ColumnMap>,
    /// The series being read, and how many of its rows have been.
    rows: SeriesRows,
    taken: usize,
}

/// The rows of one batch.
#[derive(Default)]
struct Collected {
    /// Whether a row continues the key before it.
    addresses: Vec<(RowAddress, bool)>,
    keys: usize,
}

impl Scan {
    pub(crate) fn new(
        table: Arc<TableSchema>,
        generations: &[Generation],
        columns: &[usize],
        times: TimeRange,
        keep: Keep,
    ) -> Self {
        let schema = table.arrow().project(columns).expect("columns of the table's schema");
        let wanted = columns.iter().map(|column| Wanted::of(&table, *column)).collect();
        let chunks = generations.iter().flat_map(|one| one.chunks().iter().cloned()).collect();
        Self {
            table,
            schema: Arc::new(schema),
            wanted,
            order: RowOrder::new(chunks, times, keep),
            maps: HashMap::new(),
            rows: SeriesRows::default(),
            taken: 0,
        }
    }

    fn collect(&mut self) -> Collected {
        let mut collected = Collected::default();
        loop {
            if self.taken == self.rows.addresses.len() {
                self.taken = 0;
                if !self.order.next_series(&mut self.rows) {
                    return collected;
                }
            }
            let continues =
                self.taken > 0 && self.rows.times[self.taken - 1] == self.rows.times[self.taken];
            if !continues && collected.keys == BATCH_ROWS {
                return collected;
            }
            collected.addresses.push((self.rows.addresses[self.taken], continues));
            collected.keys += usize::from(!continues);
            self.taken += 1;
        }
    }

    fn map_layouts(&mut self, collected: &Collected) {
        for (address, _) in &collected.addresses {
            let entry = &self.order.block(address.block).entry;
            self.maps
                .entry(entry.number)
                .or_insert_with(|| ColumnMap::new(&self.table, &self.wanted, entry));
        }
    }

    fn columns(&self, collected: &Collected) -> Vec<Column> {
        let mut columns: Vec<_> =
            self.wanted.iter().map(|wanted| Column::new(&self.table, *wanted)).collect();
        let mut stripe = Vec::with_capacity(STRIPE_ROWS);
        for addresses in collected.addresses.chunks(STRIPE_ROWS) {
            stripe.clear();
            stripe.extend(addresses.iter().map(|(address, continues)| {
                let buffered: &Buffered = self.order.block(address.block);
                let map = &self.maps[&buffered.entry.number];
                RowRef { buffered, map, row: address.row, continues: *continues }
            }));
            for (number, column) in columns.iter_mut().enumerate() {
                column.extend(&stripe, number);
            }
        }
        columns
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
