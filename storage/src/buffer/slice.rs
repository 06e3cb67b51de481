//! The buffered rows of one table at one instant.

use super::{Generation, Keep, MICROSECONDS_PER_DAY, RowOrder, Scan};
use crate::latest::Source;
use crate::model::TableSchema;
use crate::rules::{buffer_repeats, merged};
use crate::snapshot::TimeRange;
use arrow::array::RecordBatch;
use std::sync::Arc;

/// An identity tag that must have one of some values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagValues {
    place: usize,
    /// Sorted: there may be thousands.
    values: Vec<Arc<str>>,
}

impl TagValues {
    /// `place` is that of the tag in the table's identity.
    pub fn new(place: usize, mut values: Vec<Arc<str>>) -> Self {
        values.sort_unstable();
        values.dedup();
        Self { place, values }
    }

    pub fn place(&self) -> usize {
        self.place
    }

    pub fn values(&self) -> &[Arc<str>] {
        &self.values
    }

    /// Whether an identity has one of the values of each of these tags.
    pub(crate) fn all_hold(tags: &[Self], identity: &[impl AsRef<str>]) -> bool {
        let holds = |tag: &Self, value: &str| {
            tag.values.binary_search_by(|known| (**known).cmp(value)).is_ok()
        };
        tags.iter().all(|tag| holds(tag, identity[tag.place].as_ref()))
    }
}

/// What a snapshot holds of a table's buffer. It never changes; the memory behind it counts
/// against the budget until it is dropped.
#[derive(Clone, Debug)]
pub struct BufferSlice {
    schema: Arc<TableSchema>,
    generations: Vec<Generation>,
    /// The times of files of other writers.
    others: Arc<[TimeRange]>,
}

impl BufferSlice {
    pub fn empty(schema: Arc<TableSchema>) -> Self {
        Self::new(schema, Vec::new(), Arc::default())
    }

    /// `generations` in log order; `others` are the times of files of other writers.
    pub(crate) fn new(
        schema: Arc<TableSchema>,
        generations: Vec<Generation>,
        others: Arc<[TimeRange]>,
    ) -> Self {
        Self { schema, generations, others }
    }

    pub fn schema(&self) -> &Arc<TableSchema> {
        &self.schema
    }

    /// An upper bound of the rows: a key written twice counts twice.
    pub fn rows(&self) -> usize {
        self.generations.iter().map(Generation::rows).sum()
    }

    pub fn times(&self) -> Option<TimeRange> {
        self.generations.iter().filter_map(Generation::times).reduce(TimeRange::span)
    }

    /// The times of rows, days without rows left out: ascending, disjoint.
    pub(crate) fn times_by_day(&self) -> Vec<TimeRange> {
        let of_generation = |one: &Generation| -> Vec<TimeRange> {
            let Some(times) = one.times() else { return Vec::new() };
            let day = |day: &i64| {
                let first = day.saturating_mul(MICROSECONDS_PER_DAY);
                TimeRange { first, last: first.saturating_add(MICROSECONDS_PER_DAY - 1) }
            };
            one.days().iter().map(day).filter_map(|day| day.overlap(times)).collect()
        };
        merged(self.generations.iter().flat_map(of_generation).collect())
    }

    /// Where rows lie that may repeat keys of files: a span.
    pub fn late_times(&self) -> Option<TimeRange> {
        let late = self.generations.iter().filter_map(Generation::late).reduce(TimeRange::span);
        buffer_repeats(&self.others, self.times(), late)
    }

    /// The rows within `times` of series that have all these `tags`.
    pub fn order(&self, times: TimeRange, tags: &[TagValues]) -> RowOrder {
        RowOrder::new(&self.generations, times, Keep::All, tags)
    }

    /// One of several parts of an order's series, each with about as many: its rows sorted by
    /// identity, then time, one per key (last write per field), as batches of the columns that
    /// `columns` index in the table's Arrow schema. One part after the other is the whole order.
    pub fn scan(
        &self,
        order: Arc<RowOrder>,
        columns: &[usize],
        (part, parts): (usize, usize),
    ) -> impl Iterator<Item = RecordBatch> + Send + use<> {
        Scan::part(order, (part, parts), self.schema.clone(), columns)
    }

    /// All rows, as [`Self::scan`] gives them.
    pub fn scan_all(&self, columns: &[usize]) -> impl Iterator<Item = RecordBatch> + Send + use<> {
        self.scan(Arc::new(self.order(TimeRange::ALL, &[])), columns, (0, 1))
    }

    /// The newest rows of each generation, in log order.
    pub(crate) fn latest(&self) -> impl Iterator<Item = Source> {
        let generations = self.generations.iter().filter(|one| !one.is_empty());
        generations.cloned().map(Source::from)
    }
}
