//! Rows that are kept, one for each series, and where each series' row is.
//!
//! Promises: nothing of a block or a file is held; at most half of the texts kept are of no row.
//! A series' tags are in the rows alone: what finds a row is its number, put where a hash
//! of its tags says.

use crate::model::{TableSchema, Timestamp};
use crate::table::Tag;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{cast, take, take_record_batch};
use arrow::datatypes::{DataType, Field, Int32Type, TimestampMicrosecondType};
use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;
use std::sync::Arc;

/// Rows in the columns that a table had once, in stored types, no two of one series.
#[derive(Debug)]
pub(crate) struct Rows {
    batch: RecordBatch,
    /// How many tags are its identity; they come after the time.
    identity: usize,
}

impl Rows {
    pub(super) fn new(batch: RecordBatch, identity: usize) -> Self {
        Self { batch, identity }
    }

    pub(super) fn len(&self) -> usize {
        self.batch.num_rows()
    }

    pub(super) fn times(&self) -> &[Timestamp] {
        self.batch.column(0).as_primitive::<TimestampMicrosecondType>().values()
    }

    pub(super) fn tags(&self) -> Vec<Tag<'_>> {
        self.batch.columns()[1..=self.identity].iter().map(|column| Tag::of(column)).collect()
    }

    /// A column at `rows`; NULL where these rows are older than the column.
    pub(super) fn column(&self, field: &Field, rows: &[u32]) -> ArrayRef {
        match self.batch.column_by_name(field.name()) {
            None => new_null_array(field.data_type(), rows.len()),
            Some(column) => {
                let rows = UInt32Array::from_iter_values(rows.iter().copied());
                take(column, &rows, None).expect("rows of the batch")
            }
        }
    }
}

/// The newest row of each series of something that does not change any more.
#[derive(Debug)]
pub(crate) struct LatestRows {
    rows: Arc<Rows>,
    index: Arc<Index>,
}

impl LatestRows {
    pub(crate) fn none(schema: &TableSchema) -> Self {
        Self::of(&RecordBatch::new_empty(schema.arrow()), schema.identity.len())
    }

    /// Rows of different series, which `identity` tags name.
    pub(crate) fn of(batch: &RecordBatch, identity: usize) -> Self {
        Self::indexed(batch, identity, Arc::default())
    }

    /// Newer rows: the first ones of the very series that these are of, in their order.
    pub(super) fn followed(&self, batch: &RecordBatch) -> Self {
        Self::indexed(batch, self.rows.identity, self.index.clone())
    }

    fn indexed(batch: &RecordBatch, identity: usize, mut index: Arc<Index>) -> Self {
        let columns = batch.columns().iter().map(compact).collect();
        let batch = RecordBatch::try_new(batch.schema(), columns).expect("the same columns");
        let rows = Rows::new(batch, identity);
        if rows.len() > index.len() {
            Arc::make_mut(&mut index).extend(&rows);
        }
        Self { rows: Arc::new(rows), index }
    }

    /// The rows from a time on.
    pub(crate) fn since(&self, first: Timestamp) -> Self {
        let times = self.rows.times();
        let is_kept = |row: &u32| times[*row as usize] >= first;
        let kept = UInt32Array::from_iter_values((0..times.len() as u32).filter(is_kept));
        let batch = take_record_batch(&self.rows.batch, &kept).expect("rows of the batch");
        Self::of(&batch, self.rows.identity)
    }

    pub(super) fn rows(&self) -> &Arc<Rows> {
        &self.rows
    }

    pub(super) fn known(&self) -> Known<'_> {
        Known { index: &self.index, tags: self.rows.tags() }
    }

    /// What the rows and their index take.
    pub(crate) fn bytes(&self) -> usize {
        self.rows.batch.get_array_memory_size() + self.index.rows.allocation_size()
    }
}

/// Finds rows by what series they are of.
pub(super) struct Known<'a> {
    index: &'a Index,
    tags: Vec<Tag<'a>>,
}

impl Known<'_> {
    pub(super) fn row(&self, identity: &[&str]) -> Option<u32> {
        let is_it = |row: &u32| {
            let row = *row as usize;
            self.tags.iter().zip(identity).all(|(tag, value)| tag.value(row) == *value)
        };
        self.index.rows.find(self.index.hasher.hash_one(identity), is_it).copied()
    }
}

/// Row numbers by the hashes of their tags.
#[derive(Clone, Debug, Default)]
struct Index {
    rows: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Index {
    fn len(&self) -> usize {
        self.rows.len()
    }

    /// Takes in the rows that it does not know yet; before them stand those that it knows.
    fn extend(&mut self, rows: &Rows) {
        let tags = rows.tags();
        let hash = |row: &u32| {
            let identity: Vec<&str> = tags.iter().map(|tag| tag.value(*row as usize)).collect();
            self.hasher.hash_one(&identity[..])
        };
        let first = self.rows.len() as u32;
        self.rows.reserve(rows.len() - self.rows.len(), hash);
        for row in first..rows.len() as u32 {
            self.rows.insert_unique(hash(&row), row, hash);
        }
    }
}

/// A dictionary most of whose values no row has, without them; any other column as it is.
fn compact(column: &ArrayRef) -> ArrayRef {
    let tags = column.data_type();
    if !matches!(tags, DataType::Dictionary(..)) || most_are_used(column) {
        return column.clone();
    }
    let texts = cast(column, &DataType::Utf8).expect("tags are texts");
    cast(&texts, tags).expect("texts become tags")
}

fn most_are_used(column: &ArrayRef) -> bool {
    let column = column.as_dictionary::<Int32Type>();
    let mut is_used = vec![false; column.values().len()];
    column.keys().iter().flatten().for_each(|key| is_used[key as usize] = true);
    2 * is_used.iter().filter(|is_used| **is_used).count() >= is_used.len()
}
