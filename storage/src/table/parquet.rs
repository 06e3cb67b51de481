//! Encodes sorted rows as a Parquet file.
//!
//! Each column gets the encoding that suits what is in it; compression comes after. Statistics
//! and a page index are kept for the columns that the rows are sorted by and for the attributes;
//! fields are too noisy for theirs to pay. No Arrow schema is written into the file: a reader
//! states the types it wants (DECIMAL in an INT32 as `Decimal32`, say).

use super::files::{Contents, TagRange};
use crate::error::{ErrorKind, StorageError};
use crate::model::{TableSchema, Timestamp};
use crate::snapshot::TimeRange;
use arrow::array::{Array, AsArray, DictionaryArray, RecordBatch, StringArray};
use arrow::datatypes::{
    DataType, Decimal32Type, Decimal64Type, Int8Type, Int16Type, Int32Type, Int64Type, SchemaRef,
    TimestampMicrosecondType,
};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

/// As small as costs nothing: memory grows with it.
const ROW_GROUP_ROWS: usize = 1 << 17;
/// Small pages: a query for one series, and a merge, read little else.
const PAGE_ROWS: usize = 8_192;
const TAG_DICTIONARY_BYTES: usize = 4 << 20;

/// Rows that the choice of encodings looks at.
const SAMPLE_ROWS: usize = 1 << 16;
/// A column in which at most one row in so many differs from the row before hardly changes.
const HARDLY: usize = 50;
/// Steps that DELTA_BINARY_PACKED packs in one width.
const DELTA_BLOCK: usize = 32;
/// Steps that need more bits than this on average are left to the compression.
const WIDE_STEP_BITS: usize = 44;

/// The file, and what was seen of its rows; `None` where there are none.
///
/// Rows that are not sorted by identity, then time, with unique keys, are an internal error.
pub(super) fn encode(
    schema: &TableSchema,
    batches: impl Iterator<Item = RecordBatch>,
) -> Result<Option<(Bytes, Contents)>, StorageError> {
    let mut batches = batches.filter(|batch| batch.num_rows() > 0);
    let mut sample = Vec::new();
    let mut sampled = 0;
    while sampled < SAMPLE_ROWS
        && let Some(batch) = batches.next()
    {
        sampled += batch.num_rows();
        sample.push(batch);
    }
    let Some(first) = sample.first() else { return Ok(None) };
    let file_schema = first.schema();
    check_columns(schema, &file_schema)?;
    let options = ArrowWriterOptions::new()
        .with_skip_arrow_metadata(true)
        .with_properties(properties(schema, &sample));
    let broken = |error| {
        let what = format!("rows of table {} cannot be encoded", schema.table);
        StorageError::because(ErrorKind::Internal, what, error)
    };
    let mut writer =
        ArrowWriter::try_new_with_options(Vec::new(), file_schema, options).map_err(broken)?;
    let mut seen = Seen::new(schema);
    for batch in sample.into_iter().chain(batches) {
        seen.add(&batch)?;
        writer.write(&batch).map_err(broken)?;
    }
    let bytes = writer.into_inner().map_err(broken)?;
    Ok(Some((bytes.into(), seen.contents())))
}

/// A file may lack columns of the table; those it has must be the table's.
fn check_columns(schema: &TableSchema, file: &SchemaRef) -> Result<(), StorageError> {
    let table = schema.arrow();
    let keys = 1 + schema.identity.len();
    let known = |field: &arrow::datatypes::FieldRef| {
        table.field_with_name(field.name()).is_ok_and(|known| known == &**field)
    };
    let leads = file.fields().len() >= keys && file.fields()[..keys] == table.fields()[..keys];
    if leads && file.fields().iter().all(known) {
        return Ok(());
    }
    Err(StorageError::internal(format!("rows of table {} come as {file:?}", schema.table)))
}

fn properties(schema: &TableSchema, sample: &[RecordBatch]) -> WriterProperties {
    let zstd = ZstdLevel::try_new(1).expect("1 is a level of zstd");
    let identity = 1..=schema.identity.len() as i32;
    let order = identity.chain([0]).map(|column| SortingColumn {
        column_idx: column,
        descending: false,
        nulls_first: false,
    });
    let builder = WriterProperties::builder()
        .set_created_by(concat!("warpline version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(zstd))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_write_batch_size(PAGE_ROWS)
        .set_sorting_columns(Some(order.collect()))
        .set_statistics_enabled(EnabledStatistics::None);
    let file = sample[0].schema();
    let columns = file.fields().iter().enumerate();
    let builder = columns.fold(builder, |builder, (index, field)| {
        let path = ColumnPath::new(vec![field.name().clone()]);
        let arrays = sample.iter().map(|batch| &**batch.column(index));
        column_properties(builder, path, field.data_type(), arrays)
    });
    builder.build()
}

fn column_properties<'a>(
    builder: WriterPropertiesBuilder,
    path: ColumnPath,
    data_type: &DataType,
    sample: impl Iterator<Item = &'a dyn Array>,
) -> WriterPropertiesBuilder {
    let builder = match data_type {
        DataType::Dictionary(..) => {
            return builder
                .set_column_statistics_enabled(path.clone(), EnabledStatistics::Page)
                .set_column_dictionary_page_size_limit(path, TAG_DICTIONARY_BYTES);
        }
        DataType::Timestamp(..) => builder
            .set_column_statistics_enabled(path.clone(), EnabledStatistics::Page)
            .set_column_encoding(path.clone(), Encoding::DELTA_BINARY_PACKED),
        DataType::Float64 => builder.set_column_encoding(path.clone(), Encoding::PLAIN),
        _ => builder.set_column_encoding(path.clone(), integer_encoding(sample)),
    };
    // To look every value up costs several times what all else does.
    builder.set_column_dictionary_enabled(path, false)
}

/// The smaller of two encodings that every reader knows. Byte-stream-split, smaller for noisy
/// values, is not among them: docs/decisions/2026-11-23-integers-in-parquet.md.
fn integer_encoding<'a>(sample: impl Iterator<Item = &'a dyn Array>) -> Encoding {
    let mut steps = Steps::default();
    for array in sample {
        raw_values(array, |raw| steps.add(raw));
    }
    if steps.hardly_any() || steps.wide() { Encoding::PLAIN } else { Encoding::DELTA_BINARY_PACKED }
}

/// How a column's values differ from those before them.
#[derive(Default)]
struct Steps {
    values: usize,
    changes: usize,
    before: Option<i64>,
    /// The least and greatest step in the block that is being filled.
    block: Option<(i64, i64)>,
    blocks: usize,
    /// The sum over all blocks filled of the bits that their steps take.
    bits: usize,
}

impl Steps {
    fn add(&mut self, raw: i64) {
        self.values += 1;
        let Some(before) = self.before.replace(raw) else { return };
        self.changes += usize::from(before != raw);
        let step = raw.wrapping_sub(before);
        let (low, high) = self.block.unwrap_or((step, step));
        self.block = Some((low.min(step), high.max(step)));
        if self.values.is_multiple_of(DELTA_BLOCK) {
            let (low, high) = self.block.take().expect("a step was seen");
            let spread = high.wrapping_sub(low).cast_unsigned();
            self.bits += (u64::BITS - spread.leading_zeros()) as usize;
            self.blocks += 1;
        }
    }

    fn hardly_any(&self) -> bool {
        self.changes * HARDLY <= self.values
    }

    fn wide(&self) -> bool {
        self.bits > WIDE_STEP_BITS * self.blocks
    }
}

/// Calls `each` with every value that is present, as 64 bits.
fn raw_values(array: &dyn Array, mut each: impl FnMut(i64)) {
    macro_rules! visit {
        ($type:ty, $raw:expr) => {
            array.as_primitive::<$type>().iter().flatten().map($raw).for_each(&mut each)
        };
    }
    match array.data_type() {
        DataType::Int8 => visit!(Int8Type, i64::from),
        DataType::Int16 => visit!(Int16Type, i64::from),
        DataType::Int32 => visit!(Int32Type, i64::from),
        DataType::Int64 => visit!(Int64Type, |v| v),
        DataType::Decimal32(..) => visit!(Decimal32Type, i64::from),
        DataType::Decimal64(..) => visit!(Decimal64Type, |v| v),
        other => unreachable!("{other} is not an integer field's type"),
    }
}

/// What a file's rows are, as far as they have been seen.
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
