//! The page index of a file is right: whoever skips pages by it gets the rows that he asked for.

use super::encoding::{SHAPES, metadata, plain, shaped};
use super::{DAY, SECOND, about};
use crate::error::ErrorKind;
use crate::snapshot::TimeRange;
use crate::table::chunk::Effort;
use crate::table::parquet::{PAGE_ROWS, encode};
use crate::table::{FileWriter, read_sorted};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::TimestampMicrosecondType;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use parquet::arrow::arrow_reader::{
    ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::file::metadata::{PageIndexPolicy, RowGroupMetaData};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use proptest::prelude::*;
use std::ops::Range;
use std::sync::Arc;
use uuid::Uuid;

fn one_file(rows: &RecordBatch, schema: &crate::model::TableSchema, effort: Effort) -> Bytes {
    encode(schema, std::iter::once(rows.clone()), effort).unwrap().unwrap().0.into()
}

fn options() -> ArrowReaderOptions {
    ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required)
}

/// Ranges in order, each at most `length` rows behind the one before.
fn ranges(steps: &[(usize, usize)], rows: usize) -> Vec<Range<usize>> {
    let mut at = 0;
    let mut ranges = Vec::new();
    for (skip, take) in steps {
        let start = (at + skip).min(rows);
        let end = (start + take).min(rows);
        if start < end {
            ranges.push(start..end);
        }
        at = end;
    }
    ranges
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Pages of several columns begin at different rows: a reader that selects rows skips whole
    /// pages of one and parts of pages of another.
    #[test]
    fn selected_rows_come_back(
        series in 1..40_usize,
        each in 1..1_500_usize,
        shapes in proptest::collection::vec((0..SHAPES.len(), 0..9_u64), 9),
        steps in proptest::collection::vec((0..20_000_usize, 1..9_000_usize), 1..6),
        much: bool,
    ) {
        let shapes: Vec<_> = shapes.into_iter().map(|(at, nulls)| (SHAPES[at], nulls)).collect();
        let (schema, all) = shaped(series, each, &shapes);
        let bytes = one_file(&all, &schema, if much { Effort::Much } else { Effort::Little });
        let wanted = ranges(&steps, all.num_rows());
        let expected: Vec<_> = wanted.iter().map(|range| all.slice(range.start, range.len())).collect();
        let expected = concat_batches(&schema.arrow(), &expected).unwrap();
        let options = options().with_schema(schema.arrow());
        let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(bytes, options).unwrap();
        let selection = RowSelection::from_consecutive_ranges(wanted.into_iter(), all.num_rows());
        let read: Vec<_> = builder
            .with_row_selection(selection)
            .build()
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let read = concat_batches(&schema.arrow(), &read).unwrap();
        prop_assert_eq!(plain(&read), plain(&expected));
    }

    /// What the index says of each page is what is in it.
    #[test]
    fn the_index_says_what_is_there(
        series in 1..40_usize,
        each in 1..1_500_usize,
        shape in 0..SHAPES.len(),
        nulls in 0..9_u64,
    ) {
        let (schema, all) = shaped(series, each, &[(SHAPES[shape], nulls)]);
        let bytes = one_file(&all, &schema, Effort::Much);
        let metadata = ParquetRecordBatchReaderBuilder::try_new_with_options(bytes, options())
            .unwrap()
            .metadata()
            .clone();
        let (columns, offsets) = (metadata.column_index().unwrap(), metadata.offset_index().unwrap());
        let times = all.column(0).as_primitive::<TimestampMicrosecondType>().values();
        for (at, column) in all.columns().iter().enumerate() {
            let pages = offsets[0][at].page_locations();
            let firsts = pages.iter().map(|page| page.first_row_index as usize);
            let ends = firsts.clone().skip(1).chain([all.num_rows()]);
            let spans: Vec<_> = firsts.zip(ends).collect();
            prop_assert_eq!(spans[0].0, 0);
            prop_assert!(spans.iter().all(|(first, end)| first < end));
            let chunk = metadata.row_group(0).column(at);
            let bytes: i64 = pages.iter().map(|page| i64::from(page.compressed_page_size)).sum();
            let dictionary = chunk.dictionary_page_offset().map_or(0, |start| pages[0].offset - start);
            prop_assert_eq!(bytes + dictionary, chunk.compressed_size());
            match &columns[0][at] {
                ColumnIndexMetaData::NONE => prop_assert!(at > 4, "a key without an index"),
                index => {
                    prop_assert!(at <= 4, "a field's index");
                    let absent = |(first, end): &(usize, usize)| {
                        column.slice(*first, end - first).null_count() as i64
                    };
                    let absent: Vec<_> = spans.iter().map(absent).collect();
                    prop_assert_eq!(index.null_counts().unwrap(), &absent);
                }
            }
        }
        let ColumnIndexMetaData::INT64(index) = &columns[0][0] else { panic!("no times") };
        for (page, location) in offsets[0][0].page_locations().iter().enumerate() {
            let first = location.first_row_index as usize;
            let here = &times[first..(first + PAGE_ROWS).min(times.len())];
            prop_assert_eq!(index.min_value(page), here.iter().min());
            prop_assert_eq!(index.max_value(page), here.iter().max());
        }
    }
}

/// Merges and rollups read by the index of time.
#[tokio::test]
async fn pages_outside_the_times_are_skipped() {
    for (shape, nulls) in SHAPES.into_iter().flat_map(|shape| [(shape, 0), (shape, 3), (shape, 8)])
    {
        let (schema, all) = shaped(4, 40_000, &[(shape, nulls)]);
        let writer = FileWriter { schema: Arc::new(schema), store: Arc::new(InMemory::new()) };
        let about = about(Uuid::from_u128(1), 1, 1);
        let file = writer.write([Ok(all.clone())].into_iter(), about).await.unwrap().unwrap();
        let file = Arc::new(file.committed("gpu", 1).unwrap());
        let wanted = TimeRange { first: DAY + 20_000 * SECOND, last: DAY + 20_500 * SECOND };
        let (store, schema) = (writer.store().clone(), writer.schema().clone());
        let batches =
            read_sorted(store, file, schema.clone(), 8_192, [wanted].into()).await.unwrap();
        let read: Vec<RecordBatch> = batches.try_collect().await.unwrap();
        let read = concat_batches(&schema.arrow(), &read).unwrap();
        assert!(read.num_rows() < 8 * PAGE_ROWS, "{} rows were read", read.num_rows());
        let within = |batch: &RecordBatch| {
            let times = batch.column(0).as_primitive::<TimestampMicrosecondType>();
            let keep = times.values().iter().map(|time| Some(wanted.contains(*time))).collect();
            arrow::compute::filter_record_batch(batch, &keep).unwrap()
        };
        assert_eq!(within(&read).num_rows(), 4 * 501);
        assert_eq!(plain(&within(&read)), plain(&within(&all)), "{shape:?}");
    }
}

/// A file that a table lists and nobody has will not come back by waiting.
#[tokio::test]
async fn a_file_that_is_gone_is_corruption() {
    let (schema, all) = shaped(4, 1_000, &[(SHAPES[0], 0)]);
    let writer = FileWriter { schema: Arc::new(schema), store: Arc::new(InMemory::new()) };
    let about = about(Uuid::from_u128(1), 1, 1);
    let file = writer.write([Ok(all)].into_iter(), about).await.unwrap().unwrap();
    let file = Arc::new(file.committed("gpu", 1).unwrap());
    let (store, schema) = (writer.store().clone(), writer.schema().clone());
    store.delete(&file.path).await.unwrap();
    let read = read_sorted(store, file.clone(), schema, 8_192, [TimeRange::ALL].into());
    let error = read.await.err().expect("there is no file");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains(file.path.as_ref()), "{error}");
}

#[test]
fn wide_rows_come_in_small_row_groups() {
    let (mut schema, all) = shaped(40, 500, &[(SHAPES[0], 1)]);
    let mut columns = all.columns().to_vec();
    let (field, column) = (schema.fields[3].clone(), columns[8].clone());
    for number in 0..1_000 {
        schema.fields.push(crate::model::Field {
            name: format!("more_{number}").into(),
            field_type: field.field_type,
        });
        columns.push(column.clone());
    }
    let all = RecordBatch::try_new(schema.arrow(), columns).unwrap();
    let bytes = one_file(&all, &schema, Effort::Much);
    let groups = metadata(&bytes);
    let rows: Vec<_> = groups.row_groups().iter().map(RowGroupMetaData::num_rows).collect();
    assert_eq!(rows, [8_192, 8_192, 3_616]);
}
