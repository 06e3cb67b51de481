//! The newest row of each series: kept as rows, and put together from several sources.

use super::{Heads, Picks, Place};
use crate::buffer::{Generation, GenerationLatest, TagValues};
use crate::model::{Identity, TableSchema, Timestamp};
use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{cast, take, take_record_batch};
use arrow::datatypes::{DataType, Field, TimestampMicrosecondType};
use hashbrown::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// Rows of a batch that [`Latest`] yields.
const BATCH_ROWS: u32 = 8_192;

/// The newest row of each series of something that does not change any more.
#[derive(Debug)]
pub(crate) struct LatestRows {
    /// The table's columns as they were then, in stored types.
    batch: RecordBatch,
    /// The row of each identity.
    index: Arc<HashMap<Identity, u32>>,
}

impl LatestRows {
    pub(crate) fn none(schema: &TableSchema) -> Self {
        Self { batch: RecordBatch::new_empty(schema.arrow()), index: Arc::default() }
    }

    /// Rows with where each identity is. Tags keep no value that no row has.
    pub(crate) fn new(batch: &RecordBatch, index: Arc<HashMap<Identity, u32>>) -> Self {
        assert_eq!(batch.num_rows(), index.len(), "one row for each series");
        let columns = batch.columns().iter().map(compact).collect();
        let batch = RecordBatch::try_new(batch.schema(), columns).expect("the same columns");
        Self { batch, index }
    }

    /// The rows from a time on.
    pub(crate) fn since(&self, first: Timestamp) -> Self {
        let times = self.times();
        let is_kept = |row: &u32| times[*row as usize] >= first;
        let kept: Vec<u32> = (0..times.len() as u32).filter(is_kept).collect();
        let new = |row: u32| kept.binary_search(&row).ok().map(|at| at as u32);
        let index = self.index.iter().filter_map(|(id, row)| Some((id.clone(), new(*row)?)));
        let index = Arc::new(index.collect());
        let rows = UInt32Array::from(kept.clone());
        let batch = take_record_batch(&self.batch, &rows).expect("rows of the batch");
        Self::new(&batch, index)
    }

    fn times(&self) -> &[Timestamp] {
        self.batch.column(0).as_primitive::<TimestampMicrosecondType>().values()
    }

    /// A column at `rows`; NULL where these rows are older than the column.
    fn column(&self, field: &Field, rows: &[u32]) -> ArrayRef {
        match self.batch.column_by_name(field.name()) {
            None => new_null_array(field.data_type(), rows.len()),
            Some(column) => {
                let rows = UInt32Array::from_iter_values(rows.iter().copied());
                take(column, &rows, None).expect("rows of the batch")
            }
        }
    }

    /// What the rows and their index take.
    pub(crate) fn bytes(&self) -> usize {
        let tags = self.index.keys().next().map_or(0, Vec::len);
        let entry = size_of::<(Identity, u32)>() + tags * size_of::<Arc<str>>();
        self.batch.get_array_memory_size() + self.index.len() * entry
    }
}

/// A dictionary without values that no row has; any other column as it is.
fn compact(column: &ArrayRef) -> ArrayRef {
    let tags = column.data_type();
    if !matches!(tags, DataType::Dictionary(..)) {
        return column.clone();
    }
    let texts = cast(column, &DataType::Utf8).expect("tags are texts");
    cast(&texts, tags).expect("texts become tags")
}

/// Something that knows the newest row of each of its series.
#[derive(Debug)]
pub(crate) enum Source {
    Rows(Arc<LatestRows>),
    Generation(Box<GenerationLatest>),
}

impl From<Generation> for Source {
    fn from(generation: Generation) -> Self {
        Self::Generation(Box::new(GenerationLatest::new(generation)))
    }
}

impl Source {
    /// Of each series with these tags identity and greatest time, and the number by which
    /// `columns` knows its row.
    fn each(&self, tags: &[TagValues], mut look: impl FnMut(&Identity, Timestamp, u32)) {
        match self {
            Self::Rows(rows) => {
                let times = rows.times();
                let chosen = rows.index.iter().filter(|(id, _)| TagValues::all_hold(tags, id));
                chosen.for_each(|(id, row)| look(id, times[*row as usize], *row));
            }
            Self::Generation(latest) => {
                let chosen = latest.series().filter(|(_, id, _)| TagValues::all_hold(tags, id));
                chosen.for_each(|(series, id, time)| look(id, time, series));
            }
        }
    }

    fn columns(&self, table: &Arc<TableSchema>, columns: &[usize], rows: &[u32]) -> Vec<ArrayRef> {
        match self {
            Self::Rows(stored) => {
                let schema = table.arrow();
                columns.iter().map(|at| stored.column(schema.field(*at), rows)).collect()
            }
            Self::Generation(latest) => latest.columns(table, columns, rows),
        }
    }
}

/// The newest row of each series of a table in one snapshot, found but not yet put together.
#[derive(Debug)]
pub struct Latest {
    table: Arc<TableSchema>,
    /// In the order of their writes; the first is that of older rows.
    sources: Vec<Source>,
    /// By the numbers of `series`.
    heads: Heads,
    series: Numbers,
}

/// The numbers of series.
#[derive(Debug, Default)]
struct Numbers {
    /// The first ones are those of rows.
    rows: Arc<HashMap<Identity, u32>>,
    added: HashMap<Identity, u32>,
}

impl Numbers {
    fn number(&mut self, identity: &Identity) -> u32 {
        let known = self.rows.get(identity).or_else(|| self.added.get(identity));
        known.copied().unwrap_or_else(|| {
            let next = (self.rows.len() + self.added.len()) as u32;
            self.added.insert(identity.clone(), next);
            next
        })
    }

    fn len(&self) -> usize {
        self.rows.len() + self.added.len()
    }
}

impl Latest {
    /// Merges what `newer`, in the order of their writes, have over `older`.
    pub(crate) fn over(
        table: Arc<TableSchema>,
        older: Arc<LatestRows>,
        newer: impl IntoIterator<Item = Source>,
    ) -> Self {
        let series = Numbers { rows: older.index.clone(), added: HashMap::new() };
        let mut heads = Heads::default();
        for (row, time) in (0..).zip(older.times()) {
            heads.offer(row, *time, Place { source: 0, row });
        }
        let mut latest = Self { table, sources: vec![Source::Rows(older)], heads, series };
        newer.into_iter().for_each(|source| latest.add(source, &[]));
        latest
    }

    /// The same of series with these tags alone.
    pub(crate) fn chosen(
        table: Arc<TableSchema>,
        older: Arc<LatestRows>,
        newer: impl IntoIterator<Item = Source>,
        tags: &[TagValues],
    ) -> Self {
        let (sources, heads, series) = Default::default();
        let mut latest = Self { table, sources, heads, series };
        latest.add(Source::Rows(older), tags);
        newer.into_iter().for_each(|source| latest.add(source, tags));
        latest
    }

    fn add(&mut self, source: Source, tags: &[TagValues]) {
        let number = self.sources.len() as u32;
        source.each(tags, |identity, time, row| {
            let series = self.series.number(identity);
            self.heads.offer(series, time, Place { source: number, row });
        });
        self.sources.push(source);
        assert_eq!(self.heads.len(), self.series.len(), "each series has a row");
    }

    /// How many series there are.
    pub fn series(&self) -> usize {
        self.heads.len()
    }

    /// One row for each series, in no order, as batches of the columns that `columns` index in
    /// the table's Arrow schema, in stored types.
    pub fn batches(self, columns: Vec<usize>) -> impl Iterator<Item = RecordBatch> + Send {
        let series = self.series() as u32;
        let starts = (0..series).step_by(BATCH_ROWS as usize);
        starts.map(move |first| self.batch(first..series.min(first + BATCH_ROWS), &columns))
    }

    fn batch(&self, series: Range<u32>, columns: &[usize]) -> RecordBatch {
        let mut picks = Picks::new(self.sources.len());
        for one in series {
            picks.add(self.heads.writes(one));
        }
        let sources: Vec<Vec<ArrayRef>> = (self.sources.iter().zip(picks.rows()))
            .map(|(source, rows)| source.columns(&self.table, columns, rows))
            .collect();
        let schema = self.table.arrow().project(columns).expect("columns of the table's schema");
        picks.batch(Arc::new(schema), &sources)
    }

    /// All rows, kept.
    pub(crate) fn into_rows(self) -> LatestRows {
        let columns: Vec<usize> = (0..self.table.arrow().fields().len()).collect();
        let batch = self.batch(0..self.series() as u32, &columns);
        let Numbers { rows: mut index, added } = self.series;
        if !added.is_empty() {
            Arc::make_mut(&mut index).extend(added);
        }
        LatestRows::new(&batch, index)
    }
}
