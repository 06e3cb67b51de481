//! Tables of one shape, written to a store in memory, and an engine over them.

use arrow::array::{
    Array, ArrayRef, Decimal32Array, Decimal64Array, DictionaryArray, Float64Array, Int16Array,
    Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Int32Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use chrono::NaiveDate;
use datafusion::object_store::memory::InMemory;
use datafusion::object_store::path::Path;
use datafusion::object_store::{ObjectStore, ObjectStoreExt};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_writer::ArrowWriterOptions;
use datafusion::parquet::file::properties::WriterProperties;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;
use warpline_query::{Engine, EngineOptions, QueryError};
use warpline_storage::model::{Field, FieldType, TableSchema};
use warpline_storage::{DataFile, FileKind, FileOrder, Level, Snapshot, TableSnapshot, TimeRange};

/// One row as a producer would write it; values are stored integers, `temp` a double.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Row {
    pub node: String,
    pub gpu: String,
    /// Seconds.
    pub time: i64,
    pub model: Option<String>,
    pub util: Option<i16>,
    pub energy: Option<i64>,
    /// 9 digits, 3 decimals.
    pub power: Option<i32>,
    /// 12 digits, 6 decimals.
    pub active: Option<i64>,
    pub temp: Option<f64>,
}

/// A file to be: rows with unique keys, in any order.
#[derive(Clone, Debug)]
pub(crate) struct FileRows {
    pub rows: Vec<Row>,
    pub kind: FileKind,
    pub writer: u128,
    pub version: u64,
    /// Whether the file is older than the columns `active` and `temp`.
    pub narrow: bool,
    /// Rows of a row group.
    pub group_rows: usize,
}

impl FileRows {
    pub(crate) fn monotone(version: u64, rows: Vec<Row>) -> Self {
        let kind = FileKind::Monotone;
        Self { rows, kind, writer: 1, version, narrow: false, group_rows: 16 }
    }

    pub(crate) fn late(version: u64, rows: Vec<Row>) -> Self {
        Self { kind: FileKind::Late, ..Self::monotone(version, rows) }
    }
}

pub(crate) const MICROS: i64 = 1_000_000;

pub(crate) fn schema() -> TableSchema {
    let field = |name: &str, field_type| Field { name: name.into(), field_type };
    let decimal = |digits, decimals| FieldType::decimal(digits, decimals).expect("a valid type");
    TableSchema {
        table: "gpu".into(),
        identity: vec!["node".into(), "gpu".into()],
        attributes: vec!["model".into()],
        fields: vec![
            field("util", FieldType::Int16),
            field("energy", FieldType::Int64),
            field("power", decimal(9, 3)),
            field("active", decimal(12, 6)),
            field("temp", FieldType::Float64),
        ],
    }
}

fn tags(values: impl Iterator<Item = Option<String>>) -> ArrayRef {
    let values: Vec<Option<String>> = values.collect();
    let values = values.iter().map(Option::as_deref);
    Arc::new(values.collect::<DictionaryArray<Int32Type>>())
}

fn batch(rows: &[Row]) -> RecordBatch {
    let times = rows.iter().map(|row| row.time * MICROS);
    let power: Decimal32Array = rows.iter().map(|row| row.power).collect();
    let active: Decimal64Array = rows.iter().map(|row| row.active).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC")),
        tags(rows.iter().map(|row| Some(row.node.clone()))),
        tags(rows.iter().map(|row| Some(row.gpu.clone()))),
        tags(rows.iter().map(|row| row.model.clone())),
        Arc::new(rows.iter().map(|row| row.util).collect::<Int16Array>()),
        Arc::new(rows.iter().map(|row| row.energy).collect::<Int64Array>()),
        Arc::new(power.with_precision_and_scale(9, 3).expect("nine digits")),
        Arc::new(active.with_precision_and_scale(12, 6).expect("twelve digits")),
        Arc::new(rows.iter().map(|row| row.temp).collect::<Float64Array>()),
    ];
    RecordBatch::try_new(schema().arrow(), columns).expect("columns fit the schema")
}

fn parquet(file: &FileRows) -> Vec<u8> {
    let mut rows = file.rows.clone();
    rows.sort_by(|a, b| (&a.node, &a.gpu, a.time).cmp(&(&b.node, &b.gpu, b.time)));
    let mut batch = batch(&rows);
    if file.narrow {
        let columns: Vec<usize> = (0..batch.num_columns() - 2).collect();
        batch = batch.project(&columns).expect("fewer columns");
    }
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(file.group_rows))
        .set_data_page_row_count_limit(4)
        .build();
    let options = ArrowWriterOptions::new().with_skip_arrow_metadata(true);
    let options = options.with_properties(properties);
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new_with_options(&mut bytes, batch.schema(), options)
        .expect("a Parquet schema");
    writer.write(&batch).expect("rows are written");
    writer.close().expect("the footer is written");
    bytes
}

/// A snapshot of one table `gpu` over files; files without rows are left out.
pub(crate) async fn snapshot(files: &[FileRows]) -> Snapshot {
    let store = InMemory::new();
    let mut stored = Vec::new();
    for (number, file) in files.iter().enumerate().filter(|(_, file)| !file.rows.is_empty()) {
        let unique = Uuid::new_v4();
        let path = Path::from(format!("gpu/date=2026-01-01/{number}-{unique}.parquet"));
        let bytes = parquet(file);
        let times = file.rows.iter().map(|row| row.time * MICROS);
        let first = times.clone().min().expect("rows");
        let last = times.max().expect("rows");
        stored.push(Arc::new(DataFile {
            path: path.clone(),
            bytes: bytes.len() as u64,
            rows: file.rows.len() as u64,
            times: TimeRange { first, last },
            order: FileOrder { version: file.version, kind: file.kind },
            writer: Uuid::from_u128(file.writer),
            kind: file.kind,
            level: Level::Flush,
            date: NaiveDate::default(),
        }));
        store.put(&path, bytes.into()).await.expect("memory takes it");
    }
    let schema = Arc::new(schema());
    let store = Arc::new(store) as Arc<dyn ObjectStore>;
    let table = TableSnapshot::of_files(schema, 1, stored.into(), store);
    Snapshot::new(BTreeMap::from([("gpu".into(), Arc::new(table))]))
}

pub(crate) fn options() -> EngineOptions {
    EngineOptions { threads: 2, memory_bytes: 256 << 20, ..EngineOptions::default() }
}

pub(crate) async fn engine(files: &[FileRows]) -> Engine {
    let snapshot = snapshot(files).await;
    Engine::over(move || snapshot.clone(), &options()).expect("an engine")
}

/// An engine whose snapshot the test changes.
pub(crate) fn engine_of(shown: &Arc<Mutex<Snapshot>>) -> Engine {
    let shown = Arc::clone(shown);
    Engine::over(move || shown.lock().clone(), &options()).expect("an engine")
}

/// The answer's rows as texts, NULL as `NULL`; doubles by their shortest exact text.
pub(crate) async fn ask(engine: &Engine, sql: &str) -> Result<Vec<Vec<String>>, QueryError> {
    Ok(ask_typed(engine, sql).await?.1)
}

/// The columns' types, a letter each, and the rows as texts.
pub(crate) async fn ask_typed(
    engine: &Engine,
    sql: &str,
) -> Result<(String, Vec<Vec<String>>), QueryError> {
    let answer = engine.query(sql).await?;
    let types = answer.schema().fields().iter().map(|field| letter(field.data_type())).collect();
    let batches = answer.collect().await?;
    let mut rows = Vec::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            rows.push(batch.columns().iter().map(|column| text(column, row)).collect());
        }
    }
    Ok((types, rows))
}

fn letter(data_type: &DataType) -> char {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => 'T',
        DataType::Dictionary(_, values) => letter(values),
        DataType::Boolean => 'B',
        DataType::Timestamp(..) => 'P',
        DataType::Interval(_) | DataType::Duration(_) => 'D',
        number if number.is_integer() => 'I',
        number if number.is_floating() => 'R',
        _ => '?',
    }
}

fn text(column: &ArrayRef, row: usize) -> String {
    if column.is_null(row) {
        return "NULL".to_owned();
    }
    if *column.data_type() == DataType::Float64 {
        let values = column.as_any().downcast_ref::<Float64Array>().expect("doubles");
        return format!("{:?}", values.value(row));
    }
    if let DataType::Dictionary(..) = column.data_type() {
        let texts = arrow::compute::cast(column, &DataType::Utf8).expect("texts");
        let texts = texts.as_any().downcast_ref::<StringArray>().expect("texts");
        return texts.value(row).to_owned();
    }
    let options = FormatOptions::new();
    ArrayFormatter::try_new(column, &options).expect("a known type").value(row).to_string()
}
