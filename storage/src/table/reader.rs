//! Reads rows back from data files, whoever wrote them.
//!
//! Nothing is assumed of a file but that its rows have keys: they may lie in any order, and its
//! columns may have types that only become the table's.

use super::parquet::{Tag, series_end};
use super::schema::TIME;
use crate::error::{ErrorKind, StorageError};
use crate::model::{Identity, TableSchema, Timestamp};
use crate::snapshot::{DataFile, TimeRange};
use crate::store::store_error;
use arrow::array::{
    Array, ArrayRef, AsArray, RecordBatch, UInt32Array, new_empty_array, new_null_array,
};
use arrow::compute::{cast, concat_batches, take};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimestampMicrosecondType};
use arrow::error::ArrowError;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, RowSelection};
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStreamBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use std::ops::Range;
use std::sync::Arc;

/// Rows read at a time.
const BATCH_ROWS: usize = 32_768;

/// The key of a row and the row's number in its file.
#[derive(Debug)]
pub(crate) struct KeyRow {
    pub(crate) identity: Identity,
    pub(crate) time: Timestamp,
    pub(crate) row: u32,
}

/// Every row that is the newest of its series in the file, and few others, in file order. Only
/// the key columns are read.
pub(crate) async fn newest_keys(
    store: Arc<dyn ObjectStore>,
    file: Arc<DataFile>,
    table: Arc<TableSchema>,
) -> Result<Vec<KeyRow>, StorageError> {
    let broken = |error| unreadable(&file, error);
    let wanted = table.arrow();
    let keys = &wanted.fields()[..=table.identity.len()];
    let builder = open(store, &file, &table).await.map_err(broken)?;
    let names = keys.iter().map(|field| field.name().as_str());
    let mask = ProjectionMask::columns(builder.parquet_schema(), names);
    let builder = builder.with_projection(mask).with_batch_size(BATCH_ROWS);
    let mut batches = builder.build().map_err(broken)?;
    let (mut found, mut first) = (Vec::new(), 0);
    while let Some(batch) = batches.try_next().await.map_err(broken)? {
        let columns = columns(&batch, keys).map_err(|error| broken(error.into()))?;
        if columns.iter().any(|column| column.null_count() > 0) {
            let text = format!("{} has rows without a key, which no table of ours has", file.path);
            return Err(StorageError::corrupt(text));
        }
        add_newest(&columns, first, &mut found);
        first += batch.num_rows();
    }
    Ok(found)
}

/// The newest rows of each run of one series; `first` is the number of the first row.
fn add_newest(keys: &[ArrayRef], first: usize, found: &mut Vec<KeyRow>) {
    let times = keys[0].as_primitive::<TimestampMicrosecondType>().values();
    let tags: Vec<Tag> = keys[1..].iter().map(|column| Tag::of(column)).collect();
    let mut start = 0;
    while start < times.len() {
        let end = series_end(&tags, start, times.len());
        let time = *times[start..end].iter().max().expect("a run has rows");
        let identity: Identity = tags.iter().map(|tag| tag.value(start).into()).collect();
        for at in (start..end).filter(|at| times[*at] == time) {
            let row = u32::try_from(first + at).expect("a file has fewer rows than that");
            found.push(KeyRow { identity: identity.clone(), time, row });
        }
        start = end;
    }
}

/// All columns of the table at these rows of the file, in the order of `rows`, which are
/// distinct.
pub(crate) async fn read_rows(
    store: Arc<dyn ObjectStore>,
    file: Arc<DataFile>,
    table: Arc<TableSchema>,
    rows: Vec<u32>,
) -> Result<Vec<ArrayRef>, StorageError> {
    let wanted = table.arrow();
    if rows.is_empty() {
        let fields = wanted.fields().iter();
        return Ok(fields.map(|field| new_empty_array(field.data_type())).collect());
    }
    let broken = |error| unreadable(&file, error);
    let builder = open(store, &file, &table).await.map_err(broken)?;
    let mut sorted = rows.clone();
    sorted.sort_unstable();
    let total = usize::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or_default();
    let ranges = sorted.iter().map(|row| *row as usize..*row as usize + 1);
    let selection = RowSelection::from_consecutive_ranges(ranges, total);
    let schema = builder.schema().clone();
    let batches = builder.with_row_selection(selection).with_batch_size(BATCH_ROWS).build();
    let batches: Vec<_> = batches.map_err(broken)?.try_collect().await.map_err(broken)?;
    let places = rows.iter().map(|row| sorted.partition_point(|other| other < row) as u32);
    let places = UInt32Array::from_iter_values(places);
    let read = || -> Result<Vec<ArrayRef>, ArrowError> {
        let batch = concat_batches(&schema, &batches)?;
        let columns = columns(&batch, wanted.fields())?;
        columns.iter().map(|column| take(column, &places, None)).collect()
    };
    read().map_err(|error| broken(error.into()))
}

/// The rows of the file in file order, as batches of all columns of the table: all that lie in
/// `times`, and others on the same pages.
pub(crate) async fn read_sorted(
    store: Arc<dyn ObjectStore>,
    file: Arc<DataFile>,
    table: Arc<TableSchema>,
    batch_rows: usize,
    times: Arc<[TimeRange]>,
) -> Result<BoxStream<'static, Result<RecordBatch, StorageError>>, StorageError> {
    let opened = open(store, &file, &table).await;
    let opened = opened.and_then(|builder| {
        let rows = pages_within(builder.metadata(), &times);
        let wanted = ProjectionMask::columns(builder.parquet_schema(), table.column_names());
        let builder = builder.with_projection(wanted).with_batch_size(batch_rows);
        rows.into_iter().fold(builder, ParquetRecordBatchStreamBuilder::with_row_selection).build()
    });
    let batches = opened.map_err(|error| unreadable(&file, error))?;
    let schema = table.arrow();
    let typed = move |batch: Result<RecordBatch, ParquetError>| {
        let batch = batch.and_then(|batch| Ok(in_columns(&batch, &schema)?));
        batch.map_err(|error| unreadable(&file, error))
    };
    Ok(batches.map(typed).boxed())
}

/// A file's footer and, row group by row group, its rows.
#[derive(Debug)]
pub(crate) struct Groups {
    store: Arc<dyn ObjectStore>,
    file: Arc<DataFile>,
    table: Arc<TableSchema>,
    metadata: ArrowReaderMetadata,
}

impl Groups {
    pub(crate) async fn open(
        store: Arc<dyn ObjectStore>,
        file: Arc<DataFile>,
        table: Arc<TableSchema>,
    ) -> Result<Self, StorageError> {
        let metadata = metadata(&store, &file, &table).await;
        let metadata = metadata.map_err(|error| unreadable(&file, error))?;
        Ok(Self { store, file, table, metadata })
    }

    pub(crate) fn footer(&self) -> &ParquetMetaData {
        self.metadata.metadata()
    }

    /// All rows of a row group, in the table's columns: every page is decoded.
    pub(crate) async fn read(&self, group: usize) -> Result<Vec<RecordBatch>, StorageError> {
        let stored = Stored::of(self.store.clone(), &self.file);
        let builder =
            ParquetRecordBatchStreamBuilder::new_with_metadata(stored, self.metadata.clone());
        let built = builder.with_row_groups(vec![group]).with_batch_size(BATCH_ROWS).build();
        let read = async { built?.try_collect::<Vec<_>>().await };
        let batches = read.await.map_err(|error| unreadable(&self.file, error))?;
        let schema = self.table.arrow();
        let typed = |batch: &RecordBatch| in_columns(batch, &schema);
        let typed = batches.iter().map(typed).collect::<Result<_, _>>();
        typed.map_err(|error| unreadable(&self.file, error.into()))
    }
}

/// The pages that may hold rows in `times`, by the index of the column of time; `None` where the
/// file has no index or all of its rows are wanted.
fn pages_within(file: &ParquetMetaData, times: &[TimeRange]) -> Option<RowSelection> {
    let (columns, offsets) = (file.column_index()?, file.offset_index()?);
    let names = file.file_metadata().schema_descr();
    let time = names.columns().iter().position(|column| column.name() == TIME)?;
    let (mut wanted, mut start) = (Vec::new(), 0);
    for (group, row_group) in file.row_groups().iter().enumerate() {
        let ColumnIndexMetaData::INT64(index) = &columns[group][time] else { return None };
        let rows = row_group.num_rows() as usize;
        let pages = offsets[group][time].page_locations();
        for (page, location) in pages.iter().enumerate() {
            let next = pages.get(page + 1).map_or(rows, |next| next.first_row_index as usize);
            let span = index.min_value(page).zip(index.max_value(page));
            let span = span.map(|(first, last)| TimeRange { first: *first, last: *last });
            if span.is_none_or(|span| times.iter().any(|range| range.meets(span))) {
                wanted.push(start + location.first_row_index as usize..start + next);
            }
        }
        start += rows;
    }
    let all = wanted.iter().map(Range::len).sum::<usize>() == start;
    (!all).then(|| RowSelection::from_consecutive_ranges(wanted.into_iter(), start))
}

/// The file with its columns in the table's types, where that takes no conversion.
async fn open(
    store: Arc<dyn ObjectStore>,
    file: &DataFile,
    table: &TableSchema,
) -> Result<ParquetRecordBatchStreamBuilder<Stored>, ParquetError> {
    let metadata = metadata(&store, file, table).await?;
    let stored = Stored::of(store, file);
    Ok(ParquetRecordBatchStreamBuilder::new_with_metadata(stored, metadata))
}

async fn metadata(
    store: &Arc<dyn ObjectStore>,
    file: &DataFile,
    table: &TableSchema,
) -> Result<ArrowReaderMetadata, ParquetError> {
    let mut stored = Stored::of(store.clone(), file);
    let options = || ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
    let plain = ArrowReaderMetadata::load_async(&mut stored, options()).await?;
    let schema = with_types(plain.schema(), &table.arrow());
    ArrowReaderMetadata::try_new(plain.metadata().clone(), options().with_schema(schema))
}

/// The bytes of a file.
struct Stored {
    store: Arc<dyn ObjectStore>,
    path: Path,
    bytes: u64,
}

impl Stored {
    fn of(store: Arc<dyn ObjectStore>, file: &DataFile) -> Self {
        Self { store, path: file.path.clone(), bytes: file.bytes }
    }
}

impl AsyncFileReader for Stored {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        let bytes = async move { self.store.get_range(&self.path, range).await };
        bytes.map_err(|error| ParquetError::External(error.into())).boxed()
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        let bytes = async move { self.store.get_ranges(&self.path, &ranges).await };
        bytes.map_err(|error| ParquetError::External(error.into())).boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        let bytes = self.bytes;
        let reader = ParquetMetaDataReader::new().with_arrow_reader_options(options);
        reader.load_and_finish(self, bytes).map_ok(Arc::new).boxed()
    }
}

/// The file's schema with the table's type for its tags, and for its decimals where they differ
/// in nothing but the width that Arrow gives them.
fn with_types(file: &SchemaRef, table: &SchemaRef) -> SchemaRef {
    let typed = |field: &FieldRef| match (field.data_type(), table.field_with_name(field.name())) {
        (DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View, Ok(known)) => {
            typed_as(field, known)
        }
        (DataType::Decimal128(digits, decimals), Ok(known))
            if matches!(known.data_type(), DataType::Decimal32(p, s) | DataType::Decimal64(p, s)
                if p == digits && s == decimals) =>
        {
            typed_as(field, known)
        }
        _ => field.clone(),
    };
    Arc::new(Schema::new(file.fields().iter().map(typed).collect::<Vec<_>>()))
}

fn typed_as(field: &Field, known: &Field) -> FieldRef {
    Arc::new(field.clone().with_data_type(known.data_type().clone()))
}

/// The batch as rows of the table.
fn in_columns(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    RecordBatch::try_new(schema.clone(), columns(batch, schema.fields())?)
}

/// The columns of these names and types; NULL where the file is older than a column.
fn columns(batch: &RecordBatch, fields: &[FieldRef]) -> Result<Vec<ArrayRef>, ArrowError> {
    let column = |field: &Field| match batch.column_by_name(field.name()) {
        None => Ok(new_null_array(field.data_type(), batch.num_rows())),
        Some(column) => cast(column, field.data_type()),
    };
    fields.iter().map(|field| column(field)).collect()
}

fn unreadable(file: &DataFile, error: ParquetError) -> StorageError {
    let what = format!("{} cannot be read", file.path);
    match error {
        ParquetError::External(cause) => match cause.downcast::<object_store::Error>() {
            Ok(error) => store_error(what, *error),
            Err(cause) => StorageError::because(ErrorKind::Retry, what, cause),
        },
        error => StorageError::because(ErrorKind::Corrupt, what, error),
    }
}
