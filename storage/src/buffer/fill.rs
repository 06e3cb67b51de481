//! Fills wanted columns with rows of any layouts.

use super::Buffered;
use super::columns::{Column, ColumnMap, RowRef, Wanted};
use super::generation::LayoutEntry;
use crate::model::TableSchema;
use hashbrown::HashMap;
use std::sync::Arc;

/// Rows handed to each column in turn: small enough for their blocks to stay in the cache.
const STRIPE_ROWS: usize = 1_024;

/// The columns that a reader wants, and where each layout keeps them.
#[derive(Debug)]
pub(super) struct Fill {
    table: Arc<TableSchema>,
    wanted: Vec<Wanted>,
    /// By the layout's number in its table.
    maps: HashMap<u32, ColumnMap>,
}

impl Fill {
    /// `columns` index the table's Arrow schema.
    pub(super) fn new(table: Arc<TableSchema>, columns: &[usize]) -> Self {
        let wanted = columns.iter().map(|column| Wanted::of(&table, *column)).collect();
        Self { table, wanted, maps: HashMap::new() }
    }

    /// Makes a layout known, as it must be before rows of it are moved.
    pub(super) fn map(&mut self, entry: &LayoutEntry) {
        self.maps
            .entry(entry.number)
            .or_insert_with(|| ColumnMap::new(&self.table, &self.wanted, entry));
    }

    pub(super) fn map_of(&self, entry: &LayoutEntry) -> &ColumnMap {
        &self.maps[&entry.number]
    }

    /// The wanted columns, empty, with room for `rows`.
    pub(super) fn columns(&self, rows: usize) -> Vec<Column> {
        self.wanted.iter().map(|wanted| Column::new(&self.table, *wanted, rows)).collect()
    }

    /// Moves rows, each with whether it continues the key before it.
    pub(super) fn move_rows<'a>(
        &'a self,
        rows: impl Iterator<Item = (&'a Buffered, u32, bool)>,
        columns: &mut [Column],
    ) {
        let mut rows = rows.map(|(buffered, row, continues)| {
            let map = self.map_of(&buffered.entry);
            RowRef { buffered, map, row, continues }
        });
        let mut stripe = Vec::with_capacity(STRIPE_ROWS);
        loop {
            stripe.clear();
            stripe.extend(rows.by_ref().take(STRIPE_ROWS));
            if stripe.is_empty() {
                return;
            }
            for (number, column) in columns.iter_mut().enumerate() {
                column.extend(&stripe, number);
            }
        }
    }
}
