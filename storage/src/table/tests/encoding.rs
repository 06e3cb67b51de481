//! What goes into a Parquet file comes out of it.

use super::{DAY, SECOND, rows, schema};
use crate::error::ErrorKind;
use crate::model::TableSchema;
use crate::snapshot::Level;
use crate::table::files::{Contents, TagRange};
use crate::table::parquet::encode;
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{cast, concat_batches, take_record_batch};
use arrow::datatypes::{DataType, SchemaRef};
use bytes::Bytes;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::{Encoding, Type};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use proptest::prelude::*;
use std::sync::Arc;

fn encoded(schema: &TableSchema, batches: Vec<RecordBatch>) -> (Bytes, Contents) {
    encode(schema, batches.into_iter(), Level::Hour).unwrap().unwrap()
}

/// Reads a file with the table's types as hint.
fn decoded(bytes: &Bytes, schema: &SchemaRef) -> RecordBatch {
    let options = ArrowReaderOptions::new().with_schema(schema.clone());
    let builder =
        ParquetRecordBatchReaderBuilder::try_new_with_options(bytes.clone(), options).unwrap();
    let batches: Vec<_> = builder.build().unwrap().map(Result::unwrap).collect();
    concat_batches(schema, &batches).unwrap()
}

fn metadata(bytes: &Bytes) -> Arc<ParquetMetaData> {
    ArrowReaderMetadata::load(bytes, ArrowReaderOptions::new()).unwrap().metadata().clone()
}

/// The rows with tags as plain strings: dictionaries may be numbered anew.
fn plain(batch: &RecordBatch) -> Vec<ArrayRef> {
    let columns = batch.columns().iter().map(|column| match column.data_type() {
        DataType::Dictionary(_, _) => cast(column, &DataType::Utf8).unwrap(),
        _ => column.clone(),
    });
    columns.collect()
}

#[test]
fn every_type_comes_back_with_its_nulls() {
    let schema = schema("gpu");
    let batches = vec![
        rows(&schema, 24, 50, DAY),
        // The last series goes on in a later batch.
        rows(&schema, 24, 50, DAY + 50 * SECOND).slice(23 * 50, 50),
    ];
    let (bytes, contents) = encoded(&schema, batches.clone());
    let all = concat_batches(&schema.arrow(), &batches).unwrap();
    assert_eq!(plain(&decoded(&bytes, &schema.arrow())), plain(&all));
    assert_eq!(contents.rows, 25 * 50);
    assert_eq!((contents.times.first, contents.times.last), (DAY, DAY + 99 * SECOND));
    let range = |name: &str, least: &str, greatest: &str| TagRange {
        name: name.into(),
        least: least.into(),
        greatest: greatest.into(),
    };
    let expected = [range("node", "node-0000", "node-0002"), range("gpu", "0", "7")];
    assert_eq!(contents.identity, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_rows_come_back(
        series in 1..20_usize,
        each in 1..200_usize,
        picks in proptest::collection::vec(any::<bool>(), 4_000),
        chunk in 1..700_usize,
    ) {
        let schema = schema("gpu");
        let all = rows(&schema, series, each, DAY);
        let picked = (0..all.num_rows() as u32).filter(|row| picks[*row as usize]);
        let picked = UInt32Array::from_iter_values(picked);
        let all = take_record_batch(&all, &picked).unwrap();
        let slices = (0..all.num_rows()).step_by(chunk);
        let slices = slices.map(|at| all.slice(at, chunk.min(all.num_rows() - at)));
        match encode(&schema, slices, Level::Flush).unwrap() {
            None => prop_assert_eq!(all.num_rows(), 0),
            Some((bytes, contents)) => {
                prop_assert_eq!(plain(&decoded(&bytes, &schema.arrow())), plain(&all));
                prop_assert_eq!(contents.rows, all.num_rows() as u64);
            }
        }
    }
}

#[test]
fn each_column_is_encoded_for_what_it_is() {
    let schema = schema("gpu");
    let mut batch = rows(&schema, 100, 500, DAY);
    // The second field becomes a state that hardly ever changes, the third one a slow gauge, the
    // fourth jumps like counters do from one series to the next.
    let mut columns = batch.columns().to_vec();
    let whole = |value: &dyn Fn(usize) -> i64| -> ArrayRef {
        let values = (0..batch.num_rows()).map(|row| Some(value(row)));
        Arc::new(values.collect::<Int64Array>())
    };
    columns[6] = cast(&whole(&|row| (row / 900 % 3) as i64), &DataType::Int16).unwrap();
    columns[7] = cast(&whole(&|row| 40 + (row % 10) as i64), &DataType::Int32).unwrap();
    columns[8] = whole(&|row| ((row / 20 * 7_919 % 1_000) as i64) << 50 | (row % 20) as i64);
    batch = RecordBatch::try_new(schema.arrow(), columns).unwrap();
    let (bytes, _) = encoded(&schema, vec![batch]);
    let metadata = metadata(&bytes);
    let group = metadata.row_group(0);
    let check = |column: &str, physical: Type, encoding: Encoding| {
        let chunk = chunk(group, column);
        assert_eq!(chunk.column_type(), physical, "{column}");
        assert!(chunk.encodings().any(|e| e == encoding), "{column}: {encoding}");
        let dictionary = encoding == Encoding::RLE_DICTIONARY;
        assert_eq!(chunk.dictionary_page_offset().is_some(), dictionary, "{column}");
    };
    check("time", Type::INT64, Encoding::DELTA_BINARY_PACKED);
    check("node", Type::BYTE_ARRAY, Encoding::RLE_DICTIONARY);
    check("f1_int16", Type::INT32, Encoding::PLAIN);
    check("f2_int32", Type::INT32, Encoding::DELTA_BINARY_PACKED);
    check("f3_int64", Type::INT64, Encoding::PLAIN);
    check("f5_decimal", Type::INT32, Encoding::DELTA_BINARY_PACKED);
    check("f8_float64", Type::DOUBLE, Encoding::PLAIN);
}

fn chunk<'a>(
    group: &'a RowGroupMetaData,
    column: &str,
) -> &'a parquet::file::metadata::ColumnChunkMetaData {
    group.columns().iter().find(|chunk| chunk.column_path().string() == column).unwrap()
}

#[test]
fn readers_are_told_order_and_bounds() {
    let schema = schema("gpu");
    let (bytes, _) = encoded(&schema, vec![rows(&schema, 100, 500, DAY)]);
    let options = ArrowReaderOptions::new()
        .with_page_index_policy(parquet::file::metadata::PageIndexPolicy::Required);
    let loaded = ArrowReaderMetadata::load(&bytes, options).unwrap();
    let metadata = loaded.metadata();
    assert!(metadata.file_metadata().key_value_metadata().is_none(), "no Arrow schema");
    let group = metadata.row_group(0);
    let order: Vec<_> = group.sorting_columns().unwrap().iter().map(|c| c.column_idx).collect();
    assert_eq!(order, [1, 2, 0]);
    for column in ["time", "node", "gpu", "model", "job"] {
        assert!(chunk(group, column).statistics().is_some(), "{column}");
        assert!(chunk(group, column).column_index_offset().is_some(), "{column}");
    }
    assert!(chunk(group, "f2_int32").statistics().is_none());
    let pages = metadata.offset_index().unwrap()[0][0].page_locations().len();
    assert_eq!(pages, 50_000_usize.div_ceil(8_192));
}

#[test]
fn rows_out_of_order_are_refused() {
    let schema = schema("gpu");
    let batch = rows(&schema, 2, 3, DAY);
    let doubled = vec![batch.clone(), batch.slice(5, 1)];
    let backwards = vec![batch.slice(3, 3), batch.slice(0, 3)];
    for batches in [doubled, backwards] {
        let error = encode(&schema, batches.into_iter(), Level::Flush).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
    }
}

#[test]
fn a_file_may_lack_columns_but_not_have_others() {
    let wide = schema("gpu");
    let mut narrow = wide.clone();
    narrow.fields.truncate(2);
    let batch = rows(&narrow, 2, 3, DAY);
    let (bytes, _) = encoded(&wide, vec![batch.clone()]);
    assert_eq!(plain(&decoded(&bytes, &narrow.arrow())), plain(&batch));
    let error = encode(&narrow, [rows(&wide, 2, 3, DAY)].into_iter(), Level::Flush).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
}

#[test]
fn values_outside_decimal_digits_do_not_arise() {
    let batch = rows(&schema("gpu"), 2, 9, DAY);
    let nines = batch.column_by_name("f5_decimal").unwrap();
    let values = nines.as_primitive::<arrow::datatypes::Decimal32Type>();
    assert_eq!(values.values().iter().max(), Some(&999_999_999));
    assert!(values.null_count() > 0);
}
