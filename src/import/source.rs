//! Rows of a CSV or Parquet file, one shape for both.
//!
//! Promises: every row has as many cells as the file has columns; an error says where it is.

use super::ImportError;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Float64Type, Int64Type, Schema, TimeUnit, TimestampMicrosecondType,
};
use flate2::read::MultiGzDecoder;
use indicatif::ProgressBar;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;
use warpline_storage::ForeignParquet;
use warpline_storage::model::FieldType;

const PARQUET_BATCH_ROWS: usize = 8_192;

/// One value as the file has it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cell<'a> {
    Null,
    Int(i64),
    Float(f64),
    /// Microseconds since the epoch.
    Time(i64),
    Text(&'a str),
}

/// A column's name, and its type where the file itself declares one.
#[derive(Clone, Debug)]
pub(super) struct SourceColumn {
    pub(super) name: String,
    pub(super) declared: Option<FieldType>,
}

/// Where a row stands in its file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) file: &'a Path,
    /// The line of a CSV file (from 1), or the row of a Parquet file (from 1).
    pub(super) line: u64,
}

/// What looks at a file's rows.
pub(super) trait Visitor {
    fn begin(&mut self, file: &Path, columns: &[SourceColumn]) -> Result<(), ImportError>;
    fn row(&mut self, place: Place<'_>, cells: &[Cell<'_>]) -> Result<(), ImportError>;
}

impl Place<'_> {
    pub(super) fn error(self, reason: impl std::fmt::Display) -> ImportError {
        ImportError(format!("{}:{}: {reason}", self.file.display(), self.line))
    }
}

/// Shows a whole file to `visitor`; `progress` counts bytes of the file as it lies on disk.
pub(super) fn read(
    path: &Path,
    progress: &ProgressBar,
    visitor: &mut impl Visitor,
) -> Result<(), ImportError> {
    let failed = |error: std::io::Error| ImportError(format!("{}: {error}", path.display()));
    let mut file = File::open(path).map_err(failed)?;
    let mut magic = [0; 4];
    let read = file.read(&mut magic).map_err(failed)?;
    file.rewind().map_err(failed)?;
    match &magic[..read] {
        b"PAR1" => read_parquet(path, file, progress, visitor),
        [0x1f, 0x8b, ..] => {
            let bytes = MultiGzDecoder::new(BufReader::new(progress.wrap_read(file)));
            read_csv(path, bytes, visitor)
        }
        _ => read_csv(path, progress.wrap_read(file), visitor),
    }
}

fn read_csv(path: &Path, bytes: impl Read, visitor: &mut impl Visitor) -> Result<(), ImportError> {
    let failed = |error: csv::Error| ImportError(format!("{}: {error}", path.display()));
    let mut reader = csv::ReaderBuilder::new().buffer_capacity(1 << 18).from_reader(bytes);
    let columns: Vec<SourceColumn> = reader
        .headers()
        .map_err(failed)?
        .iter()
        .map(|name| SourceColumn { name: name.trim().to_owned(), declared: None })
        .collect();
    visitor.begin(path, &columns)?;
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(failed)? {
        let line = record.position().map_or(0, csv::Position::line);
        let cells: Vec<Cell<'_>> = record.iter().map(cell_of_text).collect();
        visitor.row(Place { file: path, line }, &cells)?;
    }
    Ok(())
}

fn cell_of_text(text: &str) -> Cell<'_> {
    let text = text.trim();
    if text.is_empty() { Cell::Null } else { Cell::Text(text) }
}

fn read_parquet(
    path: &Path,
    file: File,
    progress: &ProgressBar,
    visitor: &mut impl Visitor,
) -> Result<(), ImportError> {
    let failed =
        |error: &dyn std::fmt::Display| ImportError(format!("{}: {error}", path.display()));
    let bytes = file.metadata().map_err(|error| failed(&error))?.len();
    let parquet = ForeignParquet::open(file, PARQUET_BATCH_ROWS).map_err(|e| failed(&e))?;
    let rows = parquet.rows().max(1);
    visitor.begin(path, &columns_of(parquet.schema()))?;
    let mut before = 0;
    for batch in parquet {
        let batch = batch.map_err(|error| failed(&error))?;
        show(path, before, &batch, visitor)?;
        before += batch.num_rows() as u64;
        progress.inc(bytes * batch.num_rows() as u64 / rows);
    }
    Ok(())
}

pub(super) fn columns_of(schema: &Schema) -> Vec<SourceColumn> {
    let fields = schema.fields().iter();
    fields
        .map(|field| SourceColumn {
            name: field.name().clone(),
            declared: declared(field.data_type()),
        })
        .collect()
}

/// Shows a batch whose first row comes after `before` others of its file.
pub(super) fn show(
    path: &Path,
    before: u64,
    batch: &RecordBatch,
    visitor: &mut impl Visitor,
) -> Result<(), ImportError> {
    let batch =
        normal(batch).map_err(|error| ImportError(format!("{}: {error}", path.display())))?;
    for row in 0..batch.num_rows() {
        let cells: Vec<Cell<'_>> =
            batch.columns().iter().map(|column| cell_of_array(column, row)).collect();
        visitor.row(Place { file: path, line: before + row as u64 + 1 }, &cells)?;
    }
    Ok(())
}

/// The field type that holds every value of a Parquet column, where one does.
fn declared(data_type: &DataType) -> Option<FieldType> {
    match data_type {
        DataType::Boolean | DataType::Int8 => Some(FieldType::Int8),
        DataType::UInt8 | DataType::Int16 => Some(FieldType::Int16),
        DataType::UInt16 | DataType::Int32 => Some(FieldType::Int32),
        DataType::UInt32 | DataType::Int64 => Some(FieldType::Int64),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => Some(FieldType::Float64),
        DataType::Decimal32(digits, decimals)
        | DataType::Decimal64(digits, decimals)
        | DataType::Decimal128(digits, decimals) => {
            FieldType::decimal(*digits, u8::try_from(*decimals).ok()?)
        }
        _ => None,
    }
}

/// Columns in the few types that cells come from.
fn normal(batch: &RecordBatch) -> Result<RecordBatch, arrow::error::ArrowError> {
    // A value that a cast cannot hold is an error, not a NULL.
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let columns = batch
        .columns()
        .iter()
        .map(|column| cast_with_options(column, &normal_type(column.data_type()), &options));
    RecordBatch::try_from_iter(
        batch
            .schema()
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .zip(columns.collect::<Result<Vec<_>, _>>()?),
    )
}

fn normal_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::UInt64 => DataType::Utf8,
        DataType::Boolean => DataType::Int64,
        kind if kind.is_integer() => DataType::Int64,
        kind if kind.is_floating() => DataType::Float64,
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        DataType::Date32 | DataType::Date64 => DataType::Timestamp(TimeUnit::Microsecond, None),
        _ => DataType::Utf8,
    }
}

fn cell_of_array(column: &dyn Array, row: usize) -> Cell<'_> {
    if column.is_null(row) {
        return Cell::Null;
    }
    match column.data_type() {
        DataType::Int64 => Cell::Int(column.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => Cell::Float(column.as_primitive::<Float64Type>().value(row)),
        DataType::Timestamp(..) => {
            Cell::Time(column.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        _ => Cell::Text(column.as_string::<i32>().value(row)),
    }
}
