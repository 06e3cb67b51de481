//! The table layer's promises, on each kind of store.

mod astray;
mod conformance;
mod durability;
mod encoding;
mod faulty;
mod pages;

use super::{Effort, FileAbout, Table, Tables};
use crate::model::{Field, FieldType, Position, TableSchema, Timestamp};
use crate::snapshot::{FileKind, Level};
use arrow::array::{
    ArrayRef, Decimal32Array, Decimal64Array, DictionaryArray, Float64Array, Int8Array, Int16Array,
    Int32Array, Int64Array, RecordBatch, TimestampMicrosecondArray,
};
use arrow::datatypes::Int32Type;
use chrono::{DateTime, NaiveDate};
use object_store::ObjectStore;
use std::sync::Arc;
use uuid::Uuid;

/// 2026-11-23 00:00:00 UTC.
const DAY: Timestamp = 1_795_392_000_000_000;
const SECOND: Timestamp = 1_000_000;

fn tables(store: Arc<dyn ObjectStore>) -> Tables {
    Tables::over(store)
}

fn date() -> NaiveDate {
    DateTime::from_timestamp_micros(DAY).unwrap().date_naive()
}

/// A table with a field of every type.
fn schema(table: &str) -> TableSchema {
    let types = ["int8", "int16", "int32", "int64", "decimal(2,0)", "decimal(9,3)"];
    let types = types.into_iter().chain(["decimal(10,4)", "decimal(15,6)", "float64"]);
    let field = |(index, text): (usize, &str)| Field {
        name: format!("f{index}_{}", text.split('(').next().unwrap()).into(),
        field_type: text.parse().unwrap(),
    };
    TableSchema {
        table: table.into(),
        identity: vec!["node".into(), "gpu".into()],
        attributes: vec!["model".into(), "job".into()],
        fields: types.enumerate().map(field).collect(),
    }
}

/// Rows of `series` series, `rows` each, a second apart from `start` on. Every third value of a
/// field and every second job is NULL.
fn rows(schema: &TableSchema, series: usize, rows: usize, start: Timestamp) -> RecordBatch {
    let all = series * rows;
    let tag = |value: &dyn Fn(usize) -> Option<String>| -> ArrayRef {
        let values: Vec<_> = (0..all).map(|row| value(row / rows)).collect();
        Arc::new(values.iter().map(Option::as_deref).collect::<DictionaryArray<Int32Type>>())
    };
    let times = (0..all).map(|row| start + (row % rows) as i64 * SECOND);
    let times = TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC");
    let mut columns: Vec<ArrayRef> = vec![Arc::new(times)];
    columns.push(tag(&|series| Some(format!("node-{:04}", series / 8))));
    columns.push(tag(&|series| Some((series % 8).to_string())));
    for _ in &schema.attributes {
        columns.push(tag(&|series| (series % 2 == 0).then(|| format!("tag of {series}"))));
    }
    columns.extend(schema.fields.iter().map(|field| values(field.field_type, all)));
    RecordBatch::try_new(schema.arrow(), columns).unwrap()
}

fn values(field_type: FieldType, rows: usize) -> ArrayRef {
    let max = field_type.max_magnitude().unwrap_or(1 << 40);
    let raw = |row: usize| match row % 9 {
        4 => max,
        5 => -max,
        _ => (row as i64).wrapping_mul(7_919) % max,
    };
    let scaled = (0..rows).map(|row| (row % 3 != 0).then(|| raw(row)));
    match field_type {
        FieldType::Int8 => Arc::new(scaled.map(|v| v.map(|v| v as i8)).collect::<Int8Array>()),
        FieldType::Int16 => Arc::new(scaled.map(|v| v.map(|v| v as i16)).collect::<Int16Array>()),
        FieldType::Int32 => Arc::new(scaled.map(|v| v.map(|v| v as i32)).collect::<Int32Array>()),
        FieldType::Int64 => Arc::new(scaled.collect::<Int64Array>()),
        FieldType::Float64 => {
            let doubles = scaled.map(|v| v.map(|v| v as f64 / 7.0));
            Arc::new(doubles.collect::<Float64Array>())
        }
        FieldType::Decimal { digits, .. } if digits <= 9 => {
            let values: Decimal32Array = scaled.map(|v| v.map(|v| v as i32)).collect();
            Arc::new(values.with_data_type(field_type.arrow()))
        }
        FieldType::Decimal { .. } => {
            Arc::new(scaled.collect::<Decimal64Array>().with_data_type(field_type.arrow()))
        }
    }
}

fn about(writer: Uuid, first: Position, last: Position) -> FileAbout {
    FileAbout {
        date: date(),
        kind: FileKind::Monotone,
        writer,
        positions: Some((first, last)),
        level: Level::Flush,
        version: None,
        effort: Effort::Little,
    }
}

/// Flushes a hundred rows as the log `writer`'s rows up to `position`.
async fn flush(
    table: &mut Table,
    writer: Uuid,
    position: Position,
) -> Result<(), crate::StorageError> {
    let start = DAY + position as i64 * 100 * SECOND;
    let batch = rows(table.schema(), 10, 10, start);
    let file =
        table.writer().write([Ok(batch)].into_iter(), about(writer, position, position)).await?;
    table.commit(file.into_iter().collect(), writer, position).await
}

#[test]
fn the_test_day_is_a_day() {
    assert_eq!(date().to_string(), "2026-11-23");
    assert_eq!(DAY % (86_400 * SECOND), 0);
}
