//! What goes into a Parquet file comes out of it.

use super::{DAY, SECOND, rows, schema};
use crate::error::ErrorKind;
use crate::model::{FieldType, TableSchema};
use crate::table::chunk::Effort;
use crate::table::encodings::{Choice, Dictionary};
use crate::table::files::{Contents, TagRange};
use crate::table::parquet::encode;
use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::{cast, concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Decimal32Type, Decimal64Type, Int32Type, Int64Type, SchemaRef};
use bytes::Bytes;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::{BoundaryOrder, Encoding, Type};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, RowGroupMetaData};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use proptest::prelude::*;
use std::sync::Arc;

fn encoded(schema: &TableSchema, batches: Vec<RecordBatch>) -> (Bytes, Contents) {
    encoded_with(schema, batches, Effort::Much)
}

fn encoded_with(
    schema: &TableSchema,
    batches: Vec<RecordBatch>,
    effort: Effort,
) -> (Bytes, Contents) {
    let (payload, contents) = encode(schema, batches.into_iter(), effort).unwrap().unwrap();
    (payload.into(), contents)
}

fn efforts() -> impl Strategy<Value = Effort> {
    prop_oneof![Just(Effort::Little), Just(Effort::Much)]
}

/// Reads a file with the table's types as hint.
fn decoded(bytes: &Bytes, schema: &SchemaRef) -> RecordBatch {
    let options = ArrowReaderOptions::new().with_schema(schema.clone());
    let builder =
        ParquetRecordBatchReaderBuilder::try_new_with_options(bytes.clone(), options).unwrap();
    let batches: Vec<_> = builder.build().unwrap().map(Result::unwrap).collect();
    concat_batches(schema, &batches).unwrap()
}

pub(super) fn metadata(bytes: &Bytes) -> Arc<ParquetMetaData> {
    ArrowReaderMetadata::load(bytes, ArrowReaderOptions::new()).unwrap().metadata().clone()
}

/// The rows with tags as plain strings: dictionaries may be numbered anew.
pub(super) fn plain(batch: &RecordBatch) -> Vec<ArrayRef> {
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
        match encode(&schema, slices, Effort::Little).unwrap() {
            None => prop_assert_eq!(all.num_rows(), 0),
            Some((payload, contents)) => {
                let bytes = Bytes::from(payload);
                prop_assert_eq!(plain(&decoded(&bytes, &schema.arrow())), plain(&all));
                prop_assert_eq!(contents.rows, all.num_rows() as u64);
            }
        }
    }
}

/// What is in a column, as a test makes it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    Constant,
    /// A state that hardly ever changes.
    State,
    /// One of few values, anew in each row.
    FewNoisy,
    /// A counter that starts elsewhere in each series.
    Counter,
    WideNoise,
    /// Anything, the extremes too.
    Wild,
}

pub(super) const SHAPES: [Shape; 6] =
    [Shape::Constant, Shape::State, Shape::FewNoisy, Shape::Counter, Shape::WideNoise, Shape::Wild];

impl Shape {
    /// A field's value in a row of a series of `each` rows, within what the type holds.
    fn value(self, row: usize, each: usize, field_type: FieldType) -> i64 {
        let most = field_type.max_magnitude().unwrap_or(i64::MAX);
        let random = |seed: usize| {
            let mixed = (seed as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 8
        };
        let (noise, series) = (random(row), random(row / each));
        let raw = match self {
            Self::Constant => 7,
            Self::State => (row / 900 % 3) as i64,
            Self::FewNoisy => 40 + (noise % 90) as i64,
            Self::Counter => {
                let step = 5_000 + (random(row % 7) % 50) as i64;
                (series % 1_000_000_000_000) as i64 + (row % each) as i64 * step
            }
            Self::WideNoise => (noise % 100_000_000) as i64,
            Self::Wild => [i64::MIN, i64::MAX, 0, -1, noise as i64][noise as usize % 5],
        };
        if field_type == FieldType::Float64 { raw } else { raw.clamp(-most, most) }
    }

    fn column(self, field_type: FieldType, rows: usize, each: usize, nulls: u64) -> ArrayRef {
        let value = |row: usize| {
            let absent = (row as u64).wrapping_mul(2_654_435_761) >> 7 & 7 < nulls;
            (!absent).then(|| self.value(row, each, field_type))
        };
        let values = (0..rows).map(value);
        if field_type == FieldType::Float64 {
            let doubles = values.map(|value| {
                value.map(|value| match self {
                    Self::Wild => f64::from_bits(value.cast_unsigned()),
                    _ => value as f64 / 100.0,
                })
            });
            return Arc::new(doubles.collect::<Float64Array>());
        }
        let whole: Int64Array = values.collect();
        match field_type.arrow() {
            decimal @ DataType::Decimal32(..) => {
                let whole = cast(&whole, &DataType::Int32).unwrap();
                let whole = whole.as_primitive::<Int32Type>().reinterpret_cast::<Decimal32Type>();
                Arc::new(whole.with_data_type(decimal))
            }
            decimal @ DataType::Decimal64(..) => {
                Arc::new(whole.reinterpret_cast::<Decimal64Type>().with_data_type(decimal))
            }
            integer => cast(&whole, &integer).unwrap(),
        }
    }
}

/// Rows whose fields have these shapes, in turn.
pub(super) fn shaped(
    series: usize,
    each: usize,
    shapes: &[(Shape, u64)],
) -> (TableSchema, RecordBatch) {
    let schema = schema("gpu");
    let batch = rows(&schema, series, each, DAY);
    let mut columns = batch.columns()[..5].to_vec();
    for (field, (shape, nulls)) in schema.fields.iter().zip(shapes.iter().cycle()) {
        columns.push(shape.column(field.field_type, batch.num_rows(), each, *nulls));
    }
    let batch = RecordBatch::try_new(schema.arrow(), columns).unwrap();
    (schema, batch)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_values_come_back(
        series in 1..40_usize,
        each in 1..400_usize,
        shapes in proptest::collection::vec((0..SHAPES.len(), 0..9_u64), 9),
        effort in efforts(),
    ) {
        let shapes: Vec<_> = shapes.into_iter().map(|(at, nulls)| (SHAPES[at], nulls)).collect();
        let (schema, all) = shaped(series, each, &shapes);
        let (bytes, _) = encoded_with(&schema, vec![all.clone()], effort);
        prop_assert_eq!(plain(&decoded(&bytes, &schema.arrow())), plain(&all));
    }
}

#[test]
fn row_groups_are_cut_where_batches_are_not() {
    for shape in SHAPES {
        let (schema, all) = shaped(280, 500, &[(shape, 0), (shape, 1), (shape, 8)]);
        let batches = [all.slice(0, 100_001), all.slice(100_001, all.num_rows() - 100_001)];
        let (bytes, contents) = encoded(&schema, batches.to_vec());
        assert_eq!(plain(&decoded(&bytes, &schema.arrow())), plain(&all), "{shape:?}");
        assert_eq!(contents.rows, 140_000);
        let rows: Vec<_> =
            metadata(&bytes).row_groups().iter().map(RowGroupMetaData::num_rows).collect();
        assert_eq!(rows, [131_072, 8_928]);
    }
}

/// Row groups of a flush share what suited the first, while it does.
#[test]
fn what_suited_the_rows_before_need_not_suit_the_next() {
    let made =
        |nulls: [u64; 3]| SHAPES.map(|shape| shaped(280, 500, &nulls.map(|nulls| (shape, nulls))));
    let (befores, afters) = (made([0, 1, 8]), made([1, 8, 0]));
    for (first, (schema, before)) in SHAPES.iter().zip(&befores) {
        for (next, (_, after)) in SHAPES.iter().zip(&afters) {
            let halves = [before.slice(0, 131_072), after.slice(131_072, 8_928)];
            for effort in [Effort::Little, Effort::Much] {
                check_halves(schema, &halves, effort, (*first, *next));
            }
        }
    }
}

fn check_halves(
    schema: &TableSchema,
    halves: &[RecordBatch],
    effort: Effort,
    (first, next): (Shape, Shape),
) {
    let all = concat_batches(&schema.arrow(), halves).unwrap();
    let (bytes, _) = encoded_with(schema, halves.to_vec(), effort);
    assert_eq!(plain(&decoded(&bytes, &schema.arrow())), plain(&all), "{first:?}, {next:?}");
    let metadata = metadata(&bytes);
    let encodings =
        |group| chunk(metadata.row_group(group), "f3_int64").encodings().collect::<Vec<_>>();
    match (first, next) {
        (Shape::FewNoisy, Shape::Counter) => {
            assert!(encodings(0).contains(&Encoding::RLE_DICTIONARY));
            assert!(encodings(1).contains(&Encoding::DELTA_BINARY_PACKED), "a large dictionary");
        }
        (Shape::Counter, Shape::FewNoisy) => {
            let shared = effort == Effort::Little;
            assert_eq!(encodings(0) == encodings(1), shared, "what was chosen for the first");
        }
        _ => {}
    }
}

/// Whole-byte indices: one byte up to 256 values, then two.
#[test]
fn dictionaries_of_any_size_come_back() {
    for distinct in [1_usize, 255, 256, 257, 32_768] {
        let (schema, batch) = shaped(280, 500, &[(Shape::Constant, 0)]);
        let value = |row: usize| (row.wrapping_mul(7_919) % distinct) as i64 * 1_000_003;
        let values: Int64Array = (0..batch.num_rows()).map(|row| Some(value(row))).collect();
        let mut columns = batch.columns().to_vec();
        let place = schema.arrow().index_of("f3_int64").unwrap();
        columns[place] = Arc::new(values);
        let batch = RecordBatch::try_new(schema.arrow(), columns).unwrap();
        let raw = batch.column(place).as_primitive::<Int64Type>().values().to_vec();
        assert_eq!(
            plain(&decoded(&encoded(&schema, vec![batch.clone()]).0, &schema.arrow())),
            plain(&batch)
        );
        let dictionary = Arc::new(Dictionary::of(&raw).unwrap());
        let mut page = Vec::new();
        Choice::Bytes(dictionary).write(&raw[..13], true, &mut page);
        let width = if distinct <= 256 { 1 } else { 2 };
        assert_eq!(page[0], 8 * width, "{distinct}");
        assert_eq!(page.len(), 2 + 16 * usize::from(width), "padded to eights");
    }
}

/// A batch whose attribute is `text` of each row.
fn attributed(text: impl Fn(usize) -> Option<String>) -> (TableSchema, RecordBatch) {
    let (schema, batch) = shaped(20, 2_000, &[(Shape::Constant, 0)]);
    let texts: StringArray = (0..batch.num_rows()).map(text).collect();
    let texts: DictionaryArray<Int32Type> = texts.iter().collect();
    let mut columns = batch.columns().to_vec();
    columns[schema.arrow().index_of("model").unwrap()] = Arc::new(texts);
    let batch = RecordBatch::try_new(schema.arrow(), columns).unwrap();
    (schema, batch)
}

/// Texts that differ row by row make no dictionary; of long ones the bounds are cut.
#[test]
fn tags_of_many_long_texts_come_back() {
    for (distinct, expected) in [(40_000, Encoding::PLAIN), (100, Encoding::RLE_DICTIONARY)] {
        let text = |row: usize| format!("{:-<120}{row:05}-{:->200}", "h", "h");
        let (schema, batch) = attributed(|row| (row % 7 > 0).then(|| text(row % distinct)));
        // Parts share a dictionary, whole batches do not.
        let parts = vec![batch.slice(0, 1_000), batch.slice(1_000, 39_000)];
        let (bytes, _) = encoded(&schema, parts);
        assert_eq!(plain(&decoded(&bytes, &schema.arrow())), plain(&batch));
        check(&bytes, "model", Type::BYTE_ARRAY, expected);
        let metadata = indexed(&bytes);
        let model = chunk(metadata.row_group(0), "model");
        let statistics = model.statistics().unwrap();
        assert_eq!(statistics.null_count_opt(), Some(40_000_u64.div_ceil(7)));
        assert_eq!(statistics.min_bytes_opt().unwrap(), format!("{:-<64}", "h").as_bytes());
        assert_eq!(statistics.max_bytes_opt().unwrap(), format!("{:-<63}.", "h").as_bytes());
        assert!(!statistics.min_is_exact() && !statistics.max_is_exact());
        let place = schema.arrow().index_of("model").unwrap();
        let pages = metadata.offset_index().unwrap()[0][place].page_locations().len();
        let largest = model.uncompressed_size() as usize / pages;
        assert!(largest < 2 << 20, "{largest} bytes a page");
    }
}

/// What queries skip by: of each page of a tag its bounds, none where it has no text.
#[test]
fn pages_of_tags_are_told_with_their_bounds() {
    for (none, ascends) in [(1, true), (9, false)] {
        let page = |row: usize| row / 8_192;
        let text = |row: usize| format!("{}{:03}", page(row) * none % 10, row % 1_000);
        let (schema, batch) = attributed(|row| (page(row) != 2 && row % 3 > 0).then(|| text(row)));
        let (bytes, _) = encoded(&schema, vec![batch.clone()]);
        let metadata = indexed(&bytes);
        let place = schema.arrow().index_of("model").unwrap();
        let ColumnIndexMetaData::BYTE_ARRAY(index) = &metadata.column_index().unwrap()[0][place]
        else {
            panic!("an index of texts")
        };
        assert_eq!((0..5).filter(|page| index.is_null_page(*page)).collect::<Vec<_>>(), [2]);
        let order = metadata.column_index().unwrap()[0][place].get_boundary_order();
        assert_eq!(order == Some(BoundaryOrder::ASCENDING), ascends);
        for at in [0, 1, 3, 4] {
            let rows = (at * 8_192)..((at + 1) * 8_192).min(40_000);
            let texts = || rows.clone().filter(|row| row % 3 > 0).map(text);
            assert_eq!(index.min_value(at), texts().min().as_deref().map(str::as_bytes));
            assert_eq!(index.max_value(at), texts().max().as_deref().map(str::as_bytes));
            assert_eq!(index.null_count(at), Some(rows.len() as i64 - texts().count() as i64));
        }
        assert_eq!((index.null_count(2), index.min_value(2)), (Some(8_192), None));
    }
    let (schema, batch) = attributed(|_| None);
    let (bytes, _) = encoded(&schema, vec![batch.clone()]);
    assert_eq!(plain(&decoded(&bytes, &schema.arrow())), plain(&batch));
}

/// Series that share irregular ticks: their times are few, and a dictionary is least.
#[test]
fn times_that_series_share_make_a_dictionary() {
    let schema = schema("gpu");
    let batch = rows(&schema, 500, 40, DAY);
    let times = (0..batch.num_rows()).map(|row| {
        let tick = (row % 40) as i64;
        DAY + tick * 10 * SECOND + tick * tick * tick % 999_983
    });
    let times = TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC");
    let mut columns = batch.columns().to_vec();
    columns[0] = Arc::new(times);
    let batch = RecordBatch::try_new(schema.arrow(), columns).unwrap();
    let (bytes, _) = encoded(&schema, vec![batch.clone()]);
    check(&bytes, "time", Type::INT64, Encoding::RLE_DICTIONARY);
    assert_eq!(plain(&decoded(&bytes, &schema.arrow())), plain(&batch));
    let metadata = indexed(&bytes);
    let ColumnIndexMetaData::INT64(index) = &metadata.column_index().unwrap()[0][0] else {
        panic!("an index of numbers")
    };
    assert_eq!(index.min_value(0), Some(&DAY));
}

fn indexed(bytes: &Bytes) -> Arc<ParquetMetaData> {
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
    ArrowReaderMetadata::load(bytes, options).unwrap().metadata().clone()
}

#[test]
fn each_column_is_encoded_for_what_it_is() {
    use Encoding::{BYTE_STREAM_SPLIT, DELTA_BINARY_PACKED, PLAIN, RLE_DICTIONARY};
    let integers = [
        (Shape::Constant, RLE_DICTIONARY),
        (Shape::State, RLE_DICTIONARY),
        (Shape::FewNoisy, RLE_DICTIONARY),
        (Shape::Counter, DELTA_BINARY_PACKED),
        (Shape::WideNoise, DELTA_BINARY_PACKED),
    ];
    for (shape, expected) in integers {
        let (schema, all) = shaped(20, 2_000, &[(shape, 0)]);
        let (bytes, _) = encoded(&schema, vec![all]);
        check(&bytes, "f3_int64", Type::INT64, expected);
        check(&bytes, "time", Type::INT64, DELTA_BINARY_PACKED);
        check(&bytes, "node", Type::BYTE_ARRAY, RLE_DICTIONARY);
        // A double's noise is in its low bytes alone where it was printed with few digits.
        let double = match shape {
            Shape::WideNoise => PLAIN,
            Shape::Counter => BYTE_STREAM_SPLIT,
            _ => RLE_DICTIONARY,
        };
        check(&bytes, "f8_float64", Type::DOUBLE, double);
        if matches!(shape, Shape::WideNoise) {
            check(&bytes, "f5_decimal", Type::INT32, DELTA_BINARY_PACKED);
        }
    }
}

/// Readers of 2026 know byte-stream-split for doubles alone.
#[test]
fn integers_are_never_split() {
    for shape in SHAPES {
        let (schema, all) = shaped(100, 60, &[(shape, 1)]);
        let (bytes, _) = encoded(&schema, vec![all]);
        for chunk in metadata(&bytes).row_group(0).columns() {
            let split = chunk.encodings().any(|e| e == Encoding::BYTE_STREAM_SPLIT);
            assert!(!split || chunk.column_type() == Type::DOUBLE, "{}", chunk.column_path());
        }
    }
}

fn check(bytes: &Bytes, column: &str, physical: Type, encoding: Encoding) {
    let metadata = metadata(bytes);
    let chunk = chunk(metadata.row_group(0), column);
    assert_eq!(chunk.column_type(), physical, "{column}");
    let encodings: Vec<_> = chunk.encodings().collect();
    assert!(encodings.contains(&encoding), "{column}: {encodings:?}, not {encoding}");
    let dictionary = encoding == Encoding::RLE_DICTIONARY;
    assert_eq!(chunk.dictionary_page_offset().is_some(), dictionary, "{column}");
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
    let metadata = indexed(&bytes);
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
        let error = encode(&schema, batches.into_iter(), Effort::Little).unwrap_err();
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
    let error = encode(&narrow, [rows(&wide, 2, 3, DAY)].into_iter(), Effort::Little).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
}

#[test]
fn values_outside_decimal_digits_do_not_arise() {
    let batch = rows(&schema("gpu"), 2, 9, DAY);
    let nines = batch.column_by_name("f5_decimal").unwrap();
    let values = nines.as_primitive::<Decimal32Type>();
    assert_eq!(values.values().iter().max(), Some(&999_999_999));
    assert!(values.null_count() > 0);
}
