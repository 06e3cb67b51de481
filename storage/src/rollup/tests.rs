//! Rollups against a naive reading of the same rows, and tiers against one another.

mod examples;
mod naive;

use super::{Combine, FieldKinds, Reduce, Tier, tier_schema};
use crate::error::StorageError;
use crate::model::{Field, FieldType, TableSchema};
use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Float64Array, Int64Array, RecordBatch,
    TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use naive::{Key, NaiveRow, naive};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

const FINE: Tier = Tier { suffix: "_1m", width: 10 };
const COARSE: Tier = Tier { suffix: "_1h", width: 40 };

/// A raw row; values as stored, doubles by their bits.
#[derive(Clone, Debug)]
struct Row {
    series: usize,
    time: i64,
    job: Option<u8>,
    values: Vec<Option<i64>>,
}

fn raw_schema() -> TableSchema {
    let types = ["int8", "int16", "int32", "int64", "decimal(9,3)", "decimal(15,2)", "float64"];
    let field = |text: &str| Field {
        name: text.split('(').next().unwrap().to_owned().into(),
        field_type: text.parse().unwrap(),
    };
    let mut fields: Vec<Field> = types.into_iter().map(field).collect();
    fields[4].name = "power".into();
    TableSchema {
        table: "gpu".into(),
        identity: vec!["node".into(), "gpu".into()],
        attributes: vec!["job".into()],
        fields,
    }
}

fn kinds() -> FieldKinds {
    FieldKinds::new(["INT32"], ["int8"])
}

fn tag(values: impl Iterator<Item = Option<String>>) -> ArrayRef {
    let values: Vec<_> = values.collect();
    Arc::new(values.iter().map(Option::as_deref).collect::<DictionaryArray<Int32Type>>())
}

fn node(series: usize) -> String {
    format!("n{:04}", series / 2)
}

fn values(field_type: FieldType, values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    if field_type == FieldType::Float64 {
        let doubles = values.map(|bits| bits.map(|bits| f64::from_bits(bits as u64)));
        return Arc::new(doubles.collect::<Float64Array>());
    }
    let values: Int64Array = values.collect();
    match field_type {
        FieldType::Decimal { digits, .. } if digits <= 9 => {
            let narrow = cast(&values, &DataType::Int32).unwrap().to_data();
            arrow::array::make_array(
                narrow.into_builder().data_type(field_type.arrow()).build().unwrap(),
            )
        }
        FieldType::Decimal { .. } => arrow::array::make_array(
            values.to_data().into_builder().data_type(field_type.arrow()).build().unwrap(),
        ),
        _ => cast(&values, &field_type.arrow()).unwrap(),
    }
}

fn batch(schema: &TableSchema, rows: &[Row]) -> RecordBatch {
    let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.time));
    let mut columns: Vec<ArrayRef> = vec![Arc::new(times.with_timezone("UTC"))];
    columns.push(tag(rows.iter().map(|row| Some(node(row.series)))));
    columns.push(tag(rows.iter().map(|row| Some((row.series % 2).to_string()))));
    columns.push(tag(rows.iter().map(|row| row.job.map(|job| format!("job {job}")))));
    for (at, field) in schema.fields.iter().enumerate() {
        columns.push(values(field.field_type, rows.iter().map(|row| row.values[at])));
    }
    RecordBatch::try_new(schema.arrow(), columns).unwrap()
}

/// Rows as batches of these sizes, in turn.
fn batches(schema: &TableSchema, rows: &[Row], sizes: &[usize]) -> Vec<RecordBatch> {
    let mut sizes = sizes.iter().cycle();
    let mut rest = rows;
    let mut batches = Vec::new();
    while !rest.is_empty() {
        let (rows, others) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
        batches.push(batch(schema, rows));
        rest = others;
    }
    batches
}

fn cut(batches: &[RecordBatch], sizes: &[usize]) -> Vec<RecordBatch> {
    let mut sizes = sizes.iter().cycle();
    let mut cut = Vec::new();
    for batch in batches {
        let mut start = 0;
        while start < batch.num_rows() {
            let rows = (*sizes.next().unwrap()).min(batch.num_rows() - start);
            cut.push(batch.slice(start, rows));
            start += rows;
        }
    }
    cut
}

fn reduced(tier: Tier, batches: Vec<RecordBatch>) -> Result<Vec<RecordBatch>, StorageError> {
    let raw = raw_schema();
    let schema = tier_schema(&raw, tier, &kinds())?;
    Reduce::new(&raw, tier, &schema, batches.into_iter().map(Ok))?.collect()
}

fn combined(batches: Vec<RecordBatch>) -> Result<Vec<RecordBatch>, StorageError> {
    let raw = raw_schema();
    let fine = tier_schema(&raw, FINE, &kinds())?;
    let schema = tier_schema(&raw, COARSE, &kinds())?;
    Combine::new(&raw, &fine, COARSE, &schema, batches.into_iter().map(Ok))?.collect()
}

/// Rows of a tier by key; panics unless they are in order and each key comes once.
fn read(tier: Tier, batches: &[RecordBatch]) -> BTreeMap<Key, NaiveRow> {
    let schema = tier_schema(&raw_schema(), tier, &kinds()).unwrap();
    let mut rows = BTreeMap::new();
    for batch in batches {
        assert_eq!(batch.schema(), schema.arrow());
        let texts: Vec<_> =
            (1..=4).map(|at| cast(batch.column(at), &DataType::Utf8).unwrap()).collect();
        let text = |at: usize, row: usize| {
            let column = texts[at].as_string::<i32>();
            column.is_valid(row).then(|| column.value(row).to_owned())
        };
        let times = batch.column(0).as_primitive::<TimestampMicrosecondType>();
        let fields: Vec<Vec<Option<i64>>> = batch.columns()[5..].iter().map(stored).collect();
        for row in 0..batch.num_rows() {
            let [node, gpu, part] = [0, 1, 2].map(|at| text(at, row).unwrap());
            let key = (node, gpu, part, times.value(row));
            let last = rows.last_key_value().map(|(key, _)| key);
            assert!(last.is_none_or(|last| *last < key), "{key:?} follows {last:?}");
            let values = schema.fields.iter().zip(&fields);
            let values = values.map(|(field, values)| (field.name.to_string(), values[row]));
            rows.insert(key, NaiveRow { job: text(3, row), values: values.collect() });
        }
    }
    rows
}

/// A column's values as they are stored, doubles by their bits.
fn stored(column: &ArrayRef) -> Vec<Option<i64>> {
    let present = |row: usize, value: i64| column.is_valid(row).then_some(value);
    let data = column.to_data();
    let all: Vec<i64> = match column.data_type() {
        DataType::Float64 => {
            let doubles = column.as_primitive::<Float64Type>().values();
            doubles.iter().map(|v| v.to_bits() as i64).collect()
        }
        DataType::Decimal32(..) => data.buffers()[0].typed_data::<i32>()
            [data.offset()..data.offset() + data.len()]
            .iter()
            .map(|v| i64::from(*v))
            .collect(),
        DataType::Decimal64(..) => data.buffers()[0].typed_data::<i64>()
            [data.offset()..data.offset() + data.len()]
            .to_vec(),
        _ => {
            let wide = cast(column, &DataType::Int64).unwrap();
            wide.as_primitive::<Int64Type>().values().to_vec()
        }
    };
    all.into_iter().enumerate().map(|(row, value)| present(row, value)).collect()
}

/// What a value shall be, whatever its field's type.
#[derive(Clone, Copy, Debug)]
enum Draw {
    Absent,
    Small(i64),
    Largest,
    Least,
}

fn draw() -> impl Strategy<Value = Draw> {
    prop_oneof![
        2 => Just(Draw::Absent),
        12 => (-4_i64..30).prop_map(Draw::Small),
        1 => Just(Draw::Largest),
        1 => Just(Draw::Least),
    ]
}

/// Doubles are halves, whose sums are exact, or NaN.
fn drawn(draw: Draw, field_type: FieldType) -> Option<i64> {
    let max = field_type.max_magnitude();
    match (draw, max) {
        (Draw::Absent, _) => None,
        (Draw::Small(value), Some(_)) => Some(value),
        (Draw::Largest, Some(max)) => Some(max),
        (Draw::Least, Some(max)) => Some(-max),
        (Draw::Small(value), None) => Some((value as f64 / 2.0).to_bits() as i64),
        (Draw::Largest, None) => Some(f64::NAN.to_bits() as i64),
        (Draw::Least, None) => Some((-1e6_f64).to_bits() as i64),
    }
}

prop_compose! {
    fn row()(
        step in prop_oneof![6 => 1_i64..4, 1 => 5_i64..60],
        job in prop_oneof![12 => Just(None), 3 => (0_u8..3).prop_map(Some)],
        draws in prop::collection::vec(draw(), 7),
    ) -> (i64, Option<u8>, Vec<Draw>) {
        (step, job, draws)
    }
}

/// Rows of some series in order; a job stays until another comes, 0 is none.
fn history() -> impl Strategy<Value = Vec<Row>> {
    let series = prop::collection::vec(row(), 0..70);
    prop::collection::vec((-50_i64..50, series), 1..4).prop_map(|all| {
        let types: Vec<FieldType> = raw_schema().fields.iter().map(|f| f.field_type).collect();
        let mut rows = Vec::new();
        for (series, (start, drawn_rows)) in all.into_iter().enumerate() {
            let (mut time, mut job) = (start, Some(1));
            for (step, change, draws) in drawn_rows {
                time += step;
                job = change.map_or(job, |job| Some(job).filter(|job| *job > 0));
                let values = draws.iter().zip(&types).map(|(draw, kind)| drawn(*draw, *kind));
                rows.push(Row { series, time, job, values: values.collect() });
            }
        }
        rows
    })
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(1_usize..40, 1..6)
}

/// Whether a column of a row is NULL because it could not be kept.
fn not_kept(row: &NaiveRow, column: &str) -> bool {
    let field = column.strip_suffix("_sum").or_else(|| column.strip_suffix("_increase"));
    field.is_some_and(|field| {
        row.values[&format!("{field}_count")] > Some(0) && row.values[column].is_none()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn reducing_equals_a_naive_reading(rows in history(), sizes in sizes()) {
        let raw = raw_schema();
        for tier in [FINE, COARSE] {
            let got = reduced(tier, batches(&raw, &rows, &sizes)).unwrap();
            prop_assert_eq!(read(tier, &got), naive(&raw, tier, &rows));
        }
    }

    #[test]
    fn combining_equals_reducing(rows in history(), sizes in sizes(), again in sizes()) {
        let raw = raw_schema();
        let fine = reduced(FINE, batches(&raw, &rows, &sizes)).unwrap();
        let fine_rows = read(FINE, &fine);
        let got = read(COARSE, &combined(cut(&fine, &again)).unwrap());
        let wanted = read(COARSE, &reduced(COARSE, batches(&raw, &rows, &again)).unwrap());
        prop_assert_eq!(got.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
        for (key, row) in &got {
            prop_assert_eq!(&row.job, &wanted[key].job);
            for (column, value) in &row.values {
                if *value == wanted[key].values[column] {
                    continue;
                }
                // A part that could not be kept leaves the whole unknown, though it might fit.
                let in_hour = fine_rows.iter().filter(|((node, gpu, _, time), _)| {
                    (node, gpu) == (&key.0, &key.1) && time.div_euclid(40) * 40 == key.3
                });
                let excused = in_hour.into_iter().any(|(_, part)| not_kept(part, column));
                prop_assert!(not_kept(row, column) && excused, "{key:?} {column}: {value:?}");
            }
        }
    }

    #[test]
    fn totals_of_doubles_differ_by_rounding_alone(
        doubles in prop::collection::vec(-1e9_f64..1e9, 1..300),
        sizes in sizes(),
    ) {
        let raw = raw_schema();
        let row = |(at, value): (usize, &f64)| {
            let mut values = vec![None; 7];
            values[6] = Some(value.to_bits() as i64);
            Row { series: 0, time: at as i64, job: None, values }
        };
        let rows: Vec<Row> = doubles.iter().enumerate().map(row).collect();
        let fine = reduced(FINE, batches(&raw, &rows, &sizes)).unwrap();
        let got = read(COARSE, &combined(fine).unwrap());
        let wanted = read(COARSE, &reduced(COARSE, batches(&raw, &rows, &sizes)).unwrap());
        for (key, row) in &got {
            let bucket = &doubles[key.3 as usize..doubles.len().min(key.3 as usize + 40)];
            let magnitudes: f64 = bucket.iter().map(|value| value.abs()).sum();
            let bound = bucket.len() as f64 * 2_f64.powi(-51) * magnitudes;
            for column in ["float64_sum", "float64_increase"] {
                let [got, wanted] = [row, &wanted[key]]
                    .map(|row| f64::from_bits(row.values[column].unwrap() as u64));
                prop_assert!((got - wanted).abs() <= bound, "{column}: {got} is not {wanted}");
            }
        }
    }
}
