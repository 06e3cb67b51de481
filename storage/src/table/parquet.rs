//! Encodes sorted rows as a Parquet file.
//!
//! Each column gets the encoding that suits what is in it; compression comes after. Statistics
//! and a page index are kept for the columns that the rows are sorted by and for the attributes;
//! fields are too noisy for theirs to pay. No Arrow schema is written into the file: a reader
//! states the types it wants (DECIMAL in an INT32 as `Decimal32`, say).

use super::chunk::{ChunkEncoder, Effort};
use super::files::{Contents, TagRange};
use crate::error::{ErrorKind, StorageError};
use crate::model::{TableSchema, Timestamp};
use crate::snapshot::TimeRange;
use arrow::array::{Array, AsArray, DictionaryArray, RecordBatch, StringArray};
use arrow::datatypes::{FieldRef, Int32Type, SchemaRef, TimestampMicrosecondType};
use object_store::{PutPayload, PutPayloadMut};
use parquet::arrow::ArrowSchemaConverter;
use parquet::errors::ParquetError;
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use std::io::{self, Write};
use std::sync::Arc;

/// As small as costs nothing: memory grows with it.
pub(crate) const ROW_GROUP_ROWS: usize = 1 << 17;
/// What the rows of a row group may take until it is written: tables of rollups have very many
/// columns.
pub(crate) const ROW_GROUP_BYTES: usize = 64 << 20;
/// Small pages: a query for one series, and a merge, read little else.
pub(super) const PAGE_ROWS: usize = 8_192;
/// A file lies in memory in pieces of this size until it is stored.
const PIECE_BYTES: usize = 1 << 20;

/// The file's bytes, and what was seen of its rows; `None` where there are none.
///
/// Rows that are not sorted by identity, then time, with unique keys, are an internal error.
pub(super) fn encode(
    schema: &TableSchema,
    batches: impl Iterator<Item = RecordBatch>,
    effort: Effort,
) -> Result<Option<(PutPayload, Contents)>, StorageError> {
    let mut batches = batches.filter(|batch| batch.num_rows() > 0).peekable();
    let Some(first) = batches.peek() else { return Ok(None) };
    let columns = first.schema();
    check_columns(schema, &columns)?;
    let broken = |error| {
        let what = format!("rows of table {} cannot be encoded", schema.table);
        StorageError::because(ErrorKind::Internal, what, error)
    };
    let mut file = Growing::new(schema, &columns, effort).map_err(broken)?;
    let group_rows = group_rows(&columns);
    let mut seen = Seen::new(schema);
    let mut group = Vec::new();
    let mut rows = 0;
    for mut batch in batches {
        if batch.schema() != columns {
            return Err(StorageError::internal(format!(
                "rows of table {} come with different columns",
                schema.table
            )));
        }
        seen.add(&batch)?;
        while rows + batch.num_rows() >= group_rows {
            let taken = group_rows - rows;
            group.push(batch.slice(0, taken));
            file.row_group(&group).map_err(broken)?;
            batch = batch.slice(taken, batch.num_rows() - taken);
            group.clear();
            rows = 0;
        }
        if batch.num_rows() > 0 {
            rows += batch.num_rows();
            group.push(batch);
        }
    }
    if rows > 0 {
        file.row_group(&group).map_err(broken)?;
    }
    let Pieces(bytes) = file.writer.into_inner().map_err(broken)?;
    Ok(Some((bytes.freeze(), seen.contents())))
}

/// Bytes of a decoded row of these columns; a tag takes as much as the number of its value.
pub(crate) fn row_bytes(columns: &SchemaRef) -> usize {
    let width = |field: &FieldRef| field.data_type().primitive_width().unwrap_or(size_of::<i32>());
    columns.fields().iter().map(width).sum()
}

/// Whole pages of rows of these columns.
fn group_rows(columns: &SchemaRef) -> usize {
    (ROW_GROUP_BYTES / row_bytes(columns) / PAGE_ROWS * PAGE_ROWS).clamp(PAGE_ROWS, ROW_GROUP_ROWS)
}

/// Bytes that stay where they are as more come: one piece would be copied each time it is full, and
/// take twice what is in it.
struct Pieces(PutPayloadMut);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file under way.
struct Growing {
    writer: SerializedFileWriter<Pieces>,
    encoder: ChunkEncoder,
}

impl Growing {
    fn new(
        schema: &TableSchema,
        columns: &SchemaRef,
        effort: Effort,
    ) -> Result<Self, ParquetError> {
        let root = ArrowSchemaConverter::new().convert(columns)?.root_schema_ptr();
        let properties = Arc::new(properties(schema));
        let pieces = Pieces(PutPayloadMut::new().with_block_size(PIECE_BYTES));
        let writer = SerializedFileWriter::new(pieces, root, properties)?;
        Ok(Self { writer, encoder: ChunkEncoder::new(effort)? })
    }

    fn row_group(&mut self, rows: &[RecordBatch]) -> Result<(), ParquetError> {
        let columns = self.writer.schema_descr().columns().to_vec();
        let mut group = self.writer.next_row_group()?;
        for (number, column) in columns.iter().enumerate() {
            let arrays: Vec<&dyn Array> =
                rows.iter().map(|batch| &**batch.column(number)).collect();
            let (bytes, close) = self.encoder.encode(number, column, &arrays)?;
            group.append_column(&bytes, close)?;
        }
        group.close()?;
        Ok(())
    }
}

/// A file may lack columns of the table; those it has must be the table's.
fn check_columns(schema: &TableSchema, file: &SchemaRef) -> Result<(), StorageError> {
    let table = schema.arrow();
    let keys = 1 + schema.identity.len();
    let known =
        |field: &FieldRef| table.field_with_name(field.name()).is_ok_and(|known| known == &**field);
    let leads = file.fields().len() >= keys && file.fields()[..keys] == table.fields()[..keys];
    if leads && file.fields().iter().all(known) {
        return Ok(());
    }
    Err(StorageError::internal(format!("rows of table {} come as {file:?}", schema.table)))
}

fn properties(schema: &TableSchema) -> WriterProperties {
    let identity = 1..=schema.identity.len() as i32;
    let order = identity.chain([0]).map(|column| SortingColumn {
        column_idx: column,
        descending: false,
        nulls_first: false,
    });
    WriterProperties::builder()
        .set_created_by(concat!("warpline version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_sorting_columns(Some(order.collect()))
        .build()
}

/// What has gone into the file so far.
pub(crate) struct Seen<'a> {
    schema: &'a TableSchema,
    rows: u64,
    times: Option<TimeRange>,
    identity: Vec<TagRange>,
    /// The last row's key.
    last: Option<(Vec<String>, Timestamp)>,
}

impl<'a> Seen<'a> {
    pub(crate) fn new(schema: &'a TableSchema) -> Self {
        Self { schema, rows: 0, times: None, identity: Vec::new(), last: None }
    }

    /// Rows that do not follow those before by identity, then time, are an internal error.
    pub(crate) fn add(&mut self, batch: &RecordBatch) -> Result<(), StorageError> {
        let times = batch.column(0).as_primitive::<TimestampMicrosecondType>().values();
        let tags: Vec<Tag> = batch.columns()[1..=self.schema.identity.len()]
            .iter()
            .map(|column| Tag::of(column))
            .collect();
        let mut start = 0;
        while start < times.len() {
            let end = series_end(&tags, start, times.len());
            self.add_series(&tags, start, &times[start..end])?;
            start = end;
        }
        self.rows += times.len() as u64;
        Ok(())
    }

    /// Takes in rows of one series, the first of which is row `at`.
    fn add_series(
        &mut self,
        tags: &[Tag],
        at: usize,
        times: &[Timestamp],
    ) -> Result<(), StorageError> {
        let identity: Vec<&str> = tags.iter().map(|tag| tag.value(at)).collect();
        let follows = match &self.last {
            None => true,
            Some((last, time)) => {
                let last = last.iter().map(String::as_str);
                match last.cmp(identity.iter().copied()) {
                    std::cmp::Ordering::Less => true,
                    std::cmp::Ordering::Equal => *time < times[0],
                    std::cmp::Ordering::Greater => false,
                }
            }
        };
        if !follows || times.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(StorageError::internal(format!(
                "rows of table {} are not in order at series {identity:?}",
                self.schema.table
            )));
        }
        let range = TimeRange { first: times[0], last: times[times.len() - 1] };
        self.times = Some(self.times.map_or(range, |seen| seen.span(range)));
        self.widen(&identity);
        self.last = Some((identity.into_iter().map(str::to_owned).collect(), range.last));
        Ok(())
    }

    fn widen(&mut self, identity: &[&str]) {
        if self.identity.is_empty() {
            let names = self.schema.identity.iter().zip(identity);
            self.identity = names
                .map(|(name, value)| TagRange {
                    name: name.clone(),
                    least: (*value).to_owned(),
                    greatest: (*value).to_owned(),
                })
                .collect();
        }
        for (range, value) in self.identity.iter_mut().zip(identity) {
            if *value < range.least.as_str() {
                (*value).clone_into(&mut range.least);
            } else if *value > range.greatest.as_str() {
                (*value).clone_into(&mut range.greatest);
            }
        }
    }

    /// Of one row at least.
    pub(crate) fn contents(self) -> Contents {
        let times = self.times.expect("a file has rows");
        Contents { rows: self.rows, times, identity: self.identity }
    }
}

/// An identity tag's values in a batch.
pub(crate) struct Tag<'a> {
    keys: &'a [i32],
    values: &'a StringArray,
}

impl<'a> Tag<'a> {
    pub(crate) fn of(column: &'a dyn Array) -> Self {
        let column: &DictionaryArray<Int32Type> = column.as_dictionary();
        assert_eq!(column.null_count(), 0, "an absent identity tag is an empty string");
        Self { keys: column.keys().values(), values: column.values().as_string() }
    }

    pub(crate) fn value(&self, row: usize) -> &'a str {
        self.values.value(self.keys[row] as usize)
    }
}

/// The row after the last that has the same keys as row `start` in each tag.
pub(crate) fn series_end(tags: &[Tag], start: usize, rows: usize) -> usize {
    let same = |row: &usize| tags.iter().all(|tag| tag.keys[*row] == tag.keys[start]);
    (start + 1..rows).find(|row| !same(row)).unwrap_or(rows)
}
