//! The newest row of each series, put together from several sources.

use super::kept::Rows;
use super::{Heads, LatestRows, Picks, Place};
use crate::buffer::{Generation, GenerationLatest, TagValues};
use crate::model::{TableSchema, Timestamp};
use arrow::array::{ArrayRef, RecordBatch};
use hashbrown::{Equivalent, HashMap};
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

/// Rows of a batch that [`Latest`] yields.
const BATCH_ROWS: u32 = 8_192;

/// Something that knows the newest row of each of its series.
#[derive(Debug)]
pub(crate) enum Source {
    Rows(Arc<Rows>),
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
    fn each<'a>(&'a self, tags: &[TagValues], mut look: impl FnMut(&[&'a str], Timestamp, u32)) {
        let mut identity = Vec::new();
        let mut offer = |values: &mut dyn Iterator<Item = &'a str>, time, row| {
            identity.clear();
            identity.extend(values);
            if TagValues::all_hold(tags, &identity) {
                look(&identity, time, row);
            }
        };
        match self {
            Self::Rows(rows) => {
                let known = rows.tags();
                for (row, time) in (0..).zip(rows.times()) {
                    offer(&mut known.iter().map(|tag| tag.value(row as usize)), *time, row);
                }
            }
            Self::Generation(latest) => {
                for (series, values, time) in latest.series() {
                    offer(&mut values.iter().map(|value| &**value), time, series);
                }
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
    /// The number of a series that it has is its row there.
    older: Arc<LatestRows>,
    /// Numbers of other series.
    added: HashMap<Vec<Box<str>>, u32>,
    /// In the order of their writes.
    sources: Vec<Source>,
    heads: Heads,
}

/// A series' tags as they lie in a source.
struct Texts<'a>(&'a [&'a str]);

impl Hash for Texts<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl Equivalent<Vec<Box<str>>> for Texts<'_> {
    fn equivalent(&self, key: &Vec<Box<str>>) -> bool {
        self.0.iter().copied().eq(key.iter().map(|text| &**text))
    }
}

impl Latest {
    /// Merges what `newer`, in the order of their writes, have over `older`.
    pub(crate) fn over(
        table: Arc<TableSchema>,
        older: &Arc<LatestRows>,
        newer: impl IntoIterator<Item = Source>,
    ) -> Self {
        let mut latest = Self::none(table, older.clone());
        for (row, time) in (0..).zip(older.rows().times()) {
            latest.heads.offer(row, *time, Place { source: 0, row });
        }
        latest.sources.push(Source::Rows(older.rows().clone()));
        newer.into_iter().for_each(|source| latest.add(source, &[]));
        latest
    }

    /// The same of series with these tags alone.
    pub(crate) fn chosen(
        table: Arc<TableSchema>,
        older: &LatestRows,
        newer: impl IntoIterator<Item = Source>,
        tags: &[TagValues],
    ) -> Self {
        let none = LatestRows::none(&table);
        let mut latest = Self::none(table, Arc::new(none));
        latest.add(Source::Rows(older.rows().clone()), tags);
        newer.into_iter().for_each(|source| latest.add(source, tags));
        latest
    }

    fn none(table: Arc<TableSchema>, older: Arc<LatestRows>) -> Self {
        let (added, sources, heads) = Default::default();
        Self { table, older, added, sources, heads }
    }

    fn add(&mut self, source: Source, tags: &[TagValues]) {
        let number = self.sources.len() as u32;
        let known = self.older.known();
        let first = self.older.rows().len();
        source.each(tags, |identity, time, row| {
            let series = known.row(identity).or_else(|| self.added.get(&Texts(identity)).copied());
            let series = series.unwrap_or_else(|| {
                let next = (first + self.added.len()) as u32;
                self.added.insert(identity.iter().map(|text| (*text).into()).collect(), next);
                next
            });
            self.heads.offer(series, time, Place { source: number, row });
        });
        self.sources.push(source);
        assert_eq!(self.heads.len(), first + self.added.len(), "each series has a row");
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
        self.older.followed(&self.batch(0..self.series() as u32, &columns))
    }
}
