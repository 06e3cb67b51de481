//! The newest row of each series among sorted rows that pass by on their way into a file.
//!
//! Promises: what is kept of a batch is the newest row of each series, and the dictionaries of its
//! tags until the end.

use super::kept::Rows;
use crate::model::TableSchema;
use crate::table::{Tag, series_end};
use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{concat, take};
use arrow::datatypes::SchemaRef;

/// Rows by identity, then time, have passed up to here.
#[derive(Debug)]
pub(crate) struct Passing {
    schema: SchemaRef,
    identity: usize,
    /// By column: the newest rows, batch by batch.
    columns: Vec<Vec<ArrayRef>>,
    /// The series of the last row.
    last: Vec<String>,
}

impl Passing {
    pub(crate) fn new(table: &TableSchema) -> Self {
        let schema = table.arrow();
        let columns = vec![Vec::new(); schema.fields().len()];
        Self { schema, identity: table.identity.len(), columns, last: Vec::new() }
    }

    /// Looks at the rows that come next.
    pub(crate) fn look_at(&mut self, batch: &RecordBatch) {
        if batch.num_rows() == 0 {
            return;
        }
        let tags: Vec<Tag> =
            batch.columns()[1..=self.identity].iter().map(|column| Tag::of(column)).collect();
        let series = |row: usize| tags.iter().map(move |tag| tag.value(row));
        if series(0).eq(self.last.iter().map(String::as_str)) {
            self.forget_last();
        }
        let (mut rows, mut end) = (Vec::new(), 0);
        while end < batch.num_rows() {
            end = series_end(&tags, end, batch.num_rows());
            rows.push(end as u32 - 1);
        }
        self.last = series(batch.num_rows() - 1).map(str::to_owned).collect();
        let rows = UInt32Array::from(rows);
        for (columns, column) in self.columns.iter_mut().zip(batch.columns()) {
            columns.push(take(column, &rows, None).expect("rows of the batch"));
        }
    }

    /// A newer row of the same series comes.
    fn forget_last(&mut self) {
        for column in self.columns.iter_mut().filter_map(|columns| columns.last_mut()) {
            *column = column.slice(0, column.len() - 1);
        }
    }

    /// `None` where nothing has passed.
    pub(crate) fn finish(self) -> Option<Rows> {
        let joined = |columns: Vec<ArrayRef>| {
            let columns: Vec<&dyn Array> = columns.iter().map(AsRef::as_ref).collect();
            concat(&columns).expect("the columns' types are equal")
        };
        if self.columns.iter().all(Vec::is_empty) {
            return None;
        }
        let columns = self.columns.into_iter().map(joined).collect();
        let batch = RecordBatch::try_new(self.schema, columns).expect("the table's columns");
        Some(Rows::new(batch, self.identity))
    }
}
