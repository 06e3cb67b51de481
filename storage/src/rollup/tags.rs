//! Tags of sorted batches: where they change, and the values that the rows of a tier have.

use super::lane::column_of;
use crate::error::StorageError;
use crate::model::{TableSchema, tag_type};
use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Int32Array, RecordBatch, StringArray,
};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::Int32Type;
use std::collections::HashMap;
use std::sync::Arc;

/// Stands for a value that is absent.
const ABSENT: i32 = -1;

/// The tags of a batch.
#[derive(Debug)]
pub(super) struct BatchTags {
    identity: Vec<TagColumn>,
    attributes: Vec<TagColumn>,
}

impl BatchTags {
    /// The tags that the raw table has. `part` is none of them.
    pub(super) fn of(raw: &TableSchema, batch: &RecordBatch) -> Result<Self, StorageError> {
        let read = |names: &[Arc<str>]| -> Result<Vec<TagColumn>, StorageError> {
            let columns = names.iter().map(|name| column_of(batch, name, &tag_type()));
            columns.map(|column| Ok(TagColumn::of(&column?))).collect()
        };
        Ok(Self { identity: read(&raw.identity)?, attributes: read(&raw.attributes)? })
    }

    /// Rows at which another series begins, ascending; the first row is not said to be one.
    pub(super) fn series_changes(&self) -> Vec<u32> {
        changes(&self.identity)
    }

    /// Rows whose attributes differ from those of the row before, ascending.
    pub(super) fn attribute_changes(&self) -> Vec<u32> {
        changes(&self.attributes)
    }

    /// Whether a row is of the same series as a row of other tags.
    pub(super) fn same_series(&self, row: usize, other: &Self, other_row: usize) -> bool {
        let mut pairs = self.identity.iter().zip(&other.identity);
        pairs.all(|(one, other)| one.value(row) == other.value(other_row))
    }
}

fn changes(columns: &[TagColumn]) -> Vec<u32> {
    let mut rows = Vec::new();
    for column in columns {
        column.changes(&mut rows);
    }
    rows.sort_unstable();
    rows.dedup();
    rows
}

#[derive(Debug)]
struct TagColumn {
    keys: ScalarBuffer<i32>,
    values: StringArray,
}

impl TagColumn {
    fn of(column: &ArrayRef) -> Self {
        let column: &DictionaryArray<Int32Type> = column.as_dictionary();
        let keys = column.keys();
        let keys = if keys.null_count() == 0 {
            keys.values().clone()
        } else {
            keys.iter().map(|key| key.unwrap_or(ABSENT)).collect()
        };
        Self { keys, values: column.values().as_string().clone() }
    }

    fn value(&self, row: usize) -> Option<&str> {
        self.text(self.keys[row])
    }

    fn text(&self, key: i32) -> Option<&str> {
        let place = usize::try_from(key).ok()?;
        self.values.is_valid(place).then(|| self.values.value(place))
    }

    /// A dictionary may have a text twice.
    fn changes(&self, rows: &mut Vec<u32>) {
        for (row, pair) in (1..).zip(self.keys.windows(2)) {
            if pair[0] != pair[1] && self.text(pair[0]) != self.text(pair[1]) {
                rows.push(row);
            }
        }
    }
}

/// How the first rows of a stretch relate to the last row before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entered {
    NewSeries,
    NewAttributes,
    Same,
}

/// Values of all tags of rows in their order; consecutive rows with the same values share a set.
#[derive(Debug)]
pub(super) struct TagSets {
    identity: usize,
    sets: Vec<Vec<Option<Arc<str>>>>,
}

impl TagSets {
    pub(super) fn new(raw: &TableSchema) -> Self {
        Self { identity: raw.identity.len(), sets: Vec::new() }
    }

    /// The number of the set that was added last.
    pub(super) fn last(&self) -> u32 {
        self.sets.len() as u32 - 1
    }

    /// Takes in the tags of a row, which begins a series or follows a batch.
    pub(super) fn enter(
        &mut self,
        tags: &BatchTags,
        row: usize,
        table: &str,
    ) -> Result<Entered, StorageError> {
        let Some(last) = self.sets.last() else {
            self.push(tags, row);
            return Ok(Entered::NewSeries);
        };
        let before = last[..self.identity].iter().map(Option::as_deref);
        match tags.identity.iter().map(|column| column.value(row)).cmp(before) {
            std::cmp::Ordering::Less => {
                let own: Vec<_> = tags.identity.iter().map(|column| column.value(row)).collect();
                Err(StorageError::internal(format!(
                    "rows of table {table} are not in order at series {own:?}"
                )))
            }
            std::cmp::Ordering::Greater => {
                self.push(tags, row);
                Ok(Entered::NewSeries)
            }
            std::cmp::Ordering::Equal => {
                let before = last[self.identity..].iter().map(Option::as_deref);
                if tags.attributes.iter().map(|column| column.value(row)).eq(before) {
                    return Ok(Entered::Same);
                }
                self.push(tags, row);
                Ok(Entered::NewAttributes)
            }
        }
    }

    /// Adds the tags of a row.
    pub(super) fn push(&mut self, tags: &BatchTags, row: usize) {
        let last = self.sets.last();
        let columns = tags.identity.iter().chain(&tags.attributes).enumerate();
        let set = columns.map(|(at, column)| {
            let text = column.value(row)?;
            let known = last.and_then(|set| set[at].as_ref()).filter(|known| &***known == text);
            Some(known.cloned().unwrap_or_else(|| text.into()))
        });
        let set = set.collect();
        self.sets.push(set);
    }

    /// The columns of rows by the numbers of their sets, which ascend: identity, then attributes.
    pub(super) fn columns(&self, rows: &[u32]) -> Vec<ArrayRef> {
        let used = rows.last().map_or(0, |last| *last as usize + 1);
        let tags = self.sets.first().map_or(0, Vec::len);
        (0..tags).map(|tag| dictionary(&self.sets[..used], tag, rows)).collect()
    }

    /// Forgets the sets before that number; what is left is counted from 0 on.
    pub(super) fn forget(&mut self, before: u32) {
        self.sets.drain(..before as usize);
    }
}

fn dictionary(sets: &[Vec<Option<Arc<str>>>], tag: usize, rows: &[u32]) -> ArrayRef {
    let mut known: HashMap<&str, i32> = HashMap::new();
    let mut values: Vec<&str> = Vec::new();
    let mut keys: Vec<Option<i32>> = Vec::with_capacity(sets.len());
    for set in sets {
        let key = set[tag].as_deref().map(|text| {
            *known.entry(text).or_insert_with(|| {
                values.push(text);
                values.len() as i32 - 1
            })
        });
        keys.push(key);
    }
    let keys: Int32Array = rows.iter().map(|set| keys[*set as usize]).collect();
    let values = Arc::new(StringArray::from(values));
    Arc::new(DictionaryArray::new(keys, values))
}
