//! A tier's table under construction: runs as they were cut, made into sorted batches.

use super::cells::{FieldCells, TierBatch, cells};
use super::columns::{FieldColumns, Kept};
use super::cut::{Cuts, Keys, Rows};
use super::lane::column_of;
use super::tags::BatchTags;
use super::tier::{FIRST_TIME, LAST_TIME, PART, ROWS, Tier, part_text};
use crate::error::StorageError;
use crate::model::{FieldType, TableSchema, Timestamp};
use arrow::array::{
    ArrayRef, DictionaryArray, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Rows that a batch has at least, unless it is the last.
const BATCH_ROWS: usize = 2_048;

#[derive(Debug)]
pub(super) struct Table {
    raw: TableSchema,
    tier: TableSchema,
    schema: SchemaRef,
    keys: Keys,
    fields: Vec<FieldTable>,
}

/// A raw field and what is kept of it.
#[derive(Debug)]
struct FieldTable {
    name: Arc<str>,
    field_type: FieldType,
    cells: Box<dyn FieldCells>,
}

impl Table {
    /// Refuses a tier's schema whose tags are not the raw table's and `part`, or that has columns
    /// which no raw field accounts for.
    pub(super) fn new(
        raw: &TableSchema,
        tier: Tier,
        schema: &TableSchema,
    ) -> Result<Self, StorageError> {
        let mut identity = raw.identity.clone();
        identity.push(PART.into());
        if schema.identity != identity || schema.attributes != raw.attributes {
            return Err(StorageError::internal(format!(
                "table {} has other tags than table {} and {PART:?}",
                schema.table, raw.table
            )));
        }
        let mut fields = Vec::with_capacity(raw.fields.len());
        let mut known: Vec<usize> = [ROWS, FIRST_TIME, LAST_TIME]
            .into_iter()
            .filter_map(|name| schema.fields.iter().position(|field| &*field.name == name))
            .collect();
        for field in &raw.fields {
            let columns = FieldColumns::of(schema, field);
            known.extend(Kept::ALL.into_iter().filter_map(|kept| columns.place(kept)));
            let (name, field_type) = (field.name.clone(), field.field_type);
            fields.push(FieldTable { name, field_type, cells: cells(field_type, columns) });
        }
        if let Some(at) = (0..schema.fields.len()).find(|at| !known.contains(at)) {
            return Err(StorageError::internal(format!(
                "table {} has a column {:?}, which no field of table {} accounts for",
                schema.table, schema.fields[at].name, raw.table
            )));
        }
        let keys = Keys::new(raw, tier.grid());
        let (raw, tier) = (raw.clone(), schema.clone());
        Ok(Self { raw, schema: tier.arrow(), tier, keys, fields })
    }

    pub(super) fn tags(&self, batch: &RecordBatch) -> Result<BatchTags, StorageError> {
        BatchTags::of(&self.raw, batch)
    }

    /// Adds raw rows.
    pub(super) fn reduce(
        &mut self,
        batch: &RecordBatch,
        times: &[Timestamp],
    ) -> Result<(), StorageError> {
        let tags = self.tags(batch)?;
        let rows = Rows { times, first_times: times, last_times: times, weights: None };
        let cuts = self.keys.cut(&tags, rows)?;
        for field in &mut self.fields {
            let column = column_of(batch, &field.name, &field.field_type.arrow())?;
            field.cells.reduce(&column, &cuts);
        }
        Ok(())
    }

    /// Adds rows of a narrower tier.
    pub(super) fn combine(
        &mut self,
        batch: &RecordBatch,
        rows: Rows<'_>,
    ) -> Result<(), StorageError> {
        let tags = self.tags(batch)?;
        let cuts: Cuts = self.keys.cut(&tags, rows)?;
        for field in &mut self.fields {
            let column = |kept: Kept| {
                let data_type = kept.field_type(field.field_type).arrow();
                column_of(batch, &kept.column(&field.name), &data_type)
            };
            let mut columns = Vec::with_capacity(Kept::ALL.len());
            for kept in Kept::ALL {
                columns.push(column(kept)?);
            }
            let columns = columns.try_into().expect("a column of each");
            field.cells.combine(&TierBatch { times: rows.times, columns }, &cuts);
        }
        Ok(())
    }

    /// The rows of series that have ended, once there are enough of them.
    pub(super) fn ready(&mut self) -> Option<RecordBatch> {
        let runs = self.keys.complete();
        (runs >= BATCH_ROWS).then(|| self.take(runs))
    }

    /// All rows that are left.
    pub(super) fn finish(&mut self) -> Option<RecordBatch> {
        for field in &mut self.fields {
            field.cells.close();
        }
        let runs = self.keys.len();
        (runs > 0).then(|| self.take(runs))
    }

    fn take(&mut self, runs: usize) -> RecordBatch {
        let keys = &self.keys;
        let times = (0..runs).map(|run| keys.start(run));
        let times = TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC");
        let mut columns: Vec<ArrayRef> = vec![Arc::new(times)];
        let mut tags = keys.sets.columns(&keys.set[..runs]);
        let attributes = tags.split_off(self.raw.identity.len());
        columns.extend(tags);
        columns.push(part_column(&keys.part[..runs]));
        columns.extend(attributes);
        let mut fields: Vec<Option<ArrayRef>> = vec![None; self.tier.fields.len()];
        self.own_columns(runs, &mut fields);
        for field in &mut self.fields {
            field.cells.take(runs, &mut fields);
        }
        columns.extend(fields.into_iter().map(|column| column.expect("each field accounts")));
        let batch = RecordBatch::try_new(self.schema.clone(), columns)
            .expect("the columns were built from the schema");
        let order = self.order(runs);
        self.keys.forget(runs);
        match order {
            None => batch,
            Some(order) => take_record_batch(&batch, &order).expect("rows of the batch"),
        }
    }

    fn own_columns(&self, runs: usize, fields: &mut [Option<ArrayRef>]) {
        let keys = &self.keys;
        let times = |times: &[i64]| Arc::new(Int64Array::from(times[..runs].to_vec()));
        let rows = Arc::new(Int32Array::from(keys.rows[..runs].to_vec()));
        let own: [(&str, ArrayRef); 3] = [
            (ROWS, rows),
            (FIRST_TIME, times(&keys.first_time)),
            (LAST_TIME, times(&keys.last_time)),
        ];
        for (name, column) in own {
            if let Some(at) = self.tier.fields.iter().position(|field| &*field.name == name) {
                fields[at] = Some(column);
            }
        }
    }

    /// The order by series, part and time, if it is not that of the runs.
    fn order(&self, runs: usize) -> Option<UInt32Array> {
        let part = &self.keys.part[..runs];
        if part.iter().all(|part| *part == 0) {
            return None;
        }
        let mut order: Vec<u32> = (0..runs as u32).collect();
        let starts = self.keys.series.iter().copied().filter(|start| *start < runs);
        let starts: BTreeSet<usize> = starts.chain([runs]).collect();
        let mut start = 0;
        for end in starts {
            order[start..end].sort_by_key(|run| part[*run as usize]);
            start = end;
        }
        Some(order.into())
    }
}

fn part_column(parts: &[u32]) -> ArrayRef {
    let mut known: Vec<u32> = parts.to_vec();
    known.sort_unstable();
    known.dedup();
    let key = |part: &u32| known.partition_point(|known| known < part) as i32;
    let keys = Int32Array::from_iter_values(parts.iter().map(key));
    let values = StringArray::from_iter_values(known.iter().map(|part| part_text(*part)));
    Arc::new(DictionaryArray::new(keys, Arc::new(values)))
}
