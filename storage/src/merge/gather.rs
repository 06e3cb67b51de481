//! Copies chosen rows of several batches into one, column by column.

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, DictionaryArray, Int32Array, NullBufferBuilder,
    PrimitiveArray, RecordBatch, StringArray, downcast_primitive,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Int32Type, SchemaRef};
use std::collections::HashMap;
use std::sync::Arc;

/// Up to so many values are copied as so many, and cut back: a copy of a fixed length costs less.
/// Most runs are this short where files are of seconds.
const SHORT: usize = 8;

/// A row of one of the batches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) batch: usize,
    pub(super) row: usize,
}

/// Rows that come next.
#[derive(Debug)]
pub(super) enum Part {
    /// Neighbours.
    Run { place: Place, rows: usize },
    /// One row of several with the same key, earlier writes first: of each column the last value
    /// that is not NULL.
    Key(Vec<Place>),
}

/// The parts' rows as one batch of `schema`, which the batches have too.
pub(super) fn gather(
    schema: &SchemaRef,
    batches: &[RecordBatch],
    parts: &[Part],
    rows: usize,
) -> RecordBatch {
    let column = |number: usize| {
        let columns: Vec<&ArrayRef> = batches.iter().map(|batch| batch.column(number)).collect();
        gather_column(schema.field(number).data_type(), &columns, parts, rows)
    };
    let columns = (0..schema.fields().len()).map(column).collect();
    RecordBatch::try_new(schema.clone(), columns).expect("columns of the schema")
}

fn gather_column(
    data_type: &DataType,
    columns: &[&ArrayRef],
    parts: &[Part],
    rows: usize,
) -> ArrayRef {
    macro_rules! primitive {
        ($type:ty) => {
            Arc::new(
                gather_primitive::<$type>(columns, parts, rows).with_data_type(data_type.clone()),
            )
        };
    }
    downcast_primitive! {
        data_type => (primitive),
        DataType::Dictionary(..) => Arc::new(gather_tags(columns, parts, rows)),
        other => unreachable!("{other} is no type of a table's column"),
    }
}

/// Calls `each` for every stretch of rows: their batch, the first of them, and how many.
fn stretches(columns: &[&ArrayRef], parts: &[Part], mut each: impl FnMut(usize, usize, usize)) {
    for part in parts {
        match part {
            Part::Run { place, rows } => each(place.batch, place.row, *rows),
            Part::Key(places) => {
                let present = |place: &&Place| columns[place.batch].is_valid(place.row);
                let last = places.iter().rev().find(present).unwrap_or(&places[0]);
                each(last.batch, last.row, 1);
            }
        }
    }
}

fn gather_primitive<T: ArrowPrimitiveType>(
    columns: &[&ArrayRef],
    parts: &[Part],
    rows: usize,
) -> PrimitiveArray<T> {
    let sources: Vec<&PrimitiveArray<T>> = columns.iter().map(|c| c.as_primitive()).collect();
    let mut values: Vec<T::Native> = Vec::with_capacity(rows + SHORT);
    stretches(columns, parts, |batch, row, rows| {
        append(&mut values, &sources[batch].values()[row..], rows);
    });
    PrimitiveArray::new(values.into(), gather_nulls(columns, parts, rows))
}

/// Appends the first `rows` of some values.
fn append<T: Copy>(values: &mut Vec<T>, from: &[T], rows: usize) {
    match from.first_chunk::<SHORT>() {
        Some(more) if rows <= SHORT => {
            let end = values.len() + rows;
            values.extend_from_slice(more);
            values.truncate(end);
        }
        _ => values.extend_from_slice(&from[..rows]),
    }
}

/// Which rows are present, where any batch has rows that are not.
fn gather_nulls(columns: &[&ArrayRef], parts: &[Part], rows: usize) -> Option<NullBuffer> {
    if columns.iter().all(|column| column.null_count() == 0) {
        return None;
    }
    let mut nulls = NullBufferBuilder::new(rows);
    stretches(columns, parts, |batch, row, rows| match columns[batch].nulls() {
        None => nulls.append_n_non_nulls(rows),
        Some(own) => nulls.append_buffer(&own.slice(row, rows)),
    });
    nulls.finish()
}

/// Tags under one dictionary, which has no value that no row has.
fn gather_tags(columns: &[&ArrayRef], parts: &[Part], rows: usize) -> DictionaryArray<Int32Type> {
    let sources: Vec<&DictionaryArray<Int32Type>> =
        columns.iter().map(|column| column.as_dictionary()).collect();
    let texts: Vec<&StringArray> = sources.iter().map(|tags| tags.values().as_string()).collect();
    let mut known: Vec<Vec<Option<i32>>> = texts.iter().map(|t| vec![None; t.len()]).collect();
    let mut codes: HashMap<&str, i32> = HashMap::new();
    let mut values: Vec<&str> = Vec::new();
    let mut keys: Vec<i32> = Vec::with_capacity(rows);
    stretches(columns, parts, |batch, row, rows| {
        for at in row..row + rows {
            if !sources[batch].is_valid(at) {
                keys.push(0);
                continue;
            }
            let key = sources[batch].keys().value(at) as usize;
            let code = *known[batch][key].get_or_insert_with(|| {
                let text = texts[batch].value(key);
                *codes.entry(text).or_insert_with(|| {
                    values.push(text);
                    values.len() as i32 - 1
                })
            });
            keys.push(code);
        }
    });
    if values.is_empty() {
        values.push("");
    }
    let keys = Int32Array::new(keys.into(), gather_nulls(columns, parts, rows));
    DictionaryArray::new(keys, Arc::new(StringArray::from(values)))
}
