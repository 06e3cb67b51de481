//! What a statement asks of one table: buckets, tags, aggregates and which rows.

use super::aggregates::{Ask, Input};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, col, lit};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use warpline_kernel::Grid;
use warpline_storage::{TableSnapshot, TimeRange};

/// A column that rows are grouped by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// The one bucket of time; its expression is over `time` alone, and follows the grid by
    /// construction or as far as the table's times reach.
    Bucket { expr: Expr, grid: Grid, certain: bool },
    /// A tag by its number in the table's schema.
    Tag(usize),
}

#[derive(Clone, Debug)]
pub(super) struct Question {
    pub table: Arc<TableSnapshot>,
    /// The answer's columns: keys, then asks.
    pub keys: Vec<Key>,
    pub asks: Vec<Ask>,
    /// Times that can pass the filters, all of which do where `filters` say nothing else.
    pub asked: TimeRange,
    /// Which rows count: over the table's columns, unqualified; all must hold.
    pub filters: Vec<Expr>,
}

impl PartialEq for Question {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.table, &other.table)
            && self.keys == other.keys
            && self.asks == other.asks
            && self.asked == other.asked
            && self.filters == other.filters
    }
}

impl Eq for Question {}

impl Hash for Question {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.table).hash(state);
        self.keys.hash(state);
        self.asks.hash(state);
        self.filters.hash(state);
    }
}

impl Question {
    fn column_name(&self, number: usize) -> String {
        self.table.schema.arrow().field(number).name().clone()
    }

    /// The tags grouped by, in the order of the keys.
    pub(super) fn group_tags(&self) -> impl Iterator<Item = usize> {
        self.keys.iter().filter_map(|key| match key {
            Key::Tag(number) => Some(*number),
            Key::Bucket { .. } => None,
        })
    }

    pub(super) fn bucket(&self) -> Option<(&Expr, Grid)> {
        self.keys.iter().find_map(|key| match key {
            Key::Bucket { expr, grid, .. } => Some((expr, *grid)),
            Key::Tag(_) => None,
        })
    }

    /// The fields that are reduced, each once, ascending.
    pub(super) fn inputs(&self) -> Vec<Input> {
        let mut inputs: Vec<Input> = self.asks.iter().filter_map(|ask| ask.input()).collect();
        inputs.sort_unstable();
        inputs.dedup();
        inputs
    }

    /// Whether some ask takes steps from row to row of a series.
    pub(super) fn by_series(&self) -> bool {
        self.asks.iter().any(|ask| matches!(ask, Ask::Increase(_) | Ask::Delta(_)))
    }

    /// The range of times as filters.
    pub(super) fn time_filters(&self) -> Vec<Expr> {
        let stored = self.table.schema.arrow();
        let zone = match stored.field(0).data_type() {
            DataType::Timestamp(_, zone) => zone.clone(),
            _ => None,
        };
        let at = |time| lit(ScalarValue::TimestampMicrosecond(Some(time), zone.clone()));
        vec![col("time").gt_eq(at(self.asked.first)), col("time").lt_eq(at(self.asked.last))]
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.keys.iter().map(|key| match key {
            Key::Bucket { grid, .. } => {
                format!("bucket of {} us from {}", grid.width(), grid.origin())
            }
            Key::Tag(number) => self.column_name(*number),
        });
        let asks = self.asks.iter().map(|ask| match ask.input() {
            None => ask.to_string(),
            Some(Input::Time) => format!("{ask}(time)"),
            Some(Input::Field(number)) => format!("{ask}({})", self.column_name(number)),
        });
        let keys: Vec<_> = keys.collect();
        let asks: Vec<_> = asks.collect();
        let table = &self.table.schema.table;
        write!(f, "table={table}, by=[{}], ask=[{}]", keys.join(", "), asks.join(", "))?;
        if self.asked != TimeRange::ALL {
            let TimeRange { first, last } = self.asked;
            write!(f, ", times={first}..={last}")?;
        }
        if !self.filters.is_empty() {
            let filters: Vec<_> = self.filters.iter().map(ToString::to_string).collect();
            write!(f, ", where=[{}]", filters.join(", "))?;
        }
        Ok(())
    }
}
